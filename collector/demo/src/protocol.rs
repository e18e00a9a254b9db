//! The protocols between services, with the attributes, names and statuses of the semantic conventions.
//!
//! Scenarios decide which requests are sent.

pub(crate) mod database;
mod exchange;
pub(crate) mod http;
pub(crate) mod messaging;
pub(crate) mod rpc;
