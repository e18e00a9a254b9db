//! Aggregates equal the oracle's, whether they are computed from rollups or from columns.

use std::collections::BTreeMap;

use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::plan::{AggregatePlan, GroupBy, KindFilter, Stop};
use spandrel_storage::{AggregateAnswer, LatencySketch, TraceStore};

use super::Open;
use super::search::shop;
use crate::harness::Harness;
use crate::oracle::{self, Counted, PointKey};
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, sent};

/// All spans over all time, by minute.
pub fn plan() -> AggregatePlan {
    AggregatePlan {
        service: None,
        operation: None,
        kind: KindFilter::Any,
        group_by: GroupBy::default(),
        range: TimeRange { start: UnixNanos(0), end: Some(UnixNanos::MAX) },
        step: MINUTE,
        max_points: usize::MAX,
        stop: Stop::default(),
    }
}

/// The store's answer, by series and point. Asserts that every series and point comes once, in order.
pub fn answer(harness: &Harness, plan: &AggregatePlan) -> BTreeMap<PointKey, (u64, u64, LatencySketch)> {
    let answer = harness.store().aggregate(&TenantId::default(), plan).unwrap();
    assert!(!answer.partial);
    points(answer)
}

/// The points of an answer by series and time.
pub fn points(answer: AggregateAnswer) -> BTreeMap<PointKey, (u64, u64, LatencySketch)> {
    let mut points = BTreeMap::new();
    for series in answer.series {
        assert!(series.points.is_sorted_by_key(|point| point.time));
        for point in series.points {
            let key = (series.service.clone(), series.operation.clone(), series.kind, point.time.0);
            assert_eq!(point.request_count, point.latency.count());
            let counts = (point.request_count, point.error_count, point.latency);
            assert!(points.insert(key, counts).is_none(), "a point comes twice");
        }
    }
    points
}

/// Asserts that the answer equals the oracle's.
pub fn check(harness: &Harness, spans: &[Sent], plan: &AggregatePlan) {
    let answer = answer(harness, plan);
    let expected = oracle::aggregate(spans, plan);
    let counts: BTreeMap<_, _> =
        answer.iter().map(|(key, (n, errors, _))| (key.clone(), (*n, *errors))).collect();
    let wanted: BTreeMap<_, _> =
        expected.iter().map(|(key, n)| (key.clone(), (n.requests, n.errors))).collect();
    assert_eq!(counts, wanted, "{plan:?}");
    for (key, Counted { durations, .. }) in expected {
        check_latency(&answer[&key].2, durations);
    }
}

/// Asserts that a sketch holds these durations.
pub fn check_latency(sketch: &LatencySketch, mut durations: Vec<u64>) {
    durations.sort_unstable();
    assert_eq!(sketch.max(), durations[durations.len() - 1]);
    for q in [0.5, 0.75, 0.9, 0.95, 0.99] {
        let rank = ((q * durations.len() as f64).ceil() as usize).clamp(1, durations.len());
        let (exact, found) = (durations[rank - 1] as f64, sketch.quantile(q) as f64);
        assert!((found - exact).abs() <= exact * 0.012 + 1.0, "{found} is not close to {exact}");
    }
}

fn fill(harness: &Harness) -> Vec<Sent> {
    let mut batches = shop();
    // Spans over seconds, minutes and an hour, and at the limits of time.
    batches.push(
        (0..200).map(|n| sent(500 + n, 1).at(n * 17 * SECOND, n * n * 1000).status((n % 3) as i32)).collect(),
    );
    batches.push(vec![
        sent(800, 1).times(0, 5),
        sent(801, 1).times(MINUTE - 1, MINUTE + 1),
        sent(802, 1).times(u64::MAX - 1, 3),
    ]);
    for batch in &batches {
        harness.append(batch);
        harness.clock.advance(15 * MINUTE);
    }
    batches.concat()
}

/// Counts equal the oracle's for every filter and grouping.
pub fn counts_are_those_of_the_spans(open: Open) {
    let mut harness = open();
    let spans = fill(&harness);
    let kinds = [
        KindFilter::Any,
        KindFilter::Requests,
        KindFilter::Only(SpanKind::Client),
        KindFilter::Only(SpanKind::Unspecified),
    ];
    let groups = (0..8).map(|n| GroupBy { service: n & 1 > 0, operation: n & 2 > 0, kind: n & 4 > 0 });
    let plans: Vec<AggregatePlan> = groups
        .flat_map(|group_by| kinds.map(|kind| AggregatePlan { group_by, kind, ..plan() }))
        .chain([
            AggregatePlan { service: Some("cart".to_owned()), ..plan() },
            AggregatePlan { operation: Some("read".to_owned()), ..plan() },
            AggregatePlan { service: Some("pay".to_owned()), operation: Some("read".to_owned()), ..plan() },
            AggregatePlan { service: Some("unknown_service".to_owned()), ..plan() },
            AggregatePlan { service: Some("nobody".to_owned()), ..plan() },
        ])
        .collect();
    harness.whatever_happens(|harness| plans.iter().for_each(|plan| check(harness, &spans, plan)));
}

