//! The workload that makes a frozen directory: requests to a server of the format, chosen so that the directory holds
//! a value of every kind.
//!
//! The server is any binary since format 1, driven only through flags and the network. Spans are the same each time;
//! IDs of backups and times of arrival are not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::of_directory;
use crate::clock::MovedClock;
use crate::http::{Body, JSON, post_traces, request as ask};
use crate::server::{Server, Settings, command, eventually};
use crate::spans::{HOUR, SECOND, Sent, attribute, request, sent, text, trace_id, with_unknown_fields};

/// A retention that outlasts the archive.
pub const FOR_EVER: &str = "50y";
/// The service whose spans a rule expires before the end of the workload.
pub const CHATTY: &str = "chatty";
/// The user whose traces are deleted.
pub const GONE: &str = "gone";

/// Traces that stay, by the time at which they are sent.
const EARLY: std::ops::Range<u64> = 1..31;
const LATER: std::ops::Range<u64> = 31..101;
const LAST: std::ops::Range<u64> = 101..109;
/// Traces that expire and traces that are deleted.
const LET_GO: std::ops::Range<u64> = 1_000..1_020;
const DELETED: std::ops::Range<u64> = 2_000..2_005;
/// A trace with fields that generated types would drop.
const ODD: u64 = 3_000;

/// A folder with everything to be frozen, and the format of the server that wrote it.
pub struct Written {
    folder: TempDir,
    format: u16,
}

/// Runs the workload: a folder, a server with a moved clock, and the number of requests sent.
struct Driver {
    folder: TempDir,
    clock: MovedClock,
    sent: usize,
}

// === requests ===

/// A request through two services, with values of every type. The order of the tree differs from that of the starts.
pub fn visit(n: u64) -> Vec<Sent> {
    let at = n * SECOND;
    let list = vec![attribute("inner", text("täxt")), attribute("count", Any::IntValue(n as i64))];
    let array = list.iter().filter_map(|pair| pair.value.clone()).collect();
    let mut root = sent(n, 10 * n)
        .name(&format!("GET /cart/{}", n % 5))
        .at(at, 5_000_000 + n)
        .with("user", text(&format!("user-{}", n % 7)))
        .with("items", Any::IntValue(n as i64 - 50))
        .with("price", Any::DoubleValue(n as f64 / 8.0))
        .with("member", Any::BoolValue(n.is_multiple_of(2)))
        .with("raw", Any::BytesValue(n.to_be_bytes().to_vec()))
        .with("list", Any::ArrayValue(ArrayValue { values: array }))
        .with("map", Any::KvlistValue(KeyValueList { values: list }))
        .on_resource("host.name", text(&format!("host-{}", n % 3)));
    root.span.trace_state = "vendor=1".to_owned();
    root.resource.schema_url = "https://opentelemetry.io/schemas/1.30.0".to_owned();
    root.scope.scope =
        Some(InstrumentationScope { name: "web".into(), version: "2".into(), ..Default::default() });
    let call = sent(n, 10 * n + 1).name("POST").kind(3).parent(10 * n).at(at + 1_000, 3_000_000);
    let mut pay = sent(n, 10 * n + 2).service("payment").name("charge").parent(10 * n + 1);
    pay = pay.at(at + 2_000, 2_000_000 + n).status(if n.is_multiple_of(10) { 2 } else { 0 });
    pay.span.events = vec![Event {
        time_unix_nano: pay.start() + 5,
        name: "retry".to_owned(),
        attributes: vec![attribute("attempt", Any::IntValue(2))],
        dropped_attributes_count: 1,
    }];
    let other = Link { trace_id: vec![7; 16], span_id: vec![7; 8], ..Link::default() };
    pay.span.links = vec![Link { trace_state: "a=b".to_owned(), ..other }];
    // Starts between its siblings, while the call is running.
    let draw = sent(n, 10 * n + 3).name("draw").kind(1).parent(10 * n).at(at + 1_500, 1_000_000);
    vec![root, call, pay, draw]
}

/// A span that the rule expires.
fn chatter(n: u64) -> Vec<Sent> {
    vec![sent(n, 10 * n).service(CHATTY).at(n * SECOND, 1_000_000)]
}

/// A trace that the workload deletes.
fn secret(n: u64) -> Vec<Sent> {
    let mut spans = visit(n);
    spans[0].span.attributes[0] = attribute("user", text(GONE));
    spans
}

/// A trace with fields that no version of OTLP has.
fn odd() -> Vec<u8> {
    with_unknown_fields(&sent(ODD, 10 * ODD).name("odd").at(ODD * SECOND, 1), "of tomorrow")
}

fn ids(traces: impl Iterator<Item = u64>) -> Vec<String> {
    traces.map(|n| trace_id(n).to_string()).collect()
}

// === impl Driver ===

impl Driver {
    fn server(&self, more: &[&str]) -> Server {
        let data = self.folder.path().join("data");
        self.clock.of(Settings::on(&data)).with(&["--retention", FOR_EVER]).with(more).start()
    }

