//! Traces of deletions in progress: readers leave them out from the moment at which the deletion is accepted.

use std::collections::{HashMap, HashSet};

use parking_lot::RwLock;
use spandrel_proto::TraceId;

use super::block_reader::BlockEntry;

/// The traces of a tenant that are being deleted, each with the last commit whose spans are deleted.
#[derive(Debug, Default)]
pub(crate) struct DeletedTraces(RwLock<HashMap<TraceId, u64>>);

// === impl DeletedTraces ===

impl DeletedTraces {
    /// Hides the spans of traces that were stored up to a commit.
    pub(crate) fn hide(&self, traces: impl Iterator<Item = TraceId>, snapshot: u64) {
        let mut hidden = self.0.write();
        for trace in traces {
            // Another deletion may include later spans of the trace.
            let last = hidden.entry(trace).or_default();
            *last = snapshot.max(*last);
        }
    }

    /// Ends a call of `hide`, except for traces of which a later deletion includes more spans.
    pub(crate) fn show(&self, traces: &HashSet<TraceId>, snapshot: u64) {
        self.0.write().retain(|trace, last| *last != snapshot || !traces.contains(trace));
    }

    /// Whether readers leave out the trace in this block.
    pub(crate) fn hides(&self, trace: TraceId, entry: &BlockEntry) -> bool {
        self.contains(trace, entry.row.meta.min_sequence)
    }

    /// Whether a deletion in progress includes a span.
    pub(crate) fn contains(&self, trace: TraceId, sequence: u64) -> bool {
        let hidden = self.0.read();
        !hidden.is_empty() && hidden.get(&trace).is_some_and(|last| sequence <= *last)
    }

    /// Whether no deletion is in progress.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}
