//! `GET /metrics/spans`: Istio's metrics for a scraper, counted from stored spans.
//!
//! A scrape counts the requests that have settled since the last one, so that counters only grow, however many scrapers
//! ask. They begin with the server. Requests of a gap between scrapes that is too long are not counted; how far behind
//! counters are is a metric, too.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use parking_lot::Mutex;
use spandrel_engine::{Budget, QueryError};
use spandrel_mesh::istio::IstioMetrics;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::TraceStore;
use spandrel_storage::plan::ScanPlan;

use super::handler::{Answer, Asked};
use super::mesh::{SETTLES, of_proxies, read};
use crate::params::Params;
use crate::problem::Problem;
use crate::question;
use crate::span_counters::SpanCounters;

/// The longest time that is counted after the fact.
const MOST: u64 = 3_600_000_000_000;
/// What one pass counts; what it has counted stays if the next one takes too long.
const CHUNK: u64 = 60_000_000_000;
/// Requests count when they end, and are looked for so long before that.
const LONGEST: u64 = 60_000_000_000;
/// How long a scrape waits for another one.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn get(Asked { state, tenant, restricted, .. }: Asked, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    if restricted {
        return Err(Problem::forbidden(
            "span metrics are counted for all callers together, so a role that does not see every span cannot ask for them",
        ));
    }
    let settled = UnixNanos(state.now().0.saturating_sub(SETTLES));
    let counters = state.span_metrics();
    let text =
        question::run(&state, move |store, budget| advance(store, budget, &tenant, &counters, settled))
            .await?;
    let text =
        text.ok_or_else(|| Problem::busy("another scrape is counting what this one asks for; ask again"))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn advance(
    store: &dyn TraceStore,
    budget: &Budget,
    tenant: &TenantId,
    counters: &Arc<Mutex<SpanCounters>>,
    settled: UnixNanos,
) -> Result<Option<String>, QueryError> {
    let Some(mut counters) = counters.try_lock_for(PATIENCE) else { return Ok(None) };
    counters.until = UnixNanos(counters.until.0.max(settled.0.saturating_sub(MOST)));
    let mut has_time = true;
    while counters.until < settled && has_time {
        let end = UnixNanos(settled.0.min(counters.until.0 + CHUNK));
        let range = TimeRange { start: counters.until, end: Some(end) };
        has_time = count(&mut counters, store, budget, tenant, range)?;
    }
    let behind = settled.since(counters.until) / 1_000_000_000;
    let mut text = counters.metrics.exposition();
    let name = "spandrel_span_metrics_behind_seconds";
    let help = "How much of the time that has settled is not counted yet.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {behind}");
    Ok(Some(text))
}

/// Counts a whole range or, if that fails or takes too long, nothing. Returns whether it was counted.
fn count(
    counters: &mut SpanCounters,
    store: &dyn TraceStore,
    budget: &Budget,
    tenant: &TenantId,
    range: TimeRange,
) -> Result<bool, QueryError> {
    let start = UnixNanos(range.start.0.saturating_sub(LONGEST));
    let plan = ScanPlan { predicate: of_proxies(), range: TimeRange { start, ..range } };
    let mut metrics = IstioMetrics::default();
    for trace in store.scan(tenant, &plan)? {
        if !budget.allows() {
            return Ok(false);
        }
        let (_, spans) = trace?;
        metrics.add(&read(spans)?, &range);
    }
    counters.metrics.merge(metrics);
    counters.until = range.end.unwrap_or(counters.until);
    Ok(true)
}
