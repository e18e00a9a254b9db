//! What Java programs send: Zipkin's client, and the agents of OpenTelemetry and SkyWalking, from their processes to the
//! tree.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use spandrel_tests::server::{Server, Settings, eventually, skipped, workspace_root};

/// The compiled program of `tests/sdk/java`.
struct Sender {
    jars: PathBuf,
    classes: tempfile::TempDir,
}

impl Sender {
    /// Compiles it; `None` where there are no jars, which the output of the test says.
    fn compile(test: &str) -> Option<Self> {
        let Some(jars) = std::env::var_os("SPANDREL_JAVA").map(PathBuf::from) else {
            skipped(
                test,
                "SPANDREL_JAVA names no folder with jars of senders (scripts/setup.sh test fetches them)",
            );
            return None;
        };
        let classes = tempfile::tempdir().unwrap();
        let path = format!("{}:{}", jars.join("*").display(), jars.join("agents/*").display());
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-cp", &path, "-d"]).arg(classes.path());
        let output = javac.arg(workspace_root().join("tests/sdk/java/Sender.java")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Self { jars, classes })
    }

    /// The program with these options of Java.
    fn java(&self, options: &[String], arguments: &[&str]) -> Command {
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]).args(options).arg("-cp");
        java.arg(format!("{}:{}", self.classes.path().display(), self.jars.join("*").display()));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                java.env_remove(name);
            }
        }
        java.arg("Sender").args(arguments);
        java
    }

    fn agent(&self, name: &str) -> PathBuf {
        self.jars.join("agents").join(name)
    }
}

/// What the program printed, and the text of its standard error.
fn printed(output: Output) -> (Value, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let out = String::from_utf8(output.stdout).unwrap();
    let line = out.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{out} {text}"));
    (serde_json::from_str(line).unwrap(), text)
}

/// The tree once it has so many spans.
fn tree(server: &Server, trace: &str, spans: u64) -> Value {
    let mut api = server.api();
    eventually("the trace", || {
        let reply = api.get(&format!("traces/{trace}?attributes=map"));
        (reply.status == 200 && reply.json()["trace"]["spanCount"] == spans)
            .then(|| reply.json()["trace"].take())
    })
}

