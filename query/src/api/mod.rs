//! The native JSON API: its routes and middleware. The types of responses are in [`crate::answers`].

mod aggregates;
mod attributes;
mod backup;
mod check;
mod delete;
mod dependencies;
mod export;
mod fold;
mod handler;
mod live;
mod mesh;
mod noise;
mod openapi;
mod operations;
mod pins;
mod search;
mod series;
mod services;
mod span_metrics;
mod status;
mod step;
mod tenants;
mod trace;

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::ACCEPT_ENCODING;
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, any, delete as delete_of, get, post};
use tower_http::compression::{CompressionLayer, CompressionLevel};

use crate::problem::Problem;
use crate::state::QueryState;

const PREFIX: &str = "/api/v1";

/// Routes reserved for later. Without this list the last part would be read as a trace ID.
const RESERVED: [&str; 1] = ["/traces/compare"];

/// The router of the JSON API: everything under `/api/v1`, and problems for the rest of `/api`.
///
/// Called inside a tokio runtime, it also starts the task that samples the rate of ingest for `/api/v1/status`.
pub fn router(state: QueryState) -> Router {
    metrics::describe_histogram!(
        "spandrel_query_seconds",
        metrics::Unit::Seconds,
        "Time until the answer to a query begins, by route and status"
    );
    state.watch_ingest();
    let mut router = Router::new();
    for (path, handlers) in routes() {
        router = router.route(&format!("{PREFIX}{path}"), handlers);
    }
    for path in RESERVED {
        router = router.route(&format!("{PREFIX}{path}"), any(unknown_path));
    }
    router
        .route(SPAN_METRICS, get(span_metrics::get))
        .route("/api", any(unknown_path))
        .route("/api/", any(unknown_path))
        .route("/api/{*rest}", any(unknown_path))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(middleware::from_fn(plain_heads))
        .layer(middleware::from_fn(measured))
        .with_state(state)
}

/// What a scraper reads, which stands beside the server's own metrics and not in the JSON API.
pub const SPAN_METRICS: &str = "/metrics/spans";

/// Every route, relative to the prefix. The OpenAPI document describes exactly these.
fn routes() -> Vec<(&'static str, MethodRouter<QueryState>)> {
    vec![
        ("/traces", get(search::get)),
        ("/traces/live", get(live::get)),
        ("/traces/{traceId}", get(trace::get)),
        ("/traces/{traceId}/hops", get(mesh::hops)),
        ("/export", get(export::get)),
        ("/services", get(services::list)),
        ("/services/{service}/operations", get(services::operations)),
        ("/operations", get(operations::table)),
        ("/traces/{traceId}/spans/{spanId}/percentile", get(operations::percentile)),
        ("/aggregates", get(aggregates::get)),
        ("/metrics", get(series::get)),
        ("/histogram", get(series::histogram)),
        ("/attributes", get(attributes::all)),
        ("/attributes/compare", get(attributes::compare)),
        ("/attributes/{name}/values", get(attributes::values)),
        ("/dependencies", get(dependencies::get)),
        ("/mesh/edges", get(mesh::edges)),
        ("/noise", get(noise::get)),
        ("/delete", post(delete::post)),
        ("/deletions", get(delete::all)),
        ("/deletions/{deletionId}", get(delete::one)),
        ("/pins", get(pins::all)),
        ("/pins/{traceId}", pins::one()),
        ("/status", get(status::get)),
        ("/tenants", get(tenants::list)),
        ("/tenants/{tenant}", delete_of(tenants::delete)),
        ("/usage", get(tenants::usage)),
        ("/backups", backup::all()),
        ("/backups/{backupId}", backup::one()),
        ("/check", check::all()),
        ("/openapi.json", get(openapi::get)),
    ]
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}; {PREFIX}/openapi.json describes what there is",
        uri.path()
    ))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(format!(
        "{} does not take {method}; {PREFIX}/openapi.json says what it takes",
        uri.path()
    ))
}

/// Keeps responses to HEAD uncompressed, so that their headers give the length of the body.
async fn plain_heads(mut request: Request, next: Next) -> Response {
    if request.method() == Method::HEAD {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    next.run(request).await
}

/// Records the time to the first byte of a response, by route and status.
async fn measured(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    let labels = [
        ("route", route.unwrap_or_else(|| "none".to_owned())),
        ("status", response.status().as_u16().to_string()),
    ];
    metrics::histogram!("spandrel_query_seconds", &labels).record(begun.elapsed());
    response
}

#[cfg(test)]
mod tests;
