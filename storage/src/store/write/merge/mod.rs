//! Background merge: many small blocks of a window become few large ones.
//!
//! Each trace becomes contiguous and duplicates go. Rows are copied as columns: what a span's parts are called
//! in the new block is looked up once for each distinct part. The new blocks and the removal of the old ones
//! are one catalog commit, so a kill at any moment leaves either the old blocks or the new ones. The old ones
//! are deleted later (`core/garbage.rs`). What goes on behind the merge is left to the next one (`carry_over.rs`). Memory
//! is bounded by one decoded page for each block that is read and by the blocks that are written: one that is
//! sealed, one that is left.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use spandrel_block::{
    BlockId, BlockWriter, CopyError, FinishedBlock, FormatError, Hour, PageRows, RowKey, TraceTable,
};
use spandrel_proto::{TenantId, TraceId};

use crate::engine::{Change, EngineError, NewBlock};
use crate::failpoint::{self, Failpoint};
use crate::store::BlockTraceStore;
use crate::store::StoreConfig;
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};
use crate::store::core::garbage::Exit;
use crate::store::core::view::{TenantState, View};
use crate::store::read::merge_iter::Seen;
use crate::store::write::carry_over::Carry;

/// Merged blocks that are still small are merged again, so many at a time.
const FAN_IN: usize = 8;
/// Levels stop here: a span is rewritten so often at the most.
const MAX_LEVEL: u8 = 4;
/// How many times as long large spans are as what is stored of them, at the least.
const DEFLATED: u64 = 4;
/// Regrouping by trace is what saves bytes: level 3 takes half as much time again for 1 to 3 %.
const SEALED_ZSTD_LEVEL: i32 = 1;

/// Blocks to merge into one level.
struct Job {
    tenant: TenantId,
    hour: Hour,
    level: u8,
    blocks: Vec<Arc<BlockEntry>>,
    /// Fresh blocks of the window that are left to the next merge.
    later: Vec<BlockId>,
    /// A block of format 1, taken over into today's.
    rewrite: bool,
}

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
struct Inputs {
    reader: Arc<BlockReader>,
    inputs: Vec<Input>,
    heap: BinaryHeap<Reverse<(RowKey, u64, usize)>>,
    damaged: Vec<(Arc<BlockEntry>, BlockError)>,
}

/// Tells spans that were there before, by everything that they consist of.
struct Duplicates<'s> {
    /// Of whoever has spans that are being deleted: those are compared with no others, since a copy that has
    /// arrived after the deletion was accepted is new, and stays.
    deletes: Option<&'s TenantState>,
    seen: Seen<(Bytes, Bytes, Bytes)>,
    key: Option<RowKey>,
}

