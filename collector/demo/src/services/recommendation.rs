//! Recommendations, which are sometimes late. Pages are shown without them then.

use crate::protocol::database::{Statement, sql};
use crate::protocol::rpc::{self, Request};
use crate::rng::millis;
use crate::stage::{Stage, Work};
use crate::topology::Service;
use opentelemetry::KeyValue;

const DEADLINE_MS: f64 = 250.0;
const BOUGHT_TOGETHER: Statement = Statement {
    database: "recommendation",
    operation: "SELECT",
    table: "bought_together",
    text: "SELECT other_id, score FROM bought_together WHERE product_id = ANY($1) ORDER BY score DESC LIMIT $2",
    median_ms: 9.0,
};

/// Requests suggestions, and goes on without them after a deadline.
pub(crate) fn suggest(stage: &mut Stage, caller: &mut Work) {
    let request = Request::new(Service::Recommendation, "shop.recommendation.v1.Recommendations/Suggest")
        .within(millis(DEADLINE_MS));
    let cold_model = stage.rng.likely(0.05);
    let answer = rpc::call(stage, caller, request, |stage, work| {
        sql(stage, work, &BOUGHT_TOGETHER, 40);
        stage.step(work, "rank candidates", |stage, step| {
            step.set("app.model.version", "2026-11");
            step.set("app.model.cold", cold_model);
            step.pass(stage.around(if cold_model { 600.0 } else { 22.0 }));
        });
        Ok(())
    });
    if answer.is_err() {
        caller.event("recommendations left out", vec![KeyValue::new("deadline_ms", DEADLINE_MS)]);
    }
}
