//! One trace, as a tree and as OTLP.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, TracesData};
use prost::Message;

use super::*;

#[tokio::test]
async fn the_tree_has_every_member_of_the_contract() {
    let got = get(shop(), "/api/v1/traces/AA").await;
    assert_eq!((got.status, got.content_type()), (200, "application/json"));
    let tree = got.json();
    let trace = &tree["trace"];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(trace),
        [
            "id",
            "startUnixNano",
            "endUnixNano",
            "durationNano",
            "status",
            "errorCode",
            "rootService",
            "rootName",
            "spanCount",
            "logCount",
            "errorCount",
            "segmentCount",
            "services",
            "warnings",
            "resources",
            "scopes",
            "segments",
            "logs"
        ]
    );
    assert_eq!(trace["id"], TRACE);
    assert_eq!(
        (&trace["startUnixNano"], &trace["endUnixNano"], &trace["durationNano"]),
        (&json!("100"), &json!("900"), &json!(800))
    );
    assert_eq!((&trace["status"], &trace["errorCode"]), (&json!("UNSET"), &json!("503")));
    assert_eq!((&trace["rootService"], &trace["rootName"]), (&json!("gateway"), &json!("op-1")));
    assert_eq!(
        (&trace["spanCount"], &trace["errorCount"], &trace["segmentCount"]),
        (&json!(5), &json!(2), &json!(3))
    );
    assert_eq!(trace["services"][1], json!({"name": "cart", "spanCount": 2, "errorCount": 1}));
    assert_eq!(trace["warnings"], json!([]));
    assert_eq!(
        trace["resources"][0],
        json!({"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}}], "schemaUrl": "", "droppedAttributesCount": 0})
    );
    assert_eq!(trace["scopes"], json!([{"name": "test", "version": "1", "attributes": [], "schemaUrl": ""}]));

    let segments = trace["segments"].as_array().unwrap();
    let ids: Vec<&Value> = segments.iter().map(|segment| &segment["id"]).collect();
    assert_eq!(ids, ["0000000000000001", "0000000000000005", "0000000000000003"]);
    let cart = &segments[2];
    let mut members = cart.clone();
    members.as_object_mut().unwrap().remove("spans");
    assert_eq!(
        members,
        json!({"id": "0000000000000003", "parentSegmentId": "0000000000000001", "parentSpanId": "0000000000000002",
               "service": "cart", "instance": "c-1", "startUnixNano": "300", "endUnixNano": "700", "durationNano": 400,
               "status": "ERROR", "errorCode": null, "spanCount": 2, "errorCount": 1})
    );
    assert_eq!(
        cart["spans"][1],
        json!({"id": "0000000000000004", "parentId": "0000000000000003", "name": "op-4", "kind": "INTERNAL",
               "startUnixNano": "310", "endUnixNano": "320", "durationNano": 10, "selfNano": 10, "status": "UNSET",
               "statusMessage": "", "errorCode": null, "resource": cart["spans"][0]["resource"], "scope": 0,
               "attributes": [], "events": [], "links": [], "flags": 0, "traceState": "", "warnings": []})
    );
    assert_eq!(keys(&cart["spans"][1]).len(), 19);
    assert_eq!(segments[0]["parentSegmentId"], Value::Null);
    assert_eq!(segments[0]["parentSpanId"], Value::Null);
    assert_eq!(segments[0]["instance"], Value::Null);
    assert_eq!(segments[0]["spans"][0]["parentId"], Value::Null);
}

#[tokio::test]
async fn one_subtree() {
    let path = format!("/api/v1/traces/{TRACE}?segment=0000000000000003");
    let tree = get(shop(), &path).await.json();
    assert_eq!(tree["trace"]["spanCount"], 5);
    assert_eq!(tree["trace"]["segments"].as_array().unwrap().len(), 1);
    assert_eq!(tree["trace"]["segments"][0]["spans"].as_array().unwrap().len(), 2);
    check_problem("/api/v1/traces/aa?segment=0000000000000009", 404, "no segment").await;
}

#[tokio::test]
async fn a_truncated_tree_goes_on_by_cursor_until_all_spans_were_given() {
    let store = Arc::new(shop());
    let config = QueryConfig { max_tree_spans: 2, ..config() };
    let whole = get(shop(), "/api/v1/traces/aa").await.json();
    let ids = |tree: &Value| -> Vec<(Value, Value)> {
        let segments = tree["trace"]["segments"].as_array().unwrap().clone();
        let spans = |segment: Value| {
            let spans = segment["spans"].as_array().unwrap().clone();
            spans.into_iter().map(move |span| (segment["id"].clone(), span["id"].clone()))
        };
        segments.into_iter().flat_map(spans).collect()
    };
    let mut path = "/api/v1/traces/aa".to_owned();
    let mut seen = Vec::new();
    for page in 0.. {
        let tree = get_with(store.clone(), config.clone(), request(&path)).await.json();
        assert_eq!((&tree["trace"]["spanCount"], &tree["trace"]["segmentCount"]), (&json!(5), &json!(3)));
        seen.extend(ids(&tree));
        let Some(cursor) = tree["trace"]["nextCursor"].as_str() else {
            assert_eq!(page, 2);
            assert_eq!(tree["trace"].get("truncated"), None);
            break;
        };
        assert_eq!(tree["trace"]["truncated"], true);
        path = format!("/api/v1/traces/aa?cursor={cursor}");
    }
    assert_eq!(seen, ids(&whole));

    let first = get_with(store.clone(), config.clone(), request("/api/v1/traces/aa")).await.json();
    let cursor = first["trace"]["nextCursor"].as_str().unwrap().to_owned();
    let other = request(&format!("/api/v1/traces/aa?segment=0000000000000003&cursor={cursor}"));
    assert_eq!(get_with(store, config.clone(), other).await.status, 400);
    let mut grown = shop();
    grown.spans.extend(testing::spans("6 1 client gateway 880..890"));
    let stale =
        get_with(Arc::new(grown), config, request(&format!("/api/v1/traces/aa?cursor={cursor}"))).await;
    assert_eq!(stale.status, 409);
    assert!(stale.json()["detail"].as_str().unwrap().contains("begin again"));
}

fn rich() -> Span {
    let value = |value| Some(AnyValue { value: Some(value) });
    let nested = KeyValueList { values: vec![testing::string("x", "y")] };
    let list =
        ArrayValue { values: vec![AnyValue { value: Some(Any::IntValue(1)) }, AnyValue { value: None }] };
    Span {
        trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
        span_id: 7u64.to_be_bytes().to_vec(),
        trace_state: "a=b".to_owned(),
        parent_span_id: 9u64.to_be_bytes().to_vec(),
        flags: 0x301,
        name: "rich \"name\"\n".to_owned(),
        kind: 77,
        start_time_unix_nano: u64::MAX - 1,
        end_time_unix_nano: 5,
        attributes: vec![
            testing::attribute("twice", Any::IntValue(1)),
            testing::attribute("big", Any::IntValue(i64::MIN)),
            testing::attribute("exact", Any::IntValue(-(1 << 53))),
            testing::attribute("float", Any::DoubleValue(0.1)),
            testing::attribute("nan", Any::DoubleValue(f64::NEG_INFINITY)),
            testing::attribute("bytes", Any::BytesValue(vec![1, 2, 255])),
            testing::attribute("list", Any::ArrayValue(list)),
            testing::attribute("map", Any::KvlistValue(nested)),
            testing::attribute("twice", Any::BoolValue(true)),
        ],
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 3,
            name: "exception".to_owned(),
            attributes: vec![testing::string("exception.type", "Boom")],
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "c=d".to_owned(),
            attributes: vec![KeyValue {
                key: "k".to_owned(),
                value: value(Any::StringValue("v".to_owned())),
                ..Default::default()
            }],
            dropped_attributes_count: 4,
            flags: 1,
        }],
        dropped_links_count: 5,
        status: Some(Status { message: "bad".to_owned(), code: 2 }),
    }
}

