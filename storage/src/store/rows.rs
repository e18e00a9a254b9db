//! Spans in order: of a block, and of many blocks merged, each span once.
//!
//! The one place that merges: reads of a trace and the background merge both run through it.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use spandrel_block::{ChunkRows, Dictionary, FormatError};
use spandrel_proto::otlp::SpanKey;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::{SpanId, TraceId};

use super::block::{BlockEntry, BlockError, BlockReader};

/// What rows are sorted by.
pub(crate) type RowKey = (TraceId, u64, SpanId);

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
    dictionary: Arc<Dictionary>,
    sequences: Arc<Vec<u64>>,
    rows: Range<u32>,
    chunk: ChunkRows,
    next_chunk: usize,
    keep_chunks: bool,
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
    /// Reads `rows` of a block. `keep_chunks` caches what is inflated.
    pub(crate) fn open(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        rows: Range<u32>,
        keep_chunks: bool,
    ) -> Result<Self, BlockError> {
        let header = reader.header(entry)?;
        let first_chunk = header.chunk_of(rows.start)?;
        let mut chunk = reader.chunk(entry, first_chunk, keep_chunks)?;
        let skipped = rows.start - header.chunks()[first_chunk].first_row;
        for row in chunk.by_ref().take(skipped as usize) {
            row?;
        }
        Ok(Self {
            dictionary: reader.dictionary(entry)?,
            sequences: reader.sequences(entry)?,
            reader: reader.clone(),
            entry: entry.clone(),
            rows,
            chunk,
            next_chunk: first_chunk + 1,
            keep_chunks,
        })
    }

    /// The next row.
    pub(crate) fn advance(&mut self) -> Result<Option<SpanRow>, BlockError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let row = loop {
            match self.chunk.next() {
                Some(row) => break row?,
                None => {
                    self.chunk = self.reader.chunk(&self.entry, self.next_chunk, self.keep_chunks)?;
                    self.next_chunk += 1;
                }
            }
        };
        let damaged = || FormatError::Damaged("body chunk");
        let sequence = *self.sequences.get(self.rows.start as usize).ok_or_else(damaged)?;
        self.rows.start += 1;
        Ok(Some(SpanRow {
            key: row_key(&row.span)?,
            resource: self.dictionary.resources.get(row.resource as usize).ok_or_else(damaged)?.clone(),
            scope: self.dictionary.scopes.get(row.scope as usize).ok_or_else(damaged)?.clone(),
            span: row.span,
            sequence,
        }))
    }
}

fn row_key(span: &[u8]) -> Result<RowKey, WireError> {
    let SpanKey { trace_id, start, span_id } = SpanKey::parse(span)?;
    Ok((trace_id, start, span_id))
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
