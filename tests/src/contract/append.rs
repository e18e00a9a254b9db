//! Appended spans are found by trace ID, once, for their tenant alone, and at once.

use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::plan::{Order, Predicate, ScanPlan, SearchPlan, Stop};
use spandrel_storage::table::{FoldPlan, SkippedColumns};
use spandrel_storage::{AppendError, TenantBatch, TraceStore};

use super::{Open, aggregate};
use crate::engines::GatedEngine;
use crate::harness::{Backend, Harness, plan};
use crate::oracle;
use crate::rewrite::rewritten;
use crate::spans::{BEGIN, HOUR, Sent, decoded, from_json, read, request, sent, text, trace_id};

/// A lookup returns all spans of the trace, with resource and scope, in order, and no others.
pub fn a_trace_is_found_by_its_id(open: Open) {
    let mut harness = open();
    let mut scoped = sent(1, 3).parent(1).service("cart").at(5, 10);
    scoped.scope.schema_url = "https://example.com/1.2".to_owned();
    let spans = [sent(1, 1), sent(1, 2).parent(1).at(2, 1), scoped, sent(2, 1)];
    harness.append(&spans[..2]);
    harness.append(&spans[2..]);
    harness.whatever_happens(|harness| {
        assert_eq!(harness.trace(trace_id(1)), spans[..3]);
        assert_eq!(harness.trace(trace_id(2)), spans[3..]);
    });
}

/// Different spans with the same ID, start and commit keep the order of arrival, wherever they stand in the tree.
pub fn spans_of_one_key_keep_their_order(open: Open) {
    let mut harness = open();
    let spans = [
        sent(1, 1).name("below the other").parent(5),
        sent(1, 1).name("a root"),
        sent(1, 1).name("below itself").parent(1),
        sent(1, 5).name("the other").at(1, 1),
        sent(1, 4).name("below the root").at(2, 1).parent(1),
    ];
    harness.append(&spans);
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(1)), spans));
}

/// Lookups find nothing in an empty store, beside other traces, and for an unknown tenant.
pub fn what_was_never_sent_is_not_found(open: Open) {
    let mut harness = open();
    let nobody = TenantId::new("nobody").unwrap();
    let check = |harness: &Harness| {
        assert!(harness.store().trace(&TenantId::default(), trace_id(7)).unwrap().is_none());
        assert!(harness.store().trace(&nobody, trace_id(1)).unwrap().is_none());
        assert_eq!(harness.store().services(&nobody), Vec::<String>::new());
    };
    harness.whatever_happens(check);
    harness.append(&[sent(1, 1), sent(9, 1)]);
    harness.whatever_happens(check);
}

/// The store accepts an append without requests, and requests without spans.
pub fn nothing_to_store_is_no_error(open: Open) {
    let mut harness = open();
    harness.store().append(&TenantId::default(), &[]).unwrap();
    harness.append(&[]);
    harness.whatever_happens(|harness| {
        assert_eq!(harness.store().status().span_count, 0);
        assert!(harness.find(Predicate::All).is_empty());
    });
}

/// Duplicates come in one request, in two requests of one append, in two appends, and in two windows.
pub fn equal_spans_are_shown_once(open: Open) {
    let mut harness = open();
    let (a, b) = (sent(1, 1), sent(1, 2).with("k", text("v")));
    harness.append(&[a.clone(), a.clone(), b.clone(), a.clone()]);
    let twice = [decoded(&[b.clone(), a.clone()]), decoded(std::slice::from_ref(&a))];
    harness.store().append(&TenantId::default(), &twice).unwrap();
    harness.clock.advance(HOUR);
    harness.append(&[b.clone(), a.clone()]);
    let expected = [a, b];
    let check = |harness: &Harness| {
        assert_eq!(harness.trace(trace_id(1)), expected);
        let found = harness.find(Predicate::All);
        assert_eq!((found.len(), found[0].span_count, found[0].matched_span_count), (1, 2, 2));
    };
    harness.whatever_happens(check);
    // A duplicate may also arrive after the first copies are merged.
    harness.append(&expected);
    harness.whatever_happens(check);
}

