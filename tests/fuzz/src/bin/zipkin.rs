//! Zipkin's spans in JSON, protobuf and thrift: what is gathered is OTLP. The first byte tells the format.
#![no_main]

#[path = "../../../src/gather_oracle.rs"]
mod gather_oracle;

use spandrel_proto::zipkin;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((format, mut body)) = input.split_first() else { return };
    let _ = gather_oracle::check(|out| match format {
        b'2' => zipkin::decode_json(&mut body, out),
        b'1' => zipkin::decode_json_v1(&mut body, out),
        b'p' => zipkin::decode_protobuf(body, out),
        _ => zipkin::decode_thrift(body, out),
    });
});
