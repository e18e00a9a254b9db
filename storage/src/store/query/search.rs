//! Search: prunes blocks by zone maps, then pages by Bloom filters and zone maps, then rows by columns, and decodes
//! spans last.
//!
//! *Newest first* searches the blocks by their latest span start and stops as soon as no remaining block can contain a
//! newer trace: a trace starts no later than its matching span, and that no later than its block's latest start. Every
//! other order compares all matching traces, up to `max_candidates`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use spandrel_block::{
    BlockId, CorePage, Dictionary, FormatError, Rebuilder, RowFlags, RowRange, SectionKind, ServiceMeta,
    TraceTable, shown_duration,
};
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::api::{Damage, Scanned, SearchAnswer, TraceSummary};
use crate::error::ReadError;
use crate::plan::{AttributeScope, Comparison, Field, Literal, Order, Position, Predicate, SearchPlan};
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader, Caching};
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;
use crate::store::query::pruning::{
    AttributeMatches, BlockFilters, BlockPredicate, ColumnRow, FilterPredicate, RowMatch,
};
use crate::store::query::summary::from_columns::ColumnSummary;
use crate::store::query::summary::from_spans::summarise;
use crate::store::read::matcher;
use crate::store::read::trace_reader::{self, Part, TraceReader};

/// A search in progress.
pub(crate) struct Search<'s> {
    core: &'s Core,
    tenant: &'s TenantId,
    state: &'s TenantState,
    view: Arc<View>,
    plan: &'s SearchPlan,
    filter: FilterPredicate,
    snapshot: u64,
    scanned: Scanned,
    damage: Damage,
    /// More traces matched than `max_candidates`.
    cut: bool,
    /// The blocks and rows of ranked traces that may be in the answer.
    found: HashMap<TraceId, Parts>,
    /// The predicate prepared for the blocks of traces in the answer.
    prepared: HashMap<BlockId, Arc<BlockPredicate>>,
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
    let Some(state) = core.tenants.get(tenant) else { return Ok(SearchAnswer::default()) };
    // The snapshot is taken before the view, so the view contains all of it.
    let snapshot = plan.after.map_or_else(|| core.committer.sequences.visible(), |after| after.snapshot);
    let view = state.view();
    let mut search = Search::begin(core, tenant, &state, view, plan, snapshot, Damage::default());
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
        let filter = FilterPredicate::new(&plan.predicate);
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
        for (at, entry) in blocks.iter().enumerate() {
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
                let rank = self.rank(trace).filter(|rank| self.is_behind_cursor(*rank));
                best.extend(rank.map(Reverse));
                let dropped = match rank {
                    None => Some(trace),
                    Some(_) if best.len() > wanted => best.pop().map(|Reverse((_, last))| last),
                    Some(_) => None,
                };
                if let Some(trace) = dropped {
                    self.found.remove(&trace);
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
        ranks.truncate(self.plan.limit + 1);
        ranks
    }

    /// Blocks that may hold a matching span, by their zone maps.
    pub(crate) fn blocks(&self) -> Vec<Arc<BlockEntry>> {
        let may_match = |entry: &&Arc<BlockEntry>| {
            let meta = &entry.row.meta;
            meta.touches(&self.plan.range)
                && meta.min_sequence <= self.snapshot
                && zone_may_match(&self.plan.predicate, entry)
        };
        self.view.iter().filter(may_match).cloned().collect()
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
        let pages = self.pages_that_may_match(entry)?;
        if pages.is_empty() {
            return Ok(Vec::new());
        }
        let dictionary = reader.dictionary(entry)?;
        let predicate = BlockPredicate::new(&self.plan.predicate, &dictionary)?;
        if let BlockPredicate::Constant(false) = predicate {
            return Ok(Vec::new());
        }
        let pages = self.pages_left(entry, pages, &predicate, &dictionary)?;
        self.scanned.blocks_read += u64::from(!pages.is_empty());
        let mut found: Vec<TraceId> = Vec::new();
        for page in pages {
            self.scan_page(entry, page, &predicate, &mut found)?;
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        // A trace that continues on the next page is found twice.
        found.dedup();
        // Deleted spans match nothing, and neither do later spans of their traces.
        found.retain(|trace| !self.state.deleted.hides(*trace, entry));
        let traces = reader.traces(entry)?;
        let mut dated = Vec::with_capacity(found.len());
        for trace in found {
            let rows = traces.find(trace).ok_or(FormatError::Damaged("trace table"))?;
            dated.extend(self.first_visible(entry, rows)?.map(|start| (trace, start)));
        }
        Ok(dated)
    }

    /// The pages that may match, by the Bloom filters alone.
    fn pages_that_may_match(&self, entry: &BlockEntry) -> Result<Vec<u32>, BlockError> {
        let pages = 0..self.core.reader.pages(entry)? as u32;
        if self.filter.is_open() {
            return Ok(pages.collect());
        }
        let filters = BlockFilters::new(&self.core.reader, entry);
        let mut left = Vec::new();
        for page in pages {
            if self.filter.may_match(&filters, page as usize)? {
                left.push(page);
            }
        }
        Ok(left)
    }

    /// The pages that may match, by their zone maps, and by the Bloom filters after resources were evaluated.
    fn pages_left(
        &self,
        entry: &BlockEntry,
        mut pages: Vec<u32>,
        predicate: &BlockPredicate,
        dictionary: &Dictionary,
    ) -> Result<Vec<u32>, BlockError> {
        let reader = &self.core.reader;
        if let Some(zones) = reader.zones(entry)? {
            pages.retain(|page| {
                let zone = &zones[*page as usize];
                zone.touches(&self.plan.range) && predicate.may_match_zone(zone, dictionary)
            });
        }
        if !pages.is_empty() && !predicate.tests().is_empty() {
            let filters = BlockFilters::new(reader, entry);
            let mut left = Vec::new();
            for page in pages {
                if predicate.may_match_filter(&filters, page as usize)? {
                    left.push(page);
                }
            }
            pages = left;
        }
        Ok(pages)
    }

    /// Finds traces with a matching row in the page, in their order.
    fn scan_page(
        &mut self,
        entry: &Arc<BlockEntry>,
        number: u32,
        predicate: &BlockPredicate,
        found: &mut Vec<TraceId>,
    ) -> Result<(), BlockError> {
        let reader = &self.core.reader;
        let columns = reader.core(entry, number)?;
        self.scanned.spans += columns.rows() as u64;
        let all_visible = entry.row.meta.max_sequence <= self.snapshot;
        let row_match = |row: usize, attributes: &dyn Fn(usize) -> RowMatch| {
            if !self.plan.range.contains(UnixNanos(columns.start[row]))
                || !(all_visible || columns.sequence[row] <= self.snapshot)
            {
                return RowMatch::No;
            }
            let duration = shown_duration(columns.start[row], columns.duration[row]);
            let row_columns = ColumnRow {
                class: columns.class[row],
                resource_scope: columns.resource_scope[row],
                duration,
            };
            predicate.row_match(row_columns, attributes)
        };
        // The columns that every row has exclude most pages.
        let rows: Vec<usize> =
            (0..columns.rows()).filter(|row| row_match(*row, &|_| RowMatch::Maybe) != RowMatch::No).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let tests = predicate.tests();
        let mut attributes: AttributeMatches = Vec::new();
        let mut spans = None;
        if !tests.is_empty() {
            let page = reader.page(entry, number, Caching::Keep)?;
            for test in tests {
                attributes.push(test.matches(&page)?);
            }
            spans = Some(Rebuilder::new(page, 0));
        }
        let names = PageTraces::new(&self.core.reader, entry, &columns, number)?;
        let mut behind = 0;
        for row in rows {
            // One matching row of a trace is enough.
            if row < behind {
                continue;
            }
            let matches = match row_match(row, &|test| attributes[test][row]) {
                RowMatch::No => false,
                RowMatch::Yes => true,
                RowMatch::Maybe => match &mut spans {
                    Some(spans) => {
                        matcher::row_matches(&self.plan.predicate, spans, row, names.trace_of(row)?.0)?
                    }
                    None => true,
                },
            };
            if matches {
                let (trace, end) = names.trace_of(row)?;
                found.push(trace);
                behind = end;
            }
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
        let partial = self.cut || self.damage.blocks() > 0;
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
        let predicate = Arc::new(BlockPredicate::new(&self.plan.predicate, &dictionary)?);
        self.prepared.insert(entry.key.block, predicate.clone());
        Ok(predicate)
    }

    fn summary(&mut self, trace: TraceId) -> Result<Option<TraceSummary>, ReadError> {
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

/// The trace of each row of a page.
struct PageTraces {
    table: Arc<TraceTable>,
    core: Arc<CorePage>,
    /// The index of the page's first trace in the table.
    first: usize,
}

// === impl PageTraces ===

impl PageTraces {
    fn new(
        reader: &BlockReader,
        entry: &BlockEntry,
        core: &Arc<CorePage>,
        page: u32,
    ) -> Result<Self, BlockError> {
        let table = reader.traces(entry)?;
        let header = reader.header(entry)?;
        let row = header.pages(SectionKind::Core)[page as usize].first_row;
        let first = table.entries().partition_point(|(_, rows)| rows.first + rows.rows <= row);
        Ok(Self { table, core: core.clone(), first })
    }

    /// The trace of a row, and the row behind its last one in the page.
    fn trace_of(&self, row: usize) -> Result<(TraceId, usize), BlockError> {
        let run = self.core.traces.partition_point(|begin| *begin as usize <= row) - 1;
        let end = self.core.traces.get(run + 1).map_or(self.core.rows(), |end| *end as usize);
        let entry = self.table.entries().get(self.first + run);
        let (trace, _) = entry.ok_or(FormatError::Damaged("trace table"))?;
        Ok((*trace, end))
    }
}

/// Whether a block may contain a matching span, by its zone map.
fn zone_may_match(predicate: &Predicate, entry: &BlockEntry) -> bool {
    let meta = &entry.row.meta;
    match predicate {
        Predicate::And(parts) => {
            parts.iter().all(|part| zone_may_match(part, entry)) && zone_has_operation(parts, entry)
        }
        Predicate::Or(parts) => parts.iter().any(|part| zone_may_match(part, entry)),
        Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true))) => meta.failed > 0,
        Predicate::Compare(Field::Status, Comparison::Eq(Literal::Status(status))) => {
            meta.statuses & (1 << *status as u8) != 0
        }
        Predicate::Compare(Field::Duration, comparison) => match comparison {
            Comparison::Gt(Literal::Int(bound)) => i128::from(meta.max_duration) > i128::from(*bound),
            Comparison::Ge(Literal::Int(bound)) => i128::from(meta.max_duration) >= i128::from(*bound),
            Comparison::Lt(Literal::Int(bound)) => i128::from(meta.min_duration) < i128::from(*bound),
            Comparison::Le(Literal::Int(bound)) => i128::from(meta.min_duration) <= i128::from(*bound),
            _ => true,
        },
        Predicate::Compare(..) => zone_has_operation(std::slice::from_ref(predicate), entry),
        Predicate::All | Predicate::Exists(_) | Predicate::Absent(_) => true,
    }
}

/// Whether the block has an operation with both the service and the name of the predicate.
fn zone_has_operation(parts: &[Predicate], entry: &BlockEntry) -> bool {
    let (mut service, mut name) = (None, None);
    for part in parts {
        match part {
            Predicate::Compare(Field::Name, Comparison::Eq(Literal::String(wanted))) => {
                name = Some(wanted.as_str())
            }
            Predicate::Compare(
                Field::Attribute(AttributeScope::Resource, key),
                Comparison::Eq(Literal::String(wanted)),
            ) if key == "service.name" => service = Some(wanted.as_str()),
            _ => {}
        }
    }
    let has_name = |known: &ServiceMeta| {
        name.is_none_or(|name| known.operations.binary_search_by(|o| o.name.as_str().cmp(name)).is_ok())
    };
    let services = &entry.row.meta.services;
    match service {
        Some(service) => services
            .binary_search_by(|s| s.name.as_str().cmp(service))
            .is_ok_and(|at| has_name(&services[at])),
        None => name.is_none() || services.iter().any(has_name),
    }
}
