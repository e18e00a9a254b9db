//! OTLP protobuf requests: judged as the generated types judge them, and JSON made of what is kept
//! reads back.
#![no_main]

#[path = "../../../src/decoder.rs"]
mod decoder;

use bytes::Bytes;
use spandrel_proto::otlp::{DecodeLimits, SpanRecord, decode_request, request_from_json, write_request_json};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    decoder::check(body);
    let Ok(decoded) = decode_request(Bytes::copy_from_slice(body), &DecodeLimits::default()) else { return };
    let records = decoded.spans.iter().map(|span| SpanRecord {
        resource: &decoded.resources[span.resource as usize],
        scope: &decoded.scopes[span.scope as usize],
        span: &decoded.body[span.at.clone()],
    });
    let mut json = Vec::new();
    write_request_json(&mut json, records).expect("what was kept can be written");
    if let Err(error) = request_from_json(&json) {
        // The JSON parser bounds how deep values nest.
        assert!(error.to_string().contains("recursion"), "{error}: {}", String::from_utf8_lossy(&json));
    }
});
