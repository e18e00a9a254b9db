//! A full disk: requests are refused clearly, nothing acknowledged is lost, queries are answered, and ingest resumes by
//! itself when there is room again.
//!
//! Needs the right to mount a small tmpfs; without it the tests are skipped, and say so.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use spandrel_tests::api::Api;
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{Reply, get, post_traces};
use spandrel_tests::otlp::{attribute, hex, request, span, spans_by_id, text, trace_id};
use spandrel_tests::server::{Server, Settings, eventually, skipped};
use tonic::Code;

const DISK_BYTES: u64 = 96 << 20;
/// A file of another program, which a test can delete to make room.
const BALLAST_BYTES: usize = 32 << 20;
/// Incompressible text in each request.
const FILLING_BYTES: usize = 200 << 10;
/// Enough requests to fill the disk several times.
const MOST_REQUESTS: u64 = 4 * DISK_BYTES / FILLING_BYTES as u64;

/// A small file system, which is unmounted when the test ends.
struct SmallDisk {
    folder: tempfile::TempDir,
}

/// The acknowledged spans.
#[derive(Default)]
struct Acknowledged(Vec<(String, Span)>);

impl SmallDisk {
    fn mount(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "spandrel-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            skipped(test, "mounting a tmpfs is not permitted here; run it as root");
            return None;
        }
        Some(Self { folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn ballast(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file until it is long enough or the disk is full.
    fn fill(&self, name: &str, most: usize) {
        let mut file = File::create(self.ballast(name)).unwrap();
        let zeros = vec![0; 64 << 10];
        for _ in 0..most / zeros.len() {
            if file.write_all(&zeros).is_err() {
                // Smaller writes fill the last few kilobytes.
                while file.write_all(&zeros[..512]).is_ok() {}
                break;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because after a failure the server may still be running.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

impl Acknowledged {
    /// Sends one large request, and remembers it if it is acknowledged.
    fn send(&mut self, server: &Server) -> Reply {
        let (span, body) = filling();
        let reply = post_traces(server.otlp_http(), &body);
        if reply.status == 200 {
            self.0.push((hex(&span.trace_id), span));
        }
        reply
    }

    /// Sends until the server says that the disk is full.
    fn send_until_full(&mut self, server: &Server) -> Reply {
        for _ in 0..MOST_REQUESTS {
            let reply = self.send(server);
            match reply.status {
                200 => {}
                // The request was refused because merges are behind, not because the disk is full.
                429 | 503 => assert!(reply.header("retry-after").is_some(), "{}", reply.text()),
                _ => return reply,
            }
        }
        panic!("the disk never got full");
    }

    /// Waits until the server accepts spans again.
    fn send_until_taken(&mut self, server: &Server) {
        eventually("ingest to resume", || {
            let reply = self.send(server);
            assert!([200, 429, 503, 507].contains(&reply.status), "{}: {}", reply.status, reply.text());
            (reply.status == 200).then_some(())
        });
        eventually("readiness to come back", || server.api().is_ready().then_some(()));
    }

    fn check(&self, api: &mut Api) {
        for (trace, span) in &self.0 {
            let stored =
                api.otlp(trace).unwrap_or_else(|| panic!("trace {trace} was acknowledged and is lost"));
            assert_eq!(spans_by_id(&stored), std::slice::from_ref(span));
        }
        let found = api.search("{ .test = \"full disk\" }");
        for (trace, _) in &self.0 {
            assert!(found.iter().any(|one| one["id"] == **trace), "search does not find {trace}");
        }
    }
}

fn filling() -> (Span, Vec<u8>) {
    let mut filling = vec![0; FILLING_BYTES];
    fastrand::fill(&mut filling);
    let mut one = span(&trace_id(), "filling");
    one.attributes = vec![text("test", "full disk"), attribute("filling", Value::BytesValue(filling))];
    let body = request("full-disk", vec![one.clone()]).encode_to_vec();
    (one, body)
}

fn start(data: &Path) -> Server {
    Settings::on(data).start()
}

/// Sends until every port refuses spans, and checks that the refusals say that the disk is full and how to make room.
fn fill_up(server: &Server, acknowledged: &mut Acknowledged) {
    eventually("every way in to be closed", || {
        let reply = acknowledged.send_until_full(server);
        assert_eq!(reply.status, 507, "{}", reply.text());
        assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
        let said = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(said.contains("disk is full") && said.contains("free some space"), "{said}");
        // Deleting a log makes a little room, so that the next request may fit again.
        let (span, body) = filling();
        let mut grpc = Grpc::connect(server.otlp_grpc()).unwrap();
        let Err(status) = grpc.export(&body) else {
            acknowledged.0.push((hex(&span.trace_id), span));
            return None;
        };
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("disk is full"), "{status:?}");
        assert!(!status.details().is_empty(), "UNAVAILABLE comes with RetryInfo");
        let ready = get(server.http(), "/readyz");
        (ready.status == 503 && ready.text().contains("disk is full")).then_some(())
    });
    assert_eq!(get(server.http(), "/healthz").status, 200, "full is not dead");
}

#[test]
fn ingest_is_refused_and_resumes() {
    let Some(disk) = SmallDisk::mount("a full disk") else { return };
    disk.fill("ballast", BALLAST_BYTES);
    let mut server = start(&disk.data());
    let mut acknowledged = Acknowledged::default();

    fill_up(&server, &mut acknowledged);
    assert!(!acknowledged.0.is_empty(), "nothing fitted");
    acknowledged.check(&mut server.api());

    // After a kill on the full disk the server opens, answers and refuses spans; if there is no room to open the store,
    // it says so.
    server.kill();
    let opened = Settings::on(&disk.data()).try_start();
    if let Ok(server) = &opened {
        acknowledged.check(&mut server.api());
        fill_up(server, &mut acknowledged);
    }
    fs::remove_file(disk.ballast("ballast")).unwrap();
    server = opened.unwrap_or_else(|refused| {
        assert!(refused.stderr.contains("the disk is full; free some space"), "{}", refused.stderr);
        start(&disk.data())
    });
    acknowledged.send_until_taken(&server);
    acknowledged.check(&mut server.api());
    server.stop();
    let server = start(&disk.data());
    acknowledged.check(&mut server.api());
    server.stop();
}

#[test]
fn others_that_take_the_last_byte_under_load_do_no_harm() {
    let Some(disk) = SmallDisk::mount("a disk that others fill") else { return };
    let mut server = start(&disk.data());
    let mut acknowledged = Acknowledged::default();
    for number in 0..3 {
        let name = format!("ballast {number}");
        let reply = std::thread::scope(|scope| {
            // Writes race with the fill, so that the reserve may vanish between a check and a write.
            let fill = scope.spawn(|| disk.fill(&name, DISK_BYTES as usize));
            let reply = acknowledged.send_until_full(&server);
            fill.join().unwrap();
            reply
        });
        assert_eq!(reply.status, 507, "{}", reply.text());
        fill_up(&server, &mut acknowledged);
        acknowledged.check(&mut server.api());
        fs::remove_file(disk.ballast(&name)).unwrap();
        acknowledged.send_until_taken(&server);
        acknowledged.check(&mut server.api());
    }
    server.kill();
    let server = start(&disk.data());
    acknowledged.check(&mut server.api());
    server.stop();
}
