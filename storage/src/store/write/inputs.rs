//! The rows of the blocks that a merge or a rewrite reads, in one order, and the detection of duplicates among them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use spandrel_block::{
    BlockWriter, CopyError, Deduplicator, FormatError, PageRows, RowKey, RowSummary, SourceBlock, TraceTable,
};

use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader, Caching};
use crate::store::core::deleted_traces::DeletedTraces;
use crate::store::core::tenant::TenantState;

/// A block that is being read, with a position before its next row.
struct Input {
    entry: Arc<BlockEntry>,
    traces: Arc<TraceTable>,
    tables: Arc<SourceBlock>,
    rows: PageRows,
    /// The number of the next page, and the index of its first row's trace in `traces`.
    page: u32,
    trace: usize,
}

/// The blocks, sorted by the key of their next row, then by the commit that stored it.
pub(super) struct Inputs {
    reader: Arc<BlockReader>,
    inputs: Vec<Input>,
    heap: BinaryHeap<Reverse<(RowKey, u64, usize)>>,
    pub(super) damaged: Vec<(Arc<BlockEntry>, BlockError)>,
}

/// A row that was not copied or skipped yet.
pub(crate) struct InputRow<'i> {
    pub(crate) key: RowKey,
    /// The sequence number of the commit that stored it.
    pub(crate) sequence: u64,
    rows: &'i PageRows,
}

/// Detects duplicates of earlier spans (`docs/semantics.md#equality`).
pub(super) struct Duplicates<'s> {
    /// Spans that are being deleted are not compared with others: a copy that arrived after the deletion was accepted
    /// is new, and stays.
    deleted: Option<&'s DeletedTraces>,
    known: Deduplicator,
}

// === impl Inputs ===

impl Inputs {
    pub(super) fn open(reader: &Arc<BlockReader>, blocks: &[Arc<BlockEntry>]) -> Self {
        let mut this =
            Self { reader: reader.clone(), inputs: Vec::new(), heap: BinaryHeap::new(), damaged: Vec::new() };
        for entry in blocks {
            match Input::open(reader, entry) {
                Ok(input) => {
                    let at = this.inputs.len();
                    this.heap.extend(input.rows.key().map(|(key, sequence)| Reverse((key, sequence, at))));
                    this.inputs.push(input);
                }
                Err(error) => this.damaged.push((entry.clone(), error)),
            }
        }
        this
    }

    /// Frees the memory of the blocks, which finishing and committing a block needs.
    pub(super) fn close(&mut self) {
        self.heap = BinaryHeap::new();
        self.inputs = Vec::new();
    }

    /// The smallest key, and the input with this row.
    pub(super) fn next(&self) -> Option<(RowKey, usize)> {
        self.heap.peek().map(|Reverse((key, _, at))| (*key, *at))
    }

    /// The row with the smallest key.
    pub(super) fn row(&self) -> Option<InputRow<'_>> {
        let Reverse((key, sequence, at)) = *self.heap.peek()?;
        Some(InputRow { key, sequence, rows: &self.inputs[at].rows })
    }

    /// Whether another row has the smallest key, too: the next row of another input, which is then a child of the
    /// heap's top, or the row after the next one of the same input.
    fn has_tie(&self, key: RowKey, at: usize) -> bool {
        let mut others = self.heap.as_slice().iter().skip(1).take(2);
        others.any(|Reverse((other, ..))| *other == key) || self.inputs[at].rows.key_behind() == Some(key)
    }

    /// Moves the input with the smallest key to its next row; copies the row to the writer, if there is one.
    pub(super) fn pass(&mut self, writer: Option<&mut BlockWriter>) -> Option<CopyError> {
        let mut top = self.heap.peek_mut()?;
        let Reverse((_, _, at)) = *top;
        let input = &mut self.inputs[at];
        let passed = match writer {
            Some(writer) => input.rows.copy_to(writer),
            None => {
                input.rows.skip();
                Ok(())
            }
        };
        let next = match passed {
            Ok(()) => input.key(&self.reader),
            Err(CopyError::Format(error)) => {
                // A part of the row may have been written, so the block that is being written cannot be finished.
                self.damaged.push((input.entry.clone(), error.into()));
                drop(top);
                self.heap.clear();
                return None;
            }
            Err(error) => return Some(error),
        };
        match next {
            Ok(Some((key, sequence))) => *top = Reverse((key, sequence, at)),
            Ok(None) => {
                PeekMut::pop(top);
            }
            Err(error) => {
                PeekMut::pop(top);
                self.damaged.push((input.entry.clone(), error));
            }
        }
        None
    }
}

