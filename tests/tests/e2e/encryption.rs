//! Encryption at rest of a running server: what its files and backups hold, what it says without its key, keys that are
//! rotated under load and deleted, and stores from before.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use spandrel_tests::command_output::{CommandOutput, run};
use spandrel_tests::forensics::files_with;
use spandrel_tests::http::{self, Body, Connection, PROTOBUF, post_traces};
use spandrel_tests::otlp::{hex, marked, request, span, trace_id};
use spandrel_tests::server::{Server, Settings, command, eventually};
use tempfile::TempDir;

/// A text in every span, and in nothing else.
const MARKER: &str = "mallory-5Hn8cZ";
const NOTHING: [PathBuf; 0] = [];
const VARIABLE: &str = "SPANDREL_ENCRYPTION_KEY";

/// A data directory and a file with a master key.
struct Place {
    folder: TempDir,
}

// === impl Place ===

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.make_key("key");
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes a new master key to a file, and returns it.
    fn make_key(&self, name: &str) -> String {
        let made = run(&["encryption", "key"]);
        let key = said(&made).trim().to_owned();
        assert_eq!(key.len(), 64);
        fs::write(self.path(name), format!("{key}\n")).unwrap();
        key
    }

    fn key(&self) -> String {
        fs::read_to_string(self.path("key")).unwrap().trim().to_owned()
    }

    fn settings(&self) -> Settings {
        Settings::on(&self.data()).with(&["--encryption-key-file", &self.path("key")])
    }

    /// A command on the data directory, with the key.
    fn run(&self, words: &[&str]) -> CommandOutput {
        let (data, key) = (self.path("data"), self.path("key"));
        run(&[words, &["--data-dir", &data, "--encryption-key-file", &key]].concat())
    }

    /// Every file of the data directory, with its bytes.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found)
                } else {
                    drop(found.insert(path.clone(), fs::read(path).unwrap()))
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.data(), &mut found);
        found
    }
}

fn said(output: &CommandOutput) -> String {
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    output.stdout.clone()
}

fn send(server: &Server, request: &ExportTraceServiceRequest) {
    send_to(server.otlp_http(), request);
}

