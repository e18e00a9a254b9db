//! The bound of the disk: above it the oldest windows go, of whatever tenant, until what is left fits.
//!
//! What counts is what the engine takes on disk. Deleting gives that back only after a while, so what
//! is deleted already counts as gone, and before another window goes the engine is asked to tidy up.
//! The window that is being written does not go: when it alone is too large, `append` refuses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_block::Hour;
use spandrel_proto::{TenantId, UnixNanos};

use crate::store::BlockTraceStore;
use crate::store::lifecycle::retention;
use crate::store::write::rewrite::RewriteError;

/// What is known of the bound.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    stuck: Mutex<Option<Stuck>>,
    /// The engine was asked to tidy up since a window went last.
    tidied: AtomicBool,
    /// Windows of which nothing but pins is left, so that they are not looked at again.
    spent: Mutex<Vec<(TenantId, Hour)>>,
    /// The window after which buffers were written out last.
    cut_at: Mutex<Option<Hour>>,
}

/// Above the bound, and nothing was left that may go.
#[derive(Debug, Clone, Copy)]
struct Stuck {
    /// Bytes above it.
    excess: u64,
    /// The window that was being written: once it is not any more, it may go.
    hour: Hour,
    /// When that was found: tidying up is tried again after a while.
    at: UnixNanos,
}

/// Between two attempts to make room where nothing may go.
const REST: Duration = Duration::from_secs(5);

// === impl Limit ===

impl Limit {
    fn rests(&self, hour: Hour, now: UnixNanos) -> bool {
        let stuck = self.stuck.lock().filter(|stuck| stuck.hour == hour);
        stuck.is_some_and(|stuck| stuck.at > now.minus(REST) && stuck.at <= now)
    }

    /// Bytes above the bound that cannot be helped while this is the window that is being written.
    pub(crate) fn excess(&self, hour: Hour) -> u64 {
        self.stuck.lock().filter(|stuck| stuck.hour == hour).map_or(0, |stuck| stuck.excess)
    }

    /// Windows may have become smaller: a pin is gone.
    pub(crate) fn forget_spent(&self) {
        self.spent.lock().clear();
        *self.stuck.lock() = None;
    }
}

/// Brings the store below its bound, by one window at the most. Returns whether one went.
pub(crate) fn enforce(store: &BlockTraceStore) -> Result<bool, RewriteError> {
    cut_files(store)?;
    let Some(limit) = store.config.max_disk_bytes else { return Ok(false) };
    let excess = || store.engine.stored_bytes().saturating_sub(limit);
    if excess() == 0 {
        *store.limit.stuck.lock() = None;
        return Ok(false);
    }
    // What has left the catalog goes first: at once, but for what somebody still reads, which will go by itself.
    store.doomed.hurry();
    if store.limit.rests(store.arrival_hour(), store.clock.now()) || !store.doomed.is_empty() {
        return Ok(false);
    }
    // Engines remove files a little later: what that brings is seen in the next round.
    if !store.limit.tidied.swap(true, Ordering::Relaxed) {
        store.engine.reclaim(true)?;
        return Ok(false);
    }
    store.limit.tidied.store(false, Ordering::Relaxed);
    let (left, hour) = (excess(), store.arrival_hour());
    while let Some((tenant, hour)) = oldest(store) {
        if retention::drop_window(store, &tenant, hour)? {
            tracing::warn!(%tenant, hour = hour.0, over = left, "the oldest window went: the store is above --max-disk");
            metrics::counter!("spandrel_store_max_disk_windows_total").increment(1);
            return Ok(true);
        }
        store.limit.spent.lock().push((tenant, hour));
    }
    *store.limit.stuck.lock() = Some(Stuck { excess: left, hour, at: store.clock.now() });
    Ok(false)
}

/// The oldest window of all tenants, but for the one that is being written.
fn oldest(store: &BlockTraceStore) -> Option<(TenantId, Hour)> {
    let now = store.arrival_hour();
    let spent = store.limit.spent.lock();
    let tenants = store.tenants.read();
    let windows = tenants.iter().flat_map(|(tenant, state)| {
        state.view().hours().into_iter().map(|hour| (tenant.clone(), hour)).collect::<Vec<_>>()
    });
    windows
        .filter(|(_, hour)| *hour < now)
        .filter(|window| !spent.contains(window))
        .min_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)))
}

/// Ends the engine's files with the window, once all of it is merged: a file goes when everything in
/// it may, and so none should hold much of two windows.
fn cut_files(store: &BlockTraceStore) -> Result<(), RewriteError> {
    let now = store.arrival_hour();
    let mut cut_at = store.limit.cut_at.lock();
    let states: Vec<_> = store.tenants.read().values().cloned().collect();
    let waits = || {
        let fresh = |state: &std::sync::Arc<crate::store::core::view::TenantState>| {
            state.view().iter().any(|entry| entry.row.meta.level == 0 && entry.key.hour < now)
        };
        states.iter().any(fresh)
    };
    match *cut_at {
        None => *cut_at = Some(now),
        Some(before) if before < now && !waits() => {
            store.engine.flush()?;
            *cut_at = Some(now);
        }
        Some(_) => {}
    }
    Ok(())
}
