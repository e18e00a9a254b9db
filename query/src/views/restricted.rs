//! The store as a role sees it that is limited to services or to a condition, or that does not see some values.
//!
//! What the store can decide it is asked, on what was sent; the rest is decided on what the role sees. What cannot be
//! answered without telling something of what is hidden is refused.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use spandrel_proto::otlp::{Decoded, SpanKind};
use spandrel_proto::{Restriction, SpanId, TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::plan::{
    AggregatePlan, AttributeScope, Comparison, Field, Literal, Order, Predicate, ScanPlan, SearchPlan, Stop,
};
use spandrel_storage::table::{
    ColumnName, FoldAnswer, FoldPlan, KnownAttribute, SelectPlan, SkippedColumns, SpanTable, TableFold,
    TraceJudge,
};
use spandrel_storage::{
    AggregateAnswer, AppendError, Damage, Deletion, DeletionId, Deletions, DependencyAnswer, LifecycleError,
    Operation, Pins, ReadError, Scanned, SearchAnswer, StoreStatus, StoredSpan, TraceScan, TraceSpans,
    TraceStore, TraceSummary,
};

use super::counts::Counts;
use super::mask::{Masker, Pushed};
use super::spans::SpanMask;
use super::tables::{AskedRows, SeeingFold, SeeingJudge, TableView};

/// What a role sees of a store.
pub(super) struct RestrictedStore {
    store: Arc<dyn TraceStore>,
    masker: Arc<Masker>,
    /// The spans that it sees.
    visible: Predicate,
    /// The only services that it sees; all, if empty.
    services: Vec<String>,
    /// Whether it sees a part of the spans of these services.
    has_condition: bool,
    hides_spans: bool,
}

// === impl RestrictedStore ===

impl RestrictedStore {
    pub(super) fn new(store: Arc<dyn TraceStore>, restriction: &Restriction) -> Result<Self, String> {
        let Restriction { services, condition, mask } = restriction;
        let service = |name: &String| {
            let field = Field::Attribute(AttributeScope::Resource, "service.name".to_owned());
            Predicate::Compare(field, Comparison::Eq(Literal::String(name.clone())))
        };
        let mut visible = Vec::new();
        if !services.is_empty() {
            visible.push(Predicate::Or(services.iter().map(service).collect()));
        }
        if let Some(condition) = condition {
            visible.push(crate::selector(condition)?);
        }
        Ok(Self {
            store,
            masker: Arc::new(Masker::new(mask)),
            visible: if visible.is_empty() { Predicate::All } else { Predicate::And(visible) },
            services: services.clone(),
            has_condition: condition.is_some(),
            hides_spans: restriction.hides_spans(),
        })
    }

    /// Whether it sees spans of a service, by the name that is stored.
    fn sees_service(&self, service: &String) -> bool {
        self.services.is_empty() || self.services.contains(service)
    }

    /// How much was looked at tells of hidden spans.
    fn scanned(&self, scanned: Scanned) -> Scanned {
        if self.hides_spans { Scanned::default() } else { scanned }
    }

    /// The predicate for the store, which holds at least for each visible span that satisfies this one.
    fn pushed(&self, predicate: &Predicate) -> Pushed {
        let Pushed { predicate, exact } = self.masker.push(predicate);
        let predicate = match &self.visible {
            Predicate::All => predicate,
            visible => Predicate::And(vec![visible.clone(), predicate]),
        };
        Pushed { predicate, exact }
    }

    fn view(&self, read: &[ColumnName], asked: &Predicate, range: TimeRange) -> TableView {
        let mut columns = read.to_vec();
        for column in self.visible.columns().into_iter().chain(asked.columns()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let is_hidden = |column: &ColumnName| match column {
            ColumnName::Attribute(_, key) => self.masker.hides_key(key),
            _ => false,
        };
        TableView {
            masker: self.masker.clone(),
            visible: self.visible.clone(),
            asked: asked.clone(),
            range,
            only_asked: false,
            hidden: columns.iter().map(is_hidden).collect(),
            columns,
            read: read.len(),
        }
    }

    /// The span as the role sees it; `None` if it does not.
    fn seen(&self, span: StoredSpan, mask: &mut SpanMask) -> Result<Option<StoredSpan>, ReadError> {
        if !span.satisfies(&self.visible)? {
            return Ok(None);
        }
        if self.masker.is_empty() { Ok(Some(span)) } else { mask.masked(&span).map(Some) }
    }

    fn seen_of(&self, spans: TraceSpans) -> Result<Vec<StoredSpan>, ReadError> {
        let mut mask = SpanMask::new(self.masker.clone());
        let seen = spans.map(|span| self.seen(span?, &mut mask));
        seen.filter_map(Result::transpose).collect()
    }

    /// The spans of a trace by ID, in their order, and whether the role sees them.
    fn by_id(&self, spans: TraceSpans) -> Result<SpansById, ReadError> {
        let mut by_id = SpansById::default();
        for span in spans {
            let span = span?;
            let seen = (span.service()?, span.satisfies(&self.visible)?);
            by_id.entry(span.order()?.1).or_default().push(seen);
        }
        Ok(by_id)
    }

    /// An order in which hidden spans have a say tells something of them.
    fn check_order(&self, order: Order) -> Result<(), ReadError> {
        match order {
            Order::Newest | Order::Oldest => Ok(()),
            _ if !self.hides_spans => Ok(()),
            _ => Err(ReadError::Restricted(
                "your role sees a part of the spans, and this order tells something of the others; ask for newest or oldest"
                    .to_owned(),
            )),
        }
    }

    /// Traces as the role sees them, with the summaries of what it sees.
    fn summarised(
        &self,
        tenant: &TenantId,
        mut answer: SearchAnswer,
        predicate: &Predicate,
        range: &TimeRange,
    ) -> Result<SearchAnswer, ReadError> {
        answer.scanned = self.scanned(answer.scanned);
        let (traces, keys) = (std::mem::take(&mut answer.traces), std::mem::take(&mut answer.keys));
        for (found, key) in traces.into_iter().zip(keys) {
            let Some(spans) = self.store.trace(tenant, found.id)? else { continue };
            let spans = self.seen_of(spans)?;
            // The logs of a failed root may tell of its exception.
            let logs = match spans.iter().any(|span| span.failed) {
                true => self.trace_logs(tenant, found.id)?.into_iter().flatten().collect::<Result<_, _>>()?,
                false => Vec::new(),
            };
            let seen = TraceSummary::of_spans(found.id, &spans, &logs, predicate, range)?;
            if let Some(seen) = seen {
                answer.traces.push(TraceSummary {
                    matched_span_ids: found.matched_span_ids,
                    matched_span_count: found.matched_span_count,
                    ..seen
                });
                answer.keys.push(key);
            }
        }
        Ok(answer)
    }

    /// Looks at the visible spans.
    fn count(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        stop: Stop,
        fold: &mut dyn TableFold,
    ) -> Result<FoldAnswer, ReadError> {
        let plan = FoldPlan {
            predicate: Predicate::All,
            range,
            columns: Vec::new(),
            ids: false,
            after: 0,
            skipped: SkippedColumns::none_of(0),
            stop,
        };
        self.fold_spans(tenant, &plan, &mut [fold])
    }

    fn names(&self, tenant: &TenantId) -> BTreeSet<(String, String, SpanKind)> {
        let mut names = Names::default();
        // There is no way to say that it failed; what was read of it is said.
        if let Err(error) = self.count(tenant, TimeRange::ALL, Stop::default(), &mut names) {
            tracing::warn!(%error, "the services that a role sees are not all there");
        }
        names.0
    }
}

/// The services and operations of the spans of a pass.
#[derive(Default)]
struct Names(BTreeSet<(String, String, SpanKind)>);

impl TableFold for Names {
    fn add(&mut self, table: &SpanTable) -> bool {
        let classes = &table.classes;
        let mut present = vec![false; classes.classes.len()];
        table.class.iter().for_each(|class| present[*class as usize] = true);
        for class in classes.classes.iter().zip(present).filter_map(|(class, is)| is.then_some(class)) {
            let (service, name) =
                (&classes.services[class.service as usize], &classes.names[class.name as usize]);
            self.0.insert((service.clone(), name.clone(), class.flags.kind()));
        }
        true
    }
}

/// The columns that have a value in a pass.
struct Present<'f> {
    present: Vec<bool>,
    skipped: &'f SkippedColumns,
}

impl TableFold for Present<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        for (at, column) in table.columns.iter().enumerate() {
            let has_value = || (0..table.rows()).any(|row| column.codes.of_row(row).next().is_some());
            if !self.present[at] && has_value() {
                self.present[at] = true;
                self.skipped.skip(at);
            }
        }
        !self.present.iter().all(|present| *present)
    }
}

