//! `GET /api/v1/traces`: traces of which a span matches a TraceQL selector.

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::plan::{Order, Position, SearchPlan};
use spandrel_storage::{SearchAnswer, TraceSummary};

use super::{Answer, json};
use crate::cursor::{SearchCursor, fingerprint, wrong_question};
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    traces: Vec<Trace>,
    next_cursor: Option<String>,
    partial: bool,
    scanned: Scanned,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    id: String,
    root_service: String,
    root_name: String,
    start_unix_nano: String,
    duration_nano: u64,
    span_count: u64,
    error_count: u64,
    status: &'static str,
    error_code: Option<String>,
    services: Vec<Service>,
    matched_span_ids: Vec<String>,
    matched_span_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    name: String,
    span_count: u64,
    error_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scanned {
    blocks: u64,
    blocks_read: u64,
    spans: u64,
}

pub(super) async fn get(State(state): State<QueryState>, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let config = state.config();
    let predicate = traceql::parse(params.text("q").unwrap_or_default())
        .map_err(|error| Problem::parameter("q", error))?;
    let limit = params.number("limit", config.default_search_limit, 1, config.max_search_limit)?;
    let order = params.choice("order", Order::Newest, &ORDERS)?;
    let question = question_of(&params);
    let (range, after) = place(&params, question, &state)?;
    let plan = SearchPlan { predicate, range, order, limit, after };
    let found = state.ask(move |store| Ok(store.search(&TenantId::default(), &plan)?)).await?;
    json(&page(found, range, question))
}

/// What has to stay the same from page to page; `limit` may change.
fn question_of(params: &Params) -> u64 {
    let text = |name| params.text(name).unwrap_or_default();
    fingerprint(&[text("q"), text("order"), text("start"), text("end")])
}

/// The range in time, and behind which trace the page begins.
fn place(
    params: &Params,
    question: u64,
    state: &QueryState,
) -> Result<(TimeRange, Option<Position>), Problem> {
    let Some(cursor) = params.text("cursor") else {
        let range = times::range(params.text("start"), params.text("end"), state.now())?;
        return Ok((range, None));
    };
    let cursor = SearchCursor::decode(cursor)?;
    if cursor.fingerprint != question {
        return Err(wrong_question());
    }
    Ok((cursor.range, Some(cursor.position)))
}

fn page(found: SearchAnswer, range: TimeRange, question: u64) -> Page {
    let cursor = |position| SearchCursor { fingerprint: question, range, position }.encode();
    Page {
        traces: found.traces.into_iter().map(trace).collect(),
        next_cursor: found.next.map(cursor),
        partial: found.partial,
        scanned: Scanned {
            blocks: found.scanned.blocks,
            blocks_read: found.scanned.blocks_read,
            spans: found.scanned.spans,
        },
    }
}

fn trace(summary: TraceSummary) -> Trace {
    let service = |service: spandrel_storage::ServiceCount| Service {
        name: service.name,
        span_count: service.span_count,
        error_count: service.error_count,
    };
    Trace {
        id: summary.id.to_string(),
        root_service: summary.root_service,
        root_name: summary.root_name,
        start_unix_nano: summary.start.to_string(),
        duration_nano: summary.duration,
        span_count: summary.span_count,
        error_count: summary.error_count,
        status: summary.status.name(),
        error_code: summary.error_code,
        services: summary.services.into_iter().map(service).collect(),
        matched_span_ids: summary.matched_span_ids.iter().map(ToString::to_string).collect(),
        matched_span_count: summary.matched_span_count,
    }
}
