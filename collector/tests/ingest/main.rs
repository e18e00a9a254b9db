//! The collector over real sockets, on a store that tests control.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

mod bad_input;
mod batching;
mod cors;
mod datadog;
mod drain;
mod encodings;
mod failures;
mod jaeger;
mod json;
mod logs;
mod metering;
mod resends;
mod signals;
mod skywalking;
mod slow;
mod support;
mod transports;
mod zipkin;
