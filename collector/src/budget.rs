//! Counts the bytes that requests in flight hold, so that load turns into refusals and not memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::refusal::Refusal;

/// The bytes that all requests together may hold (`maxInflightBytes`).
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

/// One request's share of the budget; dropping it returns the bytes.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// A share that holds nothing yet.
    pub(crate) fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// The bytes that all requests hold together.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

// === impl Reservation ===

impl Reservation {
    /// Reserves more, or refuses: waiting would keep the bytes that this request holds already.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let Budget { used, max } = &*self.budget;
        if used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > *max {
            used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refusal::Busy { limit: "maxInflightBytes", max: *max });
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Returns a part to the budget.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }

    /// Grows or shrinks the share to `bytes`.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Refusal> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_at_the_limit_and_gives_back() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (budget.reserve(), budget.reserve());
        first.grow(60).unwrap();
        assert!(matches!(second.grow(41), Err(Refusal::Busy { limit: "maxInflightBytes", max: 100 })));
        second.grow(40).unwrap();
        first.shrink(10);
        assert_eq!(budget.used(), 90);
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }
}
