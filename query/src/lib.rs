//! Questions and answers: parses them, assembles trees, serves the JSON API under `/api/v1`.
//!
//! Everything here reads. What is stored is reached through [`spandrel_storage::TraceStore`] alone;
//! how it is stored, and who listens on which port, is nobody's business here.

mod api;
mod assemble;
mod cursor;
mod duration;
mod export;
mod json;
mod otlp;
mod params;
mod problem;
mod rate;
mod run;
mod state;
mod times;
mod traceql;
mod tree;

#[cfg(test)]
mod testing;

pub use api::router;
pub use state::{QueryConfig, QueryState};

/// Reads a TraceQL selector, as it also stands in configuration files. The error says what is wrong,
/// where, and what is allowed.
pub fn selector(text: &str) -> Result<spandrel_storage::plan::Predicate, String> {
    traceql::parse(text).map_err(|error| error.to_string())
}
