//! Counts what questions look at, for the quota of the tenant whose spans they are: under everything that joins tenants
//! or hides something, so that each tenant is charged for its own spans, and for all of them.

use std::sync::Arc;

use spandrel_proto::otlp::Decoded;
use spandrel_proto::{TenantId, TimeRange, TraceId};
use spandrel_quota::Ledger;
use spandrel_storage::plan::{AggregatePlan, ScanPlan, SearchPlan};
use spandrel_storage::table::{FoldAnswer, FoldPlan, KnownAttribute, SelectPlan, TableFold, TraceJudge};
use spandrel_storage::{
    AggregateAnswer, AppendError, Backups, Check, Deletions, DependencyAnswer, Operation, Pins, ReadError,
    Scanned, SearchAnswer, StoreStatus, TraceScan, TraceSpans, TraceStore,
};

/// The whole store, for one caller.
pub(super) struct CountedStore {
    store: Arc<dyn TraceStore>,
    ledger: Arc<Ledger>,
    /// The credential that it is counted for, too.
    account: Option<Arc<str>>,
}

// === impl CountedStore ===

impl CountedStore {
    pub(super) fn new(store: Arc<dyn TraceStore>, ledger: Arc<Ledger>, account: Option<Arc<str>>) -> Self {
        Self { store, ledger, account }
    }

    /// The bytes that a span of a tenant takes, on average.
    fn mean_bytes(&self, tenant: &TenantId) -> u64 {
        let stored = self.store.tenant_status(tenant);
        stored.store_bytes.checked_div(stored.span_count).unwrap_or_default()
    }

    fn count(&self, tenant: &TenantId, scanned: Scanned) {
        if scanned.spans > 0 {
            let bytes = scanned.spans.saturating_mul(self.mean_bytes(tenant));
            self.ledger.count_scanned(tenant, self.account.as_ref(), scanned.spans, bytes);
        }
    }
}

impl TraceStore for CountedStore {
    fn append(&self, tenant: &TenantId, requests: &[Decoded]) -> Result<(), AppendError> {
        self.store.append(tenant, requests)
    }

    fn trace(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        self.store.trace(tenant, id)
    }

    fn trace_logs(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        self.store.trace_logs(tenant, id)
    }

    fn has_logs(&self, tenant: &TenantId) -> bool {
        self.store.has_logs(tenant)
    }

    fn search(&self, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
        self.store.search(tenant, plan).inspect(|answer| self.count(tenant, answer.scanned))
    }

    fn scan(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError> {
        let (tenant, mean) = (tenant.clone(), self.mean_bytes(tenant));
        let scan = self.store.scan(&tenant, plan)?;
        Ok(scan.filter_map(move |spans| {
            let bytes = spans.stored.saturating_mul(mean);
            self.ledger.count_scanned(&tenant, self.account.as_ref(), spans.stored, bytes);
            Ok(Some(spans))
        }))
    }

    fn select(
        &self,
        tenant: &TenantId,
        plan: &SelectPlan,
        judges: &mut [&mut dyn TraceJudge],
    ) -> Result<SearchAnswer, ReadError> {
        self.store.select(tenant, plan, judges).inspect(|answer| self.count(tenant, answer.scanned))
    }

    fn fold_spans(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        self.store.fold_spans(tenant, plan, folds).inspect(|answer| self.count(tenant, answer.scanned))
    }

    fn fold_traces(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        self.store.fold_traces(tenant, plan, folds).inspect(|answer| self.count(tenant, answer.scanned))
    }

    fn version(&self, tenant: &TenantId, range: TimeRange) -> Option<u64> {
        self.store.version(tenant, range)
    }

    fn attributes(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<KnownAttribute>, ReadError> {
        self.store.attributes(tenant, range)
    }

    fn aggregate(&self, tenant: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError> {
        self.store.aggregate(tenant, plan)
    }

    fn dependencies(&self, tenant: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError> {
        self.store.dependencies(tenant, range)
    }

    fn services(&self, tenant: &TenantId) -> Vec<String> {
        self.store.services(tenant)
    }

    fn operations(&self, tenant: &TenantId, service: &str) -> Vec<Operation> {
        self.store.operations(tenant, service)
    }

    fn status(&self) -> StoreStatus {
        self.store.status()
    }

    fn tenant_status(&self, tenant: &TenantId) -> StoreStatus {
        self.store.tenant_status(tenant)
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.store.tenants()
    }

    fn refusal(&self) -> Option<AppendError> {
        self.store.refusal()
    }

    fn as_deletions(&self) -> Option<&dyn Deletions> {
        self.store.as_deletions()
    }

    fn as_pins(&self) -> Option<&dyn Pins> {
        self.store.as_pins()
    }

    fn as_backups(&self) -> Option<&dyn Backups> {
        self.store.as_backups()
    }

    fn as_check(&self) -> Option<&dyn Check> {
        self.store.as_check()
    }
}
