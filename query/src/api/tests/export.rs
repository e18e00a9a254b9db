//! Exports: the plans that reach the store, and the formats.

use spandrel_storage::plan::Predicate;

use super::*;

async fn export(store: FakeStore, query: &str) -> Got {
    let got = get(store, &format!("/api/v1/export{query}")).await;
    assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
    got
}

#[tokio::test]
async fn an_export_is_planned() {
    let store = Arc::new(shop());
    get_with(store.clone(), config(), request("/api/v1/export")).await;
    let plan = store.scans.lock().pop().unwrap();
    assert!(matches!(plan.predicate, Predicate::All));
    assert_eq!((plan.range.start, plan.range.end), (UnixNanos(NOW - 3_600 * SECOND), None));
    get_with(
        store.clone(),
        config(),
        request("/api/v1/export?q=%7B%20failed%20%7D&start=0&end=now&format=jaeger"),
    )
    .await;
    let plan = store.scans.lock().pop().unwrap();
    assert_eq!(format!("{:?}", plan.predicate), "Compare(Failed, Eq(Bool(true)))");
    assert_eq!((plan.range.start, plan.range.end), (UnixNanos(0), Some(UnixNanos(NOW))));
    check_problem("/api/v1/export?format=csv", 400, "otlp, otlp-json, jaeger, parquet").await;
    check_problem("/api/v1/export?q=%7B", 400, "q: ").await;
    check_problem("/api/v1/export?limit=1", 400, "allowed: format, q, start, end").await;
    let got = get(FakeStore { broken: true, ..shop() }, "/api/v1/export").await;
    assert_eq!((got.status, got.content_type()), (500, "application/problem+json"));
}

/// A header counts the damaged blocks that are known before; damage found during the export breaks the response.
#[tokio::test]
async fn damage_is_never_passed_over_in_silence() {
    for format in ["otlp", "jaeger", "parquet"] {
        let store = FakeStore { damaging: true, ..shop() };
        let got = get(store, &format!("/api/v1/export?format={format}")).await;
        assert_eq!((got.status, got.content_type()), (500, "application/problem+json"));
        assert!(got.json()["detail"].as_str().unwrap().contains("damaged block"));
    }
    let known = StoreStatus { damaged_blocks: 3, ..StoreStatus::default() };
    export(FakeStore { status: known, ..shop() }, "").await;
}

#[tokio::test]
async fn otlp_is_the_lossless_answer_line_by_line() {
    for query in ["", "?format=otlp", "?format=otlp-json"] {
        let got = export(shop(), query).await;
        assert_eq!(got.content_type(), "application/x-ndjson");
        assert_eq!(
            (&got.headers["spandrel-traces-at-most"], &got.headers["spandrel-damaged-blocks"]),
            (&"1".parse().unwrap(), &"0".parse().unwrap())
        );
        assert_eq!(got.headers["content-disposition"], "attachment; filename=\"traces.otlp.jsonl\"");
        let text = String::from_utf8(got.body).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(text.ends_with('\n') && lines.len() == 1, "{text}");
        let whole = get(shop(), "/api/v1/traces/aa?format=otlp").await;
        assert_eq!(serde_json::from_str::<Value>(lines[0]).unwrap(), whole.json());
    }
    let none = export(FakeStore::default(), "").await;
    assert!(none.body.is_empty());
}

