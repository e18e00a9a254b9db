//! Requests, errors and latencies by workload, where spans of proxies and of applications for the same request are
//! counted once; and which workload stands behind the name of a service.
//!
//! That takes whole traces, so it is slower than the store's own aggregates, which count each span for itself.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use spandrel_mesh::fields::MeshField;
use spandrel_mesh::names::{self, keys};
use spandrel_mesh::workload::{Namespaces, Workload};
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::plan::{
    AggregatePlan, AttributeScope, Comparison, Field, KindFilter, Literal, Predicate,
};
use spandrel_storage::table::{FoldPlan, SpanTable, TableFold, Value, ValueColumn};
use spandrel_storage::{AggregateAnswer, Exemplar, LatencySketch, Point, Series, TraceStore};

use crate::bind::Columns;
use crate::error::QueryError;
use crate::limits::{Budget, Partial};
use crate::pass::{Tables, fold_plan, pass};
use crate::tree::Tree;

/// Bytes that memory takes for a point, with its sketch.
const POINT_BYTES: usize = 1_024;
const HOUR: u64 = 3_600_000_000_000;
const MOST_PARTS: u64 = 2_000;
/// Bytes that memory takes for a name.
const NAME_BYTES: usize = 128;

/// The workloads that proxies tell, by the name of the service under which their spans are stored. Services of which
/// proxies tell several are left out.
pub fn workloads(
    store: &dyn TraceStore,
    tenant: &TenantId,
    range: TimeRange,
    budget: &Budget,
) -> Result<(BTreeMap<String, Workload>, Option<Partial>), QueryError> {
    let mut columns = Columns::default();
    let [name, namespace, kind] =
        [MeshField::Workload, MeshField::Namespace, MeshField::Proxy].map(|field| columns.mesh(field));
    let component = Field::Attribute(AttributeScope::Any, keys::COMPONENT.to_owned());
    let is_proxy = Comparison::Eq(Literal::String(names::PROXY.to_owned()));
    let plan = fold_plan(Predicate::Compare(component, is_proxy), range, &columns, budget);
    let worker =
        || Services { columns: &columns, of: [name, namespace, kind], budget, found: BTreeMap::new() };
    let (workers, partial) = pass((store, tenant), &plan, Tables::Spans, budget, worker)?;
    let mut all: BTreeMap<String, Option<Workload>> = BTreeMap::new();
    for (service, workload) in workers.into_iter().flat_map(|worker| worker.found) {
        let known = all.entry(service).or_insert_with(|| workload.clone());
        *known = known.take().filter(|known| Some(known) == workload.as_ref());
    }
    let told = all.into_iter().filter_map(|(service, workload)| Some((service, workload?))).collect();
    Ok((told, budget.met().or(partial)))
}

/// Aggregates of requests that are counted once, of one kind if the plan names one. The service of a plan and of its
/// series is the name of a workload, with its namespace behind a dot where workloads of several have the same name.
pub fn requests(
    store: &dyn TraceStore,
    tenant: &TenantId,
    plan: &AggregatePlan,
    budget: &Budget,
) -> Result<(AggregateAnswer, Option<Partial>), QueryError> {
    let mut columns = Columns::default();
    let request = columns.mesh_request();
    let [name, namespace] = [MeshField::Workload, MeshField::Namespace].map(|field| columns.mesh(field));
    let fold = fold_plan(Predicate::All, plan.range, &columns, budget);
    let worker = || Requests {
        columns: &columns,
        request,
        workload: [name, namespace],
        plan,
        budget,
        numbers: FxHashMap::default(),
        points: FxHashMap::default(),
    };
    let (mut workers, mut partial) = (Vec::new(), None);
    for range in hours(plan.range) {
        let fold = FoldPlan { range, ..fold.clone() };
        let (more, why) = pass((store, tenant), &fold, Tables::Traces, budget, worker)?;
        workers.extend(more);
        partial = partial.or(why);
    }
    let partial = budget.met().or(partial);
    let series = series(workers, plan);
    Ok((AggregateAnswer { series, partial: partial.is_some(), estimated: false }, partial))
}

/// The parts of a range, because a pass looks at so many traces at most. Ranges of years are one part.
fn hours(range: TimeRange) -> Vec<TimeRange> {
    let Some(end) = range.end.filter(|end| end.since(range.start) / HOUR <= MOST_PARTS) else {
        return vec![range];
    };
    let mut parts = Vec::new();
    let mut start = range.start;
    while start < end {
        let next = UnixNanos(start.0.saturating_add(HOUR).min(end.0));
        parts.push(TimeRange { start, end: Some(next) });
        start = next;
    }
    parts
}

/// The first text of a row.
fn text(column: &ValueColumn, row: usize) -> &str {
    match column.codes.of_row(row).next().map(|code| &column.values[code]) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

// === impl Services ===

struct Services<'q> {
    columns: &'q Columns,
    /// Columns of names, namespaces and kinds of proxies.
    of: [usize; 3],
    budget: &'q Budget,
    found: BTreeMap<String, Option<Workload>>,
}

