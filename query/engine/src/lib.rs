//! Answers TraceQL from the columns of a trace store: plans what the store can decide alone, and decides the rest on
//! tables of spans, and never on spans themselves.
//!
//! `bind` gives fields their columns, `predicate` finds what the store can test, `rows` evaluates conditions, `sets`
//! pipelines on one trace, `traces` searches, `metrics` makes series. Knows neither HTTP nor how spans are stored.
#![warn(missing_docs)]

mod aggregate;
mod bind;
mod error;
mod fields;
mod labels;
mod limits;
pub mod live;
mod mesh;
pub mod mesh_spans;
pub mod metrics;
mod pass;
mod predicate;
pub mod requests;
mod rows;
mod scalar;
mod sets;
mod structural;
pub mod traces;
pub mod tree;
pub mod values;

pub use error::QueryError;
pub use limits::{Budget, Limits, Partial};
pub use scalar::Scalar;

use spandrel_storage::plan::Predicate;
use spandrel_traceql::ast::Pipeline;

/// The condition of a query, if a store can decide it for each span alone.
pub fn exact_predicate(query: &Pipeline) -> Option<Predicate> {
    let bound = predicate::of_pipeline(query);
    bound.exact.then_some(bound.predicate)
}
