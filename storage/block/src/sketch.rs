//! A mergeable latency sketch: counts in buckets whose width grows with the value.
//!
//! Bucket bounds are powers of 2^(1/32), as in an OpenTelemetry exponential histogram of scale 5: a quantile is within
//! 1.1 % of a value that was added. Merging adds counts, so it is exact, commutative and associative. The largest value
//! is kept exactly.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// A histogram of durations in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LatencySketch {
    /// (bucket, count), by bucket.
    buckets: Vec<(u16, u64)>,
    max: u64,
}

/// Builds sketches from many durations at once.
#[derive(Debug, Default)]
pub(crate) struct SketchCounter {
    /// By bucket; all zero between two calls.
    counts: Vec<u32>,
}

/// Buckets per power of two.
const PER_DOUBLING: f64 = 32.0;
/// The number of buckets.
const BUCKETS: usize = 64 * 32 + 1;

// === impl LatencySketch ===

impl LatencySketch {
    /// Adds one duration.
    pub fn add(&mut self, nanos: u64) {
        self.max = self.max.max(nanos);
        self.add_count(bucket_of(nanos), 1);
    }

    /// Adds all durations of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.max = self.max.max(other.max);
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        for &(bucket, count) in &other.buckets {
            self.add_count(bucket, count);
        }
    }

    fn add_count(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |entry| entry.0) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|entry| entry.1).sum()
    }

    /// The number of durations; `None` if the buckets are invalid.
    pub(crate) fn checked_count(&self) -> Option<u64> {
        let in_order = self.buckets.is_sorted_by(|a, b| a.0 < b.0);
        let mut counts = self.buckets.iter().map(|entry| entry.1);
        counts.try_fold(0u64, u64::checked_add).filter(|_| in_order)
    }

    /// The longest duration in nanoseconds; zero for an empty sketch.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The sum of all durations in nanoseconds, within 1.1 %.
    pub fn total(&self) -> f64 {
        self.buckets.iter().map(|(bucket, count)| middle_of(*bucket) as f64 * *count as f64).sum()
    }

    /// The fraction of durations that lie in buckets below that of a duration: those that are shorter, but for 2 %.
    pub fn share_below(&self, nanos: u64) -> f64 {
        let bucket = bucket_of(nanos);
        let below = self.buckets.iter().take_while(|entry| entry.0 < bucket).map(|entry| entry.1);
        below.sum::<u64>() as f64 / self.count().max(1) as f64
    }

    /// The duration that a fraction `q` of all does not exceed, in nanoseconds; zero for an empty sketch.
    pub fn quantile(&self, q: f64) -> u64 {
        let count = self.count();
        if count == 0 {
            return 0;
        }
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for &(bucket, here) in &self.buckets {
            seen += here;
            if seen >= rank {
                // The maximum is exact, so the highest quantiles use it.
                return if seen == count && rank == count {
                    self.max
                } else {
                    middle_of(bucket).min(self.max)
                };
            }
        }
        self.max
    }
}

// === impl SketchCounter ===

impl SketchCounter {
    /// Returns the sketch of durations, given their buckets and the longest of them.
    pub(crate) fn count(&mut self, buckets: &[u16], max: u64) -> LatencySketch {
        let Some((&first, &last)) = buckets.iter().min().zip(buckets.iter().max()) else {
            return LatencySketch::default();
        };
        self.counts.resize(BUCKETS, 0);
        buckets.iter().for_each(|bucket| self.counts[usize::from(*bucket)] += 1);
        let taken = (first..=last).map(|bucket| {
            let count = std::mem::take(&mut self.counts[usize::from(bucket)]);
            (bucket, u64::from(count))
        });
        LatencySketch { buckets: taken.filter(|(_, count)| *count > 0).collect(), max }
    }
}

/// The bucket of a duration: 0 for 0 and 1 ns, else the bucket whose bounds contain it.
pub(crate) fn bucket_of(nanos: u64) -> u16 {
    if nanos <= 1 {
        return 0;
    }
    let doublings = nanos.ilog2();
    // Scales the value to between 2^63 and 2^64, where the bounds of `STEPS` lie.
    let scaled = nanos << (63 - doublings);
    // Starts at the first bucket for its upper bits; the right one is at most two steps further.
    let mut step = usize::from(FIRST_STEP[(scaled >> 57) as usize & 63]);
    while step < 31 && STEPS[step] <= scaled {
        step += 1;
    }
    (doublings * 32) as u16 + step as u16 + 1
}

