//! Receivers: what listens for one protocol and speaks it. Each is a room of its own, and they have one contract.
//!
//! A receiver takes a request apart as far as its protocol goes (paths, content types, frames), names the [`Route`] by
//! which it came, and hands the body to the intake, which decompresses it, decodes it by the route's decoder within
//! limits and the memory budget, recognises resends, queues it, and returns when it is durable. It answers what comes
//! back, [`Accepted`] or a refusal, in the words of its protocol. It knows neither spans nor the store.
//!
//! What a format is made of is known by its decoder, in `spandrel-proto`: it walks over bytes and fills the gatherer
//! (`spandrel_proto::gather`). A new protocol is a decoder there, a route, and a receiver here.
//!
//! [`Route`]: crate::route::Route
//! [`Accepted`]: crate::intake::Accepted

mod answer;
pub(crate) mod datadog;
mod exchange;
pub(crate) mod jaeger;
pub(crate) mod kafka;
pub(crate) mod otlp;
mod plain;
pub(crate) mod skywalking;
mod unary;
pub(crate) mod zipkin;

pub(crate) use self::exchange::cors;
pub use self::unary::http2;
