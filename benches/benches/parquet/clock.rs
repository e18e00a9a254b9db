//! Measures times. Long work is measured by the CPU time of this thread, which other load does not change; work that is
//! too short for the scheduler's counter is repeated, and the quickest time counts.

use std::time::{Duration, Instant};

/// Each query is repeated this often, with nothing read before.
const TIMES: usize = 3;

/// Runs work and returns its CPU time.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = cpu();
    let result = work();
    (result, cpu().saturating_sub(begun))
}

/// Runs queries and returns the median of their times, without `prepare`.
pub fn asked<Q, P>(questions: &[Q], prepare: impl Fn() -> P, ask: impl Fn(&P, &Q)) -> Duration {
    let quickest = |question: &Q| {
        let lap = |_| {
            let prepared = prepare();
            let begun = Instant::now();
            ask(&prepared, question);
            begun.elapsed()
        };
        (0..TIMES).map(lap).min().unwrap_or_default()
    };
    let mut all: Vec<Duration> = questions.iter().map(quickest).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The CPU time of this thread so far, as the scheduler counts it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux that counts");
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds"))
}
