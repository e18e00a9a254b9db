//! Traces that go on: a merge leaves their rows to the next one.
//!
//! A merge takes the oldest fresh blocks of a window, as many as fill a sealed one. Where it ends, some traces
//! have spans on both sides, and whoever asked for one would have to look into two blocks from then on. So
//! their rows become a fresh block again, which the next merge takes together with the rest of them. Rows that
//! were left before are not left again: a trace that goes on for ever is cut.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use spandrel_block::{BlockId, BlockWriter, FinishedBlock, WriteError};
use spandrel_proto::TraceId;

use crate::store::BlockTraceStore;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::TenantState;
use crate::store::write::merge::is_full;

/// What a merge leaves to the next one.
pub(crate) struct Carry<'s> {
    store: &'s BlockTraceStore,
    state: &'s TenantState,
    /// Fresh blocks of this merge, and whether an earlier one has left them.
    now: FxHashMap<BlockId, bool>,
    /// Fresh blocks that the next merge takes.
    later: FxHashSet<BlockId>,
    /// Rows that may still be left: a merge is to get on.
    room: u64,
    /// The block in the making, and those before it.
    writer: Option<BlockWriter>,
    finished: Vec<FinishedBlock>,
}

/// Where fresh parts of a trace lie.
#[derive(Default)]
struct Parts {
    /// Rows in blocks of this merge.
    rows: u64,
    were_left: bool,
    go_on: bool,
}

/// One in so many rows of a merge may be left.
const SHARE: u64 = 4;

// === impl Carry ===

impl<'s> Carry<'s> {
    /// Nothing so far, of a merge that takes `now` and after which `later` are left.
    pub(crate) fn new(
        store: &'s BlockTraceStore,
        state: &'s TenantState,
        now: &[Arc<BlockEntry>],
        later: &[BlockId],
    ) -> Self {
        let spans: u64 = now.iter().map(|entry| u64::from(entry.row.meta.spans)).sum();
        Self {
            store,
            state,
            now: now.iter().map(|entry| (entry.key.block, entry.left)).collect(),
            later: later.iter().copied().collect(),
            room: spans / SHARE,
            writer: None,
            finished: Vec::new(),
        }
    }

    /// Whether the rows of a trace are left to the next merge.
    pub(crate) fn takes(&mut self, trace: TraceId) -> bool {
        // One block is enough: it has to be in memory beside the one that is sealed.
        let is_full = self.writer.as_ref().is_some_and(|writer| is_full(self.store, writer, true));
        if self.later.is_empty() || is_full || !self.finished.is_empty() {
            return false;
        }
        let parts = self.parts(trace);
        let takes = parts.go_on && !parts.were_left && parts.rows <= self.room;
        self.room -= if takes { parts.rows } else { 0 };
        takes
    }

    fn parts(&self, trace: TraceId) -> Parts {
        let mut parts = Parts::default();
        self.state.each_fresh_part(trace, |block, range| match self.now.get(&block) {
            Some(were_left) => {
                parts.rows += u64::from(range.rows);
                parts.were_left |= were_left;
            }
            None => parts.go_on |= self.later.contains(&block),
        });
        parts
    }

    /// Takes the next row of a trace that is left.
    pub(crate) fn writer(&mut self) -> Result<&mut BlockWriter, WriteError> {
        // Rows of one trace can be as large as they like.
        if self.writer.as_ref().is_some_and(|writer| is_full(self.store, writer, false)) {
            self.cut()?;
        }
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(BlockWriter::fresh()?)),
        }
    }

    fn cut(&mut self) -> Result<(), WriteError> {
        if let Some(writer) = self.writer.take() {
            self.finished.push(writer.finish(0, self.store.clock.now())?);
        }
        Ok(())
    }

    /// The fresh blocks of all that is left.
    pub(crate) fn finish(mut self) -> Result<Vec<FinishedBlock>, WriteError> {
        self.cut()?;
        Ok(self.finished)
    }
}
