//! What the retries of an edge cost, and when they were a storm.

use spandrel_mesh::edge::Edge;
use spandrel_mesh::edges::Steps;
use spandrel_mesh::storms::Storm;

use crate::answers::{MeshRetries, MeshStorm};
use crate::params::Params;
use crate::problem::Problem;

/// Attempts of a request from which on retries are a storm, unless the question says otherwise.
const THRESHOLD: f64 = 1.5;

/// The parameter `stormThreshold`.
pub(super) fn threshold(params: &Params) -> Result<f64, Problem> {
    let Some(text) = params.text("stormThreshold") else { return Ok(THRESHOLD) };
    text.parse().ok().filter(|threshold| (1.0..=100.0).contains(threshold)).ok_or_else(|| {
        let allowed = "a number from 1 to 100";
        Problem::parameter("stormThreshold", format!("{text:?} is not {allowed}")).allowing(allowed)
    })
}

pub(super) fn of(edge: &Edge, steps: Steps, threshold: f64) -> MeshRetries {
    let load = edge.loads.total();
    let at = |step: u64| (steps.start.saturating_add(step.saturating_mul(steps.step))).to_string();
    let storm = |storm: &Storm| MeshStorm {
        start_unix_nano: at(storm.first_step.into()),
        end_unix_nano: at(u64::from(storm.last_step) + 1),
        request_count: storm.load.requests,
        attempt_count: storm.load.attempts,
        extra_nano: storm.load.extra_nanos,
        text: storm.text(),
    };
    MeshRetries {
        extra_attempt_count: load.extra_attempts(),
        extra_nano: load.extra_nanos,
        rescued_request_count: load.rescued,
        failed_request_count: load.failed,
        storms: edge.loads.storms(threshold).iter().map(storm).collect(),
    }
}
