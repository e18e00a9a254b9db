//! Which values a field has, with the number of spans of each: what a person who types a query may choose from.

use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::TraceStore;
use spandrel_storage::table::{FoldPlan, SkippedColumns, SpanTable, TableFold};
use spandrel_traceql::ast::{Field, Pipeline};

use crate::bind::{Columns, Condition, Subject};
use crate::error::QueryError;
use crate::labels::Labels;
use crate::limits::{Budget, Partial};
use crate::pass::{Tables, pass};
use crate::predicate;
use crate::rows::Rows;
use crate::scalar::{Key, Scalar};
use crate::sets::BoundPipeline;
use crate::tree::Tree;

/// One value, and the spans that have it.
#[derive(Debug, Clone, PartialEq)]
pub struct CountedValue {
    /// The value.
    pub value: Scalar<'static>,
    /// The number of spans.
    pub spans: u64,
}

/// The values of a field in the spans that match, those of most spans first. Values of repeated keys and of events count
/// by their first one.
pub fn values(
    store: &dyn TraceStore,
    tenant: &TenantId,
    field: &Field,
    spans: &Pipeline,
    range: TimeRange,
    budget: &Budget,
) -> Result<(Vec<CountedValue>, Option<Partial>), QueryError> {
    let mut columns = Columns::default();
    let subject = columns.subject(field);
    let bound = predicate::of_pipeline(spans);
    // What the store decides exactly needs no columns here, unless the field needs whole traces.
    let mut unread = Columns::default();
    let whole = columns.need_traces(store, tenant);
    let of_pipeline = if bound.exact && !whole { &mut unread } else { &mut columns };
    let pipeline = BoundPipeline::bind(spans, of_pipeline)?;
    let plan = FoldPlan {
        predicate: bound.predicate,
        range,
        columns: columns.names().to_vec(),
        ids: columns.needs_ids,
        after: 0,
        skipped: SkippedColumns::default(),
        stop: budget.stop_signal(),
    };
    let condition = pipeline.as_condition().filter(|_| !bound.exact).cloned();
    let whole_traces = columns.need_traces(store, tenant) || pipeline.as_condition().is_none();
    let worker = || Worker {
        pipeline: &pipeline,
        condition: condition.as_ref(),
        whole_traces,
        subject: &subject,
        columns: &columns,
        range,
        budget,
        labels: Labels::default(),
        counts: Vec::new(),
    };
    let (workers, partial) = pass((store, tenant), &plan, Tables::of(whole_traces), budget, worker)?;
    let mut all = worker();
    workers.into_iter().for_each(|worker| all.merge(worker));
    Ok((all.finish(), budget.met().or(partial)))
}

struct Worker<'q> {
    pipeline: &'q BoundPipeline,
    /// What the store did not test.
    condition: Option<&'q Condition>,
    whole_traces: bool,
    subject: &'q Subject,
    columns: &'q Columns,
    range: TimeRange,
    budget: &'q Budget,
    labels: Labels,
    /// By group of `labels`.
    counts: Vec<u64>,
}

// === impl Worker ===

impl TableFold for Worker<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        if !self.budget.allows() {
            return false;
        }
        let tree = self.columns.needs_tree.then(|| Tree::of(table, self.columns.names()));
        let derived = self.columns.derive(table, tree.as_ref());
        let rows = Rows { table, tree: tree.as_ref(), derived: &derived };
        let before = self.labels.bytes();
        let groups = self.labels.group_rows(rows, std::slice::from_ref(self.subject));
        self.counts.resize(self.labels.groups(), 0);
        let counts = &mut self.counts;
        let mut count = |row: usize| {
            if self.range.contains(UnixNanos(table.start[row])) {
                counts[groups[row] as usize] += 1;
            }
        };
        if self.whole_traces {
            self.pipeline.rows(rows, self.budget).into_iter().for_each(|row| count(row as usize));
        } else {
            let matching = self.condition.map(|condition| rows.matching(condition));
            let matches = |row: &usize| matching.as_ref().is_none_or(|matching| matching[*row]);
            (0..rows.count()).filter(matches).for_each(count);
        }
        self.budget.take(self.labels.bytes() - before)
    }
}

impl Worker<'_> {
    fn merge(&mut self, other: Self) {
        for (group, count) in other.counts.into_iter().enumerate() {
            let mine = self.labels.adopt(&other.labels, group) as usize;
            self.counts.resize(self.labels.groups(), 0);
            self.counts[mine] += count;
        }
    }

    fn finish(self) -> Vec<CountedValue> {
        let value = |(group, spans): (usize, &u64)| {
            let value = self.labels.of_group(group).next().cloned()?;
            (*spans > 0 && value.key() != Key::Nil).then_some(CountedValue { value, spans: *spans })
        };
        let mut values: Vec<CountedValue> = self.counts.iter().enumerate().filter_map(value).collect();
        values.sort_by_cached_key(|value| (std::cmp::Reverse(value.spans), value.value.key()));
        values
    }
}
