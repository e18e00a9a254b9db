//! The one implementation of [`TraceStore`], over any [`Engine`]: it combines the store's parts and delegates to them.
//!
//! Data flows one way: `write::append` writes a fresh block and its catalog row in one commit and makes it visible;
//! `write::merge` turns fresh blocks into sealed ones; `lifecycle` drops windows and deletes traces; `maintenance`
//! calls both and collects garbage. A block that left the catalog stays readable until the last reader drops it; one
//! that a merge has replaced at least for a grace period (`core/garbage.rs`).
//!
//! Imports point one way, too: `core <- read <- {query, write} <- lifecycle <- maintenance <- {open, backup} <- mod`;
//! `scripts/checks/layers.sh` asserts it.

mod backup;
mod core;
mod lifecycle;
mod maintenance;
mod open;
mod query;
mod read;
#[cfg(test)]
mod testing;
mod write;

use std::sync::Arc;

use spandrel_proto::otlp::Decoded;
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};

pub use self::core::config::{Clock, LimitValue, RetentionRule, StoreConfig, SystemClock, TenantRetention};
pub use self::open::OpenError;
pub(crate) use self::query::{MAX_MATCHED_IDS, summarise};
pub(crate) use self::read::matcher::{clamp, matches};

use self::backup::BackupJobs;
use self::core::Core;
use self::lifecycle::Lifecycle;
use self::maintenance::Maintenance;
use self::open::Opened;
use self::query::{aggregate, attributes, dependencies, fold, scan, search};
use self::read::trace_reader::TraceReader;
use self::write::append;
use self::write::merge::plan::Due;
use crate::api::{
    AggregateAnswer, DependencyAnswer, Operation, SearchAnswer, StoreStatus, TenantBatch, TraceScan,
    TraceSpans, TraceStore,
};
use crate::backup::{BackupReceiver, Manifest};
use crate::backups::{BackupError, Backups};
use crate::check::{Check, CheckProgress, CheckReport};
use crate::deletion::{Deletion, Deletions};
use crate::engine::{Engine, EngineError};
use crate::error::{AppendError, LifecycleError, ReadError};
use crate::failpoint::{self, Failpoint};
use crate::ids::{BackupId, DeletionId};
use crate::pins::Pins;
use crate::plan::{AggregatePlan, ScanPlan, SearchPlan};
use crate::table::{FoldAnswer, FoldPlan, KnownAttribute, SelectPlan, TableFold, TraceJudge};

/// Stores spans as blocks in an engine.
pub struct BlockTraceStore {
    core: Arc<Core>,
    lifecycle: Arc<Lifecycle>,
    maintenance: Maintenance,
    backups: BackupJobs,
}

// === impl BlockTraceStore ===

impl BlockTraceStore {
    /// Opens a store over an engine: reads the catalog and the traces of fresh blocks.
    pub fn open(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        config: StoreConfig,
    ) -> Result<Self, OpenError> {
        let Opened { core, lifecycle, upgrades } = open::open(engine, clock, config)?;
        Ok(Self {
            maintenance: Maintenance::new(core.clone(), lifecycle.clone(), upgrades),
            backups: BackupJobs::new(core.clone(), lifecycle.clone()),
            core,
            lifecycle,
        })
    }

    /// Refuses further writes and flushes the engine.
    pub fn close(&self) -> Result<(), EngineError> {
        self.core.committer.close();
        failpoint::reach(Failpoint::CloseBegun);
        self.core.engine.flush()
    }

    /// The configuration of this store.
    pub fn config(&self) -> &StoreConfig {
        &self.core.config
    }

    /// Does one round of background work: due merges, retention, garbage collection and deletions. Returns whether the
    /// next round can be done immediately.
    pub fn maintain(&self) -> bool {
        self.maintenance.round(Due::Now)
    }

    /// Like [`Self::maintain`], for a thread of low priority: above the high watermark of the backlog, where senders
    /// will be refused soon, it leaves all work to [`Self::maintain_urgent`].
    pub fn maintain_low_priority(&self) -> bool {
        !self.core.above_high_watermark() && self.maintain()
    }

    /// Like [`Self::maintain`], for a thread of normal priority, which works above the high watermark only.
    pub fn maintain_urgent(&self) -> bool {
        self.core.above_high_watermark() && self.maintain()
    }

    /// Removes the blocks whose data keys were deleted, which background work does otherwise.
    pub fn drop_ended_keys(&self) {
        self.maintenance.drop_ended_keys();
    }

    /// Merges all fresh blocks, due or not, until none is left.
    pub fn seal_all(&self) {
        while self.maintenance.round(Due::Everything) {}
    }
}

impl TraceStore for BlockTraceStore {
    fn as_deletions(&self) -> Option<&dyn Deletions> {
        Some(self)
    }

    fn as_pins(&self) -> Option<&dyn Pins> {
        Some(self)
    }

    fn as_backups(&self) -> Option<&dyn Backups> {
        Some(self)
    }

    fn as_check(&self) -> Option<&dyn Check> {
        Some(self)
    }

    fn append(&self, tenant: &TenantId, requests: &[Decoded]) -> Result<(), AppendError> {
        self.append_all(&[TenantBatch { tenant, requests }]).pop().unwrap_or(Ok(()))
    }

