//! All commits to the engine go through here, and get their numbers here, as blocks do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use spandrel_block::{BlockId, Hour};
use spandrel_proto::UnixNanos;

use super::Core;
use super::sequences::Sequences;
use crate::engine::{Change, EngineError};
use crate::error::AppendError;

/// Gives IDs to blocks and numbers to commits, and refuses writes once one failed.
pub(crate) struct Committer {
    next_block: AtomicU64,
    pub(crate) sequences: Sequences,
    last_hour: Mutex<Hour>,
    /// Why a write failed; the store takes no writes until a restart.
    poison: RwLock<Option<String>>,
    closed: AtomicBool,
}

// === impl Committer ===

impl Default for Committer {
    fn default() -> Self {
        Self {
            next_block: AtomicU64::new(1),
            sequences: Sequences::default(),
            last_hour: Mutex::new(Hour(0)),
            poison: RwLock::default(),
            closed: AtomicBool::new(false),
        }
    }
}

impl Committer {
    /// The next block ID. None is given twice.
    pub(crate) fn next_block_id(&self) -> BlockId {
        BlockId(self.next_block.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes all new IDs larger than one that was given before.
    pub(crate) fn observe_block_id(&self, block: BlockId) {
        self.next_block.fetch_max(block.0 + 1, Ordering::Relaxed);
    }

    /// The smallest ID that was not given yet.
    pub(super) fn first_free_block(&self) -> u64 {
        self.next_block.load(Ordering::Relaxed)
    }

    /// The hour of arrival at `now`. Hours never decrease, even if the clock runs backwards.
    pub(crate) fn hour_at(&self, now: UnixNanos) -> Hour {
        self.observe_hour(Hour::of(now))
    }

    /// Makes the hour of arrival at least that of a block that was written before. Returns the latest such hour.
    pub(crate) fn observe_hour(&self, hour: Hour) -> Hour {
        let mut last = self.last_hour.lock();
        *last = hour.max(*last);
        *last
    }

    /// Refuses all later appends.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether a write has failed, after which the store takes no writes until a restart.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.read().is_some()
    }

    /// Why the store takes no writes, if so.
    pub(crate) fn refusal(&self) -> Option<AppendError> {
        if self.closed.load(Ordering::Relaxed) {
            return Some(AppendError::Closed);
        }
        self.poison.read().clone().map(AppendError::Poisoned)
    }
}

// === impl Core ===

impl Core {
    /// Commits a change. It is uncertain what a failed write has changed, and a failed sync cannot be repeated, so the
    /// store takes no writes until a restart.
    pub(crate) fn commit(&self, change: &Change) -> Result<(), EngineError> {
        let result = self.engine.commit(change);
        self.after_commit(&result);
        result
    }

    /// Commits changes of several windows that remove nothing.
    pub(crate) fn commit_adds(&self, changes: &[Change]) -> Vec<Result<(), EngineError>> {
        let results = self.engine.commit_adds(changes);
        results.iter().for_each(|result| self.after_commit(result));
        results
    }

    fn after_commit(&self, result: &Result<(), EngineError>) {
        let Err(error) = result else { return };
        if let EngineError::NoSpace(_) = error {
            self.garbage.end_grace();
        }
        if error.leaves_doubt() && !self.committer.is_poisoned() {
            let reason = format!("{error}{}", error.advice());
            tracing::error!(error = %reason, "a write failed; the store takes no more writes until a restart");
            *self.committer.poison.write() = Some(reason);
        }
    }

    pub(crate) fn next_block_id(&self) -> BlockId {
        self.committer.next_block_id()
    }

    /// The hour of arrival of spans that arrive now.
    pub(crate) fn arrival_hour(&self) -> Hour {
        self.committer.hour_at(self.clock.now())
    }
}
