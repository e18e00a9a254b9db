//! OTLP JSON requests: the decoded request is valid protobuf, and no larger than the text.
#![no_main]

#[path = "../../../src/json_oracle.rs"]
#[allow(dead_code, reason = "requests are the matter of another target")]
mod json_oracle;

libfuzzer_sys::fuzz_target!(|text: &[u8]| json_oracle::check_text(text));
