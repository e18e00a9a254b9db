//! A pass over all traces that have a matching span, each once and whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use spandrel_proto::{TenantId, TraceId};

use super::pass::Pass;
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::tenant::TenantState;
use crate::store::query::block_scan::SpanFilter;
use crate::store::query::table::TraceTables;
use crate::store::read::trace_reader::{Part, TraceReader};
use crate::table::{FoldAnswer, FoldPlan, TableFold};

/// The number of traces that a thread takes at once: neighbours share pages.
const RUN: usize = 256;

/// Shows all traces with a matching span to the folds.
pub(crate) fn fold_traces(
    core: &Core,
    tenant: &TenantId,
    plan: &FoldPlan,
    folds: &mut [&mut dyn TableFold],
) -> FoldAnswer {
    // The snapshot is taken before the view, so the view contains all of it.
    let snapshot = core.committer.sequences.visible();
    let Some(state) = core.tenants.get(tenant) else {
        return FoldAnswer { snapshot, ..FoldAnswer::default() };
    };
    let (view, pass) = (state.view(), Pass::new(&plan.stop));
    let filter = SpanFilter::new(&plan.predicate, &plan.range, snapshot).after(plan.after);
    let candidates = Candidates {
        core,
        state: &state,
        filter: &filter,
        blocks: filter.blocks(&view),
        begun: AtomicUsize::new(0),
        found: Mutex::default(),
        pass: &pass,
    };
    let found = candidates.find(folds);
    let (found, begun) = (Vec::from_iter(found), AtomicUsize::new(0));
    let reader = TraceReader { core, tenant, state: &state, view: &view };
    Pass::run(folds, |fold| {
        let mut tables = TraceTables::new(&plan.columns, plan.ids, u64::MAX);
        while let Some(run) = found.chunks(RUN).nth(begun.fetch_add(1, Ordering::Relaxed)) {
            if pass.is_stopped() {
                return;
            }
            let parts = reader.parts_of_each(run);
            let wanted: Vec<(TraceId, Vec<Part>)> = run.iter().copied().zip(parts).collect();
            tables.each_table(reader, &wanted, &pass.damage, |table| {
                pass.count_spans(table.rows() as u64);
                pass.add(table, fold);
                !pass.is_stopped()
            });
        }
    });
    pass.answer(view.len(), snapshot)
}

/// The search for traces with a matching span.
struct Candidates<'s> {
    core: &'s Core,
    state: &'s TenantState,
    filter: &'s SpanFilter<'s>,
    blocks: Vec<Arc<BlockEntry>>,
    /// The number of blocks that a thread has begun.
    begun: AtomicUsize,
    /// Sorted, as sealed blocks are, so that traces of one page are read together.
    found: Mutex<BTreeSet<TraceId>>,
    pass: &'s Pass,
}

// === impl Candidates ===

impl Candidates<'_> {
    /// Searches the blocks in as many threads as there are folds.
    fn find(self, folds: &mut [&mut dyn TableFold]) -> BTreeSet<TraceId> {
        Pass::run(folds, |_| {
            while let Some(entry) = self.blocks.get(self.begun.fetch_add(1, Ordering::Relaxed)) {
                if self.pass.is_cut() || self.pass.is_stopped() {
                    return;
                }
                if let Err(error) = self.search(entry) {
                    self.core.report_damage(entry, &error, &self.pass.damage);
                }
            }
        });
        self.found.into_inner()
    }

    fn search(&self, entry: &Arc<BlockEntry>) -> Result<(), BlockError> {
        let Some(scan) = self.filter.open(&self.core.reader, entry)? else { return Ok(()) };
        self.pass.count_block();
        let mut traces = Vec::new();
        for page in scan.pages() {
            // One matching row of a trace is enough.
            let read = scan.each_match(*page, |row| {
                traces.push(row.trace);
                row.trace_rows.end
            })?;
            self.pass.count_spans(read);
        }
        traces.retain(|trace| !self.state.deleted.hides(*trace, entry));
        let mut found = self.found.lock();
        found.extend(traces);
        if found.len() > self.core.config.max_candidates {
            self.pass.cut();
        }
        Ok(())
    }
}
