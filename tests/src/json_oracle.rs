//! Compares OTLP/JSON with protobuf: a request that is written as JSON and read again is the same, byte for byte.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use spandrel_proto::otlp::{
    DecodeLimits, Decoded, SpanRecord, decode_json_request, decode_request, write_request_json,
};

/// Panics if the request changes on the way through JSON.
pub fn check_round_trip(mut request: ExportTraceServiceRequest) {
    keep_what_json_says(&mut request);
    let Ok(sent) = decode_request(request.encode_to_vec().into(), &DecodeLimits::default()) else {
        panic!("generated types write the wire format");
    };
    let mut json = Vec::new();
    let Ok(()) = write_request_json(&mut json, records(&sent)) else {
        panic!("what was kept can be written");
    };
    let read = match decode_json_request(&mut &*json, &DecodeLimits::default()) {
        Ok(read) => read,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&json)),
    };
    assert!(read.rejected.is_empty(), "{:?}: {}", read.rejected, String::from_utf8_lossy(&json));
    assert_eq!(sent.spans.len(), read.spans.len());
    assert!(read.body.len() <= json.len());
    for (sent, read) in records(&sent).zip(records(&read)) {
        let both = [sent, read].map(|record| [record.resource, record.scope, record.span]);
        assert_eq!(both[0], both[1], "{}", String::from_utf8_lossy(&json));
    }
    for (sent, read) in sent.spans.iter().zip(&read.spans) {
        assert_eq!((sent.trace_id, sent.span_id, sent.start), (read.trace_id, read.span_id, read.start));
    }
}

/// Panics if the spans of a JSON text are not valid protobuf, or decode differently.
pub fn check_text(text: &[u8]) {
    let Ok(read) = decode_json_request(&mut &*text, &DecodeLimits::default()) else { return };
    assert!(read.body.len() <= text.len());
    for (record, span) in records(&read).zip(&read.spans) {
        let scope = [record.scope.to_vec(), field(2, record.span)].concat();
        let resource = [record.resource.to_vec(), field(2, &scope)].concat();
        let body = Bytes::from(field(1, &resource));
        let Ok(again) = decode_request(body, &DecodeLimits::default()) else {
            panic!("what JSON gives is the wire format");
        };
        assert!(again.rejected.is_empty(), "{:?}", again.rejected);
        let found = &again.spans[0];
        assert_eq!((found.trace_id, found.span_id, found.start), (span.trace_id, span.span_id, span.start));
        assert_eq!(&again.body[found.at.clone()], record.span);
    }
}

fn records(decoded: &Decoded) -> impl Iterator<Item = SpanRecord<'_>> {
    decoded.spans.iter().map(|span| SpanRecord {
        resource: &decoded.resources[span.resource as usize],
        scope: &decoded.scopes[span.scope as usize],
        span: &decoded.body[span.at.clone()],
    })
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(number << 3 | 2, &mut out);
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// Removes string tables, which belong to profiles, and unifies NaN, of which JSON has only one.
fn keep_what_json_says(request: &mut ExportTraceServiceRequest) {
    for resource in &mut request.resource_spans {
        resource.resource.iter_mut().for_each(|resource| plain_attributes(&mut resource.attributes));
        for scope in &mut resource.scope_spans {
            scope.scope.iter_mut().for_each(|scope| plain_attributes(&mut scope.attributes));
            for span in &mut scope.spans {
                plain_attributes(&mut span.attributes);
                span.events.iter_mut().for_each(|event| plain_attributes(&mut event.attributes));
                span.links.iter_mut().for_each(|link| plain_attributes(&mut link.attributes));
            }
        }
    }
}

fn plain_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        attribute.key_strindex = 0;
        attribute.value.iter_mut().for_each(plain_value);
    }
}

fn plain_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::StringValueStrindex(_)) => value.value = None,
        Some(Value::DoubleValue(double)) if double.is_nan() => *double = f64::NAN,
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(plain_value),
        Some(Value::KvlistValue(list)) => plain_attributes(&mut list.values),
        _ => {}
    }
}
