//! TraceQL, so far as it selects single spans: `{ resource.service.name = "cart" && duration > 100ms }`.
//!
//! Text in, [`Predicate`] out. The grammar and its precedence (`&&` and `||` bind equally, from the
//! left) are those of Grafana Tempo, plus our own intrinsic `failed`. What TraceQL has and this
//! module does not (pipelines, structural operators, other scopes, arithmetic) is refused by name,
//! so that users do not look for a typing mistake. Planning and execution are parts of the store.

mod error;
mod lexer;
mod parser;
mod types;

use spandrel_storage::plan::Predicate;

pub(crate) use error::{QueryError, QueryErrorKind};
pub(crate) use parser::MAX_DEPTH;

/// Bytes of one query at the most: a longer one is a mistake of a program.
pub(crate) const MAX_QUERY_BYTES: usize = 128 << 10;

/// Reads a query. An empty one selects every span, like `{ }`.
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
