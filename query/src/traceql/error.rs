//! Why a query is refused: what users are told, and what lexer and parser know of the place.

/// Why a query was not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {message}")]
pub(crate) struct QueryError {
    /// What kind of mistake it is.
    pub(crate) kind: QueryErrorKind,
    /// Which character it is about, counted from 1.
    pub(crate) position: usize,
    /// The mistake, and what is allowed instead.
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
pub(super) struct ParseError {
    pub(super) kind: QueryErrorKind,
    pub(super) at: usize,
    pub(super) message: String,
}

// === impl ParseError ===

impl ParseError {
    pub(super) fn syntax(at: usize, message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::Syntax, at, message: message.into() }
    }

    pub(super) fn r#type(at: usize, message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::Type, at, message: message.into() }
    }

    pub(super) fn unsupported(at: usize, what: &str) -> Self {
        let message = format!(
            "{what} is TraceQL that this server does not support yet; it supports one selector like \
             {{ resource.service.name = \"cart\" && duration > 100ms }}"
        );
        Self { kind: QueryErrorKind::Unsupported, at, message }
    }
}
