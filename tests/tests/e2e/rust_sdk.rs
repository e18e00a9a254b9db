//! The real Rust SDK over gRPC, HTTP with protobuf and HTTP with JSON, compared as in `sdk.rs`.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value as Any};
use opentelemetry_otlp::{
    Compression, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SdkTracer, SdkTracerProvider, SpanData, SpanExporter as _,
};
use serde_json::{Value, json};
use spandrel_tests::normalize::{self, assert_same};
use spandrel_tests::server::Settings;

const RESOURCE_SCHEMA: &str = "https://opentelemetry.io/schemas/1.36.0";
const SCOPE_SCHEMA: &str = "https://opentelemetry.io/schemas/1.30.0";
const MOST_EVENTS: u32 = 4;
const FAN: i64 = 200;

fn resource(instance: &str) -> Resource {
    let attributes = [
        KeyValue::new("service.name", "sdk-rust"),
        KeyValue::new("service.namespace", "shop"),
        KeyValue::new("service.instance.id", instance.to_owned()),
        KeyValue::new("replicas", 3),
    ];
    Resource::builder().with_schema_url(attributes, RESOURCE_SCHEMA).build()
}

fn every_type() -> Vec<KeyValue> {
    let array = |array: Array| Any::Array(array);
    vec![
        KeyValue::new("text", "plain"),
        KeyValue::new("text.empty", ""),
        KeyValue::new("text.unicode", "Grüße, 漢字, עברית, 🚀, \t\"\\\u{2028}\0"),
        KeyValue::new("bool.true", true),
        KeyValue::new("bool.false", false),
        KeyValue::new("int", 42),
        KeyValue::new("int.least", i64::MIN),
        KeyValue::new("int.most", i64::MAX),
        KeyValue::new("double", 0.1),
        KeyValue::new("double.whole", 3.0),
        KeyValue::new("double.least", f64::MIN),
        KeyValue::new("texts", array(Array::String(vec!["a".into(), "".into(), "ß".into()]))),
        KeyValue::new("bools", array(Array::Bool(vec![true, false]))),
        KeyValue::new("ints", array(Array::I64(vec![i64::MIN, 0, 7]))),
        KeyValue::new("doubles", array(Array::F64(vec![0.5, -0.25]))),
        KeyValue::new("empty", array(Array::I64(Vec::new()))),
    ]
}

fn tell_story(tracer: &SdkTracer, orders: &SdkTracer) {
    let state = TraceState::from_key_value([("vendor", "a:1;b"), ("other", "x")]).unwrap();
    let trace = fastrand::u128(1..).into();
    let caller = SpanContext::new(trace, 0x1020_3040_5060_7080.into(), TraceFlags::SAMPLED, true, state);
    let outside = Context::new().with_remote_span_context(caller);
    let server =
        tracer.span_builder("GET /checkout/{id}").with_kind(SpanKind::Server).with_attributes(every_type());
    let server = outside.with_span(tracer.build_with_context(server, &outside));
    server.span().set_attribute(KeyValue::new("http.response.status_code", 500));
    let then = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    server.span().add_event_with_timestamp(
        "received",
        then,
        vec![KeyValue::new("bytes", 512), KeyValue::new("fast", true)],
    );
    let inside = |builder: SpanBuilder, end: &dyn Fn(&Context)| {
        let context = server.with_span(tracer.build_with_context(builder, &server));
        end(&context);
        context.span().end();
    };
    inside(tracer.span_builder("validate ✓"), &|context| context.span().set_status(Status::Ok));
    inside(tracer.span_builder("charge").with_kind(SpanKind::Client), &|context| {
        context.span().record_error(&std::fmt::Error);
        context.span().set_status(Status::error("card refused: 花"));
    });
    inside(tracer.span_builder("too much of everything"), &|context| {
        for number in 0..MOST_EVENTS + 3 {
            context.span().add_event(format!("event {number}"), Vec::new());
        }
    });
    let producer = orders.span_builder("orders publish").with_kind(SpanKind::Producer);
    let producer = server.with_span(orders.build_with_context(producer, &server));
    let sent = producer.span().span_context().clone();
    producer.span().end();
    server.span().set_status(Status::error("payment failed – sorry"));
    server.span().end();

    let state = TraceState::from_key_value([("k", "v")]).unwrap();
    let stranger = SpanContext::new(1u128.into(), 2u64.into(), TraceFlags::NOT_SAMPLED, true, state);
    let links = vec![
        Link::new(sent, vec![KeyValue::new("messaging.batch.index", 0)], 0),
        Link::new(stranger, vec![KeyValue::new("why", "a stranger")], 0),
    ];
    let consumer = orders.span_builder("orders process").with_kind(SpanKind::Consumer).with_links(links);
    drop(orders.build_with_context(consumer, &Context::new()));

    let fan =
        Context::new().with_span(tracer.build_with_context(tracer.span_builder("fan out"), &Context::new()));
    for number in 0..FAN {
        let name = format!("branch {}", number % 7);
        let branch = tracer.span_builder(name).with_attributes([KeyValue::new("number", number)]);
        drop(tracer.build_with_context(branch, &fan));
    }
    fan.span().end();
}