fn rich_store() -> FakeStore {
    FakeStore { spans: vec![testing::stored(vec![testing::string("service.name", "s")], &rich())], ..shop() }
}

#[tokio::test]
async fn odd_spans_are_shown_with_what_is_odd() {
    let tree = get(rich_store(), "/api/v1/traces/aa").await.json();
    let span = &tree["trace"]["segments"][0]["spans"][0];
    assert_eq!(span["kind"], "UNSPECIFIED");
    assert_eq!(span["name"], "rich \"name\"\n");
    assert_eq!((&span["startUnixNano"], &span["endUnixNano"]), (&json!("18446744073709551614"), &json!("5")));
    assert_eq!(
        (&span["durationNano"], &span["selfNano"], &span["flags"]),
        (&json!(0), &json!(0), &json!(0x301))
    );
    assert_eq!((&span["parentId"], &span["errorCode"]), (&json!("0000000000000009"), &json!("Boom")));
    assert_eq!(span["attributes"][1], json!({"key": "big", "value": {"intValue": "-9223372036854775808"}}));
    assert_eq!(span["attributes"].as_array().unwrap().len(), 9);
    assert_eq!(span["events"][0]["timeUnixNano"], "3");
    assert_eq!(span["links"][0]["traceId"], "01".repeat(16));
    let warnings = span["warnings"].as_array().unwrap();
    assert!(warnings[0].as_str().unwrap().starts_with("external parent: 0000000000000009"));
    assert!(warnings[1].as_str().unwrap().contains("ends before it starts"));
    assert_eq!(tree["trace"]["segments"][0]["parentSpanId"], "0000000000000009");
    assert!(tree["trace"]["warnings"][1].as_str().unwrap().starts_with("external parent"));
}