impl TableFold for Services<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        if !self.budget.allows() {
            return false;
        }
        let derived = self.columns.derive(table, None);
        let [name, namespace, kind] = self.of.map(|number| &derived[number]);
        for row in 0..table.rows() {
            // A waypoint speaks for many workloads.
            if text(kind, row) == names::WAYPOINT {
                continue;
            }
            let (service, name, namespace) = (table.service(row), text(name, row), text(namespace, row));
            if let Some(known) = self.found.get_mut(service) {
                let is_same = |known: &Workload| known.name == name && known.namespace == namespace;
                if !known.as_ref().is_some_and(is_same) {
                    *known = None;
                }
                continue;
            }
            let workload = Workload { name: name.to_owned(), namespace: namespace.to_owned() };
            self.found.insert(service.to_owned(), Some(workload));
            if !self.budget.take(NAME_BYTES + service.len()) {
                return false;
            }
        }
        true
    }
}

// === impl Requests ===

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    workload: Workload,
    operation: String,
    kind: SpanKind,
}

struct Requests<'q> {
    columns: &'q Columns,
    /// The column of what counts.
    request: usize,
    /// The columns of names and namespaces.
    workload: [usize; 2],
    plan: &'q AggregatePlan,
    budget: &'q Budget,
    numbers: FxHashMap<Key, u32>,
    /// By number of a key, and beginning of a step.
    points: FxHashMap<(u32, u64), Point>,
}

impl TableFold for Requests<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        if !self.budget.allows() {
            return false;
        }
        let tree = Tree::of(table, self.columns.names());
        let derived = self.columns.derive(table, Some(&tree));
        let request = &derived[self.request];
        let counts = |row: usize| {
            let counts = request.codes.of_row(row).any(|code| request.values[code] == Value::Bool(true));
            counts && self.plan.range.contains(UnixNanos(table.start[row]))
        };
        let rows: Vec<usize> = (0..table.rows()).filter(|row| counts(*row)).collect();
        rows.into_iter().all(|row| self.count(table, &derived, row))
    }
}

impl Requests<'_> {
    fn count(&mut self, table: &SpanTable, derived: &[ValueColumn], row: usize) -> bool {
        let flags = table.flags(row);
        let [name, namespace] = self.workload.map(|number| text(&derived[number], row).to_owned());
        let workload = Workload { name, namespace };
        let key = Key { workload, operation: table.name(row).to_owned(), kind: flags.kind() };
        let is_of_kind = match self.plan.kind {
            KindFilter::Any | KindFilter::Requests => true,
            KindFilter::Only(kind) => kind == key.kind,
        };
        if !is_of_kind || self.plan.operation.as_ref().is_some_and(|operation| *operation != key.operation) {
            return true;
        }
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next && !self.budget.take(NAME_BYTES) {
            return false;
        }
        let time = table.start[row] / self.plan.step * self.plan.step;
        let budget = self.budget;
        let mut has_room = true;
        let point = self.points.entry((number, time)).or_insert_with(|| {
            has_room = budget.take(POINT_BYTES);
            empty(UnixNanos(time))
        });
        let run = table.traces.partition_point(|(_, end)| *end as usize <= row);
        let (failed, duration) = (flags.failed(), table.duration[row]);
        point.request_count += 1;
        point.error_count += u64::from(failed);
        point.latency.add(duration);
        let example = table.traces.get(run).map(|(trace, _)| Exemplar { failed, duration, trace: *trace });
        point.worst = point.worst.max(example);
        has_room
    }
}

fn empty(time: UnixNanos) -> Point {
    Point { time, request_count: 0, error_count: 0, latency: LatencySketch::default(), worst: None }
}

/// At most so many points; the last of them has what starts after it, too, as in the store's own aggregates.
fn earliest(points: BTreeMap<u64, Point>, max_points: usize) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    for point in points.into_values() {
        let is_full = kept.len() >= max_points;
        match kept.last_mut() {
            Some(last) if is_full => last.add(&point),
            _ => kept.push(point),
        }
    }
    kept
}

/// Joins what the threads have found, by the labels of the plan.
fn series(workers: Vec<Requests<'_>>, plan: &AggregatePlan) -> Vec<Series> {
    type Labels = (Option<String>, Option<String>, Option<SpanKind>);
    let seen: Vec<Workload> =
        workers.iter().flat_map(|worker| worker.numbers.keys()).map(|key| key.workload.clone()).collect();
    let namespaces = Namespaces::of(seen.iter().cloned());
    let mut all: Vec<(Labels, BTreeMap<u64, Point>)> = Vec::new();
    let mut places: FxHashMap<Labels, usize> = FxHashMap::default();
    for worker in workers {
        let mut place_of_number = vec![None; worker.numbers.len()];
        for (key, number) in worker.numbers {
            let service = namespaces.label(key.workload);
            if plan.service.as_ref().is_some_and(|wanted| *wanted != service) {
                continue;
            }
            let by = &plan.group_by;
            let labels: Labels = (
                by.service.then_some(service),
                by.operation.then_some(key.operation),
                by.kind.then_some(key.kind),
            );
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                all.push((labels.clone(), BTreeMap::new()));
                all.len() - 1
            });
            place_of_number[number as usize] = Some(place);
        }
        for ((number, time), point) in worker.points {
            if let Some(place) = place_of_number[number as usize] {
                let known = all[place].1.entry(time).or_insert_with(|| empty(UnixNanos(time)));
                known.add(&point);
            }
        }
    }
    let one = |((service, operation, kind), points): (Labels, BTreeMap<u64, Point>)| Series {
        service,
        operation,
        kind,
        points: earliest(points, plan.max_points),
    };
    let mut series: Vec<Series> = all.into_iter().map(one).collect();
    series
        .sort_by_cached_key(|one| (one.service.clone(), one.operation.clone(), one.kind.map(SpanKind::name)));
    series
}
