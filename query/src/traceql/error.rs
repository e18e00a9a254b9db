//! Errors of TraceQL: the text for users, and the place that lexer and parser record.

/// Why a query is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {message}")]
pub(crate) struct QueryError {
    pub(crate) kind: QueryErrorKind,
    /// The place of the mistake in characters, counted from 1.
    pub(crate) position: usize,
    /// The mistake, and what is allowed instead.
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryErrorKind {
    /// Not TraceQL.
    Syntax,
    /// TraceQL that can never match: a field compared with a value of another type.
    Type,
    /// TraceQL that this server does not support yet.
    Unsupported,
    /// Longer or deeper than the limits allow.
    Limit,
}

/// An error with the byte offset of its place.
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
