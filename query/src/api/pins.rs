//! `/api/v1/pins`: traces that retention must not remove.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use spandrel_proto::{TraceId, UnixNanos};
use spandrel_storage::{Pins, TraceStore};

use super::delete::refused;
use super::handler::{Answer, Asked, json, part};
use crate::answers::{Pin, PinAnswer, PinList};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;

/// `/pins/{traceId}`.
pub(super) fn one() -> MethodRouter<QueryState> {
    get(show).put(set).delete(remove)
}

pub(super) async fn all(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let pins = state.run_query(move |store| Ok(pins(store)?.pins(&tenant))).await?;
    json(&PinList { pins: pins.into_iter().map(Pin::from).collect() })
}

async fn show(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let id = trace_id(path, &uri)?;
    let pins = state.run_query(move |store| Ok(pins(store)?.pins(&tenant))).await?;
    let pin = pins.into_iter().find(|(trace, _)| *trace == id);
    json(&PinAnswer { pin: Pin::from(pin.ok_or_else(|| not_pinned(id))?) })
}

async fn set(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let id = trace_id(path, &uri)?;
    let since = state.run_query(move |store| pins(store)?.pin(&tenant, id).map_err(refused));
    let since = since.await?.ok_or_else(|| {
        Problem::not_found(format!(
            "no trace {id} is stored, or it is being deleted; only what is stored and stays can be pinned"
        ))
    })?;
    json(&PinAnswer { pin: Pin::from((id, since)) })
}

async fn remove(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let id = trace_id(path, &uri)?;
    let was_pinned = state.run_query(move |store| pins(store)?.unpin(&tenant, id).map_err(refused));
    if was_pinned.await? { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(not_pinned(id)) }
}

fn pins(store: &dyn TraceStore) -> Result<&dyn Pins, Problem> {
    store.as_pins().ok_or_else(|| Problem::not_found("this store has no pins"))
}

fn trace_id(path: Result<Path<String>, PathRejection>, uri: &Uri) -> Result<TraceId, Problem> {
    Params::parse(uri, &[])?;
    part("traceId", path)?.parse().map_err(|error| Problem::parameter("traceId", error))
}

fn not_pinned(id: TraceId) -> Problem {
    Problem::not_found(format!("the trace {id} is not pinned; PUT this path to pin it"))
}

// === impl Pin ===

impl From<(TraceId, UnixNanos)> for Pin {
    fn from((trace, since): (TraceId, UnixNanos)) -> Self {
        Self { trace_id: trace.to_string(), since_unix_nano: since.to_string() }
    }
}
