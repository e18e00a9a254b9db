//! A host whose clock is a year or centuries ahead: its spans are kept with their times, and no answer grows with the
//! distance between two times.

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;
use spandrel_tests::http::post_traces;
use spandrel_tests::otlp::{hex, now, request, span, trace_id};
use spandrel_tests::server::{Server, Settings};

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 24 * 3_600 * SECOND;
/// The largest time that fits into a signed 64-bit number: in the year 2262.
const YEAR_2262: u64 = i64::MAX as u64;

fn send(server: &Server, service: &str, start: u64) -> String {
    let trace = trace_id();
    let span = Span {
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + SECOND,
        ..span(&trace, "GET /")
    };
    let reply = post_traces(server.otlp_http(), &request(service, vec![span]).encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
    hex(&trace)
}

fn requests(answer: &Value, service: &str) -> u64 {
    let series = answer["series"].as_array().unwrap().iter();
    let of_service = series.filter(|series| series["labels"]["service"] == service);
    let points = of_service.flat_map(|series| series["points"].as_array().unwrap());
    points.map(|point| point["requestCount"].as_u64().unwrap()).sum()
}

#[test]
fn a_fast_clock_takes_no_answer_from_others() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let healthy: Vec<String> = (0..3).map(|n| send(&server, "shop", now() - n * 60 * SECOND)).collect();
    let fast = [send(&server, "fast", now() + YEAR), send(&server, "faster", YEAR_2262)];

    let mut api = server.api();
    // The ranges that pages of the UI use, without and with an end.
    for range in ["start=now-1h", "start=now-1h&end=now", "start=now-15m&end=now"] {
        let reply = api.get(&format!("aggregates?{range}&groupBy=service"));
        assert_eq!(reply.status, 200, "{range}: {}", reply.text());
        assert!(reply.body.len() < 200_000, "{range}: an answer of {} bytes", reply.body.len());
        assert_eq!(requests(&reply.json(), "shop"), 3, "{range}");
    }
    let reply = api.get("aggregates?start=now-1h&end=2262-04-11T00:00:00Z&groupBy=service");
    assert!(reply.body.len() < 200_000, "an answer of {} bytes", reply.body.len());
    assert!([200, 400].contains(&reply.status), "{}", reply.text());

    for trace in healthy.iter().chain(&fast) {
        assert_eq!(api.tree(trace)["spanCount"], 1, "{trace}");
    }
    let found = api.search("{ resource.service.name = \"fast\" }");
    assert_eq!((found.len(), &found[0]["id"]), (1, &Value::from(fast[0].as_str())));
    let services = api.json("services");
    for service in ["shop", "fast", "faster"] {
        let listed = services["services"].as_array().unwrap().iter();
        assert!(listed.clone().any(|found| found["name"] == service), "{service} is not in {services}");
    }
    server.stop();
}
