//! Traces of Datadog's tracers in versions 0.4 and 0.5: what is gathered is OTLP. The first byte tells the version.
#![no_main]

#[path = "../../../src/gather_oracle.rs"]
mod gather_oracle;

use spandrel_proto::datadog;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((version, body)) = input.split_first() else { return };
    let _ = gather_oracle::check(|out| match version {
        b'4' => datadog::decode_v04(body, out),
        _ => datadog::decode_v05(body, out),
    });
});
