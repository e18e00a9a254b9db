//! The RocksDB engine of the trace store: blocks, catalog and trace index on one machine.
//!
//! Column families:
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `fresh`, `sealed` | page of a block | up to 64 KiB of the block, as a blob |
//! | `catalog` | block | catalog row |
//! | `index` | trace, hour, block | rows of the trace in the block |
//! | `replaced` | block | its number of pages, until they are deleted |
//! | `default` | kind, 0, name | a small record of the store itself |
//!
//! A block is cut into pages so that a reader fetches only the part that it needs. Pages are blobs (BlobDB): the LSM
//! tree contains keys alone, so compaction never rewrites spans. Fresh blocks live for seconds and sealed ones until
//! retention removes their window; they have separate families, so that no blob file mixes the two and a file is
//! removed with its last block.
//!
//! The layers above do not use RocksDB directly, and this crate does not interpret spans.

mod data_dir;
mod database;
mod engine;
mod error;
mod layout;
mod live_blocks;
mod open_read_only;
mod options;
mod orphans;
mod recovery;
mod repair;
mod salvage;
mod wal_marker;

pub use data_dir::{DataDir, LockError};
pub use engine::{Durability, RocksEngine};
pub use error::RocksOpenError;
pub use repair::{RepairStart, RocksRepair, RocksRepairError};
pub use salvage::DamagedStore;
