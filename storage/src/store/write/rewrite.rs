//! Takes traces out of blocks: what stays is written anew, in one catalog commit with the removal of
//! the old blocks, so that a kill at any moment leaves either the old ones or the new ones.
//!
//! Which traces go, and why, is decided by retention and deletion. Blocks are taken some at a time:
//! memory is bounded by what one such step reads and writes.

use std::collections::HashSet;
use std::sync::Arc;

use spandrel_block::record::RecordError;
use spandrel_block::{BlockId, BlockWriter, FinishedBlock, TraceTable, WriteError};
use spandrel_proto::TraceId;

use crate::api::Damage;
use crate::engine::{Change, EngineError, NewBlock};
use crate::failpoint::{self, Failpoint};
use crate::store::BlockTraceStore;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::garbage::Exit;
use crate::store::read::merge_iter::{BlockRows, MergedRows, SpanRow};
use crate::store::write::merge::is_full;

/// Why blocks were not rewritten. They stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("writing the new block: {0}")]
    Write(#[from] WriteError),
    #[error("encoding a record: {0}")]
    Record(#[from] RecordError),
    #[error("no room on the disk to rewrite {bytes} bytes")]
    NoRoom { bytes: u64 },
    #[error("{0} of the blocks are damaged; they were set aside")]
    Damaged(usize),
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Shrinks,
    Goes,
}

/// What is to be done with some blocks of one window.
#[derive(Default)]
pub(crate) struct Step {
    /// Blocks of which nothing stays.
    pub(crate) going: Vec<Arc<BlockEntry>>,
    /// Blocks of which some rows stay.
    pub(crate) shrinking: Vec<Arc<BlockEntry>>,
}

/// A step that is ready to be committed.
pub(crate) struct Prepared {
    blocks: Vec<Arc<BlockEntry>>,
    written: Vec<FinishedBlock>,
    /// Rows that go.
    pub(crate) dropped: u64,
}

/// Stored bytes that one step rewrites, more or less.
const STEP_BYTES: u64 = 64 << 20;
/// As for blocks that are merged.
const ZSTD_LEVEL: i32 = 1;

// === impl Fate ===

impl Fate {
    /// By which of its traces stay.
    pub(crate) fn of(traces: &TraceTable, stays: impl Fn(TraceId) -> bool) -> Self {
        let staying = traces.entries().iter().filter(|(trace, _)| stays(*trace)).count();
        match staying {
            0 => Self::Goes,
            all if all == traces.entries().len() => Self::Stays,
            _ => Self::Shrinks,
        }
    }
}

// === impl Step ===

impl Step {
    /// Cuts the blocks of a window into steps that fit into memory. Blocks that stay are left out.
    pub(crate) fn cut(blocks: impl IntoIterator<Item = (Arc<BlockEntry>, Fate)>) -> Vec<Self> {
        let (mut steps, mut bytes) = (vec![Self::default()], 0);
        for (entry, fate) in blocks {
            if fate == Fate::Stays {
                continue;
            }
            if bytes >= STEP_BYTES {
                steps.push(Self::default());
                bytes = 0;
            }
            let Some(step) = steps.last_mut() else { continue };
            if fate == Fate::Goes {
                step.going.push(entry);
            } else {
                bytes += entry.row.bytes;
                step.shrinking.push(entry);
            }
        }
        steps.retain(|step| !step.going.is_empty() || !step.shrinking.is_empty());
        steps
    }

    /// All its blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.going.iter().chain(&self.shrinking)
    }

    /// Writes what stays, in memory. `stays` sees every row of a block that shrinks, each once.
    pub(crate) fn prepare(
        self,
        store: &BlockTraceStore,
        mut stays: impl FnMut(&SpanRow) -> bool,
    ) -> Result<Prepared, RewriteError> {
        let bytes: u64 = self.shrinking.iter().map(|entry| entry.row.bytes).sum();
        if bytes > 0 && store.engine.free_bytes().is_some_and(|free| free < bytes.saturating_mul(2)) {
            store.doomed.hurry();
            return Err(RewriteError::NoRoom { bytes });
        }
        let going: u64 = self.going.iter().map(|entry| u64::from(entry.row.meta.spans)).sum();
        let mut dropped = going;
        let mut rows = read(store, &self.shrinking)?;
        let staying = rows.by_ref().filter(|row| {
            let stays = stays(row);
            dropped += u64::from(!stays);
            stays
        });
        let level = self.shrinking.iter().map(|entry| entry.row.meta.level).max().unwrap_or(0).max(1);
        let written = write(store, level, staying)?;
        check(store, rows.take_failed())?;
        Ok(Prepared { blocks: self.blocks().cloned().collect(), written, dropped })
    }
}

