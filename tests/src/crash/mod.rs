//! The crash kit: a child process applies a random workload to a store and records its history; the process is
//! killed, loses power or meets a failing disk; a checker opens the store again and compares it with the history.
//!
//! A [`Workload`] follows from its seed alone, so the child ([`run`], in `src/bin/crash_child.rs`) and the test share
//! nothing but the seed and the [`History`] of what the child was promised. [`check`] is the checker.
//!
//! How the child ends is up to the tests in `tests/tests/crash`.

mod checker;
mod child;
mod history;
mod model;
mod workload;

pub use checker::{DamageReport, check, check_damaged, check_still_works};
pub use child::run;
pub use history::{Event, History, HistoryWriter, read_history};
pub use workload::{Op, Workload};

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::PATIENCE;

/// Free space that a file system in memory needs for these tests.
const PLENTY: u64 = 1 << 30;

/// A folder for a child, or for what a child leaves. It is in memory if there is room: these tests do not depend on a
/// real disk, and its syncs would take most of their time.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let in_memory = (free > PLENTY).then(|| tempfile::tempdir_in(memory));
    in_memory.unwrap_or_else(tempfile::tempdir).unwrap()
}

/// Runs a child to its end. Panics if it does not end in time.
pub fn wait_for_exit(command: &mut Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the child hangs: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// The data directory of a child's store.
pub fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// The file of a child's history, beside its data directory.
pub fn history_file(folder: &Path) -> PathBuf {
    folder.join("history")
}
