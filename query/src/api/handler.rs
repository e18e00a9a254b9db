//! Shared by the handlers: what the caller of a request sees, parts of its path and body, and responses in JSON.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use spandrel_proto::{Caller, TenantId};

use crate::problem::Problem;
use crate::state::QueryState;
use crate::views;

pub(super) type Answer = Result<Response, Problem>;

/// What the caller of a request sees: the state over its part of the store, and its tenant. A caller of several tenants
/// has a store that joins them, whichever of them is named.
pub(super) struct Asked {
    pub(super) state: QueryState,
    pub(super) tenant: TenantId,
    /// Whether the caller sees what belongs to no tenant.
    pub(super) sees_server: bool,
    /// Whether the caller's role hides something of its tenant.
    pub(super) restricted: bool,
}

impl FromRequestParts<QueryState> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &QueryState) -> Result<Self, Problem> {
        let Some(caller) = parts.extensions.get::<Caller>() else {
            return Ok(Self {
                state: state.clone(),
                tenant: TenantId::default(),
                sees_server: true,
                restricted: false,
            });
        };
        let ledger = state.asker().ledger.clone();
        let store = views::of(state.store(), ledger, caller).map_err(Problem::unreadable)?;
        let sees_server = caller.sees_server && caller.restriction.is_none();
        let (tenant, restricted) = (caller.tenants.first().clone(), caller.restriction.is_some());
        Ok(Self { state: state.of(caller.clone(), store), tenant, sees_server, restricted })
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
