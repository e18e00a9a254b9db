//! The corpus: texts that are queries, and texts that are not with what is said about them.
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use spandrel_traceql::{ErrorKind, parse};

/// The lines of a corpus file without comments.
fn lines(file: &str) -> impl Iterator<Item = &str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn valid_queries_parse_and_print_as_themselves() {
    let mut count = 0;
    for text in lines(include_str!("corpus/valid.txt")) {
        let query = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let printed = query.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{text}, printed as {printed}: {error}"));
        assert_eq!(query, again, "{text}, printed as {printed}");
        assert_eq!(printed, again.to_string());
        count += 1;
    }
    assert!(count >= 300, "{count}");
}

/// `column kind: part of the message => text`
#[test]
fn invalid_texts_are_refused_with_a_place_and_a_reason() {
    let mut count = 0;
    for line in lines(include_str!("corpus/invalid.txt")) {
        let (wanted, text) = line.split_once(" => ").expect(line);
        let (place, part) = wanted.split_once(": ").expect(line);
        let Err(error) = parse(text) else { panic!("{text} is refused") };
        let kind = match error.kind {
            ErrorKind::Syntax => "syntax",
            ErrorKind::Type => "type",
            ErrorKind::Limit => "limit",
        };
        assert_eq!(format!("{} {kind}", error.column), place, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
        count += 1;
    }
    assert!(count >= 120, "{count}");
}

/// Every beginning of a valid query is refused or parses; nothing panics, and places are in the text.
#[test]
fn beginnings_of_queries_are_handled() {
    for text in lines(include_str!("corpus/valid.txt")) {
        for (end, _) in text.char_indices() {
            let beginning = &text[..end];
            if let Err(error) = parse(beginning) {
                assert!((1..=beginning.chars().count() + 1).contains(&error.column), "{beginning}: {error}");
                assert!(!error.found.is_empty() && !error.message.is_empty(), "{beginning}: {error}");
            }
        }
    }
}
