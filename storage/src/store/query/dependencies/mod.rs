//! The service map: the edges of all blocks in a range, with spans paired across blocks.
//!
//! Blocks keep edges by minute, so a range counts every minute that it touches. Complete edges of a block are added up
//! unchanged. Its unpaired spans are paired here with those of other blocks, up to [`PAIRING_WINDOW`] beyond the range;
//! a caller that stays unanswered for [`UNPAIRED_TIMEOUT`] counts as a virtual edge until its callee is found. Spans
//! that are further apart are paired by ID ([`lookup`]), so edges do not depend on which spans share a block. A caller
//! that was deleted or has expired leaves no edge, because its service is unknown. The rules are those of
//! [`spandrel_block::edges`].

mod graph;
mod lookup;
mod side;
mod unpaired;

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;
use spandrel_block::edges::Node;
use spandrel_block::{BlockMeta, EdgeKind, Exemplar, MINUTE};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};

use self::graph::Graph;
use self::lookup::Lookup;
use self::side::SideReader;
use self::unpaired::UnpairedSpans;
use crate::api::{Damage, DependencyAnswer};
use crate::error::ReadError;
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};

/// How long after its end a caller waits for its callee.
const UNPAIRED_TIMEOUT: Duration = Duration::from_secs(60);
/// How far beyond the range the other side of a call is searched.
const PAIRING_WINDOW: Duration = Duration::from_secs(10 * 60);

/// Computes the edges of the service map.
pub(crate) fn dependencies(
    core: &Core,
    tenant: &TenantId,
    range: TimeRange,
) -> Result<DependencyAnswer, ReadError> {
    let Some(state) = core.tenants.get(tenant) else { return Ok(DependencyAnswer::default()) };
    let range = whole_minutes(range);
    let view = state.view();
    let mut blocks: Vec<&Arc<BlockEntry>> =
        view.spans().filter(|entry| may_matter(&entry.row.meta, range)).collect();
    blocks.sort_by_key(|entry| entry.key.block);
    let damage = Damage::default();
    // Damaged blocks keep their index: every step skips them.
    let mut steps = Steps { core, blocks, graph: Graph::new(range), damage: &damage };
    let mut unpaired = UnpairedSpans::default();
    steps.each(|steps, at, entry| steps.add_complete(at, entry, &mut unpaired));
    unpaired.sort();
    steps.each(|steps, at, entry| unpaired.find_callers(&core.reader, &mut steps.graph, at, entry));
    let mut lookup = Lookup::new(tenant, &state, &view, &steps);
    lookup.find_callers(&mut steps, &mut unpaired);
    let mut answered = unpaired.join(&core.reader, &mut steps);
    lookup.find_consumers(&mut steps, &mut answered);
    steps.each(|steps, at, entry| steps.add_unanswered(entry, answered.rows(at)));
    Ok(DependencyAnswer { edges: steps.graph.finish(), partial: damage.blocks() > 0 || !lookup.is_whole() })
}

/// Extends a range to whole minutes.
fn whole_minutes(range: TimeRange) -> TimeRange {
    let up = |end: UnixNanos| end.0.div_ceil(MINUTE).checked_mul(MINUTE).map(UnixNanos);
    if range.end.is_some_and(|end| end <= range.start) {
        return range;
    }
    TimeRange { start: UnixNanos(range.start.0 / MINUTE * MINUTE), end: range.end.and_then(up) }
}

/// Whether a block may contain edges of the range, or spans to pair with those of the range.
fn may_matter(meta: &BlockMeta, range: TimeRange) -> bool {
    let reach = PAIRING_WINDOW.as_nanos() as u64;
    let last_end = meta.max_start.0.saturating_add(meta.max_duration);
    let end = range.end.map(|end| UnixNanos(end.0.saturating_add(reach)));
    let near = TimeRange { start: range.start.minus(PAIRING_WINDOW), end };
    near.touches(meta.min_start, UnixNanos(last_end))
}

/// The state that every step over the blocks uses.
struct Steps<'s> {
    core: &'s Core,
    blocks: Vec<&'s Arc<BlockEntry>>,
    graph: Graph,
    damage: &'s Damage,
}

// === impl Steps ===

