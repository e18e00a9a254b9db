//! Background merge: many small blocks of a window become few large ones.
//!
//! Each trace becomes contiguous, duplicates go, compression gets stronger. The new blocks and the
//! removal of the old ones are one catalog commit, so a kill at any moment leaves either the old
//! blocks or the new ones. Memory is bounded by one inflated chunk for each block that is read and by
//! the block that is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use spandrel_block::{BlockWriter, FinishedBlock, Hour};
use spandrel_proto::{TenantId, TraceId};

use super::block::{BlockEntry, BlockError};
use super::rows::{BlockRows, MergedRows};
use super::view::View;
use super::{BlockTraceStore, StoreConfig};
use crate::engine::{Change, EngineError, NewBlock};
use crate::failpoint::{self, Failpoint};

/// Merged blocks that are still small are merged again, so many at a time.
const FAN_IN: usize = 8;
/// Levels stop here: a span is rewritten so often at the most.
const MAX_LEVEL: u8 = 4;
/// Regrouping by trace is what saves bytes: level 3 takes half as much time again for 1 to 3 %.
const SEALED_ZSTD_LEVEL: i32 = 1;

/// Blocks to merge into one level.
struct Job {
    tenant: TenantId,
    hour: Hour,
    level: u8,
    blocks: Vec<Arc<BlockEntry>>,
}

/// Why a merge did not happen. The blocks stay as they are.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
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
pub(super) fn merge_once(
    store: &BlockTraceStore,
    tenant: &TenantId,
    everything: bool,
) -> Result<bool, MergeError> {
    let Some(state) = store.tenant(tenant) else { return Ok(false) };
    let Some(job) = choose(store, tenant, &state.view(), everything) else { return Ok(false) };
    match run(store, &job) {
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
    let (&(level, hour), blocks) = groups.iter().find(|((level, _), blocks)| {
        if *level == 0 { everything || is_due(store, blocks) } else { blocks.len() >= FAN_IN }
    })?;
    let mut blocks: Vec<_> = blocks.iter().map(|entry| (*entry).clone()).collect();
    blocks.sort_by_key(|entry| entry.key.block);
    blocks.truncate(store.config.max_merge_blocks);
    Some(Job { tenant: tenant.clone(), hour, level, blocks })
}

fn is_due(store: &BlockTraceStore, fresh: &[&Arc<BlockEntry>]) -> bool {
    let StoreConfig { merge_blocks, merge_age, .. } = store.config;
    let oldest = fresh.iter().map(|entry| entry.row.meta.created).min();
    fresh.len() >= merge_blocks || oldest.is_some_and(|oldest| oldest <= store.clock.now().minus(merge_age))
}

fn run(store: &BlockTraceStore, job: &Job) -> Result<(), MergeError> {
    let started = store.clock.now();
    let bytes: u64 = job.blocks.iter().map(|entry| entry.row.bytes).sum();
    if store.engine.free_bytes().is_some_and(|free| free < bytes.saturating_mul(2)) {
        return Err(MergeError::NoRoom { bytes });
    }
    failpoint::reach(Failpoint::MergeChosen);
    let mut damaged: Vec<(Arc<BlockEntry>, BlockError)> = Vec::new();
    let mut parts = Vec::new();
    for entry in &job.blocks {
        match BlockRows::open(&store.reader, entry, 0..entry.row.meta.spans, false) {
            Ok(rows) => parts.push(rows),
            Err(error) => damaged.push((entry.clone(), error)),
        }
    }
    let mut rows = MergedRows::new(parts);
    let written = write(store, job.level + 1, &mut rows)?;
    damaged.extend(rows.take_failed());
    if !damaged.is_empty() {
        // Nothing is lost by a merge: without all rows there is none.
        damaged.iter().for_each(|(entry, error)| store.report_damage(entry, error, &Default::default()));
        return Err(MergeError::Damaged(damaged.len()));
    }
    commit(store, job, written)?;
    let spans: u64 = job.blocks.iter().map(|entry| u64::from(entry.row.meta.spans)).sum();
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
    rows: &mut MergedRows,
) -> Result<Vec<FinishedBlock>, MergeError> {
    let mut finished = Vec::new();
    let mut writer: Option<BlockWriter> = None;
    let mut last: Option<TraceId> = None;
    for row in rows {
        if let Some(full) = writer.take_if(|writer| is_full(store, writer, last != Some(row.key.0))) {
            finished.push(full.finish(level, store.clock.now())?);
            failpoint::reach(Failpoint::MergeBlockFinished);
        }
        let open = match &mut writer {
            Some(open) => open,
            None => writer.insert(BlockWriter::new(SEALED_ZSTD_LEVEL)?),
        };
        let (resource, scope) = (open.resource(&row.resource)?, open.scope(&row.scope));
        open.push(resource, scope, &row.span, row.sequence)?;
        last = Some(row.key.0);
    }
    if let Some(open) = writer {
        finished.push(open.finish(level, store.clock.now())?);
    }
    Ok(finished)
}

/// Blocks are cut between traces; a trace that fills several blocks is cut inside.
fn is_full(store: &BlockTraceStore, writer: &BlockWriter, between_traces: bool) -> bool {
    let factor = if between_traces { 1 } else { 4 };
    let StoreConfig { sealed_rows, sealed_bytes, .. } = store.config;
    writer.rows() >= sealed_rows * factor || writer.body_bytes() >= sealed_bytes * factor as usize
}

fn commit(store: &BlockTraceStore, job: &Job, written: Vec<FinishedBlock>) -> Result<(), MergeError> {
    let mut change = Change {
        tenant: job.tenant.clone(),
        hour: job.hour,
        adds: Vec::new(),
        removes: job.blocks.iter().map(|entry| entry.key.block).collect(),
    };
    let mut entries = Vec::new();
    for block in written {
        let id = store.next_block_id();
        let index = block.trace_rows().to_vec();
        change.adds.push(NewBlock {
            id,
            row: block.row.encode()?,
            bytes: block.bytes,
            short_lived: false,
            index,
        });
        entries.push(Arc::new(BlockEntry { key: change.key(id), row: block.row }));
    }
    failpoint::reach(Failpoint::MergeWritten);
    store.commit(&change)?;
    failpoint::reach(Failpoint::MergeCommitted);
    store.replace(&job.tenant, entries, &job.blocks);
    failpoint::reach(Failpoint::MergeReplaced);
    Ok(())
}
