//! Full scans for checks and backups, and the store's small records.

use bytes::{Bytes, BytesMut};
use rocksdb::{DEFAULT_COLUMN_FAMILY_NAME, Direction, IteratorMode, ReadOptions, WriteBatch};
use spandrel_block::{BlockKey, KeyError, RowRange, TraceKey};
use spandrel_storage::engine::StoreRecord;
use spandrel_storage::engine::{EngineError, IndexRow, Inspect, Records};

use super::{Durability, RocksEngine};
use crate::database::{Database, failure, family};
use crate::options::{FRESH, INDEX, SEALED};

/// Bytes of a page's number behind the key of its block.
const PAGE_NUMBER: usize = 4;
/// A scan of a whole family reads ahead, and must not evict from the cache what queries need.
const READ_AHEAD: usize = 1 << 20;

fn walk() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    // The scan covers all traces, not only those with one prefix.
    options.set_total_order_seek(true);
    options.set_readahead_size(READ_AHEAD);
    options
}

/// A key that does not decode, in hexadecimal.
pub(crate) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

// === impl RocksEngine ===

impl RocksEngine {
    /// The blocks that have pages in a family. Seeks from block to block, because pages are large values.
    pub(super) fn blocks_of(
        &self,
        family: &'static str,
        found: &mut Vec<BlockKey>,
    ) -> Result<(), EngineError> {
        let mut rows = self.db.raw_iterator_cf_opt(&self.family(family)?, ReadOptions::default());
        rows.seek_to_first();
        while let Some(key) = rows.key() {
            let (block, behind) =
                block_of_page(key).map_err(|error| EngineError::damaged_row(family, hex(key), error))?;
            found.push(block);
            rows.seek(behind);
        }
        rows.status().map_err(failure)
    }
}

/// The block that a page belongs to, and the first key behind all of its pages.
pub(crate) fn block_of_page(key: &[u8]) -> Result<(BlockKey, Vec<u8>), KeyError> {
    let block = key.len().checked_sub(PAGE_NUMBER).and_then(|end| key.get(..end)).unwrap_or(key);
    let block = BlockKey::decode(block)?;
    let mut behind = block.encode_page(u32::MAX);
    behind.push(0);
    Ok((block, behind))
}

/// The number of pages that are stored of a block, whatever its catalog row says.
pub(crate) fn pages_of(db: &Database, key: &BlockKey) -> Result<u32, EngineError> {
    let (begin, mut pages) = (key.encode(), 0);
    for name in [FRESH, SEALED] {
        let mut rows = db.raw_iterator_cf_opt(&family(db, name)?, ReadOptions::default());
        rows.seek_for_prev(key.encode_page(u32::MAX));
        rows.status().map_err(failure)?;
        let last = rows.key().and_then(|last| last.strip_prefix(begin.as_slice())?.try_into().ok());
        pages = pages.max(last.map_or(0, |last| u32::from_be_bytes(last).saturating_add(1)));
    }
    Ok(pages)
}

impl RocksEngine {
    /// Makes records durable before it returns, also without a log.
    fn write_records(&self, batch: WriteBatch) -> Result<(), EngineError> {
        self.write(batch)?;
        match self.durability {
            Durability::None => self.db.flush_cf(&self.family(DEFAULT_COLUMN_FAMILY_NAME)?).map_err(failure),
            Durability::Sync | Durability::Os => Ok(()),
        }
    }
}

impl Inspect for RocksEngine {
    fn stored_blocks(&self) -> Result<Vec<BlockKey>, EngineError> {
        let mut found = Vec::new();
        for family in [FRESH, SEALED] {
            self.blocks_of(family, &mut found)?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn read_prefix(&self, key: &BlockKey) -> Result<Bytes, EngineError> {
        let mut out = BytesMut::new();
        for page in 0..pages_of(&self.db, key)? {
            match self.page(key, page) {
                Ok(Some(bytes)) => out.extend_from_slice(&bytes),
                // Damage is permanent; other errors may not occur again at the next attempt.
                Ok(None) | Err(EngineError::Damaged(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(out.freeze())
    }

    fn each_index_row(&self, show: &mut dyn FnMut(IndexRow)) -> Result<(), EngineError> {
        for row in self.db.iterator_cf_opt(&self.family(INDEX)?, walk(), IteratorMode::Start) {
            let (key, value) = row.map_err(failure)?;
            show(TraceKey::decode(&key).and_then(|key| Ok((key, RowRange::decode(&value)?))));
        }
        Ok(())
    }
}

/// Records lie in RocksDB's default family, by kind and name with a zero byte between them.
impl Records for RocksEngine {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let prefix = record_key(kind, "");
        let family = self.family(DEFAULT_COLUMN_FAMILY_NAME)?;
        let mut found = Vec::new();
        for row in self.db.iterator_cf(&family, IteratorMode::From(&prefix, Direction::Forward)) {
            let (key, value) = row.map_err(failure)?;
            let Some(name) = key.strip_prefix(prefix.as_slice()) else { break };
            found.push((String::from_utf8_lossy(name).into_owned(), value.into_vec()));
        }
        Ok(found)
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        let family = self.family(DEFAULT_COLUMN_FAMILY_NAME)?;
        let mut batch = WriteBatch::default();
        match value {
            Some(value) => batch.put_cf(&family, record_key(kind, name), value),
            None => batch.delete_cf(&family, record_key(kind, name)),
        }
        self.write_records(batch)
    }

    fn put_records(&self, records: &[StoreRecord]) -> Result<(), EngineError> {
        let family = self.family(DEFAULT_COLUMN_FAMILY_NAME)?;
        let mut batch = WriteBatch::default();
        for StoreRecord { kind, name, value } in records {
            batch.put_cf(&family, record_key(kind, name), value);
        }
        self.write_records(batch)
    }
}

/// Kind and name of a record, from its key.
pub(crate) fn record_of(key: &[u8]) -> Option<(String, String)> {
    let (kind, name) = std::str::from_utf8(key).ok()?.split_once('\0')?;
    Some((kind.to_owned(), name.to_owned()))
}

fn record_key(kind: &str, name: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", name.as_bytes()].concat()
}
