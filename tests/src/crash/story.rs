//! What happens to a store: appends, late spans, resends, merges, retention, restarts, a clock that
//! jumps. Random, and the same for the same seed.

use std::time::Duration;

use spandrel_storage::StoreConfig;

use crate::harness;
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, sent, text};

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Batches arrive, all at once, while the background works.
    Append(Vec<u64>),
    /// A round of background work.
    Maintain,
    /// Everything is merged.
    Seal,
    /// A backup is taken, and thrown away.
    BackUp,
    /// The clock jumps to this time.
    Clock(u64),
    /// The store is closed in order and opened again.
    Reopen,
    /// The store is dropped as it is and opened again.
    Drop,
}

/// A random sequence of acts, and what the batches hold.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// What it is made of.
    pub seed: u64,
    /// Batches that arrive at once. With one, the story runs the same way every time.
    pub senders: u64,
}

/// The age at which a window goes.
pub const RETENTION: u64 = 24 * HOUR;
/// All spans are of so few traces: each has parts in many batches.
pub(super) const TRACES: u64 = 9;
/// Spans of a batch, at most.
const SPANS: u64 = 8;
/// A new batch is an old one, sent again, once in so many.
const RESENT: u64 = 8;

/// Bounds so small that a short story meets them.
pub fn config() -> StoreConfig {
    StoreConfig {
        retention: Duration::from_nanos(RETENTION),
        merge_blocks: 4,
        max_merge_blocks: 6,
        sealed_rows: 16,
        ..harness::config()
    }
}

// === impl Story ===

impl Story {
    /// The first acts of the story.
    pub fn acts(&self, length: usize) -> Vec<Act> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (mut sent, mut now) = (0, BEGIN);
        let mut jump = |random: &mut fastrand::Rng| {
            let far = *random.choice(&[20 * SECOND, 20 * SECOND, MINUTE, HOUR, 5 * HOUR, 26 * HOUR]).unwrap();
            // No clock shows one nanosecond twice, wherever it jumps; block numbers rely on that.
            let far = far + random.u64(..SECOND);
            now = if random.u8(..) < 64 { now.saturating_sub(far) } else { now + far };
            Act::Clock(now)
        };
        let mut append = || {
            sent += self.senders;
            Act::Append((sent + 1 - self.senders..=sent).collect())
        };
        let mut next = |random: &mut fastrand::Rng| match random.u8(0..25) {
            0..12 => append(),
            12..16 => Act::Maintain,
            16..18 => Act::Seal,
            18..22 => jump(random),
            22 => Act::Reopen,
            23 => Act::BackUp,
            _ => Act::Drop,
        };
        std::iter::repeat_with(|| random.fork()).map(|mut random| next(&mut random)).take(length).collect()
    }

    /// The spans of a batch: of several traces and of any time, small and large, new or sent before.
    pub fn batch(&self, number: u64) -> Vec<Sent> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if number > 1 && random.u64(..RESENT) == 0 {
            return self.batch(random.u64(1..number));
        }
        let spans = 1..=random.u64(1..=SPANS);
        spans.map(|place| span(&mut random, number * 100 + place)).collect()
    }
}

fn span(random: &mut fastrand::Rng, id: u64) -> Sent {
    let start = match random.u8(0..10) {
        0 => 0,
        1 => BEGIN - random.u64(..30 * HOUR),
        _ => BEGIN + random.u64(..10 * MINUTE),
    };
    // Text that does not compress: some blocks are of several pages, and memtables fill.
    let filling = *random.choice(&[0, 20, 200, 2_000, 60_000]).unwrap();
    let filling: String = std::iter::repeat_with(|| random.alphanumeric()).take(filling).collect();
    sent(random.u64(1..=TRACES), id)
        .service(random.choice(&["shop", "till"]).unwrap())
        .times(start, start.saturating_add(random.u64(..SECOND)))
        .with("filling", text(&filling))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_one_story() {
        let story = Story { seed: 7, senders: 3 };
        assert_eq!(story.acts(50), story.acts(80)[..50]);
        assert_eq!(story.batch(9), story.batch(9));
        assert_ne!(story.acts(50), Story { seed: 8, senders: 3 }.acts(50));
    }
}
