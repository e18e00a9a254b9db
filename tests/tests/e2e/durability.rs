//! Acknowledged spans survive SIGKILL at random moments, again and again on one data directory, and a shutdown by
//! SIGTERM.
//!
//! SPANDREL_KILL_ROUNDS is the number of kills (5 by default; 200 is the target and takes some minutes),
//! SPANDREL_KILL_SEED repeats the moments of an earlier run, though the machine decides what runs between them. The
//! time until the server is ready again is printed, not asserted.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use spandrel_tests::api::Api;
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{Body, Connection, PROTOBUF, Reply, get};
use spandrel_tests::otlp::{hex, request, span, span_id, spans_by_id, text, trace_id};
use spandrel_tests::server::{Server, Settings, eventually, number};

const ROUNDS: usize = 5;
const SENDERS: usize = 6;
const MOST_SPANS: usize = 12;
/// Requests that are searched by their own key; the others are searched by the key of their round.
const SEARCHED: usize = 10;

/// A request with one trace.
struct Sent {
    key: String,
    trace: String,
    spans: Vec<Span>,
}

/// The requests of one sender when its server is gone.
#[derive(Default)]
struct Sender {
    acknowledged: Vec<Sent>,
    /// The request without a response.
    unanswered: Option<Sent>,
}

/// A connection for sending.
enum Way {
    Http(Connection),
    Grpc(Grpc),
}

impl Way {
    /// Even senders use HTTP, odd ones gRPC. `None` if the server does not accept the connection.
    fn open(server: &Server, number: usize) -> Option<Self> {
        if number.is_multiple_of(2) {
            Connection::open(server.otlp_http()).ok().map(Self::Http)
        } else {
            Grpc::connect(server.otlp_grpc()).ok().map(Self::Grpc)
        }
    }

    /// Whether the request was acknowledged. After an error that is unknown.
    fn send(&mut self, body: &[u8]) -> Result<bool, String> {
        match self {
            Self::Http(connection) => {
                let reply = connection.request("POST", "/v1/traces", PROTOBUF, Body::Sized(body));
                reply.map(|reply| reply.status == 200).map_err(|error| error.to_string())
            }
            Self::Grpc(grpc) => grpc.export(body).map(|_| true).map_err(|status| status.to_string()),
        }
    }
}

impl Sent {
    fn new(round: &str, key: String, random: &mut fastrand::Rng) -> Self {
        let trace = trace_id();
        let root = span_id();
        let mut spans = Vec::new();
        for place in 0..random.usize(1..=MOST_SPANS) {
            let mut one = span(&trace, &format!("step {place}"));
            one.attributes = vec![
                text("test.round", round),
                text("test.request", &key),
                text("filling", &"x".repeat(random.usize(0..400))),
            ];
            if place == 0 {
                one.span_id.clone_from(&root);
            } else {
                one.parent_span_id.clone_from(&root);
            }
            spans.push(one);
        }
        spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
        Self { key, trace: hex(&trace), spans }
    }

    fn body(&self) -> Vec<u8> {
        request("kill-test", self.spans.clone()).encode_to_vec()
    }
}

impl Sender {
    /// Sends requests, one after another, until the server is gone.
    fn run(way: &mut Way, round: &str, number: usize, seed: u64, acknowledged: &AtomicUsize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut known = Self::default();
        for place in 0.. {
            let sent = Sent::new(round, format!("{round}-{number}-{place}"), &mut random);
            match way.send(&sent.body()) {
                Ok(true) => {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    known.acknowledged.push(sent);
                }
                // The request was refused and is not stored; the server may be shutting down.
                Ok(false) => {}
                Err(_) => {
                    known.unanswered = Some(sent);
                    break;
                }
            }
        }
        known
    }
}

