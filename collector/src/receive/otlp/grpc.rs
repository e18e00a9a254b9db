//! OTLP/gRPC: `TraceService/Export` and `LogsService/Export`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;

use super::format::GRPC_HINT;
use super::signals;
use crate::intake::Intake;
use crate::receive::{answer, unary};
use crate::route::Route;

/// The routes of an OTLP/gRPC listener.
pub(crate) fn router(intake: Arc<Intake>) -> Router {
    let router = Router::new()
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", any(export))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", any(export_logs));
    signals::over_grpc(router).fallback(unknown).with_state(intake)
}

async fn export(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    unary::call(&intake, request, Route::OtlpGrpc, GRPC_HINT, |accepted| {
        Ok(answer::success(&accepted.rejected))
    })
    .await
}

async fn export_logs(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    // The answers of both services have the same fields.
    unary::call(&intake, request, Route::OtlpLogsGrpc, GRPC_HINT, |accepted| {
        Ok(answer::success(&accepted.rejected))
    })
    .await
}

async fn unknown(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    unary::unknown(&intake, &request, GRPC_HINT)
}
