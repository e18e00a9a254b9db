//! Why a store on RocksDB does not open, and what the operator can do about it.

use std::path::PathBuf;

use spandrel_storage::EngineError;

use crate::layout::Layout;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RocksOpenError {
    /// RocksDB does not open.
    #[error("cannot open the store in {path}: {error}")]
    Rocks {
        /// Where.
        path: PathBuf,
        /// Why.
        error: rocksdb::Error,
    },
    /// The file system does not list the files of the store's folder.
    #[error("the files of the store in {path} cannot be listed: {error}")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is damaged or gone.
    #[error(
        "the store in {path} is damaged ({error}); put back the file if it is elsewhere, or run `spandrel repair`, \
         which puts all that can be read into a new store, or restore a backup into another directory"
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        error: rocksdb::Error,
    },
    /// So much is damaged or gone that nothing can be read.
    #[error(
        "the store in {path} cannot be read ({error}); put back the file if it is elsewhere, or restore a backup \
         into another directory"
    )]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        error: rocksdb::Error,
    },
    /// A table is damaged or gone, and a log or the end of the manifest as well.
    #[error(
        "the store in {path} is damaged ({error}), and so is its write-ahead log or its manifest: nobody can tell what \
         they would have changed, and what was deleted could come back; restore a backup into another directory"
    )]
    WalAlsoDamaged {
        /// Where.
        path: PathBuf,
        /// What else is wrong.
        error: rocksdb::Error,
    },
    /// The log is gone, or the newest of its files.
    #[error(
        "the store in {path} has lost its write-ahead log ({missing}), and with it the spans that were acknowledged \
         last; put it back, or restore a backup into another directory. To go on without what it held, put an \
         empty file 000000.log there"
    )]
    MissingWal {
        /// Where.
        path: PathBuf,
        /// The file, or all of them.
        missing: String,
    },
    /// There are data, and nothing that leads to them.
    #[error(
        "the store in {path} has lost its file CURRENT, and with it what its other files are; put that file \
         back, or restore a backup into another directory"
    )]
    MissingCurrent {
        /// Where.
        path: PathBuf,
    },
    /// A repair was interrupted, and cannot be ended.
    #[error(
        "{path} holds a repaired store that cannot be put at its place: {error}; see to that and start again"
    )]
    Swap {
        /// The data directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is half of a store that a repair was making, and not the one that it was to be made of.
    #[error(
        "there is no store in {path}, but half of one that an interrupted repair has left in {repaired}. If the \
         damaged store was moved away, put it back as {store} and repair again; to begin with an empty store, remove \
         {repaired}"
    )]
    IncompleteRepair {
        /// The data directory.
        path: PathBuf,
        /// What there is.
        repaired: PathBuf,
        /// What is missing.
        store: PathBuf,
    },
    /// Log files were given up, and something else is damaged.
    #[error(
        "log files of the store in {path} were given up (000000.log): start the server once, which goes on without \
         them. If it does not open, nobody can tell what they would have changed, and what was deleted could come \
         back: restore a backup into another directory"
    )]
    WalAbandoned {
        /// Where.
        path: PathBuf,
    },
    /// The disk is too full to open it.
    #[error("cannot open the store in {path}: the disk is full; free some space and start again ({error})")]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What did not fit.
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

    /// Whether the store itself is damaged, and not what it stands on.
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
