//! Which traces match a pipeline, with the span sets that it makes of each.
//!
//! The store finds candidates by what it can test on single spans; each candidate that could be in the answer is then
//! looked at as a table. A filter that the store tests exactly is left to it.

use std::collections::HashMap;

use spandrel_proto::{SpanId, TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::plan::{Order, Position, SearchPlan};
use spandrel_storage::table::{SelectPlan, SpanTable, TraceJudge, Verdict};
use spandrel_storage::{SearchAnswer, TraceStore};
use spandrel_traceql::ast::Pipeline;

use crate::bind::{Columns, Subject};
use crate::error::QueryError;
use crate::limits::{Budget, Partial};
use crate::rows::Rows;
use crate::scalar::Scalar;
use crate::sets::{BoundPipeline, RowSet};
use crate::tree::Tree;
use crate::{fields, predicate};

/// A question for traces.
#[derive(Debug, Clone)]
pub struct TracesPlan<'q> {
    /// What is asked.
    pub query: &'q Pipeline,
    /// A trace is in range when a matching span starts in it.
    pub range: TimeRange,
    /// The order of the traces.
    pub order: Order,
    /// The most traces.
    pub limit: usize,
    /// The last trace of the page before.
    pub after: Option<Position>,
    /// Whether the answer has span sets, and the most spans of each; `None` for neither.
    pub spans_per_set: Option<usize>,
}

/// Traces, and the span sets of each.
#[derive(Debug, Default)]
pub struct TracesAnswer {
    /// The traces.
    pub found: SearchAnswer,
    /// By trace.
    pub span_sets: HashMap<TraceId, Vec<SpanSet>>,
    /// Why traces may be missing.
    pub partial: Option<Partial>,
}

/// Some spans of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSet {
    /// The values by which it was split off.
    pub by: Vec<(String, Scalar<'static>)>,
    /// The aggregates that were computed of it.
    pub values: Vec<(String, Scalar<'static>)>,
    /// The number of its spans.
    pub matched_span_count: usize,
    /// The earliest of them.
    pub spans: Vec<FoundSpan>,
}

/// One span of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSpan {
    /// Its ID.
    pub id: SpanId,
    /// Its name.
    pub name: String,
    /// Its start.
    pub start: UnixNanos,
    /// In nanoseconds.
    pub duration: u64,
    /// The fields that the query mentions, if the span has them.
    pub attributes: Vec<(String, Scalar<'static>)>,
}

/// Span sets that an answer shows of one trace.
const MAX_SETS: usize = 1_000;
/// Bytes of a set and of a span in an answer.
const SET_BYTES: usize = 256;
const SPAN_BYTES: usize = 512;

/// Finds traces.
pub fn traces(
    store: &dyn TraceStore,
    tenant: &TenantId,
    plan: &TracesPlan<'_>,
    budget: &Budget,
) -> Result<TracesAnswer, QueryError> {
    let mut columns = Columns::default();
    let pipeline = BoundPipeline::bind(plan.query, &mut columns)?;
    let bound = predicate::of_pipeline(plan.query);
    let search = SearchPlan {
        predicate: bound.predicate,
        range: plan.range,
        order: plan.order,
        limit: plan.limit,
        after: plan.after,
        effort: budget.effort(),
    };
    if bound.exact && plan.spans_per_set.is_none() {
        let found = store.search(tenant, &search)?;
        let partial = budget.why_partial(found.partial);
        return Ok(TracesAnswer { found, span_sets: HashMap::new(), partial });
    }
    let shown = match plan.spans_per_set {
        Some(_) => fields::of_pipeline(plan.query),
        None => Vec::new(),
    };
    let shown = shown.iter().map(|field| (field.to_string(), columns.subject(field))).collect();
    let companions = predicate::companions(plan.query);
    let threads = search.effort.threads;
    let select = SelectPlan { search, companions, columns: columns.names().to_vec() };
    let question = Question { pipeline, columns, shown, plan, budget };
    let mut judges: Vec<Judge<'_>> =
        (0..threads).map(|_| Judge { question: &question, span_sets: HashMap::new() }).collect();
    let found = {
        let mut judges: Vec<&mut dyn TraceJudge> =
            judges.iter_mut().map(|judge| judge as &mut dyn TraceJudge).collect();
        store.select(tenant, &select, &mut judges)?
    };
    let partial = budget.why_partial(found.partial);
    let mut span_sets: HashMap<TraceId, Vec<SpanSet>> = HashMap::new();
    for (trace, sets) in judges.into_iter().flat_map(|judge| judge.span_sets) {
        span_sets.entry(trace).or_default().extend(sets);
    }
    Ok(TracesAnswer { found: SearchAnswer { partial: partial.is_some(), ..found }, span_sets, partial })
}

/// What the judges share.
struct Question<'q> {
    pipeline: BoundPipeline,
    columns: Columns,
    /// The fields that spans of a set show.
    shown: Vec<(String, Subject)>,
    plan: &'q TracesPlan<'q>,
    budget: &'q Budget,
}

