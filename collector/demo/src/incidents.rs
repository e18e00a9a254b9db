//! Incidents of the shop: a failing payment instance and a slow database. They recur at fixed times, so that two
//! minutes of watching show them all.

use std::time::{Duration, SystemTime};

const PERIOD: u64 = 120;
/// Seconds of each period in which one payment instance fails most requests.
const PAYMENT_FAILS: std::ops::Range<u64> = 20..40;
/// Seconds of each period in which many database queries are slow.
const DATABASE_SLOW: std::ops::Range<u64> = 70..85;

/// The incidents since `epoch`.
pub(crate) struct Incidents {
    epoch: SystemTime,
}

impl Incidents {
    pub(crate) fn since(epoch: SystemTime) -> Self {
        Self { epoch }
    }

    /// The payment instance that fails at this time, if any; another one each period.
    pub(crate) fn failing_payment_instance(&self, at: SystemTime, instances: usize) -> Option<usize> {
        let seconds = self.elapsed(at).as_secs();
        PAYMENT_FAILS.contains(&(seconds % PERIOD)).then_some((seconds / PERIOD) as usize % instances)
    }

    pub(crate) fn database_is_slow(&self, at: SystemTime) -> bool {
        DATABASE_SLOW.contains(&(self.elapsed(at).as_secs() % PERIOD))
    }

    fn elapsed(&self, at: SystemTime) -> Duration {
        at.duration_since(self.epoch).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_payment_instance_fails_for_20_seconds_of_every_two_minutes() {
        let incidents = Incidents::since(SystemTime::UNIX_EPOCH);
        let failing = |second| {
            incidents.failing_payment_instance(SystemTime::UNIX_EPOCH + Duration::from_secs(second), 4)
        };
        assert_eq!((0..120).filter(|second| failing(*second) == Some(0)).count(), 20);
        assert_eq!((120..240).filter(|second| failing(*second) == Some(1)).count(), 20);
        assert_eq!((0..240).filter(|second| failing(*second).is_some()).count(), 40);
    }
}
