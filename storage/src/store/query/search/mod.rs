//! Search and select: rank the traces that have a matching span, which `block_scan.rs` finds. The judges of a select
//! have the last word about a trace, and are asked only about those whose rank may be in the answer.
//!
//! *Newest first* ends as soon as no block that is left can hold a newer trace (`newest.rs`). Every other order compares
//! all matching traces, up to `max_candidates` (`ranked.rs`). Both go on in batches: the work of a batch is shared out
//! among threads, and batches grow while few traces are accepted, so that the first ones of a page that fills quickly
//! cost no more than it needs.

mod facts;
mod finder;
mod judging;
mod newest;
mod ranked;

use std::collections::HashMap;
use std::sync::Arc;

use spandrel_block::BlockId;
use spandrel_proto::{TenantId, TraceId};

pub(crate) use self::finder::{Candidate, Finder};
use self::judging::{Judgement, Judging, MatchedSpans};
use crate::api::{Damage, SearchAnswer, TraceSummary};
use crate::error::ReadError;
use crate::plan::{Order, Position, Predicate, SearchPlan};
use crate::scanned::Scanned;
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::query::parallel::in_parallel;
use crate::store::query::pruning::BlockPredicate;
use crate::store::query::summary::from_columns::ColumnSummary;
use crate::store::query::summary::from_spans::summarise;
use crate::store::read::merge_iter::SpanRow;
use crate::store::read::trace_reader::Part;
use crate::table::{SelectPlan, TraceJudge};

/// A search in progress.
struct Search<'s> {
    finder: Finder<'s>,
    /// What each thread works with.
    workers: Vec<Worker<'s>>,
    scanned: Scanned,
    /// Whether traces may have logs.
    has_logs: bool,
    /// More traces matched than `max_candidates`.
    cut: bool,
    /// A judge or the plan has ended the search.
    stopped: bool,
    /// The traces that may be in the answer.
    accepted: HashMap<TraceId, Accepted>,
    /// The predicate prepared for the blocks of traces in the answer.
    prepared: HashMap<BlockId, Arc<BlockPredicate>>,
}

/// A thread of a search, with the judge that it asks; in a search without judges, every candidate is accepted.
struct Worker<'s>(Option<Judging<'s>>);

/// A trace that may be in the answer.
struct Accepted {
    parts: Vec<Part>,
    matched: Option<MatchedSpans>,
}

/// A trace's rank in the result: larger ones come first.
type Rank = (u64, TraceId);

/// The key by which a trace is ranked, and the trace with its parts.
type Ranked = (u64, (TraceId, Vec<Part>));

/// The most traces that are ranked or judged as one batch.
const MAX_BATCH: usize = 1 << 16;
/// The number of traces that a thread takes at once, at least.
const RUN: usize = 32;
/// The number of runs into which a thread's share of a large batch is cut.
const SHARES: usize = 4;

/// Computes the answer of a search.
pub(crate) fn search(core: &Core, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
    let workers = (0..plan.effort.threads.max(1)).map(|_| Worker(None)).collect();
    answer(core, tenant, plan, &[], |_| workers)
}

/// Computes the answer of a search whose traces judges accept.
pub(crate) fn select(
    core: &Core,
    tenant: &TenantId,
    plan: &SelectPlan,
    judges: &mut [&mut dyn TraceJudge],
) -> Result<SearchAnswer, ReadError> {
    answer(core, tenant, &plan.search, &plan.companions, |snapshot| {
        judges.iter_mut().map(|judge| Worker(Some(Judging::new(*judge, &plan.columns, snapshot)))).collect()
    })
}

