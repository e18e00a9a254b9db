//! Simulated disks, which lose unsynced writes or fail: for tests of power loss and of failed syncs.
//!
//! A small library (`tests/shim/disk.c`) is preloaded into the process under test. It delegates every call and records
//! each change with its bytes and each sync, in order, in a [`Journal`]. A [`SimulatedDisk`] plays the journal up to
//! any moment and leaves a folder as a power loss at that moment might: everything synced, and none, all or a random
//! part of the rest. One recorded run serves hundreds of moments, and a kept journal repeats a failure exactly.
//!
//! A FUSE file system would need a privilege that build machines seldom give, and shows one outcome for each run. An
//! environment inside RocksDB would need C++ in the build and would miss the files that the store writes beside
//! RocksDB. The shim sees only calls through the C library. RocksDB uses `write`, `fdatasync`, `fsync`, `rename` and
//! the like, no shared mapping and no direct I/O for writing, as `strace` shows; the shim records any other call as
//! unknown, and such a journal is refused.
//!
//! The simulation assumes no more of a disk than this: a synced file has its bytes, a synced folder its entries. A
//! synced file may be missing if its folder was not synced. Entries of one folder reach the disk in the order in which
//! they were changed, as on every journaling file system; pages of 4 KiB in any order.

mod journal;
mod simulated_disk;

pub use journal::{Event, Journal};
pub use simulated_disk::{Loss, SimulatedDisk};

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::shim;

/// The compiled shim.
pub struct Shim {
    library: PathBuf,
    _folder: TempDir,
}

// === impl Shim ===

impl Shim {
    pub fn compile() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { library: shim::compile("disk", folder.path()), _folder: folder }
    }

    /// Records every change of `folder` by a command in `journal`.
    pub fn record(&self, command: &mut Command, folder: &Path, journal: &Path) {
        command.envs(self.variables(folder, journal));
    }

    /// The environment variables for it.
    pub fn variables<'a>(&'a self, folder: &'a Path, journal: &'a Path) -> [(&'static str, &'a Path); 3] {
        [("LD_PRELOAD", &self.library), ("SHIM_ROOT", folder), ("SHIM_JOURNAL", journal)]
    }

    /// Makes a write or sync below `folder/data` fail; `tests/shim/disk.c` describes `what`.
    pub fn fail(&self, command: &mut Command, what: &str) {
        command.env("SHIM_FAIL", what);
    }
}