impl Steps<'_> {
    /// Runs a step for each block. A block that cannot be read is reported and left out.
    fn each(&mut self, mut step: impl FnMut(&mut Self, usize, &Arc<BlockEntry>) -> Result<(), BlockError>) {
        for at in 0..self.blocks.len() {
            let entry = self.blocks[at];
            if let Err(error) = step(self, at, entry) {
                self.core.report_damage(entry, &error, self.damage);
            }
        }
    }

    /// Adds the complete edges of a block, and collects its unpaired callees.
    fn add_complete(
        &mut self,
        at: usize,
        entry: &Arc<BlockEntry>,
        unpaired: &mut UnpairedSpans,
    ) -> Result<(), BlockError> {
        let edges = self.core.reader.edges(entry)?;
        if !edges.open_callees.is_empty() {
            let traces = self.core.reader.traces(entry)?;
            unpaired.add(at, &edges, &traces);
        }
        if entry.row.meta.touches(&self.graph.range()) {
            let dictionary = self.core.reader.dictionary(entry)?;
            self.graph.add_rows(&edges, &edges.complete, &dictionary.services);
        }
        Ok(())
    }

    /// Adds the edges of a block's callers that no span has answered.
    fn add_unanswered(&mut self, entry: &Arc<BlockEntry>, answered: &[(u32, u32)]) -> Result<(), BlockError> {
        let meta = &entry.row.meta;
        if !meta.touches(&self.graph.range()) {
            return Ok(());
        }
        let edges = self.core.reader.edges(entry)?;
        let dictionary = self.core.reader.dictionary(entry)?;
        let last_end = meta.max_start.0.saturating_add(meta.max_duration);
        let all_have_waited = self.has_waited(entry, last_end);
        let is_answered = |row: u32| answered.binary_search_by_key(&row, |(_, row)| *row).is_ok();
        // Sums that contain an answered call are recomputed without it. They are few: those of calls to services that
        // send spans.
        let reduced: FxHashSet<Node> = match answered {
            [] => FxHashSet::default(),
            _ => edges
                .open_callers
                .iter()
                .filter(|open| is_answered(open.row))
                .map(|open| open.callee)
                .collect(),
        };
        let anew = |callee: Node, kind: EdgeKind| {
            reduced.contains(&callee) || (kind == EdgeKind::Virtual && !all_have_waited)
        };
        let whole = edges.tentative.iter().filter(|row| !anew(row.callee, row.kind));
        self.graph.add_rows(&edges, whole, &dictionary.services);
        let mut single = edges.open_callers.iter().filter(|open| anew(open.callee, open.kind)).peekable();
        if single.peek().is_none() {
            return Ok(());
        }
        let sides = SideReader::read(&self.core.reader, entry, &mut self.graph)?;
        for open in single {
            let caller = sides.side(open.row)?;
            let waits = open.kind == EdgeKind::Virtual && !self.has_waited(entry, caller.end());
            if !is_answered(open.row) && !waits {
                let callee = self.graph.name(edges.name(open.callee, &dictionary.services));
                let call = Exemplar { failed: caller.failed, duration: caller.duration, trace: caller.trace };
                self.graph.add_call((caller.service, callee, open.kind), caller.start, call);
            }
        }
        Ok(())
    }

    /// Whether a caller that ended at `end` is unlikely to be answered any more. If the clock of its service is wrong,
    /// it counts as unanswered once its window is over.
    fn has_waited(&self, entry: &BlockEntry, end: u64) -> bool {
        let then = self.core.clock.now().minus(UNPAIRED_TIMEOUT);
        end <= then.0 || entry.key.hour.end() <= then
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_minute_that_a_range_touches_counts() {
        let range = |start, end: Option<u64>| TimeRange { start: UnixNanos(start), end: end.map(UnixNanos) };
        let check = |given, wanted| assert_eq!(whole_minutes(given), wanted, "{given:?}");
        check(range(MINUTE + 1, Some(3 * MINUTE - 1)), range(MINUTE, Some(3 * MINUTE)));
        check(range(MINUTE, Some(3 * MINUTE)), range(MINUTE, Some(3 * MINUTE)));
        check(range(MINUTE - 1, None), range(0, None));
        check(range(5, Some(u64::MAX)), range(0, None));
        check(range(5, Some(5)), range(5, Some(5)));
        check(range(5, Some(4)), range(5, Some(4)));
    }
}
