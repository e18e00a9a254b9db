//! Datadog's tracer, from its process to the tree, in both versions of its protocol.

use std::process::Command;

use serde_json::{Value, json};
use spandrel_tests::server::{Server, Settings, workspace_root};

fn send(server: &Server, version: &str) -> Value {
    let python = std::env::var_os("SPANDREL_PYTHON").expect("SPANDREL_PYTHON, as scripts/env.sh sets it");
    let mut command = Command::new(python);
    command.arg(workspace_root().join("tests/sdk/python/datadog.py"));
    let output = command.args([&server.address("datadog").to_string(), version]).output().unwrap();
    assert!(output.status.success(), "{version}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_the_tracer_sends_is_found_field_by_field() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--datadog-addr", "127.0.0.1:0"]).start();
    let mut api = server.api();
    for version in ["v0.4", "v0.5"] {
        let sent = send(&server, version);
        let id = sent[0]["trace"].as_str().unwrap();
        // The tracer waits for the answer before its process ends, so that everything is durable now.
        let trace = &api.json(&format!("traces/{id}?attributes=map"))["trace"];
        assert_eq!(
            (&trace["spanCount"], &trace["rootName"]),
            (&json!(2), &json!("GET /orders/{id}")),
            "{version}"
        );
        let segments = trace["segments"].as_array().unwrap();
        let (root, call) = (&segments[0]["spans"][0], &segments[1]["spans"][0]);
        assert_eq!((&segments[0]["service"], &segments[1]["service"]), (&json!("shop"), &json!("cache")));
        assert_eq!((&root["id"], &root["kind"]), (&sent[0]["span"], &json!("SERVER")), "{version}");
        assert_eq!((&root["durationNano"], &root["status"]), (&sent[0]["duration"], &json!("UNSET")));
        assert_eq!(root["startUnixNano"], sent[0]["start"].to_string());
        let tags = &root["attributes"];
        assert_eq!(
            (&tags["http.status_code"], &tags["name"], &tags["ratio"]),
            (&json!("200"), &json!("ä"), &json!(0.5))
        );
        assert_eq!((&tags["operation.name"], &tags["span.type"]), (&json!("flask.request"), &json!("web")));
        assert!(tags["runtime-id"].is_string() && tags["events"].is_null(), "{tags}");
        let event = &root["events"][0];
        assert_eq!(
            (&event["name"], &event["attributes"]["attempt"]),
            (&json!("exception"), &json!(2)),
            "{event}"
        );
        assert_eq!(
            (&event["attributes"]["last"], &event["attributes"]["exception.message"]),
            (&json!(true), &json!("no stock"))
        );
        assert_eq!(
            (&call["id"], &call["parentId"], &call["kind"]),
            (&sent[1]["span"], &sent[0]["span"], &json!("CLIENT"))
        );
        assert_eq!(
            (&call["name"], &call["attributes"]["resource.name"]),
            (&json!("redis.command"), &json!("GET order:4711"))
        );
        assert_eq!(
            (&call["status"], &call["statusMessage"]),
            (&json!("ERROR"), &json!("no stock")),
            "{call}"
        );
        assert_eq!(
            (&call["errorCode"], &call["attributes"]["items"]),
            (&json!("builtins.ValueError"), &json!(3.0))
        );
        let link = &call["links"][0];
        assert_eq!(
            (&link["traceId"], &link["spanId"], &link["traceState"], &link["attributes"]["why"]),
            (
                &json!("00000000000000ab00000000000000cd"),
                &json!("00000000000000ef"),
                &json!("a=b"),
                &json!("retry")
            )
        );
        let resource = &trace["resources"][root["resource"].as_u64().unwrap() as usize]["attributes"];
        assert_eq!(
            resource,
            &json!({ "service.name": "shop", "service.version": "1.2", "deployment.environment.name": "prod",
                "telemetry.sdk.language": "python" })
        );
        let stored = format!(r#"{{receiver="datadog",transport="http",format="msgpack-{version}"}}"#);
        assert_eq!(server.metric(&format!("spandrel_ingest_spans_total{stored}")), Some(2.0));
    }
    server.stop();
}
