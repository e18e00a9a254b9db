//! Tests of the state that a store leaves when its process is killed, the power goes, the disk fails or files are
//! damaged. The store runs in a child process (`src/bin/crash_child.rs`); their shared code is `spandrel_tests::crash`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

#[cfg(target_os = "linux")]
mod broken_disk;
mod damage;
mod failpoints;
mod lost_files;
#[cfg(target_os = "linux")]
mod power_loss;
#[cfg(target_os = "linux")]
mod repair_power;
