//! The frontend: renders pages for the gateway.

use crate::failure::{Answer, Failure};
use crate::protocol::http::{self, Request};
use crate::shopper::Shopper;
use crate::stage::{Stage, Work};
use crate::topology::Service;
use std::time::SystemTime;

/// A shopper opens a page: browser, gateway, frontend. `gather` fetches the content of the page.
pub(crate) fn page(
    stage: &mut Stage,
    shopper: &Shopper,
    request: Request<'_>,
    at: SystemTime,
    gather: impl FnOnce(&mut Stage, &mut Work) -> Answer,
) {
    http::visit(stage, request, at, |stage, gateway| {
        gateway.pass(stage.around(0.5));
        let answer = http::call(stage, gateway, Service::Frontend, request, |stage, page| {
            shopper.describe(page);
            page.pass(stage.around(1.5));
            gather(stage, page)?;
            render(stage, page)
        });
        gateway.pass(stage.around(0.3));
        answer
    });
}

fn render(stage: &mut Stage, page: &mut Work) -> Answer {
    let broken = stage.rng.likely(0.004);
    let answer = stage.step(page, "render page", |stage, step| {
        step.pass(stage.around(6.0));
        if !broken {
            return Ok(());
        }
        step.exception(&Failure::BadTemplate);
        step.fail("render::TemplateError", Failure::BadTemplate.message());
        Err(Failure::BadTemplate)
    });
    page.pass(stage.around(0.5));
    answer
}
