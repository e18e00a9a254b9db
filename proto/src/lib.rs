//! The words that every room shares: identifiers, times, and the OTLP wire format.
//!
//! This crate reads and writes bytes that come from outside (protobuf and JSON as OTLP defines
//! them) and converts between them at the edge. It holds no policy: what a span *means* is decided
//! in `spandrel-block::semantics`, and nothing here knows of stores, servers or queries.
#![warn(missing_docs)]

mod ids;
pub mod otlp;
mod time;

pub use ids::{ParseIdError, SpanId, TenantId, TenantIdError, TraceId};
pub use time::{TimeRange, UnixNanos};
