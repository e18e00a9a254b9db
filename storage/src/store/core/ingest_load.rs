//! How busy ingest is, so that merges can wait while it is.
//!
//! A merge that runs during ingest takes the CPU from appends; one that runs afterwards does not. `StoreConfig` bounds
//! how long merges may wait.

use parking_lot::Mutex;
use spandrel_proto::UnixNanos;

/// Measures which share of the time appends took lately.
#[derive(Debug, Default)]
pub(crate) struct IngestLoad {
    counting: Mutex<Counting>,
}

#[derive(Debug, Default)]
struct Counting {
    /// The beginning of the current period.
    since: UnixNanos,
    spent: u64,
    /// Whether ingest was busy in the last period.
    was_busy: bool,
}

const PERIOD: u64 = 200_000_000;

// === impl IngestLoad ===

impl IngestLoad {
    /// Adds the duration of an append.
    pub(crate) fn spent(&self, nanos: u64) {
        self.counting.lock().spent += nanos;
    }

    /// Whether appends take at least this share of a core, in percent.
    pub(crate) fn is_busy(&self, now: UnixNanos, percent: u64) -> bool {
        let mut counting = self.counting.lock();
        let elapsed = now.since(counting.since);
        // A new period also begins after the clock was set back.
        if elapsed >= PERIOD || now < counting.since {
            let was_busy = now >= counting.since
                && counting.spent.saturating_mul(100) >= elapsed.saturating_mul(percent);
            *counting = Counting { since: now, spent: 0, was_busy };
        }
        counting.was_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_decides_on_the_next() {
        let load = IngestLoad::default();
        let is_busy = |now| load.is_busy(now, 35);
        let at = |periods: u64| UnixNanos((10 + periods) * PERIOD);
        assert!(!is_busy(at(0)));
        load.spent(PERIOD / 2);
        assert!(!is_busy(UnixNanos(at(0).0 + PERIOD / 2)), "the period is not over");
        assert!(is_busy(at(1)));
        assert!(is_busy(UnixNanos(at(1).0 + 1)));
        assert!(!is_busy(at(2)), "nothing was appended since");
        load.spent(PERIOD);
        assert!(!is_busy(at(1)), "the clock was set back");
    }
}
