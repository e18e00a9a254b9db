//! Recognises requests that were sent before, so that resending does not store spans twice.
//!
//! An exporter that never got its response sends the same bytes again. The collector remembers stored requests by the
//! hash of their bytes for the resend window. While the first of equal requests is being stored, a resend waits for its
//! outcome. Failures are not remembered: a resend after one is a new attempt.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::{DashMap, Entry};
use parking_lot::Mutex;
use spandrel_proto::TenantId;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::refusal::Refusal;

/// The current time; tests set it by hand.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Whether storing a request succeeded. Rejected spans are not part of it: they follow from the bytes alone, so
/// decoding a resend rejects the same spans.
pub(crate) type Outcome = Result<(), Refusal>;

/// Remembers stored requests for a time and up to a number.
pub(crate) struct RequestDedup {
    requests: DashMap<Key, State>,
    /// Stored requests, the oldest first.
    order: Mutex<VecDeque<(Instant, Key)>>,
    window: Duration,
    max_entries: usize,
    clock: Clock,
}

/// A hash of a request's decompressed bytes and their format, by which resends are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u128);

/// Computes a fingerprint of bytes that come in pieces.
#[derive(Default)]
pub(crate) struct Fingerprinter(Xxh3Default);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    body: Fingerprint,
}

enum State {
    /// Being stored; the senders are resends that wait for the outcome.
    Pending(Vec<oneshot::Sender<Outcome>>),
    Stored {
        at: Instant,
    },
}

/// Whether a request has to be stored.
pub(crate) enum Lookup {
    /// It has; the ticket takes the outcome.
    First(Ticket),
    /// It is stored.
    Stored,
    /// An equal request is being stored; the receiver gets its outcome.
    Pending(oneshot::Receiver<Outcome>),
}

/// Belongs to the first of equal requests. Dropping it without an outcome counts as a failure.
pub(crate) struct Ticket {
    dedup: Arc<RequestDedup>,
    key: Option<Key>,
}

// === impl Fingerprint ===

impl Fingerprint {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }

    /// That of a request in a format of a receiver: two formats may find different spans in the same bytes.
    pub(crate) fn in_format(self, receiver: &str, format: &str) -> Self {
        let mut hash = Xxh3Default::new();
        for part in [receiver.as_bytes(), b"/", format.as_bytes(), b"/", &self.0.to_le_bytes()] {
            hash.update(part);
        }
        Self(hash.digest128())
    }
}

impl Fingerprinter {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.digest128())
    }
}

// === impl RequestDedup ===

impl RequestDedup {
    /// `None` when the window is zero or no entry may be kept: resends are not recognised then.
    pub(crate) fn new(window: Duration, max_entries: usize, clock: Clock) -> Option<Arc<Self>> {
        if window.is_zero() || max_entries == 0 {
            return None;
        }
        let order = Mutex::default();
        Some(Arc::new(Self { requests: DashMap::new(), order, window, max_entries, clock }))
    }

    /// Looks a request up, and records it as pending if it is new.
    pub(crate) fn check(self: &Arc<Self>, tenant: &TenantId, body: Fingerprint) -> Lookup {
        let key = Key { tenant: tenant.clone(), body };
        match self.requests.entry(key) {
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                entry.insert(State::Pending(Vec::new()));
                Lookup::First(Ticket { dedup: self.clone(), key: Some(key) })
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                State::Pending(waiting) => {
                    let (sender, receiver) = oneshot::channel();
                    waiting.push(sender);
                    Lookup::Pending(receiver)
                }
                State::Stored { at } if self.is_recent(*at, (self.clock)()) => Lookup::Stored,
                expired => {
                    *expired = State::Pending(Vec::new());
                    Lookup::First(Ticket { dedup: self.clone(), key: Some(entry.key().clone()) })
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
                // The connection of a waiting resend may be closed.
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
            // If the request was stored again meanwhile, a later entry in `order` belongs to it.
            self.requests.remove_if(oldest, |_, state| matches!(state, State::Stored { at: of } if of == at));
            order.pop_front();
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// Passes the outcome to the resends that wait for it, and remembers a success.
    pub(crate) fn settle(mut self, outcome: &Outcome) {
        if let Some(key) = self.key.take() {
            self.dedup.settle(key, outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.dedup.settle(key, &Err(Refusal::Broken));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Fixture {
        dedup: Arc<RequestDedup>,
        seconds: Arc<AtomicU64>,
        tenant: TenantId,
    }

    impl Fixture {
        fn new(window: u64, max_entries: usize) -> Self {
            let seconds = Arc::new(AtomicU64::new(0));
            let (start, now) = (Instant::now(), seconds.clone());
            let clock: Clock = Arc::new(move || start + Duration::from_secs(now.load(Ordering::Relaxed)));
            let dedup = RequestDedup::new(Duration::from_secs(window), max_entries, clock).unwrap();
            Self { dedup, seconds, tenant: TenantId::default() }
        }

        fn check(&self, body: &str) -> Lookup {
            self.dedup.check(&self.tenant, Fingerprint::of(body.as_bytes()))
        }

        fn store(&self, body: &str) {
            match self.check(body) {
                Lookup::First(ticket) => ticket.settle(&Ok(())),
                _ => panic!("{body} was seen before"),
            }
        }

        fn is_known(&self, body: &str) -> bool {
            match self.check(body) {
                Lookup::Stored => true,
                Lookup::First(ticket) => {
                    ticket.settle(&Err(Refusal::Draining));
                    false
                }
                Lookup::Pending(_) => panic!("{body} is under way"),
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
        assert_eq!((fixture.dedup.requests.len(), fixture.dedup.order.lock().len()), (1, 1));
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
        assert!(matches!(fixture.dedup.check(&other, Fingerprint::of(b"a")), Lookup::First(_)));
    }

    #[test]
    fn formats_are_apart() {
        let body = Fingerprint::of(b"a");
        let formats = [("zipkin", "json"), ("zipkin", "json-v1"), ("jaeger", "json"), ("otlp", "json")];
        let all: HashSet<Fingerprint> =
            formats.iter().map(|(receiver, format)| body.in_format(receiver, format)).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(body.in_format("zipkin", "json"), Fingerprint::of(b"a").in_format("zipkin", "json"));
    }

    #[test]
    fn a_resend_waits_for_the_first() {
        let fixture = Fixture::new(10, 100);
        for outcome in [Ok(()), Err(Refusal::Draining)] {
            let Lookup::First(first) = fixture.check("x") else { panic!("seen before") };
            let Lookup::Pending(mut second) = fixture.check("x") else { panic!("not under way") };
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
        let Lookup::First(first) = fixture.check("x") else { panic!("seen before") };
        let Lookup::Pending(mut second) = fixture.check("x") else { panic!("not under way") };
        drop(first);
        assert!(matches!(second.try_recv(), Ok(Err(Refusal::Broken))));
        assert!(!fixture.is_known("x"));
    }
}
