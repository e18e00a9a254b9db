//! Measured times, summarised by percentiles of real values.

use std::time::Duration;

use serde::Serialize;

/// Percentiles of times, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Latencies {
    pub(crate) count: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

// === impl Latencies ===

impl Latencies {
    /// Summarises times; zeros if there are none.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at_rank = |q: f64| {
            let rank = (q * times.len() as f64).ceil() as usize;
            times.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self {
            count: times.len(),
            p50_ms: at_rank(0.50),
            p95_ms: at_rank(0.95),
            p99_ms: at_rank(0.99),
            max_ms: at_rank(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let latencies = Latencies::of((1..=200).rev().map(Duration::from_millis).collect());
        let expected = Latencies { count: 200, p50_ms: 100.0, p95_ms: 190.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(latencies, expected);
        assert_eq!(Latencies::of(Vec::new()), Latencies::default());
    }
}