/// The services of spans by ID, and whether the spans are seen.
type SpansById = HashMap<SpanId, Vec<(String, bool)>>;

/// Whether a row of logs is of a span of its own service that is seen. What another service says of a span is that one's,
/// and may be hidden.
fn sees_log(row: &StoredSpan, spans: &SpansById) -> Result<bool, ReadError> {
    let Some(known) = spans.get(&row.order()?.1) else { return Ok(false) };
    let service = row.service()?;
    let own = known.iter().find(|(name, _)| *name == service);
    Ok(own.is_some_and(|(_, is_seen)| *is_seen))
}

impl TraceStore for RestrictedStore {
    fn append(&self, _: &TenantId, _: &[Decoded]) -> Result<(), AppendError> {
        Err(AppendError::Encode("a restricted role sends no spans".to_owned()))
    }

    fn trace(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let Some(spans) = self.store.trace(tenant, id)? else { return Ok(None) };
        let damage = spans.damage();
        let seen = self.seen_of(spans)?;
        Ok((!seen.is_empty()).then(|| TraceSpans::from_spans(seen).with_damage(damage)))
    }

    /// The logs of the spans that the role sees: whether it may see those of a span that is not stored is not known.
    fn trace_logs(&self, tenant: &TenantId, id: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        let Some(rows) = self.store.trace_logs(tenant, id)? else { return Ok(None) };
        let damage = rows.damage();
        let spans = match self.hides_spans {
            true => {
                self.store.trace(tenant, id)?.map(|spans| self.by_id(spans)).transpose()?.unwrap_or_default()
            }
            false => SpansById::default(),
        };
        let mut mask = SpanMask::new(self.masker.clone());
        let mut seen = Vec::new();
        for row in rows {
            let row = row?;
            let is_seen = !self.hides_spans || sees_log(&row, &spans)?;
            match (is_seen, self.masker.is_empty()) {
                (false, _) => {}
                (true, true) => seen.push(row),
                (true, false) => seen.push(mask.masked_log(&row)?),
            }
        }
        Ok((!seen.is_empty()).then(|| TraceSpans::from_spans(seen).with_damage(damage)))
    }

