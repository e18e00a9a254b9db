//! Retry backoff of background jobs that fail repeatedly, for example on a full disk: logs the first failure and the
//! recovery, and retries every 5 s.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spandrel_proto::UnixNanos;

/// The state of a job: whether it fails, and when it was last tried.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// When it last failed; zero while it succeeds.
    last_failure: AtomicU64,
}

/// Time between two attempts of a failing job.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

// === impl Backoff ===

impl Backoff {
    /// Whether the job may be tried: it succeeds, or its last failure is long enough ago.
    pub(crate) fn may_try(&self, now: UnixNanos) -> bool {
        self.last_failure.load(Ordering::Relaxed) <= now.minus(RETRY_INTERVAL).0
    }

    /// Records a result, and logs when the job begins to fail and when it succeeds again. Returns whether it failed.
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
    fn waits_after_a_failure_and_not_after_a_success() {
        let (backoff, second) = (Backoff::default(), 1_000_000_000);
        assert!(backoff.may_try(UnixNanos(0)));
        assert!(backoff.note(Err::<(), _>("full"), UnixNanos(10 * second), "merge"));
        assert!(!backoff.may_try(UnixNanos(14 * second)));
        assert!(backoff.may_try(UnixNanos(15 * second)));
        assert!(!backoff.note(Ok::<_, &str>(()), UnixNanos(15 * second), "merge"));
        assert!(backoff.may_try(UnixNanos(15 * second)));
    }
}
