//! OTLP protobuf requests: accepted and refused as the generated types do, and JSON written from the accepted spans
//! decodes to the same.
#![no_main]

#[path = "../../../src/decoder.rs"]
mod decoder;
#[path = "../../../src/json_oracle.rs"]
#[allow(dead_code, reason = "text is the matter of another target")]
mod json_oracle;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    decoder::check(body);
    if let Ok(request) = ExportTraceServiceRequest::decode(body) {
        json_oracle::check_round_trip(request);
    }
});
