//! What each service does when it is called.
//!
//! Not for why it is called: that is a scenario's.

pub(crate) mod cart;
pub(crate) mod catalogue;
pub(crate) mod frontend;
pub(crate) mod inventory;
pub(crate) mod payment;
pub(crate) mod recommendation;
pub(crate) mod shipping;
