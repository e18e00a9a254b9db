//! Who uses the shop: a customer with a session, and the identifiers that spans carry.

use crate::chance::Chance;
use crate::stage::Work;

/// A customer on a visit.
pub(crate) struct Shopper {
    /// Absent until the customer has signed in.
    user: Option<String>,
    session: String,
    pub(crate) currency: &'static str,
}

impl Shopper {
    /// Somebody who may or may not have signed in.
    pub(crate) fn passing_by(chance: &mut Chance) -> Self {
        let signed_in = chance.likely(0.7);
        let shopper = Self::signed_in(chance);
        if signed_in { shopper } else { Self { user: None, ..shopper } }
    }

    /// Somebody with an account.
    pub(crate) fn signed_in(chance: &mut Chance) -> Self {
        let currency = chance.weighted([(6, "EUR"), (3, "USD"), (1, "GBP")]);
        let user = Some(format!("user-{:04}", chance.between(1, 2_000)));
        Self { user, session: chance.token(), currency }
    }

    /// The key of the shopper's cart.
    pub(crate) fn cart_key(&self) -> String {
        format!("cart:{}", self.user.as_deref().unwrap_or(&self.session))
    }

    /// Tells a span whose request it is.
    pub(crate) fn describe(&self, work: &mut Work) {
        if let Some(user) = &self.user {
            work.set("user.id", user.clone());
        }
        work.set("session.id", self.session.clone());
    }
}

/// One of the products, some more popular than others.
pub(crate) fn product(chance: &mut Chance) -> String {
    let highest = if chance.likely(0.5) { 20 } else { 5_000 };
    format!("sku-{:05}", chance.between(1, highest))
}
