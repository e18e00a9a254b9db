//! Why a text is not a query: the error for users, and the one that lexer and parser make, which knows bytes only.

use std::ops::Range;

/// Why a query is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {column} ({found}): {message}")]
pub struct ParseError {
    /// What kind of mistake it is.
    pub kind: ErrorKind,
    /// The place of the mistake in characters, counted from 1.
    pub column: usize,
    /// What stands there, as it was written.
    pub found: String,
    /// What is wrong, and what is expected instead.
    pub message: String,
}

/// The kinds of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Not TraceQL.
    Syntax,
    /// TraceQL that can never hold: values of types that do not fit.
    Type,
    /// Longer or deeper than the limits allow.
    Limit,
}

/// An error with the bytes of its place.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ErrorKind,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
}

/// Longer quotations of a query are cut.
const MAX_FOUND_CHARS: usize = 40;

// === impl Problem ===

impl Problem {
    pub(crate) fn syntax(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Syntax, range, message: message.into() }
    }

    pub(crate) fn types(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Type, range, message: message.into() }
    }

    pub(crate) fn limit(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Limit, range, message: message.into() }
    }

    /// The error for users of this text.
    pub(crate) fn in_text(self, text: &str) -> ParseError {
        let before = text.get(..self.range.start).unwrap_or(text);
        ParseError {
            kind: self.kind,
            column: before.chars().count() + 1,
            found: found(text, self.range),
            message: self.message,
        }
    }
}

/// What stands in a range; at least one character.
fn found(text: &str, range: Range<usize>) -> String {
    let rest = text.get(range.start..).unwrap_or_default();
    let Some(first) = rest.chars().next() else { return "the end of the query".to_owned() };
    let found = rest.get(..range.len().max(first.len_utf8())).unwrap_or(rest);
    match found.char_indices().nth(MAX_FOUND_CHARS) {
        _ if found.trim().is_empty() => "a space".to_owned(),
        Some((end, _)) => format!("{}...", &found[..end]),
        None => found.to_owned(),
    }
}
