//! What agents send and ask beside segments. An agent that gets no answer logs errors, or stops to send, so every call is
//! answered: there is no command for it. What it sends is dropped and counted.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;

use super::HINT;
use super::stream::Pieces;
use crate::intake::Intake;
use crate::receive::unary;
use crate::refusal::Signal;

/// The calls, with the signal that they carry, if any.
const CALLS: [(&str, Option<Signal>); 16] = [
    ("/skywalking.v3.ManagementService/reportInstanceProperties", None),
    ("/skywalking.v3.ManagementService/keepAlive", None),
    ("/skywalking.v3.ConfigurationDiscoveryService/fetchConfigurations", None),
    ("/skywalking.v3.ProfileTask/getProfileTaskCommands", None),
    ("/skywalking.v3.ProfileTask/reportTaskFinish", None),
    ("/skywalking.v3.ProfileTask/collectSnapshot", Some(Signal::Profiles)),
    ("/skywalking.v3.JVMMetricReportService/collect", Some(Signal::Metrics)),
    ("/skywalking.v3.CLRMetricReportService/collect", Some(Signal::Metrics)),
    ("/skywalking.v3.MeterReportService/collect", Some(Signal::Metrics)),
    ("/skywalking.v3.MeterReportService/collectBatch", Some(Signal::Metrics)),
    ("/skywalking.v3.LogReportService/collect", Some(Signal::Logs)),
    ("/skywalking.v3.EventService/collect", Some(Signal::Logs)),
    ("/skywalking.v3.SpanAttachedEventReportService/collect", Some(Signal::Logs)),
    ("/skywalking.v3.BrowserPerfService/collectPerfData", Some(Signal::Metrics)),
    ("/skywalking.v3.BrowserPerfService/collectErrorLogs", Some(Signal::Logs)),
    ("/skywalking.v3.ServiceMeshMetricService/collect", Some(Signal::Metrics)),
];

pub(super) fn routes(router: Router<Arc<Intake>>) -> Router<Arc<Intake>> {
    CALLS.into_iter().fold(router, |router, (path, signal)| {
        router.route(path, any(move |state, request| answer(state, request, signal)))
    })
}

async fn answer(State(intake): State<Arc<Intake>>, request: Request, signal: Option<Signal>) -> Response {
    if !unary::is_grpc(request.headers()) {
        return unary::unknown(&intake, &request, HINT);
    }
    let (mut pieces, mut bytes) = (Pieces::of(request.into_body()), 0);
    let ended = loop {
        match pieces.next(&intake).await {
            Ok(Some(piece)) => bytes += piece.len(),
            Ok(None) => break Ok(()),
            Err(refusal) => break Err(refusal),
        }
    };
    if let Some(signal) = signal {
        intake.metrics.discarded(signal, bytes);
    }
    match ended {
        Ok(()) => unary::answered(&[]),
        Err(refusal) => unary::refused(&intake, &refusal),
    }
}
