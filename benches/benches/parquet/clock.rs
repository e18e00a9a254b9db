//! What something takes. Long work is measured by the CPU time of this thread, which a busy machine
//! does not change; what is over before the scheduler counts it, by the quickest of a few times.

use std::time::{Duration, Instant};

/// A question is asked so often; each time it finds everything unread.
const TIMES: usize = 3;

/// Runs something and gives the CPU time that it took.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = cpu();
    let result = work();
    (result, cpu().saturating_sub(begun))
}

/// Asks questions, and gives the median of what they take; `prepare` is not part of it.
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

/// What this thread has run so far, as the scheduler counts it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux that counts");
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds"))
}
