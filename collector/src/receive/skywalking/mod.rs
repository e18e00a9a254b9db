//! SkyWalking, as its agents and Envoy send it over gRPC: segments, in a stream or in one message, and what agents send and
//! ask beside them.

mod beside;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;

use super::{plain, unary};
use crate::intake::Intake;
use crate::route::Route;

const HINT: &str = "this port takes SkyWalking's gRPC of version 3 (skywalking.v3.TraceSegmentReportService), as agents of \
                    version 8 and later speak it";

/// The routes of a listener for SkyWalking's agents.
pub(crate) fn router(intake: Arc<Intake>) -> Router {
    let router = Router::new()
        .route("/skywalking.v3.TraceSegmentReportService/collect", any(collect))
        .route("/skywalking.v3.TraceSegmentReportService/collectInSync", any(collect_in_sync));
    beside::routes(router).fallback(unknown).with_state(intake)
}

async fn collect(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    if !unary::is_grpc(request.headers()) {
        return unary::unknown(&intake, &request, HINT);
    }
    match stream::take(&intake, request).await {
        // `Commands`: there are none.
        Ok(()) => unary::answered(&[]),
        Err(refusal) => unary::refused(&intake, &refusal),
    }
}

async fn collect_in_sync(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    unary::call(&intake, request, Route::SkyWalkingCollection, HINT, |accepted| {
        plain::some_accepted(accepted).map(|_| Bytes::new())
    })
    .await
}

async fn unknown(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    unary::unknown(&intake, &request, HINT)
}
