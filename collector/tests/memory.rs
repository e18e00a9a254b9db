//! The memory of requests that are small on the wire and large when decoded, counted by the allocator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;
use spandrel_collector::{Collector, CollectorConfig, IngestLimits};
use tower::ServiceExt as _;

#[path = "ingest/support/store.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod store;

/// The deadline of every wait; only a failing test reaches it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// The system's allocator, which counts the allocated bytes and their peak.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn take(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

fn give(bytes: usize) {
    HELD.fetch_sub(bytes, Ordering::Relaxed);
}

#[allow(unsafe_code, reason = "an allocator cannot be written without; each call is passed on as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both allocations exist while one is copied to the other.
        take(size);
        let moved = unsafe { System.realloc(at, layout, size) };
        give(layout.size());
        moved
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        give(layout.size());
        unsafe { System.dealloc(at, layout) }
    }
}

/// The peak above the memory that is in use now, and the status of the response.
async fn peak_of(router: Router, path: &str, content_type: &str, body: Vec<u8>) -> (usize, u16) {
    let request = Request::post(path)
        .header("content-type", content_type)
        .header("content-encoding", "gzip")
        .header("grpc-encoding", "gzip")
        .body(Body::from(body))
        .unwrap();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let reply = router.oneshot(request).await.unwrap();
    (PEAK.load(Ordering::Relaxed) - before, reply.status().as_u16())
}

