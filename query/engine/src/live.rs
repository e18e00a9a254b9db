//! Traces as their spans arrive: each round looks at the traces that got matching spans since the round before.

use std::collections::BTreeMap;

use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::TraceStore;
use spandrel_storage::plan::Predicate;
use spandrel_storage::plan::Stop;
use spandrel_storage::table::{FoldPlan, SkippedColumns, SpanTable, TableFold};
use spandrel_traceql::ast::{Field, Pipeline};

use crate::bind::{Columns, Subject};
use crate::error::QueryError;
use crate::fields;
use crate::limits::Budget;
use crate::predicate;
use crate::rows::Rows;
use crate::sets::BoundPipeline;
use crate::traces::{FoundSpan, found_span};
use crate::tree::Tree;

/// A question that is asked again and again.
#[derive(Debug)]
pub struct Live {
    pipeline: BoundPipeline,
    predicate: Predicate,
    columns: Columns,
    shown: Vec<(String, Subject)>,
    /// The last commit that was seen.
    after: u64,
}

/// A trace that has got matching spans. It comes again when it gets more.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveTrace {
    /// Its ID.
    pub id: TraceId,
    /// The root's service.
    pub root_service: String,
    /// The root's name.
    pub root_name: String,
    /// The earliest start.
    pub start: UnixNanos,
    /// In nanoseconds.
    pub duration: u64,
    /// Number of spans that are stored so far.
    pub span_count: u64,
    /// Number of failed spans.
    pub error_count: u64,
    /// Number of matching spans.
    pub matched_span_count: u64,
    /// The earliest of them.
    pub spans: Vec<FoundSpan>,
}

/// Matching spans that a trace shows.
const SPANS: usize = 3;
/// Traces of one round.
const MAX_TRACES: usize = 200;

// === impl Live ===

impl Live {
    /// Starts behind the last commit: spans that are stored already do not count.
    pub fn begin(store: &dyn TraceStore, tenant: &TenantId, query: &Pipeline) -> Result<Self, QueryError> {
        let mut columns = Columns::default();
        let pipeline = BoundPipeline::bind(query, &mut columns)?;
        // The root is shown of every trace.
        columns.need_tree();
        let shown = fields::of_pipeline(query);
        let subject = |field: &Field| (field.to_string(), columns.subject(field));
        let shown = shown.iter().map(subject).collect();
        // A span that matches nothing may complete a trace that does, as a root that arrives behind its child.
        let bound = predicate::of_pipeline(query);
        let predicate = if bound.exact { bound.predicate } else { Predicate::All };
        // A pass that matches nothing tells what has been stored so far.
        let nothing = FoldPlan {
            predicate: Predicate::Or(Vec::new()),
            range: TimeRange::ALL,
            columns: Vec::new(),
            ids: false,
            after: 0,
            skipped: SkippedColumns::default(),
            stop: Stop::default(),
        };
        let after = store.fold_spans(tenant, &nothing, &mut [])?.snapshot;
        Ok(Self { pipeline, predicate, columns, shown, after })
    }

    /// The traces that got matching spans since the last call.
    pub fn next(
        &mut self,
        store: &dyn TraceStore,
        tenant: &TenantId,
        budget: &Budget,
    ) -> Result<Round, QueryError> {
        let plan = FoldPlan {
            predicate: self.predicate.clone(),
            range: TimeRange::ALL,
            columns: self.columns.names().to_vec(),
            ids: true,
            after: self.after,
            skipped: SkippedColumns::default(),
            stop: budget.stop_signal(),
        };
        let mut found = Found { live: self, budget, traces: BTreeMap::new(), left_out: 0 };
        let answer = store.fold_traces(tenant, &plan, &mut [&mut found])?;
        let (traces, left_out) = (found.traces.into_values().collect(), found.left_out);
        self.after = answer.snapshot;
        Ok(Round { traces, left_out, is_partial: answer.partial })
    }
}

/// What was found since the round before.
#[derive(Debug, Default)]
pub struct Round {
    /// The traces that began last, by start.
    pub traces: Vec<LiveTrace>,
    /// So many earlier ones are left out.
    pub left_out: usize,
    /// Not everything that arrived could be looked at.
    pub is_partial: bool,
}

struct Found<'l> {
    live: &'l Live,
    budget: &'l Budget,
    traces: BTreeMap<(UnixNanos, TraceId), LiveTrace>,
    left_out: usize,
}

// === impl Found ===

impl TableFold for Found<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        if !self.budget.allows() {
            return false;
        }
        if let Some(trace) = self.live.trace(table, self.budget) {
            self.traces.insert((trace.start, trace.id), trace);
            if self.traces.len() > MAX_TRACES {
                self.traces.pop_first();
                self.left_out += 1;
            }
        }
        true
    }
}

impl Live {
    fn trace(&self, table: &SpanTable, budget: &Budget) -> Option<LiveTrace> {
        let tree = Tree::of(table, self.columns.names());
        let derived = self.columns.derive(table, Some(&tree));
        let rows = Rows { table, tree: Some(&tree), derived: &derived };
        let matched = self.pipeline.rows(rows, budget);
        let first = matched.first()?;
        let id = table.traces.first()?.0;
        let failed = (0..table.rows()).filter(|row| table.flags(*row).failed()).count();
        let start = table.start.iter().min().copied().unwrap_or(table.start[*first as usize]);
        Some(LiveTrace {
            id,
            root_service: table.service(tree.root(0)).to_owned(),
            root_name: table.name(tree.root(0)).to_owned(),
            start: UnixNanos(start),
            duration: tree.duration(0),
            span_count: table.rows() as u64,
            error_count: failed as u64,
            matched_span_count: matched.len() as u64,
            spans: matched
                .iter()
                .take(SPANS)
                .map(|row| found_span(rows, *row as usize, &self.shown))
                .collect(),
        })
    }
}
