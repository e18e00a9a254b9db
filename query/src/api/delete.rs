//! `POST /api/v1/delete` deletes traces for good; `/api/v1/deletions` reports the progress.
//!
//! A request has to be `application/json`: browsers let a page of another site post text without a preflight request,
//! but not JSON.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use spandrel_proto::{TenantId, UnixNanos};
use spandrel_storage::backup::BackupId;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{Deletion, DeletionId, Deletions, LifecycleError, TraceStore};

use super::handler::{Answer, Asked, json, json_object, part};
use crate::answers::{
    DeleteRequest, DeletionBackup, DeletionDto, DeletionList, DeletionResponse, DeletionState,
};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;
use crate::{question, times};

/// How often the state of a deletion is read for a client that waits for its end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The start of the range of a deletion that names none: 1970.
const BEGINNING_OF_TIME: &str = "0";

pub(super) async fn post(
    Asked { state, tenant, .. }: Asked,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    Params::parse(&uri, &[])?;
    let body = body.map_err(|error| Problem::parameter("body", error.body_text()))?;
    let request = delete_request(&headers, &body)?;
    let predicate = question::predicate(&request.q).map_err(|error| Problem::parameter("q", error))?;
    let start = request.start.as_deref().unwrap_or(BEGINNING_OF_TIME);
    let range = times::range(Some(start), request.end.as_deref(), state.now())?;
    let plan = ScanPlan { predicate, range };
    let owner = tenant.clone();
    let begin = move |store: &dyn TraceStore| deletions(store)?.delete(&owner, &plan).map_err(refused);
    let mut deletion = state.run_query(begin).await?;
    while request.wait && deletion.finished.is_none() {
        tokio::time::sleep(POLL_INTERVAL).await;
        deletion = find_deletion(&state, tenant.clone(), deletion.id).await?;
    }
    let status = if deletion.finished.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, json(&DeletionResponse { deletion: DeletionDto::from(&deletion) })?).into_response())
}

fn delete_request(headers: &HeaderMap, body: &[u8]) -> Result<DeleteRequest, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = format!("{kind:?} is not application/json; send the query as JSON");
        return Err(Problem::parameter("content-type", detail).allowing("application/json"));
    }
    let request: DeleteRequest = json_object(body).map_err(|error| {
        let example = r#"{"q": "{ span.user.id = \"42\" }", "wait": true}"#;
        Problem::parameter("body", format!("{error}; send something like {example}"))
    })?;
    if request.q.trim().is_empty() {
        let detail = "the query is empty; `{ }` deletes everything in the range";
        return Err(Problem::parameter("q", detail));
    }
    Ok(request)
}

pub(super) async fn all(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let deletions = state.run_query(move |store| deletions(store)?.deletions(&tenant).map_err(refused));
    json(&DeletionList { deletions: deletions.await?.iter().map(DeletionDto::from).collect() })
}

pub(super) async fn one(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Params::parse(&uri, &[])?;
    let id = part("deletionId", path)?.parse().map_err(|error| Problem::parameter("deletionId", error))?;
    json(&DeletionResponse { deletion: DeletionDto::from(&find_deletion(&state, tenant, id).await?) })
}

async fn find_deletion(state: &QueryState, tenant: TenantId, id: DeletionId) -> Result<Deletion, Problem> {
    let found = state.run_query(move |store| deletions(store)?.deletion(&tenant, id).map_err(refused));
    found.await?.ok_or_else(|| {
        Problem::not_found(format!(
            "no deletion {id} is remembered; GET /api/v1/deletions lists the last ones"
        ))
    })
}

pub(super) fn deletions(store: &dyn TraceStore) -> Result<&dyn Deletions, Problem> {
    store.as_deletions().ok_or_else(|| Problem::not_found("this store has no deletions"))
}

pub(super) fn refused(error: LifecycleError) -> Problem {
    match error {
        LifecycleError::Read(error) => error.into(),
        LifecycleError::Busy => Problem::busy(error.to_string()),
        LifecycleError::TooMany { .. } => Problem::parameter("q", error),
        LifecycleError::SeveralTenants | LifecycleError::Restricted(_) => {
            Problem::forbidden(error.to_string())
        }
        LifecycleError::Write(_) => {
            tracing::error!(%error, "a deletion or pin was not recorded");
            Problem::unreadable(error.to_string())
        }
    }
}

// === impl DeletionDto ===

impl From<&Deletion> for DeletionDto {
    fn from(deletion: &Deletion) -> Self {
        let backup = |(id, taken): &(BackupId, UnixNanos)| DeletionBackup {
            id: id.to_string(),
            taken_unix_nano: taken.to_string(),
        };
        let is_done = deletion.finished.is_some();
        Self {
            id: deletion.id.to_string(),
            state: if is_done { DeletionState::Done } else { DeletionState::Running },
            accepted_unix_nano: deletion.accepted.to_string(),
            finished_unix_nano: deletion.finished.map(|at| at.to_string()),
            trace_count: deletion.traces,
            span_count: deletion.spans,
            damaged_block_count: deletion.damaged_blocks,
            backups: deletion.backups.iter().map(backup).collect(),
            damaged_store_kept: deletion.damaged_store,
        }
    }
}
