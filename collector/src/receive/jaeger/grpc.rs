//! `jaeger.api_v2.CollectorService/PostSpans`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;

use crate::intake::Intake;
use crate::receive::{plain, unary};
use crate::route::Route;

const HINT: &str = "this port takes Jaeger's gRPC (CollectorService/PostSpans), and its thrift over HTTP has a port of its own \
                    (usually 14268)";

/// The routes of a listener for Jaeger's gRPC.
pub(crate) fn router(intake: Arc<Intake>) -> Router {
    Router::new()
        .route("/jaeger.api_v2.CollectorService/PostSpans", any(post_spans))
        .fallback(unknown)
        .with_state(intake)
}

async fn post_spans(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    // `PostSpansResponse` has no fields.
    unary::call(&intake, request, Route::JaegerGrpc, HINT, |accepted| {
        plain::some_accepted(accepted).map(|_| Bytes::new())
    })
    .await
}

async fn unknown(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    unary::unknown(&intake, &request, HINT)
}
