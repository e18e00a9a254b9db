//! The folders of a data directory: the store in use, the one that a repair makes, and the one that it has replaced.
//!
//! | folder | what is in it |
//! | --- | --- |
//! | `store` | the store in use |
//! | `store.repaired` | the store that a repair is making of it, or has left half made |
//! | `store.damaged` | the store that a repair has replaced, until somebody removes it |
//!
//! The new store takes the place of the damaged one by two renames with a sync between them. **The first of them comes
//! after everything in `store.repaired` is written, synced and closed.** So where `store` is missing and the other
//! two are there, a swap was interrupted, and `store.repaired` is complete: whoever comes next finishes the swap.
//! Otherwise a new and empty store would be made in its place. In every other state `store.repaired` may be half a
//! store, and is never used.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The store in use.
pub(crate) const IN_USE: &str = "store";
const REPAIRED: &str = "store.repaired";
const DAMAGED: &str = "store.damaged";

/// What is in a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No store, or the one in use.
    Plain,
    /// The one in use, and half of a new one.
    HalfMade,
    /// A swap was interrupted: see above.
    HalfSwapped,
    /// A new store, and neither of the others: it may be complete or not.
    Doubtful,
}

/// The folders of one data directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folders<'d>(pub(crate) &'d Path);

// === impl Folders ===

impl Folders<'_> {
    /// The store in use.
    pub(crate) fn in_use(&self) -> PathBuf {
        self.0.join(IN_USE)
    }

    /// The one in the making.
    pub(crate) fn repaired(&self) -> PathBuf {
        self.0.join(REPAIRED)
    }

    /// The one that was replaced.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.0.join(DAMAGED)
    }

    pub(crate) fn state(&self) -> State {
        match [self.in_use(), self.repaired(), self.damaged()].map(|path| is_there(&path)) {
            [_, false, _] => State::Plain,
            [true, true, _] => State::HalfMade,
            [false, true, true] => State::HalfSwapped,
            [false, true, false] => State::Doubtful,
        }
    }

    /// Whether there is a store that is replaced already.
    pub(crate) fn keep_a_damaged_one(&self) -> bool {
        is_there(&self.damaged())
    }

    /// Whether there is a store to open, or to say of why it does not open.
    pub(crate) fn have_a_store(&self) -> bool {
        match self.state() {
            State::Plain | State::HalfMade => self.in_use().join("CURRENT").exists(),
            State::HalfSwapped | State::Doubtful => true,
        }
    }

    /// Removes what an interrupted repair has left half made.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.repaired()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Puts the new store, which is written out and closed, into the place of the damaged one.
    pub(crate) fn swap(&self) -> io::Result<()> {
        sync_files(&self.repaired())?;
        // Its own entry as well: it must be there when the damaged one is not at its place any more.
        sync(self.0)?;
        fs::rename(self.in_use(), self.damaged())?;
        sync(self.0)?;
        self.finish_swap()
    }

    /// The second half of that.
    pub(crate) fn finish_swap(&self) -> io::Result<()> {
        fs::rename(self.repaired(), self.in_use())?;
        sync(self.0)
    }
}

/// Also where it is a link to a disk that is not there right now.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// RocksDB syncs its files when it needs to; what it has written since, and their entries, are synced here.
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
        let states = [
            (&[][..], State::Plain, false),
            (&["store"][..], State::Plain, true),
            (&["store.damaged"][..], State::Plain, false),
            (&["store", "store.damaged"][..], State::Plain, true),
            (&["store", "store.repaired"][..], State::HalfMade, true),
            (&["store", "store.repaired", "store.damaged"][..], State::HalfMade, true),
            (&["store.repaired", "store.damaged"][..], State::HalfSwapped, true),
            (&["store.repaired"][..], State::Doubtful, true),
        ];
        for (there, state, is_a_store) in states {
            let directory = tempfile::tempdir().unwrap();
            for name in there {
                fs::create_dir(directory.path().join(name)).unwrap();
                fs::write(directory.path().join(name).join("CURRENT"), name).unwrap();
            }
            let folders = Folders(directory.path());
            assert_eq!((folders.state(), folders.have_a_store()), (state, is_a_store), "{there:?}");
        }
    }

    #[test]
    fn a_swap_ends_the_same_from_both_halves() {
        for half in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let folders = Folders(directory.path());
            for (path, text) in [(folders.in_use(), "old"), (folders.repaired(), "new")] {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("CURRENT"), text).unwrap();
            }
            if half {
                fs::rename(folders.in_use(), folders.damaged()).unwrap();
                folders.finish_swap().unwrap();
            } else {
                folders.swap().unwrap();
            }
            let text = |path: PathBuf| fs::read_to_string(path.join("CURRENT")).unwrap();
            assert_eq!((text(folders.in_use()), text(folders.damaged())), ("new".into(), "old".into()));
            assert_eq!(folders.state(), State::Plain);
        }
    }
}
