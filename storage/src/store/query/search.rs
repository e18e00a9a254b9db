//! Search and select: rank the traces that have a matching span, which `block_scan.rs` finds. The judge of a select has
//! the last word about a trace, and is asked only about those whose rank may be in the answer.
//!
//! *Newest first* searches the blocks by their latest span start and stops as soon as no remaining block can contain a
//! newer trace: a trace starts no later than its matching span, and that no later than its block's latest start. Every
//! other order compares all matching traces, up to `max_candidates`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use spandrel_block::{BlockId, FormatError, RowFlags, RowRange};
use spandrel_proto::{TenantId, TimeRange, TraceId};

use crate::api::{Damage, SearchAnswer, TraceSummary};
use crate::error::ReadError;
use crate::plan::{Order, Position, Predicate, SearchPlan};
use crate::scanned::Scanned;
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;
use crate::store::query::block_scan::SpanFilter;
use crate::store::query::judging::Judging;
use crate::store::query::pruning::BlockPredicate;
use crate::store::query::summary::from_columns::ColumnSummary;
use crate::store::query::summary::from_spans::summarise;
use crate::store::read::trace_reader::{self, Part, TraceReader};
use crate::table::{ColumnName, SelectPlan, TraceJudge};

/// A search in progress.
pub(crate) struct Search<'s> {
    core: &'s Core,
    tenant: &'s TenantId,
    state: &'s TenantState,
    view: Arc<View>,
    plan: &'s SearchPlan,
    filter: SpanFilter<'s>,
    snapshot: u64,
    scanned: Scanned,
    damage: Damage,
    /// More traces matched than `max_candidates`.
    cut: bool,
    /// The blocks and rows of ranked traces that may be in the answer.
    found: HashMap<TraceId, Parts>,
    /// The predicate prepared for the blocks of traces in the answer.
    prepared: HashMap<BlockId, Arc<BlockPredicate>>,
    /// Who has the last word about a trace; `None` if the predicate has.
    judging: Option<Judging<'s>>,
    /// What other spans of a trace that may be accepted satisfy.
    companions: Vec<SpanFilter<'s>>,
}

/// The blocks that contain a trace, with its rows.
type Parts = Vec<Part>;

/// A trace's rank in the result: larger ones come first.
type Rank = (u64, TraceId);

/// Facts about a whole trace, from columns.
#[derive(Default)]
struct TraceFacts {
    start: Option<u64>,
    end: u64,
    spans: u64,
    errors: u64,
}

/// Computes the answer of a search.
pub(crate) fn search(core: &Core, tenant: &TenantId, plan: &SearchPlan) -> Result<SearchAnswer, ReadError> {
    answer(core, tenant, plan, None, &[])
}

/// Computes the answer of a search whose traces a judge accepts.
pub(crate) fn select(
    core: &Core,
    tenant: &TenantId,
    plan: &SelectPlan,
    judge: &mut dyn TraceJudge,
) -> Result<SearchAnswer, ReadError> {
    answer(core, tenant, &plan.search, Some((judge, &plan.columns)), &plan.companions)
}

/// The answer of a search, or of a select with this judge, who sees these columns.
fn answer(
    core: &Core,
    tenant: &TenantId,
    plan: &SearchPlan,
    judge: Option<(&mut dyn TraceJudge, &[ColumnName])>,
    companions: &[Predicate],
) -> Result<SearchAnswer, ReadError> {
    let Some(state) = core.tenants.get(tenant) else { return Ok(SearchAnswer::default()) };
    // The snapshot is taken before the view, so the view contains all of it.
    let snapshot = plan.after.map_or_else(|| core.committer.sequences.visible(), |after| after.snapshot);
    let view = state.view();
    let mut search = Search::begin(core, tenant, &state, view, plan, snapshot, Damage::default());
    let companion = |predicate| SpanFilter::new(predicate, &TimeRange::ALL, u64::MAX);
    search.companions = companions.iter().map(companion).collect();
    search.judging = judge.map(|(judge, columns)| Judging::new(judge, columns, snapshot));
    let ranks = match plan.order {
        Order::Newest => search.newest(),
        _ => search.all_ranked(),
    };
    search.answer(ranks)
}

// === impl Search ===

impl<'s> Search<'s> {
    /// Starts a search.
    pub(crate) fn begin(
        core: &'s Core,
        tenant: &'s TenantId,
        state: &'s TenantState,
        view: Arc<View>,
        plan: &'s SearchPlan,
        snapshot: u64,
        damage: Damage,
    ) -> Self {
        let scanned = Scanned { blocks: view.len() as u64, ..Scanned::default() };
        let filter = SpanFilter::new(&plan.predicate, &plan.range, snapshot);
        let (found, prepared) = Default::default();
        Self {
            core,
            tenant,
            state,
            view,
            plan,
            filter,
            snapshot,
            scanned,
            damage,
            cut: false,
            found,
            prepared,
            judging: None,
            companions: Vec::new(),
        }
    }

