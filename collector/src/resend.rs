//! Recognises a request that was sent before, so that resending does not store twice.
//!
//! An exporter that never saw its answer sends the same bytes again. For a while the outcome of
//! each stored request is remembered by the hash of its bytes; while the first is still under way
//! a resend waits for its outcome. Failures are not remembered: a resend after one is a new attempt.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::{DashMap, Entry};
use parking_lot::Mutex;
use spandrel_proto::TenantId;
use tokio::sync::oneshot;

use crate::refusal::Refusal;

/// Tells the time; tests move it by hand.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// How storing a request ended. What was left out of it is no part of this: that follows from the
/// bytes alone, so that a resend finds the same when it is decoded.
pub(crate) type Outcome = Result<(), Refusal>;

/// Remembers requests for a time and up to a number.
pub(crate) struct Resends {
    requests: DashMap<Key, State>,
    /// Settled requests, the oldest first.
    order: Mutex<VecDeque<(Instant, Key)>>,
    window: Duration,
    max_entries: usize,
    clock: Clock,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    body: u128,
}

enum State {
    /// Under way, with those who wait for it besides the first.
    Pending(Vec<oneshot::Sender<Outcome>>),
    Stored {
        at: Instant,
    },
}

/// Whether a request has to be stored.
pub(crate) enum Sighting {
    /// It has; the ticket wants to know how it ends.
    First(Ticket),
    /// It is stored.
    Stored,
    /// It is under way.
    Pending(oneshot::Receiver<Outcome>),
}

/// Stands for the first of equal requests.
pub(crate) struct Ticket {
    resends: Arc<Resends>,
    key: Option<Key>,
}

// === impl Resends ===

impl Resends {
    /// `None` when the window is zero: nothing is recognised then.
    pub(crate) fn new(window: Duration, max_entries: usize, clock: Clock) -> Option<Arc<Self>> {
        if window.is_zero() || max_entries == 0 {
            return None;
        }
        let order = Mutex::default();
        Some(Arc::new(Self { requests: DashMap::new(), order, window, max_entries, clock }))
    }

