//! Questions and answers: parses them, assembles trees, serves the JSON API under `/api/v1`.
#![allow(dead_code)]
mod duration;
mod params;
mod problem;
mod times;
mod traceql;
