//! Exports of a running server: every format has the spans that were sent, and the tools of the formats read them.
//! DuckDB and pandas are installed into a folder of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::http::{self, Body, Connection};
use spandrel_tests::otlp::{self, attribute, flat, hex, now, text};
use spandrel_tests::server::{self, Server, Settings, workspace_root};
use tempfile::TempDir;

/// A span with its resource and scope.
type Sent = (ResourceSpans, ScopeSpans, Span);

const TRACES: usize = 120;

/// A server, the spans that were sent to it, and a folder for files.
struct World {
    server: Server,
    sent: Vec<Sent>,
    folder: TempDir,
}

// === the world ===

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Settings::on(&folder.path().join("data")).start();
        let data = TracesData { resource_spans: (0..TRACES).flat_map(trace).collect() };
        for part in data.resource_spans.chunks(50) {
            let request = TracesData { resource_spans: part.to_vec() };
            let reply = http::post_traces(server.otlp_http(), &request.encode_to_vec());
            assert_eq!((reply.status, reply.body.len()), (200, 0), "{}", reply.text());
        }
        Self { sent: flat(&data.resource_spans), server, folder }
    }

    fn spandrel(&self, arguments: &[&str]) -> Output {
        let server = format!("http://{}", self.server.http());
        server::command(arguments).args(["--server", &server]).output().unwrap()
    }

    /// Exports into a file and returns its path.
    fn export(&self, format: &str, more: &[&str]) -> PathBuf {
        let path = self.folder.path().join(format!("export.{format}"));
        let arguments = ["export", "--format", format, "--output", path.to_str().unwrap()];
        let output = self.spandrel(&[&arguments, more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!path.with_extension(format!("{format}.partial")).exists(), "a part was left behind");
        path
    }

    fn service_of(&self, sent: &Sent) -> String {
        string(&sent.0.resource.as_ref().unwrap().attributes, "service.name").unwrap()
    }
}

/// A trace over two services with everything that a span can have.
fn trace(number: usize) -> Vec<ResourceSpans> {
    let id = otlp::trace_id();
    let start = now() - 60_000_000_000 + number as u64 * 1_001;
    let mut root = otlp::span(&id, &format!("GET /orders/{}", number % 7));
    (root.kind, root.start_time_unix_nano, root.end_time_unix_nano) =
        (2, start, start + 5_000 + number as u64);
    root.trace_state = "vendor=1".to_owned();
    root.flags = 0x101;
    root.attributes = vec![
        attribute(
            "http.response.status_code",
            Any::IntValue(200 + 300 * i64::from(number.is_multiple_of(5))),
        ),
        text("http.route", "/orders/{id}"),
        text("tier", if number.is_multiple_of(3) { "gold" } else { "süß \"tin\"\n" }),
        attribute("big", Any::IntValue(i64::MAX)),
        attribute("ratio", Any::DoubleValue(number as f64 / 8.0)),
        attribute("flag", Any::BoolValue(true)),
        attribute("blob", Any::BytesValue(vec![0, 255])),
        attribute("list", Any::ArrayValue(ArrayValue { values: vec![text("", "x").value.unwrap()] })),
        KeyValue { key: "nothing".to_owned(), ..KeyValue::default() },
    ];
    let mut child = otlp::span(&id, "SELECT orders");
    (child.kind, child.start_time_unix_nano, child.end_time_unix_nano) = (3, start + 10, start + 4_000);
    child.parent_span_id.clone_from(&root.span_id);
    child.status = Some(Status { code: 2, message: "deadlock".to_owned() });
    child.dropped_attributes_count = 2;
    child.events = vec![
        Event { time_unix_nano: start + 11, name: "begin".to_owned(), ..Event::default() },
        Event {
            time_unix_nano: start + 12,
            name: "exception".to_owned(),
            attributes: vec![text("exception.type", "Deadlock")],
            ..Event::default()
        },
    ];
    child.links = vec![Link {
        trace_id: otlp::trace_id(),
        span_id: otlp::span_id(),
        attributes: vec![text("why", "retry")],
        ..Link::default()
    }];
    let mut shop = otlp::request("shop", vec![root]).resource_spans;
    let resource: &mut Resource = shop[0].resource.as_mut().unwrap();
    resource.attributes.push(attribute("replicas", Any::IntValue(3)));
    shop[0].schema_url = "https://opentelemetry.io/schemas/1.30.0".to_owned();
    shop.extend(otlp::request("database", vec![child]).resource_spans);
    shop
}

