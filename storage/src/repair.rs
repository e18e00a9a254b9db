//! Puts everything that can be read of a damaged store into a new one, and rebuilds its catalog and index.
//!
//! Blocks keep their IDs, and the records beside them are copied unchanged: pins, deletions in progress, expired
//! rollups, the list of backups, and the range of block IDs in use. Two kinds of records name blocks by ID: expired
//! rollups (the blocks that contained the spans) and the list of backups (the hash of each block). The range of IDs in
//! use lies beyond all of them, so no ID is given again, whether its block is in the new store or was replaced, deleted
//! or lost. If that record is missing or damaged, IDs begin at the current time, as when a store is opened. Commit
//! sequences begin after those of the blocks and of deletions in progress; no other durable record relies on them.
//!
//! A block that can be read in part is stored unchanged, so that its readable rest is served. A block whose header
//! cannot be read is lost. The report says what the new store lacks. Nothing here knows directories: the caller swaps
//! the stores, or removes the new one when this fails.

use serde::{Deserialize, Serialize};
use spandrel_block::record::RecordError;
use spandrel_block::{BlockKey, CatalogRow, FormatError, Header, catalog_row, trace_table};

use crate::encryption::{KeyError, is_encrypted_value};
use crate::engine::{Engine, EngineError, Salvage, SalvageError, SalvagedBlock, SalvagedBytes};
use crate::rebuild::{self, RebuildError};
use crate::records::newer;
use crate::restore::unfinished;
use crate::store::OpenError;

/// The content of the new store, and what is missing from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairReport {
    /// Blocks in the new store, including damaged ones.
    pub block_count: u64,
    /// Bytes of these blocks.
    pub byte_count: u64,
    /// Spans of these blocks; for damaged ones, the number of spans before the damage.
    pub span_count: u64,
    /// Damaged blocks in the new store.
    pub damaged_block_count: u64,
    /// Blocks that are not in the new store.
    pub lost_block_count: u64,
    /// The damaged blocks; at most the first thousand.
    pub damaged_blocks: Vec<DamagedBlock>,
    /// The lost blocks; at most the first thousand.
    pub lost_blocks: Vec<DamagedBlock>,
    /// More blocks may be lost, because some keys could not be read.
    pub more_may_be_lost: bool,
    /// The end of the write-ahead log was damaged. After a power loss it contained only unacknowledged writes.
    #[serde(rename = "logWasCut")]
    pub wal_truncated: bool,
}

/// A block that could not be read as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DamagedBlock {
    /// The tenant that owns the block.
    pub tenant: String,
    /// Its window, in hours since 1970.
    pub hour: u32,
    /// The block's number, as a string because it exceeds the integers of JSON readers.
    pub block: String,
    /// The number of its spans, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_count: Option<u32>,
    /// A description of the damage.
    pub detail: String,
}

/// The progress of a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairProgress {
    /// Bytes of blocks that were read.
    pub bytes: u64,
    /// Bytes of all blocks, an estimate.
    pub of_bytes: u64,
}