/// The same for a trace with more spans than the store deduplicates at a time.
pub fn equal_spans_of_a_long_trace_are_shown_once(open: Open) {
    let mut harness = open();
    // The store deduplicates in runs; these ranges put duplicates at every place of a run.
    let spans: Vec<Sent> = (1..=200).map(|id| sent(1, id).at(id, 1)).collect();
    harness.append(&spans[..150]);
    harness.append(&spans[30..170]);
    harness.clock.advance(HOUR);
    harness.append(&spans[31..]);
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(1)), spans));
}

/// The same span as protobuf, as JSON that spells out every default, and in bytes that no exporter writes. Aggregates
/// count it once after the merge.
pub fn a_span_that_is_written_in_many_ways_is_one(open: Open) {
    let mut harness = open();
    let mut full = sent(1, 2).parent(1).status(2).with("k", text("v")).with("n", Value::IntValue(0));
    full.span.events = vec![Event { attributes: full.span.attributes.clone(), ..Event::default() }];
    full.span.links = vec![Link { trace_id: vec![7; 16], span_id: vec![7; 8], ..Link::default() }];
    let spans = [sent(1, 1), full];
    let as_sent = request(&spans);
    let body = as_sent.encode_to_vec();
    let json = serde_json::to_string(&as_sent).unwrap();
    for zero in
        ["\"droppedAttributesCount\":0", "\"flags\":0", "\"parentSpanId\":\"\"", "\"traceState\":\"\""]
    {
        assert!(json.contains(zero), "{json}");
    }
    let mut decoded = vec![read(body.clone()), from_json(json.as_bytes())];
    decoded.extend((0..8).map(|seed| read(rewritten(&body, seed))));
    for way in &decoded {
        harness.store().append(&TenantId::default(), std::slice::from_ref(way)).unwrap();
    }
    harness.store().append(&TenantId::default(), &decoded).unwrap();
    harness.whatever_happens(|harness| {
        assert_eq!(harness.trace(trace_id(1)), spans);
        for order in [Order::Newest, Order::Longest, Order::MostSpans, Order::MostErrors] {
            let found = harness.search(&SearchPlan { order, ..plan(Predicate::All) }).traces;
            assert_eq!(
                (found.len(), found[0].span_count, found[0].matched_span_count),
                (1, 2, 2),
                "{order:?}"
            );
        }
    });
    aggregate::check(&harness, &spans, &aggregate::plan());
    assert_eq!(harness.store().status().span_count, 2);
}

/// Zipkin shares an ID between client and server, and some exporters count from one.
pub fn spans_that_share_an_id_are_all_kept(open: Open) {
    let mut harness = open();
    let client = sent(1, 1).kind(3);
    let spans = [
        client.clone(),
        client.clone().kind(2),
        client.clone().with("k", text("v")),
        client.clone().service("cart"),
        client.clone().at(0, 7),
    ];
    spans.iter().for_each(|span| harness.append(std::slice::from_ref(span)));
    harness.append(&spans);
    harness.whatever_happens(|harness| {
        let found = harness.trace(trace_id(1));
        assert_eq!(found.len(), spans.len());
        assert!(spans.iter().all(|span| found.contains(span)));
    });
}

/// Spans of different resources or scopes are not equal.
pub fn the_same_span_of_two_resources_is_two_spans(open: Open) {
    let mut harness = open();
    let one = sent(1, 1);
    let mut other_scope = one.clone();
    other_scope.scope.schema_url = "s".to_owned();
    let other_resource = one.clone().on_resource("host.name", text("a"));
    let spans = [one, other_scope, other_resource];
    spans.iter().chain(&spans).for_each(|span| harness.append(std::slice::from_ref(span)));
    harness.whatever_happens(|harness| assert_eq!(harness.trace(trace_id(1)).len(), 3));
}

