//! Background work that fails again and again, on a full disk say: told once, tried at intervals.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spandrel_proto::UnixNanos;

/// Whether one kind of work is failing, and since when it was last tried.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// When it last failed; zero while it works.
    last_failure: AtomicU64,
}

/// Work that failed rests so long.
const REST: Duration = Duration::from_secs(5);

// === impl Trouble ===

impl Trouble {
    /// Whether the work may be tried: it works, or has rested.
    pub(crate) fn is_over(&self, now: UnixNanos) -> bool {
        self.last_failure.load(Ordering::Relaxed) <= now.minus(REST).0
    }

    /// Takes note of how the work went: logs when it begins to fail and when it works again. Returns
    /// whether it failed.
    pub(crate) fn note<T, E: Display>(
        &self,
        result: Result<T, E>,
        now: UnixNanos,
        what: &'static str,
    ) -> bool {
        let failure = result.err();
        let before =
            self.last_failure.swap(if failure.is_some() { now.0.max(1) } else { 0 }, Ordering::Relaxed);
        match &failure {
            Some(error) if before == 0 => tracing::error!(%error, "{what}; it is tried again until it works"),
            Some(error) => tracing::debug!(%error, "{what} again"),
            None if before != 0 => tracing::info!("works again, after: {what}"),
            None => {}
        }
        failure.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_after_a_failure_and_not_after_a_success() {
        let (trouble, second) = (Trouble::default(), 1_000_000_000);
        assert!(trouble.is_over(UnixNanos(0)));
        assert!(trouble.note(Err::<(), _>("full"), UnixNanos(10 * second), "merge"));
        assert!(!trouble.is_over(UnixNanos(14 * second)));
        assert!(trouble.is_over(UnixNanos(15 * second)));
        assert!(!trouble.note(Ok::<_, &str>(()), UnixNanos(15 * second), "merge"));
        assert!(trouble.is_over(UnixNanos(15 * second)));
    }
}
