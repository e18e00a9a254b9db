//! Answers about several tenants put together from the answers about each.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::api::{
    AggregateAnswer, Damage, Dependency, DependencyAnswer, Point, SearchAnswer, Series, StoredSpan,
    TraceScan, TraceSpans, TraceSummary,
};
use crate::error::ReadError;
use crate::plan::{Order, Position, SearchPlan};
use crate::scanned::Scanned;
use crate::table::FoldAnswer;

// === impl TraceSpans ===

impl TraceSpans {
    /// The spans of all of these; `None` if there are none. They are in memory, unless there is one alone.
    pub fn joined(mut all: Vec<Self>) -> Result<Option<Self>, ReadError> {
        if all.len() < 2 {
            return Ok(all.pop());
        }
        let (stored, damage) = (all.iter().map(|spans| spans.stored).sum(), Damage::default());
        let mut spans = Vec::new();
        for part in all {
            let lost = part.damage();
            for span in part {
                let span = span?;
                spans.push((span.order()?, span));
            }
            (0..lost.blocks()).for_each(|_| damage.add());
        }
        spans.sort_by_key(|(order, _)| *order);
        let spans = spans.into_iter().map(|(_, span)| Ok(span));
        Ok(Some(Self { stored, spans: Box::new(spans), damage }))
    }

    /// The spans that a function returns for these.
    pub fn filter_map(
        self,
        mut change: impl FnMut(StoredSpan) -> Result<Option<StoredSpan>, ReadError> + Send + 'static,
    ) -> Self {
        let Self { stored, spans, damage } = self;
        let spans = spans.filter_map(move |span| span.and_then(&mut change).transpose());
        Self { stored, spans: Box::new(spans), damage }
    }
}

// === impl TraceScan ===

impl<'s> TraceScan<'s> {
    /// One scan after the other.
    pub fn joined(scans: Vec<Self>) -> Self {
        let traces_at_most = scans.iter().map(|scan| scan.traces_at_most).sum();
        let damaged_blocks = scans.iter().map(|scan| scan.damaged_blocks).sum();
        let damage = Damage::default();
        let counted = damage.clone();
        let traces = scans.into_iter().flat_map(move |scan| {
            let (counted, lost) = (counted.clone(), scan.damage.clone());
            let mut noted = 0;
            scan.traces.inspect(move |_| {
                let blocks = lost.blocks();
                (noted..blocks).for_each(|_| counted.add());
                noted = blocks;
            })
        });
        Self { traces_at_most, damaged_blocks, traces: Box::new(traces), damage }
    }

    /// The traces that a function returns for these.
    pub fn filter_map(
        self,
        mut change: impl FnMut(TraceSpans) -> Result<Option<TraceSpans>, ReadError> + Send + 's,
    ) -> Self {
        let Self { traces_at_most, damaged_blocks, traces, damage } = self;
        let traces = traces.filter_map(move |trace| match trace {
            Ok((id, spans)) => change(spans).map(|spans| spans.map(|spans| (id, spans))).transpose(),
            Err(error) => Some(Err(error)),
        });
        Self { traces_at_most, damaged_blocks, traces: Box::new(traces), damage }
    }
}

// === impl SearchAnswer ===

impl SearchAnswer {
    /// The first traces of all of these, in the order of the plan.
    pub fn joined(plan: &SearchPlan, all: Vec<Self>) -> Self {
        let mut joined = Self::default();
        let mut has_next = false;
        // Commits have one sequence for all tenants, so that the earliest snapshot is one for all.
        let mut snapshot = u64::MAX;
        for answer in all {
            has_next |= answer.next.is_some();
            snapshot = snapshot.min(answer.snapshot);
            joined.partial |= answer.partial;
            joined.scanned = joined.scanned.and(answer.scanned);
            joined.traces.extend(answer.traces);
        }
        joined.traces.sort_by_key(|trace| Reverse((rank(plan.order, trace), trace.id)));
        has_next |= joined.traces.len() > plan.limit;
        joined.traces.truncate(plan.limit);
        joined.snapshot = snapshot;
        joined.next = joined.traces.last().filter(|_| has_next).map(|last| Position {
            key: rank(plan.order, last),
            trace: last.id,
            snapshot,
        });
        joined
    }
}

/// The key by which a search sorts a trace: larger ones come first.
fn rank(order: Order, trace: &TraceSummary) -> u64 {
    match order {
        Order::Newest => trace.start.0,
        Order::Oldest => u64::MAX - trace.start.0,
        Order::Longest => trace.duration,
        Order::Shortest => u64::MAX - trace.duration,
        Order::MostSpans => trace.span_count,
        Order::MostErrors => trace.error_count,
    }
}

// === impl FoldAnswer, Scanned ===

impl FoldAnswer {
    /// The work of both. The snapshot is the earlier one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            partial: self.partial || other.partial,
            snapshot: self.snapshot.min(other.snapshot),
            scanned: self.scanned.and(other.scanned),
        }
    }
}

impl Scanned {
    fn and(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            blocks_read: self.blocks_read + other.blocks_read,
            spans: self.spans + other.spans,
        }
    }
}

// === impl AggregateAnswer ===

impl AggregateAnswer {
    /// Adds up series of the same labels.
    pub fn joined(all: Vec<Self>) -> Self {
        let mut joined = Self::default();
        let mut series: BTreeMap<_, Vec<Point>> = BTreeMap::new();
        for answer in all {
            joined.partial |= answer.partial;
            joined.estimated |= answer.estimated;
            for Series { service, operation, kind, points } in answer.series {
                let known = series.entry((service, operation, kind)).or_default();
                *known = both(std::mem::take(known), points);
            }
        }
        let series = series.into_iter();
        let series =
            series.map(|((service, operation, kind), points)| Series { service, operation, kind, points });
        joined.series = series.collect();
        joined
    }
}

/// The points of two series, each sorted by time.
fn both(one: Vec<Point>, other: Vec<Point>) -> Vec<Point> {
    if one.is_empty() {
        return other;
    }
    let mut points: BTreeMap<_, Point> = one.into_iter().map(|point| (point.time, point)).collect();
    for point in other {
        points.entry(point.time).and_modify(|known| known.add(&point)).or_insert(point);
    }
    points.into_values().collect()
}

// === impl DependencyAnswer ===

impl DependencyAnswer {
    /// Adds up edges between the same services.
    pub fn joined(all: Vec<Self>) -> Self {
        let mut joined = Self::default();
        let mut edges: BTreeMap<_, Dependency> = BTreeMap::new();
        for answer in all {
            joined.partial |= answer.partial;
            for edge in answer.edges {
                let key = (edge.caller.clone(), edge.callee.clone(), edge.kind);
                match edges.get_mut(&key) {
                    Some(known) => known.totals.merge(&edge.totals),
                    None => drop(edges.insert(key, edge)),
                }
            }
        }
        joined.edges = edges.into_values().collect();
        joined
    }
}
