//! Finds the traces that may be in the answer of a search, and what ranks them. Shared by the threads of a search; it
//! keeps nothing of one block while it looks at the next.

use std::sync::Arc;

use spandrel_block::{BlockId, FormatError, RowRange};
use spandrel_proto::{TenantId, TimeRange, TraceId};

use crate::api::Damage;
use crate::plan::{Predicate, SearchPlan};
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;
use crate::store::query::block_scan::SpanFilter;
use crate::store::read::trace_reader::{self, Part, TraceReader};

/// What the threads of a search share.
pub(crate) struct Finder<'s> {
    pub(super) core: &'s Core,
    pub(super) tenant: &'s TenantId,
    pub(super) state: Arc<TenantState>,
    pub(super) view: Arc<View>,
    pub(super) plan: &'s SearchPlan,
    filter: SpanFilter<'s>,
    /// What other spans of a trace in the answer satisfy.
    companions: Vec<SpanFilter<'s>>,
    pub(super) snapshot: u64,
    pub(super) damage: Damage,
}

/// A trace with a matching span in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    /// The earliest start of a visible span in the block: the trace starts no later. First, because candidates are
    /// ordered by it.
    pub(super) start: u64,
    pub(crate) trace: TraceId,
    block: BlockId,
    /// The block has a span for each companion. A trace without them may only match if it continues in other blocks.
    pub(super) is_accompanied: bool,
}

/// The candidates of a block.
#[derive(Debug, Default)]
pub(crate) struct BlockCandidates {
    /// Sorted by trace.
    pub(crate) candidates: Vec<Candidate>,
    /// Whether pages of the block were read.
    pub(super) is_read: bool,
    /// The number of rows that were looked at.
    pub(super) spans: u64,
}

// === impl Finder ===

impl<'s> Finder<'s> {
    pub(crate) fn new(
        core: &'s Core,
        (tenant, state, view): (&'s TenantId, Arc<TenantState>, Arc<View>),
        plan: &'s SearchPlan,
        snapshot: u64,
        damage: Damage,
    ) -> Self {
        let filter = SpanFilter::new(&plan.predicate, &plan.range, snapshot);
        Self { core, tenant, state, view, plan, filter, companions: Vec::new(), snapshot, damage }
    }

    /// Leaves out traces that lack a span for one of these.
    pub(super) fn with_companions(self, companions: &'s [Predicate]) -> Self {
        let companion = |predicate| SpanFilter::new(predicate, &TimeRange::ALL, u64::MAX);
        Self { companions: companions.iter().map(companion).collect(), ..self }
    }

    pub(super) fn traces(&self) -> TraceReader<'_> {
        TraceReader { core: self.core, tenant: self.tenant, state: &self.state, view: &self.view }
    }

    /// Blocks that may hold a matching span, by their zone maps.
    pub(crate) fn blocks(&self) -> Vec<Arc<BlockEntry>> {
        self.filter.blocks(&self.view)
    }

