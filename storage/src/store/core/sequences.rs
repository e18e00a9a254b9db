//! Numbers of commits: everything up to one number is visible, and nothing behind it.

use std::collections::BTreeSet;

use parking_lot::{Condvar, Mutex};

/// Commits are numbered; a number is visible once every smaller one has ended.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    pending: BTreeSet<u64>,
}

/// A commit that has not ended. It ends when this is dropped, after a failure, too: a number that never ended would
/// hide everything behind it.
pub(crate) struct PendingCommit<'s> {
    sequences: &'s Sequences,
    pub(crate) number: u64,
}

// === impl Sequences ===

impl Sequences {
    /// Numbers up to this one were given before.
    pub(crate) fn observe(&self, number: u64) {
        let mut state = self.state.lock();
        state.last = state.last.max(number);
    }

    /// The next number.
    pub(crate) fn begin(&self) -> PendingCommit<'_> {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        state.pending.insert(number);
        PendingCommit { sequences: self, number }
    }

    /// The last commit that is visible together with all before it.
    pub(crate) fn visible(&self) -> u64 {
        let state = self.state.lock();
        state.pending.first().map_or(state.last, |first| first - 1)
    }
}

// === impl PendingCommit ===

impl PendingCommit<'_> {
    /// Ends the commit, and waits until it is visible: commits that began before it have ended too.
    pub(crate) fn make_visible(self) {
        let (sequences, number) = (self.sequences, self.number);
        drop(self);
        let mut state = sequences.state.lock();
        sequences
            .ended
            .wait_while(&mut state, |state| state.pending.first().is_some_and(|first| *first < number));
    }
}

impl Drop for PendingCommit<'_> {
    fn drop(&mut self) {
        self.sequences.state.lock().pending.remove(&self.number);
        self.sequences.ended.notify_all();
    }
}
