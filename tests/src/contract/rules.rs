//! Retention rules keep whole traces, and aggregates go on counting the spans that they drop.

use std::time::Duration;

use spandrel_proto::TenantId;
use spandrel_storage::plan::{AggregatePlan, Comparison, Field, Literal, Predicate};
use spandrel_storage::{RetentionRule, TraceStore};

use super::Open;
use super::deletion::{ids, with};
use crate::harness::Harness;
use crate::spans::{HOUR, MINUTE, sent, trace_id};

const DAY: u64 = 24 * HOUR;

fn failed() -> Predicate {
    Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true)))
}

fn rule(predicate: Predicate, keep: u64) -> RetentionRule {
    RetentionRule { predicate, keep: Duration::from_nanos(keep) }
}

fn with_rules(open: Open, rules: Vec<RetentionRule>) -> Harness {
    let mut harness = open();
    harness.config.retention_rules = rules;
    harness.restart();
    harness
}

/// The first matching rule decides about a span, and the longest-lived span about its trace.
pub fn rules_keep_whole_traces(open: Open) {
    let chatty = with("service.name", "chatty");
    let mut harness = with_rules(open, vec![rule(failed(), 30 * DAY), rule(chatty, DAY)]);
    let chatty = |trace, span| sent(trace, span).service("chatty");
    harness.append(&[sent(1, 1), sent(2, 1), sent(2, 2).status(2), chatty(3, 1), chatty(4, 1)]);
    harness.append(&[sent(4, 2), chatty(5, 1).status(2)]);
    harness.clock.advance(HOUR);
    // A span with a long lifetime also keeps the spans of its trace in other windows.
    harness.append(&[sent(6, 1), sent(7, 1)]);
    harness.clock.advance(HOUR);
    harness.append(&[sent(6, 2).status(2)]);
    harness.store().seal_all();
    let all: [(u64, &[u64]); 4] = [
        (DAY / 2, &[1, 2, 3, 4, 5, 6, 7]),
        (DAY, &[1, 2, 4, 5, 6, 7]),
        (6 * DAY, &[2, 5, 6]),
        (30 * DAY, &[]),
    ];
    for (later, left) in all {
        harness.clock.advance(later);
        harness.maintain(2);
        harness.whatever_happens(|harness| assert_eq!(ids(harness), left, "{} days later", later / DAY));
        if left.contains(&6) {
            assert_eq!(harness.trace(trace_id(6)).len(), 2);
            assert_eq!(harness.trace(trace_id(2)).len(), 2);
        }
    }
    assert_eq!(harness.store().status().span_count, 0);
}

/// Aggregates include the spans that a rule has removed until the rollups expire themselves.
pub fn counts_outlive_their_spans(open: Open) {
    let mut harness = with_rules(open, vec![rule(with("service.name", "chatty"), DAY)]);
    let chatty = |trace, span, at| sent(trace, span).service("chatty").at(at, 1_000 * span);
    harness.append(&[chatty(1, 1, 0), chatty(1, 2, MINUTE + 1).status(2), sent(2, 1).at(5, 7)]);
    // An expired and a kept trace share a block; sealed and fresh blocks share a window.
    harness.store().seal_all();
    harness.append(&[chatty(3, 3, 2 * MINUTE), sent(4, 1), chatty(4, 2, 3)]);
    let plan = super::aggregate::plan();
    let fine = AggregatePlan { step: 1_000, ..plan.clone() };
    let before = super::aggregate::answer(&harness, &plan);
    let by_hand: u64 = before.values().map(|(requests, ..)| requests).sum();
    assert_eq!(by_hand, 6);
    harness.clock.advance(DAY + HOUR);
    harness.maintain(2);
    harness.whatever_happens(|harness| {
        assert_eq!(ids(harness), [2, 4]);
        assert_eq!(super::aggregate::answer(harness, &plan), before, "as if nothing had gone");
        let asked = |plan| harness.store().aggregate(&TenantId::default(), plan).unwrap();
        assert!(!asked(&plan).estimated);
        assert!(asked(&fine).estimated, "nobody knows the second any more");
        let other = AggregatePlan { service: Some("shop".to_owned()), ..fine.clone() };
        assert!(!asked(&other).estimated, "of this service nothing has gone");
    });
    harness.clock.advance(6 * DAY);
    harness.maintain(2);
    assert!(super::aggregate::answer(&harness, &plan).is_empty(), "the counts go, too");
}
