//! What least request would have done with the attempts that there were.
//!
//! Envoy's least request takes two instances at random, one after the other and perhaps the same one twice, and sends a
//! request to the one with fewer requests open, to the first where both have as many. A proxy counts only requests of
//! its own. So of `n` instances, instance `i` gets the next request with the probability `(a + b) / n²`, where `a`
//! instances have at least as many requests open as `i` (itself included) and `b` have more. The sum of that over all
//! first attempts is what each instance could expect, with the durations that its answers really took.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The attempts of an edge, as far as they are kept.
#[derive(Debug, Default)]
pub struct Replay {
    /// By proxy of the caller.
    callers: BTreeMap<String, Vec<Sent>>,
    /// Whether there were more than are kept.
    is_cut: bool,
}

/// An attempt that reached an instance, on the clock of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub start: u64,
    pub end: u64,
    pub instance: String,
    pub is_first: bool,
}

/// Steps of the computation: attempts times instances.
const MOST_WORK: usize = 50_000_000;

// === impl Replay ===

impl Replay {
    pub(crate) fn add(&mut self, caller: &str, sent: Sent) {
        self.callers.entry(caller.to_owned()).or_default().push(sent);
    }

    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (caller, sent) in &other.callers {
            self.callers.entry(caller.clone()).or_default().extend(sent.iter().cloned());
        }
        self.is_cut |= other.is_cut;
    }

    /// The attempts that are kept.
    pub(crate) fn attempts(&self) -> usize {
        self.callers.values().map(Vec::len).sum()
    }

    /// What [`Self::expected`] says. The attempts are dropped; `rest` keeps whether some were missing.
    pub(crate) fn settle(self, instances: &[&str], rest: &mut Self) -> Option<Vec<f64>> {
        let expected = self.expected(instances);
        rest.is_cut = expected.is_none();
        expected
    }

    /// Gives instances other names.
    pub(crate) fn rename(&mut self, name: impl Fn(&str) -> String) {
        for sent in self.callers.values_mut().flatten() {
            sent.instance = name(&sent.instance);
        }
    }

    /// How many first attempts each instance could expect; `None` where not all attempts are kept, or too many.
    pub fn expected(&self, instances: &[&str]) -> Option<Vec<f64>> {
        if self.is_cut || self.attempts().saturating_mul(instances.len()) > MOST_WORK {
            return None;
        }
        let place: BTreeMap<&str, usize> =
            instances.iter().enumerate().map(|(place, name)| (*name, place)).collect();
        let mut expected = vec![0.0; instances.len()];
        for sent in self.callers.values() {
            let mut sent: Vec<&Sent> = sent.iter().collect();
            sent.sort_by_key(|sent| (sent.start, sent.end));
            replay(&sent, &place, &mut expected);
        }
        Some(expected)
    }
}

/// Goes through the attempts of one proxy by time.
fn replay(sent: &[&Sent], place: &BTreeMap<&str, usize>, expected: &mut [f64]) {
    let mut open = vec![0u32; expected.len()];
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    for sent in sent {
        while let Some(Reverse((end, instance))) = ends.peek().copied()
            && end <= sent.start
        {
            ends.pop();
            open[instance] -= 1;
        }
        if sent.is_first {
            choose(&open, expected);
        }
        if let Some(instance) = place.get(&*sent.instance).copied() {
            open[instance] += 1;
            ends.push(Reverse((sent.end, instance)));
        }
    }
}

/// Adds the probability with which each instance gets a request.
fn choose(open: &[u32], expected: &mut [f64]) {
    let mut sorted = open.to_vec();
    sorted.sort_unstable();
    let pairs = (open.len() * open.len()) as f64;
    for (own, expected) in open.iter().zip(expected) {
        let at_least = open.len() - sorted.partition_point(|other| other < own);
        let more = open.len() - sorted.partition_point(|other| other <= own);
        *expected += (at_least + more) as f64 / pairs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(start: u64, end: u64, instance: &str) -> Sent {
        Sent { start, end, instance: instance.to_owned(), is_first: true }
    }

    fn expected(attempts: &[Sent]) -> Vec<f64> {
        let mut replay = Replay::default();
        attempts.iter().for_each(|sent| replay.add("gateway", sent.clone()));
        replay.expected(&["a", "b"]).unwrap()
    }

    #[test]
    fn without_open_requests_all_are_alike() {
        assert_eq!(expected(&[sent(0, 1, "a"), sent(1, 2, "a"), sent(2, 3, "a")]), [1.5, 1.5]);
    }

    #[test]
    fn an_instance_with_an_open_request_gets_one_pair_of_four() {
        // Only the pair (b, b) gives b the second request.
        assert_eq!(expected(&[sent(0, 10, "b"), sent(1, 2, "a")]), [0.5 + 0.75, 0.5 + 0.25]);
        let mut retried = [sent(0, 10, "b"), sent(1, 2, "a")];
        retried[0].is_first = false;
        assert_eq!(expected(&retried), [0.75, 0.25]);
    }

    #[test]
    fn a_proxy_knows_its_own_requests_alone() {
        let mut replay = Replay::default();
        replay.add("one", sent(0, 10, "b"));
        replay.add("other", sent(1, 2, "a"));
        assert_eq!(replay.expected(&["a", "b"]).unwrap(), [1.0, 1.0]);
        replay.cut();
        assert_eq!(replay.expected(&["a", "b"]), None);
    }

    #[test]
    fn probabilities_sum_to_one() {
        let mut expected = vec![0.0; 5];
        choose(&[3, 0, 0, 7, 1], &mut expected);
        assert!((expected.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{expected:?}");
        assert_eq!(expected[1], expected[2]);
        assert!(expected[1] > expected[4] && expected[4] > expected[0] && expected[0] > expected[3]);
    }
}
