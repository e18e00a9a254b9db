//! Disks that lose what was not synced, or fail: for tests of what survives power loss and of what a
//! store does after a failed sync.
//!
//! A small library (`tests/shim/disk.c`) is preloaded into the process under test. It passes every call
//! on and writes down each change with its bytes and each sync, in order, in a [`Journal`]. A
//! [`Platter`] plays the journal up to any moment and leaves behind a folder as a power loss at that
//! moment might have: what was synced, and of the rest as little, as much or as random a part as one
//! likes. Of one recorded run hundreds of moments can be tried, and a journal that was kept repeats a
//! failure exactly.
//!
//! Why a shim: a FUSE file system needs a privilege that build machines seldom give, and shows one
//! outcome for each run; an environment inside RocksDB would need C++ in the build and would miss what
//! the store does beside RocksDB. The price is that only calls through the C library are seen. RocksDB
//! uses `write`, `fdatasync`, `fsync`, `rename` and the like, no shared mapping and no direct I/O for
//! writing, as `strace` shows; the shim notes whatever else it meets, and the journal is then refused.
//!
//! What is assumed of a disk, and no more: a synced file has its bytes, a synced folder its entries.
//! A synced file need not be found if its folder was not synced. Entries of one folder come and go in
//! the order in which they were changed, as with every journaling file system; pages of 4 KiB in any.

mod journal;
mod platter;

pub use journal::{Event, Journal};
pub use platter::{Loss, Platter};

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
    /// Compiles it.
    pub fn compile() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { library: shim::compile("disk", folder.path()), _folder: folder }
    }

    /// Puts a command on a disk that is written down: everything below `folder`, in `journal`.
    pub fn record(&self, command: &mut Command, folder: &Path, journal: &Path) {
        command.envs(self.variables(folder, journal));
    }

    /// The same as variables of its environment.
    pub fn variables<'a>(&'a self, folder: &'a Path, journal: &'a Path) -> [(&'static str, &'a Path); 3] {
        [("LD_PRELOAD", &self.library), ("SHIM_ROOT", folder), ("SHIM_JOURNAL", journal)]
    }

    /// Lets a write or sync below `folder/data` fail; `what` as `tests/shim/disk.c` describes it.
    pub fn fail(&self, command: &mut Command, what: &str) {
        command.env("SHIM_FAIL", what);
    }
}
