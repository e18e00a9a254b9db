//! What encryption costs, measured by turns on two servers of one run: CPU time of ingest and the latency of a trace by
//! ID. Machines are noisy, so ratios are printed and nothing is asserted; the bars are in docs/adr/027-ring-for-tls.md.

use std::fs;
use std::time::{Duration, Instant};

use prost::Message as _;
use spandrel_tests::http::{Body, Connection, PROTOBUF};
use spandrel_tests::otlp::{self, hex, text};
use spandrel_tests::server::{Server, Settings, eventually};
use spandrel_tests::tls::Pki;
use tempfile::TempDir;

struct Measured {
    server: Server,
    ingest: Connection,
    queries: Connection,
    traces: Vec<String>,
    latencies: Vec<Duration>,
    _data: TempDir,
}

const SPANS_OF_REQUEST: usize = 1_000;
const REQUESTS: usize = 1_000;
const LOOKUPS: usize = 4_000;

impl Measured {
    fn start(pki: Option<&Pki>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut settings = Settings::on(data.path());
        if let Some(pki) = pki {
            settings = settings.with(&pki.flags().each_ref().map(String::as_str));
        }
        let server = settings.start();
        let connect = |address| match pki {
            None => Connection::open(address).unwrap(),
            Some(pki) => Connection::over(address, pki.connect(address, &["http/1.1"], None).unwrap()),
        };
        let (ingest, queries) = (connect(server.otlp_http()), connect(server.http()));
        Self { server, ingest, queries, traces: Vec::new(), latencies: Vec::new(), _data: data }
    }

    /// Sends a request of traces with ten spans each.
    fn send(&mut self) {
        let mut spans = Vec::new();
        for _ in 0..SPANS_OF_REQUEST / 10 {
            let id = otlp::trace_id();
            self.traces.push(hex(&id));
            spans.extend((0..10).map(|n| {
                let mut span = otlp::span(&id, "GET /products/{id}");
                span.attributes = vec![
                    text("http.request.method", "GET"),
                    text(
                        "url.full",
                        &format!("https://shop.example/products/{n}?session={}", hex(&otlp::span_id())),
                    ),
                    text(
                        "user_agent.original",
                        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                    ),
                    text("client.address", "10.42.7.13"),
                ];
                span
            }));
        }
        let body = otlp::request("shop", spans).encode_to_vec();
        let reply = self.ingest.request("POST", "/v1/traces", PROTOBUF, Body::Sized(&body)).unwrap();
        assert_eq!(reply.status, 200);
    }

    fn look_up(&mut self, turn: usize) {
        let path = format!("/api/v1/traces/{}", self.traces[turn * 7919 % self.traces.len()]);
        let began = Instant::now();
        let reply = self.queries.request("GET", &path, &[], Body::None).unwrap();
        self.latencies.push(began.elapsed());
        assert_eq!(reply.status, 200);
    }

    fn wait_until_merged(&mut self) {
        eventually("merged", || {
            let status = self.queries.request("GET", "/api/v1/status", &[], Body::None).unwrap().json();
            (status["unsealedSpanCount"] == 0).then_some(())
        });
    }

    /// CPU time of the server so far, in ticks of the kernel.
    fn cpu(&self) -> i64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.pid())).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        let fields: Vec<i64> = after_name.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // utime and stime, after ppid, pgrp, session, tty, tpgid, flags and four counts of faults.
        fields[10] + fields[11]
    }
}

fn quantile(latencies: &[Duration], share: f64) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    sorted[(sorted.len() as f64 * share) as usize].as_secs_f64() * 1e3
}

#[test]
#[ignore = "a measurement, worth something with an optimised binary in SPANDREL_BIN"]
fn encryption_by_turns() {
    let pki = Pki::new();
    let mut both = [Measured::start(None), Measured::start(Some(&pki))];
    for _ in 0..REQUESTS {
        both.iter_mut().for_each(Measured::send);
    }
    let answered = both.each_ref().map(Measured::cpu);
    both.iter_mut().for_each(Measured::wait_until_merged);
    let merged = both.each_ref().map(Measured::cpu);
    for turn in 0..LOOKUPS {
        both.iter_mut().for_each(|one| one.look_up(turn));
    }
    let ratio = |[plain, tls]: [i64; 2]| tls as f64 / plain as f64;
    println!("spans each: {}", REQUESTS * SPANS_OF_REQUEST);
    println!("CPU ticks until the last answer, plain and TLS: {answered:?}, ratio {:.3}", ratio(answered));
    println!("CPU ticks until all is merged, plain and TLS: {merged:?}, ratio {:.3}", ratio(merged));
    for share in [0.5, 0.95, 0.99] {
        let [plain, tls] = both.each_ref().map(|one| quantile(&one.latencies, share));
        println!(
            "trace by ID, quantile {share}: plain {plain:.3} ms, TLS {tls:.3} ms, {:.3} ms more",
            tls - plain
        );
    }
}
