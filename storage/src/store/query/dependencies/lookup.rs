//! Finds spans beyond the blocks of an answer, since a message may be received hours after it was sent.
//!
//! The caller of a callee is found by ID through the trace index. Whether a message that was sent in the range was
//! received after it follows from the unpaired callees of later blocks, because only consumers are that late.
//!
//! The work is bounded by [`StoreConfig::max_caller_lookups`], the number of traces that are looked up, and of pages
//! that are read for them. Callers of consumers are looked up first, because others are hardly ever so far away. Beyond
//! the bound the answer is partial.
//!
//! [`StoreConfig::max_caller_lookups`]: crate::StoreConfig::max_caller_lookups

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_block::edges::{Reference, Relation};
use spandrel_block::{BlockId, EdgeKind, RowRange};
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{SpanId, TenantId, TraceId, UnixNanos};

use super::Steps;
use super::side::{Side, SideReader, trace_of};
use super::unpaired::{Answered, UnpairedSpans, span_ids};
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::tenant::TenantState;
use crate::store::core::view::View;

/// Looks up spans beyond the blocks of one answer.
pub(super) struct Lookup<'s> {
    tenant: &'s TenantId,
    state: &'s TenantState,
    view: &'s View,
    /// The blocks of the answer.
    read: HashSet<BlockId>,
    /// Traces that may still be looked up.
    traces_left: usize,
    /// Pages that may still be read.
    pages_left: usize,
    /// Whether the lookups are complete.
    is_whole: bool,
}

/// A message that was sent in the range and that no span of the answer's blocks received.
struct Sent {
    block: usize,
    row: u32,
    side: Side,
}

/// The rows of traces in one block.
type Parts = Vec<(TraceId, RowRange)>;

/// The approximate number of rows in a page.
const PAGE_ROWS: u32 = 2048;

// === impl Lookup ===

impl<'s> Lookup<'s> {
    pub(super) fn new(
        tenant: &'s TenantId,
        state: &'s TenantState,
        view: &'s View,
        steps: &Steps<'_>,
    ) -> Self {
        let most = steps.core.config.max_caller_lookups;
        let read = steps.blocks.iter().map(|entry| entry.key.block).collect();
        Self { tenant, state, view, read, traces_left: most, pages_left: most, is_whole: true }
    }

    /// Whether the lookups are complete.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Looks up the callers of the unpaired callees in the range.
    pub(super) fn find_callers(&mut self, steps: &mut Steps<'_>, unpaired: &mut UnpairedSpans) {
        if self.read.len() == self.view.spans().count() {
            return;
        }
        let traces = wanted_traces(steps, unpaired);
        if traces.is_empty() {
            return;
        }
        // Fresh blocks with unreadable trace tables may contain a caller, too.
        self.is_whole &= self.state.unindexed.lock().iter().all(|block| self.view.get(*block).is_none());
        let mut found: BTreeMap<BlockId, (Arc<BlockEntry>, Parts)> = BTreeMap::new();
        for trace in traces {
            if !take(&mut self.traces_left, 1) {
                self.is_whole = false;
                break;
            }
            let mut parts = self.state.fresh_parts(trace);
            match steps.core.engine.find_trace(self.tenant, trace) {
                Ok(indexed) => parts.extend(indexed),
                Err(error) => {
                    tracing::error!(%trace, %error, "the trace index cannot be read; the service map lacks callers");
                    self.is_whole = false;
                    break;
                }
            }
            for (entry, rows) in self.view.resolve(parts) {
                if self.read.contains(&entry.key.block) {
                    continue;
                }
                if take(&mut self.pages_left, pages(rows.rows)) {
                    found
                        .entry(entry.key.block)
                        .or_insert_with(|| (entry, Parts::new()))
                        .1
                        .push((trace, rows));
                } else {
                    self.is_whole = false;
                }
            }
        }
        for (entry, parts) in found.into_values() {
            if let Err(error) = unpaired.find_in_parts(&steps.core.reader, &mut steps.graph, &entry, parts) {
                steps.core.report_damage(&entry, &error, steps.damage);
            }
        }
    }

