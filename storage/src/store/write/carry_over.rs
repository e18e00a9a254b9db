//! Rows of traces that continue past this merge are carried over into a new fresh block, so that a trace ends in one
//! sealed block.
//!
//! A merge takes the oldest fresh blocks of a window, as many as fill a sealed one. Some traces have spans in these and
//! in later blocks, and every query for one would have to read two sealed blocks. So their rows become a fresh block
//! again, which the next merge takes together with the rest of them. Rows are carried over once: a trace that never
//! ends is split.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use spandrel_block::{BlockId, BlockWriter, FinishedBlock, WriteError};
use spandrel_proto::TraceId;

use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::tenant::TenantState;
use crate::store::write::seal_limits::{NextRow, SealLimits};

/// The rows that a merge carries over to the next one.
pub(crate) struct CarryOver<'s> {
    core: &'s Core,
    limits: SealLimits,
    state: &'s TenantState,
    /// Fresh blocks of this merge, and whether their rows were carried over before.
    now: FxHashMap<BlockId, bool>,
    /// Fresh blocks that the next merge takes.
    later: FxHashSet<BlockId>,
    /// The number of rows that may still be carried over, so that merges make progress.
    room: u64,
    /// Whether the merge is of logs.
    logs: bool,
    /// The block that is being written, and the finished ones.
    writer: Option<BlockWriter>,
    finished: Vec<FinishedBlock>,
}

/// Facts about the rows of a trace in fresh blocks.
#[derive(Default)]
struct Parts {
    /// Rows in blocks of this merge.
    rows: u64,
    were_carried: bool,
    go_on: bool,
}

/// At most this fraction of a merge's rows is carried over.
const MAX_CARRY_FRACTION: u64 = 4;

// === impl CarryOver ===

impl<'s> CarryOver<'s> {
    /// Creates an empty one for a merge that reads `now` and leaves `later` to the next merge.
    pub(crate) fn new(
        core: &'s Core,
        state: &'s TenantState,
        now: &[Arc<BlockEntry>],
        later: &[BlockId],
    ) -> Self {
        let spans: u64 = now.iter().map(|entry| u64::from(entry.row.meta.spans)).sum();
        Self {
            core,
            limits: SealLimits::new(&core.config),
            state,
            now: now.iter().map(|entry| (entry.key.block, entry.carried_over)).collect(),
            later: later.iter().copied().collect(),
            room: spans / MAX_CARRY_FRACTION,
            logs: now.first().is_some_and(|entry| entry.row.meta.logs),
            writer: None,
            finished: Vec::new(),
        }
    }

    /// Whether the rows of a trace are carried over.
    pub(crate) fn takes(&mut self, trace: TraceId) -> bool {
        // At most one block is carried over, because it is in memory beside the one that is being sealed.
        let is_full =
            self.writer.as_ref().is_some_and(|writer| self.limits.is_full(writer, NextRow::OfNewTrace));
        if self.later.is_empty() || is_full || !self.finished.is_empty() {
            return false;
        }
        let parts = self.parts(trace);
        let takes = parts.go_on && !parts.were_carried && parts.rows <= self.room;
        self.room -= if takes { parts.rows } else { 0 };
        takes
    }

    fn parts(&self, trace: TraceId) -> Parts {
        let mut parts = Parts::default();
        self.state.each_fresh_part(trace, |block, range| match self.now.get(&block) {
            Some(were_carried) => {
                parts.rows += u64::from(range.rows);
                parts.were_carried |= were_carried;
            }
            None => parts.go_on |= self.later.contains(&block),
        });
        parts
    }

    /// The block for the next row that is carried over.
    pub(crate) fn writer(&mut self) -> Result<&mut BlockWriter, WriteError> {
        // A trace may have more rows than fit into a block.
        if self.writer.as_ref().is_some_and(|writer| self.limits.is_full(writer, NextRow::OfSameTrace)) {
            self.cut()?;
        }
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(BlockWriter::fresh()?.of_logs(self.logs))),
        }
    }

    fn cut(&mut self) -> Result<(), WriteError> {
        if let Some(writer) = self.writer.take() {
            self.finished.push(writer.finish(0, self.core.clock.now())?);
        }
        Ok(())
    }

    /// Returns the fresh blocks with all rows that are carried over.
    pub(crate) fn finish(mut self) -> Result<Vec<FinishedBlock>, WriteError> {
        self.cut()?;
        Ok(self.finished)
    }
}