fn gzip(begin: impl AsRef<[u8]>, item: impl AsRef<[u8]>, count: usize, end: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(begin.as_ref()).unwrap();
    let many = item.as_ref().repeat(10_000);
    (0..count / 10_000).for_each(|_| encoder.write_all(&many).unwrap());
    encoder.write_all(end.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// One test after the other: the allocator counts for all of them.
#[tokio::test]
async fn hostile_bodies_stay_within_the_budget() {
    millions_of_empty_messages_take_no_memory().await;
    zipkin_stays_within_the_budget().await;
    jaeger_stays_within_the_budget().await;
    datadog_stays_within_the_budget().await;
    skywalking_stays_within_the_budget().await;
}

/// A span takes fewer bytes in Zipkin's formats than in OTLP. So the OTLP spans that a decoder writes may be larger than
/// the body that they come from, and have to stay within the budget, too.
async fn zipkin_stays_within_the_budget() {
    let store = std::sync::Arc::new(store::FakeStore::default());
    let limits = IngestLimits { max_inflight_bytes: 100 << 20, ..IngestLimits::default() };
    let collector = Collector::start(CollectorConfig { limits, ..CollectorConfig::default() }, store);
    let Ok(collector) = collector else { panic!("no collector") };
    let (v2, v1, json, thrift) =
        ("/api/v2/spans", "/api/v1/spans", "application/json", "application/x-thrift");
    let (span, tags) = (r#"[{"traceId":"1","id":"1","#, r#"[{"traceId":"1","id":"1","tags":{"#);
    let declared = b"\x0c\x01\0\0\0";
    for (name, path, kind, body, expected) in [
        ("empty spans", v2, json, gzip("[", "{},", 10_000_000, "{}]"), 400),
        ("small spans", v2, json, gzip("[", r#"{"traceId":"1","id":"1"},"#, 2_000_000, "{}]"), 429),
        ("small tags", v2, json, gzip(tags, r#""":"","#, 10_000_000, r#""":""}}]"#), 400),
        ("annotations", v2, json, gzip(format!("{span}\"annotations\":["), "{},", 10_000_000, "{}]}]"), 400),
        ("brackets", v2, json, gzip(format!("{span}\"x\":"), "[", 20_000_000, ""), 400),
        (
            "annotations of version 1",
            v1,
            json,
            gzip(format!("{span}\"annotations\":["), "{},", 10_000_000, "{}]}]"),
            400,
        ),
        ("empty spans in thrift", v1, thrift, gzip(declared, [0], 20_000_000, []), 400),
    ] {
        assert!(body.len() < 200_000, "{name}: {} bytes are not small", body.len());
        let (peak, status) = peak_of(collector.zipkin_router(), path, kind, body).await;
        assert_eq!(status, expected, "{name}");
        assert!(peak < 200 << 20, "{name}: {peak} bytes");
    }
}

/// Lists of thrift hold structs of one byte, and protobuf repeated texts of two.
async fn jaeger_stays_within_the_budget() {
    let store = std::sync::Arc::new(store::FakeStore::default());
    let limits = IngestLimits { max_inflight_bytes: 100 << 20, ..IngestLimits::default() };
    let collector = Collector::start(CollectorConfig { limits, ..CollectorConfig::default() }, store);
    let Ok(collector) = collector else { panic!("no collector") };
    let spans = |count: u32| [&b"\x0f\0\x02\x0c"[..], &count.to_be_bytes()].concat();
    let inside = |list: u8| [&spans(1)[..], &[15, 0, list, 12], &10_000_000_u32.to_be_bytes()].concat();
    let small = b"\x0a\0\x01\0\0\0\0\0\0\0\x01\x0a\0\x03\0\0\0\0\0\0\0\x01\0";
    for (name, body, expected) in [
        ("empty spans", gzip(spans(20_000_000), [0], 20_000_000, [0]), 400),
        ("small spans", gzip(spans(2_000_000), small, 2_000_000, [0]), 429),
        ("references", gzip(inside(6), [0], 10_000_000, [0, 0]), 400),
        ("tags", gzip(inside(10), [0], 10_000_000, [0, 0]), 400),
        ("logs", gzip(inside(11), [0], 10_000_000, [0, 0]), 400),
    ] {
        assert!(body.len() < 200_000, "{name}: {} bytes are not small", body.len());
        let thrift = "application/x-thrift";
        let (peak, status) = peak_of(collector.jaeger_http_router(), "/api/traces", thrift, body).await;
        assert_eq!(status, expected, "{name}");
        assert!(peak < 200 << 20, "{name}: {peak} bytes");
    }
    let post_spans = "/jaeger.api_v2.CollectorService/PostSpans";
    let (span, batch) = (field(1, 20_000_000), field(1, 20_000_000 + field(1, 20_000_000).len()));
    let packed = gzip([batch, span].concat(), b"\x62\0", 10_000_000, []);
    let framed = [&[1][..], &(packed.len() as u32).to_be_bytes(), &packed].concat();
    let (peak, status) =
        peak_of(collector.jaeger_grpc_router(), post_spans, "application/grpc", framed).await;
    assert_eq!(status, 200, "gRPC tells its status by a header of its own");
    assert!(peak < 200 << 20, "warnings: {peak} bytes");
}

/// Members of MessagePack take a byte each.
async fn datadog_stays_within_the_budget() {
    let store = std::sync::Arc::new(store::FakeStore::default());
    let limits = IngestLimits { max_inflight_bytes: 100 << 20, ..IngestLimits::default() };
    let collector = Collector::start(CollectorConfig { limits, ..CollectorConfig::default() }, store);
    let Ok(collector) = collector else { panic!("no collector") };
    let array = |count: u32| [&[0xdd][..], &count.to_be_bytes()].concat();
    let map = |count: u32| [&[0xdf][..], &count.to_be_bytes()].concat();
    let member = |name: &str, head: Vec<u8>| {
        [b"\x91\x91\x81", &[0xa0 | name.len() as u8][..], name.as_bytes(), &head].concat()
    };
    let (v4, v5) = ("/v0.4/traces", "/v0.5/traces");
    let small = b"\x82\xa8trace_id\x01\xa7span_id\x01";
    let texts = [&[0x92][..], &array(25_000_000)].concat();
    for (name, path, body, expected) in [
        ("empty chunks", v4, gzip(array(20_000_000), [0x90], 20_000_000, []), 200),
        ("empty spans", v4, gzip([vec![0x91], array(20_000_000)].concat(), [0x80], 20_000_000, []), 400),
        ("small spans", v4, gzip([vec![0x91], array(2_000_000)].concat(), small, 2_000_000, []), 429),
        ("tags", v4, gzip(member("meta", map(10_000_000)), [0xa0, 0xa0], 10_000_000, []), 400),
        ("links", v4, gzip(member("span_links", array(10_000_000)), [0x80], 10_000_000, []), 400),
        ("events", v4, gzip(member("span_events", array(10_000_000)), [0x80], 10_000_000, []), 400),
        ("texts", v5, gzip(texts, [0xa0], 25_000_000, [0x90]), 429),
    ] {
        assert!(body.len() < 400_000, "{name}: {} bytes are not small", body.len());
        let kind = "application/msgpack";
        let (peak, status) = peak_of(collector.datadog_router(), path, kind, body).await;
        assert_eq!(status, expected, "{name}");
        assert!(peak < 200 << 20, "{name}: {peak} bytes");
    }
}

/// Messages of protobuf take two bytes, and a span of a segment has the IDs of the segment's texts.
async fn skywalking_stays_within_the_budget() {
    let store = std::sync::Arc::new(store::FakeStore::default());
    let body_timeout = std::time::Duration::from_millis(1);
    let limits = IngestLimits { max_inflight_bytes: 100 << 20, body_timeout, ..IngestLimits::default() };
    let collector = Collector::start(CollectorConfig { limits, ..CollectorConfig::default() }, store);
    let Ok(collector) = collector else { panic!("no collector") };
    let collect = "/skywalking.v3.TraceSegmentReportService/collect";
    let ids = b"\x0a\x01t\x12\x01s";
    for (name, body) in [
        ("spans without an ID", gzip([], b"\x1a\0", 10_000_000, [])),
        ("spans", gzip(ids, b"\x1a\0", 10_000_000, [])),
        ("logs", gzip([&ids[..], &field(3, 20_000_000)].concat(), b"\x6a\0", 10_000_000, [])),
        ("references", gzip([&ids[..], &field(3, 20_000_000)].concat(), b"\x2a\0", 10_000_000, [])),
    ] {
        let framed = [&[1][..], &(body.len() as u32).to_be_bytes(), &body].concat();
        let (peak, status) =
            peak_of(collector.skywalking_router(), collect, "application/grpc", framed).await;
        assert_eq!(status, 200, "gRPC tells its status by a header of its own");
        assert!(peak < 200 << 20, "{name}: {peak} bytes");
    }
}

/// The head of a message of protobuf.
fn field(number: u8, mut length: usize) -> Vec<u8> {
    let mut head = vec![number << 3 | 2];
    while length >= 0x80 {
        head.push(length as u8 | 0x80);
        length >>= 7;
    }
    head.push(length as u8);
    head
}

async fn millions_of_empty_messages_take_no_memory() {
    let store = std::sync::Arc::new(store::FakeStore::default());
    let collector = Collector::start(CollectorConfig::default(), store);
    let Ok(collector) = collector else { panic!("no collector") };
    let spans = r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#;
    let span = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":["#;
    for (name, body) in [
        ("resources", gzip(r#"{"resourceSpans":["#, "{},", 20_000_000, "{}]}")),
        ("scopes", gzip(r#"{"resourceSpans":[{"scopeSpans":["#, "{},", 4_000_000, "{}]}]}")),
        ("spans", gzip(spans, "{},", 1_000_000, "{}]}]}]}")),
        ("attributes of a span", gzip(span, "{},", 4_000_000, "{}]}]}]}]}")),
        ("unknown values", gzip(r#"{"unknown":["#, "[],", 4_000_000, "[]]}")),
        ("brackets", gzip(r#"{"unknown":"#, "[", 20_000_000, "")),
    ] {
        assert!(body.len() < 100_000, "{name}: {} bytes are not small", body.len());
        let (peak, status) = peak_of(collector.http_router(), "/v1/traces", "application/json", body).await;
        assert_eq!(status, if name == "brackets" { 400 } else { 200 }, "{name}");
        assert!(peak < 40 << 20, "{name}: {peak} bytes");
    }
}
