//! TraceQL for single spans: `{ resource.service.name = "cart" && duration > 100ms }`.
//!
//! Parses a text into a [`Predicate`]. The grammar and its precedence (`&&` and `||` bind equally, from the left) are
//! those of Grafana Tempo, plus the intrinsic `failed`. Parts of TraceQL that are not supported (pipelines, structural
//! operators, other scopes, arithmetic) are refused by name, so that users do not look for a typing mistake. The store
//! plans and runs queries.

mod error;
mod lexer;
mod parser;
mod types;

use spandrel_storage::plan::Predicate;

pub(crate) use error::{QueryError, QueryErrorKind};
pub(crate) use parser::MAX_DEPTH;

/// Longer queries are most likely a mistake of a program.
pub(crate) const MAX_QUERY_BYTES: usize = 128 << 10;

/// Parses a query. An empty one selects every span, like `{ }`.
pub(crate) fn parse(text: &str) -> Result<Predicate, QueryError> {
    if text.len() > MAX_QUERY_BYTES {
        let message = format!("a query has at most {MAX_QUERY_BYTES} bytes (maxQueryBytes)");
        return Err(QueryError { kind: QueryErrorKind::Limit, position: MAX_QUERY_BYTES, message });
    }
    let parsed = lexer::tokens(text).and_then(|tokens| parser::query(&tokens));
    parsed.map_err(|error| QueryError {
        kind: error.kind,
        position: text.char_indices().take_while(|(at, _)| *at < error.at).count() + 1,
        message: error.message,
    })
}

#[cfg(test)]
mod tests;
