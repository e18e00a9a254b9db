//! Spans in order: of a block, and of many blocks merged, each span once.
//!
//! Reading a trace, and finding the traces that a retention rule keeps, uses these iterators; merges and rewrites copy
//! columns instead (`write/inputs.rs`).

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use spandrel_block::{Deduplicator, FormatError, Rebuilder, RowKey, RowRange, SpanParts, TraceTable};
use spandrel_proto::{SpanId, TraceId};

use crate::api::StoredSpan;
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader, Caching};
use crate::store::core::tenant::TenantState;

/// A stored span with its sort key.
#[derive(Debug, Clone)]
pub(crate) struct SpanRow {
    pub(crate) key: RowKey,
    pub(crate) resource: Bytes,
    pub(crate) scope: Bytes,
    pub(crate) span: Bytes,
    /// Whether it has failed, as `semantics::has_failed` defines it, read from its columns.
    pub(crate) failed: bool,
    pub(crate) sequence: u64,
}

/// The spans of consecutive rows of one block, sorted by key.
pub(crate) struct BlockRows {
    reader: Arc<BlockReader>,
    entry: Arc<BlockEntry>,
    traces: Traces,
    rows: Range<u32>,
    /// The current page, its number and its first row.
    page: Option<(Rebuilder, u32, u32)>,
    caching: Caching,
    /// The row behind the last row of the current trace in the current page.
    run_end: u32,
    /// Rows that were rebuilt ahead: several at once, so that they share one buffer.
    ready: VecDeque<SpanRow>,
    /// The error that ends the iteration.
    failed: Option<BlockError>,
    ahead: usize,
}

/// The source of a row's trace.
enum Traces {
    One(TraceId),
    /// The trace table, and the index of the current trace in it.
    Table(Arc<TraceTable>, usize),
}

/// The spans of several blocks in one order, without duplicates.
pub(crate) struct MergedRows {
    heap: BinaryHeap<Head>,
    known: Deduplicator,
    failed: Vec<(Arc<BlockEntry>, BlockError)>,
    /// The tenant whose deleted spans are not compared with others.
    deletes: Option<Arc<TenantState>>,
}

/// The number of rows that are rebuilt ahead, at first and at most: many readers need one row, some need all.
const LEAST_AHEAD: usize = 4;
const MOST_AHEAD: usize = 32;
/// The approximate length of a span in bytes.
const USUAL_SPAN: usize = 512;
/// The most bytes of spans that are rebuilt ahead.
const AHEAD_BYTES: usize = 32 << 10;

struct Head {
    row: SpanRow,
    rest: Box<BlockRows>,
}

// === impl SpanRow ===

impl SpanRow {
    /// Converts the row for readers outside of the store.
    pub(crate) fn into_stored(self) -> StoredSpan {
        let Self { resource, scope, span, failed, .. } = self;
        StoredSpan { resource, scope, span, failed }
    }

    fn parts(&self) -> SpanParts {
        SpanParts { resource: self.resource.clone(), scope: self.scope.clone(), span: self.span.clone() }
    }
}

// === impl BlockRows ===

impl BlockRows {
    /// Reads `rows` of a block, which have to be whole traces of it.
    pub(crate) fn open(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        rows: Range<u32>,
        caching: Caching,
    ) -> Result<Self, BlockError> {
        let table = reader.traces(entry)?;
        let at = table.entries().partition_point(|(_, range)| range.first + range.rows <= rows.start);
        Ok(Self::begin(reader, entry, Traces::Table(table, at), rows, caching))
    }

    /// Reads the rows of one trace.
    pub(crate) fn open_trace(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        trace: TraceId,
        rows: RowRange,
    ) -> Result<Self, BlockError> {
        let range = rows.first..rows.first.saturating_add(rows.rows);
        let mut rows = Self::begin(reader, entry, Traces::One(trace), range, Caching::Keep);
        // Opens the first page now, so that damage of it is reported here.
        rows.turn_page()?;
        Ok(rows)
    }

    fn begin(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        traces: Traces,
        rows: Range<u32>,
        caching: Caching,
    ) -> Self {
        let (reader, entry) = (reader.clone(), entry.clone());
        let (ready, failed) = (VecDeque::new(), None);
        let (page, run_end, ahead) = (None, 0, LEAST_AHEAD);
        Self { reader, entry, traces, rows, page, caching, run_end, ready, failed, ahead }
    }

    /// Returns the next row; `None` after the last one.
    pub(crate) fn advance(&mut self) -> Result<Option<SpanRow>, BlockError> {
        if self.ready.is_empty() && self.failed.is_none() {
            self.failed = self.look_ahead().err();
        }
        match self.ready.pop_front() {
            Some(row) => Ok(Some(row)),
            None => self.failed.take().map_or(Ok(None), Err),
        }
    }