// The sent spans in the JSON of sdk/README.md.

fn any(value: &Any) -> Value {
    let list =
        |values: Vec<Any>| json!({ "arrayValue": { "values": values.iter().map(any).collect::<Vec<_>>() } });
    match value {
        Any::Bool(flag) => json!({ "boolValue": flag }),
        Any::I64(int) => json!({ "intValue": int.to_string() }),
        Any::F64(double) => json!({ "doubleValue": double }),
        Any::String(text) => json!({ "stringValue": text.as_str() }),
        Any::Array(Array::Bool(all)) => list(all.iter().map(|one| Any::Bool(*one)).collect()),
        Any::Array(Array::I64(all)) => list(all.iter().map(|one| Any::I64(*one)).collect()),
        Any::Array(Array::F64(all)) => list(all.iter().map(|one| Any::F64(*one)).collect()),
        Any::Array(Array::String(all)) => list(all.iter().map(|one| Any::String(one.clone())).collect()),
        other => panic!("a new type of value: {other:?}"),
    }
}

fn attributes<'a>(all: impl IntoIterator<Item = &'a KeyValue>) -> Value {
    all.into_iter().map(|one| json!({ "key": one.key.as_str(), "value": any(&one.value) })).collect()
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string()
}

fn expected(span: &SpanData, resource: &Resource) -> Value {
    let parentless = span.parent_span_id == opentelemetry::trace::SpanId::INVALID;
    let events: Vec<Value> = span.events.iter().map(|event| json!({
        "timeUnixNano": nanos(event.timestamp), "name": event.name, "attributes": attributes(&event.attributes),
    })).collect();
    let links: Vec<Value> = span.links.iter().map(|link| json!({
        "traceId": link.span_context.trace_id().to_string(), "spanId": link.span_context.span_id().to_string(),
        "traceState": link.span_context.trace_state().header(), "attributes": attributes(&link.attributes),
    })).collect();
    let (code, message) = match &span.status {
        Status::Unset => ("UNSET", String::new()),
        Status::Ok => ("OK", String::new()),
        Status::Error { description } => ("ERROR", description.to_string()),
    };
    let scope = &span.instrumentation_scope;
    let resource_attributes: Vec<KeyValue> =
        resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    json!({
        "traceId": span.span_context.trace_id().to_string(),
        "spanId": span.span_context.span_id().to_string(),
        "parentSpanId": if parentless { String::new() } else { span.parent_span_id.to_string() },
        "traceState": span.span_context.trace_state().header(),
        "parentIsRemote": span.parent_span_is_remote,
        "name": span.name,
        "kind": format!("{:?}", span.span_kind).to_uppercase(),
        "startTimeUnixNano": nanos(span.start_time),
        "endTimeUnixNano": nanos(span.end_time),
        "attributes": attributes(&span.attributes),
        "droppedAttributesCount": span.dropped_attributes_count,
        "events": events,
        "droppedEventsCount": span.events.dropped_count,
        "links": links,
        "droppedLinksCount": span.links.dropped_count,
        "status": { "code": code, "message": message },
        "resource": attributes(&resource_attributes),
        "resourceSchemaUrl": resource.schema_url().unwrap_or_default(),
        "scope": { "name": scope.name(), "version": scope.version().unwrap_or_default(), "attributes": attributes(scope.attributes()) },
        "scopeSchemaUrl": scope.schema_url().unwrap_or_default(),
    })
}

