//! SkyWalking's segments, alone and collected: what is gathered is OTLP. The first byte tells the form.
#![no_main]

#[path = "../../../src/gather_oracle.rs"]
mod gather_oracle;

use spandrel_proto::skywalking;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((form, body)) = input.split_first() else { return };
    let _ = gather_oracle::check(|out| match form {
        b's' => skywalking::decode_segment(body, out),
        _ => skywalking::decode_collection(body, out),
    });
});
