//! Sequence numbers of commits: all up to one number are visible, and none behind it.

use std::collections::BTreeSet;

use parking_lot::{Condvar, Mutex};

/// Numbers commits. A commit is visible once it and every commit with a smaller number have ended.
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

/// A commit in progress. It ends when this is dropped, also after a failure: a number that never ended would hide all
/// later ones.
pub(crate) struct PendingCommit<'s> {
    sequences: &'s Sequences,
    pub(crate) number: u64,
}

// === impl Sequences ===

impl Sequences {
    /// Makes all new numbers larger than one that was given before.
    pub(crate) fn observe(&self, number: u64) {
        let mut state = self.state.lock();
        state.last = state.last.max(number);
    }

    /// Begins a commit with the next number.
    pub(crate) fn begin(&self) -> PendingCommit<'_> {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        state.pending.insert(number);
        PendingCommit { sequences: self, number }
    }

    /// The last commit that is visible together with all earlier ones.
    pub(crate) fn visible(&self) -> u64 {
        let state = self.state.lock();
        state.pending.first().map_or(state.last, |first| first - 1)
    }
}

// === impl PendingCommit ===

impl PendingCommit<'_> {
    /// Ends the commit, and waits until it is visible, which requires that all earlier commits have ended.
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
