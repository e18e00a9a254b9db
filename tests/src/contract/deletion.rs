//! Deleted traces disappear from every answer at once and from every block in the end; pinned traces and traces that a
//! rule keeps stay.

use std::time::{Duration, Instant};

use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::plan::{
    AggregatePlan, AttributeScope, Comparison, Field, Literal, Predicate, ScanPlan,
};
use spandrel_storage::{Cleaning, Deletion, RetentionRule, TraceStore};

use super::Open;
use crate::harness::Harness;
use crate::spans::{HOUR, MINUTE, Sent, sent, text, trace_id};

const DAY: u64 = 24 * HOUR;
const PATIENCE: Duration = Duration::from_secs(30);

/// Selects the spans whose attribute `key` is `value`.
pub fn with(key: &str, value: &str) -> Predicate {
    let field = Field::Attribute(AttributeScope::Any, key.to_owned());
    Predicate::Compare(field, Comparison::Eq(Literal::String(value.to_owned())))
}

fn failed() -> Predicate {
    Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true)))
}

fn everything(predicate: Predicate) -> ScanPlan {
    ScanPlan { predicate, range: TimeRange::ALL }
}

fn begin(harness: &Harness, predicate: Predicate) -> Deletion {
    harness.store().delete(&TenantId::default(), &everything(predicate)).unwrap()
}

/// Runs background work until a deletion is finished.
pub fn finish(harness: &Harness, deletion: &Deletion) -> Deletion {
    let deadline = Instant::now() + PATIENCE;
    loop {
        harness.maintain(1);
        let now = harness.store().deletion(&TenantId::default(), deletion.id).unwrap().unwrap();
        if now.finished.is_some() {
            return now;
        }
        assert!(Instant::now() < deadline, "the deletion does not end: {now:?}");
    }
}

fn ids(harness: &Harness) -> Vec<u64> {
    let mut ids: Vec<u64> = harness
        .find(Predicate::All)
        .iter()
        .map(|trace| u128::from_be_bytes(*trace.id.as_bytes()) as u64)
        .collect();
    ids.sort_unstable();
    ids
}

/// A trace with one matching span is deleted in all windows; every other trace is complete.
pub fn whole_traces_are_deleted(open: Open) {
    let mut harness = open();
    for window in 0..3 {
        harness.append(&[sent(1, 10 + window), sent(2, 10 + window), sent(3 + window, 1)]);
        if window == 1 {
            harness.append(&[sent(1, 1).with("user", text("mallory")), sent(2, 2).with("user", text("bob"))]);
        }
        harness.clock.advance(HOUR);
        if window < 2 {
            harness.store().seal_all();
        }
    }
    let before = harness.store().status().span_count;
    let deletion = begin(&harness, with("user", "mallory"));
    assert_eq!((deletion.traces, deletion.finished), (1, None));
    assert_eq!(ids(&harness), [2, 3, 4, 5], "what is being deleted is hidden at once");
    assert_eq!(harness.trace(trace_id(1)), []);
    let done = finish(&harness, &deletion);
    assert_eq!((done.traces, done.spans, done.damaged_blocks), (1, 4, 0));
    assert_eq!(harness.store().status().span_count, before - 4);
    harness.whatever_happens(|harness| {
        assert_eq!(ids(harness), [2, 3, 4, 5]);
        assert_eq!(harness.trace(trace_id(1)), []);
        assert_eq!(harness.trace(trace_id(2)).len(), 4);
        assert_eq!(harness.find(with("user", "bob")).len(), 1);
        assert_eq!(harness.store().status().trace_count, 4);
    });
    let remembered = harness.store().deletions(&TenantId::default()).unwrap();
    assert_eq!(remembered, [done]);
}

/// Names and counts of the deleted spans disappear.
pub fn names_are_deleted_with_their_spans(open: Open) {
    let harness = open();
    harness.append(&[sent(1, 1).service("secret").name("GET /mallory"), sent(2, 1)]);
    harness.store().seal_all();
    harness.append(&[sent(3, 1).service("secret").name("GET /mallory")]);
    let deletion = begin(&harness, with("service.name", "secret"));
    finish(&harness, &deletion);
    let (store, tenant) = (harness.store(), TenantId::default());
    assert_eq!(store.services(&tenant), ["shop"]);
    assert!(store.operations(&tenant, "secret").is_empty());
    let plan = super::aggregate::plan();
    let counted: u64 =
        super::aggregate::answer(&harness, &plan).values().map(|(requests, ..)| requests).sum();
    assert_eq!(counted, 1);
}

/// A deleted span that is sent again is a new span.
pub fn spans_that_arrive_again_stay(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1).with("user", text("mallory")), sent(2, 1)]);
    let deletion = begin(&harness, with("user", "mallory"));
    harness.append(&[sent(1, 1).with("user", text("mallory"))]);
    // A merge sees both copies before the deletion reaches the block.
    harness.store().seal_all();
    assert_eq!(finish(&harness, &deletion).spans, 1);
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(1)).len(), 1));
}

