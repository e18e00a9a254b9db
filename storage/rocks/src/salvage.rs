//! Reads what is left of a damaged store, and changes nothing in it: RocksDB opens it for reading only, so no
//! compaction reads the damage, and the log is replayed in memory.
//!
//! RocksDB returns a row only if it can read every table that may contain a newer version of it: a deletion in a
//! damaged table is an error, and an older row never comes back. So each row that is read here is right, and rows can
//! only be missing. A scan of a family stops where a table is damaged, and continues with the next key that is known
//! from another source: from another family, or as the bound of a file.
//!
//! The catalog names the live blocks. Where it cannot be read, they follow from the other families: every commit
//! writes the pages of a block together with its catalog row, every removal writes a `replaced` row as it removes the
//! catalog row, and every deletion removes the pages together with the `replaced` row. So at each moment the catalog
//! names the blocks that are stored and not replaced. (Not so after a kill under `--durability none`, where families
//! are flushed one by one: a replaced block may have no `replaced` row then, and be served once more.) Where the
//! `replaced` family cannot be read either, it is unknown which blocks exist.
//!
//! Not for a store in use. `open_read_only.rs` opens it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::BytesMut;
use rocksdb::{DBPinnableSlice, DEFAULT_COLUMN_FAMILY_NAME, IteratorMode, ReadOptions};
use spandrel_block::BlockKey;
use spandrel_storage::encryption::block_bytes;
use spandrel_storage::engine::StoreRecord;
use spandrel_storage::engine::{
    EngineError, Salvage, SalvageError, SalvagedBlock, SalvagedBlocks, SalvagedBytes,
};

use crate::database::{Database, failure, family};
use crate::engine::{PAGE, block_of_page, hex, pages_of, record_of};
use crate::error::RocksOpenError;
use crate::open_read_only;
use crate::options::{CATALOG, FRESH, REPLACED, SEALED};

/// A damaged store.
pub struct DamagedStore {
    db: Database,
    wal_truncated: bool,
}

/// Where a scan of a family continues after a row.
enum ScanStep {
    /// With the next row.
    Next,
    /// With this key, or the first one behind it.
    To(Vec<u8>),
}

/// The state of a block whose catalog row a scan did not reach.
enum BlockState {
    /// The catalog names it; with its row, if that can be read.
    Live(Option<Vec<u8>>),
    /// It was replaced, or the catalog does not name it.
    Removed,
}

type Row<'r> = (&'r [u8], &'r [u8]);

// === impl DamagedStore ===

impl DamagedStore {
    /// Opens the store in a folder. `scratch` is a folder that does not exist yet.
    pub(crate) fn open(path: &Path, scratch: &Path, reserve_bytes: u64) -> Result<Self, RocksOpenError> {
        let (db, wal_truncated) = open_read_only::open(path, scratch, reserve_bytes)?;
        Ok(Self { db, wal_truncated })
    }

