//! Failpoints: named places in the store where a test may end the process, between any two steps that must survive
//! SIGKILL.
//!
//! The list below names all of them. A test ends a process at each place, opens the store again and compares it with
//! the acknowledged operations; it fails for a place that its workload never passes. `docs/testing.md` tells how to add
//! one.
//!
//! Not for errors: tests of failed writes let writes fail. Without the feature
//! `failpoints`, which no release build turns on, [`reach`] is empty and nothing can be armed.

macro_rules! failpoints {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A place where the process may end.
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
    /// It is written; the store in memory does not know it.
    AppendCommitted,
    /// It can be found; the sender has no answer.
    AppendVisible,

    /// It is clear what will be merged.
    MergeChosen,
    /// A merged block is finished, in memory; perhaps more follow.
    MergeBlockFinished,
    /// All merged blocks are finished; nothing is written.
    MergeWritten,
    /// They are in the catalog instead of the old ones; the store in memory does not know.
    MergeCommitted,
    /// The store in memory knows; the old blocks wait for their deletion.
    MergeReplaced,

    /// It is clear which window goes.
    RetentionChosen,
    /// It is out of the catalog; the store in memory does not know.
    RetentionCommitted,
    /// The store in memory knows; its blocks wait for their deletion.
    RetentionReplaced,

    /// It is listed that there are counts of spans which are about to go; they are not written.
    CountsListed,
    /// They are written; their spans are still in the catalog.
    CountsWritten,
    /// Counts that have outlived their time are gone, but are still listed.
    CountsDropped,

    /// A pin is written; the store in memory does not know.
    PinWritten,
    /// A pin is taken away; the store in memory does not know.
    UnpinWritten,

    /// The traces of a deletion are listed; the deletion itself is not recorded.
    DeletionListed,
    /// The deletion is noted: it goes to its end from now on. Its traces can still be found.
    DeletionNoted,
    /// They cannot be found any more; the client has no answer.
    DeletionHidden,
    /// It is noted what is about to leave a window, for those who look for it in backups.
    DeletionNamed,
    /// Spans have left some blocks of a window; perhaps more follow.
    DeletionRewritten,
    /// No block holds the spans, and no reader the replaced blocks; their bytes are in files.
    DeletionUnread,
    /// No file holds them; the deletion is not noted as done.
    DeletionPurged,
    /// It is noted as done; the list of its traces is still there.
    DeletionDone,
    /// The list is gone; the store in memory does not know that it is done.
    DeletionForgotten,
    /// A purge has written out what the engine buffers, and nothing is moved.
    PurgeBegun,
    /// What is alive of a window has moved away from what is dead; perhaps more follow.
    PurgeMoved,

    /// Memory has forgotten blocks without a reader; their bytes are there.
    GarbageChosen,
    /// Their bytes are deleted; the space is not given back.
    GarbageDeleted,

    /// An engine's change is staged, not written.
    CommitStaged,
    /// It is written; the engine's own books do not know.
    CommitWritten,
    /// RocksDB writes to a new log, and what it holds is not acknowledged; that it is the newest is not noted.
    LogSwitched,
    /// That is noted.
    LogNoted,
    /// A deletion is staged, not written.
    DeleteStaged,
    /// It is written.
    DeleteWritten,
    /// Some of what is buffered is written out.
    Flushed,
    /// Some of the files without a live block are gone.
    FilesDropped,

    /// The store opens: the engine is open, the catalog is not read.
    OpenBegun,
    /// The catalog is read; what it replaced is not deleted.
    OpenAdopted,
    /// That is deleted; the store is not in use yet.
    OpenTidied,

    /// It is remembered what a backup will hold; nothing is passed on.
    BackupPlanned,
    /// A block is passed on; perhaps more follow.
    BackupPassedOn,
    /// It is remembered what the backup holds.
    BackupRemembered,

    /// The store closes: it takes no more, and has written out nothing.
    CloseBegun,
}

/// Passes a place; ends the process if a test said so.
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

    /// How often each place was passed, and where the process ends.
    struct Walk {
        passed: BTreeMap<Failpoint, u64>,
        last: Option<(Failpoint, u64)>,
    }

    static WALK: Mutex<Walk> = Mutex::new(Walk { passed: BTreeMap::new(), last: None });

    /// Ends the process when it comes to a place for the `nth` time, counted from 1. Nothing is cleaned
    /// up and nothing written out, as with SIGKILL.
    pub fn arm(point: Failpoint, nth: u64) {
        WALK.lock().last = Some((point, nth));
    }

    /// How often a place was passed.
    pub fn count(point: Failpoint) -> u64 {
        WALK.lock().passed.get(&point).copied().unwrap_or(0)
    }

    /// Passes a place; ends the process if a test said so.
    pub fn reach(point: Failpoint) {
        let mut walk = WALK.lock();
        let passed = walk.passed.entry(point).or_default();
        *passed += 1;
        if Some((point, *passed)) == walk.last {
            abort();
        }
    }
}