#[tokio::test]
async fn jaeger_is_what_its_ui_reads() {
    let got = export(shop(), "?format=jaeger").await;
    assert_eq!(got.content_type(), "application/json");
    let document = got.json();
    assert_eq!(document["data"].as_array().unwrap().len(), 1);
    let trace = &document["data"][0];
    assert_eq!(trace["traceID"], TRACE);
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 5);
    let process = |span: &Value| trace["processes"][span["processID"].as_str().unwrap()].clone();
    let (root, cart) = (&spans[0], &spans[3]);
    assert_eq!(process(root), json!({"serviceName": "gateway", "tags": []}));
    assert_eq!(cart["operationName"], "op-3");
    let instance = json!([{"key": "service.instance.id", "type": "string", "value": "c-1"}]);
    assert_eq!(process(cart), json!({"serviceName": "cart", "tags": instance}));
    assert_eq!(root["references"], json!([]));
    let parent = json!([{"refType": "CHILD_OF", "traceID": TRACE, "spanID": "0000000000000002"}]);
    assert_eq!(cart["references"], parent);
    let tag = |span: &Value, key: &str| {
        let tags = span["tags"].as_array().unwrap();
        tags.iter().find(|tag| tag["key"] == key).map(|tag| (tag["type"].clone(), tag["value"].clone()))
    };
    assert_eq!(tag(root, "span.kind"), Some((json!("string"), json!("server"))));
    assert_eq!(tag(root, "otel.scope.name"), Some((json!("string"), json!("test"))));
    assert_eq!(tag(cart, "otel.status_code"), Some((json!("string"), json!("ERROR"))));
    assert_eq!(tag(cart, "error"), Some((json!("bool"), json!(true))));
    assert_eq!(tag(root, "otel.status_code"), None);
    let none = export(FakeStore::default(), "?format=jaeger").await.json();
    assert_eq!(none["data"], json!([]));
}

#[tokio::test]
async fn jaeger_values_have_jaegers_types() {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    let attributes = vec![
        testing::attribute("int", Any::IntValue(-5)),
        testing::attribute("big", Any::IntValue(i64::MAX)),
        testing::attribute("float", Any::DoubleValue(0.5)),
        testing::attribute("nan", Any::DoubleValue(f64::NAN)),
        testing::attribute("bool", Any::BoolValue(false)),
        testing::attribute("bytes", Any::BytesValue(vec![255])),
        testing::attribute(
            "list",
            Any::ArrayValue(ArrayValue { values: vec![testing::string("", "a\"b").value.unwrap()] }),
        ),
    ];
    let link = Link { trace_id: vec![7; 16], span_id: vec![8; 8], ..Link::default() };
    let event = Event {
        time_unix_nano: 4_000_999,
        name: "exception".to_owned(),
        attributes: vec![testing::string("exception.type", "E")],
        ..Event::default()
    };
    let span = Span {
        trace_id: TRACE.parse::<spandrel_proto::TraceId>().unwrap().as_bytes().to_vec(),
        span_id: vec![1; 8],
        start_time_unix_nano: 1_700_000_000_123_456_789,
        end_time_unix_nano: 1_700_000_000_123_999_999,
        attributes,
        events: vec![event],
        links: vec![link],
        ..Span::default()
    };
    let store = FakeStore { spans: vec![testing::stored(Vec::new(), &span)], ..FakeStore::default() };
    let document = export(store, "?format=jaeger").await.json();
    let span = &document["data"][0]["spans"][0];
    assert_eq!((&span["startTime"], &span["duration"]), (&json!(1_700_000_000_123_456u64), &json!(543)));
    let tag = |key: &str, kind: &str, value: Value| json!({"key": key, "type": kind, "value": value});
    let expected = [
        tag("int", "int64", json!(-5)),
        tag("big", "int64", json!(i64::MAX.to_string())),
        tag("float", "float64", json!(0.5)),
        tag("nan", "string", json!("NaN")),
        tag("bool", "bool", json!(false)),
        tag("bytes", "binary", json!("/w==")),
        tag("list", "string", json!("[\"a\\\"b\"]")),
    ];
    assert_eq!(span["tags"].as_array().unwrap()[..7], expected);
    let fields = [tag("event", "string", json!("exception")), tag("exception.type", "string", json!("E"))];
    assert_eq!(span["logs"], json!([{"timestamp": 4_000, "fields": fields}]));
    let (trace, id) = ("07".repeat(16), "08".repeat(8));
    assert_eq!(span["references"], json!([{"refType": "FOLLOWS_FROM", "traceID": trace, "spanID": id}]));
    assert_eq!(document["data"][0]["processes"]["p1"]["serviceName"], "unknown_service");
}

#[tokio::test]
async fn parquet_is_a_file_of_all_spans() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let got = export(shop(), "?format=parquet").await;
    assert_eq!(got.content_type(), "application/vnd.apache.parquet");
    let file = SerializedFileReader::new(bytes::Bytes::from(got.body)).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), 5);
}
