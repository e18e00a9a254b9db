//! An order: cart, stock and shipping quote, payment with retries; then the consumers of the order.

use crate::failure::{Answer, Failure};
use crate::message::Message;
use crate::protocol::database::{Statement, sql};
use crate::protocol::http::{self, Request};
use crate::protocol::messaging;
use crate::services::{cart, frontend, inventory, payment, shipping};
use crate::shopper::Shopper;
use crate::stage::{FanOut, Stage, Work};
use crate::topology::Service;
use std::time::SystemTime;

/// The topic that every placed order is published to.
pub(super) const ORDERS: &str = "orders.placed";
const PARCELS: &str = "parcels.packed";
const INSERT_ORDER: Statement = Statement {
    database: "checkout",
    operation: "INSERT",
    table: "orders",
    text: "INSERT INTO orders (id, user_id, total_cents, currency) VALUES ($1, $2, $3, $4)",
    median_ms: 4.0,
};

pub(super) fn play(stage: &mut Stage, at: SystemTime) {
    let shopper = Shopper::signed_in(&mut stage.rng);
    let order = format!("order-{:07}", stage.rng.between(1, 9_999_999));
    let mut placed = None;
    let page = Request { method: "POST", route: "/checkout", path: "/checkout" };
    frontend::page(stage, &shopper, page, at, |stage, page| {
        page.set("order.id", order.clone());
        let request = Request { method: "POST", route: "/orders", path: "/orders" };
        http::call(stage, page, Service::Checkout, request, |stage, work| {
            shopper.describe(work);
            work.set("order.id", order.clone());
            placed = Some(place_order(stage, work, &shopper, &order)?);
            Ok(())
        })
    });
    if let Some(message) = placed {
        consume(stage, &message, &order);
        stage.mailbox.push(message);
    }
}

fn place_order(
    stage: &mut Stage,
    work: &mut Work,
    shopper: &Shopper,
    order: &str,
) -> Result<Message, Failure> {
    let contents = cart::read(stage, work, shopper)?;
    contents.describe(work, shopper.currency);
    stage.step(work, "validate order", |stage, step| step.pass(stage.around(3.0)));

    let mut fan_out = FanOut::from(work);
    let reserved = inventory::reserve(stage, work, contents.items);
    fan_out.branch_done(work);
    let quoted = shipping::quote(stage, work);
    fan_out.branch_done(work);
    fan_out.join(work);
    reserved.and(quoted)?;

    if let Err(failure) = payment::charge(stage, work, order, contents.total) {
        inventory::release(stage, work)?;
        if failure.is_servers_fault() {
            work.exception(&failure);
        }
        return Err(failure);
    }
    sql(stage, work, &INSERT_ORDER, 1);
    let message = messaging::publish(stage, work, ORDERS, order);
    cart::clear(stage, work, shopper)?;
    Ok(message)
}

/// Shipping goes on in the trace of the order; notification starts a trace of its own for each message.
fn consume(stage: &mut Stage, order_placed: &Message, order: &str) {
    let at = order_placed.published + stage.around(350.0);
    let shipper = stage.choose(Service::Shipping);
    let mut packing = messaging::process_in_same_trace(stage, shipper, "shipping", order_placed, at);
    packing.set("order.id", order.to_owned());
    let packed = shipping::pack(stage, &mut packing);
    let parcel_packed = end_packing(stage, packing, packed, order);

    notify(stage, order_placed, order, "order-confirmation");
    if let Some(parcel_packed) = parcel_packed {
        notify(stage, &parcel_packed, order, "parcel-on-its-way");
    }
}

/// Ends the packing: publishes the parcel, or fails.
fn end_packing(stage: &mut Stage, mut packing: Work, packed: Answer, order: &str) -> Option<Message> {
    let message = match packed {
        Ok(()) => Some(messaging::publish(stage, &mut packing, PARCELS, order)),
        Err(failure) => {
            packing.fail("carrier_unavailable", failure.message());
            None
        }
    };
    stage.close(packing);
    message
}

fn notify(stage: &mut Stage, message: &Message, order: &str, template: &'static str) {
    let at = message.published + stage.around(900.0);
    let notifier = stage.choose(Service::Notification);
    let mut work = messaging::process_in_own_trace(stage, notifier, "notification", message, at);
    work.set("order.id", order.to_owned());
    work.set("app.template", template);
    stage.step(&mut work, "render e-mail", |stage, step| step.pass(stage.around(12.0)));
    let send = Request { method: "POST", route: "/v3/messages", path: "/v3/messages" };
    let rejected = stage.rng.likely(0.02);
    let answer = if rejected { Err(Failure::Unavailable) } else { Ok(()) };
    let sent = http::call_outside(stage, &mut work, "api.mail.example", send, 90.0, answer);
    if let Err(failure) = sent {
        work.fail("mail_not_accepted", failure.message());
    }
    stage.close(work);
}
