//! Background merge: many small blocks of a window become few large ones.
//!
//! Each trace becomes contiguous and duplicates are removed. Rows are copied as columns: the indices of a span's parts
//! in the new block are looked up once for each distinct part. The old blocks are deleted later (`core/garbage.rs`).
//! Rows of traces that continue past the merge are carried over to the next one (`carry_over.rs`). Memory is bounded by
//! one decoded page of each block that is read and by the blocks that are written: one sealed, one carried over.

pub(crate) mod plan;

use spandrel_block::{BlockWriter, CopyError, FinishedBlock, WriteError};
use spandrel_proto::{TenantId, TraceId};

use self::plan::{Due, MergeJob};
use super::carry_over::CarryOver;
use super::inputs::{Duplicates, Inputs};
use super::replace::{Outputs, RewriteError, check_damage, check_room, replace_blocks};
use super::seal_limits::{NextRow, SealLimits};
use crate::failpoint::{self, Failpoint};
use crate::store::core::Core;
use crate::store::core::garbage::RemovalReason;
use crate::store::core::tenant::TenantState;

/// Most of the saving comes from grouping rows by trace: level 3 takes 50 % more time to save 1 to 3 %.
const SEALED_ZSTD_LEVEL: i32 = 1;

/// Runs one merge of a tenant, if one is due. Returns whether one was due.
pub(crate) fn merge_once(core: &Core, tenant: &TenantId, due: Due) -> Result<bool, RewriteError> {
    let Some(state) = core.tenants.get(tenant) else { return Ok(false) };
    let Some(job) = plan::choose(core, &state.view(), due) else { return Ok(false) };
    run(core, tenant, &state, &job)?;
    Ok(true)
}

/// Runs a merge. Damaged blocks are quarantined, and the next round merges the others.
pub(crate) fn run(
    core: &Core,
    tenant: &TenantId,
    state: &TenantState,
    job: &MergeJob,
) -> Result<(), RewriteError> {
    match try_run(core, state, job) {
        Err(error @ RewriteError::Damaged(_)) => {
            tracing::error!(%tenant, %error, "a merge was given up");
            Ok(())
        }
        result => result,
    }
}

fn try_run(core: &Core, state: &TenantState, job: &MergeJob) -> Result<(), RewriteError> {
    let started = core.clock.now();
    check_room(core, job.blocks.iter().map(|entry| entry.row.bytes).sum())?;
    failpoint::reach(Failpoint::MergeChosen);
    let mut inputs = Inputs::open(&core.reader, &job.blocks);
    let logs = job.is_of_logs();
    let mut carry = CarryOver::new(core, state, &job.blocks, &job.later);
    let mut duplicates = Duplicates::new(Some(state));
    let sealed = write(core, (job.level, logs), &mut inputs, &mut carry, &mut duplicates)?;
    check_damage(core, inputs.damaged)?;
    let spans = sealed.iter().map(|block| u64::from(block.row.meta.spans)).sum();
    let outputs = Outputs { sealed, fresh: carry.finish()? };
    let sealed = replace_blocks(core, state, &job.blocks, outputs, RemovalReason::Merged)?;
    // New blocks are queried most, so the sections that every query needs are read into the cache now.
    for entry in &sealed {
        core.reader.warm(entry);
    }
    let counter =
        if logs { "spandrel_store_merged_log_rows_total" } else { "spandrel_store_merged_spans_total" };
    metrics::counter!(counter).increment(spans);
    let took = core.clock.now().since(started);
    tracing::debug!(
        level = job.level,
        blocks = job.blocks.len(),
        spans,
        took_ms = took / 1_000_000,
        "merged"
    );
    Ok(())
}

/// Writes the sealed blocks of a merge; rows that are carried over go to `carry`. If `inputs.damaged` is not empty
/// afterwards, the blocks lack rows, and must not be committed.
fn write(
    core: &Core,
    (level, logs): (u8, bool),
    inputs: &mut Inputs,
    carry: &mut CarryOver<'_>,
    duplicates: &mut Duplicates<'_>,
) -> Result<Vec<FinishedBlock>, RewriteError> {
    let limits = SealLimits::new(&core.config);
    let mut finished = Vec::new();
    let open = || Ok::<_, WriteError>(BlockWriter::new(SEALED_ZSTD_LEVEL)?.of_logs(logs));
    let mut writer = open()?;
    let mut last: Option<TraceId> = None;
    let mut is_carried = false;
    while let Some((key, at)) = inputs.next() {
        if !duplicates.is_new(inputs, key, at) {
            inputs.pass(None);
            continue;
        }
        let trace = key.trace();
        let next = NextRow::after(last.replace(trace), trace);
        if next == NextRow::OfNewTrace {
            is_carried = carry.takes(trace);
        }
        if is_carried {
            if let Some(CopyError::Write(error)) = inputs.pass(Some(carry.writer()?)) {
                return Err(error.into());
            }
            continue;
        }
        if writer.rows() > 0 && limits.is_full(&writer, next) {
            let full = std::mem::replace(&mut writer, open()?);
            finished.push(full.finish(level, core.clock.now())?);
            failpoint::reach(Failpoint::MergeBlockFinished);
        }
        if let Some(CopyError::Write(error)) = inputs.pass(Some(&mut writer)) {
            return Err(error.into());
        }
    }
    inputs.close();
    if !inputs.damaged.is_empty() {
        return Ok(Vec::new());
    }
    if writer.rows() > 0 {
        finished.push(writer.finish(level, core.clock.now())?);
    }
    Ok(finished)
}
