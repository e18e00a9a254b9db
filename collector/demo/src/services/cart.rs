//! Carts: a hash in Redis for each shopper.

use crate::failure::{Answer, Failure};
use crate::protocol::database::redis;
use crate::protocol::rpc::{self, Request};
use crate::shopper::Shopper;
use crate::stage::{Stage, Work};
use crate::topology::Service;

#[derive(Clone, Copy)]
pub(crate) struct Contents {
    pub(crate) items: usize,
    pub(crate) total: f64,
}

impl Contents {
    /// Sets the cart's attributes on a span.
    pub(crate) fn describe(self, work: &mut Work, currency: &'static str) {
        work.set("cart.items", self.items as i64);
        work.set("cart.total", self.total);
        work.set("cart.currency", currency);
    }
}

/// Reads the cart.
pub(crate) fn read(stage: &mut Stage, caller: &mut Work, shopper: &Shopper) -> Result<Contents, Failure> {
    let items = stage.rng.between(1, 6);
    let total = (items * stage.rng.between(299, 7_999)) as f64 / 100.0;
    let contents = Contents { items, total };
    let request = Request::new(Service::Cart, "shop.cart.v1.Carts/GetCart");
    rpc::call(stage, caller, request, |stage, work| {
        redis(stage, work, "HGETALL", format!("HGETALL {}", shopper.cart_key()));
        contents.describe(work, shopper.currency);
        work.pass(stage.around(0.4));
        Ok(())
    })?;
    Ok(contents)
}

/// Puts a product into the cart.
pub(crate) fn add(stage: &mut Stage, caller: &mut Work, shopper: &Shopper, product: &str) -> Answer {
    let quantity = stage.rng.between(1, 3);
    let request = Request::new(Service::Cart, "shop.cart.v1.Carts/AddItem");
    rpc::call(stage, caller, request, |stage, work| {
        work.set("app.product.id", product.to_owned());
        work.set("app.product.quantity", quantity as i64);
        redis(stage, work, "HINCRBY", format!("HINCRBY {} {product} {quantity}", shopper.cart_key()));
        redis(stage, work, "EXPIRE", format!("EXPIRE {} 1209600", shopper.cart_key()));
        work.pass(stage.around(0.4));
        Ok(())
    })
}

/// Empties the cart.
pub(crate) fn clear(stage: &mut Stage, caller: &mut Work, shopper: &Shopper) -> Answer {
    let request = Request::new(Service::Cart, "shop.cart.v1.Carts/EmptyCart");
    rpc::call(stage, caller, request, |stage, work| {
        redis(stage, work, "DEL", format!("DEL {}", shopper.cart_key()));
        Ok(())
    })
}
