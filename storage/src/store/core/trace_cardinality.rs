//! Counts distinct traces in bounded memory: exactly up to a limit, as an estimate beyond.

use rustc_hash::FxHashSet;
use spandrel_proto::TraceId;

/// Grows from an exact set into a HyperLogLog sketch.
#[derive(Debug)]
pub(crate) enum TraceCounter {
    Exact(FxHashSet<u64>),
    Sketch(Vec<u8>),
}

/// The most traces that are counted exactly, which takes at most about 10 MB.
const EXACT: usize = 500_000;
/// 2^14 registers, for a standard error of 0.8 %.
const INDEX_BITS: u32 = 14;

// === impl TraceCounter ===

impl TraceCounter {
    pub(crate) fn add(&mut self, trace: TraceId) {
        let hash = hash(trace);
        match self {
            Self::Exact(seen) => {
                seen.insert(hash);
                if seen.len() > EXACT {
                    let mut registers = vec![0; 1 << INDEX_BITS];
                    for hash in &*seen {
                        raise(&mut registers, *hash);
                    }
                    *self = Self::Sketch(registers);
                }
            }
            Self::Sketch(registers) => raise(registers, hash),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Exact(seen) => seen.len() as u64,
            Self::Sketch(registers) => estimate(registers),
        }
    }
}

impl Default for TraceCounter {
    fn default() -> Self {
        Self::Exact(FxHashSet::default())
    }
}

/// Mixes the bits of trace IDs, because some exporters count instead of using random IDs.
fn hash(trace: TraceId) -> u64 {
    let id = u128::from_be_bytes(*trace.as_bytes());
    let mut x = (id as u64) ^ ((id >> 64) as u64).rotate_left(32);
    for factor in [0xbf58_476d_1ce4_e5b9u64, 0x94d0_49bb_1331_11eb] {
        x = (x ^ (x >> 30)).wrapping_mul(factor);
    }
    x ^ (x >> 31)
}

fn raise(registers: &mut [u8], hash: u64) {
    let index = (hash >> (64 - INDEX_BITS)) as usize;
    let rank = (hash << INDEX_BITS | 1 << (INDEX_BITS - 1)).leading_zeros() as u8 + 1;
    registers[index] = registers[index].max(rank);
}

/// The classic estimator; the exact set covers the range where it is biased.
fn estimate(registers: &[u8]) -> u64 {
    let m = registers.len() as f64;
    let alpha = 0.7213 / (1.0 + 1.079 / m);
    let sum: f64 = registers.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
    (alpha * m * m / sum).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_then_close() {
        let mut counter = TraceCounter::default();
        let id = |n: u64| TraceId::from_bytes(u128::from(n).to_be_bytes());
        (1..=1000).chain(1..=1000).for_each(|n| counter.add(id(n)));
        assert_eq!(counter.count(), 1000);
        (1..=1_000_000).for_each(|n| counter.add(id(n)));
        let count = counter.count();
        assert!((980_000..=1_020_000).contains(&count), "{count}");
    }
}
