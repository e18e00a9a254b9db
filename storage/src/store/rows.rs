//! Spans in order: of a block, and of many blocks merged, each span once.
//!
//! What reads a trace, and what rewrites blocks span by span, runs through here; the background merge
//! copies columns instead (`merge.rs`).

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use spandrel_block::{FormatError, Rebuilder, RowKey, RowRange, TraceTable};
use spandrel_proto::{SpanId, TraceId};

use super::block::{BlockEntry, BlockError, BlockReader};

/// A stored span with its place in the order.
#[derive(Debug, Clone)]
pub(crate) struct SpanRow {
    pub(crate) key: RowKey,
    pub(crate) resource: Bytes,
    pub(crate) scope: Bytes,
    pub(crate) span: Bytes,
    pub(crate) sequence: u64,
}

/// The spans of consecutive rows of one block.
pub(crate) struct BlockRows {
    reader: Arc<BlockReader>,
    entry: Arc<BlockEntry>,
    traces: Traces,
    rows: Range<u32>,
    /// The page in hand, its number and its first row.
    page: Option<(Rebuilder, u32, u32)>,
    keep_pages: bool,
    buffer: Vec<u8>,
}

/// Which trace a row belongs to.
enum Traces {
    One(TraceId),
    /// From the table, and where in it.
    Table(Arc<TraceTable>, usize),
}

/// The spans of several blocks in one order, duplicates left out.
pub(crate) struct MergedRows {
    heap: BinaryHeap<Head>,
    /// Rows already given that have the key of the last one: what duplicates are compared with.
    group: Seen<(Bytes, Bytes, Bytes)>,
    group_key: Option<RowKey>,
    failed: Vec<(Arc<BlockEntry>, BlockError)>,
}

/// What was met before. Nearly always there is one of a key: a few are compared one by one, and
/// hashing begins where a sender gives one key to thousands of spans.
pub(crate) struct Seen<T> {
    few: Vec<T>,
    many: HashSet<T>,
}

const FEW: usize = 8;

struct Head {
    row: SpanRow,
    rest: BlockRows,
}

// === impl BlockRows ===

impl BlockRows {
    /// Reads `rows` of a block. `keep_pages` caches what is decoded.
    pub(crate) fn open(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        rows: Range<u32>,
        keep_pages: bool,
    ) -> Result<Self, BlockError> {
        let table = reader.traces(entry)?;
        let at = table.entries().partition_point(|(_, range)| range.first + range.rows <= rows.start);
        Ok(Self::begin(reader, entry, Traces::Table(table, at), rows, keep_pages))
    }

    /// Reads the rows of one trace.
    pub(crate) fn open_trace(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        trace: TraceId,
        rows: RowRange,
    ) -> Result<Self, BlockError> {
        let range = rows.first..rows.first.saturating_add(rows.rows);
        let mut rows = Self::begin(reader, entry, Traces::One(trace), range, true);
        // What cannot be read at all is told at once.
        rows.turn_page()?;
        Ok(rows)
    }

    fn begin(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        traces: Traces,
        rows: Range<u32>,
        keep_pages: bool,
    ) -> Self {
        let (reader, entry) = (reader.clone(), entry.clone());
        Self { reader, entry, traces, rows, page: None, keep_pages, buffer: Vec::new() }
    }

    /// The next row.
    pub(crate) fn advance(&mut self) -> Result<Option<SpanRow>, BlockError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let row = self.rows.start;
        self.turn_page()?;
        let damaged = || FormatError::Damaged("trace table");
        let trace = self.traces.of(row).ok_or_else(damaged)?;
        let (spans, _, first) = self.page.as_mut().ok_or_else(damaged)?;
        let at = (row - *first) as usize;
        let page = spans.page();
        let start = *page.core.start.get(at).ok_or_else(damaged)?;
        let span_id = SpanId::from_bytes(page.ids.span_id[at].to_be_bytes());
        let (resource, scope) = page.dictionary.records(page.core.origin[at]);
        let (resource, scope) = (resource.clone(), scope.clone());
        let sequence = page.core.sequence[at];
        self.buffer.clear();
        spans.next(trace, &mut self.buffer)?;
        self.rows.start += 1;
        let span = Bytes::copy_from_slice(&self.buffer);
        Ok(Some(SpanRow { key: RowKey::new(trace, start, span_id), resource, scope, span, sequence }))
    }

    /// Opens the page of the next row, unless it is in hand.
    fn turn_page(&mut self) -> Result<(), BlockError> {
        let row = self.rows.start;
        let is_here = |(spans, _, first): &(Rebuilder, u32, u32)| {
            row >= *first && ((row - first) as usize) < spans.page().core.rows()
        };
        if self.page.as_ref().is_some_and(is_here) {
            return Ok(());
        }
        let (number, first) = self.reader.page_of(&self.entry, row)?;
        let page = self.reader.page(&self.entry, number, self.keep_pages)?;
        if (row - first) as usize >= page.core.rows() {
            return Err(FormatError::Damaged("header").into());
        }
        self.page = Some((Rebuilder::new(page, (row - first) as usize), number, first));
        Ok(())
    }
}

// === impl Traces ===

impl Traces {
    /// The trace of a row; rows are asked for in order.
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
        let mut merged = Self { heap, group: Seen::default(), group_key: None, failed: Vec::new() };
        parts.into_iter().for_each(|rest| merged.refill(rest));
        merged
    }

    /// Blocks that could not be read to their end since this was last asked.
    pub(crate) fn take_failed(&mut self) -> Vec<(Arc<BlockEntry>, BlockError)> {
        std::mem::take(&mut self.failed)
    }

    fn refill(&mut self, mut rest: BlockRows) {
        match rest.advance() {
            Ok(Some(row)) => self.heap.push(Head { row, rest }),
            Ok(None) => {}
            Err(error) => self.failed.push((rest.entry, error)),
        }
    }
}

impl Iterator for MergedRows {
    type Item = SpanRow;

    fn next(&mut self) -> Option<SpanRow> {
        loop {
            let Head { row, rest } = self.heap.pop()?;
            self.refill(rest);
            if self.group_key != Some(row.key) {
                self.group.clear();
                self.group_key = Some(row.key);
            }
            if self.group.insert((row.span.clone(), row.resource.clone(), row.scope.clone())) {
                return Some(row);
            }
        }
    }
}

// === impl Seen ===

impl<T: Eq + Hash> Seen<T> {
    /// Whether this is the first of its kind.
    pub(crate) fn insert(&mut self, item: T) -> bool {
        if self.many.is_empty() && self.few.len() < FEW {
            let is_new = !self.few.contains(&item);
            if is_new {
                self.few.push(item);
            }
            return is_new;
        }
        self.many.extend(self.few.drain(..));
        self.many.insert(item)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.few.clear();
        if !self.many.is_empty() {
            self.many = HashSet::new();
        }
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { few: Vec::new(), many: HashSet::new() }
    }
}

// === impl Head: the heap gives the smallest key first, among equals the one stored first ===

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