/// All rows of some blocks, each once. Nothing is rewritten without all of them.
pub(crate) fn read(store: &BlockTraceStore, blocks: &[Arc<BlockEntry>]) -> Result<MergedRows, RewriteError> {
    let (mut parts, mut failed) = (Vec::new(), Vec::new());
    for entry in blocks {
        match BlockRows::open(&store.reader, entry, 0..entry.row.meta.spans, false) {
            Ok(rows) => parts.push(rows),
            Err(error) => failed.push((entry.clone(), error)),
        }
    }
    check(store, failed)?;
    let state = blocks.first().and_then(|entry| store.tenant(&entry.key.tenant));
    Ok(MergedRows::new(parts).apart_from_deleted(state))
}

/// Damaged blocks end the step: the next one goes without them.
pub(crate) fn check(
    store: &BlockTraceStore,
    failed: Vec<(Arc<BlockEntry>, BlockError)>,
) -> Result<(), RewriteError> {
    failed.iter().for_each(|(entry, error)| store.report_damage(entry, error, &Damage::default()));
    if failed.is_empty() { Ok(()) } else { Err(RewriteError::Damaged(failed.len())) }
}

fn write(
    store: &BlockTraceStore,
    level: u8,
    rows: impl Iterator<Item = SpanRow>,
) -> Result<Vec<FinishedBlock>, RewriteError> {
    let mut finished = Vec::new();
    let mut writer: Option<BlockWriter> = None;
    let mut last: Option<TraceId> = None;
    for row in rows {
        if let Some(full) = writer.take_if(|writer| is_full(store, writer, last != Some(row.key.trace()))) {
            finished.push(full.finish(level, store.clock.now())?);
        }
        let open = match &mut writer {
            Some(open) => open,
            None => writer.insert(BlockWriter::new(ZSTD_LEVEL)?),
        };
        let (resource, scope) = (open.resource(&row.resource)?, open.scope(&row.scope));
        open.push(resource, scope, &row.span, row.sequence)?;
        last = Some(row.key.trace());
    }
    if let Some(open) = writer {
        finished.push(open.finish(level, store.clock.now())?);
    }
    Ok(finished)
}

// === impl Prepared ===

impl Prepared {
    /// The blocks that will be no more.
    pub(crate) fn removes(&self) -> HashSet<BlockId> {
        self.blocks.iter().map(|entry| entry.key.block).collect()
    }

    /// Puts what stays in the place of the old blocks. Returns the new ones.
    pub(crate) fn commit(self, store: &BlockTraceStore) -> Result<Vec<BlockId>, RewriteError> {
        let Some(first) = self.blocks.first() else { return Ok(Vec::new()) };
        let mut change = Change {
            tenant: first.key.tenant.clone(),
            hour: first.key.hour,
            adds: Vec::new(),
            removes: self.blocks.iter().map(|entry| entry.key.block).collect(),
        };
        let mut entries = Vec::new();
        for block in self.written {
            let id = store.next_block_id();
            let index = block.trace_rows().to_vec();
            let row = block.row.encode()?;
            change.adds.push(NewBlock { id, row, bytes: block.bytes, short_lived: false, index });
            entries.push(Arc::new(BlockEntry::new(change.key(id), block.row)));
        }
        failpoint::reach(Failpoint::RetentionChosen);
        store.commit(&change)?;
        failpoint::reach(Failpoint::RetentionCommitted);
        let new = entries.iter().map(|entry| entry.key.block).collect();
        store.replace(&change.tenant, entries, &self.blocks, Exit::Cleaned);
        failpoint::reach(Failpoint::RetentionReplaced);
        Ok(new)
    }
}
