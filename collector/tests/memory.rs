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

use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;
use spandrel_collector::{Collector, CollectorConfig};
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
async fn peak_of(collector: &Collector, body: Vec<u8>) -> (usize, u16) {
    let request = Request::post("/v1/traces")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(Body::from(body))
        .unwrap();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let reply = collector.http_router().oneshot(request).await.unwrap();
    (PEAK.load(Ordering::Relaxed) - before, reply.status().as_u16())
}

fn gzip(begin: &str, item: &str, count: usize, end: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(begin.as_bytes()).unwrap();
    let many = item.repeat(10_000);
    (0..count / 10_000).for_each(|_| encoder.write_all(many.as_bytes()).unwrap());
    encoder.write_all(end.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
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
        let (peak, status) = peak_of(&collector, body).await;
        assert_eq!(status, if name == "brackets" { 400 } else { 200 }, "{name}");
        assert!(peak < 40 << 20, "{name}: {peak} bytes");
    }
}