    fn has_logs(&self, tenant: &TenantId) -> bool {
        self.store.has_logs(tenant)
    }

    fn search(&self, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
        self.check_order(plan.order)?;
        let view = self.view(&[], &plan.predicate, plan.range);
        let select = SelectPlan {
            search: SearchPlan { predicate: self.pushed(&plan.predicate).predicate, ..plan.clone() },
            companions: Vec::new(),
            columns: view.columns.clone(),
        };
        let mut judges: Vec<AskedRows> =
            (0..plan.effort.threads.max(1)).map(|_| AskedRows::new(view.clone())).collect();
        let mut judges: Vec<&mut dyn TraceJudge> =
            judges.iter_mut().map(|judge| judge as &mut dyn TraceJudge).collect();
        let answer = self.store.select(tenant, &select, &mut judges)?;
        self.summarised(tenant, answer, &plan.predicate, &plan.range)
    }

    fn scan(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<TraceScan<'_>, ReadError> {
        let pushed = ScanPlan { predicate: self.pushed(&plan.predicate).predicate, range: plan.range };
        let plan = plan.clone();
        let scan = self.store.scan(tenant, &pushed)?;
        let scan = if self.hides_spans { scan.uncounted() } else { scan };
        Ok(scan.filter_map(move |spans| {
            let damage: Damage = spans.damage();
            let seen = self.seen_of(spans)?;
            for span in &seen {
                if plan.range.contains(span.order()?.0) && span.satisfies(&plan.predicate)? {
                    return Ok(Some(TraceSpans::from_spans(seen).with_damage(damage)));
                }
            }
            Ok(None)
        }))
    }

