//! A repair of a data directory: which stores it reads and writes, and how the new one gets into the place of the
//! damaged one. What is put into it is decided by `spandrel_storage::repair`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use spandrel_storage::EngineError;

use crate::disk::Disk;
use crate::engine::{Durability, OpenError, RocksEngine};
use crate::folders::{Folders, State};
use crate::salvage::DamagedStore;

/// A repair under way. Dropped before its end, it leaves the store in use as it is.
pub struct Repair {
    /// What can be read of the damaged store.
    pub source: DamagedStore,
    /// The new store, empty at first.
    pub target: RocksEngine,
    disk: Arc<Disk>,
}

/// What was found to be done.
pub enum Begun {
    /// A repair.
    Repair(Box<Repair>),
    /// Only the end of an earlier one, and that is done: the damaged store is kept here.
    Finished(PathBuf),
}

/// Why a store is not repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// There is none.
    #[error("there is no store in {0}; name it with --data-dir")]
    NoStore(PathBuf),
    /// The damaged store of an earlier repair is there.
    #[error(
        "{0} holds the damaged store of an earlier repair; remove it, or move it away if it may still be needed, and \
         repair again"
    )]
    Kept(PathBuf),
    /// It could not be renamed, and the new one would be on another disk.
    #[error(
        "{0} is on another disk than the data directory around it (a mount, or a link), where the new store would be \
         made; put both on one disk, and repair again"
    )]
    Apart(PathBuf),
    /// One of the two stores does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new one cannot be written.
    #[error("the new store cannot be written: {0}")]
    Engine(#[from] EngineError),
    /// A folder cannot be renamed or removed.
    #[error(
        "the folders of {path} cannot be changed: {error}; nothing is lost, see to that and repair again"
    )]
    Folders {
        /// The data directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

// === impl Repair ===

impl Repair {
    /// Begins a repair of the store in a directory, or ends one that was interrupted at its very end.
    pub fn begin(disk: Disk) -> Result<Begun, RepairError> {
        let disk = Arc::new(disk);
        let folders = Folders(disk.directory());
        if !folders.have_a_store() {
            return Err(RepairError::NoStore(disk.directory().to_owned()));
        }
        let changing = |error| RepairError::Folders { path: disk.directory().to_owned(), error };
        match folders.state() {
            State::HalfSwapped => {
                folders.finish_swap().map_err(changing)?;
                return Ok(Begun::Finished(folders.damaged()));
            }
            State::Doubtful => return Err(OpenError::doubtful(folders).into()),
            State::Plain | State::HalfMade => {}
        }
        if folders.keep_a_damaged_one() {
            return Err(RepairError::Kept(folders.damaged()));
        }
        if folders.are_apart().map_err(changing)? {
            return Err(RepairError::Apart(folders.in_use()));
        }
        folders.clear().map_err(changing)?;
        let source = DamagedStore::open(&folders.in_use(), &folders.repaired(), disk.reserve_bytes())?;
        folders.clear().map_err(changing)?;
        // Written out as a whole in the end, before anything relies on it: without a log.
        let target = RocksEngine::open_in(&folders.repaired(), disk.clone(), Durability::None)?;
        Ok(Begun::Repair(Box::new(Self { source, target, disk })))
    }

    /// What has to stay free.
    pub fn reserve_bytes(&self) -> u64 {
        self.disk.reserve_bytes()
    }

    /// Puts the new store into the place of the damaged one. Returns where that is kept.
    pub fn finish(self) -> Result<PathBuf, RepairError> {
        use spandrel_storage::Engine as _;

        let Self { source, target, disk } = self;
        target.flush()?;
        // Both are closed before they get other names.
        drop((source, target));
        let folders = Folders(disk.directory());
        folders.swap().map_err(|error| RepairError::Folders { path: disk.directory().to_owned(), error })?;
        Ok(folders.damaged())
    }

    /// Removes the new store: nothing was done.
    pub fn give_up(self) {
        let Self { source, target, disk } = self;
        drop((source, target));
        // If it stays, the next repair removes it.
        let _ = Folders(disk.directory()).clear();
    }
}
