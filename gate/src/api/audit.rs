//! `GET /api/v1/audit`: the lines of the audit log, in pages by their numbers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse as _;
use serde::Deserialize;

use super::Answer;
use crate::audit::lines_after;
use crate::authorize::{Access, Gate};
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The number of the last line that the caller has.
    #[serde(default)]
    after: u64,
    #[serde(default = "default_limit")]
    limit: usize,
}

const MAX_LIMIT: usize = 10_000;

fn default_limit() -> usize {
    1_000
}

pub(super) async fn get(State(gate): State<Arc<Gate>>, uri: Uri) -> Answer {
    let read = serde_urlencoded::from_str(uri.query().unwrap_or_default());
    let Parameters { after, limit } = read
        .ok()
        .filter(|parameters: &Parameters| (1..=MAX_LIMIT).contains(&parameters.limit))
        .ok_or_else(|| Refusal::BadRequest(format!("this takes after=NUMBER and limit=1 to {MAX_LIMIT}")))?;
    if gate.access() == Access::Anonymous {
        return Err(Refusal::WhileAnonymous);
    }
    let folder = gate.audit_folder().ok_or(Refusal::NoAudit)?;
    let lines = tokio::task::spawn_blocking(move || lines_after(&folder, after, limit)).await;
    let lines = lines.map_err(|error| Refusal::Internal(error.to_string()))?;
    let lines = lines.map_err(|error| {
        tracing::error!(%error, "the audit log cannot be read");
        Refusal::Internal("the audit log cannot be read; the log of the server says why".to_owned())
    })?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")], lines).into_response())
}
