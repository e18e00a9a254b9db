//! A mergeable sketch of any numbers: counts in buckets whose bounds are powers of 2^(1/32).
//!
//! A quantile is within 1.1 % of a number that was added, as with the latencies that the store keeps
//! (`storage/block/src/sketch.rs`), which hold whole nanoseconds only. Negative numbers have buckets of their own.

use std::collections::BTreeMap;

/// Counts of numbers by bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sketch {
    /// Counts of buckets side by side, where most numbers lie.
    near: Vec<u32>,
    /// The bucket of the first of them.
    first: i32,
    /// Counts of buckets that lie too far from those.
    far: BTreeMap<i32, u32>,
    max: f64,
    count: u64,
}

/// Buckets that lie side by side at the most: numbers of nine orders of magnitude.
const NEAR: i32 = 1_024;
/// Bytes of a bucket that lies far from the others.
const FAR_BYTES: usize = 32;
/// Buckets per power of two.
const PER_DOUBLING: f64 = 32.0;
/// The buckets of numbers from 2^-1022 to 2^1024 lie within this distance of the middle.
const HALF: i32 = 1 << 17;
/// The middle of the positive buckets; those of negative numbers mirror them.
const MIDDLE: i32 = HALF + 1;

// === impl Sketch ===

impl Sketch {
    /// Adds a number, which is not NaN. Returns how many bytes the sketch has grown by.
    pub(crate) fn add(&mut self, number: f64) -> usize {
        self.max = if self.count == 0 { number } else { self.max.max(number) };
        self.count += 1;
        self.add_count(bucket_of(number), 1)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.max = if self.count == 0 { other.max } else { self.max.max(other.max) };
        self.count += other.count;
        for (bucket, count) in other.buckets() {
            self.add_count(bucket, count);
        }
    }

    #[inline]
    fn add_count(&mut self, bucket: i32, count: u32) -> usize {
        match self.near.get_mut(bucket.wrapping_sub(self.first) as usize) {
            Some(known) => {
                *known = known.saturating_add(count);
                0
            }
            None => self.add_outside(bucket, count),
        }
    }

    /// Adds to a bucket that is not among those side by side: these grow, unless it lies too far away.
    fn add_outside(&mut self, bucket: i32, count: u32) -> usize {
        if self.near.is_empty() {
            self.first = bucket;
        }
        let (begin, end) = (self.first.min(bucket), (self.first + self.near.len() as i32).max(bucket + 1));
        if end - begin > NEAR {
            let before = self.far.len();
            let known = self.far.entry(bucket).or_default();
            *known = known.saturating_add(count);
            return (self.far.len() - before) * FAR_BYTES;
        }
        let before = self.near.len();
        self.near.splice(0..0, std::iter::repeat_n(0, (self.first - begin) as usize));
        self.near.resize((end - begin) as usize, 0);
        self.first = begin;
        self.near[(bucket - begin) as usize] += count;
        (self.near.len() - before) * size_of::<u32>()
    }

    /// Buckets with numbers, in order.
    fn buckets(&self) -> impl Iterator<Item = (i32, u32)> + '_ {
        let near = (self.first..).zip(self.near.iter().copied()).filter(|(_, count)| *count > 0);
        let before = self.far.range(..self.first).map(|(bucket, count)| (*bucket, *count));
        let behind = self.far.range(self.first..).map(|(bucket, count)| (*bucket, *count));
        // A bucket that lay too far away once may lie within reach now, so both are merged.
        before.chain(merged(near, behind))
    }

    /// The number that a fraction `q` of all does not exceed; `None` for an empty sketch.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        if rank == self.count && self.count > 0 {
            return Some(self.max);
        }
        let mut seen = 0;
        let at = self.buckets().find(|(_, count)| {
            seen += u64::from(*count);
            seen >= rank
        });
        at.map(|(bucket, _)| middle_of(bucket).min(self.max))
    }

    /// For each power of two, how many numbers lie below it and not below the one before; zero and negative numbers count
    /// with a bound of 0.
    pub(crate) fn powers_of_two(&self) -> Vec<(f64, u64)> {
        let mut powers: Vec<(f64, u64)> = Vec::new();
        for (bucket, count) in self.buckets() {
            let bound = upper_power(bucket);
            match powers.last_mut() {
                Some((last, known)) if *last == bound => *known += u64::from(count),
                _ => powers.push((bound, u64::from(count))),
            }
        }
        powers
    }
}

/// Two sequences in order, as one in order.
fn merged(
    left: impl Iterator<Item = (i32, u32)>,
    right: impl Iterator<Item = (i32, u32)>,
) -> impl Iterator<Item = (i32, u32)> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some((a, _)), Some((b, _))) if b < a => right.next(),
        (None, Some(_)) => right.next(),
        _ => left.next(),
    })
}

/// Zero has bucket 0; a power of two is the smallest number of its bucket, as in the store's sketches.
fn bucket_of(number: f64) -> i32 {
    if number == 0.0 {
        return 0;
    }
    let magnitude = ((number.abs().log2() * PER_DOUBLING).floor() as i32 + 1).clamp(-HALF, HALF) + MIDDLE;
    if number > 0.0 { magnitude } else { -magnitude }
}

fn middle_of(bucket: i32) -> f64 {
    match bucket {
        0 => 0.0,
        bucket => {
            let magnitude = ((f64::from(bucket.abs() - MIDDLE) - 0.5) / PER_DOUBLING).exp2();
            if bucket > 0 { magnitude } else { -magnitude }
        }
    }
}

fn upper_power(bucket: i32) -> f64 {
    if bucket <= 0 { 0.0 } else { (f64::from(bucket - MIDDLE) / PER_DOUBLING).ceil().exp2() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn powers_count_what_lies_below_them() {
        let mut sketch = Sketch::default();
        [0.0, 1.0, 1.5, 2.0, 2.1, 1000.0].iter().for_each(|number| _ = sketch.add(*number));
        assert_eq!(sketch.powers_of_two(), [(0.0, 1), (2.0, 2), (4.0, 2), (1024.0, 1)]);
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_close_to_a_number_that_was_there(
            mut numbers in prop::collection::vec(prop_oneof![-1e12..1e12f64, 0.0..1.0f64], 1..200),
            q in 0.01..1.0f64,
        ) {
            let (mut sketch, mut halves) = (Sketch::default(), [Sketch::default(), Sketch::default()]);
            for (at, number) in numbers.iter().enumerate() {
                sketch.add(*number);
                halves[at % 2].add(*number);
            }
            let [mut merged, other] = halves;
            merged.merge(&other);
            numbers.sort_unstable_by(f64::total_cmp);
            let rank = ((q * numbers.len() as f64).ceil() as usize).clamp(1, numbers.len());
            let (exact, got) = (numbers[rank - 1], sketch.quantile(q).unwrap());
            prop_assert!((got - exact).abs() <= exact.abs() * 0.011 + f64::MIN_POSITIVE, "{got} for {exact}");
            prop_assert_eq!(merged.quantile(q), Some(got));
        }
    }
}
