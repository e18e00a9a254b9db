//! `GET /api/v1/services` and `/api/v1/services/{service}/operations`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;
use spandrel_proto::TenantId;

use super::{Answer, json, part};
use crate::params::Params;
use crate::state::QueryState;

#[derive(Serialize)]
struct Services {
    services: Vec<Service>,
}

#[derive(Serialize)]
struct Service {
    name: String,
}

#[derive(Serialize)]
struct Operations {
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Operation {
    name: String,
    kind: &'static str,
}

pub(super) async fn services(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let names = state.ask(|store| Ok(store.services(&TenantId::default()))).await?;
    json(&Services { services: names.into_iter().map(|name| Service { name }).collect() })
}

pub(super) async fn operations(
    State(state): State<QueryState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let service = part("service", path)?;
    Params::parse(&uri, &[])?;
    let found = state.ask(move |store| Ok(store.operations(&TenantId::default(), &service))).await?;
    let operation = |operation: spandrel_storage::Operation| Operation {
        name: operation.name,
        kind: operation.kind.name(),
    };
    json(&Operations { operations: found.into_iter().map(operation).collect() })
}
