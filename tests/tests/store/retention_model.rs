//! Retention, its rules, pins and deletions against a model: the store loses no span that a rule or a pin keeps, and
//! keeps no other span.
//!
//! The model leaves open the spans whose keeper has expired itself: rules look at the stored spans, and the moment when
//! they look is not specified. A failing sequence is shrunk, and its seed is kept in `proptest-regressions`.
//! they look is not specified. A failing sequence is shrunk, and its seed is kept in `proptest-regressions`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::engine::{EngineError, MemoryEngine};
use spandrel_storage::plan::{Comparison, Field, Literal, Predicate, ScanPlan};
use spandrel_storage::{Clock, Deletions, Pins, RetentionRule, StoreConfig};
use spandrel_tests::arbitrary::{cases, grace};
use spandrel_tests::contract::{aggregate, deletion::with};
use spandrel_tests::harness::{self, Backend, Harness};
use spandrel_tests::spans::{HOUR, MINUTE, Sent, sent, trace_id};

const TRACES: u64 = 6;
const PATIENCE: Duration = Duration::from_secs(30);

/// The kinds of spans that the rules distinguish, with their lifetimes in hours.
const KINDS: [(Kind, u64); 4] =
    [(Kind::Failed, 9), (Kind::Chatty, 2), (Kind::FailedAndChatty, 9), (Kind::Plain, 5)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Failed,
    Chatty,
    FailedAndChatty,
}

#[derive(Debug, Clone)]
enum RetentionStep {
    Append(Vec<(u64, Kind)>),
    Forward(u64),
    Maintain,
    SealAll,
    Restart,
    Pin(u64),
    Unpin(u64),
    Delete(Kind, Vec<(u64, Kind)>),
}

/// A stored span: its hour, and its kind for the rules.
#[derive(Debug, Clone)]
struct Stored {
    hour: u64,
    trace: u64,
    id: u64,
    kind: Kind,
}

#[derive(Default)]
struct Model {
    /// Spans that must be stored.
    least: Vec<Stored>,
    /// Spans that may be stored.
    most: Vec<Stored>,
    /// The lifetime of each trace's longest-lived span, even if that span has expired.
    ever: BTreeMap<u64, u64>,
    pins: BTreeSet<u64>,
    spans: u64,
}

// === impl Model ===

impl Model {
    fn append(&mut self, harness: &Harness, spans: &[(u64, Kind)]) {
        let hour = harness.clock.now().0 / HOUR;
        let sent: Vec<Sent> = spans
            .iter()
            .map(|(trace, kind)| {
                self.spans += 1;
                let stored = Stored { hour, trace: *trace, id: self.spans, kind: *kind };
                let ever = self.ever.entry(*trace).or_default();
                *ever = (*ever).max(hours(*kind));
                self.least.push(stored.clone());
                self.most.push(stored);
                span(*trace, self.spans, *kind)
            })
            .collect();
        harness.append(&sent);
    }

    fn maintain(&mut self, now: u64) {
        let outlived = |hour: u64| (2..=9).rev().find(|time| (hour + 1 + time) * HOUR <= now);
        let windows: BTreeSet<u64> = self.least.iter().map(|span| span.hour).collect();
        for hour in windows {
            let Some(time) = outlived(hour) else { continue };
            let kept: BTreeSet<u64> = self
                .least
                .iter()
                .filter(|span| hours(span.kind) > time)
                .map(|span| span.trace)
                .chain(self.pins.iter().copied())
                .collect();
            self.least.retain(|span| span.hour != hour || kept.contains(&span.trace));
        }
        let (ever, pins) = (&self.ever, &self.pins);
        self.most.retain(|span| {
            pins.contains(&span.trace) || outlived(span.hour).is_none_or(|time| ever[&span.trace] > time)
        });
    }

    fn forget(&mut self, traces: &BTreeSet<u64>) {
        self.least.retain(|span| !traces.contains(&span.trace));
        self.most.retain(|span| !traces.contains(&span.trace));
        self.pins.retain(|trace| !traces.contains(trace));
        self.ever.retain(|trace, _| !traces.contains(trace));
    }
}

fn hours(kind: Kind) -> u64 {
    KINDS.iter().find(|(known, _)| *known == kind).unwrap().1
}

fn span(trace: u64, id: u64, kind: Kind) -> Sent {
    let span = sent(trace, id).service("shop");
    match kind {
        Kind::Plain => span,
        Kind::Failed => span.status(2),
        Kind::Chatty => span.service("chatty"),
        Kind::FailedAndChatty => span.service("chatty").status(2),
    }
}

fn failed() -> Predicate {
    Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true)))
}

fn config(replaced_grace: Duration) -> StoreConfig {
    let rule = |predicate, hours: u64| RetentionRule { predicate, keep: Duration::from_secs(hours * 3600) };
    StoreConfig {
        retention: Duration::from_secs(5 * 3600),
        retention_rules: vec![rule(failed(), 9), rule(with("service.name", "chatty"), 2)],
        merge_blocks: 4,
        sealed_rows: 16,
        replaced_grace,
        ..harness::config()
    }
}

