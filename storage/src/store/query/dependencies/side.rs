//! One side of an edge: the caller or the callee, read from the columns of its row.

use std::cell::RefCell;
use std::sync::Arc;

use spandrel_block::edges::Candidate;
use spandrel_block::{CorePage, Dictionary, FormatError, TraceTable, shown_duration};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::SpanKind;

use super::graph::{Graph, Name};
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};

/// Reads the sides of edges in one block.
pub(super) struct SideReader<'r> {
    reader: &'r BlockReader,
    entry: &'r BlockEntry,
    dictionary: Arc<Dictionary>,
    /// The service of each operation.
    services: Vec<Name>,
    traces: Arc<TraceTable>,
    /// The page that was read last, by its first row, because rows are read in order.
    page: RefCell<Option<(u32, Arc<CorePage>)>>,
}

/// The caller or the callee of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) trace: TraceId,
    pub(super) service: Name,
    pub(super) kind: SpanKind,
    pub(super) failed: bool,
    pub(super) start: u64,
    pub(super) duration: u64,
}

// === impl SideReader ===

impl<'r> SideReader<'r> {
    pub(super) fn read(
        reader: &'r BlockReader,
        entry: &'r BlockEntry,
        graph: &mut Graph,
    ) -> Result<Self, BlockError> {
        let dictionary = reader.dictionary(entry)?;
        let service = |(service, _): &(u32, String)| graph.name(&dictionary.services[*service as usize]);
        let services = dictionary.operations.iter().map(service).collect();
        let traces = reader.traces(entry)?;
        Ok(Self { services, traces, reader, entry, dictionary, page: RefCell::new(None) })
    }

    pub(super) fn side(&self, row: u32) -> Result<Side, BlockError> {
        let (first, core) = self.page(row)?;
        let at = (row - first) as usize;
        let (Some(&class), Some(trace)) = (core.class.get(at), trace_of(&self.traces, row)) else {
            return Err(FormatError::Damaged("edges").into());
        };
        let flags = self.dictionary.flags(class);
        Ok(Side {
            trace,
            service: self.services[self.dictionary.operation(class) as usize],
            kind: flags.kind(),
            failed: flags.failed(),
            start: core.start[at],
            duration: shown_duration(core.start[at], core.duration[at]),
        })
    }

    fn page(&self, row: u32) -> Result<(u32, Arc<CorePage>), BlockError> {
        let mut known = self.page.borrow_mut();
        if let Some((first, core)) = &*known
            && (*first..first + core.rows() as u32).contains(&row)
        {
            return Ok((*first, core.clone()));
        }
        let (page, first) = self.reader.page_of(self.entry, row)?;
        let core = self.reader.core(self.entry, page)?;
        *known = Some((first, core.clone()));
        Ok((first, core))
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

    /// The span as a candidate for the caller of a callee.
    pub(super) fn candidate(&self, callee: &Self) -> Candidate {
        Candidate { same_service: self.service == callee.service, start: self.start, duration: self.duration }
    }
}
