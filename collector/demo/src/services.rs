//! The work of each service for each request.
//!
//! Scenarios send the requests.

pub(crate) mod cart;
pub(crate) mod catalogue;
pub(crate) mod frontend;
pub(crate) mod inventory;
pub(crate) mod payment;
pub(crate) mod recommendation;
pub(crate) mod shipping;
