//! Tests of the store inside this process: its contract on every engine, models of it, its cost, backups, repairs and
//! upgrades. Tests that kill a process or lose power are in `crash`, those of a running server in `e2e`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

mod backup;
mod carry_over;
mod contract;
mod decoder;
mod edges;
mod encryption;
mod faults;
mod forensics;
mod grace;
mod lookups;
mod lossless;
mod merging;
mod model;
mod named_backups;
mod purge;
mod records;
mod repair;
mod retention_model;
mod tables;
mod upgrade;
