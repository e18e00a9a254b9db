//! Payment: several instances that call a bank. When one of them fails it loses its connections to the bank, and its
//! callers try another instance.

use crate::failure::{Answer, Failure};
use crate::protocol::database::{Statement, sql};
use crate::protocol::http;
use crate::protocol::rpc::{self, Request};
use crate::rng::millis;
use crate::stage::{Stage, Work};
use crate::topology::Service;
use opentelemetry::KeyValue;

const ATTEMPTS: usize = 3;
const BANK: &str = "api.bank.example";
const AUTHORISE: http::Request<'static> =
    http::Request { method: "POST", route: "/v1/authorisations", path: "/v1/authorisations" };
const INSERT: Statement = Statement {
    database: "payment",
    operation: "INSERT",
    table: "payments",
    text: "INSERT INTO payments (order_id, amount_cents, currency, state) VALUES ($1, $2, $3, 'pending')",
    median_ms: 3.0,
};
const UPDATE: Statement = Statement {
    database: "payment",
    operation: "UPDATE",
    table: "payments",
    text: "UPDATE payments SET state = $2, authorisation = $3 WHERE order_id = $1",
    median_ms: 2.5,
};

/// Charges an order. If an instance is unavailable, another one is tried after a short pause.
pub(crate) fn charge(stage: &mut Stage, caller: &mut Work, order: &str, amount: f64) -> Answer {
    let mut instance = stage.choose(Service::Payment);
    let mut attempt = 1;
    loop {
        let request =
            Request::new(Service::Payment, "shop.payment.v1.Payments/Charge").attempt(instance, attempt - 1);
        let answer = rpc::call(stage, caller, request, |stage, work| {
            work.set("order.id", order.to_owned());
            work.set("payment.amount", amount);
            authorise(stage, work)
        });
        if answer != Err(Failure::Unavailable) || attempt == ATTEMPTS {
            return answer;
        }
        let delay_ms = 50.0 * (1 << attempt) as f64;
        caller.event(
            "retry",
            vec![
                KeyValue::new("retry.attempt", attempt as i64),
                KeyValue::new("retry.delay_ms", delay_ms),
                KeyValue::new("retry.reason", Failure::Unavailable.rpc_code()),
            ],
        );
        caller.pass(millis(delay_ms));
        instance = stage.choose_other(Service::Payment, instance);
        attempt += 1;
    }
}

/// Captures an authorised payment.
pub(crate) fn capture(stage: &mut Stage, caller: &mut Work) -> Answer {
    let request = Request::new(Service::Payment, "shop.payment.v1.Payments/Capture");
    rpc::call(stage, caller, request, |stage, work| {
        reach_the_bank(stage, work)?;
        work.pass(stage.around(45.0));
        sql(stage, work, &UPDATE, 1);
        Ok(())
    })
}

fn authorise(stage: &mut Stage, work: &mut Work) -> Answer {
    sql(stage, work, &INSERT, 1);
    reach_the_bank(stage, work)?;
    let declined = stage.rng.likely(0.04);
    let answer = if declined { Err(Failure::Declined) } else { Ok(()) };
    let answer = http::call_outside(stage, work, BANK, AUTHORISE, 110.0, answer);
    if let Err(failure) = answer {
        work.exception(&failure);
    }
    work.set("payment.state", if declined { "declined" } else { "authorised" });
    sql(stage, work, &UPDATE, 1);
    answer
}

/// A failing instance rarely gets a connection, and sometimes an incomplete response.
fn reach_the_bank(stage: &mut Stage, work: &mut Work) -> Answer {
    let failing = stage.incidents.failing_payment_instance(work.now, Service::Payment.instance_count());
    let fails = failing == Some(stage.fleet.instance(work.member).index);
    let failure = if stage.rng.likely(if fails { 0.70 } else { 0.006 }) {
        Failure::Unavailable
    } else if stage.rng.likely(if fails { 0.60 } else { 0.002 }) {
        Failure::BadAnswer
    } else {
        return Ok(());
    };
    work.pass(stage.around(240.0));
    work.exception(&failure);
    Err(failure)
}
