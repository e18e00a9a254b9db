//! Reading requests and writing answers as JSON.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Answer;
use crate::authorize::Gate;
use crate::refusal::Refusal;

/// The longest body of a request: names and passwords.
pub(super) const MAX_BYTES: usize = 16 << 10;

/// Reads a body of `application/json`, a type that pages of other sites cannot send without asking first.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    require_no_parameters(request.uri())?;
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Refusal::ContentType);
    }
    let body: Body = request.into_body();
    let too_long = || Refusal::BadRequest(format!("the body is broken, or longer than {MAX_BYTES} bytes"));
    let bytes = to_bytes(body, MAX_BYTES).await.map_err(|_| too_long())?;
    // The error names the member and the place; a value of the body, which may be a password, is not in it.
    serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Refusal::BadRequest(format!(
            "the body is not the JSON that this takes, at {place}; /api/v1/openapi.json has it"
        ))
    })
}

pub(super) fn require_no_parameters(uri: &Uri) -> Result<(), Refusal> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(Refusal::BadRequest("this takes no parameters".to_owned())),
    }
}

/// A JSON answer that no cache keeps.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(|error| Refusal::Internal(error.to_string()))?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((status, headers, bytes).into_response())
}

pub(super) async fn method_not_allowed(State(gate): State<Arc<Gate>>, method: Method, uri: Uri) -> Refusal {
    gate.wrong_method(&method, uri.path())
}
