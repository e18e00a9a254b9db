//! Writes the seeds that are built from frozen fixtures and from generated types: `cargo run --example seeds`, in
//! `tests/fuzz`. Seeds for text are written by hand.

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
use spandrel_block::{BlockId, BlockKey, BlockWriter, Hour, RowRange, SectionKind, TraceKey};
use spandrel_fuzz::{plain, repair_block, section};
use spandrel_proto::{TenantId, TraceId, UnixNanos};

/// The block that the target of single sections uses.
const FROZEN: &[u8] = include_bytes!("../../../storage/block/fixtures/block-v5.bin");

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

/// The same spans as a block of format 1, which no program writes any more; its layout is described in
/// `storage/block/src/v1/mod.rs`.
fn old_block(block: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| [&[text.len() as u8], text].concat();
    let mut request = request();
    let mut resource = request.resource_spans.remove(0);
    let mut scope = resource.scope_spans.remove(0);
    let spans = std::mem::take(&mut scope.spans);
    let dictionary = [
        [&[1, 0], &text(&resource.encode_to_vec())[..]].concat(),
        [&[1], &text(&scope.encode_to_vec())[..]].concat(),
        [&[1], &text(b"shop")[..]].concat(),
        [&[1, 0], &text(b"GET /")[..]].concat(),
    ];
    let row = |span: &Span| {
        let mut row = vec![0, 0];
        prost::encode_length_delimiter(span.encoded_len(), &mut row).expect("room");
        row.extend(span.encode_to_vec());
        row
    };
    let sections: [(SectionKind, Vec<u8>); 5] = [
        (SectionKind::Meta, section(block, SectionKind::Meta).expect("zone map").to_vec()),
        (SectionKind::Dictionary, dictionary.concat()),
        (SectionKind::Traces, section(block, SectionKind::Traces).expect("traces").to_vec()),
        (SectionKind::Sequence, vec![1, 0, 0, 0, 0, 0, 0, 0, 0]),
        (SectionKind::Body, spans.iter().flat_map(row).collect()),
    ];
    let mut out = [b"SPANBLK1", &[1, 0, 0, 0, sections.len() as u8, 0, 0, 0][..], &[0; 8]].concat();
    let mut offset = out.len() as u64 + 32 * sections.len() as u64;
    for (kind, bytes) in &sections {
        let length = bytes.len() as u32;
        out.extend_from_slice(&(*kind as u16).to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&[length.to_le_bytes(), length.to_le_bytes()].concat());
        out.extend_from_slice(&[0; 8]);
        offset += u64::from(length);
    }
    sections.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
    repair_block(&mut out);
    spandrel_block::verify(Bytes::copy_from_slice(&out)).expect("a block of format 1");
    out
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&directory).expect("a folder for seeds");
    fs::write(directory.join(name), bytes).expect("a seed");
}

fn main() {
    let otlp = request().encode_to_vec();
    write("otlp", "request", &otlp);
    let rules = b"[{name: a, set: {event.e: 1, resource.r: x}}]\0";
    write("clean", "with-request", &[&rules[..], &otlp].concat());
    let (tenant, trace) = (TenantId::default(), TraceId::from_bytes([1; 16]));
    let key = BlockKey { tenant: tenant.clone(), hour: Hour(472_222), block: BlockId(7) };
    write("keys", "block", &key.encode());
    write("keys", "trace", &TraceKey { tenant, trace, hour: key.hour, block: key.block }.encode());
    write("keys", "rows", &RowRange { first: 1, rows: 2 }.encode());
    let block = block();
    // Uncompressed, so that the fuzzer reaches into every section.
    let plain = plain(&block).expect("a block");
    for target in ["store", "block"] {
        write(target, "packed", &block);
        write(target, "plain", &plain);
        write(target, "old", &old_block(&block));
    }
    use SectionKind::{Core, Dictionary, Edges, Ids, Meta, Rollups, Texts, Traces, Values, Zones};
    let sections = [
        (0, Dictionary),
        (1, Traces),
        (2, Core),
        (3, Ids),
        (4, Values),
        (5, Texts),
        (7, Rollups),
        (8, Meta),
        (10, Edges),
        (14, Zones),
    ];
    for (which, kind) in sections {
        // Pages have to fit the dictionary of the target.
        let of = if matches!(kind, Core | Ids | Values | Zones) { FROZEN } else { &plain[..] };
        let bytes = section(of, kind).expect("a section");
        write("sections", kind.name().replace(' ', "-").as_str(), &[&[which, 2], &bytes[..]].concat());
    }
    let filters = section(&plain, SectionKind::Filter).expect("a section");
    write("sections", "filters", &[&[6, 6], &filters[..]].concat());
    write("keys", "filter", &filters[4..36]);
    let request = request();
    let span = request.resource_spans[0].scope_spans[0].spans[0].encode_to_vec();
    write("sections", "span", &[&[12, 0], &span[..]].concat());
    write("sections", "written-span", &[&[13, 0], &span[..]].concat());
}
