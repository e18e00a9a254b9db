//! The counts of an edge, and its exemplars.

use serde::{Deserialize, Serialize};

use crate::exemplar::Exemplar;
use crate::sketch::LatencySketch;

/// Count, errors, latency and exemplars of the calls of one edge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EdgeTotals {
    /// Number of calls.
    pub count: u64,
    /// Calls that failed on either side.
    pub errors: u64,
    /// Their durations, in nanoseconds.
    pub latency: LatencySketch,
    /// The worst calls, each of a different trace, worst first.
    exemplars: Vec<Exemplar>,
}

/// Exemplars kept for an edge.
const EXEMPLARS: usize = 3;

// === impl EdgeTotals ===

impl EdgeTotals {
    /// Adds one call.
    pub fn add(&mut self, call: Exemplar) {
        self.count += 1;
        self.errors += u64::from(call.failed);
        self.latency.add(call.duration);
        self.show(call);
    }

    /// Adds the totals of another row of the same edge.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
        other.exemplars.iter().for_each(|call| self.show(*call));
    }

    /// The worst calls, at most three, each of a different trace, worst first.
    pub fn exemplars(&self) -> &[Exemplar] {
        &self.exemplars
    }

    /// Keeps the worst call of each trace, and the worst traces; the order of calls does not matter.
    fn show(&mut self, call: Exemplar) {
        if self.exemplars.len() == EXEMPLARS && self.exemplars.last().is_some_and(|last| call <= *last) {
            return;
        }
        match self.exemplars.iter_mut().find(|known| known.trace == call.trace) {
            Some(known) => *known = call.max(*known),
            None => self.exemplars.push(call),
        }
        self.exemplars.sort_unstable_by(|a, b| b.cmp(a));
        self.exemplars.truncate(EXEMPLARS);
    }

    /// Whether the counts agree with each other.
    pub(crate) fn is_consistent(&self) -> bool {
        self.errors <= self.count
            && self.latency.checked_count() == Some(self.count)
            && self.exemplars.len() <= EXEMPLARS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use spandrel_proto::TraceId;

    use super::*;

    fn totals(calls: &[(bool, u8, u8)]) -> EdgeTotals {
        let mut totals = EdgeTotals::default();
        for (failed, duration, trace) in calls {
            let trace = TraceId::from_bytes([*trace; 16]);
            totals.add(Exemplar { failed: *failed, duration: u64::from(*duration), trace });
        }
        totals
    }

    proptest! {
        #[test]
        fn merging_equals_adding_all(
            a in prop::collection::vec((any::<bool>(), any::<u8>(), 0u8..6), 0..12),
            b in prop::collection::vec((any::<bool>(), any::<u8>(), 0u8..6), 0..12),
        ) {
            let (mut left, mut right) = (totals(&a), totals(&b));
            left.merge(&totals(&b));
            right.merge(&totals(&a));
            let all: Vec<_> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(&left, &totals(&all));
            prop_assert!(left.is_consistent());
        }
    }

    #[test]
    fn failed_calls_are_shown_before_slow_ones() {
        let shown = totals(&[(false, 90, 1), (true, 5, 2), (false, 95, 1), (false, 10, 3), (false, 11, 4)]);
        let traces: Vec<u8> = shown.exemplars().iter().map(|call| call.trace.as_bytes()[0]).collect();
        assert_eq!(traces, [2, 1, 4]);
    }
}
