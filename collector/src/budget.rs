//! Counts the bytes that requests in flight hold, so that load turns into refusals and not memory.
//!
//! Where tenants share a server, each may hold at most [`SHARE`] times what is free: a tenant alone gets nearly all, and
//! another one still finds room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use spandrel_proto::TenantId;

use crate::refusal::Refusal;

/// The bytes that all requests together may hold (`maxInflightBytes`).
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
    /// What each tenant holds; absent where they are not told apart.
    tenants: Option<DashMap<TenantId, Arc<AtomicUsize>>>,
}

/// How many times the free bytes a tenant may hold.
pub(crate) const SHARE: usize = 8;

/// One request's share of the budget; dropping it returns the bytes.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    tenant: Option<(TenantId, Arc<AtomicUsize>)>,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max, tenants: None })
    }

    /// The same, shared out among tenants.
    pub(crate) fn shared(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max, tenants: Some(DashMap::new()) })
    }

    /// A share that holds nothing yet.
    pub(crate) fn reserve(self: &Arc<Self>, tenant: &TenantId) -> Reservation {
        let held = |tenants: &DashMap<TenantId, Arc<AtomicUsize>>| match tenants.get(tenant) {
            Some(held) => held.clone(),
            None => tenants.entry(tenant.clone()).or_default().clone(),
        };
        let tenant = self.tenants.as_ref().map(|tenants| (tenant.clone(), held(tenants)));
        Reservation { budget: self.clone(), tenant, bytes: 0 }
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
        let max = self.budget.max;
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        let mine = self.tenant.as_ref().map_or(0, |(_, held)| held.fetch_add(bytes, Ordering::Relaxed));
        self.bytes += bytes;
        let free = max.saturating_sub(before);
        let is_above_share = self.tenant.is_some() && mine.saturating_add(bytes) > free.saturating_mul(SHARE);
        if bytes > free || is_above_share {
            self.shrink(bytes);
            return Err(Refusal::Busy { limit: "maxInflightBytes", max });
        }
        Ok(())
    }

    /// Returns a part to the budget.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some((_, held)) = &self.tenant {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
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
        if let (Some((tenant, held)), Some(tenants)) = (self.tenant.take(), &self.budget.tenants) {
            drop(held);
            tenants.remove_if(&tenant, |_, held| Arc::strong_count(held) == 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_at_the_limit_and_gives_back() {
        let budget = Budget::new(100);
        let tenant = TenantId::default();
        let (mut first, mut second) = (budget.reserve(&tenant), budget.reserve(&tenant));
        first.grow(60).unwrap();
        assert!(matches!(second.grow(41), Err(Refusal::Busy { limit: "maxInflightBytes", max: 100 })));
        second.grow(40).unwrap();
        first.shrink(10);
        assert_eq!(budget.used(), 90);
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_tenant_that_takes_all_it_can_leaves_room_for_another() {
        let budget = Budget::shared(900);
        let (flood, quiet) = (TenantId::new("flood").unwrap(), TenantId::new("quiet").unwrap());
        let mut held = Vec::new();
        loop {
            let mut next = budget.reserve(&flood);
            match next.grow(10) {
                Ok(()) => held.push(next),
                Err(_) => break,
            }
        }
        assert_eq!(budget.used(), 800, "eight times what is free");
        let mut other = budget.reserve(&quiet);
        other.grow(90).unwrap();
        drop((held, other));
        assert_eq!((budget.used(), budget.tenants.as_ref().map(DashMap::len)), (0, Some(0)));
    }
}