    fn traces(&self) -> TraceReader<'_> {
        TraceReader { core: self.core, tenant: self.tenant, state: self.state, view: &self.view }
    }

    /// The ranks of the first `limit` traces, and of one more, which shows whether there is a next page.
    fn newest(&mut self) -> Vec<Rank> {
        let mut blocks = self.blocks();
        blocks.sort_by_key(|entry| Reverse(entry.row.meta.max_start));
        let wanted = self.plan.limit + 1;
        let mut seen = HashSet::new();
        // Traces that may have started earlier than their matching span, ranked by the start of that span.
        let mut open: BinaryHeap<Rank> = BinaryHeap::new();
        let mut best: BinaryHeap<Reverse<Rank>> = BinaryHeap::new();
        'blocks: for (at, entry) in blocks.iter().enumerate() {
            for (trace, start) in self.matching_traces(entry) {
                if seen.insert(trace) {
                    open.push((start, trace));
                }
            }
            let next = blocks.get(at + 1).map(|entry| entry.row.meta.max_start.0);
            while let Some(&(latest, trace)) = open.peek() {
                let enough =
                    best.len() >= wanted && best.peek().is_some_and(|Reverse(last)| *last >= (latest, trace));
                if enough || next.is_some_and(|next| latest < next) {
                    break;
                }
                open.pop();
                let is_in_front =
                    |rank: &Rank| best.len() < wanted || best.peek().is_none_or(|Reverse(last)| rank > last);
                let rank = self.rank(trace).filter(|rank| self.is_behind_cursor(*rank));
                let rank = rank.filter(is_in_front).filter(|rank| self.accepts(*rank));
                best.extend(rank.map(Reverse));
                let dropped = match rank {
                    None => Some(trace),
                    Some(_) if best.len() > wanted => best.pop().map(|Reverse((_, last))| last),
                    Some(_) => None,
                };
                if let Some(trace) = dropped {
                    self.forget(trace);
                }
                if self.is_stopped() {
                    break 'blocks;
                }
            }
            let worst = best.peek().map(|Reverse(rank)| rank.0);
            if best.len() >= wanted && next.is_none_or(|next| worst.is_some_and(|worst| worst > next)) {
                break;
            }
        }
        let mut ranks: Vec<Rank> = best.into_iter().map(|Reverse(rank)| rank).collect();
        ranks.sort_unstable_by_key(|rank| Reverse(*rank));
        ranks
    }

    fn all_ranked(&mut self) -> Vec<Rank> {
        let mut found = HashSet::new();
        for entry in self.blocks() {
            found.extend(self.matching_traces(&entry).into_iter().map(|(trace, _)| trace));
            if found.len() > self.core.config.max_candidates {
                self.cut = true;
                break;
            }
        }
        let mut ranks: Vec<Rank> = found.into_iter().filter_map(|trace| self.rank(trace)).collect();
        ranks.retain(|rank| self.is_behind_cursor(*rank));
        ranks.sort_unstable_by_key(|rank| Reverse(*rank));
        let mut accepted = Vec::new();
        for rank in ranks {
            if accepted.len() > self.plan.limit || self.is_stopped() {
                break;
            }
            if self.accepts(rank) {
                accepted.push(rank);
            }
        }
        accepted
    }

    /// Whether a ranked trace belongs in the answer, if it has room for it.
    fn accepts(&mut self, (_, trace): Rank) -> bool {
        let Some(mut judging) = self.judging.take() else { return true };
        let parts = self.found.get(&trace).cloned().unwrap_or_else(|| self.traces().parts(trace));
        let accepts = judging.accepts(self.traces(), trace, parts, &self.damage);
        self.judging = Some(judging);
        accepts
    }

    fn is_stopped(&self) -> bool {
        self.judging.as_ref().is_some_and(|judging| judging.is_stopped)
    }

    fn forget(&mut self, trace: TraceId) {
        self.found.remove(&trace);
        if let Some(judging) = &mut self.judging {
            judging.forget(trace);
        }
    }

    /// Blocks that may hold a matching span, by their zone maps.
    pub(crate) fn blocks(&self) -> Vec<Arc<BlockEntry>> {
        self.filter.blocks(&self.view)
    }

    /// Traces with a matching span in the block, each with its earliest start there.
    fn matching_traces(&mut self, entry: &Arc<BlockEntry>) -> Vec<(TraceId, u64)> {
        self.scan(entry).unwrap_or_else(|error| {
            self.core.report_damage(entry, &error, &self.damage);
            Vec::new()
        })
    }

    /// Like [`Self::matching_traces`]; an error if the block cannot be read.
    pub(crate) fn scan(&mut self, entry: &Arc<BlockEntry>) -> Result<Vec<(TraceId, u64)>, BlockError> {
        let reader = &self.core.reader;
        let Some(scan) = self.filter.open(reader, entry)? else { return Ok(Vec::new()) };
        self.scanned.blocks_read += 1;
        let mut found: Vec<TraceId> = Vec::new();
        for page in scan.pages() {
            // One matching row of a trace is enough.
            self.scanned.spans += scan.each_match(*page, |row| {
                found.push(row.trace);
                row.trace_end
            })?;
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        // A trace that continues on the next page is found twice.
        found.dedup();
        // Deleted spans match nothing, and neither do later spans of their traces.
        found.retain(|trace| !self.state.deleted.hides(*trace, entry));
        self.leave_out_lonely(entry, &mut found)?;
        let traces = reader.traces(entry)?;
        let mut dated = Vec::with_capacity(found.len());
        for trace in found {
            let rows = traces.find(trace).ok_or(FormatError::Damaged("trace table"))?;
            dated.extend(self.first_visible(entry, rows)?.map(|start| (trace, start)));
        }
        Ok(dated)
    }

    /// Leaves out traces that lie in this block alone and have no span here that satisfies a companion.
    fn leave_out_lonely(&self, entry: &Arc<BlockEntry>, found: &mut Vec<TraceId>) -> Result<(), BlockError> {
        for companion in &self.companions {
            if found.is_empty() {
                break;
            }
            let mut accompanied: Vec<TraceId> = Vec::new();
            if let Some(scan) = companion.open(&self.core.reader, entry)? {
                for page in scan.pages() {
                    scan.each_match(*page, |row| {
                        accompanied.push(row.trace);
                        row.trace_end
                    })?;
                }
            }
            // Both are in the order of the block, which is that of the IDs.
            found.retain(|trace| {
                accompanied.binary_search(trace).is_ok() || self.traces().parts(*trace).len() > 1
            });
        }
        Ok(())
    }

    /// The earliest start of a visible row. Rows that were stored after the snapshot do not count, so that a trace
    /// whose early span arrives late keeps its rank.
    fn first_visible(&self, entry: &BlockEntry, rows: RowRange) -> Result<Option<u64>, BlockError> {
        let all_visible = entry.row.meta.max_sequence <= self.snapshot;
        let mut first = None;
        trace_reader::each_page(self.core, entry, rows, |page, here| {
            let visible = here.filter(|row| all_visible || page.sequence[*row] <= self.snapshot);
            first = visible.map(|row| page.start[row]).min();
            first.is_none()
        })?;
        Ok(first)
    }

    /// The rank of a whole trace, as of the snapshot.
    fn rank(&mut self, trace: TraceId) -> Option<Rank> {
        let mut facts = TraceFacts::default();
        let parts = self.traces().parts(trace);
        if self.plan.order == Order::Newest {
            self.found.insert(trace, parts.clone());
        }
        let counts = matches!(self.plan.order, Order::MostSpans | Order::MostErrors);
        // A block contains each span once; several blocks may contain the same span.
        let mut duplicates = (counts && parts.len() > 1).then(DuplicateDetector::default);
        for (entry, rows) in parts {
            let added = match self.plan.order {
                Order::Newest | Order::Oldest => self.add_start(&mut facts, &entry, rows),
                _ => self.add_facts(&mut facts, &entry, rows, &mut duplicates),
            };
            if let Err(error) = added {
                self.core.report_damage(&entry, &error, &self.damage);
            }
        }
        if duplicates.is_some_and(|duplicates| duplicates.suspected) {
            self.count_once(&mut facts, trace);
        }
        let start = facts.start?;
        let key = match self.plan.order {
            Order::Newest => start,
            Order::Oldest => !start,
            Order::Longest => facts.end - start,
            Order::Shortest => !(facts.end - start),
            Order::MostSpans => facts.spans,
            Order::MostErrors => facts.errors,
        };
        Some((key, trace))
    }

    /// Adds the start of a trace in a block only.
    fn add_start(
        &self,
        facts: &mut TraceFacts,
        entry: &BlockEntry,
        rows: RowRange,
    ) -> Result<(), BlockError> {
        if let Some(start) = self.first_visible(entry, rows)? {
            facts.see_start(start);
        }
        Ok(())
    }

    fn add_facts(
        &self,
        facts: &mut TraceFacts,
        entry: &BlockEntry,
        rows: RowRange,
        duplicates: &mut Option<DuplicateDetector>,
    ) -> Result<(), BlockError> {
        let dictionary = self.core.reader.dictionary(entry)?;
        trace_reader::each_row(self.core, entry, rows, |page, row| {
            if page.sequence[row] <= self.snapshot {
                let (start, duration) = (page.start[row], page.duration[row]);
                let flags = dictionary.flags(page.class[row]);
                facts.see_start(start);
                facts.end = facts.end.max(start.checked_add(duration).unwrap_or(start));
                facts.spans += 1;
                facts.errors += u64::from(flags.failed());
                if let Some(duplicates) = duplicates {
                    duplicates.see(entry.key.block, start, duration, flags);
                }
            }
            true
        })
    }

    /// Counts spans by decoding them, because columns cannot identify duplicates.
    fn count_once(&self, facts: &mut TraceFacts, trace: TraceId) {
        (facts.spans, facts.errors) = (0, 0);
        let rows = self.traces().merged_rows(trace, &self.damage);
        for row in rows.filter(|row| row.sequence <= self.snapshot) {
            facts.spans += 1;
            facts.errors += u64::from(row.failed);
        }
    }

    fn is_behind_cursor(&self, rank: Rank) -> bool {
        self.plan.after.is_none_or(|after| rank < (after.key, after.trace))
    }

    fn answer(mut self, mut ranks: Vec<Rank>) -> Result<SearchAnswer, ReadError> {
        let has_next = ranks.len() > self.plan.limit;
        ranks.truncate(self.plan.limit);
        let next = ranks.last().filter(|_| has_next).map(|(key, trace)| Position {
            key: *key,
            trace: *trace,
            snapshot: self.snapshot,
        });
        let mut traces = Vec::with_capacity(ranks.len());
        for (_, trace) in ranks {
            traces.extend(self.summary(trace)?);
        }
        let partial = self.cut || self.is_stopped() || self.damage.blocks() > 0;
        Ok(SearchAnswer { traces, next, partial, scanned: self.scanned })
    }

    /// The summary of a trace from its columns; `None` if they do not suffice.
    fn column_summary(&mut self, trace: TraceId, parts: &Parts) -> Result<Option<TraceSummary>, BlockError> {
        // With such blocks the answer is partial, which reading the trace's rows reports.
        if !self.state.unindexed.lock().is_empty() {
            return Ok(None);
        }
        let mut columns = ColumnSummary::new(&self.core.reader, self.plan, trace);
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
        let dictionary = self.core.reader.dictionary(entry)?;
        let predicate = match &self.judging {
            Some(_) => BlockPredicate::Constant(false),
            None => BlockPredicate::new(&self.plan.predicate, &dictionary)?,
        };
        let predicate = Arc::new(predicate);
        self.prepared.insert(entry.key.block, predicate.clone());
        Ok(predicate)
    }

    fn summary(&mut self, trace: TraceId) -> Result<Option<TraceSummary>, ReadError> {
        let mut summary = self.summary_by_predicate(trace)?;
        if let (Some(judging), Some(summary)) = (&mut self.judging, &mut summary) {
            judging.complete(summary);
        }
        Ok(summary)
    }

    fn summary_by_predicate(&mut self, trace: TraceId) -> Result<Option<TraceSummary>, ReadError> {
        let parts = self.found.remove(&trace);
        let parts = parts.unwrap_or_else(|| self.traces().parts(trace));
        // Damage is found again below, and reported there.
        if let Ok(Some(summary)) = self.column_summary(trace, &parts) {
            return Ok(Some(summary));
        }
        let rows: Vec<_> = self.traces().merged_parts(trace, parts, &self.damage).collect();
        summarise(trace, &rows, &self.plan.predicate, &self.plan.range)
            .map_err(|error| ReadError::Io(format!("a stored span does not decode: {error}")))
    }
}

/// Detects that two blocks may contain the same span.
#[derive(Default)]
struct DuplicateDetector {
    known: HashMap<(u64, u64, u8), BlockId>,
    suspected: bool,
}

// === impl TraceFacts, DuplicateDetector ===

impl DuplicateDetector {
    fn see(&mut self, block: BlockId, start: u64, duration: u64, flags: RowFlags) {
        let first = *self.known.entry((start, duration, flags.0)).or_insert(block);
        self.suspected |= first != block;
    }
}

impl TraceFacts {
    fn see_start(&mut self, start: u64) {
        self.start = Some(self.start.map_or(start, |known| known.min(start)));
    }
}
