//! How services talk: each protocol with the attributes, names and statuses that the semantic
//! conventions give it.
//!
//! Not for what they say to each other: that is a scenario's.

pub(crate) mod database;
mod exchange;
pub(crate) mod http;
pub(crate) mod messaging;
pub(crate) mod rpc;