struct Judge<'q> {
    question: &'q Question<'q>,
    /// Of the traces that were shown.
    span_sets: HashMap<TraceId, Vec<SpanSet>>,
}

// === impl Judge ===

impl TraceJudge for Judge<'_> {
    fn judge(&mut self, table: &SpanTable) -> Vec<Verdict> {
        let Question { plan, budget, pipeline, .. } = self.question;
        if !budget.allows() {
            return vec![Verdict::Stop];
        }
        let in_range = |row: &u32| plan.range.contains(UnixNanos(table.start[*row as usize]));
        let mut verdicts = Vec::with_capacity(table.traces.len());
        self.question.with_rows(table, |rows| {
            pipeline.sets_of_each(rows, budget, |sets| {
                let rows = sets.into_iter().flat_map(|set| set.rows).filter(in_range);
                verdicts.push(verdict(rows.collect()));
            });
        });
        // What was decided while the budget ran out may be wrong.
        if budget.allows() { verdicts } else { vec![Verdict::Stop] }
    }

    fn show(&mut self, table: &SpanTable) -> bool {
        let (Some(spans), Some((trace, _))) = (self.question.plan.spans_per_set, table.traces.first()) else {
            return true;
        };
        let question = self.question;
        // A store of several tenants shows a trace for each of them that has a part of it.
        let shown = self.span_sets.entry(*trace).or_default();
        let sets: Vec<SpanSet> = question.with_rows(table, |rows| {
            let sets = question.pipeline.sets(rows, question.budget).into_iter();
            sets.take(MAX_SETS - shown.len()).map(|set| question.span_set(rows, set, spans)).collect()
        });
        let bytes = sets.iter().map(|set| SET_BYTES + set.spans.len() * SPAN_BYTES).sum();
        let has_room = question.budget.take(bytes);
        if has_room {
            shown.extend(sets);
        }
        has_room
    }
}

// === impl Question ===

impl Question<'_> {
    /// Hands the rows of a table to a function, with their trees if the query needs them.
    fn with_rows<T>(&self, table: &SpanTable, then: impl FnOnce(Rows<'_>) -> T) -> T {
        let tree = self.columns.needs_tree.then(|| Tree::of(table, self.columns.names()));
        let derived = self.columns.derive(table, tree.as_ref());
        then(Rows { table, tree: tree.as_ref(), derived: &derived })
    }

    fn span_set(&self, rows: Rows<'_>, set: RowSet, spans: usize) -> SpanSet {
        let span = |row: &u32| found_span(rows, *row as usize, &self.shown);
        SpanSet {
            matched_span_count: set.rows.len(),
            spans: set.rows.iter().take(spans).map(span).collect(),
            by: set.by,
            values: set.values,
        }
    }
}

/// A trace matches if any span does; `matched` may have a span more than once.
fn verdict(mut matched: Vec<u32>) -> Verdict {
    if matched.is_empty() {
        return Verdict::No;
    }
    matched.sort_unstable();
    matched.dedup();
    Verdict::Matches(matched)
}

/// A span as answers show it, with the named fields that it has.
pub(crate) fn found_span(rows: Rows<'_>, row: usize, shown: &[(String, Subject)]) -> FoundSpan {
    let table = rows.table;
    let value = |(name, subject): &(String, Subject)| match rows.first(subject, row) {
        Scalar::Nil => None,
        value => Some((name.clone(), value.into_owned())),
    };
    FoundSpan {
        id: SpanId::from_bytes(table.span_id[row].to_be_bytes()),
        name: table.name(row).to_owned(),
        start: UnixNanos(table.start[row]),
        duration: table.duration[row],
        attributes: shown.iter().filter_map(value).collect(),
    }
}
