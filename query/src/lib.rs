//! Parses queries, assembles trees, and serves the JSON API under `/api/v1`.
//!
//! This crate reaches stored spans through [`spandrel_storage::TraceStore`] alone. It depends neither on how they are
//! stored nor on which ports listen.

pub mod answers;
mod api;
mod asker;
mod assemble;
mod cursor;
mod duration;
mod executor;
mod export;
mod json;
mod noise;
mod otlp;
mod params;
mod problem;
mod question;
mod rate;
mod slices;
mod span_counters;
mod state;
mod times;
mod tree;
mod views;

#[cfg(test)]
mod testing;

pub use api::{SPAN_METRICS, router};
pub use state::{Ask, IngestDelays, QueryConfig, QueryState, TopicReaders};
pub use views::check as check_restriction;

/// Parses a TraceQL filter on single spans, also for configuration files. The error names the mistake, its place, and
/// what is allowed.
pub fn selector(text: &str) -> Result<spandrel_storage::plan::Predicate, String> {
    question::predicate(text)
}
