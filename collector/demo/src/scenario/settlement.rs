//! A batch job as cron would start it: reads the payments of the last minute, captures each of them in parallel lanes,
//! and stores the result. A few hundred spans in one trace.

use crate::failure::Failure;
use crate::fleet::Scope;
use crate::protocol::database::{Statement, sql};
use crate::services::payment;
use crate::stage::{FanOut, Opening, Parent, Stage, Work};
use crate::topology::Service;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use std::time::SystemTime;

const LANES: usize = 4;
const PAYMENTS_PER_LANE: usize = 18;
/// A job with more failed payments than this has failed.
const TOLERATED: usize = LANES * PAYMENTS_PER_LANE / 10;
const UNSETTLED: Statement = Statement {
    database: "payment",
    operation: "SELECT",
    table: "payments",
    text: "SELECT order_id, amount_cents FROM payments WHERE state = 'authorised' ORDER BY created LIMIT $1",
    median_ms: 30.0,
};
const REPORT: Statement = Statement {
    database: "payment",
    operation: "INSERT",
    table: "settlements",
    text: "INSERT INTO settlements (started, captured, failed) VALUES ($1, $2, $3)",
    median_ms: 3.0,
};

pub(super) fn play(stage: &mut Stage, at: SystemTime) {
    let member = stage.choose(Service::Settlement);
    let opening = Opening::new(Scope::App, SpanKind::Internal, "settle payments").with([
        KeyValue::new("app.job.name", "settle-payments"),
        KeyValue::new("app.job.schedule", "* * * * *"),
        KeyValue::new("app.payment.count", (LANES * PAYMENTS_PER_LANE) as i64),
    ]);
    let mut job = stage.open(member, Parent::None, opening, at);
    sql(stage, &mut job, &UNSETTLED, LANES * PAYMENTS_PER_LANE);

    let mut failed = 0;
    let mut fan_out = FanOut::from(&job);
    for _ in 0..LANES {
        failed += stage.step(&mut job, "settle lane", lane);
        fan_out.branch_done(&mut job);
    }
    fan_out.join(&mut job);

    sql(stage, &mut job, &REPORT, 1);
    job.set("app.payment.failed", failed as i64);
    if failed > TOLERATED {
        job.fail("too_many_failed_payments", format!("{failed} payments could not be captured"));
    }
    stage.close(job);
}

/// Captures one payment after the other; returns the number of failures.
fn lane(stage: &mut Stage, lane: &mut Work) -> usize {
    (0..PAYMENTS_PER_LANE).filter(|_| stage.step(lane, "settle payment", settle).is_err()).count()
}

fn settle(stage: &mut Stage, step: &mut Work) -> Result<(), Failure> {
    step.set("order.id", format!("order-{:07}", stage.rng.between(1, 9_999_999)));
    let answer = payment::capture(stage, step);
    if let Err(failure) = answer {
        step.exception(&failure);
        step.fail(failure.exception().kind, failure.message());
    }
    answer
}
