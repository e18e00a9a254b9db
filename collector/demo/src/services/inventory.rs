//! The inventory: stock in PostgreSQL, reserved under row locks that deadlock now and then.

use crate::failure::{Answer, Failure};
use crate::protocol::database::{Deadlock, Statement, locking_sql, sql};
use crate::protocol::rpc::{self, Request};
use crate::stage::{Stage, Work};
use crate::topology::Service;
use opentelemetry::KeyValue;

const READ: Statement = Statement {
    database: "inventory",
    operation: "SELECT",
    table: "stock",
    text: "SELECT quantity FROM stock WHERE product_id = $1",
    median_ms: 1.5,
};
const LOCK: Statement = Statement {
    database: "inventory",
    operation: "SELECT",
    table: "stock",
    text: "SELECT product_id, quantity FROM stock WHERE product_id = ANY($1) FOR UPDATE",
    median_ms: 3.0,
};
const TAKE: Statement = Statement {
    database: "inventory",
    operation: "UPDATE",
    table: "stock",
    text: "UPDATE stock SET quantity = quantity - $2 WHERE product_id = $1",
    median_ms: 2.0,
};
const GIVE_BACK: Statement = Statement {
    database: "inventory",
    operation: "UPDATE",
    table: "stock",
    text: "UPDATE stock SET quantity = quantity + r.quantity FROM reservations r WHERE r.order_id = $1",
    median_ms: 4.0,
};
const ATTEMPTS: usize = 3;

/// The stock of one product.
pub(crate) fn stock(stage: &mut Stage, caller: &mut Work) -> Answer {
    let request = Request::new(Service::Inventory, "shop.inventory.v1.Stock/GetStock");
    rpc::call(stage, caller, request, |stage, work| {
        sql(stage, work, &READ, 1);
        Ok(())
    })
}

/// Reserves `products` products for an order.
pub(crate) fn reserve(stage: &mut Stage, caller: &mut Work, products: usize) -> Answer {
    let request = Request::new(Service::Inventory, "shop.inventory.v1.Stock/Reserve");
    rpc::call(stage, caller, request, |stage, work| {
        work.set("app.product.count", products as i64);
        for attempt in 1..=ATTEMPTS {
            let reserved =
                stage.step(work, "reserve in transaction", |stage, step| transaction(stage, step, products));
            match reserved {
                Ok(answer) => return answer,
                Err(Deadlock) => work.event("retry", vec![KeyValue::new("retry.attempt", attempt as i64)]),
            }
        }
        Err(Failure::Unavailable)
    })
}

/// Releases the reservations of a failed order.
pub(crate) fn release(stage: &mut Stage, caller: &mut Work) -> Answer {
    let request = Request::new(Service::Inventory, "shop.inventory.v1.Stock/Release");
    rpc::call(stage, caller, request, |stage, work| {
        sql(stage, work, &GIVE_BACK, 1);
        Ok(())
    })
}

fn transaction(stage: &mut Stage, step: &mut Work, products: usize) -> Result<Answer, Deadlock> {
    locking_sql(stage, step, &LOCK, 0.03)?;
    if stage.rng.likely(0.02) {
        step.exception(&Failure::OutOfStock);
        return Ok(Err(Failure::OutOfStock));
    }
    for _ in 0..products {
        sql(stage, step, &TAKE, 1);
    }
    step.pass(stage.around(1.0));
    Ok(Ok(()))
}
