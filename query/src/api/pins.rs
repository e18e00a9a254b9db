//! `/api/v1/pins`: traces that stay whatever retention says.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use serde::Serialize;
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use super::delete::{cleaning, refused};
use super::{Answer, json, part};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;

#[derive(Serialize)]
struct Pins {
    pins: Vec<Pin>,
}

#[derive(Serialize)]
struct One {
    pin: Pin,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pin {
    trace_id: String,
    since_unix_nano: String,
}

/// `/pins/{traceId}`.
pub(super) fn one() -> MethodRouter<QueryState> {
    get(show).put(set).delete(remove)
}

pub(super) async fn all(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let pins = state.ask(|store| Ok(cleaning(store)?.pins(&TenantId::default()))).await?;
    json(&Pins { pins: pins.into_iter().map(described).collect() })
}

async fn show(
    State(state): State<QueryState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let id = trace_id(path, &uri)?;
    let pins = state.ask(|store| Ok(cleaning(store)?.pins(&TenantId::default()))).await?;
    let pin = pins.into_iter().find(|(trace, _)| *trace == id);
    json(&One { pin: described(pin.ok_or_else(|| not_pinned(id))?) })
}

async fn set(State(state): State<QueryState>, path: Result<Path<String>, PathRejection>, uri: Uri) -> Answer {
    let id = trace_id(path, &uri)?;
    let since = state.ask(move |store| cleaning(store)?.pin(&TenantId::default(), id).map_err(refused));
    let since = since.await?.ok_or_else(|| {
        Problem::not_found(format!(
            "no trace {id} is stored, or it is being deleted; only what is stored and stays can be pinned"
        ))
    })?;
    json(&One { pin: described((id, since)) })
}

async fn remove(
    State(state): State<QueryState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let id = trace_id(path, &uri)?;
    let was_pinned =
        state.ask(move |store| cleaning(store)?.unpin(&TenantId::default(), id).map_err(refused));
    if was_pinned.await? { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(not_pinned(id)) }
}

fn trace_id(path: Result<Path<String>, PathRejection>, uri: &Uri) -> Result<TraceId, Problem> {
    Params::parse(uri, &[])?;
    part("traceId", path)?.parse().map_err(|error| Problem::parameter("traceId", error))
}

fn not_pinned(id: TraceId) -> Problem {
    Problem::not_found(format!("the trace {id} is not pinned; PUT this path to pin it"))
}

fn described((trace, since): (TraceId, UnixNanos)) -> Pin {
    Pin { trace_id: trace.to_string(), since_unix_nano: since.to_string() }
}
