//! OTLP/HTTP: `POST /v1/traces` and `POST /v1/logs`, in protobuf or JSON.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::{ALLOW, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use tower_http::cors::CorsLayer;

use super::format::{Format, JSON, accepted, refused};
use super::signals;
use crate::intake::Intake;
use crate::receive::exchange::exchange;
use crate::receive::unary;
use crate::refusal::Refusal;

const HINT: &str = "OTLP/HTTP traces go to POST /v1/traces, logs of spans to POST /v1/logs";

/// The routes of an OTLP/HTTP listener.
pub(crate) fn router(intake: Arc<Intake>, cors: Option<CorsLayer>) -> Router {
    let router = Router::new()
        .route("/v1/traces", post(export).fallback(wrong_method))
        .route("/v1/logs", post(export_logs).fallback(wrong_method));
    let router = signals::over_http(router).fallback(unknown_path).with_state(intake);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

async fn export(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let format = Format::of(request.headers());
    take(&intake, request, format).await
}

async fn export_logs(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let format = Format::of(request.headers()).map(Format::of_logs);
    take(&intake, request, format).await
}

async fn take(intake: &Intake, request: Request, format: Result<Format, Refusal>) -> Response {
    // If the format itself is refused, the response is JSON, which people can read.
    let answer_in = format.as_ref().copied().unwrap_or(JSON);
    match exchange(intake, request, format.map(|format| format.route)).await {
        Ok(taken) => accepted(answer_in, &taken.rejected),
        Err(refusal) => refused(intake, answer_in, &refusal),
    }
}

async fn wrong_method(State(intake): State<Arc<Intake>>, method: Method) -> Response {
    let mut response = refused(&intake, JSON, &Refusal::Method(method.to_string()));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn unknown_path(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let refusal = Refusal::UnknownPath { path: request.uri().path().to_owned(), hint: HINT };
    if unary::is_grpc(request.headers()) {
        return unary::refused(&intake, &refusal);
    }
    refused(&intake, JSON, &refusal)
}
