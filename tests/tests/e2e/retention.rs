//! Retention rules, from the configuration file to the traces that users find, over days of a clock that the test
//! moves.

use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::api::EVER;
use spandrel_tests::clock::MovedClock;
use spandrel_tests::http::{Body, post_traces, request as ask};
use spandrel_tests::otlp::{hex, request, span, trace_id};
use spandrel_tests::server::{Server, Settings, eventually};

const RULES: &str = "
retention: 6h
rollup-retention: 20d
retention-rules:
  - match: '{ failed }'
    keep: 3d
  - match: '{ resource.service.name = \"chatty\" }'
    keep: 1h
";
const HOUR: Duration = Duration::from_secs(3600);

fn serve(clock: &MovedClock, folder: &Path) -> Server {
    let file = folder.join("spandrel.yaml");
    std::fs::write(&file, RULES).unwrap();
    let config = file.display().to_string();
    clock.of(Settings::on(&folder.join("data"))).with(&["--config", &config]).start()
}

/// Sends one trace with a span of each service; a name that begins with `!` marks a failed span.
fn send(server: &Server, services: &[&str]) -> String {
    let trace = trace_id();
    for service in services {
        let (name, has_failed) = match service.strip_prefix('!') {
            Some(name) => (name, true),
            None => (*service, false),
        };
        let status = has_failed.then(|| Status { code: 2, ..Status::default() });
        let one = Span { kind: 2, status, ..span(&trace, "GET /") };
        let reply = post_traces(server.otlp_http(), &request(name, vec![one]).encode_to_vec());
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    hex(&trace)
}

/// Waits until exactly these traces are found, by ID and by search.
fn left(server: &Server, traces: &[&String]) {
    let mut expected: Vec<&String> = traces.to_vec();
    expected.sort();
    eventually(&format!("{expected:?} are left"), || {
        let found = server.api().search("{ }");
        let mut found: Vec<&str> = found.iter().map(|trace| trace["id"].as_str().unwrap()).collect();
        found.sort_unstable();
        (found == expected).then_some(())
    });
    assert!(traces.iter().all(|trace| server.api().otlp(trace).is_some()));
}

/// The requests of a service that aggregates count.
fn requests(server: &Server, service: &str) -> u64 {
    let answer = server.api().json(&format!("aggregates?start={EVER}&service={service}"));
    assert_eq!(answer["partial"], false);
    let series = answer["series"].as_array().unwrap().iter();
    let points = series.flat_map(|series| series["points"].as_array().unwrap());
    points.map(|point| point["requestCount"].as_u64().unwrap()).sum()
}

#[test]
fn rules_of_the_file_decide_what_stays_and_for_how_long() {
    let (clock, folder) = (MovedClock::new(), tempfile::tempdir().unwrap());
    let server = serve(&clock, folder.path());
    let limits: Value = server.api().json("status")["limits"].take();
    assert_eq!(limits["retentionSeconds"], 6 * 3600);
    let failed = send(&server, &["!shop"]);
    let usual = send(&server, &["shop"]);
    let chatty = send(&server, &["chatty"]);
    let chatty_and_failed = send(&server, &["chatty", "!shop", "chatty"]);
    let chatty_and_usual = send(&server, &["chatty", "shop"]);
    let pinned = send(&server, &["chatty"]);
    let pin = ask(server.http(), "PUT", &format!("/api/v1/pins/{pinned}"), &[], Body::None);
    assert_eq!(pin.status, 200, "{}", pin.text());
    left(&server, &[&failed, &usual, &chatty, &chatty_and_failed, &chatty_and_usual, &pinned]);
    assert_eq!(requests(&server, "chatty"), 5);

    // Retention counts from the end of the hour of arrival.
    clock.ahead(2 * HOUR + HOUR / 60);
    left(&server, &[&failed, &usual, &chatty_and_failed, &chatty_and_usual, &pinned]);
    assert!(server.api().otlp(&chatty).is_none());
    assert_eq!(requests(&server, "chatty"), 5, "what a rule lets go is counted");

    // Whole traces expire, also their spans that match no rule.
    clock.ahead(7 * HOUR + HOUR / 60);
    left(&server, &[&failed, &chatty_and_failed, &pinned]);
    assert_eq!(server.api().status("spanCount"), 5);
    server.stop();

    // Retention goes on after a restart, and time also passes while no server runs.
    let server = serve(&clock, folder.path());
    left(&server, &[&failed, &chatty_and_failed, &pinned]);
    server.stop();
    clock.ahead(74 * HOUR);
    let server = serve(&clock, folder.path());
    left(&server, &[&pinned]);
    assert_eq!(requests(&server, "chatty"), 5);
    // Retention of new spans counts from their own arrival.
    let late = send(&server, &["shop"]);
    left(&server, &[&pinned, &late]);

    clock.ahead(21 * 24 * HOUR);
    left(&server, &[&pinned]);
    eventually("only what is stored is counted", || (requests(&server, "chatty") == 1).then_some(()));
    let unpin = ask(server.http(), "DELETE", &format!("/api/v1/pins/{pinned}"), &[], Body::None);
    assert_eq!(unpin.status, 204);
    left(&server, &[]);
    assert_eq!(server.api().json("pins")["pins"], json!([]));
    server.stop();
}
