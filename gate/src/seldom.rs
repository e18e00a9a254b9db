//! Lets something happen now and then: the first caller after each interval does it, all others go on.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When it happened last.
pub(crate) struct Seldom {
    last: Mutex<Instant>,
    every: Duration,
}

// === impl Seldom ===

impl Seldom {
    /// Counts from now.
    pub(crate) fn new(every: Duration) -> Self {
        Self { last: Mutex::new(Instant::now()), every }
    }

    /// Whether this caller has to do it. Never waits for another one.
    pub(crate) fn is_due(&self) -> bool {
        let Some(mut last) = self.last.try_lock() else { return false };
        let is_due = last.elapsed() >= self.every;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }

    /// Lets the interval end.
    #[cfg(test)]
    pub(crate) fn end(&self) {
        *self.last.lock() -= self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_of_each_interval_does_it() {
        assert!(!Seldom::new(Duration::from_secs(3_600)).is_due(), "it was done a moment ago");
        let always = Seldom::new(Duration::ZERO);
        assert!(always.is_due() && always.is_due());
        let hourly = Seldom::new(Duration::from_secs(3_600));
        hourly.end();
        assert_eq!((hourly.is_due(), hourly.is_due()), (true, false));
        let held = always.last.lock();
        assert!(!always.is_due(), "another one is about to");
        drop(held);
    }
}
