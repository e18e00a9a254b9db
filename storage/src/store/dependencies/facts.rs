//! What a half of an edge is, read from the columns of its row.

use std::sync::Arc;

use spandrel_block::edges::Candidate;
use spandrel_block::{FormatError, RowFlags, TraceTable};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::SpanKind;

use super::graph::{Graph, Name};
use crate::store::block::{BlockEntry, BlockError, BlockReader};

/// The columns of one block that tell about halves.
pub(super) struct Facts {
    /// By operation.
    services: Vec<Name>,
    operations: Arc<Vec<u32>>,
    flags: Arc<Vec<RowFlags>>,
    starts: Arc<Vec<u64>>,
    durations: Arc<Vec<u64>>,
    traces: Arc<TraceTable>,
}

/// One side of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) trace: TraceId,
    pub(super) service: Name,
    pub(super) kind: SpanKind,
    pub(super) failed: bool,
    pub(super) start: u64,
    pub(super) duration: u64,
}

// === impl Facts ===

impl Facts {
    pub(super) fn read(
        reader: &BlockReader,
        entry: &BlockEntry,
        graph: &mut Graph,
    ) -> Result<Self, BlockError> {
        let dictionary = reader.dictionary(entry)?;
        let service = |(service, _): &(u32, String)| graph.name(&dictionary.services[*service as usize]);
        Ok(Self {
            services: dictionary.operations.iter().map(service).collect(),
            operations: reader.operations(entry)?,
            flags: reader.flags(entry)?,
            starts: reader.starts(entry)?,
            durations: reader.durations(entry)?,
            traces: reader.traces(entry)?,
        })
    }

    pub(super) fn side(&self, row: u32) -> Result<Side, BlockError> {
        let at = row as usize;
        let (Some(flags), Some(trace)) = (self.flags.get(at), trace_of(&self.traces, row)) else {
            return Err(FormatError::Damaged("edges").into());
        };
        let (start, duration) = (self.starts[at], self.durations[at]);
        Ok(Side {
            trace,
            service: self.services[self.operations[at] as usize],
            kind: flags.kind(),
            failed: flags.failed(),
            start,
            // An end before its start wraps around.
            duration: if start.checked_add(duration).is_some() { duration } else { 0 },
        })
    }
}

/// The trace that a row belongs to.
pub(super) fn trace_of(traces: &TraceTable, row: u32) -> Option<TraceId> {
    let behind = traces.entries().partition_point(|(_, rows)| rows.first <= row);
    traces.entries().get(behind.checked_sub(1)?).map(|(trace, _)| *trace)
}

// === impl Side ===

impl Side {
    pub(super) fn end(&self) -> u64 {
        self.start + self.duration
    }

    /// As seen by a callee that may mean it.
    pub(super) fn candidate(&self, callee: &Self) -> Candidate {
        Candidate { same_service: self.service == callee.service, start: self.start, duration: self.duration }
    }
}
