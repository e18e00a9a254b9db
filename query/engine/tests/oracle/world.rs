//! The same spans in stores of every state, and as the plain evaluator sees them.

use spandrel_engine::{Budget, Limits};
use spandrel_storage::BlockTraceStore;

use crate::generate::spans::trace_id;
use crate::plain::trace::{Sent, Trace};
use crate::store::{STATES, State, store};

/// Spans in batches, in all their forms.
pub struct World {
    pub batches: Vec<Vec<Sent>>,
    pub traces: Vec<Trace>,
    pub stores: Vec<(State, BlockTraceStore)>,
}

/// Traces have IDs from 1 up to this one.
const MAX_TRACES: u64 = 8;

// === impl World ===

impl World {
    pub fn of(batches: Vec<Vec<Sent>>) -> Self {
        let stores = STATES.into_iter().map(|state| (state, store(&batches, state))).collect();
        Self { traces: traces_of(&batches), batches, stores }
    }
}

/// The traces of some spans, by ID.
pub fn traces_of(batches: &[Vec<Sent>]) -> Vec<Trace> {
    let spans: Vec<&Sent> = batches.iter().flatten().collect();
    let of_trace = |trace| -> Vec<&Sent> {
        spans.iter().copied().filter(|sent| sent.span.trace_id == trace_id(trace)).collect()
    };
    let traces = (1..=MAX_TRACES).map(of_trace).filter(|spans| !spans.is_empty());
    traces.map(|spans| Trace::of(&spans)).collect()
}

pub fn budget() -> Budget {
    Budget::new(Limits { threads: 2, ..Limits::default() }, Default::default())
}
