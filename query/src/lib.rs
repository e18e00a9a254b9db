//! Questions and answers: parses them, assembles trees, serves the JSON API under `/api/v1`.
#![allow(dead_code)]
mod assemble;
mod duration;
mod params;
mod problem;
#[cfg(test)]
mod testing;
mod times;
mod traceql;
