//! Retention by quota: above `--max-disk` the oldest windows are removed, of any tenant, until the rest fits.
//!
//! The quota bounds the bytes that the engine takes on disk. Deleting reclaims space only after a while, so before
//! another window is removed, deleted blocks have to be collected and the engine has to be compacted. The window that
//! is being written is not removed: if it alone is too large, `append` refuses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use spandrel_block::Hour;
use spandrel_proto::{TenantId, UnixNanos};

use super::Lifecycle;
use crate::engine::EngineError;
use crate::store::write::replace::RewriteError;

/// The state of enforcing the quota.
#[derive(Debug, Default)]
pub(crate) struct DiskQuota {
    exceeded: Mutex<Option<QuotaExceeded>>,
    /// Whether the engine was compacted since the last window was removed.
    compacted: AtomicBool,
    /// Windows that contain only pinned traces, so that they are not examined again.
    spent: Mutex<Vec<(TenantId, Hour)>>,
    /// The window at whose end buffers were last flushed.
    cut_at: Mutex<Option<Hour>>,
}

/// The store is above the quota, and no window may be removed.
#[derive(Debug, Clone, Copy)]
struct QuotaExceeded {
    /// Bytes above the quota.
    excess: u64,
    /// The window that was being written; it may be removed once it is no longer written to.
    hour: Hour,
    /// The time of this result; compaction is retried after a while.
    at: UnixNanos,
}

/// Time between two attempts to make room while no window may be removed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

// === impl DiskQuota ===

impl DiskQuota {
    fn waits(&self, hour: Hour, now: UnixNanos) -> bool {
        let exceeded = self.exceeded.lock().filter(|exceeded| exceeded.hour == hour);
        exceeded.is_some_and(|exceeded| exceeded.at > now.minus(RETRY_INTERVAL) && exceeded.at <= now)
    }

    /// Bytes above the quota that removing windows cannot reclaim while `hour` is being written.
    fn excess(&self, hour: Hour) -> u64 {
        self.exceeded.lock().filter(|exceeded| exceeded.hour == hour).map_or(0, |exceeded| exceeded.excess)
    }

    /// Drops the results about windows, which may have become smaller because a pin was removed.
    pub(super) fn forget_spent(&self) {
        self.spent.lock().clear();
        *self.exceeded.lock() = None;
    }
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Bytes above the quota that removing windows cannot reclaim now.
    pub(crate) fn quota_excess(&self) -> u64 {
        self.quota.excess(self.core.arrival_hour())
    }

    /// Enforces the quota by removing at most one window. Returns whether one was removed.
    pub(crate) fn enforce_quota(&self) -> Result<bool, RewriteError> {
        self.end_files_with_window()?;
        let (core, quota) = (&*self.core, &self.quota);
        let Some(limit) = core.config.max_disk_bytes else { return Ok(false) };
        let excess = || core.engine.stored_bytes().saturating_sub(limit);
        if excess() == 0 {
            *quota.exceeded.lock() = None;
            return Ok(false);
        }
        // Garbage is collected first, without a grace period; blocks that a reader holds are collected later.
        core.garbage.end_grace();
        if quota.waits(core.arrival_hour(), core.clock.now()) || !core.garbage.is_empty() {
            return Ok(false);
        }
        // Engines remove files with a delay, so the next round sees the result.
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

    /// The oldest window of all tenants, except for the one that is being written.
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

    /// Flushes the engine after each window, once all of it is merged: the engine removes a file when all its content
    /// is deleted, so files should not contain much of two windows.
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
