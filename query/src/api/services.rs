//! `GET /api/v1/services` and `/api/v1/services/{service}/operations`.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;

use super::handler::{Answer, Asked, json, part};
use crate::answers::{Operation, OperationsAnswer, Service, ServicesAnswer};
use crate::params::Params;

pub(super) async fn list(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let names = state.run_query(move |store| Ok(store.services(&tenant))).await?;
    json(&ServicesAnswer { services: names.into_iter().map(|name| Service { name }).collect() })
}

pub(super) async fn operations(
    Asked { state, tenant, .. }: Asked,
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
