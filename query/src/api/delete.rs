//! `POST /api/v1/delete` deletes traces for good; `/api/v1/deletions` tells how far that is.
//!
//! The question comes as `application/json` and nothing else: a page of another site can post text
//! without asking, but not JSON.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use spandrel_proto::TenantId;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{Cleaning, CleaningError, Deletion, DeletionId, TraceStore};

use super::{Answer, json, part};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;
use crate::{times, traceql};

/// How often a client that waits is looked after.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Without a start, all of time.
const EVER: &str = "0";

/// What is to be deleted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    q: String,
    start: Option<String>,
    end: Option<String>,
    #[serde(default)]
    wait: bool,
}

#[derive(Serialize)]
struct One {
    deletion: Described,
}

#[derive(Serialize)]
struct All {
    deletions: Vec<Described>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    id: String,
    state: &'static str,
    accepted_unix_nano: String,
    finished_unix_nano: Option<String>,
    trace_count: u64,
    span_count: u64,
    damaged_block_count: u64,
    backups: Vec<Backup>,
    damaged_store_kept: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Backup {
    id: String,
    taken_unix_nano: String,
}

pub(super) async fn post(
    State(state): State<QueryState>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    Params::parse(&uri, &[])?;
    let body = body.map_err(|error| Problem::parameter("body", error.body_text()))?;
    let wanted = wanted(&headers, &body)?;
    let predicate = traceql::parse(&wanted.q).map_err(|error| Problem::parameter("q", error))?;
    let start = wanted.start.as_deref().unwrap_or(EVER);
    let range = times::range(Some(start), wanted.end.as_deref(), state.now())?;
    let plan = ScanPlan { predicate, range };
    let begin =
        move |store: &dyn TraceStore| cleaning(store)?.delete(&TenantId::default(), &plan).map_err(refused);
    let mut deletion = state.ask(begin).await?;
    while wanted.wait && deletion.finished.is_none() {
        tokio::time::sleep(LOOK_AGAIN).await;
        deletion = look(&state, deletion.id).await?;
    }
    let status = if deletion.finished.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, json(&One { deletion: described(&deletion) })?).into_response())
}

fn wanted(headers: &HeaderMap, body: &[u8]) -> Result<Wanted, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = format!("{kind:?} is not application/json; send the question as JSON");
        return Err(Problem::parameter("content-type", detail).allowing("application/json"));
    }
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| {
        let example = r#"{"q": "{ span.user.id = \"42\" }", "wait": true}"#;
        Problem::parameter("body", format!("{error}; send something like {example}"))
    })?;
    if wanted.q.trim().is_empty() {
        let detail = "nothing is asked for; `{ }` deletes everything in the range";
        return Err(Problem::parameter("q", detail));
    }
    Ok(wanted)
}

pub(super) async fn all(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let deletions = state.ask(|store| cleaning(store)?.deletions(&TenantId::default()).map_err(refused));
    json(&All { deletions: deletions.await?.iter().map(described).collect() })
}

pub(super) async fn one(
    State(state): State<QueryState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Params::parse(&uri, &[])?;
    let id = part("deletionId", path)?.parse().map_err(|error| Problem::parameter("deletionId", error))?;
    json(&One { deletion: described(&look(&state, id).await?) })
}

async fn look(state: &QueryState, id: DeletionId) -> Result<Deletion, Problem> {
    let found = state.ask(move |store| cleaning(store)?.deletion(&TenantId::default(), id).map_err(refused));
    found.await?.ok_or_else(|| {
        Problem::not_found(format!(
            "no deletion {id} is remembered; GET /api/v1/deletions lists the last ones"
        ))
    })
}

/// The part of the store that deletes and pins.
pub(super) fn cleaning(store: &dyn TraceStore) -> Result<&dyn Cleaning, Problem> {
    store.cleaning().ok_or_else(|| Problem::not_found("this store neither deletes nor pins"))
}

pub(super) fn refused(error: CleaningError) -> Problem {
    match error {
        CleaningError::Read(error) => error.into(),
        CleaningError::Busy => Problem::busy(error.to_string()),
        CleaningError::TooMany { .. } => Problem::parameter("q", error),
        CleaningError::Write(_) => {
            tracing::error!(%error, "a deletion or pin was not noted down");
            Problem::unreadable(error.to_string())
        }
    }
}

fn described(deletion: &Deletion) -> Described {
    let backup = |(id, taken): &(_, spandrel_proto::UnixNanos)| Backup {
        id: spandrel_storage::backup::BackupId::to_string(id),
        taken_unix_nano: taken.to_string(),
    };
    Described {
        id: deletion.id.to_string(),
        state: if deletion.finished.is_some() { "done" } else { "running" },
        accepted_unix_nano: deletion.accepted.to_string(),
        finished_unix_nano: deletion.finished.map(|at| at.to_string()),
        trace_count: deletion.traces,
        span_count: deletion.spans,
        damaged_block_count: deletion.damaged_blocks,
        backups: deletion.backups.iter().map(backup).collect(),
        damaged_store_kept: deletion.damaged_store,
    }
}
