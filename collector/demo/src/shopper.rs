//! The customers of the shop, and the identifiers that their spans carry.

use crate::rng::Rng;
use crate::stage::Work;

/// A customer on a visit.
pub(crate) struct Shopper {
    /// Absent until the customer has signed in.
    user: Option<String>,
    session: String,
    pub(crate) currency: &'static str,
}

impl Shopper {
    /// A customer who may have signed in.
    pub(crate) fn passing_by(rng: &mut Rng) -> Self {
        let signed_in = rng.likely(0.7);
        let shopper = Self::signed_in(rng);
        if signed_in { shopper } else { Self { user: None, ..shopper } }
    }

    /// A customer with an account.
    pub(crate) fn signed_in(rng: &mut Rng) -> Self {
        let currency = rng.weighted([(6, "EUR"), (3, "USD"), (1, "GBP")]);
        let user = Some(format!("user-{:04}", rng.between(1, 2_000)));
        Self { user, session: rng.token(), currency }
    }

    /// The key of the shopper's cart.
    pub(crate) fn cart_key(&self) -> String {
        format!("cart:{}", self.user.as_deref().unwrap_or(&self.session))
    }

    /// Sets the shopper's attributes on a span.
    pub(crate) fn describe(&self, work: &mut Work) {
        if let Some(user) = &self.user {
            work.set("user.id", user.clone());
        }
        work.set("session.id", self.session.clone());
    }
}

/// One of the products, some more popular than others.
pub(crate) fn product(rng: &mut Rng) -> String {
    let highest = if rng.likely(0.5) { 20 } else { 5_000 };
    format!("sku-{:05}", rng.between(1, highest))
}
