//! A batch consumer: every few seconds it takes all orders that were placed since, in one span with a
//! link to each producer.

use super::checkout::ORDERS;
use crate::message::Message;
use crate::protocol::database::{Statement, sql};
use crate::protocol::messaging;
use crate::stage::Stage;
use crate::topology::Service;
use std::time::SystemTime;

/// The SDK allows 128 links on a span.
const BATCH: usize = 100;
const UPSERT: Statement = Statement {
    database: "analytics",
    operation: "INSERT",
    table: "revenue_by_minute",
    text: "INSERT INTO revenue_by_minute (minute, currency, cents) VALUES ($1, $2, $3) \
           ON CONFLICT (minute, currency) DO UPDATE SET cents = revenue_by_minute.cents + EXCLUDED.cents",
    median_ms: 5.0,
};

pub(super) fn play(stage: &mut Stage, at: SystemTime) {
    let (arrived, on_their_way): (Vec<Message>, Vec<Message>) =
        std::mem::take(&mut stage.mailbox).into_iter().partition(|message| message.published <= at);
    stage.mailbox = on_their_way;
    for batch in arrived.chunks(BATCH) {
        process(stage, batch, at);
    }
}

fn process(stage: &mut Stage, orders: &[Message], at: SystemTime) {
    let consumer = stage.choose(Service::Analytics);
    let mut work = messaging::process_batch(stage, consumer, "analytics", ORDERS, orders, at);
    stage.step(&mut work, "aggregate revenue", |stage, step| {
        step.set("app.order.count", orders.len() as i64);
        step.pass(stage.around(2.0 + orders.len() as f64));
    });
    sql(stage, &mut work, &UPSERT, 1);
    stage.close(work);
}
