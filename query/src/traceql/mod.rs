//! TraceQL, so far as it selects single spans: `{ resource.service.name = "cart" && duration > 100ms }`.
//!
//! Text in, [`Predicate`] out. The grammar and its precedence (`&&` and `||` bind equally, from the
//! left) are those of Grafana Tempo, plus our own intrinsic `failed`. What TraceQL has and this
//! module does not (pipelines, structural operators, other scopes, arithmetic) is refused by name,
//! so that nobody looks for a typing mistake. Nothing is planned or executed here.

mod lexer;
mod parser;
mod types;

use spandrel_storage::plan::Predicate;

/// Bytes of one query at the most: a longer one is a mistake of a program.
pub(crate) const MAX_QUERY_BYTES: usize = 128 << 10;

/// How deep parentheses and alternating `&&` and `||` may nest.
pub(crate) const MAX_DEPTH: usize = 64;

/// Why a query was not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {message}")]
pub(crate) struct QueryError {
    /// What kind of mistake it is.
    pub(crate) kind: QueryErrorKind,
    /// Which character it is about, counted from 1.
    pub(crate) position: usize,
    /// What is wrong and what is allowed.
    pub(crate) message: String,
}

/// The kinds of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryErrorKind {
    /// Not TraceQL.
    Syntax,
    /// TraceQL that can never match: a field compared with a value of another type.
    Type,
    /// TraceQL that this server does not answer yet.
    Unsupported,
    /// Longer or deeper than is allowed.
    Limit,
}

/// An error that knows the byte it is about.
struct Flaw {
    kind: QueryErrorKind,
    at: usize,
    message: String,
}

/// Reads a query. An empty one selects every span, like `{ }`.
pub(crate) fn parse(text: &str) -> Result<Predicate, QueryError> {
    if text.len() > MAX_QUERY_BYTES {
        let message = format!("a query has at most {MAX_QUERY_BYTES} bytes (max_query_bytes)");
        return Err(QueryError { kind: QueryErrorKind::Limit, position: MAX_QUERY_BYTES, message });
    }
    let parsed = lexer::tokens(text).and_then(|tokens| parser::query(&tokens));
    parsed.map_err(|flaw| QueryError {
        kind: flaw.kind,
        position: text.char_indices().take_while(|(at, _)| *at < flaw.at).count() + 1,
        message: flaw.message,
    })
}

// === impl Flaw ===

impl Flaw {
    fn syntax(at: usize, message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::Syntax, at, message: message.into() }
    }

    fn r#type(at: usize, message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::Type, at, message: message.into() }
    }

    fn unsupported(at: usize, what: &str) -> Self {
        let message = format!(
            "{what} is TraceQL that this server does not support yet; it supports one selector like \
             {{ resource.service.name = \"cart\" && duration > 100ms }}"
        );
        Self { kind: QueryErrorKind::Unsupported, at, message }
    }
}

#[cfg(test)]
mod tests;
