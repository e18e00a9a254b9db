//! Scan: every matching trace of a range, whole and once, one after the other. Exports and deletions use it.
//!
//! A scan holds the view of its beginning and searches the blocks that may match, oldest first. A trace is in many
//! blocks: it is returned at the first of them in which a span matches, with its rows of all blocks. So the scan need
//! not remember returned traces, and memory is bounded by the matches of one block. The traces have no particular
//! order, and there are no pages.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use spandrel_block::{BlockId, RowRange};
use spandrel_proto::otlp::{ResourceView, SpanView};
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};

use crate::api::{Damage, ScannedTrace, TraceScan};
use crate::error::ReadError;
use crate::plan::{Effort, Order, Predicate, ScanPlan, SearchPlan};
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError, Caching};
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;
use crate::store::query::search::Finder;
use crate::store::read::matcher;
use crate::store::read::merge_iter::BlockRows;
use crate::store::read::trace_reader::{Part, TraceReader};

/// A scan in progress.
struct Scan<'s> {
    core: &'s Core,
    tenant: TenantId,
    state: Arc<TenantState>,
    view: Arc<View>,
    plan: SearchPlan,
    /// Blocks that may contain a match, sorted by ID.
    blocks: Vec<Arc<BlockEntry>>,
    /// The number of blocks that were searched.
    done: usize,
    /// Matching traces of the last searched block that are not returned yet.
    found: VecDeque<TraceId>,
    /// Blocks that could not be read, so that no trace was returned for them.
    skipped: HashSet<BlockId>,
    removed: RemovedSinceSnapshot,
    damage: Damage,
}

/// Blocks of the view that have left the catalog since it was taken. The index may have no rows of them any more.
struct RemovedSinceSnapshot {
    latest: Arc<View>,
    blocks: Vec<Arc<BlockEntry>>,
}

/// Starts a scan.
pub(crate) fn scan<'s>(core: &'s Core, tenant: &TenantId, plan: &ScanPlan) -> TraceScan<'s> {
    let Some(state) = core.tenants.get(tenant) else { return TraceScan::from_traces(Vec::new()) };
    let view = state.view();
    let known: HashSet<BlockId> =
        view.iter().filter(|entry| core.is_damaged(entry)).map(|entry| entry.key.block).collect();
    let damaged_blocks = known.len() as u64;
    let damage = Damage::knowing(known);
    let ScanPlan { predicate, range } = plan.clone();
    let plan = SearchPlan {
        predicate,
        range,
        order: Order::Newest,
        limit: 0,
        after: None,
        effort: Effort::default(),
    };
    let mut blocks =
        Finder::new(core, (tenant, state.clone(), view.clone()), &plan, u64::MAX, damage.clone()).blocks();
    blocks.sort_by_key(|entry| entry.key.block);
    TraceScan {
        traces_at_most: Some(blocks.iter().map(|entry| u64::from(entry.row.meta.traces)).sum()),
        damaged_blocks,
        damage: damage.clone(),
        traces: Box::new(Scan {
            core,
            tenant: tenant.clone(),
            removed: RemovedSinceSnapshot { latest: view.clone(), blocks: Vec::new() },
            state,
            view,
            plan,
            blocks,
            done: 0,
            found: VecDeque::new(),
            skipped: HashSet::new(),
            damage,
        }),
    }
}

// === impl Scan ===

impl Scan<'_> {
    /// Searches the next block. `None` if there is none left.
    fn look_at_next_block(&mut self) -> Option<()> {
        let entry = self.blocks.get(self.done)?;
        self.done += 1;
        let (view, damage) = (self.view.clone(), self.damage.clone());
        let finder =
            Finder::new(self.core, (&self.tenant, self.state.clone(), view), &self.plan, u64::MAX, damage);
        match finder.candidates(entry) {
            Ok(found) => self.found = found.candidates.iter().map(|candidate| candidate.trace).collect(),
            Err(error) => {
                self.core.report_damage(entry, &error, &self.damage);
                self.skipped.insert(entry.key.block);
            }
        }
        Some(())
    }

    /// A trace that matches in the block that was just searched; `None` if it was returned for an earlier block.
    fn take(&mut self, trace: TraceId) -> Result<Option<ScannedTrace>, ReadError> {
        let mut parts = self.parts(trace)?;
        parts.retain(|(entry, _)| !self.state.deleted.hides(trace, entry));
        let here = self.blocks[self.done - 1].key.block;
        if parts.iter().any(|part| part.0.key.block < here && self.was_given_at(part)) {
            return Ok(None);
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let reader =
            TraceReader { core: self.core, tenant: &self.tenant, state: &self.state, view: &self.view };
        Ok(Some((trace, reader.spans(trace, parts, &self.damage))))
    }

    /// The blocks of the view that contain the trace, with its rows.
    fn parts(&mut self, trace: TraceId) -> Result<Vec<Part>, ReadError> {
        let mut parts = self.state.fresh_parts(trace);
        parts.extend(self.core.engine.find_trace(&self.tenant, trace)?);
        let mut parts = self.view.resolve(parts);
        self.removed.update(&self.view, &self.state);
        // The block that was just searched contains the trace, even if the index does not say so.
        for entry in self.removed.blocks.iter().chain(&self.blocks[self.done - 1..self.done]) {
            if parts.iter().any(|(known, _)| known.key.block == entry.key.block) {
                continue;
            }
            match self.core.reader.traces(entry) {
                Ok(table) => parts.extend(table.find(trace).map(|rows| (entry.clone(), rows))),
                Err(error) => self.core.report_damage(entry, &error, &self.damage),
            }
        }
        Ok(parts)
    }

    fn was_given_at(&self, (entry, rows): &Part) -> bool {
        let block = entry.key.block;
        let looked_at = self.blocks.binary_search_by_key(&block, |entry| entry.key.block).is_ok()
            && !self.skipped.contains(&block);
        // If the block was damaged since, the trace may be returned twice, which is better than not at all.
        looked_at && self.matches(entry, *rows).unwrap_or(false)
    }

    fn matches(&self, entry: &Arc<BlockEntry>, rows: RowRange) -> Result<bool, BlockError> {
        let SearchPlan { predicate, range, .. } = &self.plan;
        let rows = rows.first..rows.first.saturating_add(rows.rows);
        if *range == TimeRange::ALL && matches!(predicate, Predicate::All) {
            return Ok(true);
        }
        let mut rows = BlockRows::open(&self.core.reader, entry, rows, Caching::Keep)?;
        while let Some(row) = rows.advance()? {
            let (span, resource) = (SpanView::parse(&row.span)?, ResourceView::parse(&row.resource)?);
            if range.contains(UnixNanos(span.start)) && matcher::matches(predicate, &span, &resource)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<ScannedTrace, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(trace) = self.found.pop_front() else {
                self.look_at_next_block()?;
                continue;
            };
            if let Some(taken) = self.take(trace).transpose() {
                return Some(taken);
            }
        }
    }
}

// === impl RemovedSinceSnapshot ===

impl RemovedSinceSnapshot {
    /// Has to be called after the index was read: blocks that the index no longer had were removed from the catalog
    /// before.
    fn update(&mut self, view: &View, state: &TenantState) {
        let latest = state.view();
        if Arc::ptr_eq(&latest, &self.latest) {
            return;
        }
        // Memory knows the traces of fresh blocks as long as a reader holds these.
        let removed =
            |entry: &&Arc<BlockEntry>| entry.row.meta.level > 0 && latest.get(entry.key.block).is_none();
        self.blocks = view.iter().filter(removed).cloned().collect();
        self.latest = latest;
    }
}
