//! Results, order and summaries of searches equal the oracle's.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
use regex::Regex;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::TraceStore;
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Order, Predicate, SearchPlan};

use super::Open;
use crate::harness::{Harness, plan};
use crate::oracle;
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, attribute, sent, text, trace_id};

use AttributeScope::{Any, Resource, Span};
use Comparison::{Contains, EndsWith, Eq, Ge, Gt, Le, Lt, Matches, MatchesNot, Ne, StartsWith};

/// All orders.
pub const ORDERS: [Order; 6] =
    [Order::Newest, Order::Oldest, Order::Longest, Order::Shortest, Order::MostSpans, Order::MostErrors];

/// Traces of a small shop: every kind, status and type of attribute, over several windows.
pub fn shop() -> Vec<Vec<Sent>> {
    let order = |trace: u64| {
        let at = trace * 7 * SECOND;
        vec![
            sent(trace, 1)
                .at(at, 90_000_000 + trace)
                .name("POST /order")
                .with("http.response.status_code", Value::IntValue(200 + (trace as i64 % 4) * 100)),
            sent(trace, 2)
                .parent(1)
                .kind(3)
                .service("cart")
                .at(at + 1000, 5_000_000 * trace)
                .name("read")
                .with("cache.hit", Value::BoolValue(trace.is_multiple_of(2))),
            sent(trace, 3)
                .parent(2)
                .kind(2)
                .service("pay")
                .at(at + 2000, 70)
                .status(1 + (trace % 2) as i32)
                .with("amount", Value::DoubleValue(trace as f64 / 2.0)),
        ]
    };
    let mut batches: Vec<Vec<Sent>> = (1..=8).map(order).collect();
    // Late parts of earlier traces, and unusual traces.
    batches.push(vec![
        sent(3, 4).parent(3).kind(4).service("queue").at(20 * SECOND, 1).with("error", text("true")),
        sent(3, 5)
            .parent(3)
            .kind(5)
            .service("queue")
            .at(19 * SECOND, 2 * SECOND)
            .with("error", Value::BoolValue(true)),
        sent(4, 4).parent(77).kind(9).service("").at(3, 1).status(7),
    ]);
    batches.push(vec![
        sent(20, 1)
            .parent(99)
            .kind(1)
            .name("")
            .with("amount", Value::IntValue(3))
            .with("amount", text("three")),
        sent(21, 1).on_resource("region", text("eu")).with("region", text("us")).times(BEGIN + 5, BEGIN),
        sent(22, 1).on_resource("region", text("us")).on_resource("replicas", Value::IntValue(3)),
        sent(23, 1)
            .with("blob", Value::BytesValue(vec![1]))
            .with("service.name", text("spoofed"))
            .status(1)
            .with("error", Value::BoolValue(true)),
    ]);
    batches
}

/// Stores the shop over three windows.
fn fill(harness: &Harness) -> Vec<Sent> {
    let batches = shop();
    for batch in &batches {
        harness.append(batch);
        harness.clock.advance(20 * MINUTE);
    }
    batches.concat()
}

