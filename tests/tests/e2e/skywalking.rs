//! SkyWalking's segments, from the processes of its agent for Python and of Envoy to the tree.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use spandrel_tests::http::{Body, Connection};
use spandrel_tests::server::{Settings, eventually, skipped, workspace_root};

/// Ends its process.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_the_agent_sends_is_found_field_by_field() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--skywalking-addr", "127.0.0.1:0"]).start();
    let python = std::env::var_os("SPANDREL_PYTHON").expect("SPANDREL_PYTHON, as scripts/env.sh sets it");
    let mut command = Command::new(python);
    command.arg(workspace_root().join("tests/sdk/python/skywalking_agent.py"));
    let output = command.arg(server.address("skywalking").to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sent: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A text of 32 hex digits is the trace ID itself.
    let id = sent[0]["trace"].as_str().unwrap();
    let mut api = server.api();
    let found = eventually("both segments", || {
        let reply = api.get(&format!("traces/{id}?attributes=map"));
        (reply.status == 200 && reply.json()["trace"]["spanCount"] == 4).then(|| reply.json())
    });
    let trace = &found["trace"];
    let segments = trace["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2, "{trace}");
    for (segment, sent) in segments.iter().zip(sent.as_array().unwrap()) {
        assert_eq!((&segment["service"], &segment["instance"]), (&json!("shop"), &json!("shop-1")));
        let entry = &segment["spans"][0];
        assert_eq!(
            (&entry["kind"], &entry["attributes"]["sw8.segment_id"]),
            (&json!("SERVER"), &sent["segment"])
        );
        assert_eq!(entry["startUnixNano"], format!("{}000000", sent["start"]));
        assert_eq!(entry["attributes"]["sw8.trace_id"], sent["trace"]);
        let (start, end) = (sent["start"].as_u64().unwrap(), sent["end"].as_u64().unwrap());
        assert_eq!(entry["durationNano"], 1_000_000 * (end - start));
    }
    let (call, query) = (&segments[0]["spans"][1], &segments[1]["spans"][1]);
    let entry = &segments[1]["spans"][0];
    assert_eq!((&call["name"], &call["kind"]), (&json!("/orders"), &json!("CLIENT")));
    assert_eq!((&entry["parentId"], &segments[1]["parentSegmentId"]), (&call["id"], &segments[0]["id"]));
    let tags = &call["attributes"];
    assert_eq!((&tags["server.address"], &tags["server.port"]), (&json!("orders"), &json!(8080)), "{tags}");
    assert_eq!(entry["attributes"]["sw8.parent_endpoint"], "/orders", "{entry}");
    assert_eq!(
        (&query["status"], &query["attributes"]["db.system"]),
        (&json!("ERROR"), &json!("mysql")),
        "{query}"
    );
    let event = &query["events"][0];
    assert_eq!(event["name"], "exception");
    assert!(event["attributes"]["exception.stacktrace"].as_str().unwrap().contains("no stock"), "{event}");
    // The service calls itself, and the database.
    let edges = api.json("dependencies?start=now-1h")["edges"].to_string();
    assert!(edges.contains("shop"), "{edges}");
    server.stop();
}

#[test]
fn envoy_sends_its_segments() {
    let Ok(binary) = std::env::var("SPANDREL_ENVOY") else {
        return skipped("envoy_sends_its_segments", "there is no SPANDREL_ENVOY");
    };
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).with(&["--skywalking-addr", "127.0.0.1:0"]).start();
    let (config, admin) = (folder.path().join("envoy.json"), folder.path().join("admin"));
    fs::write(&config, envoy(server.address("skywalking")).to_string()).unwrap();
    let mut command = Command::new(&binary);
    command.arg("-c").arg(&config).arg("--admin-address-path").arg(&admin);
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]);
    let _envoy = Running(command.stdin(Stdio::null()).spawn().unwrap());
    let admin: SocketAddr =
        eventually("Envoy starts", || fs::read_to_string(&admin).ok()?.trim().parse().ok());
    let listener: SocketAddr = eventually("Envoy listens", || {
        let reply =
            Connection::open(admin).ok()?.request("GET", "/listeners?format=json", &[], Body::None).ok()?;
        let port =
            reply.json()["listener_statuses"][0]["local_address"]["socket_address"]["port_value"].as_u64()?;
        Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?)))
    });
    let mut connection = Connection::open(listener).unwrap();
    assert_eq!(connection.request("GET", "/", &[], Body::None).unwrap().status, 200);
    let mut api = server.api();
    // Envoy keeps its stream open, so this is found while the stream goes on.
    let found = eventually("a segment of Envoy", || {
        let found =
            api.json("traces?q=%7B%20resource.service.name%20%3D%20%22envoy-of-shop%22%20%7D&start=now-1h");
        found["traces"][0]["id"].as_str().map(str::to_owned)
    });
    let tree = api.json(&format!("traces/{found}?attributes=map"));
    let segment = &tree["trace"]["segments"][0];
    assert_eq!(segment["instance"], "envoy-1", "{tree}");
    assert_eq!(segment["spans"][0]["kind"], "SERVER", "{tree}");
    let text = segment["spans"][0]["attributes"]["sw8.trace_id"].as_str().unwrap();
    assert_eq!(text.replace('-', ""), found, "a UUID is the trace ID itself");
}

/// The configuration of an Envoy that answers by itself, and sends a segment of each answer.
fn envoy(collector: SocketAddr) -> Value {
    let socket = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let tracing = json!({
        "random_sampling": { "value": 100 },
        "provider": {
            "name": "envoy.tracers.skywalking",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.SkyWalkingConfig",
                "client_config": { "service_name": "envoy-of-shop", "instance_name": "envoy-1" },
                "grpc_service": { "envoy_grpc": { "cluster_name": "spandrel" }, "timeout": "5s" },
            },
        },
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "tracing": tracing,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }],
        }] },
    });
    let options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    });
    json!({
        "admin": { "address": socket(0) },
        "static_resources": {
            "listeners": [{ "name": "in", "address": socket(0), "filter_chains": [{
                "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }],
            }] }],
            "clusters": [{
                "name": "spandrel", "type": "STATIC", "connect_timeout": "5s",
                "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options },
                "load_assignment": { "cluster_name": "spandrel", "endpoints": [{ "lb_endpoints": [{
                    "endpoint": { "address": socket(collector.port()) },
                }] }] },
            }],
        },
    })
}
