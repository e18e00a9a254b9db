//! Deletions, pins and the disk bound of a running server. Deleted values are in no file any more: not in compressed
//! data, not in a log, not in a file name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::forensics::files_with;
use spandrel_tests::http::{Body, JSON, Reply, percent_encoded, post_traces, request as ask};
use spandrel_tests::otlp::{self, hex, request, span, text, trace_id};
use spandrel_tests::server::{Server, Settings, command, eventually};

/// A text in all traces that are deleted, and in no other.
const MARKER: &str = "mallory-7Kq2xW";

const NOTHING: [PathBuf; 0] = [];

fn send(server: &Server, request: &ExportTraceServiceRequest) {
    let reply = post_traces(server.otlp_http(), &request.encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn marked(trace: &[u8]) -> ExportTraceServiceRequest {
    otlp::marked(trace, MARKER)
}

fn post(server: &Server, question: &Value) -> Reply {
    let body = question.to_string();
    ask(server.http(), "POST", "/api/v1/delete", JSON, Body::Sized(body.as_bytes()))
}

fn sealed(server: &Server) {
    eventually("everything is merged", || (server.api().status("unsealedSpanCount") == 0).then_some(()));
}

fn files_with_the_marker(directory: &Path) -> Vec<PathBuf> {
    files_with(directory, MARKER)
}

// === the tests ===

#[test]
fn no_file_holds_what_was_deleted() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Settings::on(data.path()).start();
    let (gone, fresh, stays) = (trace_id(), trace_id(), trace_id());
    let innocent = |trace: &[u8], name: &str| request("shop", vec![span(trace, name)]);
    send(&server, &marked(&gone));
    // A part of the trace without the marker.
    send(&server, &innocent(&gone, "checkout"));
    for n in 0..200 {
        send(&server, &innocent(&trace_id(), &format!("GET /{n}")));
    }
    send(&server, &innocent(&stays, "GET /stays"));
    sealed(&server);
    send(&server, &marked(&fresh));
    assert!(!files_with_the_marker(data.path()).is_empty(), "this test would not find it anyway");
    // Files of a server that was stopped are searched as well.
    server.signal("TERM");
    server.wait();
    let mut server = Settings::on(data.path()).start();
    assert!(!files_with_the_marker(data.path()).is_empty(), "this test would not find it anyway");
    let before = server.api().status("spanCount");

    let output = command(&["delete", &format!("{{ .user = \"{MARKER}\" }}"), "--wait", "--server"])
        .arg(format!("http://{}", server.http()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "deleted 2 traces, 3 spans");
    assert_eq!(files_with_the_marker(data.path()), NOTHING);

    for _ in 0..2 {
        let mut api = server.api();
        assert_eq!(api.status("spanCount"), before - 3);
        for trace in [&gone, &fresh] {
            assert!(api.otlp(&hex(trace)).is_none());
        }
        assert_eq!(api.otlp(&hex(&stays)).unwrap().resource_spans.len(), 1);
        assert!(!api.json("services").to_string().contains(MARKER));
        for question in [format!("{{ .user = \"{MARKER}\" }}"), format!("{{ name = \"GET /{MARKER}\" }}")] {
            assert!(api.search(&question).is_empty(), "{question}");
        }
        let all = api.search("{ }");
        assert_eq!(all.len() as u64, api.status("traceCount"));
        server.signal("TERM");
        server.wait();
        assert_eq!(files_with_the_marker(data.path()), NOTHING);
        server = Settings::on(data.path()).start();
    }
    server.stop();
}

#[test]
fn a_deletion_goes_on_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Settings::on(data.path()).start();
    for _ in 0..50 {
        send(&server, &marked(&trace_id()));
    }
    send(&server, &request("shop", vec![span(&trace_id(), "GET /stays")]));
    let reply = post(&server, &json!({ "q": format!("{{ .user = \"{MARKER}\" }}") }));
    assert!([200, 202].contains(&reply.status), "{}", reply.text());
    let deletion = reply.json()["deletion"].take();
    assert_eq!(deletion["traceCount"], 50);
    assert_eq!(server.api().search("{ }").len(), 1, "hidden at once");
    server.kill();
    // The server is killed several times during the deletion.
    for milliseconds in [10, 60, 120, 250, 500] {
        Settings::on(data.path()).start_and_kill(Duration::from_millis(milliseconds));
    }
    let server = Settings::on(data.path()).start();
    assert_eq!(server.api().search("{ }").len(), 1, "and for good");
    let id = deletion["id"].as_str().unwrap();
    let done = eventually("the deletion is done", || {
        let now = server.api().json(&format!("deletions/{id}"))["deletion"].take();
        (now["state"] == "done").then_some(now)
    });
    assert!(done["finishedUnixNano"].is_string(), "{done}");
    assert_eq!(files_with_the_marker(data.path()), NOTHING);
    assert_eq!(server.api().json("deletions")["deletions"][0], done);
    server.stop();
}

#[test]
fn backups_that_still_hold_it_are_named() {
    let (data, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).start();
    // A trace in the same block and the same commit stays.
    let mut both = marked(&trace_id());
    both.resource_spans.extend(request("shop", vec![span(&trace_id(), "GET /")]).resource_spans);
    send(&server, &both);
    let back_up = |name: &str| {
        let output = command(&["backup"])
            .arg(kept.path().join(name))
            .args(["--server", &format!("http://{}", server.http())])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    back_up("with");
    let question = json!({ "q": format!("{{ .user = \"{MARKER}\" }}"), "wait": true });
    let reply = post(&server, &question);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let known = server.api().json("backups")["backups"][0]["id"].clone();
    let named = reply.json()["deletion"]["backups"].take();
    assert_eq!(named.as_array().unwrap().len(), 1);
    assert_eq!(named[0]["id"], known);
    // A backup taken after the deletion contains nothing of it.
    send(&server, &request("shop", vec![span(&trace_id(), "GET /")]));
    back_up("without");
    let deletions = server.api().json("deletions");
    assert_eq!(deletions["deletions"][0]["backups"], named);
    server.stop();
}

/// The command also names the backups that may hold deleted spans.
#[test]
fn the_command_names_backups_that_still_hold_it() {
    let (data, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).start();
    let url = format!("http://{}", server.http());
    let run = |arguments: &[&str]| {
        let output = command(arguments).args(["--server", &url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let back_up = || {
        let said = run(&["backup", &kept.path().display().to_string()]);
        said.split([' ', ':']).nth(1).unwrap().to_owned()
    };
    // One backup before the trace, and two after it.
    back_up();
    send(&server, &marked(&trace_id()));
    let with: Vec<String> = (0..2).map(|_| back_up()).collect();
    let question = format!("{{ .user = \"{MARKER}\" }}");
    let said = run(&["delete", &question, "--wait"]);
    let listed = command(&["backup", "list"]).arg(kept.path()).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let (first, lines) = said.split_once('\n').unwrap();
    assert_eq!(first, "deleted 1 traces, 1 spans");
    assert_eq!(lines.lines().count(), with.len(), "{said}");
    for (line, id) in lines.lines().zip(with) {
        let of_list = listed.lines().find(|line| line.contains(&id)).unwrap();
        let taken = of_list.split_whitespace().find_map(|word| word.strip_suffix('Z')).unwrap();
        assert!(line.starts_with(&format!("still in backup {id} of {taken}")), "{line}, listed as {of_list}");
    }
    // Nothing is left to delete, so no backup is named.
    assert_eq!(run(&["delete", &question, "--wait"]).trim(), "deleted 0 traces, 0 spans");
    server.stop();
}

#[test]
fn questions_that_delete_too_easily_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let trace = trace_id();
    send(&server, &request("shop", vec![span(&trace, "GET /")]));
    for (question, part) in [
        (json!({}), "`q`"),
        (json!({ "q": " " }), "the query is empty"),
        (json!({ "q": "{ nope" }), "at character"),
        (json!({ "q": "{ }", "everything": true }), "everything"),
        (json!({ "q": "{ }", "start": "soon" }), "soon"),
    ] {
        let reply = post(&server, &question);
        assert_eq!(reply.status, 400, "{question}: {}", reply.text());
        assert!(reply.problem().contains(part), "{question}: {}", reply.problem());
    }
    // A page of another site can send this without a preflight request.
    let body = json!({ "q": "{ }" }).to_string();
    let plain = &[("content-type", "text/plain")];
    let reply = ask(server.http(), "POST", "/api/v1/delete", plain, Body::Sized(body.as_bytes()));
    assert_eq!(reply.status, 400);
    assert!(reply.problem().contains("application/json"), "{}", reply.problem());
    assert!(server.api().otlp(&hex(&trace)).is_some());
    // The range ends before the trace, which stays.
    let reply = post(&server, &json!({ "q": "{ }", "end": "1999-01-01T00:00:00Z", "wait": true }));
    assert_eq!((reply.status, reply.json()["deletion"]["traceCount"].as_u64()), (200, Some(0)));
    assert!(server.api().otlp(&hex(&trace)).is_some());
    server.stop();
}

#[test]
fn pins_are_set_listed_and_taken_away() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let trace = trace_id();
    send(&server, &request("shop", vec![span(&trace, "GET /")]));
    let path = format!("/api/v1/pins/{}", hex(&trace));
    let pin = |method: &str, path: &str| ask(server.http(), method, path, &[], Body::None);
    assert_eq!(pin("GET", &path).status, 404);
    assert_eq!(pin("PUT", "/api/v1/pins/1234").status, 404, "only what is stored");
    let since = pin("PUT", &path).json()["pin"].take();
    assert_eq!(since["traceId"], hex(&trace));
    assert_eq!(pin("PUT", &path).json()["pin"], since);
    assert_eq!(pin("GET", &path).json()["pin"], since);
    assert_eq!(server.api().json("pins")["pins"], json!([since]));
    server.stop();
    let server = Settings::on(data.path()).start();
    assert_eq!(server.api().json("pins")["pins"], json!([since]));
    let pin = |method: &str| ask(server.http(), method, &path, &[], Body::None).status;
    assert_eq!((pin("DELETE"), pin("DELETE"), pin("GET")), (204, 404, 404));
    server.stop();
}

/// The bound counts bytes on disk. The only window cannot be removed, so ingest is refused.
#[test]
fn the_bound_of_the_disk_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--max-disk", "8MB"]).start();
    assert_eq!(server.api().json("status")["limits"]["maxDiskBytes"], 8_000_000);
    let noise = |n: u64| -> Span {
        let mut x = n + 1;
        let mut word = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:08x}", x >> 32)
        };
        let mut span = span(&trace_id(), "noise");
        span.attributes = vec![text("noise", &(0..20_000).map(|_| word()).collect::<String>())];
        span
    };
    let refused = eventually("the bound is met", {
        let mut n = 0;
        let server = &server;
        move || {
            n += 1;
            let body = request("shop", vec![noise(n)]).encode_to_vec();
            let reply = post_traces(server.otlp_http(), &body);
            (reply.status != 200).then_some(reply)
        }
    });
    assert_eq!(refused.status, 507, "{}", refused.text());
    let found = server.api().get(&format!("traces?q={}", percent_encoded("{ }")));
    assert_eq!(found.status, 200, "{}", found.text());
    server.stop();
}