/// The upper bounds of the 32 buckets within a doubling: 2^(63 + n/32) rounded up, for n from 1.
static STEPS: LazyLock<[u64; 32]> = LazyLock::new(|| {
    std::array::from_fn(|n| match n + 1 {
        32 => u64::MAX,
        n => (63.0 + n as f64 / PER_DOUBLING).exp2().ceil() as u64,
    })
});

/// For each value of the six bits behind the highest one, the first bucket that may hold it.
static FIRST_STEP: LazyLock<[u8; 64]> = LazyLock::new(|| {
    std::array::from_fn(|bits| {
        let least = 1 << 63 | (bits as u64) << 57;
        STEPS.iter().take_while(|bound| **bound <= least).count() as u8
    })
});

fn middle_of(bucket: u16) -> u64 {
    if bucket == 0 { 1 } else { ((f64::from(bucket) - 0.5) / PER_DOUBLING).exp2().round() as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_and_single() {
        let mut sketch = LatencySketch::default();
        assert_eq!((sketch.count(), sketch.quantile(0.5), sketch.max()), (0, 0, 0));
        sketch.add(1_234_567);
        assert_eq!((sketch.quantile(0.5), sketch.max()), (1_234_567, 1_234_567));
        sketch.add(u64::MAX);
        sketch.add(0);
        assert_eq!((sketch.count(), sketch.max()), (3, u64::MAX));
    }

    #[test]
    fn sums_and_shares_are_close() {
        let mut sketch = LatencySketch::default();
        assert_eq!((sketch.total(), sketch.share_below(5)), (0.0, 0.0));
        (1..=1000).for_each(|n| sketch.add(n * 1_000_000));
        assert!((sketch.total() / 500_500_000_000.0 - 1.0).abs() < 0.011, "{}", sketch.total());
        assert!((sketch.share_below(900_000_000) - 0.9).abs() < 0.02);
        assert_eq!((sketch.share_below(1), sketch.share_below(u64::MAX)), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn buckets_are_those_of_the_logarithm(nanos in any::<u64>(), shift in 0u32..64) {
            let nanos = (nanos >> shift).max(2);
            let exact = (nanos as f64).log2() * PER_DOUBLING;
            // At a bound, a logarithm in floating point may fall on either side.
            let certain = exact.fract() > 1e-9 && exact.fract() < 1.0 - 1e-9;
            prop_assume!(certain);
            prop_assert_eq!(bucket_of(nanos), exact.floor() as u16 + 1);
        }

        #[test]
        fn quantiles_are_close_to_a_value_that_was_there(mut values in prop::collection::vec(2u64..1 << 50, 1..300), q in 0.01f64..1.0) {
            let mut sketch = LatencySketch::default();
            values.iter().for_each(|v| sketch.add(*v));
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let got = sketch.quantile(q) as f64;
            prop_assert!((got - exact).abs() <= exact * 0.012 + 1.0, "{got} for {exact}");
        }

        #[test]
        fn merging_equals_adding_all(a in prop::collection::vec(any::<u64>(), 0..50), b in prop::collection::vec(any::<u64>(), 0..50)) {
            let sketch = |values: &[u64]| {
                let mut sketch = LatencySketch::default();
                values.iter().for_each(|v| sketch.add(*v));
                sketch
            };
            let (mut left, mut right) = (sketch(&a), sketch(&b));
            left.merge(&sketch(&b));
            right.merge(&sketch(&a));
            let all: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(left, sketch(&all));
        }

        #[test]
        fn counting_at_once_equals_adding_one_by_one(groups in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..50), 1..4)) {
            let mut counter = SketchCounter::default();
            for values in groups {
                let mut sketch = LatencySketch::default();
                values.iter().for_each(|v| sketch.add(*v));
                let buckets: Vec<u16> = values.iter().map(|v| bucket_of(*v)).collect();
                prop_assert_eq!(counter.count(&buckets, values.iter().copied().max().unwrap_or(0)), sketch);
            }
        }
    }
}
