//! Attributes that the spans of one trace share: the shopper, the address, and the order.

use fastrand::Rng;

use super::KnownTrace;
use super::encode::{Value, span_attribute};
use super::pools::Pools;

/// A shopper's visit. Fields with complete attributes are encoded already.
pub(super) struct Shopper {
    pub(super) user_id: String,
    pub(super) session_id: String,
    pub(super) product: String,
    pub(super) category: String,
    order_id: Option<String>,
    pub(super) user: Vec<u8>,
    pub(super) session: Vec<u8>,
    /// Empty without an order.
    pub(super) order: Vec<u8>,
    pub(super) address: Vec<u8>,
    pub(super) agent: Vec<u8>,
    pub(super) region: Vec<u8>,
}

// === impl Shopper ===

impl Shopper {
    pub(super) fn new(pools: &Pools, order_id: Option<String>, rng: &mut Rng) -> Self {
        let rank = pools.shopper(rng);
        // Neither ordered by popularity nor of different lengths, so that IDs do not reveal it.
        let user_id = format!("u-{:08x}", (rank as u32).wrapping_mul(2_654_435_761));
        let session_id = format!("{:024x}", rng.u128(..) >> 32);
        let text = |key, value: &str| span_attribute(key, Value::Text(value));
        Self {
            user: text("user.id", &user_id),
            session: text("session.id", &session_id),
            order: order_id.as_ref().map_or_else(Vec::new, |id| text(KnownTrace::ORDER_ATTRIBUTE, id)),
            address: pools.addresses.at(rank * 31).to_vec(),
            agent: pools.agents.at(rank * 17).to_vec(),
            region: pools.regions.draw(rng).to_vec(),
            product: pools.product(rng).to_owned(),
            category: pools.category(rng).to_owned(),
            user_id,
            session_id,
            order_id,
        }
    }

    /// For scheduled jobs, which all have the same user.
    pub(super) fn system(mut self) -> Self {
        self.user = span_attribute("user.id", Value::Text("system"));
        self
    }

    pub(super) fn order_or<'a>(&'a self, otherwise: &'a str) -> &'a str {
        self.order_id.as_deref().unwrap_or(otherwise)
    }

    pub(super) fn order_or_user(&self) -> &str {
        self.order_or(&self.user_id)
    }
}
