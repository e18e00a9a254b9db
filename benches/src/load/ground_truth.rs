//! The ground truth of the corpus that was sent: traces, values and operations to query, and the right answers.

use fastrand::Rng;
use spandrel_benches::corpus::{Known, KnownOperation, KnownTrace};
use spandrel_proto::TraceId;

use crate::Failure;

/// Facts about all stored spans.
pub(crate) struct GroundTruth {
    /// Sorted by ID.
    traces: Vec<KnownTrace>,
    /// Indexes of the traces with about 20 spans,
    usual: Vec<u32>,
    /// and of those with an order.
    with_order: Vec<u32>,
    /// The traces that began last.
    pub(crate) newest: Vec<KnownTrace>,
    pub(crate) largest: KnownTrace,
    pub(crate) services: Vec<&'static str>,
    /// The number of all spans.
    pub(crate) spans: u64,
    /// Some operations, from the rarest to the most frequent.
    pub(crate) operations: Vec<KnownOperation>,
}

/// Sizes that count as a trace of 20 spans.
const USUAL: std::ops::RangeInclusive<u32> = 15..=25;
const NEWEST: usize = 20;
const OPERATIONS: usize = 40;

// === impl GroundTruth ===

impl GroundTruth {
    pub(crate) fn new(known: Known) -> Result<Self, Failure> {
        let Known { mut traces, mut operations, .. } = known;
        let newest = traces.iter().rev().take(NEWEST).copied().collect();
        traces.sort_unstable_by_key(|trace| trace.id);
        let places = |fits: &dyn Fn(&KnownTrace) -> bool| -> Vec<u32> {
            (0u32..).zip(&traces).filter(|(_, trace)| fits(trace)).map(|(at, _)| at).collect()
        };
        let spans = traces.iter().map(|trace| u64::from(trace.spans)).sum();
        let usual = places(&|trace| USUAL.contains(&trace.spans));
        let with_order = places(&|trace| trace.order.is_some());
        let largest = traces.iter().max_by_key(|trace| trace.spans).copied();
        let (Some(largest), false, false) = (largest, usual.is_empty(), with_order.is_empty()) else {
            return Err("too few spans to ask anything: send at least 10,000".into());
        };
        let mut services: Vec<_> = operations.iter().map(|operation| operation.service).collect();
        services.dedup();
        operations.sort_by_key(|operation| operation.spans);
        let step = operations.len().div_ceil(OPERATIONS).max(1);
        let operations = operations.into_iter().step_by(step).collect();
        Ok(Self { traces, usual, with_order, newest, largest, services, spans, operations })
    }

    /// The trace with an ID; `None` if the ID was not sent.
    pub(crate) fn trace(&self, id: TraceId) -> Option<&KnownTrace> {
        let at = self.traces.binary_search_by_key(&id, |trace| trace.id).ok()?;
        self.traces.get(at)
    }

    /// A random trace of about 20 spans.
    pub(crate) fn usual(&self, rng: &mut Rng) -> KnownTrace {
        self.traces[self.usual[rng.usize(0..self.usual.len())] as usize]
    }

    /// A random trace.
    pub(crate) fn any(&self, rng: &mut Rng) -> KnownTrace {
        self.traces[rng.usize(0..self.traces.len())]
    }

    /// A random trace with an order.
    pub(crate) fn with_order(&self, rng: &mut Rng) -> KnownTrace {
        self.traces[self.with_order[rng.usize(0..self.with_order.len())] as usize]
    }
}