    fn select(
        &self,
        tenant: &TenantId,
        plan: &SelectPlan,
        judges: &mut [&mut dyn TraceJudge],
    ) -> Result<SearchAnswer, ReadError> {
        let SelectPlan { search, companions, columns } = plan;
        self.check_order(search.order)?;
        // The judges have the last word: what they are shown has to be visible, whatever the predicate says of it.
        let view = self.view(columns, &Predicate::All, TimeRange::ALL);
        let pushed = SelectPlan {
            search: SearchPlan { predicate: self.pushed(&search.predicate).predicate, ..search.clone() },
            companions: companions.iter().map(|companion| self.pushed(companion).predicate).collect(),
            columns: view.columns.clone(),
        };
        let mut seeing: Vec<SeeingJudge<'_>> =
            judges.iter_mut().map(|judge| SeeingJudge::new(view.clone(), *judge)).collect();
        let mut seeing: Vec<&mut dyn TraceJudge> =
            seeing.iter_mut().map(|judge| judge as &mut dyn TraceJudge).collect();
        let answer = self.store.select(tenant, &pushed, &mut seeing)?;
        self.summarised(tenant, answer, &Predicate::All, &search.range)
    }

    fn fold_spans(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        let Pushed { predicate, exact } = self.pushed(&plan.predicate);
        // The store has left out all rows that are hidden or not asked for, if it could.
        let asked = if exact { &Predicate::All } else { &plan.predicate };
        let view = self.view(&plan.columns, asked, plan.range);
        let view = TableView { visible: Predicate::All, only_asked: true, ..view };
        let plan = FoldPlan { predicate, columns: view.columns.clone(), ..plan.clone() };
        let mut seeing: Vec<SeeingFold<'_>> =
            folds.iter_mut().map(|fold| SeeingFold::new(view.clone(), *fold)).collect();
        let mut seeing: Vec<&mut dyn TableFold> =
            seeing.iter_mut().map(|fold| fold as &mut dyn TableFold).collect();
        let answer = self.store.fold_spans(tenant, &plan, &mut seeing)?;
        Ok(FoldAnswer { scanned: self.scanned(answer.scanned), ..answer })
    }

    fn fold_traces(
        &self,
        tenant: &TenantId,
        plan: &FoldPlan,
        folds: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        let view = self.view(&plan.columns, &plan.predicate, plan.range);
        let predicate = self.pushed(&plan.predicate).predicate;
        let plan = FoldPlan { predicate, columns: view.columns.clone(), ..plan.clone() };
        let mut seeing: Vec<SeeingFold<'_>> =
            folds.iter_mut().map(|fold| SeeingFold::new(view.clone(), *fold)).collect();
        let mut seeing: Vec<&mut dyn TableFold> =
            seeing.iter_mut().map(|fold| fold as &mut dyn TableFold).collect();
        let answer = self.store.fold_traces(tenant, &plan, &mut seeing)?;
        Ok(FoldAnswer { scanned: self.scanned(answer.scanned), ..answer })
    }

