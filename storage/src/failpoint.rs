//! Failpoints: named steps in the store at which a test may end the process, between any two steps that must survive
//! SIGKILL.
//!
//! The list below names all of them. A test ends a process at each failpoint, opens the store again and compares it
//! with the acknowledged operations; it fails for a failpoint that its workload never reaches. `docs/testing.md`
//! describes how to add one.
//!
//! Not for errors: tests of failed writes use an engine that fails. Without the feature `failpoints`, which no release
//! build turns on, [`reach`] is empty and nothing can be armed.

macro_rules! failpoints {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A step at which the process may end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Failpoint {
            $($(#[$doc])* $name,)*
        }

        impl Failpoint {
            /// Every failpoint.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

failpoints! {
    /// A fresh block is built; nothing is written.
    AppendBuilt,
    /// A fresh block is written; the store in memory does not know it.
    AppendCommitted,
    /// The appended spans are visible; the sender has no response.
    AppendVisible,

    /// The blocks to merge are chosen.
    MergeChosen,
    /// A merged block is finished in memory; more may follow.
    MergeBlockFinished,
    /// All merged blocks are finished; nothing is written.
    MergeWritten,
    /// The merged blocks have replaced the old ones in the catalog; the store in memory does not know.
    MergeCommitted,
    /// The store in memory knows of the merge; the old blocks wait for garbage collection.
    MergeReplaced,

    /// The window to remove is chosen.
    RetentionChosen,
    /// The window is removed from the catalog; the store in memory does not know.
    RetentionCommitted,
    /// The store in memory knows of the removal; the blocks wait for garbage collection.
    RetentionReplaced,

    /// A rollup of spans that are about to expire is listed; its rows are not written.
    CountsListed,
    /// The rows of the rollup are written; the spans are still in the catalog.
    CountsWritten,
    /// The rows of a rollup that has outlived its retention are removed; it is still listed.
    CountsDropped,

    /// A pin is written; the store in memory does not know.
    PinWritten,
    /// A pin is removed; the store in memory does not know.
    UnpinWritten,

    /// The traces of a deletion are listed; the deletion itself is not recorded.
    DeletionListed,
    /// The deletion is recorded and will be completed. Its traces are still visible.
    DeletionNoted,
    /// The traces are hidden; the client has no response.
    DeletionHidden,
    /// The commits of spans that are about to leave a window are recorded, by which backups with these spans are found.
    DeletionNamed,
    /// Spans are removed from some blocks of a window; more may follow.
    DeletionRewritten,
    /// No block contains the spans, and no reader holds a replaced block; their bytes are still in files.
    DeletionUnread,
    /// No file contains the spans; the deletion is not recorded as finished.
    DeletionPurged,
    /// The deletion is recorded as finished; the list of its traces still exists.
    DeletionDone,
    /// The list is removed; the store in memory does not know that the deletion is finished.
    DeletionForgotten,
    /// A purge has flushed the engine's buffers, and moved nothing.
    PurgeBegun,
    /// The live data of a window are moved away from dead data; more windows may follow.
    PurgeMoved,

    /// Blocks without a reader are dropped from memory; their bytes still exist.
    GarbageChosen,
    /// The bytes of these blocks are deleted; the disk space is not reclaimed.
    GarbageDeleted,

    /// The engine has staged a change, but not written it.
    CommitStaged,
    /// The change is written; the engine's own state in memory is not updated.
    CommitWritten,
    /// RocksDB writes to a new log file, of which nothing is acknowledged; the marker does not name it yet.
    LogSwitched,
    /// The marker names the new log file.
    LogNoted,
    /// The deletion of blocks is staged, but not written.
    DeleteStaged,
    /// The deletion of blocks is written.
    DeleteWritten,
    /// Some of the engine's buffers are flushed.
    Flushed,
    /// Some files without a live block are removed.
    FilesDropped,

    /// The engine is open; the catalog is not read.
    OpenBegun,
    /// The catalog is read; replaced blocks are not deleted.
    OpenAdopted,
    /// Replaced blocks are deleted; the store is not in use yet.
    OpenTidied,

    /// The planned content of a backup is recorded; nothing is sent.
    BackupPlanned,
    /// A block of a backup is sent; more may follow.
    BackupPassedOn,
    /// The actual content of the backup is recorded.
    BackupRemembered,

    /// The store refuses further writes, and has flushed nothing.
    CloseBegun,
}

/// Passes a failpoint, and ends the process if a test armed it.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: Failpoint) {}

#[cfg(feature = "failpoints")]
pub use armed::{arm, count, reach};

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::BTreeMap;
    use std::process::abort;

    use parking_lot::Mutex;

    use super::Failpoint;

    /// The number of passes of each failpoint, and where the process ends.
    struct Walk {
        passed: BTreeMap<Failpoint, u64>,
        last: Option<(Failpoint, u64)>,
    }

    static WALK: Mutex<Walk> = Mutex::new(Walk { passed: BTreeMap::new(), last: None });

    /// Ends the process when it passes a failpoint for the `nth` time, counted from 1, without cleanup or flush, as
    /// with SIGKILL.
    pub fn arm(point: Failpoint, nth: u64) {
        WALK.lock().last = Some((point, nth));
    }

    /// The number of passes of a failpoint.
    pub fn count(point: Failpoint) -> u64 {
        WALK.lock().passed.get(&point).copied().unwrap_or(0)
    }

    /// Passes a failpoint, and ends the process if a test armed it.
    pub fn reach(point: Failpoint) {
        let mut walk = WALK.lock();
        let passed = walk.passed.entry(point).or_default();
        *passed += 1;
        if Some((point, *passed)) == walk.last {
            abort();
        }
    }
}
