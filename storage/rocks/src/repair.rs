//! Repairs a data directory: opens the damaged store and a new one, and swaps them when the new one is complete.
//! `spandrel_storage::repair` decides what is put into the new store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use spandrel_storage::EngineError;

use crate::data_dir::DataDir;
use crate::engine::{Durability, RocksEngine};
use crate::error::RocksOpenError;
use crate::layout::{Layout, LayoutState};
use crate::salvage::DamagedStore;

/// A repair in progress. Dropping it leaves the store in use as it is.
pub struct RocksRepair {
    /// The readable part of the damaged store.
    pub source: DamagedStore,
    /// The new store, empty at first.
    pub target: RocksEngine,
    data_dir: Arc<DataDir>,
}

/// The result of starting a repair.
pub enum RepairStart {
    /// The damaged store and an empty new one are open.
    Repair(Box<RocksRepair>),
    /// An earlier repair was interrupted during its swap, which is finished now. The folder keeps the damaged store.
    Finished(PathBuf),
}

/// Why a store cannot be repaired.
#[derive(Debug, thiserror::Error)]
pub enum RocksRepairError {
    /// There is no store.
    #[error("there is no store in {0}; name it with --data-dir")]
    NoStore(PathBuf),
    /// The damaged store of an earlier repair is still there.
    #[error(
        "{0} holds the damaged store of an earlier repair; remove it, or move it away if it may still be needed, and \
         repair again"
    )]
    Kept(PathBuf),
    /// The store is on another file system, so it cannot be swapped by renames.
    #[error(
        "{0} is on another disk than the data directory around it (a mount, or a link), where the new store would be \
         made; put both on one disk, and repair again"
    )]
    Apart(PathBuf),
    /// The damaged store or the new one does not open.
    #[error(transparent)]
    Open(#[from] RocksOpenError),
    /// The new store cannot be written.
    #[error("the new store cannot be written: {0}")]
    Engine(#[from] EngineError),
    /// A folder cannot be renamed or removed.
    #[error(
        "the folders of {path} cannot be changed: {error}; nothing is lost, see to that and repair again"
    )]
    Folders {
        /// The data directory.
        path: PathBuf,
        /// The error of the file system.
        error: io::Error,
    },
}

// === impl RocksRepair ===

impl RocksRepair {
    /// Begins the repair of a store, or finishes a repair whose swap was interrupted.
    pub fn begin(data_dir: DataDir) -> Result<RepairStart, RocksRepairError> {
        let data_dir = Arc::new(data_dir);
        let layout = Layout(data_dir.directory());
        if !layout.has_store() {
            return Err(RocksRepairError::NoStore(data_dir.directory().to_owned()));
        }
        let changing = |error| RocksRepairError::Folders { path: data_dir.directory().to_owned(), error };
        match layout.state() {
            LayoutState::SwapPending => {
                layout.finish_swap().map_err(changing)?;
                return Ok(RepairStart::Finished(layout.damaged()));
            }
            LayoutState::StoreMissing => return Err(RocksOpenError::incomplete_repair(layout).into()),
            LayoutState::Plain | LayoutState::RepairIncomplete => {}
        }
        if layout.has_damaged_store() {
            return Err(RocksRepairError::Kept(layout.damaged()));
        }
        if layout.is_on_another_file_system().map_err(changing)? {
            return Err(RocksRepairError::Apart(layout.in_use()));
        }
        layout.clear().map_err(changing)?;
        let source = DamagedStore::open(&layout.in_use(), &layout.repaired(), data_dir.reserve_bytes())?;
        layout.clear().map_err(changing)?;
        // The new store is flushed as a whole before it is used, so it needs no log.
        let target = RocksEngine::open_in(&layout.repaired(), data_dir.clone(), Durability::None)?;
        Ok(RepairStart::Repair(Box::new(Self { source, target, data_dir })))
    }

    /// Bytes that have to stay free on the disk.
    pub fn reserve_bytes(&self) -> u64 {
        self.data_dir.reserve_bytes()
    }

    /// Replaces the damaged store by the new one. Returns the folder that keeps the damaged store.
    pub fn finish(self) -> Result<PathBuf, RocksRepairError> {
        use spandrel_storage::Engine as _;

        let Self { source, target, data_dir } = self;
        target.flush()?;
        // Both are closed before they are renamed.
        drop((source, target));
        let layout = Layout(data_dir.directory());
        layout
            .swap()
            .map_err(|error| RocksRepairError::Folders { path: data_dir.directory().to_owned(), error })?;
        Ok(layout.damaged())
    }

    /// Removes the new store, and leaves the damaged one in use.
    pub fn give_up(self) {
        let Self { source, target, data_dir } = self;
        drop((source, target));
        // If it stays, the next repair removes it.
        let _ = Layout(data_dir.directory()).clear();
    }
}
