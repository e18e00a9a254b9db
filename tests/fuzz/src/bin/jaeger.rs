//! Jaeger's batches in protobuf, single spans of it and of its JSON, thrift, and datagrams of both protocols, and the JSON of its UI: what is gathered is OTLP. The
//! first byte tells the format.
#![no_main]

#[path = "../../../src/gather_oracle.rs"]
mod gather_oracle;

use spandrel_proto::jaeger;
use spandrel_proto::thrift::Protocol;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((format, body)) = input.split_first() else { return };
    let _ = gather_oracle::check(|out| match format {
        b'p' => jaeger::decode_post_spans(body, out),
        b's' => jaeger::decode_span(body, out),
        b'S' => jaeger::decode_span_json(body, out),
        b't' => jaeger::decode_batch(body, out),
        b'j' => jaeger::decode_trace_json(body, out),
        b'b' => jaeger::decode_agent_message(body, Protocol::Binary, out),
        _ => jaeger::decode_agent_message(body, Protocol::Compact, out),
    });
});