/// Exports the spans as a batch processor would, and returns them.
async fn emit(mut exporter: SpanExporter, instance: &str) -> Value {
    let memory = InMemorySpanExporter::default();
    let resource = resource(instance);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_max_events_per_span(MOST_EVENTS)
        .with_simple_exporter(memory.clone())
        .build();
    let scope = InstrumentationScope::builder("shop.checkout")
        .with_version("1.2.3")
        .with_schema_url(SCOPE_SCHEMA)
        .with_attributes([KeyValue::new("library.tier", 1)])
        .build();
    tell_story(&provider.tracer_with_scope(scope), &provider.tracer("shop.orders"));
    let sent = memory.get_finished_spans().unwrap();
    exporter.set_resource(&resource);
    exporter.export(sent.clone()).await.unwrap();
    sent.iter().map(|span| expected(span, &resource)).collect()
}

fn http_exporter(address: SocketAddr, protocol: Protocol, compression: Option<Compression>) -> SpanExporter {
    let builder = SpanExporter::builder()
        .with_http()
        .with_protocol(protocol)
        .with_endpoint(format!("http://{address}/v1/traces"));
    match compression {
        Some(compression) => builder.with_compression(compression).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

fn grpc_exporter(address: SocketAddr, compression: Option<Compression>) -> SpanExporter {
    let builder = SpanExporter::builder().with_tonic().with_endpoint(format!("http://{address}"));
    match compression {
        Some(compression) => builder.with_compression(compression).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

#[test]
fn rust() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The exporters' clients use this runtime, as in an application.
    let entered = runtime.enter();
    let exporters = [
        ("gRPC", grpc_exporter(server.otlp_grpc(), None)),
        ("gRPC, gzip", grpc_exporter(server.otlp_grpc(), Some(Compression::Gzip))),
        ("gRPC, zstd", grpc_exporter(server.otlp_grpc(), Some(Compression::Zstd))),
        ("HTTP", http_exporter(server.otlp_http(), Protocol::HttpBinary, None)),
        ("HTTP, gzip", http_exporter(server.otlp_http(), Protocol::HttpBinary, Some(Compression::Gzip))),
        ("HTTP, zstd", http_exporter(server.otlp_http(), Protocol::HttpBinary, Some(Compression::Zstd))),
        ("HTTP, JSON", http_exporter(server.otlp_http(), Protocol::HttpJson, None)),
    ];
    drop(entered);
    let mut api = server.api();
    for (what, exporter) in exporters {
        let traces = normalize::of_sdk(&runtime.block_on(emit(exporter, what)));
        assert_eq!(traces.len(), 3, "{what}");
        for (id, expected) in &traces {
            let otlp = api.json(&format!("traces/{id}?format=otlp"));
            assert_same(what, &normalize::of_otlp_json(&otlp), expected);
            let tree = api.tree(id);
            assert_same(what, &normalize::of_tree(&tree), &normalize::without_dropped(expected));
            assert!(
                tree["segments"].as_array().unwrap().iter().all(|segment| segment["instance"] == what),
                "{what}"
            );
        }
    }
    server.stop();
}