    /// Looks a request up, and notes it as under way when it is new.
    pub(crate) fn sight(self: &Arc<Self>, tenant: &TenantId, body: &[u8]) -> Sighting {
        let key = Key { tenant: tenant.clone(), body: xxhash_rust::xxh3::xxh3_128(body) };
        match self.requests.entry(key) {
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                entry.insert(State::Pending(Vec::new()));
                Sighting::First(Ticket { resends: self.clone(), key: Some(key) })
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                State::Pending(waiting) => {
                    let (sender, receiver) = oneshot::channel();
                    waiting.push(sender);
                    Sighting::Pending(receiver)
                }
                State::Stored { at } if self.is_recent(*at, (self.clock)()) => Sighting::Stored,
                expired => {
                    *expired = State::Pending(Vec::new());
                    Sighting::First(Ticket { resends: self.clone(), key: Some(entry.key().clone()) })
                }
            },
        }
    }

    fn is_recent(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) < self.window
    }

    fn settle(&self, key: Key, outcome: &Outcome) {
        let now = (self.clock)();
        let before = match outcome {
            Ok(()) => self.requests.insert(key.clone(), State::Stored { at: now }),
            Err(_) => self.requests.remove(&key).map(|(_, state)| state),
        };
        if let Some(State::Pending(waiting)) = before {
            for sender in waiting {
                // Who went away does not need the answer.
                let _ = sender.send(outcome.clone());
            }
        }
        if outcome.is_ok() {
            self.remember(now, key);
        }
    }

    fn remember(&self, now: Instant, key: Key) {
        let mut order = self.order.lock();
        order.push_back((now, key));
        while let Some((at, oldest)) = order.front() {
            if order.len() <= self.max_entries && self.is_recent(*at, now) {
                break;
            }
            // An entry that was stored anew meanwhile has a later place in line.
            self.requests.remove_if(oldest, |_, state| matches!(state, State::Stored { at: of } if of == at));
            order.pop_front();
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// Tells those who wait, and remembers a success.
    pub(crate) fn settle(mut self, outcome: &Outcome) {
        if let Some(key) = self.key.take() {
            self.resends.settle(key, outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.resends.settle(key, &Err(Refusal::Broken));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Fixture {
        resends: Arc<Resends>,
        seconds: Arc<AtomicU64>,
        tenant: TenantId,
    }

    impl Fixture {
        fn new(window: u64, max_entries: usize) -> Self {
            let seconds = Arc::new(AtomicU64::new(0));
            let (start, now) = (Instant::now(), seconds.clone());
            let clock: Clock = Arc::new(move || start + Duration::from_secs(now.load(Ordering::Relaxed)));
            let resends = Resends::new(Duration::from_secs(window), max_entries, clock).unwrap();
            Self { resends, seconds, tenant: TenantId::default() }
        }

        fn sight(&self, body: &str) -> Sighting {
            self.resends.sight(&self.tenant, body.as_bytes())
        }

        fn store(&self, body: &str) {
            match self.sight(body) {
                Sighting::First(ticket) => ticket.settle(&Ok(())),
                _ => panic!("{body} was seen before"),
            }
        }

        fn is_known(&self, body: &str) -> bool {
            match self.sight(body) {
                Sighting::Stored => true,
                Sighting::First(ticket) => {
                    ticket.settle(&Err(Refusal::Draining));
                    false
                }
                Sighting::Pending(_) => panic!("{body} is under way"),
            }
        }
    }

    #[test]
    fn knows_a_request_within_the_window() {
        let fixture = Fixture::new(10, 100);
        fixture.store("a");
        fixture.seconds.store(9, Ordering::Relaxed);
        assert!(fixture.is_known("a"));
        assert!(!fixture.is_known("b"));
        fixture.seconds.store(10, Ordering::Relaxed);
        assert!(!fixture.is_known("a"));
    }

    #[test]
    fn memory_is_bounded() {
        let fixture = Fixture::new(10, 3);
        for body in ["a", "b", "c", "d"] {
            fixture.store(body);
        }
        assert!(!fixture.is_known("a"));
        assert!(["b", "c", "d"].iter().all(|body| fixture.is_known(body)));
        fixture.seconds.store(60, Ordering::Relaxed);
        fixture.store("e");
        assert_eq!((fixture.resends.requests.len(), fixture.resends.order.lock().len()), (1, 1));
    }

    #[test]
    fn stored_anew_is_remembered_anew() {
        let fixture = Fixture::new(10, 100);
        fixture.store("a");
        fixture.seconds.store(11, Ordering::Relaxed);
        fixture.store("a");
        fixture.seconds.store(20, Ordering::Relaxed);
        fixture.store("b");
        assert!(fixture.is_known("a"));
    }

    #[test]
    fn tenants_are_apart() {
        let fixture = Fixture::new(10, 100);
        fixture.store("a");
        let other = TenantId::new("other").unwrap();
        assert!(matches!(fixture.resends.sight(&other, b"a"), Sighting::First(_)));
    }

    #[test]
    fn a_resend_waits_for_the_first() {
        let fixture = Fixture::new(10, 100);
        for outcome in [Ok(()), Err(Refusal::Draining)] {
            let Sighting::First(first) = fixture.sight("x") else { panic!("seen before") };
            let Sighting::Pending(mut second) = fixture.sight("x") else { panic!("not under way") };
            assert!(second.try_recv().is_err());
            first.settle(&outcome);
            assert_eq!(format!("{:?}", second.try_recv().unwrap()), format!("{outcome:?}"));
            assert_eq!(fixture.is_known("x"), outcome.is_ok());
            fixture.seconds.fetch_add(60, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_lost_ticket_lets_nobody_wait() {
        let fixture = Fixture::new(10, 100);
        let Sighting::First(first) = fixture.sight("x") else { panic!("seen before") };
        let Sighting::Pending(mut second) = fixture.sight("x") else { panic!("not under way") };
        drop(first);
        assert!(matches!(second.try_recv(), Ok(Err(Refusal::Broken))));
        assert!(!fixture.is_known("x"));
    }
}