/// Why a merge did not happen. The blocks stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("writing the merged block: {0}")]
    Write(#[from] spandrel_block::WriteError),
    #[error("encoding the catalog row: {0}")]
    Record(#[from] spandrel_block::record::RecordError),
    #[error("no room on the disk to merge {bytes} bytes")]
    NoRoom { bytes: u64 },
    #[error("{0} of the blocks are damaged; they were set aside")]
    Damaged(usize),
}

/// Runs one merge of a tenant, if one is due. Returns whether there was one.
pub(crate) fn merge_once(
    store: &BlockTraceStore,
    tenant: &TenantId,
    everything: bool,
) -> Result<bool, MergeError> {
    let Some(state) = store.tenant(tenant) else { return Ok(false) };
    let Some(job) = choose(store, tenant, &state.view(), everything) else { return Ok(false) };
    match run(store, &state, &job) {
        // The damaged blocks are set aside: the next round goes without them.
        Err(error @ MergeError::Damaged(_)) => tracing::error!(%tenant, %error, "a merge was given up"),
        done => done?,
    }
    Ok(true)
}

/// Fresh blocks first: they press back on ingest.
fn choose(store: &BlockTraceStore, tenant: &TenantId, view: &View, everything: bool) -> Option<Job> {
    let mut groups: BTreeMap<(u8, Hour), Vec<&Arc<BlockEntry>>> = BTreeMap::new();
    for entry in view.iter().filter(|entry| !store.is_damaged(entry)) {
        let level = entry.row.meta.level;
        if level == 0 || (level < MAX_LEVEL && entry.row.meta.spans < store.config.sealed_rows / 2) {
            groups.entry((level, entry.key.hour)).or_default().push(entry);
        }
    }
    let due = groups.iter().find(|((level, _), blocks)| {
        if *level == 0 { everything || is_due(store, blocks) } else { blocks.len() >= FAN_IN }
    });
    let Some((&(level, hour), blocks)) = due else { return choose_old(store, tenant, view) };
    let mut blocks: Vec<_> = blocks.iter().map(|entry| (*entry).clone()).collect();
    // By what they hold, not by when they were written: what a merge has left comes first in the next.
    blocks.sort_by_key(|entry| (entry.row.meta.min_sequence, entry.key.block));
    let later = blocks.split_off(enough(store, &blocks));
    let later = later.iter().map(|entry| entry.key.block).filter(|_| level == 0).collect();
    Some(Job { tenant: tenant.clone(), hour, level, blocks, later, rewrite: false })
}

/// How many blocks, from the first, one merge takes: those that make a full block by their rows or, where spans
/// are large, by their bytes, and not too many to have a page of each in memory.
fn enough(store: &BlockTraceStore, blocks: &[Arc<BlockEntry>]) -> usize {
    let StoreConfig { sealed_rows, sealed_bytes, max_merge_blocks, .. } = store.config;
    let (mut rows, mut bytes) = (0u64, 0u64);
    let full = blocks.iter().position(|entry| {
        rows += u64::from(entry.row.meta.spans);
        bytes += entry.row.bytes;
        rows >= u64::from(sealed_rows) || bytes >= sealed_bytes as u64 / DEFLATED
    });
    full.map_or(blocks.len(), |last| (last + 1).max(2)).min(max_merge_blocks).min(blocks.len())
}

/// Sealed blocks of format 1 are taken over one by one when nothing else is due.
fn choose_old(store: &BlockTraceStore, tenant: &TenantId, view: &View) -> Option<Job> {
    let mut old = store.old_blocks.lock();
    old.retain(|(of, block)| of != tenant || view.get(*block).is_some_and(|entry| !store.is_damaged(entry)));
    let entry = old.iter().filter(|(of, _)| of == tenant).find_map(|(_, block)| view.get(*block))?;
    let (hour, level, blocks) = (entry.key.hour, entry.row.meta.level, vec![entry.clone()]);
    Some(Job { tenant: tenant.clone(), hour, level, blocks, later: Vec::new(), rewrite: true })
}

/// Merges wait while ingest is busy, so that it has the CPU; not for ever, nor for ever more blocks or spans.
/// Attributes are sought in what waits as fast as in what was merged; aggregates and the service map look at
/// all its rows.
fn is_due(store: &BlockTraceStore, fresh: &[&Arc<BlockEntry>]) -> bool {
    let config = &store.config;
    let now = store.clock.now();
    let (mut blocks, mut age) = (config.merge_blocks, config.merge_age);
    if store.load.is_busy(now, config.busy_percent) {
        blocks = blocks.max(config.merge_blocks_busy);
        age = age.max(config.merge_age_busy);
    }
    let oldest = fresh.iter().map(|entry| entry.row.meta.created).min();
    // Senders are sent away above the bound of what waits, in whichever window: merges begin well before.
    store.is_pressed()
        || fresh.len() >= blocks
        || fresh.iter().map(|entry| u64::from(entry.row.meta.spans)).sum::<u64>() >= config.merge_spans
        || oldest.is_some_and(|oldest| oldest <= now.minus(age))
}

fn run(store: &BlockTraceStore, state: &TenantState, job: &Job) -> Result<(), MergeError> {
    let started = store.clock.now();
    let bytes: u64 = job.blocks.iter().map(|entry| entry.row.bytes).sum();
    if store.engine.free_bytes().is_some_and(|free| free < bytes.saturating_mul(2)) {
        store.doomed.hurry();
        return Err(MergeError::NoRoom { bytes });
    }
    failpoint::reach(Failpoint::MergeChosen);
    let mut inputs = Inputs::open(&store.reader, &job.blocks);
    let level = if job.rewrite { job.level } else { job.level + 1 };
    let mut carry = Carry::new(store, state, &job.blocks, &job.later);
    let mut duplicates = Duplicates::new(state);
    let sealed = write(store, level, &mut inputs, &mut carry, &mut duplicates)?;
    let damaged = inputs.damaged;
    if !damaged.is_empty() {
        // Nothing is lost by a merge: without all rows there is none.
        damaged.iter().for_each(|(entry, error)| store.report_damage(entry, error, &Default::default()));
        return Err(MergeError::Damaged(damaged.len()));
    }
    let spans = sealed.iter().map(|block| u64::from(block.row.meta.spans)).sum();
    commit(store, state, job, sealed, carry.finish()?)?;
    metrics::counter!("spandrel_store_merged_spans_total").increment(spans);
    let took = store.clock.now().since(started);
    tracing::debug!(
        level = job.level,
        blocks = job.blocks.len(),
        spans,
        took_ms = took / 1_000_000,
        "merged"
    );
    Ok(())
}

fn write(
    store: &BlockTraceStore,
    level: u8,
    inputs: &mut Inputs,
    carry: &mut Carry<'_>,
    duplicates: &mut Duplicates<'_>,
) -> Result<Vec<FinishedBlock>, MergeError> {
    let mut finished = Vec::new();
    let mut writer = BlockWriter::new(SEALED_ZSTD_LEVEL)?;
    let mut last: Option<TraceId> = None;
    let mut goes_on = false;
    while let Some((key, at)) = inputs.next() {
        if !duplicates.is_new(inputs, key, at) {
            inputs.pass(None);
            continue;
        }
        let trace = key.trace();
        let is_next = last.replace(trace) != Some(trace);
        goes_on = if is_next { carry.takes(trace) } else { goes_on };
        if goes_on {
            if let Some(CopyError::Write(error)) = inputs.pass(Some(carry.writer()?)) {
                return Err(error.into());
            }
            continue;
        }
        if writer.rows() > 0 && is_full(store, &writer, is_next) {
            let full = std::mem::replace(&mut writer, BlockWriter::new(SEALED_ZSTD_LEVEL)?);
            finished.push(full.finish(level, store.clock.now())?);
            failpoint::reach(Failpoint::MergeBlockFinished);
        }
        if let Some(CopyError::Write(error)) = inputs.pass(Some(&mut writer)) {
            return Err(error.into());
        }
    }
    if !inputs.damaged.is_empty() {
        return Ok(Vec::new());
    }
    if writer.rows() > 0 {
        finished.push(writer.finish(level, store.clock.now())?);
    }
    Ok(finished)
}

/// Blocks are cut between traces; a trace that fills several blocks is cut inside. They are cut by what
/// they know, too: a reader decodes the whole dictionary, and a sender may name its attributes as it likes.
pub(crate) fn is_full(store: &BlockTraceStore, writer: &BlockWriter, between_traces: bool) -> bool {
    let factor = if between_traces { 1 } else { 4 };
    let StoreConfig { sealed_rows, sealed_bytes, .. } = store.config;
    writer.rows() >= sealed_rows * factor
        || writer.body_bytes() >= sealed_bytes * factor as usize
        || writer.vocabulary() >= 100 * factor as usize
}

fn commit(
    store: &BlockTraceStore,
    state: &TenantState,
    job: &Job,
    sealed: Vec<FinishedBlock>,
    left: Vec<FinishedBlock>,
) -> Result<(), MergeError> {
    let mut change = Change {
        tenant: job.tenant.clone(),
        hour: job.hour,
        adds: Vec::new(),
        removes: job.blocks.iter().map(|entry| entry.key.block).collect(),
    };
    let mut entries = Vec::new();
    for block in sealed {
        let id = store.next_block_id();
        let index = block.trace_rows().to_vec();
        let row = block.row.encode()?;
        change.adds.push(NewBlock { id, row, bytes: block.bytes, short_lived: false, index });
        entries.push(Arc::new(BlockEntry::new(change.key(id), block.row)));
    }
    let mut fresh = Vec::new();
    for block in left {
        let id = store.next_block_id();
        let (row, bytes) = (block.row.encode()?, block.bytes.clone());
        change.adds.push(NewBlock { id, row, bytes, short_lived: true, index: Vec::new() });
        fresh.push((id, block));
    }
    failpoint::reach(Failpoint::MergeWritten);
    store.commit(&change)?;
    failpoint::reach(Failpoint::MergeCommitted);
    entries.extend(fresh.into_iter().map(|(id, block)| store.know_fresh(state, change.key(id), block, true)));
    let sealed: Vec<_> = entries.iter().filter(|entry| entry.row.meta.level > 0).cloned().collect();
    store.replace(&job.tenant, entries, &job.blocks, Exit::Merged);
    failpoint::reach(Failpoint::MergeReplaced);
    // New blocks are asked about most: the first question to each need not wait for all that it begins with.
    sealed.iter().for_each(|entry| store.reader.warm(entry));
    Ok(())
}

// === impl Inputs ===

impl Inputs {
    fn open(reader: &Arc<BlockReader>, blocks: &[Arc<BlockEntry>]) -> Self {
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
    fn next(&self) -> Option<(RowKey, usize)> {
        self.heap.peek().map(|Reverse((key, _, at))| (*key, *at))
    }

    /// The commit that stored the row with the smallest key.
    fn sequence(&self) -> u64 {
        self.heap.peek().map_or(0, |Reverse((_, sequence, _))| *sequence)
    }

    /// Whether another input is at a row with the smallest key, too: then it is a child of the heap's top.
    fn has_tie(&self, key: RowKey) -> bool {
        self.heap.as_slice().iter().skip(1).take(2).any(|Reverse((other, ..))| *other == key)
    }

    /// Goes on to the next row of the input with the smallest key; copies the row if it is told where to.
    fn pass(&mut self, writer: Option<&mut BlockWriter>) -> Option<CopyError> {
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
                // Half a row may have been written: what is written so far cannot be finished.
                self.damaged.push((input.entry.clone(), error.into()));
                drop(top);
                self.heap.clear();
                return None;
            }
            Err(error) => return Some(error),
        };
        match next {
            Ok(Some((key, sequence))) => *top = Reverse((key, sequence, at)),
            Ok(None) => drop(PeekMut::pop(top)),
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
        let page = reader.page(entry, number, false)?;
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
    fn new(state: &'s TenantState) -> Self {
        Self { deletes: Some(state).filter(|state| state.any_deleted()), seen: Seen::default(), key: None }
    }

    /// Whether the next row is the first of its kind. Rows of different keys need not be put together
    /// to know that.
    fn is_new(&mut self, inputs: &mut Inputs, key: RowKey, at: usize) -> bool {
        if self.deletes.is_some_and(|state| state.is_deleted(key.trace(), inputs.sequence())) {
            return true;
        }
        let again = self.key == Some(key);
        if !again && !inputs.has_tie(key) {
            return true;
        }
        if !again {
            self.seen.clear();
            self.key = Some(key);
        }
        // A row that cannot be read is noticed, and reported, when it is copied.
        inputs.inputs[at].rows.peek().map_or(true, |row| self.seen.insert(row))
    }
}