    fn send(&mut self, server: &Server, body: &[u8]) {
        let reply = post_traces(server.otlp_http(), body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let path = self.folder.path().join(format!("sent/{:04}.bin", self.sent));
        fs::write(path, body).unwrap();
        self.sent += 1;
    }

    /// Sends each trace in a request, and so in a block, of its own.
    fn send_all(&mut self, server: &Server, traces: impl Iterator<Item = u64>, of: fn(u64) -> Vec<Sent>) {
        for trace in traces {
            self.send(server, &request(&of(trace)).encode_to_vec());
        }
    }

    /// Takes a backup and returns its ID.
    fn back_up(&self, server: &Server) -> String {
        let url = format!("http://{}", server.http());
        let set = self.folder.path().join("backups");
        let output = command(&["backup"]).arg(set).args(["--server", &url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let id = said.strip_prefix("backup ").and_then(|said| said.split_once(':'));
        id.unwrap_or_else(|| panic!("no backup in {said}")).0.to_owned()
    }

    /// The first part, with a clock that is hours behind, so that the rule expires spans later.
    fn hours_ago(&mut self) {
        self.clock.behind(Duration::from_nanos(5 * HOUR));
        let server = self.server(&[]);
        self.send_all(&server, LET_GO, chatter);
        self.send_all(&server, EARLY, visit);
        sealed(&server);
        server.stop();
        self.clock.ahead(Duration::ZERO);
    }

    /// The second part; the server is killed at its end.
    fn today(&mut self) -> Value {
        let rule = format!("1h: {{ resource.service.name = \"{CHATTY}\" }}");
        let mut server = self.server(&["--retention-rules", &rule]);
        let kept = visit(0).len() as u64 * (EARLY.end - EARLY.start);
        eventually("the rule lets go", || (server.api().status("spanCount") == kept).then_some(()));
        self.send_all(&server, DELETED, secret);
        self.send(&server, &odd());
        self.send_all(&server, LATER, visit);
        // A resend of spans, in another request.
        self.send(&server, &request(&visit(LATER.start)[..2]).encode_to_vec());
        sealed(&server);
        let first = self.back_up(&server);
        let pin = |n: u64| format!("/api/v1/pins/{}", trace_id(n));
        for n in [EARLY.start, LATER.start] {
            assert_eq!(ask(server.http(), "PUT", &pin(n), &[], Body::None).status, 200);
        }
        let question = json!({ "q": format!("{{ .user = \"{GONE}\" }}"), "wait": true }).to_string();
        let reply = ask(server.http(), "POST", "/api/v1/delete", JSON, Body::Sized(question.as_bytes()));
        assert_eq!(reply.status, 200, "{}", reply.text());
        self.send_all(&server, LAST, visit);
        let second = self.back_up(&server);
        let mut api = server.api();
        let early = || EARLY.chain(LATER).chain([ODD]);
        let facts = json!({
            "kept": ids(early().chain(LAST)),
            "letGo": ids(LET_GO),
            "deleted": ids(DELETED),
            "backups": [
                { "id": first, "traces": ids(early().chain(DELETED)) },
                { "id": second, "traces": ids(early().chain(LAST)) },
            ],
            "pins": api.json("pins")["pins"],
            "deletions": api.json("deletions")["deletions"],
        });
        assert!(api.status("unsealedSpanCount") > 0, "nothing is fresh: too slow for this program?");
        server.kill();
        facts
    }
}

fn sealed(server: &Server) {
    eventually("everything is merged", || (server.api().status("unsealedSpanCount") == 0).then_some(()));
}

// === impl Written ===

impl Written {
    /// Runs the workload on the binary under test.
    pub fn by_the_binary() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), MovedClock::new());
        fs::create_dir(folder.path().join("sent")).unwrap();
        let mut driver = Driver { folder, clock, sent: 0 };
        driver.hours_ago();
        let mut facts = driver.today();
        let folder = driver.folder;
        let format = format_of(&folder.path().join("data"));
        facts["format"] = format.into();
        let facts = serde_json::to_vec_pretty(&facts).unwrap();
        fs::write(folder.path().join("facts.json"), facts).unwrap();
        Self { folder, format }
    }

    /// The format of its blocks.
    pub fn format(&self) -> u16 {
        self.format
    }

    /// Packs the folder without files that describe the machine: RocksDB's text logs and the reserve.
    pub fn pack(&self, archive: &Path) {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sparse", "--sort=name", "--mtime=@0"]);
        tar.args(["--owner=0", "--group=0", "--numeric-owner", "--use-compress-program=gzip -9n"]);
        tar.args(["--exclude=data/RESERVE", "--exclude=data/store/LOG*", "--file"]).arg(archive);
        tar.arg("--directory").arg(self.folder.path()).args(["facts.json", "sent", "backups", "data"]);
        assert!(tar.status().is_ok_and(|status| status.success()), "tar");
    }
}

/// The one format of all blocks of a directory, fresh and merged. Works on a copy, because opening a store writes to
/// it.
fn format_of(data: &Path) -> u16 {
    let copy = tempfile::tempdir().unwrap();
    crate::harness::copy(data, copy.path());
    let found = of_directory(copy.path());
    assert!(found.iter().any(|(level, _)| *level == 0) && found.iter().any(|(level, _)| *level > 0));
    let format = found[0].1;
    assert!(found.iter().all(|(_, other)| *other == format), "{found:?}");
    format
}
