//! Datadog's agent, as far as tracers need one: traces of versions 0.3 to 0.5, what the agent can do, and what tracers send
//! to it beside traces.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::json;

use super::exchange::{exchange, media_type};
use super::plain;
use crate::body;
use crate::intake::{Accepted, Intake};
use crate::refusal::{Refusal, Signal};
use crate::route::Route;

const HINT: &str = "Datadog's traces go to POST or PUT /v0.4/traces or /v0.5/traces";

/// The share of traces that a tracer is to keep: all, by service and environment, of which the empty ones stand for any.
const RATES: &str = r#"{"rate_by_service":{"service:,env:":1}}"#;

/// What a tracer is told about traces that are accepted.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// A word, as version 0.3 has it.
    Word,
    /// The rates of sampling.
    Rates,
}

/// The routes of a listener for Datadog's tracers.
pub(crate) fn router(intake: Arc<Intake>) -> Router {
    let traces = |route, answer| {
        let take = move |state, request| traces(state, request, route, answer);
        post(take).put(take).fallback(wrong_method)
    };
    let dropped = |signal| {
        let take = move |state, request| discard(state, request, signal);
        post(take).put(take).fallback(wrong_method)
    };
    Router::new()
        .route("/v0.3/traces", traces(Route::DatadogV04, Answer::Word))
        .route("/v0.4/traces", traces(Route::DatadogV04, Answer::Rates))
        .route("/v0.5/traces", traces(Route::DatadogV05, Answer::Rates))
        .route("/info", get(info).fallback(wrong_method))
        .route("/v0.6/stats", dropped(Signal::Metrics))
        .route("/telemetry/proxy/api/v2/apmtelemetry", dropped(Signal::Metrics))
        .route("/profiling/v1/input", dropped(Signal::Profiles))
        .fallback(unknown_path)
        .with_state(intake)
}

async fn traces(
    State(intake): State<Arc<Intake>>,
    request: Request,
    route: Route,
    answer: Answer,
) -> Response {
    let route = route_of(request.headers(), route);
    match exchange(&intake, request, route).await.and_then(plain::some_accepted) {
        Ok(Accepted { .. }) => match answer {
            Answer::Word => "OK\n".into_response(),
            Answer::Rates => ([(CONTENT_TYPE, "application/json")], RATES).into_response(),
        },
        Err(refusal) => plain::refused(&intake, &refusal),
    }
}

/// Tracers may also send JSON in these versions, of which none that is maintained makes use.
fn route_of(headers: &HeaderMap, route: Route) -> Result<Route, Refusal> {
    match media_type(headers).as_str() {
        "application/msgpack" | "application/x-msgpack" | "application/octet-stream" | "" => Ok(route),
        other => Err(Refusal::ContentType { found: other.to_owned(), supported: "application/msgpack" }),
    }
}

/// What this agent takes. It computes no statistics, so that tracers have to send every trace.
async fn info() -> Response {
    let info = json!({
        "version": format!("spandrel-{}", env!("CARGO_PKG_VERSION")),
        "endpoints": ["/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/telemetry/proxy/"],
        "client_drop_p0s": false,
        "span_meta_structs": true,
        "long_running_spans": false,
        "span_events": true,
        "config": { "statsd_port": 0 },
    });
    ([(CONTENT_TYPE, "application/json")], info.to_string()).into_response()
}

/// Takes what a tracer sends beside traces, drops it and counts it. A tracer cannot be told to stop by an answer.
async fn discard(State(intake): State<Arc<Intake>>, request: Request, signal: Signal) -> Response {
    match body::measure(request.into_body(), &intake.limits).await {
        Ok(bytes) => {
            intake.metrics.discarded(signal, bytes);
            (StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], "{}").into_response()
        }
        Err(refusal) => plain::refused(&intake, &refusal),
    }
}

async fn wrong_method(State(intake): State<Arc<Intake>>, method: Method) -> Response {
    plain::refused(&intake, &Refusal::Method(method.to_string()))
}

async fn unknown_path(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    plain::refused(&intake, &Refusal::UnknownPath { path, hint: HINT })
}
