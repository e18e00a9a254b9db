//! TraceQL: any text is a query or an error with a position in the text.
#![no_main]
// The parser is not public in its crate, so it is compiled into this target.
#![allow(dead_code)]

#[path = "../../../../query/src/duration.rs"]
mod duration;
#[path = "../../../../query/src/traceql/mod.rs"]
mod traceql;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = traceql::parse(text) {
        assert!(error.position >= 1 && error.position <= text.chars().count() + 1, "{error}");
        assert!(!error.message.is_empty());
    }
});
