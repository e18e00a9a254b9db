//! Extreme sizes and times, and limits.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spandrel_block::{CatalogRow, Dictionary, Header, SectionKind};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Order, Predicate, SearchPlan};
use spandrel_storage::{AppendError, TraceStore};

use super::Open;
use super::aggregate;
use crate::harness::plan;
use crate::oracle;
use crate::server::number;
use crate::spans::{Sent, decoded, sent, text, trace_id};

/// Starts in 1970, in 2200 and at the end of time, and ends before starts.
pub fn any_time_is_kept(open: Open) {
    const IN_2200: u64 = 7_258_118_400_000_000_000;
    let times = [
        (0, 0),
        (0, u64::MAX),
        (1, 0),
        (IN_2200, IN_2200 + 5),
        (u64::MAX, u64::MAX),
        (u64::MAX, 0),
        (u64::MAX - 1, 3),
    ];
    let spans: Vec<Sent> =
        times.iter().zip(1..).map(|((start, end), n)| sent(n % 3 + 1, n).times(*start, *end)).collect();
    let mut harness = open();
    spans.chunks(2).for_each(|part| harness.append(part));
    harness.whatever_happens(|harness| {
        for n in 1..=3 {
            assert_eq!(harness.trace(trace_id(n)), oracle::trace(&spans, trace_id(n)));
        }
        let last = TimeRange { start: UnixNanos(u64::MAX), end: None };
        for order in [Order::Newest, Order::Oldest, Order::Longest, Order::Shortest] {
            for range in [TimeRange::ALL, last] {
                let plan = SearchPlan { order, range, ..plan(Predicate::All) };
                let expected = oracle::search(&spans, &plan);
                let answer = harness.search(&plan);
                assert_eq!(answer.traces.len(), expected.len(), "{plan:?}");
                expected.iter().zip(&answer.traces).for_each(|(a, b)| assert_eq!(a, b, "{plan:?}"));
            }
        }
        aggregate::check(harness, &spans, &aggregate::plan());
    });
}

/// A value of a megabyte in an attribute, in a resource, and as a name.
pub fn large_values_are_kept(open: Open) {
    let large: String =
        (0..150_000u64).map(|n| format!("{:07x}", n.wrapping_mul(2_654_435_761) % (1 << 28))).collect();
    assert!(large.len() > 1_000_000);
    let mut harness = open();
    let spans = [
        sent(1, 1).with("large", text(&large)),
        sent(1, 2).with("bytes", Value::BytesValue(large.clone().into_bytes())).at(1, 1),
        sent(1, 3).on_resource("large", text(&large[..900_000])).at(2, 1),
        sent(1, 4).name(&large).at(3, 1),
    ];
    harness.append(&spans[..2]);
    harness.append(&spans[2..]);
    harness.whatever_happens(|harness| {
        assert!(harness.trace(trace_id(1)) == spans);
        let attribute = Field::Attribute(AttributeScope::Span, "large".to_owned());
        let equal = Comparison::Eq(Literal::String(large.clone()));
        assert_eq!(harness.find(Predicate::Compare(attribute, equal.clone())).len(), 1);
        assert_eq!(harness.find(Predicate::Compare(Field::Name, equal)).len(), 1);
    });
}

/// Merged blocks have a limit, and a trace may have more spans than one block.
pub fn merged_blocks_are_cut_and_traces_stay_whole(open: Open) {
    let mut harness = open();
    harness.config.sealed_rows = 50;
    harness.config.max_merge_blocks = 7;
    harness.restart();
    let mut spans: Vec<Sent> = (1..=600).map(|n| sent(1, n).at(n * 7 % 600, n)).collect();
    spans.extend((0..300).map(|n| sent(2 + n % 40, n + 1).at(n, 1).service(["a", "b"][n as usize % 2])));
    // Interleaved, so that every fresh block has a part of the large trace.
    let order = |n: usize| spans[n * 7 % spans.len()].clone();
    let mixed: Vec<Sent> = (0..spans.len()).map(order).collect();
    assert_eq!(oracle::distinct(&mixed).len(), spans.len());
    mixed.chunks(30).for_each(|part| harness.append(part));
    harness.whatever_happens(|harness| {
        for n in [1, 2, 17, 41] {
            assert_eq!(harness.trace(trace_id(n)), oracle::trace(&spans, trace_id(n)));
        }
        for order in [Order::Newest, Order::MostSpans] {
            let plan = SearchPlan { order, ..plan(Predicate::All) };
            let expected = oracle::search(&spans, &plan);
            let answer = harness.search(&plan);
            assert_eq!(answer.traces.len(), expected.len());
            expected.iter().zip(&answer.traces).for_each(|(a, b)| assert_eq!(a, b));
        }
        aggregate::check(harness, &spans, &aggregate::plan());
    });
    assert!(harness.engine().catalog_rows().unwrap().len() > 5);
}

