//! `GET /api/v1/services` and `/api/v1/services/{service}/operations`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::handler::{Answer, Tenant, json, part};
use crate::answers::{Operation, OperationsAnswer, Service, ServicesAnswer};
use crate::params::Params;
use crate::state::QueryState;

pub(super) async fn list(State(state): State<QueryState>, Tenant(tenant): Tenant, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let names = state.run_query(move |store| Ok(store.services(&tenant))).await?;
    json(&ServicesAnswer { services: names.into_iter().map(|name| Service { name }).collect() })
}

pub(super) async fn operations(
    State(state): State<QueryState>,
    Tenant(tenant): Tenant,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let service = part("service", path)?;
    Params::parse(&uri, &[])?;
    let found = state.run_query(move |store| Ok(store.operations(&tenant, &service))).await?;
    let operation = |operation: spandrel_storage::Operation| Operation {
        name: operation.name,
        kind: operation.kind.name().into(),
    };
    json(&OperationsAnswer { operations: found.into_iter().map(operation).collect() })
}
