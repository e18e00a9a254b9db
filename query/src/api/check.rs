//! `POST /api/v1/check`: checks everything that is stored while it is in use.
//!
//! The response is a stream of JSON objects, one a line: progress, and at last the report.

use axum::extract::State;
use axum::http::Uri;
use axum::routing::{MethodRouter, post};
use spandrel_storage::check::CheckProgress;

use super::handler::Answer;
use crate::answers::{self, CheckLine};
use crate::executor::{Output, StreamError};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;

const LINES: &str = "application/x-ndjson";
/// Lines of progress in a whole check.
const STEPS: u64 = 100;

/// `/check`.
pub(super) fn all() -> MethodRouter<QueryState> {
    post(run)
}

async fn run(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let store = state.store();
    let write = move |out: &mut Output| {
        let (mut stop, mut told) = (None, None);
        let check = store.as_check().ok_or_else(|| Problem::not_found("this store has no checks"))?;
        let report = check.check(&mut |progress| {
            let step = (progress.bytes * STEPS).checked_div(progress.of_bytes);
            if told == Some(step) {
                return true;
            }
            told = Some(step);
            stop = tell(out, progress).err();
            stop.is_none()
        });
        match (report, stop) {
            (Some(report), None) => line(out, &CheckLine::Report(report)),
            (_, stop) => Err(stop.unwrap_or(StreamError::Gone)),
        }
    };
    state.stream(LINES, write).await
}

fn tell(out: &mut Output, progress: &CheckProgress) -> Result<(), StreamError> {
    let progress = answers::CheckProgress { byte_count: progress.bytes, of_byte_count: progress.of_bytes };
    line(out, &CheckLine::Progress(progress))?;
    out.pass_on()
}

fn line(out: &mut Output, line: &CheckLine) -> Result<(), StreamError> {
    serde_json::to_writer(&mut out.buffer, line)
        .map_err(|error| Problem::unreadable(format!("the answer could not be written: {error}")))?;
    out.buffer.push(b'\n');
    Ok(())
}