/// Tenants use the same trace IDs; lookups, searches and names stay apart.
pub fn tenants_never_see_each_other(open: Open) {
    let mut harness = open();
    // One name is a prefix of another, so keys have to separate them.
    let tenants = ["a", "aa", "default"].map(|name| TenantId::new(name).unwrap());
    for (n, tenant) in tenants.iter().enumerate() {
        let own = sent(1, n as u64 + 1).service(tenant.as_str());
        harness.append_for(tenant, &[own.clone(), own.parent(9).name("inner").at(1, 1)]);
    }
    harness.whatever_happens(|harness| {
        for (n, tenant) in tenants.iter().enumerate() {
            let found = harness.trace_for(tenant, trace_id(1));
            assert_eq!(found.len(), 2);
            assert!(found.iter().all(|sent| oracle::service(sent) == tenant.as_str()));
            let plan = crate::harness::plan(Predicate::All);
            let answer = harness.store().search(tenant, &plan).unwrap();
            assert_eq!((answer.traces.len(), answer.traces[0].span_count), (1, 2));
            assert_eq!(answer.traces[0].matched_span_ids[0], crate::spans::span_id(n as u64 + 1));
            assert_eq!(harness.store().services(tenant), [tenant.as_str()]);
        }
        assert_eq!(harness.store().status().span_count, 6);
    });
}

/// Batches of several tenants, one of them twice and one without spans, go in with one call, each to its tenant.
pub fn batches_of_several_tenants_are_stored_together(open: Open) {
    let mut harness = open();
    let tenants = ["a", "b", "empty"].map(|name| TenantId::new(name).unwrap());
    let [of_a, of_b, more_of_a] = [(1, 1), (1, 2), (2, 3)].map(|(trace, span)| vec![sent(trace, span)]);
    let requests = [&of_a, &of_b, &vec![], &more_of_a].map(|spans| [decoded(spans)]);
    let batches = [0, 1, 2, 0].into_iter().zip(&requests);
    let batches: Vec<TenantBatch<'_>> =
        batches.map(|(at, requests)| TenantBatch { tenant: &tenants[at], requests }).collect();
    assert!(harness.store().append_all(&batches).iter().all(Result::is_ok));
    harness.whatever_happens(|harness| {
        let [a, b, empty] = &tenants;
        assert_eq!(harness.trace_for(a, trace_id(1)), of_a);
        assert_eq!(harness.trace_for(a, trace_id(2)), more_of_a);
        assert_eq!(harness.trace_for(b, trace_id(1)), of_b);
        assert!(harness.trace_for(b, trace_id(2)).is_empty());
        assert!(harness.store().services(empty).is_empty());
        assert_eq!(harness.store().tenant_status(a).span_count, 2);
    });
}

/// What is unknown of a tenant that never sent anything is what is unknown of one whose data are gone: answers tell the
/// commits that they have seen.
pub fn an_unknown_tenant_is_one_without_data(open: Open) {
    let harness = open();
    harness.append(&[sent(1, 1)]);
    let void = TenantId::new("void").unwrap();
    let (store, search) = (harness.store(), plan(Predicate::All));
    let fold = FoldPlan {
        predicate: Predicate::All,
        range: TimeRange::ALL,
        columns: Vec::new(),
        ids: false,
        after: 0,
        skipped: SkippedColumns::default(),
        stop: Stop::default(),
    };
    let snapshots = |tenant: &TenantId| {
        [
            store.search(tenant, &search).unwrap().snapshot,
            store.fold_spans(tenant, &fold, &mut []).unwrap().snapshot,
            store.fold_traces(tenant, &fold, &mut []).unwrap().snapshot,
        ]
    };
    assert_eq!(snapshots(&void), snapshots(&TenantId::default()));
    assert!(snapshots(&void).iter().all(|snapshot| *snapshot > 0));
    let found = store.search(&void, &search).unwrap();
    assert_eq!((found.traces.len(), found.next, found.partial), (0, None, false));
    let scan = store.scan(&void, &ScanPlan { predicate: Predicate::All, range: TimeRange::ALL }).unwrap();
    assert_eq!((scan.traces_at_most, scan.damaged_blocks, scan.count()), (Some(0), 0, 0));
}

/// What was counted of a range may be kept as long as its version is the same.
pub fn a_version_is_another_one_after_every_change_of_its_range(open: Open) {
    let harness = open();
    let tenant = TenantId::default();
    let range = TimeRange { start: UnixNanos(BEGIN + 1_000), end: Some(UnixNanos(BEGIN + 2_000)) };
    let version =
        |harness: &Harness| harness.store().version(&tenant, range).expect("no deletion is under way");
    let mut seen = vec![version(&harness)];
    let changed = |harness: &Harness, seen: &mut Vec<u64>| {
        let now = version(harness);
        assert!(!seen.contains(&now), "{now} in {seen:?}");
        seen.push(now);
    };
    harness.append(&[sent(1, 1).at(1_500, 10)]);
    changed(&harness, &mut seen);
    harness.append(&[sent(2, 1).at(1_500, 10)]);
    changed(&harness, &mut seen);
    harness.append(&[sent(3, 1).at(5_000, 10)]);
    assert_eq!(seen.last(), Some(&version(&harness)), "nothing of the range has changed");
    assert_eq!(harness.store().version(&TenantId::new("void").unwrap(), range), Some(0));
}

