//! The base of all parts of the store: the catalog in memory, blocks read through a cache, IDs of blocks and numbers of
//! commits, the backlog of fresh blocks, and the queue of replaced ones. Not here: decisions about what is merged,
//! dropped or deleted.

pub(crate) mod backlog;
pub(crate) mod block_ids;
pub(crate) mod block_reader;
pub(crate) mod committer;
pub(crate) mod config;
pub(crate) mod deleted_traces;
pub(crate) mod expired_rollups;
pub(crate) mod garbage;
pub(crate) mod ingest_load;
pub(crate) mod quarantine;
pub(crate) mod sequences;
pub(crate) mod tenant;
pub(crate) mod trace_cardinality;
mod version;
pub(crate) mod view;

pub(crate) mod status;

use std::sync::Arc;

use spandrel_block::BlockId;
use spandrel_proto::TenantId;

use self::backlog::Backlog;
use self::block_reader::{BlockEntry, BlockError, BlockReader};
use self::committer::Committer;
use self::config::{Clock, StoreConfig};
use self::garbage::{GarbageQueue, RemovalReason};
use self::quarantine::Quarantine;
use self::tenant::{TenantState, Tenants};
use self::trace_cardinality::TraceCounter;
use crate::api::Damage;
use crate::engine::Engine;

/// The state of a store that its parts share.
pub(crate) struct Core {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: StoreConfig,
    pub(crate) reader: Arc<BlockReader>,
    pub(crate) tenants: Tenants,
    pub(crate) committer: Committer,
    pub(crate) backlog: Backlog,
    pub(crate) garbage: GarbageQueue,
    pub(crate) quarantine: Quarantine,
}

// === impl Core ===

impl Core {
    /// Creates the state for an engine whose catalog is not read yet.
    pub(crate) fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, config: StoreConfig) -> Self {
        Self {
            reader: Arc::new(BlockReader::new(engine.clone(), config.cache_bytes)),
            tenants: Tenants::default(),
            committer: Committer::default(),
            backlog: Backlog::default(),
            garbage: GarbageQueue::default(),
            quarantine: Quarantine::default(),
            engine,
            clock,
            config,
        }
    }

    /// Replaces blocks in memory, after the engine has replaced them.
    pub(crate) fn replace(
        &self,
        tenant: &TenantId,
        new: Vec<Arc<BlockEntry>>,
        old: &[Arc<BlockEntry>],
        reason: RemovalReason,
    ) {
        let Some(state) = self.tenants.get(tenant) else { return };
        let removes: Vec<BlockId> = old.iter().map(|entry| entry.key.block).collect();
        state.change(new, &removes);
        for entry in old.iter().filter(|entry| entry.row.meta.level == 0) {
            self.backlog.remove(entry);
        }
        self.garbage.add(old, reason, self.clock.now());
    }

    /// Counts the traces of a tenant again, after some were removed.
    pub(crate) fn recount_traces(&self, state: &TenantState) {
        let mut counter = TraceCounter::default();
        for entry in state.view().spans() {
            if let Ok(traces) = self.reader.traces(entry) {
                for (trace, _) in traces.entries() {
                    counter.add(*trace);
                }
            }
        }
        *state.traces.lock() = counter;
    }

    /// Whether the backlog is so full that senders will be refused soon, unless merges catch up.
    pub(crate) fn above_high_watermark(&self) -> bool {
        self.backlog.above_high_watermark(&self.config)
    }

    /// The free bytes on the disk, if they are fewer than the reserve.
    pub(crate) fn free_below_reserve(&self) -> Option<u64> {
        self.engine.free_bytes().filter(|free| *free < self.config.reserve_bytes)
    }

    /// Quarantines an unreadable block, and counts it in an answer (`damage`).
    pub(crate) fn report_damage(&self, entry: &BlockEntry, error: &BlockError, damage: &Damage) {
        self.quarantine.blocks.report(entry, error, damage);
    }

    /// Whether the block is known to be damaged.
    pub(crate) fn is_damaged(&self, entry: &BlockEntry) -> bool {
        self.quarantine.blocks.contains(entry.key.block)
    }
}
