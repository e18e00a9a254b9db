//! Keys and the block format: bytes in, bytes out.
//!
//! A block is an immutable, self-contained, versioned value. This crate encodes and decodes it and
//! everything else that is stored, and says what single spans mean ([`semantics`]). It does no I/O
//! and links no engine, so that fuzzing and most tests build in seconds.

pub mod semantics;
mod sketch;

pub use sketch::LatencySketch;
