//! A scan returns every matching trace, whole and once, as of the moment it began.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate, ScanPlan};
use spandrel_storage::{ScannedTrace, TraceScan, TraceStore};

use super::Open;
use super::search::{predicates, shop};
use crate::harness::{Harness, plan};
use crate::oracle;
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, sent, text, trace_id};

const EVERYTHING: ScanPlan = ScanPlan { predicate: Predicate::All, range: TimeRange::ALL };

/// Traces by ID, each with its spans as text, for comparison.
type Traces = BTreeMap<TraceId, BTreeSet<String>>;

fn scan<'h>(harness: &'h Harness, plan: &ScanPlan) -> TraceScan<'h> {
    harness.store().scan(&TenantId::default(), plan).unwrap()
}

/// Reads a scan to its end, and fails if a trace or a span comes twice.
fn collect(scan: TraceScan<'_>) -> Traces {
    let (at_most, damage) = (scan.traces_at_most.unwrap(), scan.damage());
    let mut traces = Traces::new();
    for trace in scan {
        add(&mut traces, trace.unwrap());
    }
    assert_eq!(damage.blocks(), 0, "blocks are damaged");
    assert!(traces.len() as u64 <= at_most, "{} traces, announced were {at_most}", traces.len());
    traces
}

fn add(traces: &mut Traces, (id, spans): ScannedTrace) {
    let given: Vec<String> = spans.map(|span| format!("{:?}", Sent::from_stored(&span.unwrap()))).collect();
    let distinct: BTreeSet<String> = given.iter().cloned().collect();
    assert_eq!(distinct.len(), given.len(), "a span of {id} came twice");
    assert!(traces.insert(id, distinct).is_none(), "{id} came twice");
}

/// The expected result, by the oracle.
fn expected(spans: &[Sent], scan: &ScanPlan) -> Traces {
    let search = spandrel_storage::plan::SearchPlan { range: scan.range, ..plan(scan.predicate.clone()) };
    let whole = |id| spans.iter().filter(|span| span.trace() == id).map(|span| format!("{span:?}")).collect();
    oracle::search(spans, &search).iter().map(|trace| (trace.id, whole(trace.id))).collect()
}

/// Scans of every predicate, over all time and over a part, with duplicates, before and after merges.
pub fn every_matching_trace_is_given_whole_and_once(open: Open) {
    let mut harness = open();
    let batches = shop();
    for batch in batches.iter().chain(&batches[2..5]) {
        harness.append(batch);
        harness.clock.advance(20 * MINUTE);
    }
    let spans = batches.concat();
    let part = TimeRange { start: UnixNanos(BEGIN + 15 * SECOND), end: Some(UnixNanos(BEGIN + 30 * SECOND)) };
    harness.whatever_happens(|harness| {
        for predicate in predicates() {
            for range in [TimeRange::ALL, part] {
                let plan = ScanPlan { predicate: predicate.clone(), range };
                assert_eq!(collect(scan(harness, &plan)), expected(&spans, &plan), "{plan:?}");
            }
        }
    });
    let nothing = TimeRange { start: UnixNanos(1), end: Some(UnixNanos(2)) };
    assert!(scan(&harness, &ScanPlan { range: nothing, ..EVERYTHING }).next().is_none());
}

/// The matching spans are in all parts of a trace, in the first, in the last, or between.
pub fn a_trace_across_windows_is_given_once(open: Open) {
    let mut harness = open();
    let mut spans = Vec::new();
    for part in 1..=5 {
        let name = format!("part {part}");
        let batch: Vec<Sent> = (1..=40)
            .map(|trace| sent(trace, part).name(&name).at(part * SECOND, trace).with("part", text(&name)))
            .collect();
        harness.append(&batch);
        spans.extend(batch);
        harness.clock.advance(HOUR);
        if part == 3 {
            harness.store().seal_all();
        }
    }
    let named = |names: &str| Comparison::Matches(Regex::new(&format!("^part [{names}]$")).unwrap());
    harness.whatever_happens(|harness| {
        for names in ["12345", "1", "5", "3", "24", "6"] {
            let attribute = Field::Attribute(AttributeScope::Span, "part".to_owned());
            for field in [Field::Name, attribute] {
                let predicate = Predicate::Compare(field, named(names));
                let plan = ScanPlan { predicate, range: TimeRange::ALL };
                let traces = collect(scan(harness, &plan));
                assert_eq!(traces.len(), if names == "6" { 0 } else { 40 }, "parts {names}");
                assert_eq!(traces, expected(&spans, &plan), "parts {names}");
            }
        }
    });
}

/// Spans that arrive during a scan, of new or known traces, are not part of it.
pub fn what_arrives_during_a_scan_is_left_out(open: Open) {
    let harness = open();
    let before: Vec<Sent> = (1..=20).map(|trace| sent(trace, 1)).collect();
    harness.append(&before);
    let mut running = scan(&harness, &EVERYTHING);
    let mut traces = Traces::new();
    add(&mut traces, running.next().unwrap().unwrap());
    let later: Vec<Sent> = (10..=30).map(|trace| sent(trace, 2)).collect();
    harness.append(&later);
    traces.append(&mut collect(running));
    assert_eq!(traces, expected(&before, &EVERYTHING));
    let all = [before, later].concat();
    assert_eq!(collect(scan(&harness, &EVERYTHING)), expected(&all, &EVERYTHING));
}

/// A slow scan reads the blocks that it began with, although they are replaced or dropped meanwhile.
pub fn merges_and_retention_take_nothing_from_a_scan(open: Open) {
    let harness = open();
    let mut spans = Vec::new();
    for part in 1..=6 {
        let batch: Vec<Sent> = (1..=30).map(|trace| sent(trace, part).at(part * SECOND, 5)).collect();
        harness.append(&batch);
        spans.extend(batch);
        harness.clock.advance(HOUR);
        if part == 3 {
            harness.store().seal_all();
        }
    }
    let slow = Predicate::Compare(Field::Duration, Comparison::Lt(Literal::Int(6)));
    let plan = ScanPlan { predicate: slow, range: TimeRange::ALL };
    let mut running = scan(&harness, &plan);
    let mut traces = Traces::new();
    for changes in 0..3 {
        add(&mut traces, running.next().unwrap().unwrap());
        match changes {
            0 => harness.store().seal_all(),
            _ => {
                harness.clock.advance(30 * 24 * HOUR);
                harness.maintain(3);
                harness.engine().compact().unwrap();
            }
        }
    }
    assert!(
        harness.store().trace(&TenantId::default(), trace_id(1)).unwrap().is_none(),
        "nothing was dropped"
    );
    traces.append(&mut collect(running));
    assert_eq!(traces, expected(&spans, &plan));
    harness.maintain(3);
    assert_eq!(harness.store().status().span_count, 0);
    assert!(scan(&harness, &plan).next().is_none());
}

/// Tenants use the same IDs.
pub fn tenants_are_scanned_alone(open: Open) {
    let harness = open();
    let other = TenantId::new("other").unwrap();
    let (ours, theirs) = (vec![sent(1, 1), sent(2, 1)], vec![sent(1, 2), sent(3, 1)]);
    harness.append(&ours);
    harness.append_for(&other, &theirs);
    assert_eq!(collect(scan(&harness, &EVERYTHING)), expected(&ours, &EVERYTHING));
    assert_eq!(collect(harness.store().scan(&other, &EVERYTHING).unwrap()), expected(&theirs, &EVERYTHING));
    let nobody = TenantId::new("nobody").unwrap();
    assert!(harness.store().scan(&nobody, &EVERYTHING).unwrap().next().is_none());
}