fn send_to(otlp: SocketAddr, request: &ExportTraceServiceRequest) {
    let reply = post_traces(otlp, &request.encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn merged(server: &Server) {
    eventually("everything is merged", || (server.api().status("unsealedSpanCount") == 0).then_some(()));
}

fn has(server: &Server, traces: &[Vec<u8>]) {
    let mut api = server.api();
    for trace in traces {
        assert!(api.otlp(&hex(trace)).is_some(), "trace {} is missing", hex(trace));
    }
    assert!(!api.search(&format!("{{ .user = \"{MARKER}\" }}")).is_empty());
}

/// Ends the sender of a test, also when the test fails.
struct End<'e>(&'e AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// === the tests ===

#[test]
fn no_file_of_the_store_or_of_a_backup_holds_what_was_sent() {
    let place = Place::new();
    let mut server = place.settings().start();
    let traces = [trace_id(), trace_id(), trace_id()];
    send(&server, &marked(&traces[0], MARKER));
    assert_eq!(files_with(&place.data(), MARKER), NOTHING, "fresh");
    merged(&server);
    send(&server, &marked(&traces[1], MARKER));
    assert_eq!(files_with(&place.data(), MARKER), NOTHING, "merged");
    server.kill();
    drop(server);
    assert_eq!(files_with(&place.data(), MARKER), NOTHING, "killed");
    let server = place.settings().start();
    has(&server, &traces[..2]);
    send(&server, &marked(&traces[2], MARKER));

    let (url, set) = (format!("http://{}", server.http()), place.path("backups"));
    said(&run(&["backup", &set, "--server", &url]));
    merged(&server);
    said(&run(&["backup", &set, "--server", &url]));
    assert_eq!(files_with(Path::new(&set), MARKER), NOTHING, "backups");
    said(&run(&["backup", "verify", &set]));
    let checked = run(&["check", "--server", &url]);
    assert!(said(&checked).contains("nothing is wrong"), "{}", checked.stdout);
    server.stop();
    assert_eq!(files_with(&place.data(), MARKER), NOTHING, "stopped");
    assert!(said(&place.run(&["check"])).contains("nothing is wrong"));
    said(&place.run(&["repair"]));
    fs::remove_dir_all(place.data().join("store.damaged")).unwrap();
    let server = place.settings().start();
    has(&server, &traces);
    server.stop();
    assert_eq!(files_with(&place.data(), MARKER), NOTHING, "repaired");

    // The backup needs the master key, and nothing of this directory.
    let elsewhere = Place { folder: tempfile::tempdir().unwrap() };
    let data = elsewhere.path("data");
    let refused = run(&["restore", &set, "--data-dir", &data]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("--encryption-key-file"),
        "{}",
        refused.stderr
    );
    fs::write(elsewhere.path("key"), place.key()).unwrap();
    said(&elsewhere.run(&["restore", &set]));
    let server = elsewhere.settings().start();
    has(&server, &traces);
    server.stop();
    assert_eq!(files_with(&elsewhere.data(), MARKER), NOTHING, "restored");
}

#[test]
fn without_the_key_the_error_says_what_is_missing_and_nothing_is_changed() {
    let place = Place::new();
    let server = place.settings().start();
    let trace = trace_id();
    send(&server, &marked(&trace, MARKER));
    server.stop();
    let (before, key, wrong) = (place.contents(), place.key(), place.make_key("wrong"));
    let fingerprint = {
        let listed = said(&run(&["encryption", "status", "--data-dir", &place.path("data")]));
        listed.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    let data = place.data();
    let missing = Settings::on(&data).try_start().err().unwrap();
    let wrong_one = Settings::on(&data).env(VARIABLE, &wrong).try_start().err().unwrap();
    let failing = Settings::on(&data).with(&["--encryption-key-command", "false"]).try_start().err().unwrap();
    let no_file =
        Settings::on(&data).with(&["--encryption-key-file", "/nonexistent"]).try_start().err().unwrap();
    for (refused, parts) in [
        (missing, [fingerprint.as_str(), "--encryption-key-file", "SPANDREL_ENCRYPTION_KEY"]),
        (wrong_one, [fingerprint.as_str(), "master key", VARIABLE]),
        (failing, ["--encryption-key-command", "failed", "master key"]),
        (no_file, ["/nonexistent", "cannot be read", "master key"]),
    ] {
        for part in parts {
            assert!(refused.stderr.contains(part), "{part} is missing: {}", refused.stderr);
        }
        assert!(!refused.stderr.contains(&wrong[..8]) && refused.stdout.is_empty(), "{}", refused.stderr);
    }
    for words in [&["check"][..], &["repair"]] {
        let refused = run(&[words, &["--data-dir", &place.path("data")]].concat());
        assert_eq!(refused.code, Some(2), "{words:?}");
        assert!(refused.stderr.contains(&fingerprint), "{}", refused.stderr);
    }
    assert_eq!(place.contents(), before);
    // Each place of the key opens it.
    for settings in [
        Settings::on(&data).env(VARIABLE, &key),
        Settings::on(&data).with(&["--encryption-key-command", &format!("cat {}", place.path("key"))]),
    ] {
        let server = settings.start();
        has(&server, std::slice::from_ref(&trace));
        assert!(!server.stderr().contains(&key), "the key is logged");
        server.stop();
    }
    let shown = command(&["serve", "--print-config", "--encryption-key-file", &place.path("key")])
        .env(VARIABLE, &key)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("encryption-key-file: ") && !shown.contains(&key), "{shown}");
    // Without its keyring the store is no plain one.
    fs::rename(data.join("keyring.json"), place.path("aside")).unwrap();
    let lost = Settings::on(&data).try_start().err().unwrap();
    assert!(lost.stderr.contains("keyring.json"), "{}", lost.stderr);
}

#[test]
fn keys_are_rotated_under_load_without_a_failed_request() {
    let place = Place::new();
    let server = place.settings().start();
    let new = place.make_key("new");
    let (ends, otlp) = (AtomicBool::new(false), server.otlp_http());
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let trace = trace_id();
                send_to(otlp, &marked(&trace, MARKER));
                sent.push(trace);
            }
            sent
        });
        let end = End(&ends);
        said(&place.run(&["encryption", "rotate", "--new-key-file", &place.path("new")]));
        fs::rename(place.path("new"), place.path("key")).unwrap();
        for _ in 0..3 {
            let rotated = said(&place.run(&["encryption", "rotate", "--data-keys"]));
            assert!(rotated.contains("new data keys"), "{rotated}");
        }
        drop(end);
        sender.join().unwrap()
    });
    merged(&server);
    assert!(!sent.is_empty());
    has(&server, &sent);
    server.stop();
    assert_eq!(place.key(), new);
    let server = place.settings().start();
    has(&server, &sent);
    let listed = said(&run(&["encryption", "status", "--data-dir", &place.path("data")]));
    let of_tenant = listed.lines().filter(|line| line.contains("tenant default")).count();
    assert_eq!(of_tenant, 4, "{listed}");
    server.stop();
    assert_eq!(files_with(&place.data(), MARKER), NOTHING);
}

