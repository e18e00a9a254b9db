//! Code that the tests share: the store's contract as a suite for any engine, a naive oracle that computes the expected
//! answers, and generators of spans. The tests themselves are in `tests/`. The product uses nothing of it.
// Test code may panic at the first unexpected result.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod api;
pub mod arbitrary;
pub mod clock;
pub mod command_output;
pub mod contract;
pub mod corruption;
pub mod counting;
pub mod crash;
pub mod crashing_engine;
pub mod decoder;
mod delegate;
pub mod disk;
pub mod engines;
pub mod files;
pub mod fixtures;
pub mod forensics;
pub mod frozen;
pub mod gather_oracle;
pub mod grpc;
pub mod harness;
pub mod http;
pub mod json_oracle;
pub mod kafka;
pub mod logs_oracle;
pub mod memory_backup;
pub mod normalize;
pub mod oracle;
pub mod otlp;
pub mod rewrite;
pub mod server;
pub mod shim;
pub mod spans;
pub mod tables;
pub mod tls;