/// Parts of a trace that arrive hours apart are found as one trace.
pub fn a_trace_lies_in_many_windows(open: Open) {
    let mut harness = open();
    let spans: Vec<Sent> = (1..=12).map(|n| sent(1, n).at(100 - n, n)).collect();
    for pair in spans.chunks(2) {
        harness.append(&pair[..1]);
        harness.append(&[pair[1].clone(), sent(50 + pair[0].id().as_bytes()[7] as u64, 1)]);
        harness.clock.advance(HOUR);
    }
    let expected = oracle::trace(&spans, trace_id(1));
    harness.whatever_happens(|harness| {
        assert_eq!(harness.trace(trace_id(1)), expected);
        let found = harness.find(Predicate::All);
        assert_eq!(found.len(), 7);
        assert!(found.iter().any(|trace| trace.span_count == 12));
    });
}

/// A sender that gives all its spans one ID and one start must not slow down other users.
pub fn many_spans_of_one_key_are_told_apart_in_time(open: Open) {
    const SPANS: u64 = 40_000;
    let harness = open();
    let spans: Vec<Sent> =
        (0..SPANS).map(|n| sent(1, 1).name(&format!("operation {n:09}, one of many"))).collect();
    let began = Instant::now();
    spans.chunks(10_000).for_each(|part| harness.append(part));
    harness.append(&spans[..1000]);
    harness.store().seal_all();
    let found = harness.store().trace(&TenantId::default(), trace_id(1)).unwrap().unwrap();
    assert_eq!(found.count() as u64, SPANS);
    // Comparing all pairs takes minutes; the store needs about a second.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Acknowledged spans are found while an earlier append is still running.
pub fn a_slow_append_hides_no_other(open: Open) {
    let engine = open().engine().clone();
    let slow = TenantId::new("slow").unwrap();
    let gated = GatedEngine::new(engine, slow.clone());
    let harness = Harness::new(Backend::Own(gated.clone()));
    let store = harness.store();
    thread::scope(|scope| {
        scope.spawn(|| store.append(&slow, &[decoded(&[sent(1, 1)])]));
        gated.await_arrival();
        let (done, acknowledged) = std::sync::mpsc::sync_channel(1);
        scope.spawn(move || {
            harness_append_and_find(store);
            done.send(()).unwrap();
        });
        // Either the append is acknowledged and its span found, or it waits for the earlier one.
        let early = acknowledged.recv_timeout(Duration::from_millis(200));
        gated.open();
        if early.is_err() {
            acknowledged.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    });
}

fn harness_append_and_find(store: &spandrel_storage::BlockTraceStore) {
    let tenant = TenantId::default();
    store.append(&tenant, &[decoded(&[sent(2, 1)])]).unwrap();
    let answer = store.search(&tenant, &crate::harness::plan(Predicate::All)).unwrap();
    assert_eq!(answer.traces.len(), 1, "an acknowledged span is not found");
    assert!(store.trace(&tenant, trace_id(2)).unwrap().is_some());
}

/// A closed store refuses appends and keeps its spans.
pub fn a_closed_store_takes_nothing(open: Open) {
    let mut harness = open();
    harness.append(&[sent(1, 1)]);
    harness.store().close().unwrap();
    let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(2, 1)])]);
    assert!(matches!(refused, Err(AppendError::Closed)), "{refused:?}");
    assert!(matches!(harness.store().refusal(), Some(AppendError::Closed)));
    assert_eq!(harness.trace(trace_id(1)).len(), 1);
    harness.restart();
    assert_eq!((harness.trace(trace_id(1)).len(), harness.trace(trace_id(2)).len()), (1, 0));
    harness.append(&[sent(2, 1)]);
}
