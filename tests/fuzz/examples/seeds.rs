//! Writes the seeds that are made from frozen fixtures and of generated types:
//! `cargo run --example seeds`, in `tests/fuzz`. Seeds for text are written by hand.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spandrel_block::{BlockId, BlockKey, BlockWriter, Header, Hour, RowRange, SectionKind, TraceKey};
use spandrel_fuzz::plain;
use spandrel_proto::{TenantId, TraceId, UnixNanos};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn request() -> ExportTraceServiceRequest {
    let text = |text: &str| Value::StringValue(text.to_owned());
    let item = AnyValue { value: Some(Value::IntValue(-1)) };
    let attributes = vec![
        attribute("k", text("v")),
        attribute("b", Value::BoolValue(true)),
        attribute("d", Value::DoubleValue(0.5)),
        attribute("x", Value::BytesValue(vec![0, 255])),
        attribute("a", Value::ArrayValue(ArrayValue { values: vec![item] })),
        attribute("m", Value::KvlistValue(KeyValueList { values: vec![attribute("n", text(""))] })),
    ];
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        trace_state: "a=b".to_owned(),
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_000_000_500,
        events: vec![Event {
            name: "exception".to_owned(),
            attributes: attributes.clone(),
            ..Event::default()
        }],
        links: vec![Link { trace_id: vec![1; 16], span_id: vec![4; 8], flags: 1, ..Link::default() }],
        status: Some(Status { message: "no".to_owned(), code: 2 }),
        flags: 0x101,
        attributes,
        ..Span::default()
    };
    let resource =
        Resource { attributes: vec![attribute("service.name", text("shop"))], ..Resource::default() };
    let scope = InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() };
    let other = Span { trace_id: vec![5; 16], ..span.clone() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: vec![span, other], schema_url: "s".to_owned() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
            schema_url: "r".to_owned(),
        }],
    }
}

/// A block of the spans of [`request`].
fn block() -> Vec<u8> {
    let mut request = request();
    let mut resource = request.resource_spans.remove(0);
    let mut scope = resource.scope_spans.remove(0);
    let spans = std::mem::take(&mut scope.spans);
    let mut writer = BlockWriter::new(3).expect("a compressor");
    let resource = writer.resource(&Bytes::from(resource.encode_to_vec())).expect("a resource");
    let scope = writer.scope(&Bytes::from(scope.encode_to_vec()));
    for span in spans {
        writer.push(resource, scope, &span.encode_to_vec(), 1).expect("a span");
    }
    writer.finish(1, UnixNanos(1_700_000_000_000_000_000)).expect("a block").bytes.to_vec()
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&directory).expect("a folder for seeds");
    fs::write(directory.join(name), bytes).expect("a seed");
}

fn main() {
    write("otlp", "request", &request().encode_to_vec());
    let (tenant, trace) = (TenantId::default(), TraceId::from_bytes([1; 16]));
    let key = BlockKey { tenant: tenant.clone(), hour: Hour(472_222), block: BlockId(7) };
    write("keys", "block", &key.encode());
    write("keys", "trace", &TraceKey { tenant, trace, hour: key.hour, block: key.block }.encode());
    write("keys", "rows", &RowRange { first: 1, rows: 2 }.encode());
    let block = block();
    write("store", "packed", &block);
    // As they are, without compression: the fuzzer reaches into every section.
    let plain = plain(&block).expect("a block");
    write("store", "plain", &plain);
    let header = Header::parse(&plain).expect("a block");
    use SectionKind::{Dictionary, Filter, Meta, Rollups, Start, Traces};
    for (which, kind) in [(0, Dictionary), (1, Traces), (2, Start), (4, Rollups), (5, Meta), (7, Filter)] {
        let range = header.section(kind).expect("a section").range();
        let bytes = &plain[range.start as usize..range.end as usize];
        match kind {
            Filter => write("keys", "filter", bytes),
            _ => write("sections", kind.name().replace(' ', "-").as_str(), &[&[which, 2], bytes].concat()),
        }
    }
    let range = header.chunks()[0].range();
    write("sections", "rows", &[&[3, 0], &plain[range.start as usize..range.end as usize]].concat());
}
