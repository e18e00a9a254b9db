//! The rows of the blocks that a merge reads, in one order, and which of them are duplicates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use spandrel_block::{BlockWriter, CopyError, Deduplicator, FormatError, PageRows, RowKey, TraceTable};

use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader, Caching};
use crate::store::core::deleted_traces::DeletedTraces;
use crate::store::core::tenant::TenantState;

/// A block that is being merged, at its next row.
struct Input {
    entry: Arc<BlockEntry>,
    traces: Arc<TraceTable>,
    rows: PageRows,
    /// The page that comes next, and the trace that its first row belongs to.
    page: u32,
    trace: usize,
}

/// The blocks of a merge: the one with the smallest key first, among equals the one stored first.
pub(super) struct Inputs {
    reader: Arc<BlockReader>,
    inputs: Vec<Input>,
    heap: BinaryHeap<Reverse<(RowKey, u64, usize)>>,
    pub(super) damaged: Vec<(Arc<BlockEntry>, BlockError)>,
}

/// Tells which spans came before (`docs/semantics.md#equality`).
pub(super) struct Duplicates<'s> {
    /// Spans that a deletion takes are compared with no others: a copy that has arrived after the deletion was
    /// accepted is new, and stays.
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

    /// The smallest key, and the input that has it.
    pub(super) fn next(&self) -> Option<(RowKey, usize)> {
        self.heap.peek().map(|Reverse((key, _, at))| (*key, *at))
    }

    /// The commit that stored the row with the smallest key.
    fn sequence(&self) -> u64 {
        self.heap.peek().map_or(0, |Reverse((_, sequence, _))| *sequence)
    }

    /// Whether another row has the smallest key, too: the row of another input, which is a child of the heap's top
    /// then, or the next row of the same input.
    fn has_tie(&self, key: RowKey, at: usize) -> bool {
        let mut others = self.heap.as_slice().iter().skip(1).take(2);
        others.any(|Reverse((other, ..))| *other == key) || self.inputs[at].rows.key_behind() == Some(key)
    }

    /// Goes on to the next row of the input with the smallest key; copies the row if it is told where to.
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
                // Half a row may have been written: the block in the making cannot be finished.
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
        let (rows, trace) = Self::page(reader, entry, &traces, 0, 0)?;
        Ok(Self { entry: entry.clone(), traces, rows, page: 1, trace })
    }

    /// The rows of a page, and the trace that the page behind it begins with.
    fn page(
        reader: &Arc<BlockReader>,
        entry: &Arc<BlockEntry>,
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
        // The last trace may go on behind the page.
        let mut next = trace + runs;
        if traces
            .entries()
            .get(next.wrapping_sub(1))
            .is_some_and(|(_, range)| range.first + range.rows > behind)
        {
            next -= 1;
        }
        Ok((PageRows::new(page, ids)?, next))
    }

    /// The key of the next row, of this page or the next one.
    fn key(&mut self, reader: &Arc<BlockReader>) -> Result<Option<(RowKey, u64)>, BlockError> {
        if let Some(key) = self.rows.key() {
            return Ok(Some(key));
        }
        let pages = reader.pages(&self.entry)?;
        if self.page as usize >= pages {
            return Ok(None);
        }
        let (rows, trace) = Self::page(reader, &self.entry, &self.traces, self.page, self.trace)?;
        (self.rows, self.trace) = (rows, trace);
        self.page += 1;
        let key = self.rows.key().ok_or(FormatError::Damaged("core of a page"))?;
        Ok(Some(key))
    }
}

// === impl Duplicates ===

impl<'s> Duplicates<'s> {
    pub(super) fn new(state: &'s TenantState) -> Self {
        Self {
            deleted: Some(&state.deleted).filter(|deleted| !deleted.is_empty()),
            known: Deduplicator::default(),
        }
    }

    /// Whether the next row is the first of its kind. Rows of different keys need not be put together
    /// to know that.
    pub(super) fn is_new(&mut self, inputs: &mut Inputs, key: RowKey, at: usize) -> bool {
        if self.deleted.is_some_and(|deleted| deleted.contains(key.trace(), inputs.sequence())) {
            return true;
        }
        let next = inputs.has_tie(key, at).then_some(key);
        // A row that cannot be read is noticed, and reported, when it is copied.
        self.known.is_first(key, next, || inputs.inputs[at].rows.peek().ok())
    }
}
