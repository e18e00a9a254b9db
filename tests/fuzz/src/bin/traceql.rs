//! TraceQL: any text is a query or an error with a position in the text. A query prints as text that is the same query,
//! and whatever stands in front of its end can be completed.
#![no_main]

use spandrel_traceql::{complete, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(query) => {
            let printed = query.to_string();
            // Printing adds spaces and may so pass the limit of length.
            if printed.len() <= spandrel_traceql::MAX_QUERY_BYTES {
                assert_eq!(parse(&printed).as_ref(), Ok(&query), "{printed}");
            }
        }
        Err(error) => {
            assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{error}");
            assert!(!error.message.is_empty() && !error.found.is_empty());
        }
    }
    let completion = complete(text, text.len());
    assert!(completion.replace.end <= text.len() && text.is_char_boundary(completion.replace.start));
});