/// Spans under deletion are not found although their trace has new spans, and a second deletion matches none of them.
pub fn what_is_being_deleted_finds_nothing(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1).with("user", text("mallory")), sent(2, 1)]);
    let deletion = begin(&harness, with("user", "mallory"));
    harness.append(&[sent(1, 2)]);
    assert!(harness.find(with("user", "mallory")).is_empty());
    let plan = everything(with("user", "mallory"));
    assert_eq!(harness.store().scan(&TenantId::default(), &plan).unwrap().count(), 0);
    assert_eq!(begin(&harness, with("user", "mallory")).traces, 0, "a span that came later goes, too");
    finish(&harness, &deletion);
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(1)), [sent(1, 2)]));
}

/// A rule that expires spans under deletion keeps no counts of them, whether it shrinks the block or removes it.
pub fn what_is_being_deleted_is_not_counted(open: Open) {
    let mut harness = open();
    harness.config.retention_rules =
        vec![RetentionRule { predicate: with("service.name", "secret"), keep: Duration::from_secs(3600) }];
    harness.restart();
    harness.append(&[sent(1, 1).service("secret"), sent(2, 1)]);
    harness.store().seal_all();
    harness.append(&[sent(3, 1).service("secret")]);
    let deletion = begin(&harness, with("service.name", "secret"));
    harness.clock.advance(3 * HOUR);
    finish(&harness, &deletion);
    let plan = super::aggregate::plan();
    let counted: u64 =
        super::aggregate::answer(&harness, &plan).values().map(|(requests, ..)| requests).sum();
    assert_eq!(counted, 1);
}

/// The store refuses to pin a trace under deletion, because the deletion would remove an acknowledged pin.
pub fn what_is_being_deleted_is_not_pinned(open: Open) {
    let harness = open();
    harness.append(&[sent(1, 1).with("user", text("mallory"))]);
    let deletion = begin(&harness, with("user", "mallory"));
    harness.append(&[sent(1, 2)]);
    let pin = || harness.store().pin(&TenantId::default(), trace_id(1)).unwrap();
    assert_eq!(pin(), None);
    finish(&harness, &deletion);
    assert!(pin().is_some() && harness.store().pins(&TenantId::default()).len() == 1);
}

/// A deletion covers only the spans that were stored when it began.
pub fn spans_that_arrive_later_stay(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1).with("user", text("mallory")), sent(2, 1)]);
    let deletion = begin(&harness, with("user", "mallory"));
    harness.append(&[sent(1, 2)]);
    assert_eq!(harness.trace(trace_id(1)), [sent(1, 2)], "what was acknowledged is found");
    harness.store().seal_all();
    assert_eq!(finish(&harness, &deletion).spans, 1);
    harness.whatever_happens(|harness| {
        assert_eq!(harness.trace(trace_id(1)), [sent(1, 2)]);
        assert_eq!(ids(harness), [1, 2]);
    });
}

/// The store restarts after every round of background work.
pub fn a_deletion_survives_restarts(open: Open) {
    let mut harness = open();
    for window in 1..5 {
        let marked = sent(1, window).with("user", text("mallory"));
        harness.append(&[marked, sent(2, window), sent(10 + window, 1)]);
        harness.clock.advance(HOUR);
        harness.store().seal_all();
    }
    let mut deletion = begin(&harness, with("user", "mallory"));
    let deadline = Instant::now() + PATIENCE;
    while deletion.finished.is_none() {
        harness.restart();
        assert_eq!(harness.trace(trace_id(1)), []);
        assert_eq!(ids(&harness), [2, 11, 12, 13, 14]);
        harness.maintain(1);
        if harness.store().status().span_count == 8 {
            deletion = finish(&harness, &deletion);
        }
        assert!(Instant::now() < deadline, "{deletion:?}");
    }
    harness.whatever_happens(|harness| {
        assert_eq!(ids(harness), [2, 11, 12, 13, 14]);
        assert_eq!(harness.trace(trace_id(2)).len(), 4);
    });
}

/// A deletion that matches nothing removes nothing and finishes.
pub fn nothing_to_delete_is_no_error(open: Open) {
    let harness = open();
    let nothing = begin(&harness, with("user", "mallory"));
    harness.append(&[sent(1, 1)]);
    let other = TenantId::new("other").unwrap();
    let foreign = harness.store().delete(&other, &everything(Predicate::All)).unwrap();
    assert_eq!((nothing.traces, foreign.traces), (0, 0));
    assert_eq!(finish(&harness, &nothing).spans, 0);
    assert_eq!(ids(&harness), [1]);
    assert_eq!(harness.store().deletions(&other).unwrap().len(), 1);
}

