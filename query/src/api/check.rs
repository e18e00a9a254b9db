//! `POST /api/v1/check`: checks everything that is stored while it is in use.
//!
//! The answer is a stream of JSON objects, one a line: how far the check is, and at last its report.

use axum::extract::State;
use axum::http::Uri;
use axum::routing::{MethodRouter, post};
use serde::Serialize;
use spandrel_storage::check::{CheckProgress, CheckReport};

use super::Answer;
use super::backup::safekeeping;
use crate::params::Params;
use crate::problem::Problem;
use crate::run::{Output, Stop};
use crate::state::QueryState;

const LINES: &str = "application/x-ndjson";
/// Progress is told so often over the whole check.
const STEPS: u64 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    #[serde(rename_all = "camelCase")]
    Progress {
        byte_count: u64,
        of_byte_count: u64,
    },
    Report(&'a CheckReport),
}

/// `/check`.
pub(super) fn all() -> MethodRouter<QueryState> {
    post(run)
}

async fn run(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let store = state.store();
    let write = move |out: &mut Output| {
        let (mut stop, mut told) = (None, None);
        let report = safekeeping(&*store)?.check(&mut |progress| {
            let step = (progress.bytes * STEPS).checked_div(progress.of_bytes);
            if told == Some(step) {
                return true;
            }
            told = Some(step);
            stop = tell(out, progress).err();
            stop.is_none()
        });
        match (report, stop) {
            (Some(report), None) => line(out, &Line::Report(&report)),
            (_, stop) => Err(stop.unwrap_or(Stop::Gone)),
        }
    };
    state.runner().stream(LINES, write).await
}

fn tell(out: &mut Output, progress: &CheckProgress) -> Result<(), Stop> {
    line(out, &Line::Progress { byte_count: progress.bytes, of_byte_count: progress.of_bytes })?;
    out.pass_on()
}

fn line(out: &mut Output, line: &Line<'_>) -> Result<(), Stop> {
    serde_json::to_writer(&mut out.buffer, line)
        .map_err(|error| Problem::unreadable(format!("the answer could not be written: {error}")))?;
    out.buffer.push(b'\n');
    Ok(())
}
