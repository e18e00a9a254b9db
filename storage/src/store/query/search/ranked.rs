//! Every order but *newest first*: compares all matching traces, up to `max_candidates`.

use std::cmp::Reverse;

use spandrel_proto::TraceId;

use super::{Candidate, MAX_BATCH, RUN, Rank, Search};
use crate::store::query::parallel::in_parallel;
use crate::store::read::trace_reader::Part;

/// Blocks that a thread searches between two looks at the number of traces that were found.
const BLOCKS_AT_ONCE: usize = 4;

// === impl Search ===

impl Search<'_> {
    /// The ranks of the first `limit` traces, and of one more, which shows whether there is a next page.
    pub(super) fn all_ranked(&mut self) -> Vec<Rank> {
        let found = self.find_all();
        let mut ranks = self.ranks_of(&found);
        drop(found);
        ranks.retain(|rank| self.is_behind_cursor(*rank));
        ranks.sort_unstable_by_key(|rank| Reverse(*rank));
        let wanted = self.finder.plan.limit + 1;
        let (mut left, mut batch, mut accepted) = (&ranks[..], wanted, Vec::new());
        while !left.is_empty() && accepted.len() < wanted && !self.stopped {
            let now;
            (now, left) = left.split_at(batch.min(left.len()));
            batch = (batch * 2).clamp(RUN, MAX_BATCH);
            let mut more = self.judge_ranks(now.to_vec());
            more.sort_unstable_by_key(|rank| Reverse(*rank));
            accepted.extend(more);
        }
        accepted
    }

    /// All candidates, sorted by trace, each trace once; more than `max_candidates` if there are so many.
    fn find_all(&mut self) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        for blocks in self.finder.blocks().chunks(BLOCKS_AT_ONCE * self.workers.len().max(1)) {
            found.extend(self.find(blocks));
            found.sort_unstable_by_key(|candidate| (candidate.trace, Reverse(candidate.is_accompanied)));
            found.dedup_by_key(|candidate| candidate.trace);
            self.cut |= found.len() > self.finder.core.config.max_candidates;
            if self.cut || self.stopped {
                break;
            }
        }
        found
    }

    /// The ranks of the candidates that may match.
    fn ranks_of(&mut self, found: &[Candidate]) -> Vec<Rank> {
        let runs: Vec<&[Candidate]> = found.chunks(self.run_of(found.len())).collect();
        let finder = &self.finder;
        let ranks = in_parallel(&mut self.workers, &runs, 1, |_, run| {
            if finder.is_stopped() {
                return Vec::new();
            }
            let traces: Vec<TraceId> = run.iter().map(|candidate| candidate.trace).collect();
            let rank = |(candidate, parts): (&Candidate, Vec<Part>)| {
                let may_match = candidate.is_accompanied || parts.len() > 1;
                let key = may_match.then(|| finder.key_of(candidate.trace, &parts)).flatten()?;
                Some((key, candidate.trace))
            };
            let parts = finder.traces().parts_of_each(&traces);
            run.iter().zip(parts).filter_map(rank).collect()
        });
        self.stopped |= self.finder.is_stopped();
        ranks.into_iter().flatten().collect()
    }

    /// Those of the traces that are accepted.
    fn judge_ranks(&mut self, mut ranks: Vec<Rank>) -> Vec<Rank> {
        // Neighbours in the index and in pages.
        ranks.sort_unstable_by_key(|(_, trace)| *trace);
        let traces: Vec<TraceId> = ranks.iter().map(|(_, trace)| *trace).collect();
        let parts = self.finder.traces().parts_of_each(&traces);
        let ranked = ranks.into_iter().zip(parts).map(|((key, trace), parts)| (key, (trace, parts)));
        self.judge(ranked.collect())
    }
}