/// A million spans, or `SPANDREL_TRACE_SPANS`, in requests of 5,000 as collectors send them. Each is found once.
pub fn a_trace_of_very_many_spans(open: Open) {
    let spans = number("SPANDREL_TRACE_SPANS").unwrap_or(1_000_000);
    let mut harness = open();
    for from in (0..spans).step_by(5000) {
        let part: Vec<Sent> =
            (from..from + 5000).map(|n| sent(1, n + 1).parent(n / 10).at(n * 31 % spans, n)).collect();
        harness.append(&part);
    }
    harness.append(&[sent(2, 1)]);
    let read = |harness: &crate::harness::Harness| {
        let found = harness.store().trace(&TenantId::default(), trace_id(1)).unwrap().unwrap();
        assert!(found.stored >= spans);
        let mut last = 0;
        let mut ids = BTreeSet::new();
        for span in found {
            let span = span.unwrap();
            let view = spandrel_proto::otlp::SpanView::parse(&span.span).unwrap();
            assert!(view.start >= last, "out of order");
            last = view.start;
            ids.insert(view.span_id.to_vec());
        }
        assert_eq!(ids.len() as u64, spans);
    };
    read(&harness);
    harness.store().seal_all();
    harness.restart();
    read(&harness);
    let found = harness.find(Predicate::All);
    assert_eq!(found.len(), 2);
    assert!(found.iter().any(|trace| trace.span_count == spans && trace.matched_span_ids.len() == 20));
}

/// A block stores at most some thousands of different attribute keys. Merges must keep to that limit.
pub fn many_keys_do_not_add_up_in_merges(open: Open) {
    const KEYS: u64 = 300;
    let harness = open();
    // Every trace has its own keys, and its parts lie in different blocks.
    for part in 0..4 {
        let span = |trace: u64| {
            let with = |span: Sent, n: u64| span.with(&format!("key.{trace}.{n}"), Value::IntValue(1));
            (part * KEYS / 4..(part + 1) * KEYS / 4).fold(sent(trace, part + 1), with)
        };
        (1..=100).map(span).collect::<Vec<_>>().chunks(50).for_each(|part| harness.append(part));
    }
    harness.store().seal_all();
    let (mut slots, mut blocks) = (Vec::new(), 0);
    for (key, row) in harness.engine().catalog_rows().unwrap() {
        let row = CatalogRow::decode(&row).unwrap();
        let block = harness.engine().get_range(&key, 0..row.bytes).unwrap();
        let section = *Header::parse(&block).unwrap().section(SectionKind::Dictionary).unwrap();
        let range = section.range().start as usize..section.range().end as usize;
        let dictionary = Dictionary::decode(section.decode(block.slice(range)).unwrap()).unwrap();
        slots.push(dictionary.slots.len());
        blocks += 1;
    }
    assert!(blocks > 3, "30,000 keys in blocks of {slots:?}");
    assert!(slots.iter().all(|slots| *slots < 10_000), "{slots:?}");
    for trace in [1, 50, 100] {
        let spans = harness.trace(trace_id(trace));
        assert_eq!(spans.iter().map(|span| span.span.attributes.len() as u64).sum::<u64>(), KEYS);
    }
    let last = Field::Attribute(AttributeScope::Span, format!("key.100.{}", KEYS - 1));
    assert_eq!(harness.find(Predicate::Exists(last)).len(), 1);
}

/// The store refuses spans until a merge makes room, and stores nothing of a refused request.
pub fn too_many_unsealed_spans_press_back(open: Open) {
    let mut harness = open();
    harness.config.max_unsealed_spans = 10;
    harness.restart();
    harness.append(&(1..=12).map(|n| sent(n, 1)).collect::<Vec<_>>());
    let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(50, 1)])]);
    assert!(matches!(refused, Err(AppendError::Overloaded { unsealed_spans: 12 })), "{refused:?}");
    harness.restart();
    assert!(matches!(harness.store().refusal(), Some(AppendError::Overloaded { .. })));
    assert!(harness.trace(trace_id(50)).is_empty());
    harness.store().seal_all();
    assert!(harness.store().refusal().is_none());
    harness.append(&[sent(50, 1)]);
    assert_eq!(harness.trace(trace_id(50)).len(), 1);
}

/// Until the merge, memory holds an entry for each trace and each value, so few spans can fill it.
pub fn too_much_memory_for_unsealed_spans_presses_back(open: Open) {
    let mut harness = open();
    harness.config.max_unsealed_bytes = 20_000;
    harness.restart();
    let one_trace: Vec<_> = (1..=300).map(|n| sent(1, n)).collect();
    harness.append(&one_trace);
    assert!(harness.store().refusal().is_none(), "one trace, and no values");
    harness.store().seal_all();
    harness.append(&(1..=300).map(|n| sent(n, 1)).collect::<Vec<_>>());
    assert!(matches!(harness.store().refusal(), Some(AppendError::Overloaded { unsealed_spans: 300 })));
    harness.restart();
    assert!(matches!(harness.store().refusal(), Some(AppendError::Overloaded { .. })));
    // Memory pressure starts a merge at once.
    harness.maintain(1);
    assert!(harness.store().refusal().is_none());
    let value = |n| sent(400, n).with("value", text(&format!("{n} of very many")));
    harness.append(&(1..=20_000).map(value).collect::<Vec<_>>());
    assert!(matches!(harness.store().refusal(), Some(AppendError::Overloaded { unsealed_spans: 20_000 })));
}
