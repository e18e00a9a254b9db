//! Logs inside spans, as OpenTelemetry's SDK for Python sends them before the spans: every field comes back, among the
//! events of their spans and as OTLP, and nothing counts them as spans.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use spandrel_tests::server::{Server, Settings, workspace_root};

fn script() -> PathBuf {
    workspace_root().join("tests/sdk/python/logs.py")
}

/// Runs the script and returns the records that it has sent.
fn sent(server: &Server, protocol: &str, compression: &str) -> Vec<Value> {
    let interpreter = std::env::var("SPANDREL_PYTHON").expect("SPANDREL_PYTHON, as scripts/env.sh sets it");
    let address = if protocol == "grpc" { server.otlp_grpc() } else { server.otlp_http() };
    let mut command = Command::new(interpreter);
    command.arg(script()).args([protocol, &address.to_string(), compression]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"))
}

/// A value as the script prints it.
fn plain(any: &Value) -> Value {
    let Some((kind, value)) = any.as_object().and_then(|any| any.iter().next()) else { return Value::Null };
    match kind.as_str() {
        "intValue" => json!(value.as_str().unwrap().parse::<i64>().unwrap()),
        "arrayValue" => value["values"].as_array().map_or(json!([]), |all| all.iter().map(plain).collect()),
        "kvlistValue" => attributes(&value["values"]),
        "bytesValue" => {
            assert_eq!(value, "AP8=", "the only bytes that the script sends");
            json!({ "bytes": "00ff" })
        }
        _ => value.clone(),
    }
}

fn attributes(list: &Value) -> Value {
    let all = list.as_array().unwrap();
    all.iter().map(|one| (one["key"].as_str().unwrap().to_owned(), plain(&one["value"]))).collect()
}

/// A record of OTLP as the script prints it.
fn printed(record: &Value, scope: &Value) -> Value {
    let or = |name: &str, default: Value| record.get(name).cloned().unwrap_or(default);
    json!({
        "traceId": record["traceId"], "spanId": record["spanId"],
        "timeUnixNano": or("timeUnixNano", json!("0")),
        "observedTimeUnixNano": or("observedTimeUnixNano", json!("0")),
        "severityNumber": or("severityNumber", json!(0)), "severityText": or("severityText", json!("")),
        "body": plain(&record["body"]), "eventName": or("eventName", json!("")),
        "attributes": attributes(&or("attributes", json!([]))), "flags": or("flags", json!(0)), "scope": scope["name"],
    })
}

fn records(document: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for resource in document["resourceLogs"].as_array().unwrap() {
        for scope in resource["scopeLogs"].as_array().unwrap() {
            let records = scope["logRecords"].as_array().unwrap().iter();
            found.extend(records.map(|record| printed(record, &scope["scope"])));
        }
    }
    found
}

fn sorted(mut records: Vec<Value>) -> Vec<Value> {
    records.sort_by_key(|record| record["observedTimeUnixNano"].as_str().unwrap().to_owned());
    records
}

#[test]
fn logs_of_the_python_sdk_come_back_field_by_field() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    for (protocol, compression) in [("grpc", "none"), ("grpc", "gzip"), ("http", "none"), ("http", "gzip")] {
        let all = sent(&server, protocol, compression);
        let (of_spans, others): (Vec<Value>, Vec<Value>) =
            all.into_iter().partition(|one| one["spanId"].is_string());
        assert_eq!((of_spans.len(), others.len()), (3, 1));
        let id = of_spans[0]["traceId"].as_str().unwrap().to_owned();
        let mut api = server.api();
        for format in ["otlp", "otlp-logs"] {
            let document = api.json(&format!("traces/{id}?format={format}"));
            assert_eq!(sorted(records(&document)), sorted(of_spans.clone()), "{protocol}, {format}");
        }
        check_tree(&api.tree(&id), &of_spans);
        let service = format!("orders-{protocol}-{compression}");
        check_queries(&mut api, &service, &id);
    }
    server.stop();
}

fn check_tree(tree: &Value, sent: &[Value]) {
    assert_eq!((&tree["spanCount"], &tree["logCount"], &tree["logs"]), (&json!(2), &json!(3), &json!([])));
    let spans: Vec<&Value> = tree["segments"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| one["spans"].as_array().unwrap())
        .collect();
    let named = |name: &str| *spans.iter().find(|span| span["name"] == name).unwrap();
    let (root, charge) = (named("POST /orders"), named("charge"));
    let events: Vec<&Value> = root["events"].as_array().unwrap().iter().collect();
    assert_eq!(events.len(), 2, "{events:?}");
    // In the order of time: the second record is the later one to be emitted, with an earlier time.
    assert_eq!((&events[0]["name"], &events[1]["name"]), (&json!("order.accepted"), &json!("")));
    assert_eq!(events[1]["log"]["body"], json!({ "stringValue": "order a-1 for 3 items" }));
    assert_eq!(
        (&events[1]["log"]["severityNumber"], &events[1]["log"]["severityText"]),
        (&json!(9), &json!("INFO"))
    );
    // The exception came as an event of the span, too, and is there once.
    let events = charge["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["log"]["alsoEvent"], json!(true), "{events:?}");
    assert_eq!(events[0]["timeUnixNano"], sent[1]["timeUnixNano"]);
    assert_eq!(charge["errorCode"], "ValueError");
}

fn check_queries(api: &mut spandrel_tests::api::Api, service: &str, id: &str) {
    let of_service = |condition: &str| format!("{{ resource.service.name = \"{service}\" && {condition} }}");
    for condition in
        ["event:name = \"order.accepted\"", "event.items = 3", "event.exception.type = \"ValueError\""]
    {
        let found = api.search(&of_service(condition));
        assert_eq!(found.len(), 1, "{condition}");
        assert_eq!((&found[0]["id"], &found[0]["spanCount"]), (&json!(id), &json!(2)), "{condition}");
    }
    assert!(api.search(&of_service("event:name = \"nothing\"")).is_empty());
    let found = api.search(&of_service("event.items = 3"));
    assert_eq!(found[0]["matchedSpanCount"], 1, "the span of the log alone");
}
