//! The workload of a crash test: a random sequence of appends, late spans, resends, merges, retention by rules, pins,
//! deletions, restarts and clock jumps. It follows from its seed alone.

use std::time::Duration;

use spandrel_proto::TraceId;
use spandrel_storage::plan::{Comparison, Field, Literal, Predicate};
use spandrel_storage::{RetentionRule, StoreConfig};

use crate::contract::deletion;
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, sent, text};
use crate::{harness, oracle};

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Batches arrive at the same time; if there are several, background work runs as well.
    Append(Vec<u64>),
    /// A round of background work.
    Maintain,
    /// Everything is merged.
    Seal,
    /// A backup is taken and discarded.
    BackUp,
    /// A trace is pinned, if it is there.
    Pin(u64),
    /// A trace is unpinned: a pinned one if there is any, chosen by this number.
    Unpin(u64),
    /// Every trace with a span of this mark is deleted.
    Delete(u64),
    /// The clock jumps to this time.
    Clock(u64),
    /// The store is closed properly and opened again.
    Reopen,
    /// The store is dropped without closing and opened again.
    Drop,
}

/// A random sequence of operations, and the spans of their batches.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// The seed of everything random.
    pub seed: u64,
    /// How many batches arrive at the same time. With 1 the workload runs the same way every time.
    pub senders: u64,
}

/// The age at which a window expires, except for spans that a rule keeps.
pub(super) const RETENTION: u64 = 24 * HOUR;
/// The ages in hours at which chatty and failed spans expire.
const CHATTY: u64 = 4 * HOUR;
const FAILED: u64 = 30 * HOUR;
/// How long expired spans still count: longer than any span is kept.
pub(super) const ROLLUP_RETENTION: u64 = 40 * HOUR;
/// All spans belong to so few traces that each trace has spans in many batches.
pub(super) const TRACES: u64 = 9;
/// One span in so many has a mark. There are few marks, so that a deletion takes some traces and not all.
const MARKED: u64 = 8;
const MARKS: u64 = 6;
/// Names of spans: so many that most names have one span.
const NAMES: u64 = 40;
/// Spans of a batch, at most.
const SPANS: u64 = 8;
/// One batch in so many is an earlier one, sent again.
const RESENT: u64 = 8;

/// The lifetimes of spans: the ages at which spans of a window expire.
pub(super) const LIFETIMES: [u64; 3] = [CHATTY, RETENTION, FAILED];

pub(super) fn lifetime_of(span: &Sent) -> u64 {
    match (oracle::failed(span), oracle::service(span)) {
        (true, _) => FAILED,
        (false, "chatty") => CHATTY,
        (false, _) => RETENTION,
    }
}

/// Selects the spans with a mark.
pub(super) fn marked(mark: u64) -> Predicate {
    deletion::with("mark", &mark.to_string())
}

/// The number of a trace in a workload.
pub(super) fn number_of(trace: TraceId) -> u64 {
    u128::from_be_bytes(*trace.as_bytes()) as u64
}

// === impl Workload ===

impl Workload {
    /// Limits so small that a short workload reaches them. In one workload of three, replaced blocks have a grace
    /// shorter than most clock jumps, so that they wait for it while other operations run.
    pub fn config(&self) -> StoreConfig {
        let rule = |predicate, keep| RetentionRule { predicate, keep: Duration::from_nanos(keep) };
        let failed = Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true)));
        let grace = if self.seed.is_multiple_of(3) { 10 * SECOND } else { 0 };
        StoreConfig {
            retention: Duration::from_nanos(RETENTION),
            retention_rules: vec![
                rule(failed, FAILED),
                rule(deletion::with("service.name", "chatty"), CHATTY),
            ],
            rollup_retention: Some(Duration::from_nanos(ROLLUP_RETENTION)),
            merge_blocks: 4,
            max_merge_blocks: 6,
            sealed_rows: 16,
            replaced_grace: Duration::from_nanos(grace),
            ..harness::config()
        }
    }

    /// The first operations of the workload.
    pub fn ops(&self, length: usize) -> Vec<Op> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (mut sent, mut now) = (0, BEGIN);
        let mut jump = |random: &mut fastrand::Rng| {
            let far = *random.choice(&[20 * SECOND, MINUTE, HOUR, 5 * HOUR, 5 * HOUR, 26 * HOUR]).unwrap();
            // No clock shows the same nanosecond twice, wherever it jumps, because block numbers come from it.
            let far = far + random.u64(..SECOND);
            now = if random.u8(..) < 64 { now.saturating_sub(far) } else { now + far };
            Op::Clock(now)
        };
        let mut append = || {
            sent += self.senders;
            Op::Append((sent + 1 - self.senders..=sent).collect())
        };
        let mut next = |random: &mut fastrand::Rng| match random.u8(0..32) {
            0..13 => append(),
            13..17 => Op::Maintain,
            17..19 => Op::Seal,
            19..24 => jump(random),
            24 => Op::Reopen,
            25 => Op::BackUp,
            26 => Op::Drop,
            27..29 => Op::Pin(random.u64(1..=TRACES)),
            29 => Op::Unpin(random.u64(1..=TRACES)),
            _ => Op::Delete(random.u64(..MARKS)),
        };
        std::iter::repeat_with(|| random.fork()).map(|mut random| next(&mut random)).take(length).collect()
    }

    /// The spans of a batch: of several traces and any time, small and large, new or sent before.
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
    // Incompressible text: some blocks have several pages, and memtables fill.
    let filling = *random.choice(&[0, 20, 200, 2_000, 60_000]).unwrap();
    let filling: String = std::iter::repeat_with(|| random.alphanumeric()).take(filling).collect();
    let trace = random.u64(1..=TRACES);
    // Some traces are chatty and some fail, so that rules expire or keep whole traces.
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
    fn a_seed_makes_one_workload() {
        let workload = Workload { seed: 7, senders: 3 };
        assert_eq!(workload.ops(50), workload.ops(80)[..50]);
        assert_eq!(workload.batch(9), workload.batch(9));
        assert_ne!(workload.ops(50), Workload { seed: 8, senders: 3 }.ops(50));
    }
}