    fn attributes(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<KnownAttribute>, ReadError> {
        let mut known = self.store.attributes(tenant, range)?;
        known.retain(|attribute| !self.masker.hides_key(&attribute.key));
        if !self.hides_spans {
            return Ok(known);
        }
        // Keys of spans that are hidden are hidden, too.
        let column = |known: &KnownAttribute| ColumnName::Attribute(known.level, known.key.clone());
        let skipped = SkippedColumns::none_of(known.len());
        let plan = FoldPlan {
            predicate: Predicate::All,
            range,
            columns: known.iter().map(column).collect(),
            ids: false,
            after: 0,
            skipped: skipped.clone(),
            stop: Stop::default(),
        };
        let mut present = Present { present: vec![false; known.len()], skipped: &skipped };
        self.fold_spans(tenant, &plan, &mut [&mut present])?;
        let seen = known.into_iter().zip(present.present);
        Ok(seen.filter_map(|(known, is_present)| is_present.then_some(known)).collect())
    }

    fn aggregate(&self, tenant: &TenantId, plan: &AggregatePlan) -> Result<AggregateAnswer, ReadError> {
        // A name with a placeholder is that of several.
        let is_changed = |name: &String| !self.masker.shows_alone(name);
        if self.has_condition || plan.service.iter().chain(&plan.operation).any(is_changed) {
            let mut counts = Counts::new(plan);
            let answer = self.count(tenant, plan.range, plan.stop.clone(), &mut counts)?;
            return Ok(AggregateAnswer { partial: answer.partial, ..counts.finish() });
        }
        if plan.service.as_ref().is_some_and(|service| !self.sees_service(service)) {
            return Ok(AggregateAnswer::default());
        }
        let mut answers = Vec::new();
        match (&plan.service, &self.services[..]) {
            (None, [_, ..]) => {
                for service in &self.services {
                    let plan = AggregatePlan { service: Some(service.clone()), ..plan.clone() };
                    answers.push(self.store.aggregate(tenant, &plan)?);
                }
            }
            _ => answers.push(self.store.aggregate(tenant, plan)?),
        }
        for series in answers.iter_mut().flat_map(|answer| &mut answer.series) {
            series.service.iter_mut().chain(&mut series.operation).for_each(|name| self.masker.apply(name));
        }
        Ok(AggregateAnswer::joined(answers))
    }

    fn dependencies(&self, tenant: &TenantId, range: TimeRange) -> Result<DependencyAnswer, ReadError> {
        if self.has_condition {
            return Err(ReadError::Restricted(
                "your role is limited by a condition, and the service map cannot be; ask an admin for a role that is limited \
                 to services"
                    .to_owned(),
            ));
        }
        // A block knows the names of peers, not what they were made of.
        if self.masker.hides_peers() {
            return Err(ReadError::Restricted(
                "your role does not see an attribute that names peers, and the service map shows them"
                    .to_owned(),
            ));
        }
        let mut answer = self.store.dependencies(tenant, range)?;
        answer.edges.retain(|edge| self.sees_service(&edge.caller) && self.sees_service(&edge.callee));
        for edge in &mut answer.edges {
            self.masker.apply(&mut edge.caller);
            self.masker.apply(&mut edge.callee);
        }
        Ok(DependencyAnswer::joined(vec![answer]))
    }

    fn services(&self, tenant: &TenantId) -> Vec<String> {
        if self.has_condition {
            let services: BTreeSet<String> =
                self.names(tenant).into_iter().map(|(service, ..)| service).collect();
            return services.into_iter().collect();
        }
        let mut services = self.store.services(tenant);
        services.retain(|service| self.sees_service(service));
        services.iter_mut().for_each(|service| self.masker.apply(service));
        services.sort_unstable();
        services.dedup();
        services
    }

    fn operations(&self, tenant: &TenantId, service: &str) -> Vec<Operation> {
        if self.has_condition {
            let of_service = self.names(tenant).into_iter().filter(|(of, ..)| of == service);
            return of_service.map(|(_, name, kind)| Operation { name, kind }).collect();
        }
        // A name with a placeholder is that of several services.
        let mut services = self.store.services(tenant);
        services.retain(|stored| {
            self.sees_service(stored) && self.masker.text(stored).as_ref().unwrap_or(stored) == service
        });
        let mut operations: Vec<Operation> =
            services.iter().flat_map(|service| self.store.operations(tenant, service)).collect();
        operations.iter_mut().for_each(|operation| self.masker.apply(&mut operation.name));
        operations.sort_unstable();
        operations.dedup();
        operations
    }

    fn status(&self) -> StoreStatus {
        self.store.status()
    }

    fn tenant_status(&self, tenant: &TenantId) -> StoreStatus {
        match self.hides_spans {
            true => StoreStatus::default(),
            false => self.store.tenant_status(tenant),
        }
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.store.tenants()
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

/// How many traces a deletion found tells whether what it asked for is there.
impl Deletions for RestrictedStore {
    fn delete(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<Deletion, LifecycleError> {
        let restricted = |why: &str| Err(LifecycleError::Restricted(why.to_owned()));
        if self.hides_spans {
            return restricted("your role sees a part of the spans, and a deletion takes whole traces");
        }
        let Pushed { predicate, exact } = self.pushed(&plan.predicate);
        match self.store.as_deletions() {
            Some(deletions) if exact => deletions.delete(tenant, &ScanPlan { predicate, range: plan.range }),
            _ => restricted("the query compares values that your role does not see"),
        }
    }

    fn delete_tenant(&self, _: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        Err(LifecycleError::Restricted("your role does not see everything of the tenant".to_owned()))
    }

    fn deletion(&self, tenant: &TenantId, id: DeletionId) -> Result<Option<Deletion>, LifecycleError> {
        Ok(self.deletions(tenant)?.into_iter().find(|deletion| deletion.id == id))
    }

    fn deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        match self.store.as_deletions() {
            Some(deletions) if !self.hides_spans => deletions.deletions(tenant),
            _ => Ok(Vec::new()),
        }
    }
}

impl Pins for RestrictedStore {
    fn pin(&self, tenant: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, LifecycleError> {
        match self.store.as_pins() {
            Some(pins) if self.trace(tenant, trace)?.is_some() => pins.pin(tenant, trace),
            _ => Ok(None),
        }
    }

    fn unpin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, LifecycleError> {
        match self.store.as_pins() {
            Some(pins) if self.trace(tenant, trace)?.is_some() => pins.unpin(tenant, trace),
            _ => Ok(false),
        }
    }

    fn pins(&self, tenant: &TenantId) -> Vec<(TraceId, UnixNanos)> {
        let mut all = self.store.as_pins().map(|pins| pins.pins(tenant)).unwrap_or_default();
        if self.hides_spans {
            all.retain(|(trace, _)| matches!(self.trace(tenant, *trace), Ok(Some(_))));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use spandrel_proto::otlp::StatusCode;
    use spandrel_storage::plan::{Effort, GroupBy, KindFilter};

    use super::*;
    use crate::testing::{FakeStore, TRACE, spans};

    fn limited(store: FakeStore) -> (Arc<FakeStore>, RestrictedStore) {
        let store = Arc::new(store);
        let condition = Some("{ kind = server }".to_owned());
        let restriction = Restriction { condition, ..Restriction::default() };
        (store.clone(), RestrictedStore::new(store, &restriction).unwrap())
    }

    fn found(id: &str) -> TraceSummary {
        TraceSummary {
            id: id.parse().unwrap(),
            root_service: "cart".to_owned(),
            root_name: "GET /".to_owned(),
            status: StatusCode::Unset,
            error_code: None,
            start: UnixNanos(1),
            duration: 2,
            span_count: 2,
            error_count: 0,
            services: Vec::new(),
            matched_span_ids: Vec::new(),
            matched_span_count: 1,
        }
    }

    #[test]
    fn a_count_ends_with_its_question() {
        let (store, limited) = limited(FakeStore::default());
        let plan = AggregatePlan {
            service: None,
            operation: None,
            kind: KindFilter::Any,
            group_by: GroupBy::default(),
            range: TimeRange::ALL,
            step: 60,
            max_points: 1,
            stop: Stop::new(|| true),
        };
        limited.aggregate(&TenantId::default(), &plan).unwrap();
        assert_eq!(format!("{:?}", store.folds.lock()[0].stop), "Stop(a signal)");
    }

    #[test]
    fn a_trace_that_is_not_seen_leaves_with_its_key_and_nothing_tells_how_much_was_read() {
        let answer = SearchAnswer {
            traces: vec![found("bb"), found(TRACE)],
            keys: vec![9, 5],
            scanned: Scanned { blocks: 1, blocks_read: 1, spans: 2 },
            ..SearchAnswer::default()
        };
        let spans = spans("1 - server cart 3..4\n2 1 internal cart 1..9");
        let (_, limited) = limited(FakeStore { spans, found: answer, ..FakeStore::default() });
        let plan = SearchPlan {
            predicate: Predicate::All,
            range: TimeRange::ALL,
            order: Order::Newest,
            limit: 10,
            after: None,
            effort: Effort::default(),
        };
        let seen = limited.search(&TenantId::default(), &plan).unwrap();
        let ids: Vec<String> = seen.traces.iter().map(|trace| trace.id.to_string()).collect();
        assert_eq!((ids, seen.keys), (vec![TRACE.to_owned()], vec![5]));
        assert_eq!((seen.traces[0].start, seen.traces[0].span_count), (UnixNanos(3), 1));
        assert_eq!(seen.scanned, Scanned::default());
    }
}