    /// Looks up spans that received messages of the range after the range.
    pub(super) fn find_consumers(&mut self, steps: &mut Steps<'_>, answered: &mut Answered) {
        let Some(end) = steps.graph.range().end else { return };
        let is_later = |entry: &&Arc<BlockEntry>| {
            entry.row.meta.max_start >= end && !self.read.contains(&entry.key.block)
        };
        let mut later: Vec<Arc<BlockEntry>> = self.view.spans().filter(is_later).cloned().collect();
        if later.is_empty() {
            return;
        }
        let sent = sent_messages(steps, answered);
        if sent.is_empty() {
            return;
        }
        later.sort_unstable_by_key(|entry| entry.key.block);
        for entry in later {
            let meta = &entry.row.meta;
            // The edges of a fresh block are derived from all of its pages.
            if !take(&mut self.pages_left, if meta.level == 0 { pages(meta.spans) } else { 1 }) {
                self.is_whole = false;
                return;
            }
            if let Err(error) = find_consumers_in(&entry, steps, &sent, answered) {
                steps.core.report_damage(&entry, &error, steps.damage);
            }
        }
    }
}

fn pages(rows: u32) -> usize {
    rows.div_ceil(PAGE_ROWS) as usize
}

/// Subtracts from a budget if it suffices; returns whether it did.
fn take(left: &mut usize, wanted: usize) -> bool {
    let rest = left.checked_sub(wanted);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

/// The traces that unpaired callees of the range refer to, those of consumers first.
fn wanted_traces(steps: &mut Steps<'_>, unpaired: &mut UnpairedSpans) -> Vec<TraceId> {
    let unpaired = unpaired.unpaired();
    let mut rest = unpaired.as_slice();
    let (mut of_consumers, mut of_others) = (Vec::new(), Vec::new());
    let range = steps.graph.range();
    steps.each(|steps, block, entry| {
        let of_block = rest.iter().take_while(|open| open.block as usize == block).count();
        let (here, others) = rest.split_at(of_block);
        rest = others;
        if here.is_empty() || !entry.row.meta.touches(&range) {
            return Ok(());
        }
        let sides = SideReader::read(&steps.core.reader, entry, &mut steps.graph)?;
        for open in here {
            let side = sides.side(open.row)?;
            if !range.contains(UnixNanos(side.start)) {
                continue;
            }
            let consumes = open.by == Reference::Link || side.kind == SpanKind::Consumer;
            if consumes { &mut of_consumers } else { &mut of_others }.push(open.trace);
        }
        Ok(())
    });
    for traces in [&mut of_consumers, &mut of_others] {
        traces.sort_unstable();
        traces.dedup();
    }
    of_others.retain(|trace| of_consumers.binary_search(trace).is_err());
    of_consumers.append(&mut of_others);
    of_consumers
}

/// The messages of the range that would make a virtual edge, by the ID of the sending span.
fn sent_messages(steps: &mut Steps<'_>, answered: &Answered) -> FxHashMap<SpanId, Vec<Sent>> {
    let mut sent: FxHashMap<SpanId, Vec<Sent>> = FxHashMap::default();
    let range = steps.graph.range();
    steps.each(|steps, block, entry| {
        if !entry.row.meta.touches(&range) {
            return Ok(());
        }
        let edges = steps.core.reader.edges(entry)?;
        let rows =
            edges.open_callers.iter().filter(|open| open.kind == EdgeKind::Virtual).map(|open| open.row);
        let mut rows = rows.filter(|row| !answered.contains(block, *row)).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let sides = SideReader::read(&steps.core.reader, entry, &mut steps.graph)?;
        for row in rows {
            let side = sides.side(row)?;
            if side.kind != SpanKind::Producer || !range.contains(UnixNanos(side.start)) {
                continue;
            }
            for (row, id) in span_ids(&steps.core.reader, entry, RowRange { first: row, rows: 1 })? {
                sent.entry(id).or_default().push(Sent { block, row, side });
            }
        }
        Ok(())
    });
    sent
}

/// Finds the messages that spans of a later block received.
fn find_consumers_in(
    entry: &Arc<BlockEntry>,
    steps: &mut Steps<'_>,
    sent: &FxHashMap<SpanId, Vec<Sent>>,
    answered: &mut Answered,
) -> Result<(), BlockError> {
    let reader = &steps.core.reader;
    let edges = reader.edges(entry)?;
    for open in &edges.open_callees {
        let Some(same_id) = sent.get(&open.caller) else { continue };
        let trace = match open.trace {
            Some(trace) => Some(trace),
            None => trace_of(&*reader.traces(entry)?, open.row),
        };
        let callee = SideReader::read(reader, entry, &mut steps.graph)?.side(open.row)?;
        for message in same_id.iter().filter(|message| Some(message.side.trace) == trace) {
            let same_service = message.side.service == callee.service;
            if Relation::of(open.by, message.side.kind, callee.kind, same_service).answers {
                answered.add(message.block, message.row);
            }
        }
    }
    answered.sort();
    Ok(())
}
