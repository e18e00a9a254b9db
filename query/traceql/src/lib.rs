//! TraceQL: a query's text becomes a tree that is known to make sense, and a tree becomes text again.
//!
//! The language is that of Grafana Tempo with more of our own: fields of a span's parent, aggregates compared with each
//! other, quantiles and numbers of different values, strings compared by their parts, and statements on whole traces.
//! Nothing here reads spans: what a query means for them is for those who run it.
//!
//! ```
//! let query = spandrel_traceql::parse("{ .a=1&&(.b=2) }|count()>2")?;
//! assert_eq!(query.to_string(), "{ .a = 1 && .b = 2 } | count() > 2");
//! # Ok::<(), spandrel_traceql::ParseError>(())
//! ```

pub mod ast;
mod complete;
mod duration;
mod error;
mod lexer;
mod parser;
mod print;
mod types;
mod words;

pub use complete::{Completion, Names, Suggestion, SuggestionKind, Values, complete};
pub use error::{ErrorKind, ParseError};
pub use parser::{MAX_DEPTH, MAX_NESTING, MAX_REGEXES};
pub use types::anchored_regex;

/// Longer queries are most likely a mistake of a program.
pub const MAX_QUERY_BYTES: usize = 128 << 10;

/// Parses a query and checks that it can hold. An empty one selects every span, like `{ }`.
pub fn parse(text: &str) -> Result<ast::Query, ParseError> {
    if text.len() > MAX_QUERY_BYTES {
        let message = format!("a query has at most {MAX_QUERY_BYTES} bytes");
        return Err(error::Problem::limit(MAX_QUERY_BYTES..text.len(), message).in_text(text));
    }
    let parsed = lexer::tokens(text).and_then(|tokens| parser::query(&tokens));
    parsed.map_err(|problem| problem.in_text(text))
}
