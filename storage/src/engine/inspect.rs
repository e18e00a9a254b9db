//! What checks, backups and restores need of an engine beside the daily reading and writing.

use bytes::Bytes;
use spandrel_block::{BlockKey, KeyError, RowRange, TraceKey};

use super::EngineError;
use crate::backup::StoreRecord;

/// Lists everything that is stored, whether the catalog names it or not. Slow: it reads everything.
pub trait Inspect: Send + Sync {
    /// Every block of which a page is stored, named by the catalog or not.
    fn stored_blocks(&self) -> Result<Vec<BlockKey>, EngineError>;

    /// As much of a block as can be read from its first byte on, without knowing how long it is.
    fn read_prefix(&self, key: &BlockKey) -> Result<Bytes, EngineError>;

    /// Calls `show` with every row of the trace index once, in any order.
    fn each_index_row(&self, show: &mut dyn FnMut(IndexRow)) -> Result<(), EngineError>;
}

/// A row of the trace index, or why it does not decode.
pub type IndexRow = Result<(TraceKey, RowRange), KeyError>;

/// Small durable records that belong to the store as a whole, such as pins and the list of backups. The engine does not
/// interpret their bytes.
pub trait Records: Send + Sync {
    /// Every record of a kind with its name, sorted by name.
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError>;

    /// Puts a record into the place of an earlier one, or removes it. Durable like a commit.
    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError>;

    /// Puts many records. Engines may write them together.
    fn put_records(&self, records: &[StoreRecord]) -> Result<(), EngineError> {
        let mut put = records.iter();
        put.try_for_each(|record| self.put_record(&record.kind, &record.name, Some(&record.value)))
    }
}
