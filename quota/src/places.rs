//! Places for what only so many may do at once, shared out among tenants.
//!
//! A free place goes to the tenant that holds the fewest, and among these to the one that has waited the longest; a
//! tenant alone gets all but a quarter, so that another one finds a place at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use spandrel_proto::TenantId;
use tokio::sync::oneshot;

/// So many places. Cloning shares them.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    total: usize,
    /// The most places of one tenant.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// By tenant; without those that hold none.
    held: FxHashMap<TenantId, usize>,
    waiting: VecDeque<(TenantId, oneshot::Sender<Place>)>,
}

/// A place, until it is dropped.
pub struct Place {
    places: Places,
    tenant: TenantId,
}

/// Whether tenants are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Among,
    Alone,
}

// === impl Places ===

impl Places {
    /// Places that tenants share.
    pub fn shared(total: usize) -> Self {
        Self::new(total, Sharing::Among)
    }

    /// Places for a server with one tenant, who may take all of them.
    pub fn of_one(total: usize) -> Self {
        Self::new(total, Sharing::Alone)
    }

    fn new(total: usize, sharing: Sharing) -> Self {
        let total = total.max(1);
        let most = match sharing {
            Sharing::Alone => total,
            Sharing::Among => total - total.div_ceil(4).min(total - 1),
        };
        Self(Arc::new(Shared { total, most, state: Mutex::default() }))
    }

    /// Waits for a place; `None` if there is none in time.
    pub async fn take(&self, tenant: &TenantId, within: Duration) -> Option<Place> {
        let waiting = {
            let mut state = self.0.state.lock();
            if state.waiting.is_empty() && self.has_place_for(&state, tenant) {
                return Some(self.grant(&mut state, tenant.clone()));
            }
            let (sender, waiting) = oneshot::channel();
            state.waiting.push_back((tenant.clone(), sender));
            // Those that wait may all have their share already.
            let granted = self.share_out(&mut state);
            drop(state);
            drop(granted);
            waiting
        };
        tokio::time::timeout(within, waiting).await.ok()?.ok()
    }

    /// Free places.
    pub fn free(&self) -> usize {
        self.0.total - self.0.state.lock().taken
    }

    fn has_place_for(&self, state: &State, tenant: &TenantId) -> bool {
        state.taken < self.0.total && state.held.get(tenant).copied().unwrap_or_default() < self.0.most
    }

    fn grant(&self, state: &mut State, tenant: TenantId) -> Place {
        state.taken += 1;
        *state.held.entry(tenant.clone()).or_default() += 1;
        Place { places: self.clone(), tenant }
    }

    /// Grants free places to those who wait. Returns places whose taker has left meanwhile: dropping them takes the
    /// lock.
    fn share_out(&self, state: &mut State) -> Vec<Place> {
        let mut left = Vec::new();
        state.waiting.retain(|(_, sender)| !sender.is_closed());
        loop {
            let held = |tenant: &TenantId| state.held.get(tenant).copied().unwrap_or_default();
            let next = state.waiting.iter().enumerate();
            let next = next.filter(|(_, (tenant, _))| self.has_place_for(state, tenant));
            let Some((next, _)) = next.min_by_key(|(_, (tenant, _))| held(tenant)) else { return left };
            let Some((tenant, sender)) = state.waiting.remove(next) else { return left };
            let place = self.grant(state, tenant);
            left.extend(sender.send(place).err());
        }
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let Shared { state, .. } = &*self.places.0;
        let mut state = state.lock();
        state.taken -= 1;
        if let Some(held) = state.held.get_mut(&self.tenant) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.tenant);
            }
        }
        let left = self.places.share_out(&mut state);
        drop(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn now(places: &Places, name: &str) -> Option<Place> {
        match poll(pin!(places.take(&tenant(name), Duration::ZERO))) {
            Poll::Ready(place) => place,
            Poll::Pending => None,
        }
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_leaves_a_quarter_to_others() {
        let places = Places::shared(8);
        let held: Vec<Place> = std::iter::from_fn(|| now(&places, "flood")).collect();
        assert_eq!((held.len(), places.free()), (6, 2));
        let other = now(&places, "quiet");
        assert!(other.is_some());
        drop((held, other));
        assert_eq!(places.free(), 8);
        let alone = Places::of_one(8);
        assert_eq!(std::iter::from_fn(|| now(&alone, "flood")).collect::<Vec<_>>().len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_place_goes_to_the_tenant_that_holds_the_fewest() {
        let places = Places::shared(4);
        let mut held: Vec<Place> = std::iter::from_fn(|| now(&places, "flood")).collect();
        held.extend(now(&places, "second"));
        assert_eq!(places.free(), 0);
        let long = Duration::from_secs(9);
        let (flood, quiet) = (tenant("flood"), tenant("quiet"));
        let mut more = Box::pin(places.take(&flood, long));
        let mut first = Box::pin(places.take(&quiet, long));
        assert!(poll(more.as_mut()).is_pending() && poll(first.as_mut()).is_pending());
        held.remove(0);
        let Poll::Ready(Some(granted)) = poll(first.as_mut()) else { panic!("it holds none") };
        assert!(poll(more.as_mut()).is_pending(), "it came first, and holds two");
        drop(granted);
        assert!(poll(more.as_mut()).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_not_lost_with_a_taker_who_left() {
        let places = Places::shared(1);
        let held = now(&places, "a");
        assert!(places.take(&tenant("b"), Duration::from_millis(1)).await.is_none(), "in time");
        {
            let other = tenant("b");
            let mut left = Box::pin(places.take(&other, Duration::from_secs(9)));
            assert!(poll(left.as_mut()).is_pending());
            drop(held);
        }
        assert_eq!(places.free(), 1);
        assert!(now(&places, "c").is_some());
    }
}
