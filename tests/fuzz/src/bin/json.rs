//! OTLP JSON requests: what is taken is a valid protobuf request.
#![no_main]

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spandrel_proto::otlp::{DecodeLimits, decode_request, request_from_json};

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let Ok(body) = request_from_json(text) else { return };
    if let Err(error) = ExportTraceServiceRequest::decode(body.as_slice()) {
        assert!(error.to_string().contains("recursion"), "{error}");
    }
    decode_request(Bytes::from(body), &DecodeLimits::default()).expect("what JSON gives is the wire format");
});
