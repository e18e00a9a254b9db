//! Datadog's ways in: what each accepts, and what each answers to the rest.

use serde_json::Value;
use spandrel_collector::CollectorConfig;
use spandrel_storage::AppendError;

use crate::support::{Reply, Server, send};

const MSGPACK: (&str, &str) = ("content-type", "application/msgpack");

fn text(text: &str) -> Vec<u8> {
    [&[0xa0 | text.len() as u8][..], text.as_bytes()].concat()
}

fn number(value: u64) -> Vec<u8> {
    [&[0xcf][..], &value.to_be_bytes()].concat()
}

/// One trace of one span: trace 10, span `id`.
fn v04(id: u64) -> Vec<u8> {
    let texts = [("service", "shop"), ("name", "web.request"), ("resource", "GET /")];
    let numbers = [("trace_id", 10), ("span_id", id), ("start", 1_700_000_000_000_000_000), ("duration", 5)];
    let mut out = vec![0x91, 0x91, 0x87];
    texts.iter().for_each(|(key, value)| out.extend([text(key), text(value)].concat()));
    numbers.iter().for_each(|(key, value)| out.extend([text(key), number(*value)].concat()));
    out
}

fn v05() -> Vec<u8> {
    let texts: Vec<u8> = ["", "shop", "web.request", "GET /"].into_iter().flat_map(text).collect();
    let numbers: Vec<u8> = [10, 11, 0, 1_700_000_000_000_000_000, 5].into_iter().flat_map(number).collect();
    [&[0x92, 0x94][..], &texts, b"\x91\x91\x9c\x01\x02\x03", &numbers, b"\0\x80\x80\0"].concat()
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &*length)]].concat();
    send(server.datadog, method, path, &headers, body).await
}

#[tokio::test]
async fn every_version_is_stored_and_told_the_rates() {
    let server = Server::start(CollectorConfig::default()).await;
    let (old, new, indexed) = (v04(1), v04(11), v05());
    for (method, path, body) in
        [("PUT", "/v0.3/traces", &old), ("POST", "/v0.4/traces", &new), ("PUT", "/v0.5/traces", &indexed)]
    {
        let reply = ask(&server, method, path, &[MSGPACK], body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        match path {
            "/v0.3/traces" => assert_eq!(reply.text(), "OK\n"),
            _ => {
                let answer: Value = serde_json::from_slice(&reply.body).unwrap();
                assert_eq!(answer["rate_by_service"]["service:,env:"], 1, "{path}");
            }
        }
    }
    let requests = server.store.requests().into_iter().flat_map(|request| request.resource_spans);
    let spans: Vec<_> =
        requests.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect();
    assert!(spans.iter().all(|span| span.name == "GET /" && span.trace_id[15] == 10), "{spans:?}");
    assert_eq!(spans.iter().map(|span| span.span_id[7]).collect::<Vec<_>>(), [1, 11, 11]);
    for (version, spans) in [("v0.4", 2), ("v0.5", 1)] {
        let labels = format!("receiver=\"datadog\",transport=\"http\",format=\"msgpack-{version}\"");
        assert_eq!(server.metric(&format!("spandrel_ingest_spans_total{{{labels}}}")), spans);
    }
    // A tracer asks with a list of nothing whether there is an agent.
    assert_eq!(ask(&server, "PUT", "/v0.4/traces", &[MSGPACK], b"\x90").await.status, 200);
}

#[tokio::test]
async fn what_tracers_ask_and_send_beside_traces_is_answered() {
    let server = Server::start(CollectorConfig::default()).await;
    let info: Value = serde_json::from_slice(&ask(&server, "GET", "/info", &[], b"").await.body).unwrap();
    assert!(info["endpoints"].as_array().unwrap().contains(&"/v0.5/traces".into()), "{info}");
    assert_eq!((&info["client_drop_p0s"], &info["span_events"]), (&false.into(), &true.into()));
    for path in ["/v0.6/stats", "/telemetry/proxy/api/v2/apmtelemetry"] {
        assert_eq!(ask(&server, "POST", path, &[], b"12345").await.status, 202, "{path}");
    }
    assert_eq!(server.metric("spandrel_ingest_discarded_total{signal=\"metrics\"}"), 2);
    assert_eq!(server.metric("spandrel_ingest_discarded_bytes_total{signal=\"metrics\"}"), 10);
}

#[tokio::test]
async fn refusals_are_texts() {
    let server = Server::start(CollectorConfig::default()).await;
    let good = v04(1);
    let json = ("content-type", "application/json");
    for (method, path, headers, body, status, why) in [
        ("POST", "/v0.4/traces", MSGPACK, &good[..20], 400, "not a list of traces of Datadog"),
        ("POST", "/v0.4/traces", MSGPACK, &v04(0), 400, "its span ID is missing"),
        ("POST", "/v0.4/traces", json, &good, 415, "application/msgpack"),
        ("POST", "/v0.7/traces", MSGPACK, &good, 404, "/v0.4/traces"),
        ("GET", "/v0.4/traces", MSGPACK, b"", 405, "POST"),
    ] {
        let reply = ask(&server, method, path, &[headers], body).await;
        assert_eq!(reply.status, status, "{path} {headers:?}: {}", reply.text());
        assert!(reply.text().contains(why), "{path} {headers:?}: {}", reply.text());
    }
    server.store.fail(AppendError::Overloaded { unsealed_spans: 1 });
    let busy = ask(&server, "PUT", "/v0.4/traces", &[MSGPACK], &good).await;
    assert_eq!(busy.status, 429);
    assert!(busy.head.to_lowercase().contains("retry-after"), "{}", busy.head);
}
