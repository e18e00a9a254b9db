//! Traces that go on: a merge leaves their rows to the next one.
//!
//! A merge takes the oldest fresh blocks of a window, as many as fill a sealed one. Where it ends, some traces
//! have spans on both sides, and whoever asked for one would have to look into two blocks from then on. So
//! their rows become a fresh block again, which the next merge takes together with the rest of them. That
//! happens once to a row at the most: a trace that goes on for ever is cut.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use spandrel_block::{BlockId, BlockWriter, FinishedBlock, WriteError};
use spandrel_proto::{TraceId, UnixNanos};

use super::block::BlockEntry;
use super::view::TenantState;

/// What a merge leaves to the next one.
pub(super) struct Carry<'s> {
    state: &'s TenantState,
    /// Fresh blocks that the next merge takes.
    later: FxHashSet<BlockId>,
    /// Fresh blocks of this merge that an earlier one has left.
    left_before: FxHashSet<BlockId>,
    /// Rows at the most: a merge is to get on.
    most: u64,
    rows: u64,
    writer: Option<BlockWriter>,
}

/// One in so many rows of a merge may be left.
const SHARE: u64 = 4;

// === impl Carry ===

impl<'s> Carry<'s> {
    /// Nothing so far, of a merge that takes `now` and after which `later` are left.
    pub(super) fn new(state: &'s TenantState, now: &[Arc<BlockEntry>], later: &[BlockId]) -> Self {
        let spans: u64 = now.iter().map(|entry| u64::from(entry.row.meta.spans)).sum();
        Self {
            state,
            later: later.iter().copied().collect(),
            left_before: now.iter().filter(|entry| entry.left).map(|entry| entry.key.block).collect(),
            most: spans / SHARE,
            rows: 0,
            writer: None,
        }
    }

    /// Whether the rows of a trace are left to the next merge.
    pub(super) fn takes(&mut self, trace: TraceId) -> bool {
        if self.later.is_empty() || self.rows >= self.most {
            return false;
        }
        let (mut goes_on, mut rows) = (false, 0);
        let was_left = self.state.each_fresh_part(trace, |block, range| {
            match self.later.contains(&block) {
                true => goes_on = true,
                false => rows += u64::from(range.rows),
            }
            self.left_before.contains(&block)
        });
        let takes = goes_on && !was_left && self.rows + rows <= self.most;
        self.rows += if takes { rows } else { 0 };
        takes
    }

    /// Takes the rows that are left.
    pub(super) fn writer(&mut self) -> Result<&mut BlockWriter, WriteError> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(BlockWriter::fresh()?)),
        }
    }

    /// The fresh block of all that is left, if anything is.
    pub(super) fn finish(self, now: UnixNanos) -> Result<Option<FinishedBlock>, WriteError> {
        self.writer.map(|writer| writer.finish(0, now)).transpose()
    }
}
