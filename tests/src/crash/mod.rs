//! Stores that are killed, lose power or meet a broken disk: what happens to them, what they promised
//! until then, and what has to hold when they are opened again.
//!
//! A [`Story`] is the same for the same seed, so that the process that lives through it
//! ([`live`], in `src/bin/victim.rs`) and the test that looks at the remains need to share nothing but the seed and
//! the [`Diary`], where the victim notes what it was promised. [`verdict`] compares the two.
//!
//! How the victim ends is the business of the tests.

mod diary;
mod model;
mod story;
mod verdict;
mod victim;

pub use diary::{Diary, Event, Notes};
pub use story::{Act, Story};
pub use verdict::{Said, honest, notes, still_works, verdict};
pub use victim::live;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::PATIENCE;

/// Room that a folder in memory must leave to others.
const PLENTY: u64 = 1 << 30;

/// A folder for a victim or what it left. In memory where there is room: what a real disk does is what
/// these tests do not ask for, and its syncs would take most of their time.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let in_memory = (free > PLENTY).then(|| tempfile::tempdir_in(memory));
    in_memory.unwrap_or_else(tempfile::tempdir).unwrap()
}

/// Runs a victim to its end, however that comes. Panics when it does not come.
pub fn end_of(victim: &mut Command) -> Output {
    let mut child =
        victim.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the victim hangs: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// Where the store of a victim lies.
pub fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Where its diary lies: beside the data, and no part of them.
pub fn diary(folder: &Path) -> PathBuf {
    folder.join("diary")
}
