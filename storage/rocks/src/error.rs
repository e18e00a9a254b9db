//! Errors of opening a store on RocksDB, with advice for the operator.

use std::path::PathBuf;

use spandrel_storage::EngineError;

use crate::layout::Layout;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RocksOpenError {
    /// RocksDB does not open.
    #[error("cannot open the store in {path}: {error}")]
    Rocks {
        /// The folder of the store.
        path: PathBuf,
        /// The error of RocksDB.
        error: rocksdb::Error,
    },
    /// The file system does not list the files of the store's folder.
    #[error("the files of the store in {path} cannot be listed: {error}")]
    Folder {
        /// The folder of the store.
        path: PathBuf,
        /// The error of the file system.
        error: std::io::Error,
    },
    /// A file is damaged or missing.
    #[error(
        "the store in {path} is damaged ({error}); put back the file if it is elsewhere, or run `spandrel repair`, \
         which puts all that can be read into a new store, or restore a backup into another directory"
    )]
    Damaged {
        /// The folder of the store.
        path: PathBuf,
        /// The error of RocksDB.
        error: rocksdb::Error,
    },
    /// So much is damaged or missing that nothing can be read.
    #[error(
        "the store in {path} cannot be read ({error}); put back the file if it is elsewhere, or restore a backup \
         into another directory"
    )]
    Unreadable {
        /// The folder of the store.
        path: PathBuf,
        /// The error of RocksDB.
        error: rocksdb::Error,
    },
    /// A table is damaged or missing, and so is a log or the end of the manifest.
    #[error(
        "the store in {path} is damaged ({error}), and so is its write-ahead log or its manifest: it is unknown what \
         they would have changed, and deleted data could come back; restore a backup into another directory"
    )]
    WalAlsoDamaged {
        /// The folder of the store.
        path: PathBuf,
        /// The error of RocksDB about the table.
        error: rocksdb::Error,
    },
    /// The log is missing, or the newest of its files.
    #[error(
        "the store in {path} has lost its write-ahead log ({missing}), and with it the spans that were acknowledged \
         last; put it back, or restore a backup into another directory. To go on without what it held, put an \
         empty file 000000.log there"
    )]
    MissingWal {
        /// The folder of the store.
        path: PathBuf,
        /// The missing file, or a pattern for all of them.
        missing: String,
    },
    /// `CURRENT` is missing, so RocksDB cannot find the data.
    #[error(
        "the store in {path} has lost its file CURRENT, and with it what its other files are; put that file \
         back, or restore a backup into another directory"
    )]
    MissingCurrent {
        /// The folder of the store.
        path: PathBuf,
    },
    /// The swap of a repair was interrupted, and cannot be finished.
    #[error(
        "{path} holds a repaired store that cannot be put at its place: {error}; see to that and start again"
    )]
    Swap {
        /// The data directory.
        path: PathBuf,
        /// The error of the file system.
        error: std::io::Error,
    },
    /// An interrupted repair left an incomplete store, and the store that it was reading is missing.
    #[error(
        "there is no store in {path}, but half of one that an interrupted repair has left in {repaired}. If the \
         damaged store was moved away, put it back as {store} and repair again; to begin with an empty store, remove \
         {repaired}"
    )]
    IncompleteRepair {
        /// The data directory.
        path: PathBuf,
        /// The incomplete store of the repair.
        repaired: PathBuf,
        /// The missing store.
        store: PathBuf,
    },
    /// Log files were abandoned, and something else is damaged.
    #[error(
        "log files of the store in {path} were given up (000000.log): start the server once, which goes on without \
         them. If it does not open, it is unknown what they would have changed, and deleted data could come \
         back: restore a backup into another directory"
    )]
    WalAbandoned {
        /// The folder of the store.
        path: PathBuf,
    },
    /// The disk is too full to open it.
    #[error("cannot open the store in {path}: the disk is full; free some space and start again ({error})")]
    NoSpace {
        /// The folder of the store.
        path: PathBuf,
        /// The error of RocksDB.
        error: rocksdb::Error,
    },
    /// The catalog cannot be read.
    #[error("{0}{advice}", advice = .0.advice())]
    Engine(#[from] EngineError),
}

// === impl RocksOpenError ===

impl RocksOpenError {
    pub(crate) fn incomplete_repair(layout: Layout<'_>) -> Self {
        let [repaired, store] = [layout.repaired(), layout.in_use()];
        Self::IncompleteRepair { path: layout.0.to_owned(), repaired, store }
    }

    /// Whether the store itself is damaged; false for a full disk, an unusable folder or an unfinished repair.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Engine(_)
            | Self::Damaged { .. }
            | Self::MissingCurrent { .. }
            | Self::MissingWal { .. } => true,
            Self::Unreadable { .. } | Self::WalAlsoDamaged { .. } | Self::WalAbandoned { .. } => true,
            Self::Rocks { .. } | Self::NoSpace { .. } | Self::Folder { .. } => false,
            Self::Swap { .. } | Self::IncompleteRepair { .. } => false,
        }
    }
}
