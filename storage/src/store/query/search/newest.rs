//! *Newest first*: searches the blocks by their latest span start and ends as soon as no remaining block can contain a
//! newer trace: a trace starts no later than its matching span, and that no later than its block's latest start.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::{Candidate, MAX_BATCH, RUN, Rank, Ranked, Search};
use spandrel_proto::TraceId;

use crate::store::query::parallel::in_parallel;
use crate::store::read::trace_reader::Part;

/// The first traces that were accepted so far.
struct Best {
    ranks: BinaryHeap<Reverse<Rank>>,
    /// The traces in several blocks that were considered.
    seen: HashSet<TraceId>,
    /// How many are wanted: those of the page, and one more, which shows whether there is a next page.
    wanted: usize,
}

// === impl Search ===

impl Search<'_> {
    /// The ranks of the first `limit` traces, and of one more, which shows whether there is a next page.
    pub(super) fn newest(&mut self) -> Vec<Rank> {
        let mut blocks = self.finder.blocks();
        blocks.sort_by_key(|entry| Reverse(entry.row.meta.max_start));
        let mut best = Best::new(self.finder.plan.limit + 1);
        // Traces that may have started earlier than their matching span, by the start of the block's first one.
        let mut open: BinaryHeap<Candidate> = BinaryHeap::new();
        let (mut left, mut at_once, mut batch) = (&blocks[..], 1, best.wanted);
        while !left.is_empty() && !self.stopped {
            let now;
            (now, left) = left.split_at(at_once.min(left.len()));
            // More than one only when the first ones were not enough.
            at_once = (at_once * 2).min(self.workers.len().max(1));
            open.extend(self.find(now));
            let next = left.first().map(|entry| entry.row.meta.max_start.0);
            loop {
                let candidates = best.take_from(&mut open, next, batch);
                if candidates.is_empty() || self.stopped {
                    break;
                }
                batch = (batch * 2).clamp(RUN, MAX_BATCH);
                self.consider(candidates, &mut best);
            }
            if best.is_final(next) {
                break;
            }
        }
        best.into_ranks()
    }

    /// Ranks candidates, and adds those that are accepted to the best.
    fn consider(&mut self, mut candidates: Vec<Candidate>, best: &mut Best) {
        // Neighbours in the index and in pages; a trace that was found in several blocks is looked at once.
        candidates.sort_unstable_by_key(|candidate| (candidate.trace, Reverse(candidate.is_accompanied)));
        candidates.dedup_by_key(|candidate| candidate.trace);
        let runs: Vec<&[Candidate]> = candidates.chunks(self.run_of(candidates.len())).collect();
        let finder = &self.finder;
        let ranked = in_parallel(&mut self.workers, &runs, 1, |_, run| {
            let traces: Vec<_> = run.iter().map(|candidate| candidate.trace).collect();
            let parts = finder.traces().parts_of_each(&traces);
            let rank = |(candidate, parts): (&Candidate, Vec<Part>)| {
                let may_match = candidate.is_accompanied || parts.len() > 1;
                let start = may_match.then(|| finder.start_of(candidate, &parts)).flatten()?;
                Some((start, (candidate.trace, parts)))
            };
            run.iter().zip(parts).filter_map(rank).collect::<Vec<_>>()
        });
        let mut ranked: Vec<Ranked> = ranked.into_iter().flatten().collect();
        // A trace that lies in several blocks may have been found in an earlier one.
        ranked.retain(|(_, (trace, parts))| parts.len() <= 1 || best.seen.insert(*trace));
        let may_be_in_front = |rank| self.is_behind_cursor(rank) && best.has_room_for(rank);
        ranked.retain(|(key, (trace, _))| may_be_in_front((*key, *trace)));
        for rank in self.judge(ranked) {
            if let Some((_, dropped)) = best.add(rank) {
                self.accepted.remove(&dropped);
            }
        }
    }
}

// === impl Best ===

impl Best {
    fn new(wanted: usize) -> Self {
        Self { ranks: BinaryHeap::new(), seen: HashSet::new(), wanted }
    }

    /// The next candidates that may be in front, at most so many. Those that a block whose spans start no later than
    /// `next` may still surpass stay.
    fn take_from(&self, open: &mut BinaryHeap<Candidate>, next: Option<u64>, most: usize) -> Vec<Candidate> {
        let may_be_taken = |candidate: &Candidate| {
            self.has_room_for((candidate.start, candidate.trace))
                && next.is_none_or(|next| candidate.start >= next)
        };
        let mut taken = Vec::new();
        if open.len() <= most {
            // No need for an order among them.
            let (now, later) = std::mem::take(open).into_iter().partition(may_be_taken);
            (taken, *open) = (now, Vec::into(later));
            return taken;
        }
        while taken.len() < most && open.peek().is_some_and(may_be_taken) {
            taken.extend(open.pop());
        }
        taken
    }

    fn has_room_for(&self, rank: Rank) -> bool {
        self.ranks.len() < self.wanted || self.ranks.peek().is_none_or(|Reverse(last)| rank > *last)
    }

    /// Adds a trace; returns the one that is not among the best any more.
    fn add(&mut self, rank: Rank) -> Option<Rank> {
        self.ranks.push(Reverse(rank));
        let is_full = self.ranks.len() > self.wanted;
        is_full.then(|| self.ranks.pop()).flatten().map(|Reverse(last)| last)
    }

    /// Whether blocks whose spans start no later than `next` cannot change the result.
    fn is_final(&self, next: Option<u64>) -> bool {
        let worst = self.ranks.peek().map(|Reverse(rank)| rank.0);
        self.ranks.len() >= self.wanted && next.is_none_or(|next| worst.is_some_and(|worst| worst > next))
    }

    fn into_ranks(self) -> Vec<Rank> {
        let mut ranks: Vec<Rank> = self.ranks.into_iter().map(|Reverse(rank)| rank).collect();
        ranks.sort_unstable_by_key(|rank| Reverse(*rank));
        ranks
    }
}
