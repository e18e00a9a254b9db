//! What happens to a store: appends, late spans, resends, merges, retention by rules, pins, deletions,
//! restarts, a clock that jumps. Random, and the same for the same seed.

use std::time::Duration;

use spandrel_proto::TraceId;
use spandrel_storage::plan::{Comparison, Field, Literal, Predicate};
use spandrel_storage::{RetentionRule, StoreConfig};

use crate::contract::cleaning;
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, sent, text};
use crate::{harness, oracle};

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
    /// A trace is pinned, if it is there.
    Pin(u64),
    /// A pin is taken away: that of a trace which has one, if any does. Which one follows from this.
    Unpin(u64),
    /// Every trace with a span of this mark is deleted.
    Delete(u64),
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

/// The age at which a window goes, but for what the rules keep.
pub(super) const RETENTION: u64 = 24 * HOUR;
/// The age at which chatty spans go, in hours, and failed ones.
const CHATTY: u64 = 4 * HOUR;
const FAILED: u64 = 30 * HOUR;
/// How long it is known how many spans a rule has let go: longer than any of them is kept.
pub(super) const COUNTS: u64 = 40 * HOUR;
/// All spans are of so few traces: each has parts in many batches.
pub(super) const TRACES: u64 = 9;
/// One span in so many has a mark, one of a few: a deletion takes some traces, and not all.
const MARKED: u64 = 8;
const MARKS: u64 = 6;
/// Names of spans: so many that what is counted of each is mostly one span.
const NAMES: u64 = 40;
/// Spans of a batch, at most.
const SPANS: u64 = 8;
/// A new batch is an old one, sent again, once in so many.
const RESENT: u64 = 8;

/// The ages at which a window lets something go, and how long a span lives by itself.
pub(super) const TIMES: [u64; 3] = [CHATTY, RETENTION, FAILED];

pub(super) fn time_of(span: &Sent) -> u64 {
    match (oracle::failed(span), oracle::service(span)) {
        (true, _) => FAILED,
        (false, "chatty") => CHATTY,
        (false, _) => RETENTION,
    }
}

/// Spans with a mark.
pub(super) fn marked(mark: u64) -> Predicate {
    cleaning::with("mark", &mark.to_string())
}

/// The number that a trace has in a story.
pub(super) fn number_of(trace: TraceId) -> u64 {
    u128::from_be_bytes(*trace.as_bytes()) as u64
}

// === impl Story ===

impl Story {
    /// Bounds so small that a short story meets them. In one story of three replaced blocks have a grace, shorter
    /// than most jumps of the clock: they wait for it while other things happen.
    pub fn config(&self) -> StoreConfig {
        let rule = |predicate, keep| RetentionRule { predicate, keep: Duration::from_nanos(keep) };
        let failed = Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true)));
        let grace = if self.seed.is_multiple_of(3) { 10 * SECOND } else { 0 };
        StoreConfig {
            retention: Duration::from_nanos(RETENTION),
            retention_rules: vec![
                rule(failed, FAILED),
                rule(cleaning::with("service.name", "chatty"), CHATTY),
            ],
            rollup_retention: Some(Duration::from_nanos(COUNTS)),
            merge_blocks: 4,
            max_merge_blocks: 6,
            sealed_rows: 16,
            replaced_grace: Duration::from_nanos(grace),
            ..harness::config()
        }
    }

    /// The first acts of the story.
    pub fn acts(&self, length: usize) -> Vec<Act> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (mut sent, mut now) = (0, BEGIN);
        let mut jump = |random: &mut fastrand::Rng| {
            let far = *random.choice(&[20 * SECOND, MINUTE, HOUR, 5 * HOUR, 5 * HOUR, 26 * HOUR]).unwrap();
            // No clock shows one nanosecond twice, wherever it jumps; block numbers rely on that.
            let far = far + random.u64(..SECOND);
            now = if random.u8(..) < 64 { now.saturating_sub(far) } else { now + far };
            Act::Clock(now)
        };
        let mut append = || {
            sent += self.senders;
            Act::Append((sent + 1 - self.senders..=sent).collect())
        };
        let mut next = |random: &mut fastrand::Rng| match random.u8(0..32) {
            0..13 => append(),
            13..17 => Act::Maintain,
            17..19 => Act::Seal,
            19..24 => jump(random),
            24 => Act::Reopen,
            25 => Act::BackUp,
            26 => Act::Drop,
            27..29 => Act::Pin(random.u64(1..=TRACES)),
            29 => Act::Unpin(random.u64(1..=TRACES)),
            _ => Act::Delete(random.u64(..MARKS)),
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
    let trace = random.u64(1..=TRACES);
    // Some traces are chatty and some fail: a rule lets whole traces go, or keeps them.
    let (services, failures): (&[&str], u64) = match trace % 3 {
        0 => (&["chatty"], 16),
        1 => (&["shop", "till"], u64::MAX),
        _ => (&["shop", "chatty"], 4),
    };
    let is_failed = random.u64(..failures) == 0;
    let span = sent(trace, id)
        .service(random.choice(services).unwrap())
        .name(&format!("GET /{}", random.u64(..NAMES)))
        .times(start, start.saturating_add(random.u64(..SECOND)))
        .with("filling", text(&filling));
    let span = if is_failed { span.status(2) } else { span };
    match random.u64(..MARKED) {
        0 => span.with("mark", text(&random.u64(..MARKS).to_string())),
        _ => span,
    }
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
