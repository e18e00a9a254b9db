//! What rules have done: counted once a request is answered, for `/metrics` and the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, counter};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// What one rule has done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Spans that satisfied its condition.
    pub matched: u64,
    /// Of these, the ones that it dropped.
    pub dropped: u64,
    /// Of these, the ones that it changed, or whose resource or scope it changed.
    pub changed: u64,
    /// Bytes of the dropped spans.
    pub dropped_bytes: u64,
}

/// The counters of one rule. They go on when the rules are replaced by others of which one has the same name.
pub(crate) struct Counts {
    numbers: [AtomicU64; 4],
    metrics: [Counter; 4],
}

/// The counters of all rules that there were, by name.
#[derive(Default)]
pub struct Registry(Mutex<FxHashMap<String, Arc<Counts>>>);

/// More names are not remembered: rules above that share the counters of one.
const MAX_NAMES: usize = 10_000;

// === impl Done ===

impl Done {
    fn numbers(&self) -> [u64; 4] {
        [self.matched, self.dropped, self.changed, self.dropped_bytes]
    }
}

// === impl Counts ===

impl Counts {
    fn new(rule: &str) -> Self {
        let of = |name: &'static str| counter!(name, "rule" => rule.to_owned());
        Self {
            numbers: Default::default(),
            metrics: [
                of("spandrel_clean_matched_spans_total"),
                of("spandrel_clean_dropped_spans_total"),
                of("spandrel_clean_changed_spans_total"),
                of("spandrel_clean_dropped_bytes_total"),
            ],
        }
    }

    pub(crate) fn add(&self, done: &Done) {
        for ((number, metric), more) in self.numbers.iter().zip(&self.metrics).zip(done.numbers()) {
            if more > 0 {
                number.fetch_add(more, Ordering::Relaxed);
                metric.increment(more);
            }
        }
    }

    pub(crate) fn done(&self) -> Done {
        let [matched, dropped, changed, dropped_bytes] =
            self.numbers.each_ref().map(|number| number.load(Ordering::Relaxed));
        Done { matched, dropped, changed, dropped_bytes }
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.done().fmt(f)
    }
}

// === impl Registry ===

impl Registry {
    pub(crate) fn of(&self, rule: &str) -> Arc<Counts> {
        let mut known = self.0.lock();
        let name = if known.len() < MAX_NAMES { rule } else { "others" };
        known.entry(name.to_owned()).or_insert_with(|| Arc::new(Counts::new(name))).clone()
    }
}
