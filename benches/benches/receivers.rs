//! What a span costs in formats other than OTLP, from the bytes of a request to what the store takes. The store's own
//! share is in `hot_path`.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set itself up has nothing to measure")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use serde_json::{Value, json};
use spandrel_proto::gather::{Gatherer, Unreadable};
use spandrel_proto::otlp::wire::{put_bytes, put_uint};
use spandrel_proto::otlp::{DecodeLimits, Decoded};
use spandrel_proto::{datadog, jaeger, skywalking, zipkin};

/// Spans of a request, as Envoy sends them: few of them, with many tags.
const SPANS: usize = 5;
const TAGS: usize = 20;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    let mut group = criterion.benchmark_group("receivers");
    group.throughput(Throughput::Elements(SPANS as u64));
    let text = zipkin_json().into_bytes();
    group.bench_function("zipkin_json", |bencher| {
        bencher.iter(|| gathered(|out| zipkin::decode_json(&mut black_box(&*text), out)));
    });
    let batch = jaeger_thrift();
    group.bench_function("jaeger_thrift", |bencher| {
        bencher.iter(|| gathered(|out| jaeger::decode_batch(black_box(&batch), out)));
    });
    let traces = datadog_v04();
    group.bench_function("datadog_v04", |bencher| {
        bencher.iter(|| gathered(|out| datadog::decode_v04(black_box(&traces), out)));
    });
    let segment = skywalking_segment();
    group.bench_function("skywalking", |bencher| {
        bencher.iter(|| gathered(|out| skywalking::decode_segment(black_box(&segment), out)));
    });
    group.finish();
    criterion.final_summary();
}

fn gathered(decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>) -> Decoded {
    let mut hold = |_| Ok(());
    let mut out = Gatherer::new(&DecodeLimits::default(), &mut hold);
    decode(&mut out).expect("a sound request");
    let decoded = out.finish().expect("memory");
    assert_eq!(decoded.spans.len(), SPANS);
    decoded
}

fn tag(number: usize) -> (String, String) {
    (format!("istio.some_tag_{number}"), format!("a value of tag {number} of usual length"))
}

fn zipkin_json() -> String {
    let tags: Value =
        (0..TAGS).map(tag).map(|(key, value)| (key, json!(value))).collect::<serde_json::Map<_, _>>().into();
    let span = |number: usize| {
        json!({
            "traceId": "5af7183fb1d4cf5f5af7183fb1d4cf60", "parentId": "6b221d5bc9e6496c", "id": format!("{:016x}", number + 1),
            "kind": "SERVER", "name": "payment.shop.svc.cluster.local:8080/*", "timestamp": 1_700_000_000_000_000_u64,
            "duration": 1431, "localEndpoint": { "serviceName": "payment.shop", "ipv4": "192.0.2.2", "port": 0 },
            "annotations": [{ "timestamp": 1_700_000_000_001_000_u64, "value": "ss" }], "tags": tags, "shared": true,
        })
    };
    Value::from_iter((0..SPANS).map(span)).to_string()
}

fn jaeger_thrift() -> Vec<u8> {
    let text =
        |id: u8, text: &str| [&[11, 0, id][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    let number = |id: u8, value: i64| [&[10, 0, id][..], &value.to_be_bytes()].concat();
    let mut tags = Vec::new();
    for (key, value) in (0..TAGS).map(tag) {
        tags.extend([&text(1, &key)[..], &[8, 0, 2, 0, 0, 0, 0], &text(3, &value), &[0]].concat());
    }
    let mut batch =
        [&[12, 0, 1][..], &text(1, "shop"), &[0, 15, 0, 2, 12], &(SPANS as u32).to_be_bytes()].concat();
    for span in 1..=SPANS as i64 {
        for (id, value) in [(1, 7), (2, 9), (3, span), (4, span - 1)] {
            batch.extend(number(id, value));
        }
        batch.extend(
            [text(5, "GET /orders/{id}"), number(8, 1_700_000_000_000_000), number(9, 1431)].concat(),
        );
        batch.extend([&[15, 0, 10, 12][..], &(TAGS as u32).to_be_bytes(), &tags, &[0]].concat());
    }
    batch.push(0);
    batch
}

fn datadog_v04() -> Vec<u8> {
    let text = |text: &str| [&[0xd9, text.len() as u8][..], text.as_bytes()].concat();
    let number = |value: u64| [&[0xcf][..], &value.to_be_bytes()].concat();
    let member = |key: &str, value: Vec<u8>| [text(key), value].concat();
    let mut meta = vec![0xde, 0, TAGS as u8];
    meta.extend((0..TAGS).map(tag).flat_map(|(key, value)| member(&key, text(&value))));
    let mut out = vec![0x91, 0x90 | SPANS as u8];
    for span in 1..=SPANS as u64 {
        out.push(0x8b);
        for (key, value) in
            [("service", "shop"), ("name", "web.request"), ("resource", "GET /orders/{id}"), ("type", "web")]
        {
            out.extend(member(key, text(value)));
        }
        for (key, value) in [("trace_id", 7), ("span_id", span), ("parent_id", span - 1), ("error", 0)] {
            out.extend(member(key, number(value)));
        }
        out.extend(member("start", number(1_700_000_000_000_000_000)));
        out.extend(member("duration", number(1_431_000)));
        out.extend(member("meta", meta.clone()));
    }
    out
}

fn skywalking_segment() -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, b"dfd9d6bced7c11f18d3202fc00000001");
    put_bytes(&mut out, 2, b"dfd9d4a0ed7c11f18d3202fc00000001");
    for id in 0..SPANS as u64 {
        let mut span = Vec::new();
        put_uint(&mut span, 1, id);
        put_uint(&mut span, 2, id.wrapping_sub(1));
        put_uint(&mut span, 3, 1_700_000_000_000);
        put_uint(&mut span, 4, 1_700_000_000_001);
        put_bytes(&mut span, 6, b"GET:/orders/{id}");
        put_bytes(&mut span, 7, b"payment:8080");
        put_uint(&mut span, 8, 1);
        put_uint(&mut span, 9, 3);
        for (key, value) in (0..TAGS).map(tag) {
            let mut pair = Vec::new();
            put_bytes(&mut pair, 1, key.as_bytes());
            put_bytes(&mut pair, 2, value.as_bytes());
            put_bytes(&mut span, 12, &pair);
        }
        put_bytes(&mut out, 3, &span);
    }
    put_bytes(&mut out, 4, b"shop");
    put_bytes(&mut out, 5, b"shop-1");
    out
}
