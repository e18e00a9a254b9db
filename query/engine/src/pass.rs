//! One pass over the store's tables in as many threads as a question may have, each with a worker of its own.

use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::TraceStore;
use spandrel_storage::plan::Predicate;
use spandrel_storage::table::{FoldPlan, SkippedColumns, TableFold};

use crate::bind::Columns;
use crate::error::QueryError;
use crate::limits::{Budget, Partial};

/// What the tables of a pass are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Matching spans, page by page.
    Spans,
    /// Whole traces with a matching span.
    Traces,
}

/// Shows all tables to workers; returns these, at least one, and why they may have missed something.
pub(crate) fn pass<W: TableFold>(
    (store, tenant): (&dyn TraceStore, &TenantId),
    plan: &FoldPlan,
    tables: Tables,
    budget: &Budget,
    worker: impl Fn() -> W,
) -> Result<(Vec<W>, Option<Partial>), QueryError> {
    let mut workers: Vec<W> = (0..budget.limits().threads.max(1)).map(|_| worker()).collect();
    let mut folds: Vec<&mut dyn TableFold> =
        workers.iter_mut().map(|worker| worker as &mut dyn TableFold).collect();
    let answer = match tables {
        Tables::Spans => store.fold_spans(tenant, plan, &mut folds)?,
        Tables::Traces => store.fold_traces(tenant, plan, &mut folds)?,
    };
    Ok((workers, answer.partial.then_some(Partial::Store)))
}

/// What a pass over these columns asks of the store.
pub(crate) fn fold_plan(
    predicate: Predicate,
    range: TimeRange,
    columns: &Columns,
    budget: &Budget,
) -> FoldPlan {
    FoldPlan {
        predicate,
        range,
        columns: columns.names().to_vec(),
        ids: columns.needs_ids,
        after: 0,
        skipped: SkippedColumns::default(),
        stop: budget.stop_signal(),
    }
}

// === impl Tables ===

impl Tables {
    pub(crate) fn of(whole_traces: bool) -> Self {
        if whole_traces { Self::Traces } else { Self::Spans }
    }
}
