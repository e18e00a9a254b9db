//! Appends: the spans of several requests become one fresh block of their tenant, their logs another, and the blocks of all tenants in a
//! batch are written in one commit.

use std::sync::Arc;

use spandrel_block::{
    BlockId, BlockKey, BlockWriter, Deduplicator, FinishedBlock, RowKey, SpanParts, WriteError,
};
use spandrel_proto::otlp::{Decoded, DecodedSpan, SpanKey};

use crate::api::TenantBatch;
use crate::engine::{Change, EngineError, NewBlock};
use crate::error::AppendError;
use crate::failpoint::{self, Failpoint};
use crate::store::core::Core;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::config::Clock;
use crate::store::core::tenant::TenantState;

/// The blocks of a batch that are not committed yet: of its spans, of its logs, or both.
struct Built {
    /// Its place among the batches.
    at: usize,
    blocks: Blocks,
}

type Blocks = Vec<(BlockId, FinishedBlock)>;

/// Appends batches of several tenants in one commit. Those that were stored are durable and visible when this returns.
pub(crate) fn append_all(core: &Core, batches: &[TenantBatch<'_>]) -> Vec<Result<(), AppendError>> {
    let began = core.clock.now();
    let commit = core.committer.sequences.begin();
    let results = store_batches(core, batches, commit.number);
    commit.make_visible();
    core.backlog.load.spent(core.clock.now().since(began));
    failpoint::reach(Failpoint::AppendVisible);
    results
}

fn store_batches(core: &Core, batches: &[TenantBatch<'_>], sequence: u64) -> Vec<Result<(), AppendError>> {
    let (mut results, mut built, mut changes) = (vec![Ok(()); batches.len()], Vec::new(), Vec::new());
    for (at, batch) in batches.iter().enumerate() {
        match build(core, batch, sequence) {
            Ok(None) => {}
            Ok(Some((change, blocks))) => {
                changes.push(change);
                built.push(Built { at, blocks });
            }
            Err(error) => results[at] = Err(error),
        }
    }
    if changes.is_empty() {
        return results;
    }
    failpoint::reach(Failpoint::AppendBuilt);
    let committed = core.commit_adds(&changes);
    failpoint::reach(Failpoint::AppendCommitted);
    for ((built, change), committed) in built.into_iter().zip(&changes).zip(committed) {
        match committed {
            Ok(()) => built.blocks.into_iter().for_each(|(id, block)| register(core, change, id, block)),
            Err(error) => results[built.at] = Err(write_failed(core, error)),
        }
    }
    // Last: a round that sees the mark also sees that the store is not idle.
    core.garbage.mark_garbage();
    results
}

/// Encodes a batch as fresh blocks, and their change of the catalog; `None` if there is nothing in it.
fn build(
    core: &Core,
    batch: &TenantBatch<'_>,
    sequence: u64,
) -> Result<Option<(Change, Blocks)>, AppendError> {
    let unencodable = |error: WriteError| AppendError::Encode(error.to_string());
    let (mut blocks, mut adds) = (Vec::new(), Vec::new());
    for rows in [Rows::Spans, Rows::Logs] {
        let block = fresh_block(batch.requests, rows, sequence, &*core.clock).map_err(unencodable)?;
        let Some(block) = block else { continue };
        let id = core.next_block_id();
        let row = block.row.encode().map_err(|error| AppendError::Encode(error.to_string()))?;
        adds.push(NewBlock { id, bytes: block.bytes.clone(), row, short_lived: true, index: Vec::new() });
        blocks.push((id, block));
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let (tenant, hour) = (batch.tenant.clone(), core.arrival_hour());
    Ok(Some((Change { tenant, hour, adds, removes: Vec::new() }, blocks)))
}

/// What the rows of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Spans,
    Logs,
}

// === impl Rows ===

impl Rows {
    fn of(self, request: &Decoded) -> &[DecodedSpan] {
        if self == Self::Logs { &request.logs } else { &request.spans }
    }
}

/// Makes a committed block known.
fn register(core: &Core, change: &Change, id: BlockId, block: FinishedBlock) {
    let spans = if block.row.meta.logs { 0 } else { u64::from(block.row.meta.spans) };
    let state = core.tenants.get_or_new(&change.tenant);
    let entry = register_fresh(core, &state, change.key(id), block);
    state.change([Arc::new(entry)], &[]);
    core.backlog.appended(spans, core.clock.now());
}

/// Registers a fresh block that was just written: its traces, and its share of the backlog. The returned entry has to
/// be added to the view next.
pub(super) fn register_fresh(
    core: &Core,
    state: &TenantState,
    key: BlockKey,
    block: FinishedBlock,
) -> BlockEntry {
    let filter = block.filter.map(Arc::new);
    let memory_bytes = state.add_fresh(key.block, &block.traces, block.row.meta.logs)
        + filter.as_ref().map_or(0, |filter| filter.size() as u64);
    let entry = BlockEntry { filter, memory_bytes, carried_over: false, ..BlockEntry::new(key, block.row) };
    core.backlog.add(&entry);
    entry
}

fn write_failed(core: &Core, error: EngineError) -> AppendError {
    match error {
        EngineError::NoSpace(_) => AppendError::DiskFull {
            free: core.engine.free_bytes().unwrap_or(0),
            needed: core.config.reserve_bytes,
        },
        EngineError::Key(error) => AppendError::NoKey(error.to_string()),
        other => AppendError::Poisoned(format!("{other}{}", other.advice())),
    }
}

/// Encodes the spans, or the rows of logs, of several requests as one sorted block; `None` if there are none.
fn fresh_block(
    requests: &[Decoded],
    rows: Rows,
    sequence: u64,
    clock: &dyn Clock,
) -> Result<Option<FinishedBlock>, WriteError> {
    let mut order: Vec<(RowKey, u32, u32)> =
        Vec::with_capacity(requests.iter().map(|r| rows.of(r).len()).sum());
    for (request, decoded) in requests.iter().enumerate() {
        let keyed = rows.of(decoded).iter().enumerate();
        order.extend(
            keyed.map(|(at, s)| (RowKey::new(s.trace_id, s.start.0, s.span_id), request as u32, at as u32)),
        );
    }
    if order.is_empty() {
        return Ok(None);
    }
    order.sort_unstable();
    let mut writer = BlockWriter::fresh()?.of_logs(rows == Rows::Logs);
    let mut resources: Vec<Vec<Option<u32>>> =
        requests.iter().map(|r| vec![None; r.resources.len()]).collect();
    let mut scopes: Vec<Vec<Option<u32>>> = requests.iter().map(|r| vec![None; r.scopes.len()]).collect();
    let mut known = Deduplicator::default();
    let mut order = order.into_iter().peekable();
    while let Some((key, request, at)) = order.next() {
        let decoded = &requests[request as usize];
        let span = &rows.of(decoded)[at as usize];
        let resource = match &mut resources[request as usize][span.resource as usize] {
            Some(known) => *known,
            slot => *slot.insert(writer.resource(&decoded.resources[span.resource as usize])?),
        };
        let scope = match &mut scopes[request as usize][span.scope as usize] {
            Some(known) => *known,
            slot => *slot.insert(writer.scope(&decoded.scopes[span.scope as usize])),
        };
        let parts = || SpanParts {
            resource: decoded.resources[span.resource as usize].clone(),
            scope: decoded.scopes[span.scope as usize].clone(),
            span: decoded.span_bytes(span),
        };
        if known.is_first(key, order.peek().map(|(next, ..)| *next), || Some(parts())) {
            let key = SpanKey { trace_id: span.trace_id, start: span.start.0, span_id: span.span_id };
            writer.push_known(resource, scope, key, decoded.span(span), sequence)?;
        }
    }
    writer.finish(0, clock.now()).map(Some)
}
