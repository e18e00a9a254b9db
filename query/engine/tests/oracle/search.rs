//! Compares the answers to questions for traces.

use std::fmt::Write;

use spandrel_engine::Scalar;
use spandrel_engine::traces::{FoundSpan, SpanSet, TracesAnswer, TracesPlan, traces};
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::plan::Order;
use spandrel_storage::{BlockTraceStore, TraceSummary};
use spandrel_traceql::ast::{Field, Pipeline};

use crate::plain::mentioned::mentioned;
use crate::plain::sets::Set;
use crate::plain::trace::{Sent, Trace};
use crate::plain::value::Value;
use crate::world::{World, budget};

/// More than there are.
const MANY: usize = 1_000;

/// How the answer of a store differs from what it should be, if it does.
pub fn difference(world: &World, query: &Pipeline, range: TimeRange) -> Option<String> {
    let expected =
        [None, Some(2), Some(MANY)].map(|most| (most, expected(&world.traces, query, range, most)));
    let counts = &expected[0].1;
    for (state, store) in &world.stores {
        let (order, after) = (Order::Newest, None);
        let plan = |spans_per_set| TracesPlan { query, range, order, limit: MANY, after, spans_per_set };
        for (spans_per_set, expected) in &expected {
            let got = answered(&ask(store, &plan(*spans_per_set)));
            if got != *expected {
                return Some(format!("{state:?}, {spans_per_set:?} spans\nexpected\n{expected}got\n{got}"));
            }
        }
        for order in [Order::Newest, Order::Longest] {
            let got = by_pages(store, TracesPlan { order, limit: 2, ..plan(None) });
            if got != *counts {
                return Some(format!("{state:?}, pages by {order:?}\nexpected\n{counts}got\n{got}"));
            }
        }
    }
    None
}

fn ask(store: &BlockTraceStore, plan: &TracesPlan<'_>) -> TracesAnswer {
    let answer = traces(store, &TenantId::default(), plan, &budget()).unwrap();
    assert_eq!(answer.partial, None);
    answer
}

/// All pages of an answer, whose order they have to keep.
fn by_pages(store: &BlockTraceStore, mut plan: TracesPlan<'_>) -> String {
    let mut all = TracesAnswer::default();
    loop {
        let page = ask(store, &plan);
        all.found.traces.extend(page.found.traces);
        plan.after = page.found.next;
        if plan.after.is_none() || all.found.traces.len() > MANY {
            break;
        }
    }
    let key = |summary: &TraceSummary| match plan.order {
        Order::Newest => summary.start.0,
        _ => summary.duration,
    };
    assert!(all.found.traces.is_sorted_by(|a, b| key(a) >= key(b)), "{:?}", plan.order);
    answered(&all)
}

// === Answers as text ===

fn expected(traces: &[Trace], query: &Pipeline, range: TimeRange, spans_per_set: Option<usize>) -> String {
    let mut text = String::new();
    let fields = mentioned(query);
    for trace in traces {
        let starts_in_range = |span: &usize| range.contains(UnixNanos(trace.spans[*span].start()));
        let mut matched = trace.matched(query);
        matched.retain(starts_in_range);
        if matched.is_empty() {
            continue;
        }
        let id = |span: &usize| trace.spans[*span].id().to_vec();
        let ids: Vec<Vec<u8>> = matched.iter().map(id).collect();
        line_of_trace(&mut text, &trace.spans[0].span.trace_id, &ids, ids.len() as u64);
        let Some(most) = spans_per_set else { continue };
        for Set { spans, by, values } in trace.sets(query) {
            let ids: Vec<Vec<u8>> = spans.iter().take(most).map(id).collect();
            line_of_set(&mut text, &by, &values, &ids, spans.len());
            for span in spans.into_iter().take(most) {
                line_of_span(&mut text, &trace.spans[span], &shown_fields(trace, span, &fields));
            }
        }
    }
    text
}

/// The fields that a query mentions and the span has, but for those that are shown anyway.
fn shown_fields(trace: &Trace, span: usize, fields: &[Field]) -> Vec<(String, Value)> {
    let shown = fields.iter().map(|field| (field.to_string(), trace.first(span, field).shown()));
    shown.filter(|(_, value)| *value != Value::Nil).collect()
}

fn line_of_span(text: &mut String, sent: &Sent, fields: &[(String, Value)]) {
    let _ = writeln!(text, "      {:?} {} {} {fields:?}", sent.span.name, sent.start(), sent.duration());
}

fn line_of_found_span(text: &mut String, span: &FoundSpan) {
    let fields: Vec<(String, Value)> = plain_values(&span.attributes);
    let _ = writeln!(text, "      {:?} {} {} {fields:?}", span.name, span.start.0, span.duration);
}

fn answered(answer: &TracesAnswer) -> String {
    let mut found: Vec<&TraceSummary> = answer.found.traces.iter().collect();
    found.sort_by_key(|summary| summary.id);
    let mut text = String::new();
    for summary in found {
        let ids: Vec<Vec<u8>> = summary.matched_span_ids.iter().map(|id| id.as_bytes().to_vec()).collect();
        line_of_trace(&mut text, summary.id.as_bytes(), &ids, summary.matched_span_count);
        sets_of(answer, summary.id).iter().for_each(|set| line_of_answered_set(&mut text, set));
    }
    text
}

fn sets_of(answer: &TracesAnswer, trace: TraceId) -> &[SpanSet] {
    answer.span_sets.get(&trace).map_or(&[], Vec::as_slice)
}

fn line_of_answered_set(text: &mut String, set: &SpanSet) {
    let ids: Vec<Vec<u8>> = set.spans.iter().map(|span| span.id.as_bytes().to_vec()).collect();
    line_of_set(text, &plain_values(&set.by), &plain_values(&set.values), &ids, set.matched_span_count);
    set.spans.iter().for_each(|span| line_of_found_span(text, span));
}

fn plain_values(values: &[(String, Scalar<'static>)]) -> Vec<(String, Value)> {
    values.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

/// The earliest 20 matched spans are named.
fn line_of_trace(text: &mut String, trace: &[u8], ids: &[Vec<u8>], count: u64) {
    let _ = writeln!(text, "  trace {} matches {count}: {}", last(trace), named(&ids[..ids.len().min(20)]));
}

fn line_of_set(
    text: &mut String,
    by: &[(String, Value)],
    values: &[(String, Value)],
    ids: &[Vec<u8>],
    count: usize,
) {
    let _ = writeln!(text, "    set of {count}: {} by {by:?} values {values:?}", named(ids));
}

fn named(ids: &[Vec<u8>]) -> String {
    ids.iter().map(|id| last(id).to_string()).collect::<Vec<_>>().join(" ")
}

fn last(id: &[u8]) -> u8 {
    id.last().copied().unwrap_or_default()
}

/// The engine's value in the types of the plain evaluator.
pub fn plain(value: &Scalar<'_>) -> Value {
    match value {
        Scalar::Nil => Value::Nil,
        Scalar::Bool(flag) => Value::Bool(*flag),
        Scalar::Int(int) => Value::Int(*int),
        Scalar::Float(float) => Value::Float(*float),
        Scalar::Text(text) => Value::Text(text.to_string()),
        Scalar::Status(status) => Value::Status(*status),
        Scalar::Kind(kind) => Value::Kind(*kind),
        Scalar::Array(_) => panic!("answers have no lists"),
        Scalar::Opaque => Value::Other,
    }
}
