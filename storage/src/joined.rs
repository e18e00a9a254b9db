//! Answers about several tenants put together from the answers about each.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use spandrel_proto::TraceId;

use crate::api::{
    AggregateAnswer, Damage, Dependency, DependencyAnswer, Point, SearchAnswer, Series, TraceScan,
    TraceSpans, TraceSummary,
};
use crate::error::ReadError;
use crate::plan::{Position, SearchPlan};
use crate::scanned::Scanned;
use crate::store::MAX_MATCHED_IDS;
use crate::table::FoldAnswer;

// === impl TraceSpans ===

impl TraceSpans {
    /// The spans of all of these; `None` if there are none. They are in memory, unless there is one alone.
    pub fn joined(mut all: Vec<Self>) -> Result<Option<Self>, ReadError> {
        if all.len() < 2 {
            return Ok(all.pop());
        }
        let stored = all.iter().map(|spans| spans.stored).sum();
        let damage = Damage::of_parts(all.iter().map(Self::damage).collect());
        let mut spans = Vec::new();
        for span in all.into_iter().flatten() {
            let span = span?;
            spans.push((span.order()?, span));
        }
        spans.sort_by_key(|(order, _)| *order);
        let spans = spans.into_iter().map(|(_, span)| Ok(span));
        Ok(Some(Self { stored, spans: Box::new(spans), damage }))
    }
}

// === impl TraceScan ===

impl<'s> TraceScan<'s> {
    /// One scan after the other.
    pub fn joined(scans: Vec<Self>) -> Self {
        let traces_at_most = scans.iter().map(|scan| scan.traces_at_most).sum();
        let damaged_blocks = scans.iter().map(|scan| scan.damaged_blocks).sum();
        let damage = Damage::of_parts(scans.iter().map(Self::damage).collect());
        let traces = scans.into_iter().flat_map(|scan| scan.traces);
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
    /// The first traces of all of these, in the order of the plan. Those of one ID are summed up, at the place of the
    /// first.
    pub fn joined(plan: &SearchPlan, all: Vec<Self>) -> Self {
        let mut joined = Self::default();
        let (mut found, mut next): (Vec<_>, Option<Position>) = (Vec::new(), None);
        // Commits have one sequence for all tenants, so that the earliest snapshot is one for all.
        let snapshot = all.iter().map(|answer| answer.snapshot).min().unwrap_or_default();
        for answer in all {
            // Nothing is known of what lies behind the page that ends first.
            next = next.into_iter().chain(answer.next).max_by_key(|next| (next.key, next.trace));
            joined.partial |= answer.partial;
            joined.scanned = joined.scanned.and(answer.scanned);
            found.extend(answer.keys.into_iter().zip(answer.traces));
        }
        if let Some(next) = &next {
            let is_known = |key: u64, id: TraceId| (key, id) >= (next.key, next.trace);
            let on_page: HashSet<TraceId> = found
                .iter()
                .filter(|(key, trace)| is_known(*key, trace.id))
                .map(|(_, trace)| trace.id)
                .collect();
            // The part that another tenant has of a trace belongs to it, wherever that part ranks.
            found.retain(|(_, trace)| on_page.contains(&trace.id));
        }
        found.sort_by_key(|(key, trace)| Reverse((*key, trace.id)));
        let mut places: HashMap<TraceId, usize> = HashMap::new();
        for (key, trace) in found {
            match places.entry(trace.id) {
                Entry::Occupied(place) => joined.traces[*place.get()].add(trace),
                Entry::Vacant(place) => {
                    place.insert(joined.traces.len());
                    joined.traces.push(trace);
                    joined.keys.push(key);
                }
            }
        }
        let has_next = next.is_some() || joined.traces.len() > plan.limit;
        joined.traces.truncate(plan.limit);
        joined.keys.truncate(plan.limit);
        let is_full = joined.traces.len() == plan.limit;
        let last = joined.keys.last().zip(joined.traces.last()).filter(|_| is_full);
        let last = last.map(|(key, trace)| Position { key: *key, trace: trace.id, snapshot });
        // Where traces of a page have gone in the meantime, the page behind it may still have some.
        joined.next = last.or(next).filter(|_| has_next).map(|last| Position { snapshot, ..last });
        joined.snapshot = snapshot;
        joined
    }
}

// === impl TraceSummary ===

impl TraceSummary {
    /// Adds the spans of another part of the trace. The part that starts first names the trace.
    pub fn add(&mut self, other: Self) {
        let end = (self.start.0 + self.duration).max(other.start.0 + other.duration);
        if other.start < self.start {
            self.root_service = other.root_service;
            self.root_name = other.root_name;
            self.status = other.status;
            self.error_code = other.error_code;
            self.start = other.start;
        }
        self.duration = end - self.start.0;
        self.span_count += other.span_count;
        self.error_count += other.error_count;
        self.matched_span_count += other.matched_span_count;
        self.matched_span_ids.extend(other.matched_span_ids);
        self.matched_span_ids.truncate(MAX_MATCHED_IDS);
        for service in other.services {
            match self.services.binary_search_by(|known| known.name.cmp(&service.name)) {
                Ok(at) => {
                    self.services[at].span_count += service.span_count;
                    self.services[at].error_count += service.error_count;
                }
                Err(at) => self.services.insert(at, service),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_scan_knows_the_damage_of_all_to_the_end() {
        let (first, last) = (Damage::default(), Damage::default());
        let scan = |damage: &Damage| TraceScan::from_traces(Vec::new()).with_damage(damage.clone());
        let mut joined = TraceScan::joined(vec![scan(&first), scan(&last)]);
        first.add();
        assert!(joined.next().is_none());
        last.add();
        assert_eq!((joined.damage().blocks(), joined.damage().new_blocks()), (2, 2));
        assert_eq!(joined.traces_at_most, Some(0));
        let joined = TraceScan::joined(vec![scan(&first).uncounted(), scan(&last)]);
        assert_eq!(joined.traces_at_most, None);
    }
}
