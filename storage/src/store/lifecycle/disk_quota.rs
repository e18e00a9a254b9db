//! Retention by quota: above `--max-disk` the oldest windows go, of whatever tenant, until the rest fits.
//!
//! What counts is what the engine takes on disk. Deleting gives that back only after a while, so blocks that are
//! deleted already count as gone, and before another window goes the engine is asked to compact. The window that is
//! being written does not go: when it alone is too large, `append` refuses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_block::Hour;
use spandrel_proto::{TenantId, UnixNanos};

use super::Lifecycle;
use crate::engine::EngineError;
use crate::store::write::replace::RewriteError;

/// How far the store is with keeping to its quota.
#[derive(Debug, Default)]
pub(crate) struct DiskQuota {
    exceeded: Mutex<Option<QuotaExceeded>>,
    /// The engine was asked to compact since the last window went.
    compacted: AtomicBool,
    /// Windows that hold only pinned traces, so that they are not looked at again.
    spent: Mutex<Vec<(TenantId, Hour)>>,
    /// The window after which buffers were written out last.
    cut_at: Mutex<Option<Hour>>,
}

/// Above the quota, and no window was left that may go.
#[derive(Debug, Clone, Copy)]
struct QuotaExceeded {
    /// Bytes above it.
    excess: u64,
    /// The window that was being written: once it is not any more, it may go.
    hour: Hour,
    /// When that was found: compacting is tried again after a while.
    at: UnixNanos,
}

/// Between two attempts to make room where no window may go.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

// === impl DiskQuota ===

impl DiskQuota {
    fn waits(&self, hour: Hour, now: UnixNanos) -> bool {
        let exceeded = self.exceeded.lock().filter(|exceeded| exceeded.hour == hour);
        exceeded.is_some_and(|exceeded| exceeded.at > now.minus(RETRY_INTERVAL) && exceeded.at <= now)
    }

    /// Bytes above the quota that no window can give back while this is the window that is being written.
    fn excess(&self, hour: Hour) -> u64 {
        self.exceeded.lock().filter(|exceeded| exceeded.hour == hour).map_or(0, |exceeded| exceeded.excess)
    }

    /// Windows may have become smaller: a pin is gone.
    pub(super) fn forget_spent(&self) {
        self.spent.lock().clear();
        *self.exceeded.lock() = None;
    }
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Bytes above the quota that no window can give back now.
    pub(crate) fn quota_excess(&self) -> u64 {
        self.quota.excess(self.core.arrival_hour())
    }

    /// Brings the store below its quota, by one window at the most. Returns whether one went.
    pub(crate) fn enforce_quota(&self) -> Result<bool, RewriteError> {
        self.end_files_with_window()?;
        let (core, quota) = (&*self.core, &self.quota);
        let Some(limit) = core.config.max_disk_bytes else { return Ok(false) };
        let excess = || core.engine.stored_bytes().saturating_sub(limit);
        if excess() == 0 {
            *quota.exceeded.lock() = None;
            return Ok(false);
        }
        // Garbage goes first: at once, but for what a reader holds, which will go by itself.
        core.garbage.end_grace();
        if quota.waits(core.arrival_hour(), core.clock.now()) || !core.garbage.is_empty() {
            return Ok(false);
        }
        // Engines remove files a little later: the next round sees what that brings.
        if !quota.compacted.swap(true, Ordering::Relaxed) {
            core.engine.compact()?;
            return Ok(false);
        }
        quota.compacted.store(false, Ordering::Relaxed);
        let (left, hour) = (excess(), core.arrival_hour());
        while let Some((tenant, hour)) = self.oldest_window() {
            if self.drop_window(&tenant, hour)? {
                tracing::warn!(%tenant, hour = hour.0, over = left, "the oldest window went: the store is above --max-disk");
                metrics::counter!("spandrel_store_max_disk_windows_total").increment(1);
                return Ok(true);
            }
            quota.spent.lock().push((tenant, hour));
        }
        *quota.exceeded.lock() = Some(QuotaExceeded { excess: left, hour, at: core.clock.now() });
        Ok(false)
    }

    /// The oldest window of all tenants, but for the one that is being written.
    fn oldest_window(&self) -> Option<(TenantId, Hour)> {
        let now = self.core.arrival_hour();
        let spent = self.quota.spent.lock();
        let tenants = self.core.tenants.all();
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
    fn end_files_with_window(&self) -> Result<(), EngineError> {
        let now = self.core.arrival_hour();
        let mut cut_at = self.quota.cut_at.lock();
        let any_fresh = || {
            self.core.tenants.all().iter().any(|(_, state)| {
                state.view().iter().any(|entry| entry.row.meta.level == 0 && entry.key.hour < now)
            })
        };
        match *cut_at {
            None => *cut_at = Some(now),
            Some(before) if before < now && !any_fresh() => {
                self.core.engine.flush()?;
                *cut_at = Some(now);
            }
            Some(_) => {}
        }
        Ok(())
    }
}
