//! The common part of all measurements: a corpus of realistic requests, made from a seed.
//!
//! The micro-benchmarks (`benches/hot_path.rs`) measure the hot path step by step and in process; the load driver
//! (`src/load`) measures a real server. Neither asserts a speed, because on a busy machine everything is slow.

pub mod corpus;
