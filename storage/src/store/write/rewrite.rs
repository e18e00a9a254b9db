//! Removes traces from blocks: the rows that stay are copied to new blocks, as columns, which replace the old ones.
//!
//! Retention and deletion decide which traces are removed. Blocks are rewritten in batches, so memory is bounded by the
//! blocks that one batch reads and writes.

use std::collections::HashSet;
use std::sync::Arc;

use spandrel_block::{BlockId, BlockWriter, CopyError, FinishedBlock, RowKey, TraceTable};
use spandrel_proto::TraceId;

use super::inputs::{Duplicates, InputRow, Inputs};
use super::replace::{Outputs, RewriteError, check_damage, check_room, replace_blocks};
use super::seal_limits::{NextRow, SealLimits};
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, Caching};
use crate::store::core::garbage::RemovalReason;
use crate::store::read::merge_iter::{BlockRows, MergedRows};

/// The effect of removing traces on a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockDisposition {
    Stays,
    Shrinks,
    Goes,
}

/// Blocks of one window that are rewritten together.
#[derive(Default)]
pub(crate) struct RewriteBatch {
    /// Blocks that lose all rows.
    pub(crate) going: Vec<Arc<BlockEntry>>,
    /// Blocks that keep some rows.
    pub(crate) shrinking: Vec<Arc<BlockEntry>>,
}

/// A batch that is ready to be committed.
pub(crate) struct Prepared {
    blocks: Vec<Arc<BlockEntry>>,
    written: Vec<FinishedBlock>,
    /// Number of removed spans.
    pub(crate) dropped: u64,
}

/// The approximate number of stored bytes that one batch rewrites.
const BATCH_BYTES: u64 = 64 << 20;
/// The same level as for merged blocks.
const ZSTD_LEVEL: i32 = 1;

// === impl BlockDisposition ===

impl BlockDisposition {
    /// The effect on a block with these traces.
    pub(crate) fn of(traces: &TraceTable, stays: impl Fn(TraceId) -> bool) -> Self {
        let staying = traces.entries().iter().filter(|(trace, _)| stays(*trace)).count();
        match staying {
            0 => Self::Goes,
            all if all == traces.entries().len() => Self::Stays,
            _ => Self::Shrinks,
        }
    }
}

// === impl RewriteBatch ===

impl RewriteBatch {
    /// Splits the blocks of a window into batches that fit into memory, those of logs apart from those of spans. Blocks
    /// that stay are left out.
    pub(crate) fn cut(blocks: impl IntoIterator<Item = (Arc<BlockEntry>, BlockDisposition)>) -> Vec<Self> {
        let (logs, spans) = blocks.into_iter().partition::<Vec<_>, _>(|(entry, _)| entry.row.meta.logs);
        [spans, logs].into_iter().flat_map(Self::cut_alike).collect()
    }

    fn cut_alike(blocks: Vec<(Arc<BlockEntry>, BlockDisposition)>) -> Vec<Self> {
        let (mut batches, mut bytes) = (vec![Self::default()], 0);
        for (entry, disposition) in blocks {
            if disposition == BlockDisposition::Stays {
                continue;
            }
            if bytes >= BATCH_BYTES {
                batches.push(Self::default());
                bytes = 0;
            }
            let Some(batch) = batches.last_mut() else { continue };
            if disposition == BlockDisposition::Goes {
                batch.going.push(entry);
            } else {
                bytes += entry.row.bytes;
                batch.shrinking.push(entry);
            }
        }
        batches.retain(|batch| !batch.going.is_empty() || !batch.shrinking.is_empty());
        batches
    }

    /// Whether its rows are log records, and not spans.
    pub(crate) fn is_of_logs(&self) -> bool {
        self.blocks().next().is_some_and(|entry| entry.row.meta.logs)
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.going.iter().chain(&self.shrinking)
    }