/// Retention removes only the rest of a pinned trace's windows. A deletion also removes pinned traces.
pub fn pinned_traces_stay(open: Open) {
    let mut harness = open();
    let tenant = TenantId::default();
    assert_eq!(harness.store().pin(&tenant, trace_id(1)).unwrap(), None, "there is nothing to pin");
    for window in 1..4 {
        harness.append(&[sent(1, window), sent(2, window), sent(10 + window, 1)]);
        harness.clock.advance(HOUR);
    }
    let since = harness.store().pin(&tenant, trace_id(1)).unwrap().unwrap();
    harness.clock.advance(MINUTE);
    assert_eq!(harness.store().pin(&tenant, trace_id(1)).unwrap(), Some(since), "pinned once");
    harness.clock.advance(8 * DAY);
    harness.maintain(2);
    harness.whatever_happens(|harness| {
        assert_eq!(ids(harness), [1]);
        assert_eq!(harness.trace(trace_id(1)).len(), 3);
        assert_eq!(harness.store().pins(&tenant), [(trace_id(1), since)]);
    });
    assert!(harness.store().unpin(&tenant, trace_id(1)).unwrap());
    assert!(!harness.store().unpin(&tenant, trace_id(1)).unwrap());
    harness.maintain(2);
    assert_eq!(ids(&harness), [0; 0]);
    assert_eq!(harness.store().status().span_count, 0);
    harness.append(&[sent(5, 1)]);
    harness.store().pin(&tenant, trace_id(5)).unwrap();
    let deletion = begin(&harness, Predicate::All);
    finish(&harness, &deletion);
    assert_eq!(harness.store().pins(&tenant), []);
    assert_eq!(ids(&harness), [0; 0]);
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

/// Above the bound the store removes the oldest windows of all tenants, and no more than necessary.
pub fn the_oldest_windows_go_first(open: Open) {
    let mut harness = open();
    let other = TenantId::new("other").unwrap();
    for window in 0..6 {
        let tenant = if window % 2 == 0 { TenantId::default() } else { other.clone() };
        fill(&harness, &tenant, window);
        harness.clock.advance(HOUR);
        harness.store().seal_all();
        harness.maintain(1);
    }
    harness.restart();
    let full = settled(&harness);
    harness.config.max_disk_bytes = Some(full * 6 / 10);
    harness.restart();
    let left = settled(&harness);
    assert!(left <= full * 6 / 10, "{left} of {full} bytes are left");
    assert!(left > full * 3 / 10, "{left} of {full} bytes are left: too much went");
    let kept: Vec<bool> = (0..6)
        .map(|window| {
            let tenant = if window % 2 == 0 { TenantId::default() } else { other.clone() };
            !harness.trace_for(&tenant, trace_id(window * 10_000 + 1)).is_empty()
        })
        .collect();
    assert!(kept.is_sorted(), "not the oldest went: {kept:?}");
    assert!(kept[5] && !kept[0], "{kept:?}");
    assert!(harness.store().refusal().is_none());
}

/// The window that receives spans cannot be removed: if it is the only one, ingest is refused.
pub fn ingest_waits_only_when_nothing_can_go(open: Open) {
    let mut harness = open();
    fill(&harness, &TenantId::default(), 0);
    harness.store().seal_all();
    harness.restart();
    let full = settled(&harness);
    harness.config.max_disk_bytes = Some(full / 2);
    harness.restart();
    settled(&harness);
    let refusal = harness.store().refusal().expect("a refusal").to_string();
    assert!(refusal.contains("the disk is full"), "{refusal}");
    assert_eq!(harness.trace(trace_id(1)).len(), 1);
    harness.clock.advance(HOUR);
    assert!(
        harness.store().refusal().is_none(),
        "the window may go now, and ingest does not wait until it has"
    );
    harness.append(&[sent(3, 1)]);
    settled(&harness);
    assert!(harness.store().refusal().is_none());
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(3)).len()), (vec![], 1));
    harness.append(&[sent(2, 1)]);
    assert_eq!(harness.trace(trace_id(2)).len(), 1);
}

/// Appends several megabytes of incompressible spans to one window.
fn fill(harness: &Harness, tenant: &TenantId, window: u64) {
    for part in 0..4 {
        let spans: Vec<Sent> = (0..250)
            .map(|n| {
                let n = window * 10_000 + part * 250 + n + 1;
                sent(n, 1).with("noise", text(&noise(n)))
            })
            .collect();
        harness.append_for(tenant, &spans);
    }
}

fn noise(n: u64) -> String {
    let mut x = n;
    let word = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", x >> 32)
    };
    (0..500).map(word).collect()
}

/// The stored bytes once background work has nothing left to do.
fn settled(harness: &Harness) -> u64 {
    harness.clock.advance(MINUTE);
    let (mut bytes, mut same) = (0, 0);
    // Engines delete files with a delay.
    while same < 50 {
        harness.maintain(1);
        let now = harness.store().status().store_bytes;
        same = if now == bytes { same + 1 } else { 0 };
        bytes = now;
        std::thread::sleep(Duration::from_millis(4));
    }
    bytes
}
