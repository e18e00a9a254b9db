//! TraceQL evaluated as the documents say it, on decoded spans: one span at a time, without columns, as
//! simple as possible and as slow as that is. It shares the syntax tree with the engine, and nothing else.
//!
//! `value` says what values are, `trace` puts the spans of a trace into their tree, `fields` looks up fields,
//! `condition` evaluates expressions on one span, `sets` pipelines, `metrics` series, `counts` how often
//! values occur.

pub mod condition;
pub mod counts;
pub mod fields;
pub mod mentioned;
mod mesh;
pub mod metrics;
pub mod sets;
pub mod trace;
pub mod value;