/// Rollups answer whole minutes, and single spans the rest of a range.
pub fn ranges_and_steps_need_no_alignment(open: Open) {
    let mut harness = open();
    let spans = fill(&harness);
    let ends = [
        (0, u64::MAX),
        (BEGIN, BEGIN + HOUR),
        (BEGIN + 1, BEGIN + HOUR - 1),
        (BEGIN + 17 * SECOND, BEGIN + 17 * SECOND + 1),
        (BEGIN + 30 * SECOND, BEGIN + 90 * SECOND),
        (BEGIN + MINUTE, BEGIN + MINUTE),
        (BEGIN + MINUTE, BEGIN),
        (BEGIN + MINUTE - 1, BEGIN + 2 * MINUTE + 1),
        (u64::MAX - 2, u64::MAX),
        (u64::MAX, u64::MAX),
    ];
    let steps = [1_000_000, SECOND, 45 * SECOND, MINUTE, 90 * SECOND, 5 * MINUTE, HOUR, u64::MAX];
    harness.whatever_happens(|harness| {
        for (start, end) in ends {
            for step in steps {
                let range = TimeRange { start: UnixNanos(start), end: Some(UnixNanos(end)) };
                let group_by = GroupBy { service: true, ..GroupBy::default() };
                check(harness, &spans, &AggregatePlan { range, step, group_by, ..plan() });
            }
        }
    });
}

/// The worst span is a failed one if there is any, then the longest; rollups and columns agree.
pub fn the_worst_span_is_shown(open: Open) {
    let mut harness = open();
    let spans = fill(&harness);
    harness.whatever_happens(|harness| {
        for step in [MINUTE, 7 * SECOND, HOUR] {
            let answer =
                harness.store().aggregate(&TenantId::default(), &AggregatePlan { step, ..plan() }).unwrap();
            for point in &answer.series[0].points {
                let here = spans.iter().filter(|sent| sent.start() / step == point.time.0 / step);
                let worst = here.map(|sent| (oracle::failed(sent), sent.duration(), sent.trace())).max();
                assert_eq!(point.worst.map(|span| (span.failed, span.duration, span.trace)), worst);
            }
        }
    });
}

/// Duplicates in one batch are never counted; duplicates in other batches count until their blocks are merged.
pub fn duplicates_leave_with_the_merge(open: Open) {
    let mut harness = open();
    let spans = [sent(1, 1), sent(1, 2).parent(1), sent(2, 1).at(2 * MINUTE, 5)];
    harness.append(&[spans[0].clone(), spans[0].clone()]);
    harness.append(&spans);
    harness.append(&spans[1..]);
    harness.store().seal_all();
    check(&harness, &spans, &plan());
    harness.restart();
    check(&harness, &spans, &plan());
    assert_eq!(harness.store().status().span_count, 3);
}

/// Percentiles are within 1.2 % of a real value; the largest value is exact.
pub fn percentiles_are_close(open: Open) {
    let mut harness = open();
    let mut spans = Vec::new();
    for n in 0..5000u64 {
        // Durations from nanoseconds to hours, without a pattern.
        let duration = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (20 + n % 40);
        spans.push(sent(n + 1, 1).at(n * 100_000_000, duration));
    }
    spans.chunks(700).for_each(|part| harness.append(part));
    harness.whatever_happens(|harness| {
        check(harness, &spans, &AggregatePlan { step: HOUR, ..plan() });
        check(harness, &spans, &AggregatePlan { step: 7 * SECOND, ..plan() });
    });
}

/// A range without an end stays bounded although clocks run ahead: the last point also counts all later spans.
pub fn clocks_far_ahead_cost_no_more_than_the_limit(open: Open) {
    let mut harness = open();
    let spans: Vec<Sent> = (0..40).map(|n: u64| sent(n + 1, 1).at(n * n * n * HOUR, 5)).collect();
    spans.chunks(7).for_each(|part| harness.append(part));
    harness.whatever_happens(|harness| {
        for step in [7 * SECOND, MINUTE, HOUR] {
            let range = TimeRange { start: UnixNanos(0), end: None };
            let plan = AggregatePlan { step, range, max_points: 10, ..plan() };
            let answer = harness.store().aggregate(&TenantId::default(), &plan).unwrap();
            let counts: Vec<u64> = answer.series[0].points.iter().map(|point| point.request_count).collect();
            assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 1, 31]);
        }
    });
}

/// The status counts spans and traces exactly, and nothing is unsealed after a merge.
pub fn status_counts(open: Open) {
    let mut harness = open();
    assert_eq!(harness.store().status().oldest, None);
    let spans = fill(&harness);
    let traces = spans.iter().map(Sent::trace).collect::<std::collections::BTreeSet<_>>().len();
    let status = harness.store().status();
    let (all, blocks) = (spans.len() as u64, shop().len() as u64 + 2);
    assert_eq!((status.unsealed_span_count, status.fresh_block_count), (all, blocks));
    assert_eq!(status.appended_spans, all);
    harness.whatever_happens(|harness| {
        let status = harness.store().status();
        assert_eq!((status.span_count, status.trace_count), (all, traces as u64));
        assert_eq!((status.oldest, status.newest), (Some(UnixNanos(0)), Some(UnixNanos(u64::MAX - 1))));
        assert_eq!(status.damaged_blocks, 0);
        assert!(status.store_bytes > 0);
    });
    let status = harness.store().status();
    assert_eq!((status.unsealed_span_count, status.fresh_block_count), (0, 0));
}
