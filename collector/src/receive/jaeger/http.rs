//! Thrift over HTTP: `POST /api/traces`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::post;

use crate::intake::Intake;
use crate::receive::exchange::{exchange, media_type};
use crate::receive::plain;
use crate::refusal::Refusal;
use crate::route::Route;

const SUPPORTED: &str =
    "application/x-thrift or application/vnd.apache.thrift.binary, with format=jaeger.thrift";

/// The routes of a listener for Jaeger's HTTP.
pub(crate) fn router(intake: Arc<Intake>) -> Router {
    Router::new()
        .route("/api/traces", post(traces).fallback(wrong_method))
        .fallback(unknown_path)
        .with_state(intake)
}

async fn traces(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let route = route_of(request.uri(), &media_type(request.headers()));
    let outcome = exchange(&intake, request, route).await;
    plain::answer(&intake, outcome)
}

fn route_of(uri: &Uri, media_type: &str) -> Result<Route, Refusal> {
    let unsupported =
        |found: &str| Err(Refusal::ContentType { found: found.to_owned(), supported: SUPPORTED });
    if !matches!(media_type, "application/x-thrift" | "application/vnd.apache.thrift.binary") {
        return unsupported(media_type);
    }
    let query = uri.query().unwrap_or_default();
    match query.split('&').find_map(|pair| pair.strip_prefix("format=")) {
        None | Some("jaeger.thrift" | "jaeger.thrift.binary") => Ok(Route::JaegerThrift),
        Some("zipkin.thrift") => Ok(Route::ZipkinThrift),
        Some(other) => unsupported(other),
    }
}

async fn wrong_method(State(intake): State<Arc<Intake>>, method: Method) -> Response {
    plain::refused(&intake, &Refusal::Method(method.to_string()))
}

async fn unknown_path(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let hint = "Jaeger's spans go to POST /api/traces?format=jaeger.thrift";
    plain::refused(&intake, &Refusal::UnknownPath { path, hint })
}