#[tokio::test]
async fn attributes_as_plain_objects() {
    let tree = get(rich_store(), "/api/v1/traces/aa?attributes=map").await.json();
    let trace = &tree["trace"];
    assert_eq!(trace["resources"][0]["attributes"], json!({"service.name": "s"}));
    assert_eq!(trace["scopes"][0]["attributes"], json!({}));
    let span = &trace["segments"][0]["spans"][0];
    assert_eq!(
        span["attributes"],
        json!({"big": "-9223372036854775808", "exact": -9007199254740992i64, "float": 0.1, "nan": "-Infinity",
               "bytes": "AQL/", "list": [1, null], "map": {"x": "y"}, "twice": true})
    );
    assert_eq!(
        span["events"],
        json!([{"timeUnixNano": "3", "name": "exception", "attributes": {"exception.type": "Boom"}, "droppedAttributesCount": 2}])
    );
    assert_eq!(
        span["links"],
        json!([{"traceId": "01".repeat(16), "spanId": "02".repeat(8), "traceState": "c=d", "attributes": {"k": "v"},
                "droppedAttributesCount": 4, "flags": 1}])
    );
}

/// Every span of OTLP data with its resource, as protobuf, sorted.
fn flat(data: &TracesData) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut spans = Vec::new();
    for resource in &data.resource_spans {
        for scope in &resource.scope_spans {
            assert_eq!(scope.scope.as_ref().unwrap().name, "test");
            for span in &scope.spans {
                spans.push((resource.resource.as_ref().unwrap().encode_to_vec(), span.encode_to_vec()));
            }
        }
    }
    spans.sort();
    spans
}

#[tokio::test]
async fn otlp_gives_back_what_came_in() {
    let mut span = rich();
    // The oracle cannot read how OTLP JSON writes infinity; the tests of the writer cover it.
    span.attributes.retain(|attribute| attribute.key != "nan");
    let mut store = FakeStore { spans: vec![testing::stored(Vec::new(), &span)], ..shop() };
    // Enough spans for several groups, with alternating resources.
    let lines: Vec<String> = (16..2000)
        .map(|i| format!("{i:x} - internal s{} {i}..{} k={}", i % 3, i + 1, "v".repeat(300)))
        .collect();
    store.spans.extend(testing::spans(&lines.join("\n")));
    let sent: Vec<_> = store.spans.iter().map(|stored| stored.span.to_vec()).collect();
    let store = Arc::new(store);

    let proto = get_with(store.clone(), config(), request("/api/v1/traces/aa?format=otlp-proto")).await;
    assert_eq!((proto.status, proto.content_type()), (200, "application/x-protobuf"));
    let proto = TracesData::decode(&*proto.body).unwrap();
    let mut given: Vec<_> = flat(&proto).into_iter().map(|(_, span)| span).collect();
    let mut wanted = sent;
    given.sort();
    wanted.sort();
    assert_eq!(given, wanted);

    let json = get_with(store, config(), request("/api/v1/traces/aa?format=otlp")).await;
    assert_eq!((json.status, json.content_type()), (200, "application/json"));
    let json: TracesData = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(flat(&json), flat(&proto));
}

#[tokio::test]
async fn a_long_chain_is_served_whole() {
    const SPANS: usize = 50_000;
    let line = |i: usize| match i {
        1 => "1 - server s 1..9".to_owned(),
        i => format!("{i:x} {:x} internal s 1..9 key=value", i - 1),
    };
    let spans = (1..=SPANS).flat_map(|i| testing::spans(&line(i))).collect();
    let got = get(FakeStore { spans, ..shop() }, "/api/v1/traces/aa").await;
    let text = String::from_utf8(got.body).unwrap();
    assert_eq!(text.matches("\"selfNano\":").count(), SPANS);
    assert!(text.ends_with("]}],\"logs\":[]}}"));
}
