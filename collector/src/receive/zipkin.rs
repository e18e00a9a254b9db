//! Zipkin over HTTP, versions 1 and 2, and its gRPC service, on one port.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::{any, post};
use bytes::Bytes;
use tower_http::cors::CorsLayer;

use super::exchange::{exchange, media_type};
use super::{plain, unary};
use crate::intake::Intake;
use crate::refusal::Refusal;
use crate::route::Route;

const HINT: &str = "Zipkin's spans go to POST /api/v2/spans";
const SUPPORTED_V2: &str = "application/json or application/x-protobuf";
const SUPPORTED_V1: &str = "application/json or application/x-thrift";

/// The routes of a Zipkin listener.
pub(crate) fn router(intake: Arc<Intake>, cors: Option<CorsLayer>) -> Router {
    let router = Router::new()
        .route("/api/v2/spans", post(version_2).fallback(wrong_method))
        .route("/api/v1/spans", post(version_1).fallback(wrong_method))
        .route("/zipkin.proto3.SpanService/Report", any(report))
        .fallback(unknown_path)
        .with_state(intake);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

async fn version_2(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let route = match media_type(request.headers()).as_str() {
        // Some senders name no type; it was JSON before there were others.
        "" | "application/json" => Ok(Route::ZipkinJson),
        "application/x-protobuf" | "application/protobuf" => Ok(Route::ZipkinProtobuf),
        other => Err(Refusal::ContentType { found: other.to_owned(), supported: SUPPORTED_V2 }),
    };
    let outcome = exchange(&intake, request, route).await;
    plain::answer(&intake, outcome)
}

async fn version_1(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let route = match media_type(request.headers()).as_str() {
        "" | "application/json" => Ok(Route::ZipkinJsonV1),
        "application/x-thrift" | "application/vnd.apache.thrift.binary" => Ok(Route::ZipkinThrift),
        other => Err(Refusal::ContentType { found: other.to_owned(), supported: SUPPORTED_V1 }),
    };
    let outcome = exchange(&intake, request, route).await;
    plain::answer(&intake, outcome)
}

async fn report(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    // `ReportResponse` has no fields.
    unary::call(&intake, request, Route::ZipkinGrpc, HINT, |accepted| {
        plain::some_accepted(accepted).map(|_| Bytes::new())
    })
    .await
}

async fn wrong_method(State(intake): State<Arc<Intake>>, method: Method) -> Response {
    plain::refused(&intake, &Refusal::Method(method.to_string()))
}

async fn unknown_path(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let refusal = Refusal::UnknownPath { path, hint: HINT };
    match unary::is_grpc(request.headers()) {
        true => unary::refused(&intake, &refusal),
        false => plain::refused(&intake, &refusal),
    }
}