fn run(backend: Backend, grace: Duration, steps: Vec<RetentionStep>) -> Result<(), TestCaseError> {
    let (mut harness, mut model) = (Harness::with(backend, config(grace)), Model::default());
    for step in steps {
        match step {
            RetentionStep::Append(spans) => model.append(&harness, &spans),
            RetentionStep::Forward(nanos) => harness.clock.advance(nanos),
            RetentionStep::Maintain => {
                harness.maintain(1);
                model.maintain(harness.clock.now().0);
            }
            RetentionStep::SealAll => {
                harness.store().seal_all();
                model.maintain(harness.clock.now().0);
            }
            RetentionStep::Restart => harness.restart(),
            RetentionStep::Pin(trace) => {
                let pinned = harness.store().pin(&TenantId::default(), trace_id(trace)).unwrap();
                if pinned.is_some() {
                    model.pins.insert(trace);
                }
            }
            RetentionStep::Unpin(trace) => {
                let was = harness.store().unpin(&TenantId::default(), trace_id(trace)).unwrap();
                prop_assert_eq!(was, model.pins.remove(&trace));
            }
            RetentionStep::Delete(kind, meanwhile) => delete(&mut harness, &mut model, kind, &meanwhile)?,
        }
        check(&harness, &model)?;
    }
    Ok(())
}

/// Deletes all traces that have a span of a kind, while other spans arrive.
fn delete(
    harness: &mut Harness,
    model: &mut Model,
    kind: Kind,
    meanwhile: &[(u64, Kind)],
) -> Result<(), TestCaseError> {
    let predicate = match kind {
        Kind::Chatty | Kind::FailedAndChatty => with("service.name", "chatty"),
        Kind::Failed => failed(),
        Kind::Plain => with("service.name", "shop"),
    };
    let goes: BTreeSet<u64> = (1..=TRACES)
        .filter(|n| harness.find(predicate.clone()).iter().any(|found| found.id == trace_id(*n)))
        .collect();
    let plan = ScanPlan { predicate, range: TimeRange::ALL };
    let deletion = harness.store().delete(&TenantId::default(), &plan).unwrap();
    prop_assert_eq!(deletion.traces, goes.len() as u64);
    model.forget(&goes);
    check(harness, model)?;
    model.append(harness, meanwhile);
    harness.restart();
    let deadline = Instant::now() + PATIENCE;
    while harness.store().deletion(&TenantId::default(), deletion.id).unwrap().unwrap().finished.is_none() {
        harness.maintain(1);
        prop_assert!(Instant::now() < deadline, "the deletion does not end");
    }
    model.maintain(harness.clock.now().0);
    Ok(())
}

fn check(harness: &Harness, model: &Model) -> Result<(), TestCaseError> {
    let ids = |stored: &[Stored], trace: u64| -> BTreeSet<u64> {
        stored.iter().filter(|span| span.trace == trace).map(|span| span.id).collect()
    };
    for trace in 1..=TRACES {
        let found: BTreeSet<u64> = harness
            .trace(trace_id(trace))
            .iter()
            .map(|span| u64::from_be_bytes(*span.id().as_bytes()))
            .collect();
        let (least, most) = (ids(&model.least, trace), ids(&model.most, trace));
        prop_assert!(found.is_superset(&least), "trace {trace} lost {:?}", &least - &found);
        prop_assert!(found.is_subset(&most), "trace {trace} still has {:?}", &found - &most);
    }
    let pinned: Vec<u64> = model.pins.iter().copied().collect();
    let pins = harness.store().pins(&TenantId::default());
    prop_assert_eq!(pins.len(), pinned.len());
    Ok(())
}

/// Counts are recorded before the spans are removed. If the removal fails, they must not count twice.
#[test]
fn what_did_not_go_is_counted_once() {
    let engine = MemoryEngine::default();
    let mut harness = Harness::with(Backend::Memory(engine.clone()), config(Duration::ZERO));
    harness.append(&[span(1, 1, Kind::Chatty), span(2, 2, Kind::Plain)]);
    harness.store().seal_all();
    let plan = aggregate::plan();
    let before = aggregate::answer(&harness, &plan);
    harness.clock.advance(4 * HOUR);
    engine.fail_commits(Some(EngineError::io("on purpose")));
    harness.maintain(1);
    assert_eq!(harness.trace(trace_id(1)).len(), 1, "this test lets nothing fail");
    assert_eq!(aggregate::answer(&harness, &plan), before);
    engine.fail_commits(None);
    for left in [1, 0] {
        harness.restart();
        assert_eq!(harness.trace(trace_id(1)).len(), left);
        assert_eq!(aggregate::answer(&harness, &plan), before);
        harness.maintain(1);
    }
}

// === strategies ===

fn spans() -> impl Strategy<Value = Vec<(u64, Kind)>> {
    use Kind::{Chatty, Failed, FailedAndChatty, Plain};
    vec(
        (
            1..=TRACES,
            prop::sample::select(vec![Plain, Plain, Plain, Chatty, Chatty, Failed, FailedAndChatty]),
        ),
        1..6,
    )
}

fn step() -> impl Strategy<Value = RetentionStep> {
    let kind = prop::sample::select(vec![Kind::Failed, Kind::Chatty]);
    prop_oneof![
        8 => spans().prop_map(RetentionStep::Append),
        6 => prop::sample::select(vec![MINUTE, HOUR, HOUR, 2 * HOUR, 3 * HOUR, 5 * HOUR]).prop_map(RetentionStep::Forward),
        4 => Just(RetentionStep::Maintain),
        2 => Just(RetentionStep::SealAll),
        2 => Just(RetentionStep::Restart),
        1 => (1..=TRACES).prop_map(RetentionStep::Pin),
        1 => (1..=TRACES).prop_map(RetentionStep::Unpin),
        1 => (kind, spans()).prop_map(|(kind, meanwhile)| RetentionStep::Delete(kind, meanwhile)),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn memory(steps in vec(step(), 1..40), grace in grace()) {
        run(Backend::memory(), grace, steps)?;
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn rocks(steps in vec(step(), 1..30), grace in grace()) {
        run(Backend::quick_rocks(), grace, steps)?;
    }
}
