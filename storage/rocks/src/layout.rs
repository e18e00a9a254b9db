//! The layout of a data directory: the store in use, the store that a repair builds, and the store that it replaced.
//!
//! | folder | content |
//! | --- | --- |
//! | `store` | the store in use |
//! | `store.repaired` | the store that a repair is building, or has left incomplete |
//! | `store.damaged` | the store that a repair has replaced, until the operator removes it |
//!
//! The new store takes the place of the damaged one by two renames with a sync between them. **Before the first
//! rename everything in `store.repaired` is written, synced and closed, and only then a file `COMPLETE` is made in
//! it.** So where `store` is missing and `store.repaired` has that file, a swap was interrupted, and the next process
//! that opens the directory finishes it; otherwise it would create a new, empty store. A directory name is no proof,
//! since operators move directories: the swap resumes only if `COMPLETE` exists.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The store in use.
pub(crate) const IN_USE: &str = "store";
const REPAIRED: &str = "store.repaired";
const DAMAGED: &str = "store.damaged";
/// The file that marks the new store as complete. Removed once the store is in use.
const COMPLETE: &str = "COMPLETE";

/// The state of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayoutState {
    /// At most the store in use.
    Plain,
    /// The store in use, and an incomplete one of a repair.
    RepairIncomplete,
    /// A swap was interrupted between its two renames.
    SwapPending,
    /// An incomplete store of a repair, and none in use.
    StoreMissing,
}

/// The paths in one data directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'d>(pub(crate) &'d Path);

// === impl Layout ===

impl Layout<'_> {
    /// The store in use.
    pub(crate) fn in_use(&self) -> PathBuf {
        self.0.join(IN_USE)
    }

    /// The store that a repair builds.
    pub(crate) fn repaired(&self) -> PathBuf {
        self.0.join(REPAIRED)
    }

    /// The store that a repair has replaced.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.0.join(DAMAGED)
    }

    pub(crate) fn state(&self) -> LayoutState {
        match [self.in_use(), self.repaired()].map(|path| is_there(&path)) {
            [_, false] => LayoutState::Plain,
            [true, true] => LayoutState::RepairIncomplete,
            [false, true] if is_there(&self.repaired().join(COMPLETE)) => LayoutState::SwapPending,
            [false, true] => LayoutState::StoreMissing,
        }
    }

    /// Whether a replaced store is still there.
    pub(crate) fn has_damaged_store(&self) -> bool {
        is_there(&self.damaged())
    }

    /// Whether there is a store to open, or one whose failure to open is to be reported.
    pub(crate) fn has_store(&self) -> bool {
        match self.state() {
            LayoutState::Plain | LayoutState::RepairIncomplete => self.in_use().join("CURRENT").exists(),
            LayoutState::SwapPending | LayoutState::StoreMissing => true,
        }
    }

    /// Whether the store in use is on another file system than the data directory.
    pub(crate) fn is_on_another_file_system(&self) -> io::Result<bool> {
        Ok(fs::metadata(self.in_use())?.dev() != fs::metadata(self.0)?.dev())
    }

    /// Removes what an interrupted repair has left.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.repaired()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Replaces the damaged store by the new one, which is flushed and closed.
    pub(crate) fn swap(&self) -> io::Result<()> {
        sync_files(&self.repaired())?;
        File::create(self.repaired().join(COMPLETE))?.sync_all()?;
        sync(&self.repaired())?;
        // Its own directory entry must be durable before the damaged store is renamed.
        sync(self.0)?;
        fs::rename(self.in_use(), self.damaged())?;
        sync(self.0)?;
        self.finish_swap()
    }

    /// Does the second rename of a swap, and removes the marker.
    pub(crate) fn finish_swap(&self) -> io::Result<()> {
        fs::rename(self.repaired(), self.in_use())?;
        sync(self.0)?;
        // The file has no meaning in the store in use, so a failure to remove it is ignored.
        let _ = fs::remove_file(self.in_use().join(COMPLETE));
        Ok(())
    }
}

/// Whether the path exists, also as a link whose target is not mounted now.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Syncs what RocksDB has written since it last synced its files, and their directory entries.
fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_told_from_the_others() {
        use LayoutState::{Plain, RepairIncomplete, StoreMissing, SwapPending};
        let states = [
            (&[][..], [Plain; 2], false),
            (&["store"][..], [Plain; 2], true),
            (&["store.damaged"][..], [Plain; 2], false),
            (&["store", "store.damaged"][..], [Plain; 2], true),
            (&["store", "store.repaired"][..], [RepairIncomplete; 2], true),
            (&["store", "store.repaired", "store.damaged"][..], [RepairIncomplete; 2], true),
            (&["store.repaired", "store.damaged"][..], [StoreMissing, SwapPending], true),
            (&["store.repaired"][..], [StoreMissing, SwapPending], true),
        ];
        for (there, [half, complete], is_a_store) in states {
            let directory = tempfile::tempdir().unwrap();
            for name in there {
                fs::create_dir(directory.path().join(name)).unwrap();
                fs::write(directory.path().join(name).join("CURRENT"), name).unwrap();
            }
            let layout = Layout(directory.path());
            assert_eq!((layout.state(), layout.has_store()), (half, is_a_store), "{there:?}");
            if there.contains(&"store.repaired") {
                fs::write(layout.repaired().join(COMPLETE), "").unwrap();
            }
            assert_eq!((layout.state(), layout.has_store()), (complete, is_a_store), "{there:?}");
        }
    }

    #[test]
    fn a_swap_ends_the_same_from_both_halves() {
        for half in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let layout = Layout(directory.path());
            for (path, text) in [(layout.in_use(), "old"), (layout.repaired(), "new")] {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("CURRENT"), text).unwrap();
            }
            if half {
                fs::write(layout.repaired().join(COMPLETE), "").unwrap();
                fs::rename(layout.in_use(), layout.damaged()).unwrap();
                layout.finish_swap().unwrap();
            } else {
                layout.swap().unwrap();
            }
            let text = |path: PathBuf| fs::read_to_string(path.join("CURRENT")).unwrap();
            assert_eq!((text(layout.in_use()), text(layout.damaged())), ("new".into(), "old".into()));
            assert_eq!(layout.state(), LayoutState::Plain);
            assert!(!layout.in_use().join(COMPLETE).exists());
        }
    }
}