// === impl Input ===

impl Input {
    fn open(reader: &Arc<BlockReader>, entry: &Arc<BlockEntry>) -> Result<Self, BlockError> {
        let traces = reader.traces(entry)?;
        let tables = SourceBlock::new(reader.dictionary(entry)?, reader.texts(entry)?)?;
        let (rows, trace) = Self::page(reader, entry, &tables, &traces, 0, 0)?;
        Ok(Self { entry: entry.clone(), traces, tables, rows, page: 1, trace })
    }

    /// Opens a page, and finds the trace that the next page begins with.
    fn page(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
        tables: &Arc<SourceBlock>,
        traces: &TraceTable,
        number: u32,
        trace: usize,
    ) -> Result<(PageRows, usize), BlockError> {
        let page = reader.page(entry, number, Caching::Skip)?;
        let runs = page.core.traces.len();
        let ids = traces.entries().iter().skip(trace).take(runs).map(|(trace, _)| *trace).collect();
        let header = reader.header(entry)?;
        let first = header.pages(spandrel_block::SectionKind::Core)[number as usize].first_row;
        let behind = first.saturating_add(page.core.rows() as u32);
        // The last trace may continue on the next page.
        let mut next = trace + runs;
        if traces
            .entries()
            .get(next.wrapping_sub(1))
            .is_some_and(|(_, range)| range.first + range.rows > behind)
        {
            next -= 1;
        }
        Ok((PageRows::new(tables, page, ids)?, next))
    }

    /// The key of the next row, for which the next page is opened if necessary.
    fn key(&mut self, reader: &Arc<BlockReader>) -> Result<Option<(RowKey, u64)>, BlockError> {
        if let Some(key) = self.rows.key() {
            return Ok(Some(key));
        }
        let pages = reader.pages(&self.entry)?;
        if self.page as usize >= pages {
            return Ok(None);
        }
        let (rows, trace) =
            Self::page(reader, &self.entry, &self.tables, &self.traces, self.page, self.trace)?;
        (self.rows, self.trace) = (rows, trace);
        self.page += 1;
        let key = self.rows.key().ok_or(FormatError::Damaged("core of a page"))?;
        Ok(Some(key))
    }
}

// === impl InputRow ===

impl InputRow<'_> {
    /// What rollups count of the span.
    pub(crate) fn summary(&self) -> Option<RowSummary<'_>> {
        self.rows.summary()
    }
}

// === impl Duplicates ===

impl<'s> Duplicates<'s> {
    pub(super) fn new(state: Option<&'s TenantState>) -> Self {
        Self {
            deleted: state.map(|state| &state.deleted).filter(|deleted| !deleted.is_empty()),
            known: Deduplicator::default(),
        }
    }

    /// Whether no equal span came before the next row. Rows of different keys are not rebuilt for that.
    pub(super) fn is_new(&mut self, inputs: &mut Inputs, key: RowKey, at: usize) -> bool {
        let sequence = inputs.row().map_or(0, |row| row.sequence);
        if self.deleted.is_some_and(|deleted| deleted.contains(key.trace(), sequence)) {
            return true;
        }
        let next = inputs.has_tie(key, at).then_some(key);
        // An unreadable row is found again, and reported, when it is copied.
        self.known.is_first(key, next, || inputs.inputs[at].rows.peek().ok())
    }
}