    /// Writes the rows that stay, in memory. `stays` is called once for every row of a block that shrinks.
    pub(crate) fn prepare(
        self,
        core: &Core,
        mut stays: impl FnMut(&InputRow<'_>) -> bool,
    ) -> Result<Prepared, RewriteError> {
        let bytes: u64 = self.shrinking.iter().map(|entry| entry.row.bytes).sum();
        if bytes > 0 {
            check_room(core, bytes)?;
        }
        let is_of_logs = self.is_of_logs();
        let going: u64 = self.going.iter().map(|entry| u64::from(entry.row.meta.spans)).sum();
        let mut dropped = going;
        let level = self.shrinking.iter().map(|entry| entry.row.meta.level).max().unwrap_or(0).max(1);
        let written = write(core, &self.shrinking, level, |row| {
            let stays = stays(row);
            dropped += u64::from(!stays);
            stays
        })?;
        // Logs never count as spans.
        let dropped = if is_of_logs { 0 } else { dropped };
        Ok(Prepared { blocks: self.blocks().cloned().collect(), written, dropped })
    }
}

/// Copies the rows that stay into new blocks.
fn write(
    core: &Core,
    blocks: &[Arc<BlockEntry>],
    level: u8,
    stays: impl FnMut(&InputRow<'_>) -> bool,
) -> Result<Vec<FinishedBlock>, RewriteError> {
    let limits = SealLimits::new(&core.config);
    let logs = blocks.first().is_some_and(|entry| entry.row.meta.logs);
    let mut finished = Vec::new();
    let mut writer: Option<BlockWriter> = None;
    let mut last: Option<TraceId> = None;
    pass_rows(core, blocks, stays, |inputs, key| {
        let trace = key.trace();
        let next = NextRow::after(last.replace(trace), trace);
        if let Some(full) = writer.take_if(|writer| limits.is_full(writer, next)) {
            finished.push(full.finish(level, core.clock.now())?);
        }
        let open = match &mut writer {
            Some(open) => open,
            None => writer.insert(BlockWriter::new(ZSTD_LEVEL)?.of_logs(logs)),
        };
        match inputs.pass(Some(open)) {
            Some(CopyError::Write(error)) => Err(error.into()),
            _ => Ok(()),
        }
    })?;
    if let Some(open) = writer {
        finished.push(open.finish(level, core.clock.now())?);
    }
    Ok(finished)
}

/// Visits every row of some blocks once, without copying it.
pub(crate) fn each_row(
    core: &Core,
    blocks: &[Arc<BlockEntry>],
    mut visit: impl FnMut(&InputRow<'_>),
) -> Result<(), RewriteError> {
    let visit = |row: &InputRow<'_>| {
        visit(row);
        false
    };
    pass_rows(core, blocks, visit, |_, _| Ok(()))
}

/// Reads some blocks in one order, each distinct span once; rows that stay are passed by `copy`, the others skipped.
/// Fails if a block has a page that cannot be opened or a row that cannot be copied, because it must not be rewritten
/// then. The values of rows that are skipped are not read.
fn pass_rows(
    core: &Core,
    blocks: &[Arc<BlockEntry>],
    mut stays: impl FnMut(&InputRow<'_>) -> bool,
    mut copy: impl FnMut(&mut Inputs, RowKey) -> Result<(), RewriteError>,
) -> Result<(), RewriteError> {
    let state = blocks.first().and_then(|entry| core.tenants.get(&entry.key.tenant));
    let mut inputs = Inputs::open(&core.reader, blocks);
    let mut duplicates = Duplicates::new(state.as_deref());
    while let Some((key, at)) = inputs.next() {
        if duplicates.is_new(&mut inputs, key, at) && inputs.row().is_some_and(|row| stays(&row)) {
            copy(&mut inputs, key)?;
        } else {
            inputs.pass(None);
        }
    }
    check_damage(core, inputs.damaged)
}

/// Rebuilds all rows of some blocks, each once. The caller has to check `take_failed` at the end.
pub(crate) fn read(core: &Core, blocks: &[Arc<BlockEntry>]) -> Result<MergedRows, RewriteError> {
    let (mut parts, mut failed) = (Vec::new(), Vec::new());
    for entry in blocks {
        match BlockRows::open(&core.reader, entry, 0..entry.row.meta.spans, Caching::Skip) {
            Ok(rows) => parts.push(rows),
            Err(error) => failed.push((entry.clone(), error)),
        }
    }
    check_damage(core, failed)?;
    let state = blocks.first().and_then(|entry| core.tenants.get(&entry.key.tenant));
    Ok(MergedRows::new(parts).apart_from_deleted(state))
}

// === impl Prepared ===

impl Prepared {
    /// The IDs of the blocks that are removed.
    pub(crate) fn removes(&self) -> HashSet<BlockId> {
        self.blocks.iter().map(|entry| entry.key.block).collect()
    }

    /// Replaces the old blocks by those with the rows that stay.
    pub(crate) fn commit(self, core: &Core) -> Result<(), RewriteError> {
        let Some(first) = self.blocks.first() else { return Ok(()) };
        let state = core.tenants.get_or_new(&first.key.tenant);
        let outputs = Outputs { sealed: self.written, ..Outputs::default() };
        replace_blocks(core, &state, &self.blocks, outputs, RemovalReason::Expired).map(drop)
    }
}