#[test]
fn what_zipkins_client_sends_is_found_field_by_field() {
    let Some(sender) = Sender::compile("java") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let url = format!("http://{}/api/v2/spans", server.address("zipkin"));
    for (encoding, format) in [("json", "json"), ("proto3", "protobuf")] {
        let (sent, errors) = printed(sender.java(&[], &["brave", encoding, &url]).output().unwrap());
        // It would say what it has dropped.
        assert!(!errors.contains("Dropped"), "{errors}");
        let tree = tree(&server, sent["trace"].as_str().unwrap(), 3);
        let segment = &tree["segments"][0];
        assert_eq!((&segment["service"], tree["segments"].as_array().unwrap().len()), (&json!("shop"), 1));
        let spans: Vec<&Value> = segment["spans"].as_array().unwrap().iter().collect();
        let start = sent["start"].as_u64().unwrap() * 1_000;
        let expected = [
            ("root", "get /orders", "SERVER", 0, 1_000_000),
            ("call", "charge", "CLIENT", 200_000, 500_000),
            ("local", "render", "UNSPECIFIED", 800_000, 100_000),
        ];
        for (span, (id, name, kind, after, lasts)) in spans.iter().zip(expected) {
            assert_eq!((&span["id"], &span["name"], &span["kind"]), (&sent[id], &json!(name), &json!(kind)));
            assert_eq!(span["startUnixNano"], (start + after).to_string(), "{encoding} {name}");
            assert_eq!(span["durationNano"], lasts, "{encoding} {name}");
        }
        let root = spans[0];
        assert_eq!(
            root["attributes"],
            json!({"http.path": "/orders", "name": "ä", "peer.service": "gateway",
            "network.peer.address": "192.0.2.9", "network.peer.port": 4711, "network.local.address": "192.0.2.1", "network.local.port": 8080})
        );
        assert_eq!(root["events"][0]["name"], "checked");
        let call = spans[1];
        assert_eq!((&call["parentId"], &call["status"]), (&sent["root"], &json!("ERROR")));
        assert_eq!(
            (&call["statusMessage"], &call["attributes"]["peer.service"]),
            (&json!("no stock"), &json!("payments"))
        );
        let stored = format!(r#"{{receiver="zipkin",transport="http",format="{format}"}}"#);
        assert_eq!(server.metric(&format!("spandrel_ingest_spans_total{stored}")), Some(3.0));
    }
    server.stop();
}

/// Runs a call under OpenTelemetry's agent, with its metrics and logs on as they are unless told otherwise.
fn call(sender: &Sender, server: &Server, protocol: &str) -> (Value, String) {
    let address = if protocol == "grpc" { server.otlp_grpc() } else { server.otlp_http() };
    let option = format!("-javaagent:{}", sender.agent("opentelemetry-javaagent.jar").display());
    let mut java = sender.java(&[option], &["call"]);
    java.envs([("OTEL_SERVICE_NAME", "shop"), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    printed(java.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")).output().unwrap())
}

#[test]
fn opentelemetrys_agent_is_understood_and_told_once_what_this_server_does_not_take() {
    let Some(sender) = Sender::compile("java") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    for protocol in ["grpc", "http/protobuf"] {
        let (sent, errors) = call(&sender, &server, protocol);
        let ids: Vec<&str> = sent["traceparent"].as_str().unwrap().split('-').collect();
        let tree = tree(&server, ids[1], 2);
        let segments = tree["segments"].as_array().unwrap();
        let (client, entry) = (&segments[0]["spans"][0], &segments[1]["spans"][0]);
        assert_eq!(
            (&client["id"], &client["kind"], &client["name"]),
            (&json!(ids[2]), &json!("CLIENT"), &json!("GET"))
        );
        assert_eq!((&entry["parentId"], &entry["kind"]), (&json!(ids[2]), &json!("SERVER")));
        assert_eq!(entry["name"], "GET /orders");
        let (url, port) = (format!("http://127.0.0.1:{}/orders?id=7", sent["port"]), &sent["port"]);
        let told = &client["attributes"];
        assert_eq!((&told["url.full"], &told["server.port"]), (&json!(url), port), "{told}");
        assert_eq!(
            (&told["http.request.method"], &told["http.response.status_code"]),
            (&json!("GET"), &json!(200))
        );
        assert_eq!(
            (&entry["attributes"]["url.query"], &entry["attributes"]["url.path"]),
            (&json!("id=7"), &json!("/orders"))
        );
        let time = |name: &str| sent[name].as_u64().unwrap() * 1_000_000;
        let begun: u64 = client["startUnixNano"].as_str().unwrap().parse().unwrap();
        let ended = begun + client["durationNano"].as_u64().unwrap();
        // What the program printed is in whole milliseconds.
        assert!(begun >= time("start") && ended < time("end") + 1_000_000, "{client} {sent}");
        let resource = &tree["resources"][client["resource"].as_u64().unwrap() as usize]["attributes"];
        assert_eq!(
            (&resource["service.name"], &resource["telemetry.distro.name"]),
            (&json!("shop"), &json!("opentelemetry-java-instrumentation"))
        );
        assert!(
            resource["process.pid"].is_number() && resource["service.instance.id"].is_string(),
            "{resource}"
        );
        // The exception that was logged while the request was answered is an event of its span.
        let logged = entry["events"].as_array().unwrap().iter().find(|event| event["log"].is_object());
        let logged = logged.unwrap_or_else(|| panic!("{entry}"));
        assert_eq!(logged["attributes"]["exception.type"], "java.lang.IllegalStateException", "{logged}");
        assert_eq!(logged["attributes"]["exception.message"], "no stock", "{logged}");
        assert!(
            logged["attributes"]["exception.stacktrace"].as_str().unwrap().contains("Sender"),
            "{logged}"
        );
        assert_eq!(
            (&logged["log"]["severityNumber"], &logged["log"]["body"]),
            (&json!(17), &json!("the order failed"))
        );
        // The signal that is not taken is named with the setting that ends it. gRPC's exporter tells of it once.
        let ours = "this server takes traces, not metrics: set OTEL_METRICS_EXPORTER=none";
        let times = errors.matches(ours).count();
        assert!(times >= 1 && (times == 1 || protocol != "grpc"), "{protocol}: {errors}");
    }
    server.stop();
}

#[test]
fn opentelemetrys_agent_has_nothing_to_say_where_other_signals_are_discarded() {
    let Some(sender) = Sender::compile("java") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--other-signals", "discard"]).start();
    let (sent, errors) = call(&sender, &server, "grpc");
    tree(&server, sent["traceparent"].as_str().unwrap().split('-').nth(1).unwrap(), 2);
    assert!(!errors.contains("Failed to export"), "{errors}");
    // The line that was logged outside of a span.
    for name in
        ["spandrel_ingest_discarded_total{signal=\"metrics\"}", "spandrel_ingest_discarded_log_records_total"]
    {
        assert!(server.metric(name) >= Some(1.0), "{name}");
    }
    server.stop();
}

/// Ends its process.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn skywalkings_agent_is_understood() {
    let Some(sender) = Sender::compile("java") else { return };
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--skywalking-addr", "127.0.0.1:0"]).start();
    // The agent looks for its configuration beside its jar.
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("config")).unwrap();
    let config = format!(
        "agent.service_name=shop\nagent.instance_name=shop-1\ncollector.backend_service={}\nlogging.level=OFF\nlogging.output=CONSOLE\n",
        server.address("skywalking")
    );
    std::fs::write(home.path().join("config/agent.config"), config).unwrap();
    let jar = home.path().join("skywalking-agent.jar");
    std::fs::copy(sender.agent("apm-agent.jar"), &jar).unwrap();
    let mut java = sender.java(&[format!("-javaagent:{}", jar.display())], &["skywalking"]);
    let process = java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(process);
    let out = std::io::BufReader::new(running.0.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(out).map(Result::unwrap);
    let line = lines.find(|line| line.starts_with('{')).expect("what it has sent");
    let sent: Value = serde_json::from_str(&line).unwrap();
    let id = {
        let mut api = server.api();
        let query = format!("{{ span.sw8.trace_id = {} && name = \"/orders\" }}", sent["trace"]);
        let found = eventually("the segment of the entry", || api.search(&query).pop());
        found["id"].as_str().unwrap().to_owned()
    };
    let tree = tree(&server, &id, 3);
    let segments = tree["segments"].as_array().unwrap();
    let spans: Vec<&Value> =
        segments.iter().flat_map(|segment| segment["spans"].as_array().unwrap()).collect();
    let named = |name: &str| {
        *spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name}: {tree}"))
    };
    let (entry, exit, local) = (named("/orders"), named("charge"), named("render"));
    assert_eq!((&segments[0]["service"], &segments[0]["instance"]), (&json!("shop"), &json!("shop-1")));
    assert_eq!(
        (&entry["kind"], &exit["kind"], &local["kind"]),
        (&json!("SERVER"), &json!("CLIENT"), &json!("INTERNAL"))
    );
    assert_eq!((&exit["parentId"], &local["parentId"]), (&entry["id"], &exit["parentId"]));
    let told = &entry["attributes"];
    assert_eq!(
        (&told["name"], &told["sw8.span_layer"], &told["sw8.component_id"]),
        (&json!("ä"), &json!("Http"), &json!(1))
    );
    assert_eq!(
        (&told["sw8.segment_id"], &local["attributes"]["sw8.segment_id"]),
        (&sent["segment"], &sent["other"])
    );
    let told = &exit["attributes"];
    assert_eq!((&told["server.address"], &told["server.port"]), (&json!("payments"), &json!(8080)), "{told}");
    assert_eq!((&exit["status"], &exit["statusMessage"]), (&json!("ERROR"), &json!("no stock")));
    let event = &exit["events"][0];
    assert_eq!(
        (&event["name"], &event["attributes"]["exception.type"]),
        (&json!("exception"), &json!("java.lang.IllegalStateException"))
    );
    let started: u64 = entry["startUnixNano"].as_str().unwrap().parse().unwrap();
    let ended = started + entry["durationNano"].as_u64().unwrap();
    let time = |name: &str| sent[name].as_u64().unwrap() * 1_000_000;
    assert!(started >= time("start") && ended <= time("end"), "{entry} {sent}");
    drop(running);
    server.stop();
}
