//! Types that all crates share: identifiers, times, and the OTLP wire format.
//!
//! This crate reads and writes bytes from outside (protobuf and JSON as OTLP defines them) and converts between them.
//! `spandrel-block::semantics` decides what a span means; this crate depends neither on the store nor on servers or
//! queries.
#![warn(missing_docs)]

mod caller;
pub mod datadog;
pub mod gather;
mod hex;
mod ids;
pub mod jaeger;
mod json;
mod msgpack;
pub mod otlp;
pub mod semconv;
pub mod skywalking;
pub mod thrift;
mod time;
pub mod zipkin;

pub use caller::{AnsweredTraces, Caller, Detector, Mask, Restriction, Tenants, TenantsError};
pub use ids::{ParseIdError, SpanId, TenantId, TenantIdError, TraceId};
pub use time::{TimeRange, UnixNanos};