    fn append_all(&self, batches: &[TenantBatch<'_>]) -> Vec<Result<(), AppendError>> {
        match self.refusal() {
            Some(refusal) => vec![Err(refusal); batches.len()],
            None => append::append_all(&self.core, batches),
        }
    }

    fn trace(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let Some(state) = self.core.tenants.get(tenant) else { return Ok(None) };
        let reader = TraceReader { core: &self.core, tenant, state: &state, view: &state.view() };
        Ok(reader.trace(id))
    }

    fn trace_logs(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let Some(state) = self.core.tenants.get(tenant) else { return Ok(None) };
        let view = state.view();
        if view.logs().next().is_none() {
            return Ok(None);
        }
        Ok(TraceReader { core: &self.core, tenant, state: &state, view: &view }.logs(id))
    }

    fn has_logs(&self, tenant: &TenantId) -> bool {
        self.core.tenants.get(tenant).is_some_and(|state| state.view().logs().next().is_some())
    }

    fn search(&self, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
        search::search(&self.core, tenant, plan)
    }

    fn scan(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError> {
        Ok(scan::scan(&self.core, tenant, plan))
    }

    fn select(
        &self,
        tenant: &TenantId,
        plan: &SelectPlan,
        judges: &mut [&mut dyn TraceJudge],
    ) -> Result<SearchAnswer, ReadError> {
        search::select(&self.core, tenant, plan, judges)
    }

    fn fold_spans(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        Ok(fold::spans(&self.core, tenant, plan, folds))
    }

    fn fold_traces(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        Ok(fold::traces(&self.core, tenant, plan, folds))
    }

    fn version(&self, tenant: &TenantId, range: TimeRange) -> Option<u64> {
        self.core.version(tenant, &range)
    }

    fn attributes(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<KnownAttribute>, ReadError> {
        Ok(attributes::attributes(&self.core, tenant, range))
    }

    fn aggregate(&self, tenant: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError> {
        aggregate::aggregate(&self.core, tenant, plan)
    }

    fn dependencies(&self, tenant: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError> {
        dependencies::dependencies(&self.core, tenant, range)
    }

    fn services(&self, tenant: &TenantId) -> Vec<String> {
        self.core.tenants.get(tenant).map(|state| state.view().services()).unwrap_or_default()
    }

    fn operations(&self, tenant: &TenantId, service: &str) -> Vec<Operation> {
        self.core.tenants.get(tenant).map(|state| state.view().operations(service)).unwrap_or_default()
    }

    fn status(&self) -> StoreStatus {
        self.core.status()
    }

    fn tenant_status(&self, tenant: &TenantId) -> StoreStatus {
        self.core.tenants.get(tenant).map(|state| self::core::status::of_tenant(&state)).unwrap_or_default()
    }

    fn tenants(&self) -> Vec<TenantId> {
        let with_data = self.core.tenants.all().into_iter().filter(|(_, state)| state.view().len() > 0);
        let mut tenants: Vec<TenantId> = with_data.map(|(tenant, _)| tenant).collect();
        tenants.sort();
        tenants
    }

    fn refusal(&self) -> Option<AppendError> {
        if let Some(refusal) = self.core.committer.refusal() {
            return Some(refusal);
        }
        let config = &self.core.config;
        if let Some(free) = self.core.free_below_reserve() {
            return Some(AppendError::DiskFull { free, needed: config.reserve_bytes });
        }
        if let needed @ 1.. = self.lifecycle.quota_excess() {
            return Some(AppendError::DiskFull { free: 0, needed });
        }
        let backlog = &self.core.backlog;
        let unsealed_spans = backlog.unsealed_spans();
        (backlog.percent_full(config) >= 100).then_some(AppendError::Overloaded { unsealed_spans })
    }
}

impl Deletions for BlockTraceStore {
    fn delete(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<Deletion, LifecycleError> {
        self.lifecycle.delete(tenant, plan)
    }

    fn delete_tenant(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        self.lifecycle.delete_tenant(tenant)
    }

    fn deletion(&self, tenant: &TenantId, id: DeletionId) -> Result<Option<Deletion>, LifecycleError> {
        Ok(self.lifecycle.deletions(tenant)?.into_iter().find(|deletion| deletion.id == id))
    }

    fn deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        self.lifecycle.deletions(tenant)
    }
}

impl Pins for BlockTraceStore {
    fn pin(&self, tenant: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, LifecycleError> {
        self.lifecycle.pin(tenant, trace)
    }

    fn unpin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, LifecycleError> {
        self.lifecycle.unpin(tenant, trace)
    }

    fn pins(&self, tenant: &TenantId) -> Vec<(TraceId, UnixNanos)> {
        self.lifecycle.pins(tenant).iter().map(|(trace, since)| (*trace, *since)).collect()
    }
}

impl Backups for BlockTraceStore {
    fn back_up(&self, name: Option<BackupId>, receiver: &mut dyn BackupReceiver) -> Result<(), BackupError> {
        self.backups.back_up(name, receiver)
    }

    fn backups(&self) -> Result<Vec<Manifest>, BackupError> {
        Ok(self.backups.backups()?)
    }

    fn forget_backup(&self, id: BackupId) -> Result<bool, BackupError> {
        Ok(self.backups.forget_backup(id)?)
    }
}

impl Check for BlockTraceStore {
    fn check(&self, watch: &mut dyn FnMut(&CheckProgress) -> bool) -> Option<CheckReport> {
        self.backups.check(watch)
    }
}
