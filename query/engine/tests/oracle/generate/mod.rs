//! Random spans and questions that match often, since they draw from the same few keys and values. Everything
//! follows from a seed.

pub mod dice;
pub mod pools;
pub mod queries;
pub mod spans;
