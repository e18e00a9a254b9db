//! Background work, in rounds: due merges, retention, garbage collection, and deletions. A job that fails is retried,
//! and does not stop the others.

mod backoff;
mod ended_keys;
mod format_upgrade;
mod garbage_collection;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_proto::TenantId;

use self::backoff::Backoff;
pub(crate) use self::format_upgrade::FormatUpgrades;
use self::garbage_collection::RetryFailed;
use super::core::Core;
use super::lifecycle::Lifecycle;
use super::write::merge;
use super::write::merge::plan::Due;
use super::write::replace::RewriteError;
use crate::engine::EngineError;

/// The background work of a store.
pub(crate) struct Maintenance {
    core: Arc<Core>,
    lifecycle: Arc<Lifecycle>,
    upgrades: FormatUpgrades,
    /// Allows one round at a time, on any thread.
    round: Mutex<()>,
    merges: Backoff,
    retention: Backoff,
    disk_quota: Backoff,
    garbage_collection: Backoff,
    deletions: Backoff,
    ended_keys: ended_keys::EndedKeys,
}

/// After this time without an append, a store is idle.
const IDLE: Duration = Duration::from_secs(5);

// === impl Maintenance ===

impl Maintenance {
    pub(crate) fn new(core: Arc<Core>, lifecycle: Arc<Lifecycle>, upgrades: FormatUpgrades) -> Self {
        Self {
            core,
            lifecycle,
            upgrades,
            round: Mutex::default(),
            merges: Backoff::default(),
            retention: Backoff::default(),
            disk_quota: Backoff::default(),
            garbage_collection: Backoff::default(),
            deletions: Backoff::default(),
            ended_keys: ended_keys::EndedKeys::default(),
        }
    }

    /// Removes the blocks whose data keys were deleted, once no other work runs.
    pub(crate) fn drop_ended_keys(&self) {
        let _one_round = self.round.lock();
        if !self.core.committer.is_poisoned() {
            self.drop_ended();
        }
    }

    /// Does one round: runs a due merge for each tenant, retention, garbage collection and a step of the deletions.
    /// Returns whether the next round can be done immediately.
    pub(crate) fn round(&self, due: Due) -> bool {
        let _one_round = self.round.lock();
        if self.core.committer.is_poisoned() {
            return false;
        }
        self.drop_ended();
        let mut more = self.merge(due);
        let expired = self.each_tenant(|tenant| self.lifecycle.drop_expired(tenant).map(drop));
        self.retention.note(expired, self.core.clock.now(), "retention failed");
        let result = self.lifecycle.enforce_quota();
        more |= *result.as_ref().unwrap_or(&false);
        self.disk_quota.note(result, self.core.clock.now(), "keeping to the disk quota failed");
        self.collect_garbage();
        if due == Due::Everything || self.deletions.may_try(self.core.clock.now()) {
            let result = self.lifecycle.continue_deletions(self.upgrades.plain_files(&self.core));
            if result.is_ok() && self.lifecycle.take_plain_files_purged() {
                self.upgrades.expect_plain_files(false);
            }
            more |= *result.as_ref().unwrap_or(&false);
            self.deletions.note(result, self.core.clock.now(), "a deletion failed");
        }
        more
    }

    /// Removes the blocks whose data keys were deleted.
    fn drop_ended(&self) {
        let result = self.ended_keys.drop_blocks(&self.core);
        if let Err(error) = result {
            tracing::error!(%error, "blocks whose data key was deleted are not removed yet");
        }
    }

    /// Runs a step for each tenant. The first error is returned once all tenants had their step: one result a job,
    /// so that a tenant that works does not end the backoff of one that fails.
    fn each_tenant<E>(&self, mut step: impl FnMut(&TenantId) -> Result<(), E>) -> Result<(), E> {
        let mut first = Ok(());
        for (tenant, _) in self.core.tenants.all() {
            let result = step(&tenant);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }

    /// Runs one merge of each tenant that has one due. Returns whether there was any.
    fn merge(&self, due: Due) -> bool {
        if due == Due::Now && !self.merges.may_try(self.core.clock.now()) {
            return false;
        }
        let mut merged = false;
        let result = self.each_tenant(|tenant| {
            merged |= self.merge_or_upgrade(tenant, due)?;
            Ok::<_, RewriteError>(())
        });
        let failed = self.merges.note(result, self.core.clock.now(), "a merge failed; its blocks stay");
        metrics::counter!("spandrel_store_merge_failures_total").increment(u64::from(failed));
        merged
    }

    fn merge_or_upgrade(&self, tenant: &TenantId, due: Due) -> Result<bool, RewriteError> {
        Ok(merge::merge_once(&self.core, tenant, due)? || self.upgrades.upgrade_one(&self.core, tenant)?)
    }

    fn collect_garbage(&self) {
        let core = &*self.core;
        let retry = match self.may_collect_garbage() {
            true => RetryFailed::Yes,
            false => RetryFailed::NotYet,
        };
        // Until failed deletes are retried, a round without a failure does not mean that they succeed again.
        let still_failing = core.garbage.any_failed() && retry == RetryFailed::NotYet;
        let result = garbage_collection::collect(core, retry).and_then(|()| self.compact_when_idle());
        if !still_failing || result.is_err() {
            self.garbage_collection.note(result, core.clock.now(), "deleting replaced blocks failed");
        }
    }

    fn may_collect_garbage(&self) -> bool {
        self.garbage_collection.may_try(self.core.clock.now())
    }

    /// If nothing was written for a while, flushes the engine and reclaims space.
    fn compact_when_idle(&self) -> Result<(), EngineError> {
        let core = &*self.core;
        if !core.garbage.take_mark() {
            return Ok(());
        }
        // After the mark is taken: an append sets it when it has counted itself.
        let idle = core.backlog.unsealed_spans() == 0
            && core.garbage.is_empty()
            && core.backlog.last_append() < core.clock.now().minus(IDLE);
        if idle {
            return core.engine.compact();
        }
        core.garbage.mark_garbage();
        Ok(())
    }
}
