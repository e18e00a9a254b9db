//! `GET /api/v1/traces`: traces of which a span matches a TraceQL selector.

use axum::extract::State;
use axum::http::Uri;
use spandrel_proto::TimeRange;
use spandrel_storage::plan::{Order, Position, SearchPlan};

use super::handler::{Answer, Tenant, json};
use crate::answers::{Scanned, SearchAnswer, ServiceCount, TraceSummary};
use crate::cursor::{SearchCursor, fingerprint_of, other_query};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;
use crate::{times, traceql};

const PARAMETERS: [&str; 6] = ["q", "start", "end", "limit", "order", "cursor"];

const ORDERS: [(&str, Order); 6] = [
    ("newest", Order::Newest),
    ("oldest", Order::Oldest),
    ("longest", Order::Longest),
    ("shortest", Order::Shortest),
    ("mostSpans", Order::MostSpans),
    ("mostErrors", Order::MostErrors),
];

pub(super) async fn get(State(state): State<QueryState>, Tenant(tenant): Tenant, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let config = state.config();
    let predicate = traceql::parse(params.text("q").unwrap_or_default())
        .map_err(|error| Problem::parameter("q", error))?;
    let limit = params.number("limit", config.default_search_limit, 1, config.max_search_limit)?;
    let order = params.choice("order", Order::Newest, &ORDERS)?;
    let fingerprint = query_fingerprint(&params);
    let (range, after) = range_and_position(&params, fingerprint, &state)?;
    let plan = SearchPlan { predicate, range, order, limit, after };
    let found = state.run_query(move |store| Ok(store.search(&tenant, &plan)?)).await?;
    json(&page(found, range, fingerprint))
}

/// A hash of the parameters that must not change from page to page; `limit` may change.
fn query_fingerprint(params: &Params) -> u64 {
    let text = |name| params.text(name).unwrap_or_default();
    fingerprint_of(&[text("q"), text("order"), text("start"), text("end")])
}

/// The range in time, and the last trace of the page before.
fn range_and_position(
    params: &Params,
    fingerprint: u64,
    state: &QueryState,
) -> Result<(TimeRange, Option<Position>), Problem> {
    let Some(cursor) = params.text("cursor") else {
        let range = times::range(params.text("start"), params.text("end"), state.now())?;
        return Ok((range, None));
    };
    let cursor = SearchCursor::decode(cursor)?;
    if cursor.fingerprint != fingerprint {
        return Err(other_query());
    }
    Ok((cursor.range, Some(cursor.position)))
}

fn page(found: spandrel_storage::SearchAnswer, range: TimeRange, fingerprint: u64) -> SearchAnswer {
    let cursor = |position| SearchCursor { fingerprint, range, position }.encode();
    SearchAnswer {
        traces: found.traces.into_iter().map(TraceSummary::from).collect(),
        next_cursor: found.next.map(cursor),
        partial: found.partial,
        scanned: Scanned {
            blocks: found.scanned.blocks,
            blocks_read: found.scanned.blocks_read,
            spans: found.scanned.spans,
        },
    }
}

// === impl TraceSummary, ServiceCount ===

impl From<spandrel_storage::TraceSummary> for TraceSummary {
    fn from(summary: spandrel_storage::TraceSummary) -> Self {
        Self {
            id: summary.id.to_string(),
            root_service: Some(summary.root_service),
            root_name: summary.root_name,
            start_unix_nano: summary.start.to_string(),
            duration_nano: summary.duration,
            span_count: summary.span_count,
            error_count: summary.error_count,
            status: summary.status.name().into(),
            error_code: summary.error_code,
            services: summary.services.into_iter().map(ServiceCount::from).collect(),
            matched_span_ids: summary.matched_span_ids.iter().map(ToString::to_string).collect(),
            matched_span_count: summary.matched_span_count,
        }
    }
}

impl From<spandrel_storage::ServiceCount> for ServiceCount {
    fn from(service: spandrel_storage::ServiceCount) -> Self {
        Self { name: service.name, span_count: service.span_count, error_count: service.error_count }
    }
}