#[test]
fn deleting_the_key_of_a_tenant_ends_its_data_at_once() {
    let place = Place::new();
    let server = place.settings().start();
    let (merged_one, fresh, later) = (trace_id(), trace_id(), trace_id());
    send(&server, &marked(&merged_one, MARKER));
    merged(&server);
    send(&server, &marked(&fresh, MARKER));
    let ended = said(&run(&["encryption", "end", "--tenant", "default", "--data-dir", &place.path("data")]));
    assert!(ended.contains("deleted 1 data keys of tenant default"), "{ended}");
    eventually("nothing is found", || (server.api().status("spanCount") == 0).then_some(()));
    let mut api = server.api();
    assert!(api.otlp(&hex(&merged_one)).is_none() && api.otlp(&hex(&fresh)).is_none());
    assert!(!api.json("services").to_string().contains(MARKER));
    assert_eq!(api.status("damagedBlockCount"), 0);
    send(&server, &request("shop", vec![span(&later, "GET /later")]));
    assert!(api.otlp(&hex(&later)).is_some(), "the tenant may go on");
    server.stop();
    let server = place.settings().start();
    assert!(server.api().otlp(&hex(&merged_one)).is_none() && server.api().otlp(&hex(&later)).is_some());
    let again = run(&["encryption", "end", "--tenant", "other", "--data-dir", &place.path("data")]);
    assert!(again.code != Some(0) && again.stderr.contains("no data key"), "{}", again.stderr);
    server.stop();
    assert!(said(&place.run(&["check"])).contains("nothing is wrong"));
}

