//! What failed once: each case shows one mistake of the engine. A seed means other spans and questions after
//! a change of the generators, so that a case that is worth keeping is written out.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::generate::spans::{BATCHES, BEGIN, MINUTE, span_id, trace_id};
use crate::plain::trace::Sent;
use crate::world::World;
use crate::{Question, check, check_seed};

const SEEDS: [u64; 6] = [5, 15, 24, 27, 43, 55];

#[test]
fn seeds() {
    SEEDS.into_iter().for_each(check_seed);
}

#[test]
fn only_matching_spans_count_where_a_label_needs_the_tree() {
    let failed = Sent { span: Span { status: status(2), ..span(2, 1) }, ..sent(2, 1) };
    ask(&[sent(1, 0), failed], "{ failed = true } | count_over_time() by(root)");
}

#[test]
fn labels_have_no_series_without_a_value() {
    ask(&[with(1, "n", Value::IntValue(2)), sent(2, 1)], "{ } | sum_over_time(.n) by(span:id)");
    ask(&[with(1, "n", Value::IntValue(2)), sent(2, 1)], "{ .n + 0 > 1 } | rate() by(span:id)");
}

#[test]
fn a_duration_of_zero_is_a_value() {
    ask(&[sent(1, 0)], "{ } | max_over_time(duration) by(name)");
    ask(&[sent(1, 0)], "{ } | quantile_over_time(duration, 0.5)");
}

#[test]
fn labels_of_numbers_are_ordered_by_size() {
    let numbers = [-3.0, 0.5, -0.5, 2.5].map(Value::DoubleValue);
    let spans: Vec<Sent> = (1..).zip(numbers).map(|(id, number)| with(id, "n", number)).collect();
    ask(&spans, "{ } | rate() by(.n)");
}

#[test]
fn nil_compares_with_no_list() {
    let list = Value::ArrayValue(ArrayValue { values: vec![any(Value::IntValue(1))] });
    ask(&[with(1, "list", list)], "{ .list != .missing }");
}

#[test]
fn computed_values_may_be_nil() {
    ask(&[with(1, "n", Value::IntValue(0)), sent(2, 1)], "{ 1 / .n = nil }");
    ask(&[with(1, "n", Value::IntValue(2)), sent(2, 1)], "{ 1 / .n != nil }");
}

#[test]
fn texts_of_whole_numbers_are_whole() {
    let text = Value::StringValue("503".to_owned());
    ask(&[with(1, "http.status_code", text)], "{ .http.response.status_code / 100 = 5 }");
}

#[test]
fn large_numbers_compare_without_rounding() {
    let number = Value::DoubleValue(9_007_199_254_740_992.0);
    ask(&[with(1, "n", number)], "{ .n = 9007199254740993 && root }");
}

#[test]
fn the_tree_of_the_root_comes_first() {
    let orphan = sent(1, 99);
    ask(&[orphan, sent(2, 0)], "{ nestedSetLeft = 1 }");
}

#[test]
fn filters_of_spans_show_what_they_compared() {
    let long = Sent { span: Span { end_time_unix_nano: BEGIN + 100, ..span(2, 1) }, ..sent(2, 1) };
    ask(&[sent(1, 0), long], "{ } | duration > avg(duration)");
}

#[test]
fn regular_expressions_reach_over_lines() {
    let text = Value::StringValue("Error: timeout\n  at pay".to_owned());
    for query in ["{ .stack =~ \".*timeout.*\" }", "{ .stack !~ \".+\" }", "{ parent.span.stack =~ \"E.*\" }"]
    {
        ask(&[with(1, "stack", text.clone()), sent(2, 1)], query);
    }
}

#[test]
fn texts_that_were_not_sent_are_empty() {
    let spans = [sent(1, 0), Sent { span: Span { status: message("timeout"), ..span(2, 1) }, ..sent(2, 1) }];
    for field in ["statusMessage", "span:parentID", "instrumentation:name", "instrumentation:version"] {
        ask(&spans, &format!("{{ {field} = \"\" }}"));
        ask(&spans, &format!("{{ {field} != \"timeout\" }}"));
        ask(&spans, &format!("{{ {field} !~ \"t.*\" && {field} != nil }}"));
        ask(&spans, &format!("{{ {field} < name }}"));
        ask(&spans, &format!("{{ parent.{field} = \"\" }}"));
        ask(&spans, &format!("{{ }} | by({field}) | select({field})"));
        ask(&spans, &format!("{{ }} | count_over_time() by({field})"));
    }
}

/// Asserts that stores of all states answer a query as the plain evaluator does.
fn ask(spans: &[Sent], query: &str) {
    let mut batches = vec![Vec::new(); BATCHES];
    spans.iter().enumerate().for_each(|(at, span)| batches[at % BATCHES].push(span.clone()));
    let (begin, end) = (BEGIN, Some(BEGIN + 2 * MINUTE));
    check(&World::of(batches), &Question { query: query.to_owned(), begin, end, step: MINUTE }, "regression");
}

/// A span of no duration; `parent` 0 is none.
fn span(id: u64, parent: u64) -> Span {
    let start = BEGIN + id;
    Span {
        trace_id: trace_id(1),
        span_id: span_id(id),
        parent_span_id: if parent == 0 { Vec::new() } else { span_id(parent) },
        name: "work".to_owned(),
        kind: 1,
        start_time_unix_nano: start,
        end_time_unix_nano: start,
        ..Span::default()
    }
}

pub fn sent(id: u64, parent: u64) -> Sent {
    Sent { resource: Resource::default(), scope: InstrumentationScope::default(), span: span(id, parent) }
}

/// A span with an attribute.
fn with(id: u64, key: &str, value: Value) -> Sent {
    let attribute = KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() };
    Sent { span: Span { attributes: vec![attribute], ..span(id, 0) }, ..sent(id, 0) }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn message(text: &str) -> Option<Status> {
    Some(Status { message: text.to_owned(), ..Status::default() })
}

fn status(code: i32) -> Option<Status> {
    Some(Status { code, ..Status::default() })
}
