//! `GET /api/v1/openapi.json`: the description of this API, kept complete by its tests, with what other parts of the
//! server add to it.

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Value;

use super::handler::Answer;
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;

pub(super) const DOCUMENT: &str = include_str!("../../openapi.json");

pub(super) async fn get(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let document = whole(&state.config().more_openapi)
        .map_err(|error| Problem::unreadable(format!("a part of the description is not JSON: {error}")))?;
    Ok(([(CONTENT_TYPE, "application/json")], document).into_response())
}

/// The document with the paths and components of others.
fn whole(parts: &[&str]) -> serde_json::Result<String> {
    if parts.is_empty() {
        return Ok(DOCUMENT.to_owned());
    }
    let mut document: Value = serde_json::from_str(DOCUMENT)?;
    for part in parts {
        merge(&mut document, serde_json::from_str(part)?);
    }
    serde_json::to_string(&document)
}

/// Adds the members of objects, at every depth.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