    /// Passes the readable rows of a family to `show`, in order. Returns the first damage that was skipped.
    fn scan(
        &self,
        name: &str,
        known: &BTreeSet<Vec<u8>>,
        show: &mut dyn FnMut(Row<'_>) -> ScanStep,
    ) -> Result<Option<EngineError>, EngineError> {
        let known: BTreeSet<Vec<u8>> = known.iter().cloned().chain(self.bounds(name)?).collect();
        let (mut damage, mut reached) = (None, Vec::new());
        let mut rows = self.db.raw_iterator_cf_opt(&family(&self.db, name)?, ReadOptions::default());
        rows.seek_to_first();
        loop {
            while let Some(row) = rows.item() {
                reached = row.0.to_vec();
                match show(row) {
                    ScanStep::Next => rows.next(),
                    ScanStep::To(key) => {
                        rows.seek(&key);
                        reached = key;
                    }
                }
            }
            let Err(error) = rows.status() else { return Ok(damage) };
            damage.get_or_insert(failure(error));
            // Continues behind the place where the scan stopped, so each attempt gets further, even without a row.
            let behind = (std::ops::Bound::Excluded(&reached), std::ops::Bound::Unbounded);
            let Some(next) = known.range::<Vec<u8>, _>(behind).next() else { return Ok(damage) };
            reached.clone_from(next);
            rows.seek(next);
        }
    }

    /// The first and last keys of the files of a family.
    fn bounds(&self, name: &str) -> Result<Vec<Vec<u8>>, EngineError> {
        let files = self.db.live_files().map_err(failure)?.into_iter();
        let of_family = files.filter(|file| file.column_family_name == name);
        Ok(of_family.flat_map(|file| [file.start_key, file.end_key]).flatten().collect())
    }

    fn get(&self, name: &str, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.db.get_cf(&family(&self.db, name)?, key).map_err(failure)
    }

    /// A page from the family that contains it, even if the other family is damaged.
    fn page(&self, key: &BlockKey, page: u32) -> Result<Option<DBPinnableSlice<'_>>, EngineError> {
        let key = key.encode_page(page);
        let mut damage = None;
        for name in [SEALED, FRESH] {
            match self.db.get_pinned_cf(&family(&self.db, name)?, &key).map_err(failure) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => damage = Some(error),
            }
        }
        damage.map_or(Ok(None), Err)
    }

    /// The blocks that have a readable page; the keys of `known` blocks help to skip damage. Also returns whether
    /// everything was readable.
    fn stored(&self, known: &BTreeSet<Vec<u8>>) -> Result<(BTreeSet<Vec<u8>>, bool), EngineError> {
        let (mut found, mut all) = (BTreeSet::new(), true);
        let first_pages =
            known.iter().filter_map(|key| Some(BlockKey::decode(key).ok()?.encode_page(0))).collect();
        for name in [FRESH, SEALED] {
            let damage = self.scan(name, &first_pages, &mut |(key, _)| match block_of_page(key) {
                Ok((block, behind)) => {
                    found.insert(block.encode());
                    ScanStep::To(behind)
                }
                Err(_) => ScanStep::Next,
            })?;
            all &= damage.is_none();
        }
        Ok((found, all))
    }

    fn state_of(&self, key: &[u8], damage: &EngineError) -> Result<BlockState, SalvageError> {
        match self.get(CATALOG, key) {
            Ok(Some(row)) => Ok(BlockState::Live(Some(row))),
            Ok(None) => Ok(BlockState::Removed),
            Err(_) => match self.get(REPLACED, key) {
                Ok(Some(_)) => Ok(BlockState::Removed),
                Ok(None) => Ok(BlockState::Live(None)),
                Err(error) => Err(SalvageError::Doubt(format!("{damage}; {error}"))),
            },
        }
    }

    fn left(&self, key: BlockKey, row: Option<Vec<u8>>) -> SalvagedBlock {
        let said = row.as_deref().and_then(block_bytes);
        let by_pages = || pages_of(&self.db, &key).map_or(0, |pages| u64::from(pages) * PAGE);
        let bytes = said.unwrap_or_else(by_pages);
        SalvagedBlock { key, row, bytes }
    }
}

fn key_of(key: &[u8]) -> Result<BlockKey, SalvageError> {
    BlockKey::decode(key).map_err(|error| EngineError::damaged_row(CATALOG, hex(key), error).into())
}

impl Salvage for DamagedStore {
    fn blocks(&self) -> Result<SalvagedBlocks, SalvageError> {
        let mut rows: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let damage = self.scan(CATALOG, &BTreeSet::new(), &mut |(key, row)| {
            rows.insert(key.to_vec(), Some(row.to_vec()));
            ScanStep::Next
        })?;
        let mut are_more_missing = false;
        if let Some(damage) = damage {
            let (stored, all) = self.stored(&rows.keys().cloned().collect())?;
            are_more_missing = !all;
            for key in stored {
                if rows.contains_key(&key) {
                    continue;
                }
                if let BlockState::Live(row) = self.state_of(&key, &damage)? {
                    rows.insert(key, row);
                }
            }
        }
        let left = rows.into_iter().map(|(key, row)| Ok(self.left(key_of(&key)?, row)));
        Ok(SalvagedBlocks { blocks: left.collect::<Result<_, SalvageError>>()?, are_more_missing })
    }

    fn read_block(&self, key: &BlockKey, bytes: u64) -> SalvagedBytes {
        let known = pages_of(&self.db, key).unwrap_or(0);
        let pages = known.max(u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX));
        let (mut out, mut damage) = (BytesMut::new(), None);
        for page in 0.. {
            let found = self.page(key, page);
            let why = match &found {
                Ok(Some(found)) => {
                    // Zeros fill the place of unreadable pages before it.
                    out.resize((u64::from(page) * PAGE) as usize, 0);
                    out.extend_from_slice(found);
                    continue;
                }
                Ok(None) => "a page of the block is missing".to_owned(),
                Err(error) => error.to_string(),
            };
            // Behind the known pages, a missing page is the end of the block.
            let is_the_end = page >= pages;
            if !is_the_end || found.is_err() {
                damage.get_or_insert(why);
            }
            if is_the_end {
                break;
            }
        }
        SalvagedBytes { bytes: out.freeze(), damage }
    }

    fn all_records(&self) -> Result<Vec<StoreRecord>, SalvageError> {
        let unreadable = |error: String| SalvageError::Records(error);
        let family = family(&self.db, DEFAULT_COLUMN_FAMILY_NAME)?;
        let mut records = Vec::new();
        for row in self.db.iterator_cf(&family, IteratorMode::Start) {
            let (key, value) = row.map_err(|error| unreadable(error.to_string()))?;
            let (kind, name) = record_of(&key).ok_or_else(|| unreadable("a name of one".to_owned()))?;
            records.push(StoreRecord { kind, name, value: value.into_vec() });
        }
        Ok(records)
    }

    fn wal_truncated(&self) -> bool {
        self.wal_truncated
    }
}
