//! How long spans live: retention by age, rule and quota, pins, and the deletions that users request.

pub(crate) mod deletion;
pub(crate) mod disk_quota;
pub(crate) mod expired_rollups;
pub(crate) mod pins;
pub(crate) mod retention;
pub(crate) mod rules;

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use self::deletion::Deletions;
use self::disk_quota::DiskQuota;
use self::pins::Pins;
use self::retention::RetentionProgress;
use crate::error::LifecycleError;
use crate::store::core::Core;

/// Decides which spans are removed.
pub(crate) struct Lifecycle {
    core: Arc<Core>,
    /// The lifecycle lock: retention, deletion and pinning exclude each other.
    lock: Mutex<()>,
    pins: Pins,
    retention: RetentionProgress,
    quota: DiskQuota,
    deletions: Deletions,
}

// === impl Lifecycle ===

impl Lifecycle {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            lock: Mutex::default(),
            pins: Pins::default(),
            retention: RetentionProgress::default(),
            quota: DiskQuota::default(),
            deletions: Deletions::default(),
        }
    }

    /// Takes the lifecycle lock: retention, deletion and pinning exclude each other.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock()
    }

    /// Like [`Self::lock`], for a network request, which occupies one of the places for queries and must not wait for a
    /// whole window. Fails with `Busy` after `cleaning_patience`.
    pub(crate) fn try_lock(&self) -> Result<MutexGuard<'_, ()>, LifecycleError> {
        self.lock.try_lock_for(self.core.config.cleaning_patience).ok_or(LifecycleError::Busy)
    }
}
