//! `GET /api/v1/audit`: the lines of the audit log, in pages by their numbers.
//!
//! Each answer names the last line of the log in `X-Audit-Head`: a reader of the newest lines begins that many before it,
//! and a copy that is kept elsewhere shows later that the log was not written anew.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::response::IntoResponse as _;
use serde::Deserialize;

use super::Answer;
use crate::audit::{last_head, lines_after};
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

/// `SEQ:HASH` of the last line.
const HEAD: HeaderName = HeaderName::from_static("x-audit-head");

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
    let read = move || Ok((last_head(&folder)?, lines_after(&folder, after, limit)?));
    let read: std::io::Result<_> =
        tokio::task::spawn_blocking(read).await.map_err(|error| Refusal::Internal(error.to_string()))?;
    let (head, lines) = read.map_err(|error| {
        tracing::error!(%error, "the audit log cannot be read");
        Refusal::Internal("the audit log cannot be read; the log of the server says why".to_owned())
    })?;
    let mut response =
        ([(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")], lines).into_response();
    if let Some(head) = head.and_then(|head| HeaderValue::try_from(head.to_string()).ok()) {
        response.headers_mut().insert(HEAD, head);
    }
    Ok(response)
}
