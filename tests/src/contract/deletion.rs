//! Deleted traces disappear from every answer at once and from every block in the end.

use std::time::{Duration, Instant};

use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate, ScanPlan};
use spandrel_storage::{Deletion, Deletions, Pins, RetentionRule, TraceStore};

use super::Open;
use crate::harness::Harness;
use crate::spans::{HOUR, sent, text, trace_id};

const PATIENCE: Duration = Duration::from_secs(30);

/// Selects the spans whose attribute `key` is `value`.
pub fn with(key: &str, value: &str) -> Predicate {
    let field = Field::Attribute(AttributeScope::Any, key.to_owned());
    Predicate::Compare(field, Comparison::Eq(Literal::String(value.to_owned())))
}

fn everything(predicate: Predicate) -> ScanPlan {
    ScanPlan { predicate, range: TimeRange::ALL }
}

pub(super) fn begin(harness: &Harness, predicate: Predicate) -> Deletion {
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

pub(super) fn ids(harness: &Harness) -> Vec<u64> {
    let mut ids: Vec<u64> = harness
        .find(Predicate::All)
        .iter()
        .map(|trace| u128::from_be_bytes(*trace.id.as_bytes()) as u64)
        .collect();
    ids.sort_unstable();
    ids
}

/// Nothing is left of a deleted tenant in any answer, its pins and what rules have counted included; another tenant
/// keeps everything, and what arrives later stays.
pub fn a_tenant_is_deleted_as_a_whole(open: Open) {
    let mut harness = open();
    let (gone, stays) = (TenantId::new("gone").unwrap(), TenantId::new("stays").unwrap());
    for window in 0..3 {
        for tenant in [&gone, &stays] {
            harness.append_for(tenant, &[sent(1, 10 + window), sent(2 + window, 1)]);
        }
        harness.clock.advance(HOUR);
    }
    harness.store().seal_all();
    harness.store().pin(&gone, trace_id(1)).unwrap();
    harness.store().pin(&stays, trace_id(1)).unwrap();
    let size = |harness: &Harness, tenant| harness.store().tenant_status(tenant).span_count;
    assert_eq!((size(&harness, &gone), size(&harness, &stays)), (6, 6));
    let deletions = harness.store().delete_tenant(&gone).unwrap();
    assert_eq!(deletions.iter().map(|deletion| deletion.traces).sum::<u64>(), 4);
    assert!(harness.trace_for(&gone, trace_id(1)).is_empty());
    harness.append_for(&gone, &[sent(9, 9)]);
    let deadline = Instant::now() + PATIENCE;
    while harness.store().deletions(&gone).unwrap().iter().any(|deletion| deletion.finished.is_none()) {
        harness.maintain(1);
        assert!(Instant::now() < deadline, "the deletion does not end");
    }
    for _ in 0..2 {
        assert_eq!((size(&harness, &gone), size(&harness, &stays)), (1, 6));
        assert!(harness.store().pins(&gone).is_empty());
        assert_eq!(harness.store().pins(&stays).len(), 1);
        assert_eq!(harness.trace_for(&stays, trace_id(1)).len(), 3);
        assert_eq!(harness.store().tenants(), [gone.clone(), stays.clone()]);
        harness.restart();
    }
    assert!(harness.store().delete_tenant(&TenantId::new("never").unwrap()).unwrap().is_empty());
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