/// Sends from all senders while `meanwhile` runs, which has to end the server.
fn send_until_the_end(
    server: &mut Server,
    round: &str,
    seed: u64,
    meanwhile: impl FnOnce(&mut Server),
) -> Vec<Sender> {
    let acknowledged = AtomicUsize::new(0);
    let ways: Vec<Way> =
        (0..SENDERS).map(|number| Way::open(server, number).expect("a connection")).collect();
    thread::scope(|scope| {
        let acknowledged = &acknowledged;
        let senders: Vec<_> = ways
            .into_iter()
            .enumerate()
            .map(|(number, mut way)| {
                let seed = seed ^ (number as u64) << 32;
                scope.spawn(move || Sender::run(&mut way, round, number, seed, acknowledged))
            })
            .collect();
        eventually("the first acknowledgement", || (acknowledged.load(Ordering::Relaxed) > 0).then_some(()));
        meanwhile(server);
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    })
}

/// Every acknowledged span is found by ID, field for field.
fn check_by_id(api: &mut Api, acknowledged: &[Sent]) {
    for sent in acknowledged {
        let stored = api
            .otlp(&sent.trace)
            .unwrap_or_else(|| panic!("request {} was acknowledged and is lost", sent.key));
        assert_eq!(spans_by_id(&stored), sent.spans, "request {} came back different", sent.key);
    }
}

/// Every acknowledged span is found by search, and no span that was not sent.
fn check_by_search(api: &mut Api, round: &str, acknowledged: &[Sent], unanswered: &[Sent]) {
    let found = api.search(&format!("{{ span.test.round = \"{round}\" }}"));
    for sent in acknowledged {
        let trace = found.iter().find(|trace| trace["id"] == *sent.trace);
        let trace = trace
            .unwrap_or_else(|| panic!("request {} was acknowledged and search does not find it", sent.key));
        assert_eq!(trace["matchedSpanCount"], sent.spans.len(), "request {}", sent.key);
    }
    for trace in &found {
        let known = acknowledged.iter().chain(unanswered).any(|sent| trace["id"] == *sent.trace);
        assert!(known, "search finds what nobody sent: {trace}");
    }
    for sent in acknowledged.iter().rev().step_by((acknowledged.len() / SEARCHED).max(1)) {
        let query =
            format!("{{ .test.request = \"{}\" && resource.service.name = \"kill-test\" }}", sent.key);
        let found = api.search(&query);
        assert_eq!(found.len(), 1, "{query}");
        assert_eq!(
            (&found[0]["id"], &found[0]["matchedSpanCount"]),
            (&(*sent.trace).into(), &sent.spans.len().into())
        );
    }
}

