//! `spandrel import`: what one server exports is what another has afterwards, in every format, once.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use opentelemetry_proto::tonic::trace::v1::{Status, TracesData};
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::http;
use spandrel_tests::otlp::{self, hex, now, text};
use spandrel_tests::server::{Server, Settings, command, eventually};
use tempfile::TempDir;

/// A server that has traces, an empty one, and a folder for files.
struct World {
    from: Server,
    to: Server,
    folder: TempDir,
    traces: Vec<String>,
}

const TRACES: usize = 40;

// === World ===

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = |name: &str| Settings::on(&folder.path().join(name)).start();
        let (from, to) = (server("from"), server("to"));
        let mut traces = Vec::new();
        for number in 0..TRACES {
            let id = otlp::trace_id();
            let mut span = otlp::span(&id, &format!("GET /{number}"));
            span.start_time_unix_nano = now() - 60_000_000_000;
            span.end_time_unix_nano = span.start_time_unix_nano + 5_000;
            span.attributes = vec![text("tier", "süß \"{[\n")];
            span.status = Some(Status { code: 2, message: "no".to_owned() });
            let request = otlp::request(if number % 2 == 0 { "shop" } else { "cart" }, vec![span]);
            assert_eq!(http::post_traces(from.otlp_http(), &request.encode_to_vec()).status, 200);
            traces.push(hex(&id));
        }
        Self { from, to, folder, traces }
    }

    fn export(&self, format: &str) -> PathBuf {
        let path = self.folder.path().join(format!("export.{format}"));
        let arguments = ["export", "--format", format, "--output", path.to_str().unwrap(), "--server"];
        let server = format!("http://{}", self.from.http());
        assert!(command(&arguments).arg(server).status().unwrap().success());
        path
    }

    fn import(&self, files: &[&Path]) -> Output {
        let to = format!("http://{}", self.to.otlp_http());
        command(&["import", "--to", &to]).args(files).stdin(Stdio::null()).output().unwrap()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn assert_same(&self) {
        let (mut from, mut to) = (self.from.api(), self.to.api());
        for id in &self.traces {
            let path = format!("traces/{id}?format=otlp");
            assert_eq!(from.json(&path), to.json(&path), "{id}");
        }
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_exported_is_there_after_an_import_once() {
    let world = World::new();
    let file = world.export("otlp");
    let output = world.import(&[&file]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("stored 40 spans"), "{}", stderr(&output));
    world.assert_same();
    // The same again, by standard input and compressed: the server knows the request.
    let packed = zstd::encode_all(&*std::fs::read(&file).unwrap(), 1).unwrap();
    let to = format!("http://{}", world.to.otlp_http());
    let mut again = command(&["import", "--to", &to, "-"]).stdin(Stdio::piped()).spawn().unwrap();
    again.stdin.take().unwrap().write_all(&packed).unwrap();
    assert!(again.wait().unwrap().success());
    assert_eq!(world.to.metric("spandrel_ingest_resends_total"), Some(1.0));
    assert_eq!(world.to.api().status("spanCount"), TRACES as u64);
    // In protobuf the spans are equal, too, whether the file has lengths before its messages or not.
    let mut framed = Vec::new();
    let mut plain = Vec::new();
    for id in &world.traces {
        let message = TracesData::encode_to_vec(&world.from.api().otlp(id).unwrap());
        framed.extend((message.len() as u32).to_be_bytes());
        framed.extend(&message);
        plain.extend(&message);
    }
    let files = [world.file("framed", &framed), world.file("plain", &plain)];
    let output = world.import(&[&files[0], &files[1]]);
    assert!(output.status.success(), "{}", stderr(&output));
    world.assert_same();
}

#[test]
fn files_of_jaeger_and_zipkin_are_taken() {
    let world = World::new();
    let file = world.export("jaeger");
    let start = now() / 1_000 - 1_000_000;
    let span = |trace: &str, id: &str| {
        json!({ "traceId": trace, "id": id, "name": "get", "timestamp": start, "duration": 7, "kind": "SERVER",
            "localEndpoint": { "serviceName": "zip" }, "tags": { "k": "v" } })
    };
    let zipkin = json!([[span("a1", "1"), span("a1", "2")], [span("a2", "3")]]);
    let zipkin = world.file("zipkin.json", zipkin.to_string().as_bytes());
    let output = world.import(&[&file, &zipkin]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut api = world.to.api();
    for id in &world.traces {
        let trace = &api.json(&format!("traces/{id}?attributes=map"))["trace"];
        let span = &trace["segments"][0]["spans"][0];
        assert_eq!(
            (&span["attributes"]["tier"], &span["durationNano"]),
            (&json!("süß \"{[\n"), &json!(5_000)),
            "{trace}"
        );
        assert_eq!((&span["status"], &span["statusMessage"]), (&json!("ERROR"), &json!("no")), "{trace}");
    }
    assert_eq!(api.tree("a1")["spanCount"], 2);
    assert_eq!(api.tree("a2")["segments"][0]["service"], "zip");
}

#[test]
fn what_is_refused_or_unreadable_is_said() {
    let world = World::new();
    let span = |id: &str| json!({ "traceId": "a1", "id": id, "timestamp": 1_700_000_000_000_000_u64 });
    let some = Value::from(vec![span("1"), span("x")]).to_string();
    let output = world.import(&[&world.file("some.json", some.as_bytes())]);
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("stored 1 span\n") && text.contains("refused 1 span: "), "{text}");
    for (name, bytes, why) in [
        ("cut.json", &b"[{\"traceId\":"[..], "closing brace"),
        ("other.json", b"{\"a\":1}", "no format that is known"),
        ("other.txt", b"hello", "no OTLP in protobuf"),
        ("gone.json", b"", "cannot read"),
    ] {
        let path = if bytes.is_empty() { world.folder.path().join(name) } else { world.file(name, bytes) };
        let output = world.import(&[&path]);
        assert!(!output.status.success() && stderr(&output).contains(why), "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = world.export("otlp");
    let output = command(&["import", "--to", &format!("http://{nobody}")]).arg(file).output().unwrap();
    assert!(stderr(&output).contains("--to"), "{}", stderr(&output));
}

/// A server that may take nothing yet is waited for.
#[test]
fn an_import_waits_for_a_server_that_has_no_room() {
    let world = World::new();
    let file = world.export("otlp");
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}", listener.local_addr().unwrap());
    let import = command(&["import", "--to", &to]).arg(file).stderr(Stdio::piped()).spawn().unwrap();
    let mut answers = ["429 Too Many Requests\r\nretry-after: 1", "200 OK"].into_iter();
    let mut bodies = Vec::new();
    for answer in answers.by_ref() {
        bodies.push(take(&listener, answer));
    }
    assert_eq!(bodies[0], bodies[1], "the same request again");
    let output = import.wait_with_output().unwrap();
    assert!(output.status.success() && stderr(&output).contains("stored 40 spans"), "{}", stderr(&output));
    drop(folder);
}

/// Takes one request on a connection of its own, and returns its body.
fn take(listener: &std::net::TcpListener, answer: &str) -> Vec<u8> {
    use std::io::Read as _;
    let (mut stream, _) = listener.accept().unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    let body = eventually("the whole request", || {
        let read = stream.read(&mut buffer).unwrap();
        bytes.extend(&buffer[..read]);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
        (bytes.len() == end + length).then(|| bytes[end..].to_vec())
    });
    write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    body
}
