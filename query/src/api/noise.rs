//! `GET /api/v1/noise`: what takes the room, what of it is noise, and the rules that would remove it.

use axum::http::Uri;
use spandrel_storage::plan::ScanPlan;

use super::handler::{Answer, Asked, json};
use crate::noise::{self, MAX_SPANS, USUAL_SPANS};
use crate::params::Params;
use crate::problem::Problem;
use crate::{question, times};

const PARAMETERS: [&str; 4] = ["q", "spans", "start", "end"];

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let predicate = question::predicate(params.text("q").unwrap_or_default())
        .map_err(|error| Problem::parameter("q", error))?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let most = params.number("spans", USUAL_SPANS, 1, MAX_SPANS)?;
    let plan = ScanPlan { predicate, range };
    let report =
        question::run(&state, move |store, budget| noise::report(store, &tenant, &plan, budget, most))
            .await?;
    json(&report)
}