/// The answer of a search by the workers that a function makes, given the last commit that they see.
fn answer<'s>(
    core: &'s Core,
    tenant: &'s TenantId,
    plan: &'s SearchPlan,
    companions: &'s [Predicate],
    workers: impl FnOnce(u64) -> Vec<Worker<'s>>,
) -> Result<SearchAnswer, ReadError> {
    // The snapshot is taken before the view, so the view contains all of it.
    let snapshot = plan.after.map_or_else(|| core.committer.sequences.visible(), |after| after.snapshot);
    let Some(state) = core.tenants.get(tenant) else {
        return Ok(SearchAnswer { snapshot, ..SearchAnswer::default() });
    };
    let view = state.view();
    let scanned = Scanned { blocks: view.spans().count() as u64, ..Scanned::default() };
    let has_logs = view.logs().next().is_some();
    let finder = Finder::new(core, (tenant, state, view), plan, snapshot, Damage::default());
    let mut search = Search {
        finder: finder.with_companions(companions),
        workers: workers(snapshot),
        scanned,
        has_logs,
        cut: false,
        stopped: false,
        accepted: HashMap::new(),
        prepared: HashMap::new(),
    };
    let ranks = match plan.order {
        Order::Newest => search.newest(),
        _ => search.all_ranked(),
    };
    search.answer(ranks)
}

// === impl Search ===

impl<'s> Search<'s> {
    /// The traces with a matching span in any of the blocks, some of them twice.
    fn find(&mut self, blocks: &[Arc<BlockEntry>]) -> Vec<Candidate> {
        let finder = &self.finder;
        let found = in_parallel(&mut self.workers, blocks, 1, |_, entry| match finder.is_stopped() {
            true => Default::default(),
            false => finder.candidates_or_damage(entry),
        });
        let mut candidates = Vec::new();
        for block in found {
            self.scanned.blocks_read += u64::from(block.is_read);
            self.scanned.spans += block.spans;
            candidates.extend(block.candidates);
        }
        self.stopped |= self.finder.is_stopped();
        candidates
    }

    /// Keeps the traces that belong in the answer, if it has room for them: asks the judges.
    fn judge(&mut self, mut ranked: Vec<Ranked>) -> Vec<Rank> {
        if self.is_select() {
            // Neighbours in pages.
            ranked.sort_by_key(|(_, (_, parts))| {
                parts.first().map(|(entry, rows)| (entry.key.block, rows.first))
            });
        }
        let (keys, traces): (Vec<u64>, Vec<(TraceId, Vec<Part>)>) = ranked.into_iter().unzip();
        let judgements = self.judgements(&traces);
        let mut accepted = Vec::new();
        for ((key, (trace, parts)), judgement) in keys.into_iter().zip(traces).zip(judgements) {
            match judgement {
                Judgement::No => {}
                Judgement::Stop => self.stopped = true,
                // The index is a hint: without its rows a trace may be found once more, in another block.
                Judgement::Accepted(_) if self.accepted.contains_key(&trace) => {}
                Judgement::Accepted(matched) => {
                    let matched = self.is_select().then_some(matched);
                    self.accepted.insert(trace, Accepted { parts, matched });
                    accepted.push((key, trace));
                }
            }
        }
        accepted
    }

    /// What became of each trace.
    fn judgements(&mut self, traces: &[(TraceId, Vec<Part>)]) -> Vec<Judgement> {
        let finder = &self.finder;
        let runs: Vec<&[(TraceId, Vec<Part>)]> = traces.chunks(self.run_of(traces.len())).collect();
        let judged = in_parallel(&mut self.workers, &runs, 1, |worker, run| {
            let mut judgements = match &mut worker.0 {
                None => run.iter().map(|_| Judgement::Accepted(MatchedSpans::default())).collect(),
                Some(_) if finder.is_stopped() => vec![Judgement::Stop],
                Some(judging) => judging.judge(finder.traces(), run, &finder.damage),
            };
            judgements.resize_with(run.len(), || Judgement::No);
            judgements
        });
        judged.into_iter().flatten().collect()
    }

    /// The number of neighbours, of so many traces, that a thread takes at once: they share pages and rows of the index.
    fn run_of(&self, traces: usize) -> usize {
        (traces / (SHARES * self.workers.len().max(1))).max(RUN)
    }

    /// Whether judges have the last word, not the predicate.
    fn is_select(&self) -> bool {
        self.workers.iter().any(|worker| worker.0.is_some())
    }

    fn is_behind_cursor(&self, rank: Rank) -> bool {
        self.finder.plan.after.is_none_or(|after| rank < (after.key, after.trace))
    }

