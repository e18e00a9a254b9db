//! Replaces blocks by new ones in one catalog commit: a kill at any moment leaves either the old blocks or the new
//! ones. Merges, retention and deletion use this.

use std::sync::Arc;

use spandrel_block::record::RecordError;
use spandrel_block::{FinishedBlock, WriteError};

use super::append::register_fresh;
use crate::engine::{Change, EngineError, NewBlock};
use crate::failpoint::{self, Failpoint};
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::garbage::RemovalReason;
use crate::store::core::tenant::TenantState;

/// Why blocks were not replaced. They stay unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("writing the new block: {0}")]
    Write(#[from] WriteError),
    #[error("encoding a record: {0}")]
    Record(#[from] RecordError),
    #[error("no room on the disk to rewrite {bytes} bytes")]
    NoRoom { bytes: u64 },
    #[error("{0} of the blocks are damaged; they were set aside")]
    Damaged(usize),
}

/// Blocks that are written but not committed.
#[derive(Default)]
pub(crate) struct Outputs {
    /// Blocks with rows in the trace index.
    pub(crate) sealed: Vec<FinishedBlock>,
    /// Rows that are carried over to the next merge.
    pub(crate) fresh: Vec<FinishedBlock>,
}

/// The failpoints before the commit, after it, and after the change in memory.
struct Failpoints {
    written: Failpoint,
    committed: Failpoint,
    replaced: Failpoint,
}

/// Commits new blocks in place of old ones of the same window. Returns the sealed ones.
pub(crate) fn replace_blocks(
    core: &Core,
    state: &TenantState,
    old: &[Arc<BlockEntry>],
    outputs: Outputs,
    reason: RemovalReason,
) -> Result<Vec<Arc<BlockEntry>>, RewriteError> {
    let Some(first) = old.first() else { return Ok(Vec::new()) };
    let mut change = Change {
        tenant: first.key.tenant.clone(),
        hour: first.key.hour,
        adds: Vec::new(),
        removes: old.iter().map(|entry| entry.key.block).collect(),
    };
    let mut sealed = Vec::new();
    for block in outputs.sealed {
        let id = core.next_block_id();
        let index = block.trace_rows().to_vec();
        let row = block.row.encode()?;
        change.adds.push(NewBlock { id, row, bytes: block.bytes, short_lived: false, index });
        sealed.push(Arc::new(BlockEntry::new(change.key(id), block.row)));
    }
    let mut fresh = Vec::new();
    for block in outputs.fresh {
        let id = core.next_block_id();
        let (row, bytes) = (block.row.encode()?, block.bytes.clone());
        change.adds.push(NewBlock { id, row, bytes, short_lived: true, index: Vec::new() });
        fresh.push((id, block));
    }
    let failpoints = Failpoints::of(reason);
    failpoint::reach(failpoints.written);
    core.commit(&change)?;
    failpoint::reach(failpoints.committed);
    let mut entries = sealed.clone();
    for (id, block) in fresh {
        let entry = register_fresh(core, state, change.key(id), block);
        entries.push(Arc::new(BlockEntry { carried_over: true, ..entry }));
    }
    core.replace(&change.tenant, entries, old, reason);
    failpoint::reach(failpoints.replaced);
    Ok(sealed)
}

/// Refuses to rewrite blocks if there is not enough free space, and ends the grace period of replaced blocks.
pub(super) fn check_room(core: &Core, bytes: u64) -> Result<(), RewriteError> {
    if core.engine.free_bytes().is_some_and(|free| free < bytes.saturating_mul(2)) {
        core.garbage.end_grace();
        return Err(RewriteError::NoRoom { bytes });
    }
    Ok(())
}

/// Quarantines damaged blocks and refuses to replace them, because their unreadable spans would be lost. The next
/// attempt leaves them out.
pub(crate) fn check_damage(
    core: &Core,
    failed: Vec<(Arc<BlockEntry>, BlockError)>,
) -> Result<(), RewriteError> {
    for (entry, error) in &failed {
        core.report_damage(entry, error, &Default::default());
    }
    if failed.is_empty() { Ok(()) } else { Err(RewriteError::Damaged(failed.len())) }
}

// === impl Failpoints ===

impl Failpoints {
    fn of(reason: RemovalReason) -> Self {
        match reason {
            RemovalReason::Merged => Self {
                written: Failpoint::MergeWritten,
                committed: Failpoint::MergeCommitted,
                replaced: Failpoint::MergeReplaced,
            },
            RemovalReason::Expired => Self {
                written: Failpoint::RetentionChosen,
                committed: Failpoint::RetentionCommitted,
                replaced: Failpoint::RetentionReplaced,
            },
        }
    }
}
