//! Finds the traces that may be in the answer of a search, and what ranks them. Shared by the threads of a search; it
//! keeps nothing of one block while it looks at the next.

use std::sync::Arc;

use spandrel_block::{BlockId, CorePage, FormatError, RowRange};
use spandrel_proto::{TenantId, TimeRange, TraceId};

use crate::api::Damage;
use crate::plan::{Predicate, SearchPlan};
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;
use crate::store::query::block_scan::SpanFilter;
use crate::store::read::trace_reader::{Part, TraceReader};

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

/// Finds the earliest visible start of traces, in the order of the block.
struct FirstStarts<'s> {
    core: &'s Core,
    entry: &'s BlockEntry,
    /// Spans of later commits are invisible.
    snapshot: u64,
    /// The last page that was read, with its number and the rows of the block that it holds.
    page: Option<(u32, Arc<CorePage>)>,
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
        traces.retain(|trace| !self.state.deleted.hides(*trace, entry));
        if traces.is_empty() {
            return Ok(found);
        }
        let accompanied = self.accompanied(entry, &traces)?;
        let table = self.core.reader.traces(entry)?;
        let mut starts = FirstStarts { core: self.core, entry, snapshot: self.snapshot, page: None };
        for (at, trace) in traces.into_iter().enumerate() {
            let rows = table.find(trace).ok_or(FormatError::Damaged("trace table"))?;
            let Some(start) = starts.of(rows)? else { continue };
            let is_accompanied = accompanied.as_ref().is_none_or(|known| known[at]);
            found.candidates.push(Candidate { start, trace, block: entry.key.block, is_accompanied });
        }
        Ok(found)
    }

    /// The traces with a span in the block that a filter lets through, sorted.
    fn matching_traces(
        &self,
        filter: &SpanFilter<'_>,
        entry: &Arc<BlockEntry>,
        work: &mut BlockCandidates,
    ) -> Result<Vec<TraceId>, BlockError> {
        let mut traces: Vec<TraceId> = Vec::new();
        let Some(scan) = filter.open(&self.core.reader, entry)? else { return Ok(traces) };
        work.is_read = true;
        for page in scan.pages() {
            if self.is_stopped() {
                break;
            }
            // One matching row of a trace is enough.
            work.spans += scan.each_match(*page, |row| {
                traces.push(row.trace);
                row.trace_end
            })?;
        }
        // A trace that continues on the next page is found twice.
        traces.dedup();
        Ok(traces)
    }

    /// For each of these traces whether the block has a span for every companion; `None` if there are no companions.
    fn accompanied(
        &self,
        entry: &Arc<BlockEntry>,
        traces: &[TraceId],
    ) -> Result<Option<Vec<bool>>, BlockError> {
        let mut accompanied = (!self.companions.is_empty()).then(|| vec![true; traces.len()]);
        for companion in &self.companions {
            let with = self.matching_traces(companion, entry, &mut BlockCandidates::default())?;
            // Both are in the order of the block, which is that of the IDs.
            let mut with = with.into_iter().peekable();
            for (known, trace) in accompanied.iter_mut().flatten().zip(traces) {
                while with.next_if(|other| other < trace).is_some() {}
                *known &= with.peek() == Some(trace);
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

    /// The earliest start of a visible row.
    pub(super) fn first_start(&self, entry: &BlockEntry, rows: RowRange) -> Result<Option<u64>, BlockError> {
        FirstStarts { core: self.core, entry, snapshot: self.snapshot, page: None }.of(rows)
    }
}

// === impl FirstStarts ===

impl FirstStarts<'_> {
    /// The earliest start of a visible row. Rows that were stored after the snapshot do not count, so that a trace whose
    /// early span arrives late keeps its rank.
    fn of(&mut self, RowRange { first, rows }: RowRange) -> Result<Option<u64>, BlockError> {
        let snapshot = self.snapshot;
        let all_visible = self.entry.row.meta.max_sequence <= snapshot;
        let (mut row, end) = (first, first.saturating_add(rows));
        while row < end {
            let (number, begin) = self.core.reader.page_of(self.entry, row)?;
            let page = self.page(number)?;
            let here = (row - begin) as usize..page.rows().min((end - begin) as usize);
            if here.is_empty() {
                return Err(FormatError::Damaged("header").into());
            }
            row = begin + here.end as u32;
            let visible = here.filter(|row| all_visible || page.sequence[*row] <= snapshot);
            // All rows of a trace in one page start no later than those in the next.
            if let Some(start) = visible.map(|row| page.start[row]).min() {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    fn page(&mut self, number: u32) -> Result<&CorePage, BlockError> {
        if self.page.as_ref().is_none_or(|(known, _)| *known != number) {
            self.page = None;
        }
        let page = match self.page.take() {
            Some((_, page)) => page,
            None => self.core.reader.core(self.entry, number)?,
        };
        Ok(&self.page.insert((number, page)).1)
    }
}