    fn look_ahead(&mut self) -> Result<(), BlockError> {
        let most = self.ahead.min(self.rows.len());
        let mut bytes = Vec::with_capacity((most * USUAL_SPAN).min(AHEAD_BYTES));
        let mut rows: Vec<(SpanRow, Range<usize>)> = Vec::with_capacity(most);
        let mut end = Ok(());
        while rows.len() < self.ahead && bytes.len() < AHEAD_BYTES && !self.rows.is_empty() {
            let begin = bytes.len();
            match self.put_together(&mut bytes) {
                Ok(row) => rows.push((row, begin..bytes.len())),
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        self.ahead = (2 * self.ahead).min(MOST_AHEAD);
        if end.is_err() {
            // Rows behind an unreadable row cannot be located.
            self.rows.start = self.rows.end;
        }
        // Readers that keep the trace keep this buffer, so it must not be larger than necessary.
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        self.ready.extend(rows.into_iter().map(|(row, at)| SpanRow { span: bytes.slice(at), ..row }));
        end
    }

    /// Appends the span of the next row. The caller has to record its position in the bytes.
    fn put_together(&mut self, bytes: &mut Vec<u8>) -> Result<SpanRow, BlockError> {
        let row = self.rows.start;
        self.turn_page()?;
        let damaged = || FormatError::Damaged("trace table");
        let trace = self.traces.of(row).ok_or_else(damaged)?;
        let (spans, _, first) = self.page.as_mut().ok_or_else(damaged)?;
        if row >= self.run_end {
            let begin = (row - *first) as usize;
            let end = spans.page().run_of(begin).end.min((self.rows.end - *first) as usize);
            spans.order_by_key(begin..end);
            self.run_end = *first + end as u32;
        }
        let at = spans.row();
        let page = spans.page();
        let start = *page.core.start.get(at).ok_or_else(damaged)?;
        let span_id = SpanId::from_bytes(page.ids.span_id[at].to_be_bytes());
        let (resource, scope) = page.dictionary.resource_and_scope(page.core.resource_scope[at]);
        let (resource, scope) = (resource.clone(), scope.clone());
        let failed = page.dictionary.flags(page.core.class[at]).failed();
        let sequence = page.core.sequence[at];
        spans.next(trace, bytes)?;
        self.rows.start += 1;
        let key = RowKey::new(trace, start, span_id);
        Ok(SpanRow { key, resource, scope, span: Bytes::new(), failed, sequence })
    }

    /// Opens the page of the next row, unless it is the current one.
    fn turn_page(&mut self) -> Result<(), BlockError> {
        let row = self.rows.start;
        let is_here = |(spans, _, first): &(Rebuilder, u32, u32)| {
            row >= *first && ((row - first) as usize) < spans.page().core.rows()
        };
        if self.page.as_ref().is_some_and(is_here) {
            return Ok(());
        }
        let (number, first) = self.reader.page_of(&self.entry, row)?;
        let page = self.reader.page(&self.entry, number, self.caching)?;
        if (row - first) as usize >= page.core.rows() {
            return Err(FormatError::Damaged("header").into());
        }
        self.page = Some((Rebuilder::new(page, (row - first) as usize), number, first));
        Ok(())
    }
}

// === impl Traces ===

impl Traces {
    /// The trace of a row; rows have to be passed in order.
    fn of(&mut self, row: u32) -> Option<TraceId> {
        match self {
            Self::One(trace) => Some(*trace),
            Self::Table(table, at) => {
                while table.entries().get(*at).is_some_and(|(_, range)| range.first + range.rows <= row) {
                    *at += 1;
                }
                table.entries().get(*at).map(|(trace, _)| *trace)
            }
        }
    }
}

// === impl MergedRows ===

impl MergedRows {
    /// Merges the rows of several blocks.
    pub(crate) fn new(parts: impl IntoIterator<Item = BlockRows>) -> Self {
        let heap = BinaryHeap::new();
        let (known, failed) = (Deduplicator::default(), Vec::new());
        let mut merged = Self { heap, known, failed, deletes: None };
        for rest in parts {
            merged.refill(rest);
        }
        merged
    }

    /// Does not compare spans that are being deleted with others: a copy that arrived after the deletion is new, and
    /// stays.
    pub(crate) fn apart_from_deleted(mut self, state: Option<Arc<TenantState>>) -> Self {
        self.deletes = state.filter(|state| !state.deleted.is_empty());
        self
    }

    /// Returns the blocks that could not be read completely since the last call.
    pub(crate) fn take_failed(&mut self) -> Vec<(Arc<BlockEntry>, BlockError)> {
        std::mem::take(&mut self.failed)
    }

    fn refill(&mut self, mut rest: BlockRows) {
        match rest.advance() {
            Ok(Some(row)) => self.heap.push(Head { row, rest: Box::new(rest) }),
            Ok(None) => {}
            Err(error) => self.failed.push((rest.entry, error)),
        }
    }

    /// Returns the smallest row, and adds the next row of its block to the heap.
    fn pop(&mut self) -> Option<SpanRow> {
        let mut head = self.heap.peek_mut()?;
        match head.rest.advance() {
            Ok(Some(next)) => Some(std::mem::replace(&mut head.row, next)),
            Ok(None) => Some(PeekMut::pop(head).row),
            Err(error) => {
                let Head { row, rest } = PeekMut::pop(head);
                self.failed.push((rest.entry, error));
                Some(row)
            }
        }
    }
}

impl Iterator for MergedRows {
    type Item = SpanRow;

    fn next(&mut self) -> Option<SpanRow> {
        loop {
            let row = self.pop()?;
            let deletes = self.deletes.as_ref();
            if deletes.is_some_and(|state| state.deleted.contains(row.key.trace(), row.sequence)) {
                return Some(row);
            }
            let next = self.heap.peek().map(|next| next.row.key);
            if self.known.is_first(row.key, next, || Some(row.parts())) {
                return Some(row);
            }
        }
    }
}

// === impl Head: the heap returns the smallest key first, and of equal keys the one that was stored first ===

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.row.key, other.row.sequence).cmp(&(self.row.key, self.row.sequence))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
