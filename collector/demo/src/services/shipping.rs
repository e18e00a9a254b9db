//! Shipping: quotes while the customer waits, parcels afterwards.

use crate::failure::{Answer, Failure};
use crate::protocol::database::{Statement, sql};
use crate::protocol::http;
use crate::protocol::rpc::{self, Request};
use crate::stage::{Stage, Work};
use crate::topology::Service;

const CARRIER: &str = "api.carrier.example";
const LABELS: http::Request<'static> =
    http::Request { method: "POST", route: "/v2/labels", path: "/v2/labels" };
const RATES: Statement = Statement {
    database: "shipping",
    operation: "SELECT",
    table: "rates",
    text: "SELECT carrier, price_cents FROM rates WHERE country = $1 AND weight_grams >= $2",
    median_ms: 2.0,
};
const PARCEL: Statement = Statement {
    database: "shipping",
    operation: "INSERT",
    table: "parcels",
    text: "INSERT INTO parcels (order_id, carrier, label) VALUES ($1, $2, $3)",
    median_ms: 3.0,
};

/// Requests the price of shipping an order.
pub(crate) fn quote(stage: &mut Stage, caller: &mut Work) -> Answer {
    let request = Request::new(Service::Shipping, "shop.shipping.v1.Shipping/GetQuote");
    rpc::call(stage, caller, request, |stage, work| {
        sql(stage, work, &RATES, 5);
        stage.step(work, "compare rates", |stage, step| step.pass(stage.around(4.0)));
        Ok(())
    })
}

pub(crate) fn pack(stage: &mut Stage, work: &mut Work) -> Answer {
    stage.step(work, "pack parcel", |stage, step| step.pass(stage.around(25.0)));
    let carrier_is_down = stage.rng.likely(0.03);
    let answer = if carrier_is_down { Err(Failure::Unavailable) } else { Ok(()) };
    http::call_outside(stage, work, CARRIER, LABELS, 180.0, answer)?;
    sql(stage, work, &PARCEL, 1);
    Ok(())
}