fn string(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// Spans in a fixed order, for comparison.
fn sorted(mut spans: Vec<Sent>) -> Vec<Sent> {
    spans.sort_by(|a, b| a.2.span_id.cmp(&b.2.span_id));
    spans
}

fn read_lines(text: &str) -> Vec<Sent> {
    let document = |line: &str| serde_json::from_str::<TracesData>(line).unwrap();
    text.lines().flat_map(|line| flat(&document(line).resource_spans)).collect()
}

// === OTLP ===

#[test]
fn otlp_lines_give_back_what_came_in() {
    let world = World::new();
    let path = world.export("otlp", &[]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(sorted(read_lines(&text)), sorted(world.sent.clone()));
    // Each trace is one line, and standard output gets the same text.
    assert_eq!(text.lines().count(), TRACES);
    let output = world.spandrel(&["export"]);
    assert!(output.status.success());
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(lines(&String::from_utf8(output.stdout).unwrap()), lines(&text));
}

/// Another server that receives the exported file stores the same spans.
#[test]
fn otlp_lines_can_be_sent_again() {
    let world = World::new();
    let text = std::fs::read_to_string(world.export("otlp", &[])).unwrap();
    let data = tempfile::tempdir().unwrap();
    let other = Settings::on(data.path()).start();
    for line in text.lines() {
        let body = Body::Sized(line.as_bytes());
        let reply = http::request(other.otlp_http(), "POST", "/v1/traces", http::JSON, body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let mut api = other.api();
    assert_eq!(api.status("spanCount"), world.sent.len() as u64);
    let (resource, scope, span) = &world.sent[1];
    let again = flat(&api.otlp(&hex(&span.trace_id)).unwrap().resource_spans);
    assert!(again.contains(&(resource.clone(), scope.clone(), span.clone())), "{again:?}");
    other.stop();
}

#[test]
fn a_query_and_a_range_choose_whole_traces() {
    let world = World::new();
    let failed = "{ span.http.response.status_code = 500 }";
    let text = std::fs::read_to_string(world.export("otlp", &["--query", failed])).unwrap();
    assert_eq!(read_lines(&text).len(), 2 * TRACES.div_ceil(5));
    let starts = |sent: &Sent| sent.2.start_time_unix_nano;
    let mut roots: Vec<u64> =
        world.sent.iter().filter(|sent| sent.2.parent_span_id.is_empty()).map(starts).collect();
    roots.sort_unstable();
    let (start, end) = (roots[10].to_string(), roots[30].to_string());
    let roots_only = ["--query", "{ kind = server }", "--start", &start, "--end", &end];
    let text = std::fs::read_to_string(world.export("otlp", &roots_only)).unwrap();
    assert_eq!(text.lines().count(), 20);
    let nothing = world.export("otlp", &["--query", "{ name = \"nobody\" }"]);
    assert_eq!(std::fs::metadata(nothing).unwrap().len(), 0);
    let refused = world.spandrel(&["export", "--query", "{ nonsense"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nonsense is not known"));
}

// === Jaeger ===

#[test]
fn jaeger_files_hold_every_trace_and_span() {
    let world = World::new();
    let document: Value =
        serde_json::from_slice(&std::fs::read(world.export("jaeger", &[])).unwrap()).unwrap();
    let traces = document["data"].as_array().unwrap();
    let mut spans: BTreeMap<String, (Value, Value)> = BTreeMap::new();
    for trace in traces {
        for span in trace["spans"].as_array().unwrap() {
            assert_eq!(span["traceID"], trace["traceID"]);
            let process = trace["processes"][span["processID"].as_str().unwrap()].clone();
            spans.insert(span["spanID"].as_str().unwrap().to_owned(), (span.clone(), process));
        }
    }
    assert_eq!((traces.len(), spans.len()), (TRACES, world.sent.len()));
    for sent in &world.sent {
        let (span, process) = &spans[&hex(&sent.2.span_id)];
        assert_eq!(span["operationName"], sent.2.name);
        assert_eq!(span["startTime"], sent.2.start_time_unix_nano / 1_000);
        assert_eq!(process["serviceName"], world.service_of(sent));
        assert_eq!(span["logs"].as_array().unwrap().len(), sent.2.events.len());
        let references = usize::from(!sent.2.parent_span_id.is_empty()) + sent.2.links.len();
        assert_eq!(span["references"].as_array().unwrap().len(), references);
    }
}

// === Parquet ===

/// A Python with the packages that read tables; installed once and kept in Cargo's target directory.
fn python() -> Result<PathBuf, String> {
    let requirements = workspace_root().join("tests/parquet/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let packages: String = wanted.lines().filter(|line| !line.starts_with('#')).collect();
    let name: String = packages.chars().filter(char::is_ascii_alphanumeric).collect();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("parquet-{name}"));
    let interpreter = home.join("bin/python");
    if interpreter.exists() {
        return Ok(interpreter);
    }
    // Installed under another name and then renamed, so that no other test uses half of it.
    let building = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
    let venv = building.path().join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
    run(&mut pip)?;
    match std::fs::rename(&venv, &home) {
        Err(error) if !interpreter.exists() => Err(error.to_string()),
        _ => Ok(interpreter),
    }
}

fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[test]
fn duckdb_and_pandas_read_tables() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return server::skipped("duckdb_and_pandas_read_tables", &why),
    };
    let world = World::new();
    let table = world.export("parquet", &[]);
    let script = workspace_root().join("tests/parquet/read.py");
    let printed = run(Command::new(python).arg(script).arg(table)).unwrap();
    let seen: Value = serde_json::from_slice(&printed).unwrap();
    let mut spans: Vec<Value> = world.sent.iter().map(|sent| row(&world, sent)).collect();
    let key = |row: &Value| (row[0].as_str().unwrap().to_owned(), row[1].as_str().unwrap().to_owned());
    spans.sort_by_key(key);
    let longest = |service: &str| {
        let of_service = world.sent.iter().filter(|sent| world.service_of(sent) == service);
        of_service.map(|sent| sent.2.end_time_unix_nano - sent.2.start_time_unix_nano).max().unwrap()
    };
    let by_service = json!([
        ["database", TRACES, TRACES, longest("database"), 0],
        ["shop", TRACES, 0, longest("shop"), TRACES.div_ceil(3)],
    ]);
    for reader in ["duckdb", "pandas"] {
        assert_eq!(seen[reader]["byService"], by_service, "{reader}");
        let rows = seen[reader]["spans"].as_array().unwrap();
        assert_eq!(rows.len(), spans.len(), "{reader}");
        for (row, expected) in rows.iter().zip(&spans) {
            assert_eq!(row, expected, "{reader}");
        }
    }
}

/// A span as `read.py` prints it.
fn row(world: &World, sent: &Sent) -> Value {
    let (resource, _, span) = sent;
    let is_root = span.parent_span_id.is_empty();
    let resource_attributes = match is_root {
        true => json!({"service.name": "shop", "replicas": "3"}),
        false => json!({"service.name": "database"}),
    };
    assert_eq!(resource.resource.as_ref().unwrap().attributes.len(), 1 + usize::from(is_root));
    let attribute =
        |key: &str| span.attributes.iter().find(|one| one.key == key).unwrap().value.clone().unwrap();
    let (code, route, attributes) = match is_root {
        false => (Value::Null, Value::Null, json!({})),
        true => {
            let Some(Any::IntValue(code)) = attribute("http.response.status_code").value else {
                panic!("no code")
            };
            let Some(Any::DoubleValue(ratio)) = attribute("ratio").value else { panic!("no ratio") };
            let attributes = json!({
                "http.response.status_code": code.to_string(), "http.route": "/orders/{id}",
                "tier": string(&span.attributes, "tier"), "big": i64::MAX.to_string(),
                "ratio": format!("{ratio:?}"), "flag": "true", "blob": "AP8=", "list": "[\"x\"]", "nothing": null,
            });
            (json!(code), json!("/orders/{id}"), attributes)
        }
    };
    json!([
        hex(&span.trace_id),
        hex(&span.span_id),
        if is_root { Value::Null } else { json!(hex(&span.parent_span_id)) },
        world.service_of(sent),
        span.name,
        if is_root { "SERVER" } else { "CLIENT" },
        span.start_time_unix_nano,
        span.end_time_unix_nano - span.start_time_unix_nano,
        !is_root,
        if is_root { Value::Null } else { json!("Deadlock") },
        code,
        route,
        attributes,
        resource_attributes,
        span.events.iter().map(|event| event.name.clone()).collect::<Vec<_>>(),
        span.links.iter().map(|link| hex(&link.trace_id)).collect::<Vec<_>>(),
    ])
}

// === memory ===

/// The peak memory of a process, in MiB.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// An export to a client that does not read takes no memory of the server. Afterwards the client reads many times as
/// much as the server ever held.
#[test]
fn an_export_is_never_held_in_memory() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let filler = "x".repeat(4_000);
    for _ in 0..100 {
        let id = otlp::trace_id();
        let mut spans: Vec<Span> = (0..1_000).map(|_| otlp::span(&id, "wide")).collect();
        spans.iter_mut().for_each(|span| span.attributes.push(text("filler", &filler)));
        let reply = http::post_traces(server.otlp_http(), &otlp::request("shop", spans).encode_to_vec());
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let mut api = server.api();
    server::eventually("sealed", || (api.status("unsealedSpanCount") == 0).then_some(()));
    let before = peak(&server);
    for format in ["otlp", "parquet"] {
        let mut slow = Connection::open(server.http()).unwrap();
        let head =
            format!("GET /api/v1/export?start=0&format={format} HTTP/1.1\r\nhost: {}\r\n\r\n", server.http());
        slow.write(head.as_bytes()).unwrap();
        // Other queries are answered for a time in which an unbounded export would fill the memory.
        for _ in 0..500 {
            api.status("spanCount");
        }
        let reply = slow.read_reply().unwrap();
        assert_eq!(reply.status, 200);
        if format == "otlp" {
            assert!(reply.body.len() > 400_000_000, "{} bytes", reply.body.len());
        }
        let grown = peak(&server) - before;
        assert!(grown < 200, "{format}: memory grew by {grown} MiB");
    }
}
