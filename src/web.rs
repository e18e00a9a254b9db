//! The HTTP port: health and metrics from the start, API and UI once the store is open.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use spandrel_collector::Collector;
use spandrel_gate::Gate;
use spandrel_query::SPAN_METRICS;
use spandrel_query::answers::ProblemDocument;
use spandrel_storage::TraceStore;
use spandrel_ui::Asset;
use tower::ServiceExt;
use xxhash_rust::xxh3::xxh3_64;

/// The parts behind the port, which exist once the store is open.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn TraceStore>,
    pub(crate) collector: Arc<Collector>,
    /// The JSON API, with everything below `/api`.
    pub(crate) api: Router,
}

/// Shared by the routes; `opened` is set when the store is.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) opened: Arc<OnceLock<Opened>>,
    pub(crate) metrics: PrometheusHandle,
}

/// The routes of the HTTP port.
pub(crate) fn router(web: Web, gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .fallback(api_or_page)
        .with_state(web)
        .merge(spandrel_gate::api::router(gate))
}

async fn readiness(State(web): State<Web>) -> Response {
    match web.opened.get() {
        None => (StatusCode::SERVICE_UNAVAILABLE, "the store is being opened\n").into_response(),
        Some(opened) => match opened.store.refusal() {
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
            None if opened.collector.load().is_draining => {
                (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response()
            }
            None => "ready\n".into_response(),
        },
    }
}

async fn metrics(State(web): State<Web>) -> Response {
    let mut more = String::new();
    if let Some(opened) = web.opened.get() {
        crate::metrics::refresh(&*opened.store, &opened.collector);
        more = opened.collector.delay_metrics();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, web.metrics.render() + &more).into_response()
}

async fn api_or_page(State(web): State<Web>, request: Request) -> Response {
    let path = request.uri().path();
    if path != "/api" && !path.starts_with("/api/") && path != SPAN_METRICS {
        return page(&request);
    }
    match web.opened.get() {
        Some(opened) => opened.api.clone().oneshot(request).await.into_response(),
        None => {
            let detail = "the store is being opened; ask again in a moment";
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", detail);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// A problem document for errors outside the JSON API.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let document = ProblemDocument {
        r#type: "about:blank".into(),
        title: title.into(),
        status: status.as_u16(),
        detail: detail.into(),
        parameter: None,
        allowed: None,
    };
    let body = serde_json::to_vec(&document).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// The content security policy of pages: they load nothing from other origins.
#[cfg(feature = "ui")]
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'self'; frame-ancestors 'none'";
/// The start page of a headless build has inline styles.
#[cfg(not(feature = "ui"))]
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
/// The caching of files whose name holds a hash of their content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A file of the UI, or its start page for every path that the UI's own router handles.
fn page(request: &Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        // Exporters are easily pointed at the wrong port.
        let text =
            "pages are for GET and HEAD; OTLP goes to POST /v1/traces of the OTLP/HTTP port (usually 4318)\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], text).into_response();
    }
    let Some(asset) = spandrel_ui::page(request.uri().path()) else {
        return not_found(request);
    };
    file(asset, request.headers().get(header::IF_NONE_MATCH))
}

/// Browsers get the app, which shows that there is no such page; other clients get a line of text. Both get 404, so
/// that clients notice an API that does not exist.
fn not_found(request: &Request) -> Response {
    let accept = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut response = match accept.windows(9).any(|kind| kind == b"text/html") {
        true => file(spandrel_ui::index(), None),
        false => "there is nothing here; the UI begins at /\n".into_response(),
    };
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// `known` is the ETag of the copy that the browser has.
fn file(asset: Asset, known: Option<&HeaderValue>) -> Response {
    let tag = format!("\"{:016x}\"", xxh3_64(&asset.bytes));
    let mut response = match known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => asset.bytes.into_owned().into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    let caching = if asset.immutable { IMMUTABLE } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