    fn answer(mut self, mut ranks: Vec<Rank>) -> Result<SearchAnswer, ReadError> {
        let limit = self.finder.plan.limit;
        let has_next = ranks.len() > limit;
        ranks.truncate(limit);
        let next = ranks.last().filter(|_| has_next).map(|(key, trace)| Position {
            key: *key,
            trace: *trace,
            snapshot: self.finder.snapshot,
        });
        let (scanned, snapshot) = (self.scanned, self.finder.snapshot);
        let mut answer = SearchAnswer { next, scanned, snapshot, ..SearchAnswer::default() };
        for (key, trace) in ranks {
            let Some(accepted) = self.accepted.remove(&trace) else { continue };
            if !self.show(trace, &accepted) {
                return Ok(SearchAnswer { next: None, partial: true, ..answer });
            }
            if let Some(summary) = self.summary(trace, accepted)? {
                answer.traces.push(summary);
                answer.keys.push(key);
            }
        }
        answer.partial = self.cut || self.stopped || self.finder.damage.blocks() > 0;
        Ok(answer)
    }

    /// Shows a trace of the answer to a judge. `false` ends the answer before it.
    fn show(&mut self, trace: TraceId, accepted: &Accepted) -> bool {
        let Self { finder, workers, .. } = self;
        let judging = workers.first_mut().and_then(|worker| worker.0.as_mut());
        judging.is_none_or(|judging| {
            judging.show(finder.traces(), trace, accepted.parts.clone(), &finder.damage)
        })
    }

    fn summary(&mut self, trace: TraceId, accepted: Accepted) -> Result<Option<TraceSummary>, ReadError> {
        let Accepted { parts, matched } = accepted;
        let mut summary = self.summary_by_predicate(trace, parts)?;
        if let (Some(MatchedSpans { ids, count }), Some(summary)) = (matched, &mut summary) {
            (summary.matched_span_ids, summary.matched_span_count) = (ids, count);
        }
        Ok(summary)
    }

    fn summary_by_predicate(
        &mut self,
        trace: TraceId,
        parts: Vec<Part>,
    ) -> Result<Option<TraceSummary>, ReadError> {
        // Damage is found again below, and reported there.
        let by_columns = self.column_summary(trace, &parts).ok().flatten();
        // The error code of a failed root may be that of an exception in its logs.
        let may_fail = by_columns.as_ref().is_none_or(|summary| summary.error_count > 0);
        let logs = if may_fail && self.has_logs { self.finder.traces().log_parts(trace) } else { Vec::new() };
        if let Some(summary) = by_columns.filter(|_| logs.is_empty()) {
            return Ok(Some(summary));
        }
        let Finder { plan, damage, .. } = &self.finder;
        let logs = self.finder.traces().merged_parts(trace, logs, damage).map(SpanRow::into_stored);
        let logs: Vec<_> = logs.collect();
        let rows = self.finder.traces().merged_parts(trace, parts, damage).map(SpanRow::into_stored);
        let rows: Vec<_> = rows.collect();
        summarise(trace, &rows, &logs, &plan.predicate, &plan.range)
            .map_err(|error| ReadError::Io(format!("a stored span does not decode: {error}")))
    }

    /// The summary of a trace from its columns; `None` if they do not suffice.
    fn column_summary(&mut self, trace: TraceId, parts: &[Part]) -> Result<Option<TraceSummary>, BlockError> {
        // With such blocks the answer is partial, which reading the trace's rows reports.
        if !self.finder.state.unindexed.lock().is_empty() {
            return Ok(None);
        }
        let Finder { core, plan, .. } = self.finder;
        let mut columns = ColumnSummary::new(&core.reader, plan, trace);
        for (entry, rows) in parts {
            let predicate = self.prepared(entry)?;
            columns.add_part(entry, *rows, &predicate)?;
        }
        columns.finish()
    }

    /// The predicate prepared for a block, which is kept.
    fn prepared(&mut self, entry: &BlockEntry) -> Result<Arc<BlockPredicate>, BlockError> {
        if let Some(known) = self.prepared.get(&entry.key.block) {
            return Ok(known.clone());
        }
        let dictionary = self.finder.core.reader.dictionary(entry)?;
        let predicate = match self.is_select() {
            true => BlockPredicate::Constant(false),
            false => BlockPredicate::new(&self.finder.plan.predicate, &dictionary)?,
        };
        let predicate = Arc::new(predicate);
        self.prepared.insert(entry.key.block, predicate.clone());
        Ok(predicate)
    }
}
