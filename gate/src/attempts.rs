//! Counts failed attempts by address, and tells when one has made too many.
//!
//! Each address has a bucket of attempts that fills again with time. Keys cannot be guessed anyway; the bound keeps
//! passwords from being guessed, and logs from being flooded.

use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Failed attempts of addresses, or of anything else that fails.
pub(crate) struct Attempts<K = Origin> {
    burst: u32,
    every: Duration,
    max_entries: usize,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    /// When the bucket will be full again.
    full_at: FxHashMap<K, Instant>,
    /// The bucket of all addresses that found no place in the table.
    others_full_at: Option<Instant>,
}

/// An IPv4 address, or the network of an IPv6 address: one client has 2^64 addresses of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

/// Addresses that are remembered, about 40 bytes each.
const MAX_ENTRIES: usize = 10_000;

// === impl Attempts ===

impl<K: Hash + Eq> Attempts<K> {
    /// Allows `burst` failed attempts at once, and one more `every` so often.
    pub(crate) fn new(burst: u32, every: Duration) -> Self {
        let table = Table { full_at: FxHashMap::default(), others_full_at: None };
        Self { burst, every, max_entries: MAX_ENTRIES, table: Mutex::new(table) }
    }

    /// How long the next attempt has to wait; `None` if it need not.
    pub(crate) fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let table = self.table.lock();
        let full_at =
            table.full_at.get(key).copied().or(table.others_full_at.filter(|_| table.is_full(self)));
        self.wait_until(full_at?, now)
    }

    /// Counts a failed attempt. Returns how long the next one has to wait, if it has to.
    pub(crate) fn fail(&self, key: K, now: Instant) -> Option<Duration> {
        let mut table = self.table.lock();
        if table.is_full(self) && !table.full_at.contains_key(&key) {
            table.full_at.retain(|_, full_at| *full_at > now);
        }
        let has_place = !table.is_full(self) || table.full_at.contains_key(&key);
        let slot = match has_place {
            true => table.full_at.entry(key).or_insert(now),
            false => table.others_full_at.get_or_insert(now),
        };
        // No bucket gets emptier than empty: an address is never shut out for longer than one burst takes to refill.
        let most = now + self.every * self.burst;
        *slot = ((*slot).max(now) + self.every).min(most);
        let full_at = *slot;
        self.wait_until(full_at, now)
    }

    fn wait_until(&self, full_at: Instant, now: Instant) -> Option<Duration> {
        let missing = full_at.saturating_duration_since(now);
        let one_left = self.every * (self.burst - 1).max(1);
        (missing > one_left).then(|| missing - one_left)
    }
}

impl<K> Table<K> {
    fn is_full(&self, limits: &Attempts<K>) -> bool {
        self.full_at.len() >= limits.max_entries
    }
}

// === impl Origin ===

impl Origin {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
            address => Self(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(3);

    #[test]
    fn an_address_that_failed_too_often_waits_and_no_other_does() {
        let (attempts, now) = (Attempts::new(3, EVERY), Instant::now());
        assert_eq!((attempts.fail(1, now), attempts.fail(1, now)), (None, None));
        assert_eq!(attempts.fail(1, now), Some(EVERY));
        assert_eq!(attempts.fail(1, now), Some(EVERY), "waiting does not grow");
        assert_eq!(attempts.wait(&1, now), Some(EVERY));
        assert_eq!(attempts.wait(&1, now + EVERY), None);
        assert_eq!(attempts.fail(1, now + EVERY), Some(EVERY));
        assert_eq!(attempts.wait(&2, now), None);
    }

    #[test]
    fn a_full_table_forgets_who_may_try_again_and_bounds_the_rest_together() {
        let (mut attempts, now) = (Attempts::new(2, EVERY), Instant::now());
        attempts.max_entries = 2;
        attempts.fail(1, now);
        attempts.fail(2, now);
        assert_eq!((attempts.fail(3, now), attempts.fail(4, now)), (None, Some(EVERY)));
        assert_eq!(attempts.wait(&5, now), Some(EVERY));
        assert_eq!(attempts.fail(6, now + EVERY), None, "the first two have gone");
        assert_eq!(attempts.table.lock().full_at.len(), 1);
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let origin = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:2"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:1.2.3.4"), origin("1.2.3.4"));
        assert_ne!(origin("1.2.3.4"), origin("1.2.3.5"));
    }
}
