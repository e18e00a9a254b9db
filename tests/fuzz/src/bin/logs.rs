//! OTLP log requests, protobuf and JSON: no record is lost, made up or changed.
#![no_main]

#[path = "../../../src/logs_oracle.rs"]
mod logs_oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| match bytes.first() {
    Some(b'{') => logs_oracle::check_text(bytes),
    _ => logs_oracle::check(bytes),
});
