//! The folders of a data directory: the store in use, the one that a repair makes, and the one that it has replaced.
//!
//! | folder | what is in it |
//! | --- | --- |
//! | `store` | the store in use |
//! | `store.repaired` | the store that a repair is making of it, or has left half made |
//! | `store.damaged` | the store that a repair has replaced, until somebody removes it |
//!
//! The new store takes the place of the damaged one by two renames with a sync between them. **Before the first of
//! them everything in `store.repaired` is written, synced and closed, and only then a file `COMPLETE` in it.** So where
//! `store` is missing and `store.repaired` has that file, a swap was interrupted: whoever comes next finishes it.
//! Otherwise a new and empty store would be made in its place. Names of folders alone say nothing, since people move
//! them: without that file `store.repaired` may be half a store, and is never used.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The store in use.
pub(crate) const IN_USE: &str = "store";
const REPAIRED: &str = "store.repaired";
const DAMAGED: &str = "store.damaged";
/// In the new store: all of it is there. Gone once it is in use.
const COMPLETE: &str = "COMPLETE";

/// What is in a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No store, or the one in use.
    Plain,
    /// The one in use, and half of a new one.
    HalfMade,
    /// A swap was interrupted: see above.
    HalfSwapped,
    /// Half of a new store, and none in use.
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
        match [self.in_use(), self.repaired()].map(|path| is_there(&path)) {
            [_, false] => State::Plain,
            [true, true] => State::HalfMade,
            [false, true] if is_there(&self.repaired().join(COMPLETE)) => State::HalfSwapped,
            [false, true] => State::Doubtful,
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

    /// Whether the store in use is on another disk than the others would be.
    pub(crate) fn are_apart(&self) -> io::Result<bool> {
        Ok(fs::metadata(self.in_use())?.dev() != fs::metadata(self.0)?.dev())
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
        File::create(self.repaired().join(COMPLETE))?.sync_all()?;
        sync(&self.repaired())?;
        // Its own entry as well: it must be there when the damaged one is not at its place any more.
        sync(self.0)?;
        fs::rename(self.in_use(), self.damaged())?;
        sync(self.0)?;
        self.finish_swap()
    }

    /// The second half of that.
    pub(crate) fn finish_swap(&self) -> io::Result<()> {
        fs::rename(self.repaired(), self.in_use())?;
        sync(self.0)?;
        // It says nothing there.
        let _ = fs::remove_file(self.in_use().join(COMPLETE));
        Ok(())
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
        use State::{Doubtful, HalfMade, HalfSwapped, Plain};
        let states = [
            (&[][..], [Plain; 2], false),
            (&["store"][..], [Plain; 2], true),
            (&["store.damaged"][..], [Plain; 2], false),
            (&["store", "store.damaged"][..], [Plain; 2], true),
            (&["store", "store.repaired"][..], [HalfMade; 2], true),
            (&["store", "store.repaired", "store.damaged"][..], [HalfMade; 2], true),
            (&["store.repaired", "store.damaged"][..], [Doubtful, HalfSwapped], true),
            (&["store.repaired"][..], [Doubtful, HalfSwapped], true),
        ];
        for (there, [half, complete], is_a_store) in states {
            let directory = tempfile::tempdir().unwrap();
            for name in there {
                fs::create_dir(directory.path().join(name)).unwrap();
                fs::write(directory.path().join(name).join("CURRENT"), name).unwrap();
            }
            let folders = Folders(directory.path());
            assert_eq!((folders.state(), folders.have_a_store()), (half, is_a_store), "{there:?}");
            if there.contains(&"store.repaired") {
                fs::write(folders.repaired().join(COMPLETE), "").unwrap();
            }
            assert_eq!((folders.state(), folders.have_a_store()), (complete, is_a_store), "{there:?}");
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
                fs::write(folders.repaired().join(COMPLETE), "").unwrap();
                fs::rename(folders.in_use(), folders.damaged()).unwrap();
                folders.finish_swap().unwrap();
            } else {
                folders.swap().unwrap();
            }
            let text = |path: PathBuf| fs::read_to_string(path.join("CURRENT")).unwrap();
            assert_eq!((text(folders.in_use()), text(folders.damaged())), ("new".into(), "old".into()));
            assert_eq!(folders.state(), State::Plain);
            assert!(!folders.in_use().join(COMPLETE).exists());
        }
    }
}
