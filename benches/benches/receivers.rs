//! What a span costs in formats other than OTLP, from the bytes of a request to what the store takes. The store's own
//! share is in `hot_path`.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set itself up has nothing to measure")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use serde_json::{Value, json};
use spandrel_proto::gather::{Gatherer, Unreadable};
use spandrel_proto::otlp::{DecodeLimits, Decoded};
use spandrel_proto::{jaeger, zipkin};

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
