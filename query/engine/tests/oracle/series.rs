//! Compares the answers to questions for series.

use std::fmt::Write;

use spandrel_engine::metrics::{MetricsAnswer, MetricsPlan, metrics};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_traceql::ast::Metrics;

use crate::plain::metrics::{Points, Series, series};
use crate::plain::trace::Sent;
use crate::search::plain;
use crate::world::{World, budget};

/// How the answer of a store differs from what it should be, if it does. With and without exemplars the
/// engine may count in different ways.
pub fn difference(world: &World, query: &Metrics, points: Points) -> Option<String> {
    let mut expected = series(&world.traces, query, points);
    let is_sorted = !matches!(query, Metrics::Compare { .. });
    if !is_sorted {
        sort(&mut expected);
    }
    let tolerance = if query.to_string().contains("quantile_over_time") { 0.011 } else { 1e-9 };
    for (state, store) in &world.stores {
        for exemplars in [0, 2] {
            let plan = MetricsPlan { query, range: range_of(points), step: points.step, exemplars };
            let answer = metrics(store, &TenantId::default(), &plan, &budget()).unwrap();
            assert_eq!(answer.partial, None);
            assert_exemplars_are_spans(world, &answer, points, exemplars);
            let mut got = answered(&answer);
            if !is_sorted {
                sort(&mut got);
            }
            if !are_close(&expected, &got, tolerance) {
                let (expected, got) = (text(&expected), text(&got));
                return Some(format!("{state:?}, {exemplars} exemplars\nexpected\n{expected}got\n{got}"));
            }
        }
    }
    None
}

pub fn range_of(points: Points) -> TimeRange {
    TimeRange { start: UnixNanos(points.begin), end: Some(UnixNanos(points.end)) }
}

/// For answers without an order that is documented.
fn sort(series: &mut [Series]) {
    series.sort_by_cached_key(|series| format!("{:?}", series.labels));
}

fn assert_exemplars_are_spans(world: &World, answer: &MetricsAnswer, points: Points, most: usize) {
    for series in &answer.series {
        assert!(series.exemplars.len() <= most);
        for exemplar in &series.exemplars {
            let mut spans = world.traces.iter().flat_map(|trace| &trace.spans);
            let is_meant = |sent: &Sent| {
                sent.span.trace_id == exemplar.trace.as_bytes()
                    && sent.id() == exemplar.span.as_bytes()
                    && sent.start() == exemplar.time.0
            };
            assert!(spans.any(is_meant) && points.contain(exemplar.time.0), "{exemplar:?}");
        }
    }
}

fn answered(answer: &MetricsAnswer) -> Vec<Series> {
    let one = |series: &spandrel_engine::metrics::Series| Series {
        labels: series.labels.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        values: series.values.clone(),
    };
    answer.series.iter().map(one).collect()
}

fn are_close(left: &[Series], right: &[Series], tolerance: f64) -> bool {
    let close = |left: &Series, right: &Series| {
        let same_labels = format!("{:?}", left.labels) == format!("{:?}", right.labels);
        let mut values = left.values.iter().zip(&right.values);
        same_labels
            && left.values.len() == right.values.len()
            && values.all(|(left, right)| is_close(*left, *right, tolerance))
    };
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| close(left, right))
}

/// Whether two values are equal but for a share; durations are whole nanoseconds, whatever their share is.
fn is_close(left: f64, right: f64, tolerance: f64) -> bool {
    let rounding = if tolerance > 1e-3 { 1.0 } else { 1e-9 };
    left == right
        || left.is_nan() && right.is_nan()
        || (left - right).abs() <= left.abs().max(right.abs()) * tolerance + rounding
}

fn text(series: &[Series]) -> String {
    let mut text = String::new();
    for Series { labels, values } in series {
        let _ = writeln!(text, "  {labels:?} {values:?}");
    }
    text
}
