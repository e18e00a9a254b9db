//! What both kinds of measurement share: a corpus of realistic requests, made from a seed.
//!
//! The micro-benchmarks (`benches/hot_path.rs`) take the hot path apart, step by step and in
//! process; the load driver (`src/load`) measures a real server from outside. Nothing here asserts
//! how fast something is: what is slow on a busy machine is not broken.

pub mod corpus;