/// Predicates with every kind of field, operator and type.
pub fn predicates() -> Vec<Predicate> {
    let string = |text: &str| Literal::String(text.to_owned());
    let attribute = |scope, key: &str| Field::Attribute(scope, key.to_owned());
    let compare = Predicate::Compare;
    let regex = |text: &str| Regex::new(text).unwrap();
    let service = |name: &str| compare(attribute(Resource, "service.name"), Eq(string(name)));
    let mut all = vec![
        Predicate::All,
        Predicate::And(Vec::new()),
        Predicate::Or(Vec::new()),
        service("cart"),
        service("unknown_service"),
        service("nobody"),
        compare(attribute(Resource, "service.name"), Ne(string("cart"))),
        compare(attribute(Resource, "service.name"), Matches(regex("^(pay|queue)$"))),
        compare(attribute(Any, "service.name"), Eq(string("spoofed"))),
        compare(attribute(Span, "service.name"), Eq(string("spoofed"))),
        compare(attribute(Span, "service.name"), Eq(string("cart"))),
        compare(Field::Name, Eq(string("POST /order"))),
        compare(Field::Name, Eq(string(""))),
        compare(Field::Name, Ne(string("read"))),
        compare(Field::Name, Ge(string("POST"))),
        compare(Field::Name, MatchesNot(regex("^(POST /order|read)$"))),
        compare(Field::Name, Eq(Literal::Int(1))),
        Predicate::And(vec![service("pay"), compare(Field::Name, Eq(string("read")))]),
        Predicate::And(vec![service("cart"), compare(Field::Name, Eq(string("read")))]),
        Predicate::Or(vec![service("pay"), compare(Field::Name, Eq(string("read")))]),
        compare(attribute(Span, "cache.hit"), Eq(Literal::Bool(true))),
        compare(attribute(Any, "cache.hit"), Ne(Literal::Bool(true))),
        compare(attribute(Any, "cache.hit"), Eq(string("true"))),
        compare(attribute(Any, "cache.hit"), Lt(Literal::Bool(true))),
        compare(attribute(Span, "amount"), Eq(Literal::Float(1.5))),
        compare(attribute(Span, "amount"), Eq(Literal::Int(3))),
        compare(attribute(Span, "amount"), Eq(Literal::Float(3.0))),
        compare(attribute(Span, "amount"), Eq(string("three"))),
        compare(attribute(Span, "amount"), Ne(Literal::Int(3))),
        compare(attribute(Span, "amount"), Gt(Literal::Float(2.2))),
        compare(attribute(Span, "amount"), Le(Literal::Int(1))),
        compare(attribute(Span, "amount"), Gt(string("a"))),
        compare(attribute(Any, "region"), Contains("s".to_owned())),
        compare(Field::Name, StartsWith("POST".to_owned())),
        compare(attribute(Resource, "service.name"), EndsWith("y".to_owned())),
        compare(attribute(Any, "region"), Eq(string("us"))),
        compare(attribute(Span, "region"), Eq(string("us"))),
        compare(attribute(Resource, "region"), Eq(string("us"))),
        compare(attribute(Resource, "region"), Matches(regex("^e.$"))),
        compare(attribute(Resource, "replicas"), Ge(Literal::Int(3))),
        compare(attribute(Span, "http.response.status_code"), Ge(Literal::Int(400))),
        Predicate::Exists(attribute(Any, "blob")),
        Predicate::Exists(attribute(Span, "region")),
        Predicate::Exists(attribute(Resource, "service.name")),
        Predicate::Exists(Field::Name),
        Predicate::Absent(attribute(Any, "amount")),
        Predicate::Absent(attribute(Resource, "region")),
        Predicate::Absent(attribute(Any, "service.name")),
        Predicate::Absent(attribute(Span, "service.name")),
        Predicate::Absent(Field::Duration),
        compare(Field::Failed, Eq(Literal::Bool(true))),
        compare(Field::Parentless, Eq(Literal::Bool(true))),
        compare(Field::Parentless, Eq(Literal::Bool(false))),
        compare(Field::Failed, Ne(Literal::Bool(true))),
        compare(Field::Failed, Eq(Literal::Int(1))),
        Predicate::And(vec![
            compare(Field::Failed, Eq(Literal::Bool(true))),
            Predicate::Or(vec![service("queue"), compare(attribute(Span, "amount"), Gt(Literal::Int(1)))]),
        ]),
    ];
    for bound in
        [Literal::Int(70), Literal::Float(70.0), Literal::Int(0), Literal::Int(90_000_003), Literal::Int(-1)]
    {
        all.extend(
            [Eq, Ne, Lt, Le, Gt, Ge]
                .map(|operator: fn(Literal) -> Comparison| compare(Field::Duration, operator(bound.clone()))),
        );
    }
    for status in [StatusCode::Unset, StatusCode::Ok, StatusCode::Error] {
        all.push(compare(Field::Status, Eq(Literal::Status(status))));
        all.push(compare(Field::Status, Ne(Literal::Status(status))));
    }
    for kind in 0..=5 {
        all.push(compare(Field::Kind, Eq(Literal::Kind(SpanKind::from_raw(kind)))));
        all.push(compare(Field::Kind, Ne(Literal::Kind(SpanKind::from_raw(kind)))));
    }
    all
}

fn check(harness: &Harness, spans: &[Sent], plan: &SearchPlan) {
    let answer = harness.search(plan);
    let expected = oracle::search(spans, plan);
    assert!(!answer.partial, "{plan:?}");
    assert_eq!(answer.next, None, "{plan:?}");
    let ids = |traces: Vec<_>| format!("{traces:?}");
    assert_eq!(
        ids(answer.traces.iter().map(|trace| trace.id).collect()),
        ids(expected.iter().map(|trace| trace.id).collect()),
        "{plan:?}"
    );
    for (expected, found) in expected.iter().zip(&answer.traces) {
        assert_eq!(expected, found, "{plan:?}");
    }
}