/// Unanswered requests are stored as a whole or not at all.
fn check_unanswered(api: &mut Api, unanswered: &[Sent]) -> usize {
    let mut spans = 0;
    for sent in unanswered {
        let Some(stored) = api.otlp(&sent.trace) else { continue };
        let stored = spans_by_id(&stored);
        assert!(
            stored.iter().all(|one| sent.spans.contains(one)),
            "request {} came back different",
            sent.key
        );
        spans += stored.len();
    }
    spans
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn start(data: &Path) -> Server {
    Settings::on(data).start()
}

#[test]
fn sigkill_loses_nothing_acknowledged() {
    let rounds = number("SPANDREL_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let seed = number("SPANDREL_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    say(&format!("{rounds} rounds of SIGKILL, SPANDREL_KILL_SEED={seed}"));
    let mut random = fastrand::Rng::with_seed(seed);
    let data = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut unanswered) = (Vec::new(), Vec::new());
    let mut server = start(data.path());
    for round in 0..rounds {
        let name = format!("round{round}");
        let moment = Duration::from_micros(random.u64(0..600_000));
        let senders = send_until_the_end(&mut server, &name, random.u64(..), |server| {
            thread::sleep(moment);
            server.kill();
        });
        if random.bool() {
            // Another kill during recovery.
            Settings::on(data.path()).start_and_kill(Duration::from_micros(random.u64(0..150_000)));
        }
        let killed = Instant::now();
        server = start(data.path());
        let (took, mut api) = (killed.elapsed(), server.api());
        let (stored, fresh) = (api.status("spanCount"), api.status("unsealedSpanCount"));
        let (of_round, open): (Vec<_>, Vec<_>) =
            senders.into_iter().map(|sender| (sender.acknowledged, sender.unanswered)).unzip();
        let (of_round, open): (Vec<Sent>, Vec<Sent>) =
            (of_round.into_iter().flatten().collect(), open.into_iter().flatten().collect());
        check_by_id(&mut api, &of_round);
        check_by_search(&mut api, &name, &of_round, &open);
        say(&format!(
            "{name}: killed after {moment:?}, {} requests acknowledged, all found; ready after {took:?} with {stored} spans, {fresh} of them fresh",
            of_round.len()
        ));
        acknowledged.extend(of_round);
        unanswered.extend(open);
    }
    // The spans of the first round are still there after the last, in spite of merges.
    let mut api = server.api();
    check_by_id(&mut api, &acknowledged);
    let extra = check_unanswered(&mut api, &unanswered);
    let spans = acknowledged.iter().map(|sent| sent.spans.len()).sum::<usize>() + extra;
    assert_eq!(api.status("spanCount"), spans as u64);
    server.stop();
}

#[test]
fn sigterm_finishes_what_was_accepted() {
    let data = tempfile::tempdir().unwrap();
    let mut server = start(data.path());
    // Connections that are idle or have sent half a request do not delay the shutdown.
    let mut silent = Connection::open(server.http()).unwrap();
    let mut half = Connection::open(server.otlp_http()).unwrap();
    half.write(b"POST /v1/traces HTT").unwrap();
    let idle = Grpc::connect(server.otlp_grpc()).unwrap();
    let kept = get(server.http(), "/readyz");
    assert_eq!(kept.status, 200);

    let began = AtomicBool::new(false);
    let mut took = Duration::ZERO;
    let senders = send_until_the_end(&mut server, "drain", 1, |server| {
        thread::sleep(Duration::from_millis(300));
        began.store(true, Ordering::Relaxed);
        let asked = Instant::now();
        server.signal("TERM");
        let status = server.wait();
        took = asked.elapsed();
        assert_eq!(status.code(), Some(0), "{}", server.stderr());
    });
    assert!(took < Duration::from_secs(10), "SIGTERM took {took:?}, more than the grace");
    let _ = silent.write(b"too late");
    drop((half, idle));

    let acknowledged: Vec<Sent> = senders.into_iter().flat_map(|sender| sender.acknowledged).collect();
    let server = start(data.path());
    let mut api = server.api();
    check_by_id(&mut api, &acknowledged);
    check_by_search(&mut api, "drain", &acknowledged, &[]);
    server.stop();
}

#[test]
fn a_request_in_flight_is_answered_while_draining() {
    let data = tempfile::tempdir().unwrap();
    let mut server = start(data.path());
    let (http, otlp) = (server.http(), server.otlp_http());
    let sent = Sent::new("flight", "in-flight".to_owned(), &mut fastrand::Rng::with_seed(1));
    let body = sent.body();
    let (first, rest) = body.split_at(body.len() / 2);

    let mut connection = Connection::open(otlp).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {otlp}\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write(head.as_bytes()).unwrap();
    connection.write(first).unwrap();
    eventually("the request to be received", || in_flight(http).then_some(()));
    server.signal("TERM");
    eventually("the port to close", || Connection::open(otlp).is_err().then_some(()));
    let answer = connection.write(rest).and_then(|()| connection.read_reply());
    let reply: Reply = answer.expect("a request whose head was taken is answered");
    assert!([200, 503].contains(&reply.status), "{}: {}", reply.status, reply.text());
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());

    let server = start(data.path());
    let stored = server.api().otlp(&sent.trace);
    assert_eq!(stored.is_some(), reply.status == 200, "an answer that is not true");
    server.stop();
}

/// Whether the server is receiving a body.
fn in_flight(http: SocketAddr) -> bool {
    let metrics = get(http, "/metrics").text();
    let bytes = metrics.lines().find_map(|line| line.strip_prefix("spandrel_ingest_inflight_bytes "));
    bytes.unwrap_or_else(|| panic!("no spandrel_ingest_inflight_bytes in {metrics}")).parse::<f64>().unwrap()
        > 0.0
}
