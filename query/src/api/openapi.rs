//! `GET /api/v1/openapi.json`: the description of this API, kept complete by its tests.

use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::handler::Answer;
use crate::params::Params;

pub(super) const DOCUMENT: &str = include_str!("../../openapi.json");

pub(super) async fn get(uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    Ok(([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response())
}