/// Why a store was not repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Deleted data could come back.
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    /// The store does not open, for another reason than damage.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is no room for a second copy.
    #[error(
        "the new store needs {needed} bytes beside the damaged one, and {free} are free; make room, or move the data \
         directory to a larger disk"
    )]
    NoRoom {
        /// Bytes needed, the reserve included.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// A catalog row cannot be written.
    #[error("a record of the new store: {0}")]
    Row(#[from] RecordError),
    /// The new store cannot be written.
    #[error("the new store cannot be written: {0}")]
    Engine(#[from] EngineError),
}

struct Repair<'e> {
    source: &'e dyn Salvage,
    target: &'e dyn Engine,
    report: RepairReport,
}

/// Lists of blocks in the report end here; further blocks are only counted.
const MAX_LISTED: usize = 1_000;

/// Puts what can be read of a damaged store into an empty engine, and flushes it. `reserve_bytes` stay free.
pub fn repair(
    source: &dyn Salvage,
    target: &dyn Engine,
    reserve_bytes: u64,
    watch: &mut dyn FnMut(&RepairProgress),
) -> Result<RepairReport, RepairError> {
    target.put_records(&source.all_records()?)?;
    admit(target)?;
    let left = source.blocks()?;
    let is_encrypted = |block: &SalvagedBlock| block.row.as_deref().is_some_and(is_encrypted_value);
    if target.encryption().is_none() && left.blocks.iter().any(is_encrypted) {
        return Err(OpenError::from(KeyError::NoKeyring).into());
    }
    let mut progress = RepairProgress { bytes: 0, of_bytes: left.blocks.iter().map(|left| left.bytes).sum() };
    let needed = progress.of_bytes.saturating_add(reserve_bytes);
    if let Some(free) = target.free_bytes().filter(|free| *free < needed) {
        return Err(RepairError::NoRoom { needed, free });
    }
    let report = RepairReport {
        more_may_be_lost: left.are_more_missing,
        wal_truncated: source.wal_truncated(),
        ..RepairReport::default()
    };
    let mut repair = Repair { source, target, report };
    for block in left.blocks {
        watch(&progress);
        progress.bytes += block.bytes;
        repair.block(&block)?;
    }
    watch(&progress);
    target.flush()?;
    Ok(repair.report)
}

/// Refuses a readable store that could not be opened afterwards: one with an unfinished restore, or a newer one.
fn admit(records: &dyn Engine) -> Result<(), RepairError> {
    if let Some(backup) = unfinished(records)? {
        return Err(OpenError::RestoreInProgress(backup).into());
    }
    match newer(records)? {
        Some(record) => Err(OpenError::NewerRecord(record).into()),
        None => Ok(()),
    }
}

// === impl Repair ===

impl Repair<'_> {
    fn block(&mut self, left: &SalvagedBlock) -> Result<(), RepairError> {
        let key = &left.key;
        let row = match left.row.as_deref().map(|row| (row, CatalogRow::decode(row))) {
            Some((_, Ok(row))) => Some(row),
            Some((row, Err(_))) if CatalogRow::is_newer(row) => {
                return Err(OpenError::NewerRow(key.block.0).into());
            }
            _ => None,
        };
        let SalvagedBytes { bytes, damage: unread } = self.bytes(left);
        match rebuild::from_bytes(key, bytes.clone()) {
            Ok((change, row)) => {
                self.target.commit(&change)?;
                self.count(&row);
                Ok(())
            }
            Err(RebuildError::Row(error)) => Err(error.into()),
            Err(RebuildError::Block(error @ FormatError::Version(_))) => {
                Err(OpenError::newer_block(key, error).into())
            }
            Err(RebuildError::Block(error)) => {
                let detail = unread.unwrap_or_else(|| error.to_string());
                self.damaged_block(left, row, bytes, detail)
            }
        }
    }

    /// The readable bytes of a block. A block may be longer by its header than by its catalog row or pages.
    fn bytes(&self, left: &SalvagedBlock) -> SalvagedBytes {
        let found = self.source.read_block(&left.key, left.bytes);
        let sections =
            Header::parse(&found.bytes).map(|header| header.sections().to_vec()).unwrap_or_default();
        let end = sections.iter().map(|section| section.range().end).max().unwrap_or(0);
        if end > left.bytes.max(found.bytes.len() as u64) {
            self.source.read_block(&left.key, end)
        } else {
            found
        }
    }

    /// Stores a damaged block unchanged, if its header can be read.
    fn damaged_block(
        &mut self,
        left: &SalvagedBlock,
        row: Option<CatalogRow>,
        bytes: bytes::Bytes,
        detail: String,
    ) -> Result<(), RepairError> {
        let spans = row.as_ref().map(|row| row.meta.spans);
        let is_readable = Header::parse(&bytes).is_ok();
        let Some(row) = row.or_else(|| catalog_row(&bytes).ok()).filter(|_| is_readable) else {
            self.report.lost_block_count += 1;
            list(&mut self.report.lost_blocks, DamagedBlock::new(&left.key, spans, detail));
            return Ok(());
        };
        let traces = trace_table(&bytes, &row).unwrap_or_default();
        self.target.commit(&rebuild::change(&left.key, bytes, &row, &traces)?)?;
        self.count(&row);
        self.report.damaged_block_count += 1;
        list(&mut self.report.damaged_blocks, DamagedBlock::new(&left.key, Some(row.meta.spans), detail));
        Ok(())
    }

    fn count(&mut self, row: &CatalogRow) {
        self.report.block_count += 1;
        self.report.byte_count += row.bytes;
        self.report.span_count += u64::from(row.meta.span_rows());
    }
}

fn list(listed: &mut Vec<DamagedBlock>, block: DamagedBlock) {
    if listed.len() < MAX_LISTED {
        listed.push(block);
    }
}

// === impl DamagedBlock, RepairReport ===

impl DamagedBlock {
    fn new(key: &BlockKey, span_count: Option<u32>, detail: String) -> Self {
        let (tenant, block) = (key.tenant.to_string(), key.block.0.to_string());
        Self { tenant, hour: key.hour.0, block, span_count, detail }
    }
}

impl RepairReport {
    /// Whether everything of the old store was read.
    pub fn is_whole(&self) -> bool {
        self.damaged_block_count == 0
            && self.lost_block_count == 0
            && !self.more_may_be_lost
            && !self.wal_truncated
    }
}