#[test]
fn deleting_a_tenant_ends_its_data_key_at_once() {
    let place = Place::new();
    let server = place.settings().with(&["--multitenancy"]).start();
    let sent = |tenant: &str| {
        let trace = trace_id();
        let body = marked(&trace, MARKER).encode_to_vec();
        let headers = [("content-type", "application/x-protobuf"), ("x-scope-orgid", tenant)];
        let reply = http::request(server.otlp_http(), "POST", "/v1/traces", &headers, Body::Sized(&body));
        assert_eq!(reply.status, 200, "{}", reply.text());
        hex(&trace)
    };
    let status = |tenant: &str, trace: &str| {
        let path = format!("/api/v1/traces/{trace}");
        http::request(server.http(), "GET", &path, &[("x-scope-orgid", tenant)], Body::None).status
    };
    let (gone, stays) = (sent("gone"), sent("stays"));
    merged(&server);
    let fresh = sent("gone");
    let deleted = http::request(server.http(), "DELETE", "/api/v1/tenants/gone", &[], Body::None);
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    let keys = said(&run(&["encryption", "status", "--data-dir", &place.path("data")]));
    let of = |tenant: &str| keys.lines().filter(|line| line.contains(tenant)).collect::<Vec<_>>().join("\n");
    assert!(of("tenant gone").contains("deleted") && !of("tenant stays").contains("deleted"), "{keys}");
    assert_eq!((status("gone", &gone), status("gone", &fresh), status("stays", &stays)), (404, 404, 200));
    eventually("the blocks have left the store", || (server.api().status("spanCount") == 1).then_some(()));
    assert_eq!(server.api().status("damagedBlockCount"), 0);
    let later = sent("gone");
    assert_eq!(status("gone", &later), 200, "the tenant may go on, with another key");
    server.stop();
    let server = place.settings().with(&["--multitenancy"]).start();
    assert_eq!(server.api().status("spanCount"), 2);
    server.stop();
    assert!(said(&place.run(&["check"])).contains("nothing is wrong"));
}

/// SIGKILL at any moment, with senders that do not stop.
#[test]
fn a_kill_loses_nothing_that_an_encrypted_store_has_acknowledged() {
    let place = Place::new();
    let mut acknowledged: Vec<Vec<u8>> = Vec::new();
    for round in 0..3 {
        let mut server = place.settings().start();
        let (otlp, count) = (server.otlp_http(), AtomicUsize::new(0));
        let sent = thread::scope(|scope| {
            let send = || {
                let mut sent = Vec::new();
                let Ok(mut connection) = Connection::open(otlp) else { return sent };
                loop {
                    let trace = trace_id();
                    let body = marked(&trace, MARKER).encode_to_vec();
                    match connection.request("POST", "/v1/traces", PROTOBUF, Body::Sized(&body)) {
                        Ok(reply) if reply.status == 200 => sent.push(trace),
                        _ => return sent,
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            };
            let senders: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
            let enough = 200 * (round + 1);
            eventually("enough was sent", || (count.load(Ordering::Relaxed) >= enough).then_some(()));
            server.kill();
            senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
        });
        acknowledged.extend(sent);
        drop(server);
        assert_eq!(files_with(&place.data(), MARKER), NOTHING, "round {round}");
    }
    let server = place.settings().start();
    has(&server, &acknowledged);
    merged(&server);
    has(&server, &acknowledged);
    assert_eq!(server.api().status("damagedBlockCount"), 0);
    server.stop();
    assert!(said(&place.run(&["check"])).contains("nothing is wrong"));
}

#[test]
fn a_plain_store_is_readable_with_a_key_and_taken_over() {
    let place = Place::new();
    let traces = [trace_id(), trace_id()];
    let server = Settings::on(&place.data()).start();
    send(&server, &marked(&traces[0], MARKER));
    merged(&server);
    send(&server, &marked(&traces[1], MARKER));
    server.stop();
    assert!(!files_with(&place.data(), MARKER).is_empty(), "this test would not find it anyway");
    let checked = said(&place.run(&["check"]));
    assert!(
        checked.contains("2 blocks are not encrypted yet") && checked.contains("nothing is wrong"),
        "{checked}"
    );
    assert!(!place.data().join("keyring.json").exists(), "a check makes no key");
    let server = place.settings().start();
    has(&server, &traces);
    eventually("no file holds the marker", || files_with(&place.data(), MARKER).is_empty().then_some(()));
    has(&server, &traces);
    server.stop();
    let checked = said(&place.run(&["check"]));
    assert!(checked.contains("nothing is wrong") && !checked.contains("not encrypted"), "{checked}");
}
