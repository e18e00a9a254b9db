//! The memory that an append allocates, counted by the allocator: between the wire bytes of a request and the stored
//! block there is no allocation for each attribute, and no copy of a text for each span that shares it. Unlike times,
//! these counts are the same on every machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use spandrel_proto::TenantId;
use spandrel_proto::otlp::{DecodeLimits, decode_request};
use spandrel_storage::TraceStore as _;
use spandrel_tests::harness::{Backend, Harness, config};
use spandrel_tests::spans::{Sent, request, sent, text, trace_id};

/// The system's allocator, which counts the allocations of this thread.
struct Counting;

/// Allocations and their bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    allocations: u64,
    bytes: u64,
}

const SPANS: u64 = 10_000;
const SPANS_OF_A_TRACE: u64 = 10;

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { allocations: 0, bytes: 0 }) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(bytes: usize) {
    let Taken { allocations, bytes: before } = TAKEN.get();
    TAKEN.set(Taken { allocations: allocations + 1, bytes: before + bytes as u64 });
}

#[allow(unsafe_code, reason = "an allocator cannot be written without; each call is passed on as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size.saturating_sub(layout.size()));
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

/// Allocations for storing a request, from its bytes to the acknowledgement. The thread has stored another request
/// before, as a batcher has.
fn taken_for(spans: &[Sent]) -> (Taken, usize) {
    let harness = Harness::with(Backend::memory(), config());
    let body = Bytes::from(request(spans).encode_to_vec());
    let store = || {
        let before = TAKEN.get();
        let decoded = decode_request(body.clone(), &DecodeLimits::default()).unwrap();
        harness.store().append(&TenantId::default(), &[decoded]).unwrap();
        let after = TAKEN.get();
        Taken { allocations: after.allocations - before.allocations, bytes: after.bytes - before.bytes }
    };
    store();
    let taken = store();
    assert_eq!(harness.store().status().span_count, 2 * spans.len() as u64);
    (taken, body.len())
}

/// Spans with so many attributes each: texts that some spans share, texts of one span alone, and numbers.
fn spans(attributes: u64) -> Vec<Sent> {
    let value = |span: u64, n: u64| match n % 5 {
        0 => text(&format!("one of very few {}", span % 7)),
        1 => text(&format!("of this span alone {span} {n}")),
        2 => Value::IntValue((span * n) as i64),
        3 => Value::BoolValue(span.is_multiple_of(2)),
        _ => Value::DoubleValue(span as f64 / 3.0),
    };
    let span = |number: u64| {
        let span = sent(1 + number / SPANS_OF_A_TRACE, number + 1).at(number, 1_000 + number % 97);
        (0..attributes).fold(span, |span, n| span.with(&format!("attribute.{n}"), value(number, n)))
    };
    (0..SPANS).map(span).collect()
}

#[test]
fn nothing_is_allocated_for_each_attribute() {
    let [ten, forty] = [10, 40].map(|attributes| taken_for(&spans(attributes)).0.allocations);
    assert!(ten < SPANS / 5, "{ten} allocations for {SPANS} spans of ten attributes");
    // Columns grow by doubling, and each page has its own.
    let more = forty.saturating_sub(ten);
    assert!(more < SPANS / 5, "{more} allocations for {} attributes more", 30 * SPANS);
}

/// Counts all bytes allocated on the way, the block and its entries in memory included.
#[test]
fn memory_that_is_taken_follows_the_bytes_that_came() {
    let (taken, wire) = taken_for(&spans(10));
    assert!(taken.bytes < 3 * wire as u64, "{} bytes for {wire} on the wire", taken.bytes);
}

/// The trace shares one text, which is a quarter of a gigabyte in all its spans. Reading one span builds no other span,
/// although rows are not in the order of starts.
#[test]
fn one_span_of_a_large_trace_takes_no_more_than_its_page() {
    let harness = Harness::with(Backend::memory(), config());
    let long = "what all of them say ".repeat(3_000);
    // Grandchildren start after all children, so the order of starts is not that of the tree.
    let span = |n: u64| sent(1, n).at(n, 1).parent(n / 2).with("shared", text(&long));
    for some in (1..=4_000).collect::<Vec<u64>>().chunks(250) {
        harness.append(&some.iter().map(|n| span(*n)).collect::<Vec<_>>());
    }
    harness.store().seal_all();
    let before = TAKEN.get();
    let trace = harness.store().trace(&TenantId::default(), trace_id(1)).unwrap();
    let first = trace.unwrap().next().unwrap().unwrap();
    let taken = TAKEN.get().bytes - before.bytes;
    assert!(first.span.len() > long.len());
    assert!(taken < 8 << 20, "{taken} bytes for one span of {}", first.span.len());
}

/// The spans share one text, which is ten megabytes in all of them.
#[test]
fn a_text_that_spans_share_is_not_copied_for_each() {
    let long = "what all of them say ".repeat(50);
    let short = spans(1);
    let shared: Vec<Sent> = short.iter().map(|span| span.clone().with("shared", text(&long))).collect();
    let (without, _) = taken_for(&short);
    let (with, wire) = taken_for(&shared);
    let more = with.bytes.saturating_sub(without.bytes);
    assert!(wire as u64 > SPANS * long.len() as u64);
    assert!(more < SPANS * long.len() as u64 / 50, "{more} bytes more for a text of {}", long.len());
}
