//! TraceQL on attributes that are arrays: any element satisfies `=`, `=~`, `<` and `>`, no element may for `!=` and
//! `!~`. Queries run over fresh blocks and over merged ones.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use prost::Message as _;
use spandrel_tests::http::post_traces;
use spandrel_tests::otlp::{attribute, hex, request, span, trace_id};
use spandrel_tests::server::{Server, Settings, eventually};

fn array(values: Vec<Value>) -> Value {
    Value::ArrayValue(ArrayValue {
        values: values.into_iter().map(|value| AnyValue { value: Some(value) }).collect(),
    })
}

fn texts(values: &[&str]) -> Value {
    array(values.iter().map(|value| Value::StringValue((*value).to_owned())).collect())
}

/// Sends a span of a new trace with these attributes; returns the trace.
fn send(server: &Server, name: &str, attributes: &[(&str, Value)]) -> String {
    let trace = trace_id();
    let mut span = span(&trace, name);
    span.attributes = attributes.iter().map(|(key, value)| attribute(key, value.clone())).collect();
    let reply = post_traces(server.otlp_http(), &request("arrays", vec![span]).encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
    hex(&trace)
}

#[test]
fn any_element_matches_and_none_may_differ() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let numbers = array(vec![Value::IntValue(1), Value::IntValue(500), Value::DoubleValue(2.5)]);
    let mixed = send(&server, "mixed", &[("tags", texts(&["red", "blue"])), ("codes", numbers)]);
    let red = send(&server, "red", &[("tags", texts(&["red"]))]);
    let plain = send(&server, "plain", &[("tags", Value::StringValue("blue".to_owned()))]);
    let empty = send(&server, "empty", &[("tags", array(Vec::new()))]);
    let flags =
        send(&server, "flags", &[("flags", array(vec![Value::BoolValue(false), Value::BoolValue(true)]))]);

    let questions: [(&str, Vec<&String>); 10] = [
        ("{ span.tags = \"blue\" }", vec![&mixed, &plain]),
        ("{ span.tags = \"green\" }", vec![]),
        ("{ span.tags =~ \"bl.*\" }", vec![&mixed, &plain]),
        ("{ span.tags != \"blue\" }", vec![&red, &empty]),
        ("{ span.tags !~ \"r.d\" }", vec![&plain, &empty]),
        ("{ span.tags != nil }", vec![&mixed, &red, &plain, &empty]),
        ("{ span.codes > 400 }", vec![&mixed]),
        ("{ span.codes = 2.5 }", vec![&mixed]),
        ("{ span.codes < 0 }", vec![]),
        ("{ span.flags = true }", vec![&flags]),
    ];
    let check = |when: &str| {
        let mut api = server.api();
        for (question, expected) in &questions {
            let found = api.search(question);
            let mut found: Vec<&str> = found.iter().map(|trace| trace["id"].as_str().unwrap()).collect();
            let mut expected: Vec<&str> = expected.iter().map(|trace| trace.as_str()).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{question}, {when}");
        }
    };
    check("fresh");
    let mut api = server.api();
    eventually("a merge", || (api.status("unsealedSpanCount") == 0).then_some(()));
    check("merged");
    server.stop();
}