/// Each predicate searches all time and a part of it, before and after merges.
pub fn predicates_find_what_they_say(open: Open) {
    let mut harness = open();
    let spans = fill(&harness);
    let part = TimeRange { start: UnixNanos(BEGIN + 15 * SECOND), end: Some(UnixNanos(BEGIN + 30 * SECOND)) };
    harness.whatever_happens(|harness| {
        for predicate in predicates() {
            let all = plan(predicate);
            check(harness, &spans, &all);
            check(harness, &spans, &SearchPlan { range: part, ..all });
        }
    });
}

/// An array matches if any element does, and `!=` and `!~` if none is equal or matches: on spans and on resources.
pub fn arrays_are_found_by_their_elements(open: Open) {
    let mut harness = open();
    let array = |elements: Vec<Value>| {
        let values = elements.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let map = Value::KvlistValue(KeyValueList { values: vec![attribute("k", text("blue"))] });
    let values = [
        array(vec![text("red"), text("blue")]),
        array(vec![text("red")]),
        array(vec![Value::IntValue(3), Value::IntValue(70_000)]),
        array(vec![Value::DoubleValue(2.5), Value::DoubleValue(f64::NAN)]),
        array(vec![Value::BoolValue(true), Value::BoolValue(true)]),
        array(vec![text("blue"), Value::IntValue(3), Value::BoolValue(false)]),
        array(vec![]),
        array(vec![array(vec![text("blue"), Value::IntValue(3)]), map]),
        array(vec![Value::BytesValue(b"blue".to_vec())]),
        text("blue"),
        Value::IntValue(3),
    ];
    let mut spans = Vec::new();
    for (n, value) in (1..).zip(values) {
        let plain = || sent(n, 1).at(n, 1);
        spans.push(plain().with("tags", value.clone()));
        spans.push(Sent { span: sent(100 + n, 1).span, ..plain().on_resource("tags", value) });
    }
    // One span has both an array and a text, another has no such attribute.
    spans.push(sent(201, 1).with("tags", array(vec![text("red")])).with("tags", text("blue")));
    spans.push(sent(202, 1));
    spans.chunks(5).for_each(|part| harness.append(part));
    let string = |text: &str| Literal::String(text.to_owned());
    let regex = |text: &str| Regex::new(text).unwrap();
    let literals = [
        string("blue"),
        string("b"),
        Literal::Int(3),
        Literal::Float(2.5),
        Literal::Int(60_000),
        Literal::Bool(true),
        Literal::Bool(false),
    ];
    let mut comparisons: Vec<Comparison> = Vec::new();
    for literal in literals {
        comparisons.extend([Eq, Ne, Lt, Le, Gt, Ge].map(|of: fn(Literal) -> Comparison| of(literal.clone())));
    }
    for pattern in ["^(blue|green)$", "^(.*)$", "^(nothing)$"] {
        comparisons.extend([Matches(regex(pattern)), MatchesNot(regex(pattern))]);
    }
    harness.whatever_happens(|harness| {
        for scope in [Any, Span, Resource] {
            let tags = || Field::Attribute(scope, "tags".to_owned());
            for comparison in &comparisons {
                check(harness, &spans, &plan(Predicate::Compare(tags(), comparison.clone())));
            }
            check(harness, &spans, &plan(Predicate::Exists(tags())));
            check(harness, &spans, &plan(Predicate::Absent(tags())));
        }
    });
}

/// A text that is the canonical form of a number compares with numbers; other texts do not. Parts of texts are found in
/// texts only.
pub fn texts_are_compared_by_number_and_by_part(open: Open) {
    let mut harness = open();
    let texts = [
        "3",
        "-3",
        "0",
        "-0",
        "2.5",
        "70000",
        "3.0",
        "03",
        "+3",
        "3e0",
        " 3",
        "",
        "three",
        "NaN",
        "inf",
        "10000000000000000000",
        "9223372036854775807",
        "0.1",
        "blue 3",
        "3 blue",
    ];
    let array = |values: Vec<Value>| {
        let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let values = texts.iter().map(|one| text(one)).chain([
        Value::IntValue(3),
        Value::DoubleValue(3.0),
        Value::DoubleValue(2.5),
        Value::DoubleValue(1e19),
        Value::BoolValue(true),
        Value::BytesValue(b"3".to_vec()),
        array(vec![text("3"), text("blue")]),
        array(vec![Value::IntValue(4), text("2.5")]),
        array(vec![]),
    ]);
    let mut spans = vec![sent(300, 1)];
    for (n, value) in (1..).zip(values) {
        spans.push(sent(n, 1).at(n, 1).with("code", value.clone()));
        spans.push(sent(100 + n, 1).on_resource("code", value));
    }
    spans.extend(texts.iter().zip(201..).map(|(name, n)| sent(n, 1).name(name).service(name)));
    // Numbers and texts of one key in different blocks, and together in merged ones.
    spans.chunks(4).for_each(|part| harness.append(part));
    let literals = [0, 3, -3, 70_000, i64::MAX]
        .map(Literal::Int)
        .into_iter()
        .chain([2.5, 3.0, 0.1, 1e19, -0.0, f64::INFINITY, f64::NAN].map(Literal::Float));
    let mut comparisons: Vec<Comparison> = Vec::new();
    for literal in literals {
        comparisons.extend([Eq, Ne, Lt, Le, Gt, Ge].map(|of: fn(Literal) -> Comparison| of(literal.clone())));
    }
    for part in ["3", "blue", "Blue", ".", "", "three"] {
        comparisons
            .extend([Contains, StartsWith, EndsWith].map(|of: fn(String) -> Comparison| of(part.to_owned())));
    }
    harness.whatever_happens(|harness| {
        let attribute = |scope, key: &str| Field::Attribute(scope, key.to_owned());
        let fields = [Any, Span, Resource].map(|scope| attribute(scope, "code"));
        for field in fields.into_iter().chain([Field::Name, attribute(Resource, "service.name")]) {
            for comparison in &comparisons {
                check(harness, &spans, &plan(Predicate::Compare(field.clone(), comparison.clone())));
            }
        }
    });
}

/// A range includes its start and excludes its end; it may be empty.
pub fn ranges_are_half_open(open: Open) {
    let mut harness = open();
    let spans = fill(&harness);
    let at = BEGIN + 14 * SECOND;
    let ranges =
        [(at, at + 1), (at - 1, at), (at, at), (at + 1, at + 1000), (at + 5, at), (0, 1), (0, u64::MAX)];
    harness.whatever_happens(|harness| {
        for (start, end) in ranges {
            let range = TimeRange { start: UnixNanos(start), end: Some(UnixNanos(end)) };
            check(harness, &spans, &SearchPlan { range, ..plan(Predicate::All) });
        }
        let range = TimeRange { start: UnixNanos(at), end: None };
        check(harness, &spans, &SearchPlan { range, ..plan(Predicate::All) });
    });
}

/// Every order holds, also for traces with parts in different blocks and windows.
pub fn orders_hold_over_all_blocks(open: Open) {
    let mut harness = open();
    let spans = fill(&harness);
    harness.whatever_happens(|harness| {
        for order in ORDERS {
            check(harness, &spans, &SearchPlan { order, ..plan(Predicate::All) });
            let failed = Predicate::Compare(Field::Failed, Eq(Literal::Bool(true)));
            check(harness, &spans, &SearchPlan { order, ..plan(failed) });
        }
    });
}

/// Duplicates make a trace neither longer nor worse.
pub fn equal_spans_count_once_in_every_order(open: Open) {
    let mut harness = open();
    let twice = [sent(1, 1).status(2), sent(1, 2).parent(1).at(1, 1)];
    let others = [sent(2, 1).status(2), sent(2, 2).status(2), sent(2, 3)];
    harness.append(&twice);
    harness.append(&others);
    harness.clock.advance(HOUR);
    harness.append(&twice);
    harness.append(&twice);
    let spans = [twice.as_slice(), &others].concat();
    harness.whatever_happens(|harness| {
        for order in ORDERS {
            check(harness, &spans, &SearchPlan { order, ..plan(Predicate::All) });
        }
    });
}

/// The summary covers all spans, although only one is in the range.
pub fn a_summary_describes_the_whole_trace(open: Open) {
    let mut harness = open();
    let root = sent(1, 1).at(0, HOUR).name("root").status(2).with("error.type", text("timeout"));
    let leaf = sent(1, 2).parent(1).service("cart").at(MINUTE, SECOND);
    harness.append(std::slice::from_ref(&leaf));
    harness.clock.advance(2 * HOUR);
    harness.append(std::slice::from_ref(&root));
    harness.whatever_happens(|harness| {
        let range = TimeRange { start: UnixNanos(BEGIN + MINUTE), end: Some(UnixNanos(BEGIN + MINUTE + 1)) };
        let found = harness.search(&SearchPlan { range, ..plan(Predicate::All) }).traces;
        let [trace] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((trace.root_service.as_str(), trace.root_name.as_str()), ("shop", "root"));
        assert_eq!((trace.start.0, trace.duration, trace.span_count, trace.error_count), (BEGIN, HOUR, 2, 1));
        assert_eq!((trace.status, trace.error_code.as_deref()), (StatusCode::Error, Some("timeout")));
        assert_eq!((trace.matched_span_count, trace.matched_span_ids.as_slice()), (1, &[leaf.id()][..]));
        assert_eq!(
            trace.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(),
            ["cart", "shop"]
        );
    });
}

/// The earliest twenty are listed; all are counted.
pub fn at_most_twenty_matching_spans_are_listed(open: Open) {
    let mut harness = open();
    let spans: Vec<Sent> = (1..=50).map(|n| sent(1, n).at(1000 - n, 1)).collect();
    spans.chunks(9).for_each(|part| harness.append(part));
    harness.whatever_happens(|harness| {
        let trace = harness.find(Predicate::All).remove(0);
        assert_eq!((trace.matched_span_count, trace.matched_span_ids.len()), (50, 20));
        assert_eq!(trace.matched_span_ids[0], crate::spans::span_id(50));
        assert_eq!(trace.id, trace_id(1));
    });
}

/// Services are sorted by name, and the operations of each by name and kind.
pub fn names_are_those_of_the_spans(open: Open) {
    let mut harness = open();
    let spans = fill(&harness);
    harness.whatever_happens(|harness| {
        let (store, tenant) = (harness.store(), TenantId::default());
        let services = oracle::services(&spans);
        assert_eq!(store.services(&tenant), services);
        for service in &services {
            assert_eq!(store.operations(&tenant, service), oracle::operations(&spans, service), "{service}");
        }
        assert_eq!(store.operations(&tenant, "nobody"), []);
    });
}

/// Zone maps skip the pages that cannot match and lose no span.
pub fn pages_that_cannot_match_are_passed_over(open: Open) {
    let harness = open();
    // Enough spans for several pages. The second half has later starts, longer durations, another name and larger
    // numbers.
    let (traces, each) = (20u64, 1_000u64);
    for trace in 1..=traces {
        let odd = u64::from(trace > traces / 2);
        let span = |n: u64| {
            sent(trace, n)
                .at(odd * 40 * SECOND + n, 1_000 + odd * SECOND + n)
                .name(if odd == 1 { "late" } else { "early" })
                .with("size", Value::IntValue((odd * 5_000 + n) as i64))
                .with("share", Value::DoubleValue(odd as f64 + 0.5))
        };
        harness.append(&(1..=each).map(span).collect::<Vec<_>>());
    }
    let all = traces * each;
    let scan = |predicate: Predicate, range: TimeRange| {
        let plan = SearchPlan { range, limit: 100, ..plan(predicate) };
        let answer = harness.search(&plan);
        (answer.traces.len() as u64, answer.scanned.spans)
    };
    let size = |comparison| Predicate::Compare(Field::Attribute(Span, "size".to_owned()), comparison);
    let share = |comparison| Predicate::Compare(Field::Attribute(Span, "share".to_owned()), comparison);
    let half = [
        Predicate::Compare(Field::Duration, Ge(Literal::Int(SECOND as i64))),
        Predicate::Compare(Field::Name, Eq(Literal::String("late".to_owned()))),
        size(Gt(Literal::Int(2_000))),
        size(Ge(Literal::Float(5_000.5))),
        share(Gt(Literal::Int(1))),
    ];
    let none = [
        Predicate::Compare(Field::Duration, Gt(Literal::Int(60 * SECOND as i64))),
        size(Lt(Literal::Int(1))),
        share(Le(Literal::Float(0.25))),
        size(Gt(Literal::String("1".to_owned()))),
    ];
    for sealed in [false, true] {
        if sealed {
            harness.store().seal_all();
        }
        for predicate in &half {
            let (found, scanned) = scan(predicate.clone(), TimeRange::ALL);
            assert_eq!(found, traces / 2, "{predicate:?}");
            assert!(!sealed || scanned < all * 3 / 4, "{predicate:?}: {scanned} of {all} spans");
        }
        for predicate in &none {
            let (found, scanned) = scan(predicate.clone(), TimeRange::ALL);
            assert_eq!(found, 0, "{predicate:?}");
            let is_text = matches!(predicate, Predicate::Compare(_, Gt(Literal::String(_))));
            assert!(!sealed || is_text || scanned == 0, "{predicate:?}: {scanned} spans");
        }
        let late = TimeRange { start: UnixNanos(BEGIN + 30 * SECOND), end: None };
        let (found, scanned) = scan(Predicate::All, late);
        assert_eq!(found, traces / 2);
        assert!(!sealed || scanned < all * 3 / 4, "a range: {scanned} of {all} spans");
    }
}

/// Newest first stops when the remaining blocks cannot come first any more. Other orders read all blocks.
pub fn a_page_that_is_full_ends_the_search(open: Open) {
    let mut harness = open();
    for window in 0..6 {
        let spans: Vec<_> = (1..=10).map(|n| sent(10 * window + n, 1).at(window * HOUR + n, 1)).collect();
        harness.append(&spans);
        harness.clock.advance(HOUR);
        harness.store().seal_all();
    }
    harness.whatever_happens(|harness| {
        for (order, limit, read) in [
            (Order::Newest, 3, 1),
            // The next block is read to find out whether there is another page.
            (Order::Newest, 10, 2),
            (Order::Newest, 15, 2),
            (Order::Newest, 100, 6),
            (Order::Longest, 3, 6),
        ] {
            let answer = harness.search(&SearchPlan { order, limit, ..plan(Predicate::All) });
            assert_eq!(answer.traces.len(), limit.min(60));
            assert!(
                answer.scanned.blocks_read <= read,
                "{order:?} {limit}: {} blocks",
                answer.scanned.blocks_read
            );
        }
    });
}

/// Filters skip blocks without the value, fresh ones as well as merged ones.
pub fn blocks_without_the_value_are_passed_over(open: Open) {
    let mut harness = open();
    let blocks = 5u64;
    for n in 1..=blocks {
        let span = sent(n, 1).with("size", Value::IntValue(n as i64)).with("user", text(&format!("u{n}")));
        let tags = vec![AnyValue { value: Some(text(&format!("t{n}"))) }];
        let span = span.with("tags", Value::ArrayValue(ArrayValue { values: tags }));
        let span = span.with("code", text(&n.to_string()));
        harness.append(&[span.on_resource("host", text("h"))]);
    }
    let compare =
        |scope, key: &str, literal| Predicate::Compare(Field::Attribute(scope, key.to_owned()), Eq(literal));
    let string = |text: &str| Literal::String(text.to_owned());
    let cases = [
        (compare(Span, "user", string("u2")), 1),
        (compare(Any, "user", string("u3")), 1),
        (compare(Span, "user", string("nobody")), 0),
        (compare(Span, "size", Literal::Int(5)), 1),
        (compare(Span, "size", Literal::Int(50)), 0),
        (compare(Span, "code", Literal::Int(3)), 1),
        (compare(Any, "code", Literal::Float(4.0)), 1),
        (compare(Span, "code", Literal::Int(50)), 0),
        (compare(Span, "nothing", string("u2")), 0),
        (compare(Span, "tags", string("t4")), 1),
        (compare(Span, "tags", string("none of them")), 0),
        (compare(Resource, "user", string("u2")), 0),
        (compare(Resource, "host", string("h")), blocks),
        (Predicate::Exists(Field::Attribute(Span, "nothing".to_owned())), 0),
    ];
    // A restart loses the values of fresh blocks that the store kept in memory when it wrote them.
    for (step, knows) in [("fresh", true), ("after a restart", false), ("merged", true)] {
        match step {
            "after a restart" => harness.restart(),
            "merged" => harness.store().seal_all(),
            _ => {}
        }
        for (predicate, found) in &cases {
            let answer = harness.search(&SearchPlan { limit: 100, ..plan(predicate.clone()) });
            assert_eq!(answer.traces.len() as u64, *found, "{step}: {predicate:?}");
            let read = answer.scanned.blocks_read;
            let is_read = *found > 0 || read == 0;
            assert!(!knows || is_read && read <= found + 1, "{step}: {predicate:?}: {read} blocks");
        }
    }
}
