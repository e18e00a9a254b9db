//! What agents send beside traces and the logs of spans: metrics and profiles. They get one clear answer that an SDK shows, or are taken,
//! dropped and counted.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, post};

use super::format::{GRPC_HINT, empty, format_of, refused};
use crate::body;
use crate::config::OtherSignals;
use crate::intake::Intake;
use crate::receive::unary;
use crate::refusal::{Refusal, Signal};

/// The routes over HTTP.
pub(super) fn over_http(router: Router<Arc<Intake>>) -> Router<Arc<Intake>> {
    router
        .route("/v1/metrics", post(|state, request| answer(state, Signal::Metrics, request)))
        .route("/v1development/profiles", post(|state, request| answer(state, Signal::Profiles, request)))
}

/// The routes over gRPC.
pub(super) fn over_grpc(router: Router<Arc<Intake>>) -> Router<Arc<Intake>> {
    const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    router.route(METRICS, any(|state, request| call(state, Signal::Metrics, request))).route(
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        any(|state, request| call(state, Signal::Profiles, request)),
    )
}

async fn answer(State(intake): State<Arc<Intake>>, signal: Signal, request: Request) -> Response {
    let format = format_of(request.headers());
    match take(&intake, signal, request).await {
        Ok(()) => empty(format),
        Err(refusal) => refused(&intake, format, &refusal),
    }
}

async fn call(State(intake): State<Arc<Intake>>, signal: Signal, request: Request) -> Response {
    if !unary::is_grpc(request.headers()) {
        return unary::unknown(&intake, &request, GRPC_HINT);
    }
    match take(&intake, signal, request).await {
        Ok(()) => unary::answered(&[]),
        Err(refusal) => unary::refused(&intake, &refusal),
    }
}

/// Reads the body, without keeping it, and drops it.
async fn take(intake: &Intake, signal: Signal, request: Request) -> Result<(), Refusal> {
    let limits = &intake.limits;
    match intake.other_signals {
        OtherSignals::Refuse => {
            body::discard(request.into_body(), limits.body_timeout).await;
            Err(Refusal::OtherSignal(signal))
        }
        OtherSignals::Discard => {
            let bytes = body::measure(request.into_body(), limits).await?;
            intake.metrics.discarded(signal, bytes);
            Ok(())
        }
    }
}
