//! Points in time, as nanoseconds since the Unix epoch.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z. Any clock is accepted: both 1970 and 2500 are valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct UnixNanos(pub u64);

/// A half-open range of time: `start` is in it, `end` is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeRange {
    /// The first nanosecond in the range.
    pub start: UnixNanos,
    /// The first nanosecond after the range; `None` has no upper bound.
    pub end: Option<UnixNanos>,
}

impl UnixNanos {
    /// The latest time that fits into 64 bits.
    pub const MAX: Self = Self(u64::MAX);

    /// How long after `earlier`; zero if it was before.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time moved back, at most to the epoch.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start: UnixNanos(0), end: None };

    /// Whether a point lies in the range.
    pub fn contains(&self, at: UnixNanos) -> bool {
        at >= self.start && self.end.is_none_or(|end| at < end)
    }

    /// Whether any point of the closed interval `[first, last]` lies in the range.
    pub fn touches(&self, first: UnixNanos, last: UnixNanos) -> bool {
        last >= self.start && self.end.is_none_or(|end| first < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open() {
        let range = TimeRange { start: UnixNanos(10), end: Some(UnixNanos(20)) };
        assert!(range.contains(UnixNanos(10)));
        assert!(!range.contains(UnixNanos(20)));
        assert!(range.touches(UnixNanos(0), UnixNanos(10)));
        assert!(range.touches(UnixNanos(19), UnixNanos(30)));
        assert!(!range.touches(UnixNanos(20), UnixNanos(30)));
        assert!(TimeRange::ALL.contains(UnixNanos::MAX));
    }
}
