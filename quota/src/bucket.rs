//! How much of something an account may take in a second.
//!
//! A token bucket that may go into debt: a request passes while there is any token, and what it takes is known only
//! afterwards. So a request larger than a second's share passes too, and those after it wait the longer.

use std::time::{Duration, Instant};

/// The tokens of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate: u64,
    tokens: f64,
    filled: Instant,
}

/// The time for which unused tokens are kept.
const BURST: f64 = 1.0;
/// The longest time that a sender is told to wait: later, it may ask again.
const MAX_WAIT: Duration = Duration::from_secs(60);

// === impl Bucket ===

impl Bucket {
    /// A full bucket that gets `rate` tokens a second.
    pub(crate) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, tokens: rate as f64 * BURST, filled: now }
    }

    /// How long until there is a token; `None` if there is one.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        if self.tokens > 0.0 {
            return None;
        }
        if self.rate == 0 {
            return Some(MAX_WAIT);
        }
        // A bucket at zero waits for a whole token.
        let seconds = (1.0 - self.tokens) / self.rate as f64;
        Some(Duration::from_secs_f64(seconds.min(MAX_WAIT.as_secs_f64())))
    }

    /// Takes tokens, whether they are there or not.
    pub(crate) fn take(&mut self, tokens: u64, now: Instant) {
        self.fill(now);
        self.tokens -= tokens as f64;
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + seconds * self.rate as f64).min(self.rate as f64 * BURST);
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_large_request_passes_and_the_next_ones_wait_for_it() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        assert_eq!(bucket.wait(now), None);
        bucket.take(30, now);
        assert_eq!(bucket.wait(now), Some(Duration::from_millis(2_100)));
        assert_eq!(bucket.wait(now + Duration::from_millis(2_100)), None);
    }

    #[test]
    fn nothing_passes_a_rate_of_zero() {
        let now = Instant::now();
        assert_eq!(Bucket::new(0, now).wait(now + Duration::from_secs(9)), Some(MAX_WAIT));
    }

    proptest! {
        /// However requests come, no more passes than the rate, one burst and the last request.
        #[test]
        fn the_rate_holds(rate in 1u64..1_000, steps in prop::collection::vec((0u64..500, 1u64..2_000), 1..200)) {
            let begin = Instant::now();
            let (mut bucket, mut now, mut taken) = (Bucket::new(rate, begin), begin, 0);
            for (pause, size) in steps {
                now += Duration::from_millis(pause);
                if bucket.wait(now).is_none() {
                    taken += size;
                    bucket.take(size, now);
                }
                let allowed = rate as f64 * (BURST + now.duration_since(begin).as_secs_f64());
                prop_assert!(taken as f64 <= allowed + 2_000.0, "{taken} of {allowed}");
            }
        }
    }
}
