//! Shared by the handlers: the tenant of a request, parts of its path and body, and responses in JSON.

use std::convert::Infallible;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use spandrel_proto::TenantId;

use crate::problem::Problem;

pub(super) type Answer = Result<Response, Problem>;

/// The tenant of a request. Until tenancy can be switched on, headers that name one are ignored.
pub(super) struct Tenant(pub(super) TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(TenantId::default()))
    }
}

/// Reads a JSON object. Serde alone would also accept an array of the members' values in order.
pub(super) fn json_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    if body.trim_ascii_start().starts_with(b"{") {
        return serde_json::from_slice(body);
    }
    let not_an_object = <serde_json::Error as serde::de::Error>::custom("this is not a JSON object");
    // For a body that is not JSON, the parser's own error names the place.
    Err(serde_json::from_slice::<serde::de::IgnoredAny>(body).err().unwrap_or(not_an_object))
}

/// Writes a small answer in one part.
pub(super) fn json(answer: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(answer)
        .map_err(|error| Problem::unreadable(format!("the answer could not be written: {error}")))?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// A part of the path, decoded.
pub(super) fn part(name: &str, path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.map(|Path(text)| text).map_err(|error| Problem::parameter(name, error.body_text()))
}
