//! Several tenants as one store, for callers who may ask about them together: each is asked, and the answers are put
//! together. A trace whose ID two tenants have is one trace, by its ID and on a page of a search.

use std::sync::Arc;

use spandrel_proto::otlp::Decoded;
use spandrel_proto::{TenantId, Tenants, TimeRange, TraceId, UnixNanos};
use spandrel_storage::plan::{AggregatePlan, ScanPlan, SearchPlan};
use spandrel_storage::table::{FoldAnswer, FoldPlan, KnownAttribute, SelectPlan, TableFold, TraceJudge};
use spandrel_storage::{
    AggregateAnswer, AppendError, Deletion, DeletionId, Deletions, DependencyAnswer, LifecycleError,
    Operation, Pins, ReadError, SearchAnswer, StoreStatus, TraceScan, TraceSpans, TraceStore,
};

/// The tenants of a caller, as one. Which tenant a method is given does not matter.
pub(super) struct JoinedStore {
    store: Arc<dyn TraceStore>,
    tenants: Tenants,
}

// === impl JoinedStore ===

impl JoinedStore {
    pub(super) fn new(store: Arc<dyn TraceStore>, tenants: Tenants) -> Self {
        Self { store, tenants }
    }

    fn of_each<T, E>(&self, ask: impl FnMut(&TenantId) -> Result<T, E>) -> Result<Vec<T>, E> {
        self.tenants.iter().map(ask).collect()
    }
}

impl TraceStore for JoinedStore {
    fn append(&self, _: &TenantId, _: &[Decoded]) -> Result<(), AppendError> {
        Err(AppendError::Encode("spans belong to one tenant".to_owned()))
    }

    fn trace(&self, _: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let found = self.of_each(|tenant| self.store.trace(tenant, id))?;
        TraceSpans::joined(found.into_iter().flatten().collect())
    }

    fn trace_logs(&self, _: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let found = self.of_each(|tenant| self.store.trace_logs(tenant, id))?;
        TraceSpans::joined(found.into_iter().flatten().collect())
    }

    fn has_logs(&self, _: &TenantId) -> bool {
        self.tenants.iter().any(|tenant| self.store.has_logs(tenant))
    }

    fn search(&self, _: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
        Ok(SearchAnswer::joined(plan, self.of_each(|tenant| self.store.search(tenant, plan))?))
    }

    fn scan(&self, _: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError> {
        Ok(TraceScan::joined(self.of_each(|tenant| self.store.scan(tenant, plan))?))
    }

    fn select(
        &self,
        _: &TenantId,
        plan: &SelectPlan,
        judges: &mut [&mut dyn TraceJudge],
    ) -> Result<SearchAnswer, ReadError> {
        let answers = self.of_each(|tenant| self.store.select(tenant, plan, judges))?;
        Ok(SearchAnswer::joined(&plan.search, answers))
    }

    fn fold_spans(
        &self,
        _: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        let answers = self.of_each(|tenant| self.store.fold_spans(tenant, plan, folds))?;
        Ok(answers.into_iter().reduce(FoldAnswer::and).unwrap_or_default())
    }

    fn fold_traces(
        &self,
        _: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        let answers = self.of_each(|tenant| self.store.fold_traces(tenant, plan, folds))?;
        Ok(answers.into_iter().reduce(FoldAnswer::and).unwrap_or_default())
    }

    fn version(&self, _: &TenantId, range: TimeRange) -> Option<u64> {
        let versions = self.of_each(|tenant| Ok::<_, ReadError>(self.store.version(tenant, range))).ok()?;
        // Numbers of tenants may be the same, so that their order counts.
        versions.into_iter().try_fold(0u64, |all, version| Some(all.rotate_left(7) ^ version?))
    }

    fn attributes(&self, _: &TenantId, range: TimeRange) -> Result<Vec<KnownAttribute>, ReadError> {
        let mut all = self.of_each(|tenant| self.store.attributes(tenant, range))?.concat();
        all.sort_by(|one, other| (one.level, &one.key).cmp(&(other.level, &other.key)));
        all.dedup_by(|next, known| {
            let is_same = (next.level, &next.key) == (known.level, &known.key);
            if is_same {
                known.types.append(&mut next.types);
                known.types.sort_unstable();
                known.types.dedup();
            }
            is_same
        });
        Ok(all)
    }

    fn aggregate(&self, _: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError> {
        Ok(AggregateAnswer::joined(self.of_each(|tenant| self.store.aggregate(tenant, plan))?))
    }

    fn dependencies(&self, _: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError> {
        Ok(DependencyAnswer::joined(self.of_each(|tenant| self.store.dependencies(tenant, range))?))
    }

    fn services(&self, _: &TenantId) -> Vec<String> {
        let mut all: Vec<String> =
            self.tenants.iter().flat_map(|tenant| self.store.services(tenant)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn operations(&self, _: &TenantId, service: &str) -> Vec<Operation> {
        let of = |tenant| self.store.operations(tenant, service);
        let mut all: Vec<Operation> = self.tenants.iter().flat_map(of).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn status(&self) -> StoreStatus {
        self.store.status()
    }

    fn tenant_status(&self, _: &TenantId) -> StoreStatus {
        let all = self.tenants.iter().map(|tenant| self.store.tenant_status(tenant));
        all.reduce(StoreStatus::and).unwrap_or_default()
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.store.tenants().into_iter().filter(|tenant| self.tenants.contains(tenant)).collect()
    }

    fn refusal(&self) -> Option<AppendError> {
        self.store.refusal()
    }

    fn as_deletions(&self) -> Option<&dyn Deletions> {
        self.store.as_deletions().map(|_| self as &dyn Deletions)
    }

    fn as_pins(&self) -> Option<&dyn Pins> {
        self.store.as_pins().map(|_| self as &dyn Pins)
    }
}

impl Deletions for JoinedStore {
    fn delete(&self, _: &TenantId, _: &ScanPlan) -> Result<Deletion, LifecycleError> {
        Err(LifecycleError::SeveralTenants)
    }

    fn delete_tenant(&self, _: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        Err(LifecycleError::SeveralTenants)
    }

    fn deletion(&self, _: &TenantId, id: DeletionId) -> Result<Option<Deletion>, LifecycleError> {
        let Some(deletions) = self.store.as_deletions() else { return Ok(None) };
        let found = self.of_each(|tenant| deletions.deletion(tenant, id))?;
        Ok(found.into_iter().flatten().next())
    }

    fn deletions(&self, _: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        let Some(deletions) = self.store.as_deletions() else { return Ok(Vec::new()) };
        let mut all = self.of_each(|tenant| deletions.deletions(tenant))?.concat();
        all.sort_by_key(|deletion| std::cmp::Reverse(deletion.accepted));
        Ok(all)
    }
}

impl Pins for JoinedStore {
    fn pin(&self, _: &TenantId, _: TraceId) -> Result<Option<UnixNanos>, LifecycleError> {
        Err(LifecycleError::SeveralTenants)
    }

    fn unpin(&self, _: &TenantId, _: TraceId) -> Result<bool, LifecycleError> {
        Err(LifecycleError::SeveralTenants)
    }

    fn pins(&self, _: &TenantId) -> Vec<(TraceId, UnixNanos)> {
        let Some(pins) = self.store.as_pins() else { return Vec::new() };
        let mut all: Vec<_> = self.tenants.iter().flat_map(|tenant| pins.pins(tenant)).collect();
        all.sort_unstable();
        all.dedup_by_key(|(trace, _)| *trace);
        all
    }
}