    /// Whether the plan says that the search has to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.plan.effort.stop.is_set()
    }

    /// The traces with a matching span in the block; none if it cannot be read, which is reported.
    pub(super) fn candidates_or_damage(&self, entry: &Arc<BlockEntry>) -> BlockCandidates {
        self.candidates(entry).unwrap_or_else(|error| {
            self.core.report_damage(entry, &error, &self.damage);
            BlockCandidates::default()
        })
    }

    /// The traces with a matching span in the block.
    pub(crate) fn candidates(&self, entry: &Arc<BlockEntry>) -> Result<BlockCandidates, BlockError> {
        let mut found = BlockCandidates::default();
        let mut traces = self.matching_traces(&self.filter, entry, &mut found)?;
        // Deleted spans match nothing, and neither do later spans of their traces.
        traces.retain(|(trace, _)| !self.state.deleted.hides(*trace, entry));
        if traces.is_empty() {
            return Ok(found);
        }
        let accompanied = self.accompanied(entry, &traces)?;
        for (at, (trace, start)) in traces.into_iter().enumerate() {
            let start = match start {
                Some(start) => Some(start),
                None => self.start_in(entry, trace)?,
            };
            let Some(start) = start else { continue };
            let is_accompanied = accompanied.as_ref().is_none_or(|known| known[at]);
            found.candidates.push(Candidate { start, trace, block: entry.key.block, is_accompanied });
        }
        Ok(found)
    }

    /// The traces with a span in the block that a filter lets through, sorted; each with the earliest visible start of
    /// its spans in the block, where one page tells that.
    fn matching_traces(
        &self,
        filter: &SpanFilter<'_>,
        entry: &Arc<BlockEntry>,
        work: &mut BlockCandidates,
    ) -> Result<Vec<(TraceId, Option<u64>)>, BlockError> {
        let mut traces: Vec<(TraceId, Option<u64>)> = Vec::new();
        let Some(scan) = filter.open(&self.core.reader, entry)? else { return Ok(traces) };
        work.is_read = true;
        let all_visible = entry.row.meta.max_sequence <= self.snapshot;
        for page in scan.pages() {
            if self.is_stopped() {
                break;
            }
            // One matching row of a trace is enough.
            work.spans += scan.each_match(*page, |row| {
                let visible = |at: &usize| all_visible || row.page.sequence[*at] <= self.snapshot;
                let starts = row.trace_rows.clone().filter(visible).map(|at| row.page.start[at]);
                // The rows of the first trace of a page may begin on the page before.
                let start = if row.trace_rows.start > 0 { starts.min() } else { None };
                traces.push((row.trace, start));
                row.trace_rows.end
            })?;
        }
        // A trace that continues on the next page is found twice.
        traces.dedup_by_key(|(trace, _)| *trace);
        Ok(traces)
    }

    /// The earliest visible start of a trace in a block.
    fn start_in(&self, entry: &BlockEntry, trace: TraceId) -> Result<Option<u64>, BlockError> {
        let table = self.core.reader.traces(entry)?;
        self.first_start(entry, table.find(trace).ok_or(FormatError::Damaged("trace table"))?)
    }

    /// For each of these traces whether the block has a span for every companion; `None` if there are no companions.
    fn accompanied(
        &self,
        entry: &Arc<BlockEntry>,
        traces: &[(TraceId, Option<u64>)],
    ) -> Result<Option<Vec<bool>>, BlockError> {
        let mut accompanied = (!self.companions.is_empty()).then(|| vec![true; traces.len()]);
        for companion in &self.companions {
            let with = self.matching_traces(companion, entry, &mut BlockCandidates::default())?;
            // Both are in the order of the block, which is that of the IDs.
            let mut with = with.into_iter().peekable();
            for (known, (trace, _)) in accompanied.iter_mut().flatten().zip(traces) {
                while with.next_if(|(other, _)| other < trace).is_some() {}
                *known &= with.peek().is_some_and(|(other, _)| other == trace);
            }
        }
        Ok(accompanied)
    }

    /// The start of a whole trace that was found as a candidate, as of the snapshot.
    pub(super) fn start_of(&self, candidate: &Candidate, parts: &[Part]) -> Option<u64> {
        let mut first = None;
        for (entry, rows) in parts {
            let start = match entry.key.block == candidate.block {
                true => Ok(Some(candidate.start)),
                false => self.first_start(entry, *rows),
            };
            match start {
                Ok(start) => first = first.into_iter().chain(start).min(),
                Err(error) => self.core.report_damage(entry, &error, &self.damage),
            }
        }
        first
    }

    /// The earliest start of a visible row. Rows that were stored after the snapshot do not count, so that a trace whose
    /// early span arrives late keeps its rank.
    pub(super) fn first_start(&self, entry: &BlockEntry, rows: RowRange) -> Result<Option<u64>, BlockError> {
        let all_visible = entry.row.meta.max_sequence <= self.snapshot;
        let mut first = None;
        trace_reader::each_page(self.core, entry, rows, |page, here| {
            let visible = here.filter(|row| all_visible || page.sequence[*row] <= self.snapshot);
            first = visible.map(|row| page.start[row]).min();
            first.is_none()
        })?;
        Ok(first)
    }
}
