//! Numbers of commits: what is visible at one moment is everything up to one number.

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
    under_way: BTreeSet<u64>,
}

/// A commit under way. It ends when this is dropped, however that comes about: a number that never
/// ended would hide everything behind it.
pub(crate) struct UnderWay<'s> {
    sequences: &'s Sequences,
    pub(crate) number: u64,
}

// === impl Sequences ===

impl Sequences {
    /// Numbers up to this one were given before.
    pub(crate) fn see(&self, number: u64) {
        let mut state = self.state.lock();
        state.last = state.last.max(number);
    }

    /// The next number.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        state.under_way.insert(number);
        UnderWay { sequences: self, number }
    }

    /// The last commit that is visible together with all before it.
    pub(crate) fn visible(&self) -> u64 {
        let state = self.state.lock();
        state.under_way.first().map_or(state.last, |first| first - 1)
    }
}

// === impl UnderWay ===

impl UnderWay<'_> {
    /// Ends the commit, and waits until it is visible: commits that began before it have ended too.
    pub(crate) fn make_visible(self) {
        let (sequences, number) = (self.sequences, self.number);
        drop(self);
        let mut state = sequences.state.lock();
        sequences
            .ended
            .wait_while(&mut state, |state| state.under_way.first().is_some_and(|first| *first < number));
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.sequences.state.lock().under_way.remove(&self.number);
        self.sequences.ended.notify_all();
    }
}
