//! `GET /api/v1/traces`: traces that match a TraceQL query, and their span sets.

use axum::http::Uri;
use spandrel_engine::traces::{self, TracesAnswer, TracesPlan};
use spandrel_proto::{AnsweredTraces, TimeRange};
use spandrel_storage::plan::{Order, Position};
use spandrel_traceql::ast::{Pipeline, Stage};

use super::handler::{Answer, Asked, json};
use crate::answers::{FoundSpan, Scanned, SearchAnswer, ServiceCount, SpanSet, TraceSummary};
use crate::cursor::{SearchCursor, fingerprint_of, other_query};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;
use crate::{question, times};

const PARAMETERS: [&str; 7] = ["q", "start", "end", "limit", "order", "spss", "cursor"];

/// Spans of each span set, unless a request says otherwise.
const USUAL_SPANS: usize = 3;
/// The most spans of each span set.
const MAX_SPANS: usize = 1_000;

const ORDERS: [(&str, Order); 6] = [
    ("newest", Order::Newest),
    ("oldest", Order::Oldest),
    ("longest", Order::Longest),
    ("shortest", Order::Shortest),
    ("mostSpans", Order::MostSpans),
    ("mostErrors", Order::MostErrors),
];

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let config = state.config();
    let query = question::pipeline(&params, "q")?;
    let limit = params.number("limit", config.default_search_limit, 1, config.max_search_limit)?;
    let order = params.choice("order", Order::Newest, &ORDERS)?;
    let spans_per_set = spans_per_set(&params, &query)?;
    let fingerprint = query_fingerprint(&params);
    let (range, after) = range_and_position(&params, fingerprint, &state)?;
    let answer = question::run(&state, move |store, budget| {
        let plan = TracesPlan { query: &query, range, order, limit, after, spans_per_set };
        traces::traces(store, &tenant, &plan, budget)
    });
    let page = page(answer.await?, range, fingerprint);
    let mut response = json(&page)?;
    response.extensions_mut().insert(AnsweredTraces(page.traces.len() as u64));
    Ok(response)
}

/// A query with a pipeline has span sets; a filter has them when the request asks for their spans.
fn spans_per_set(params: &Params, query: &Pipeline) -> Result<Option<usize>, Problem> {
    let has_sets = params.text("spss").is_some() || !matches!(query.stages[..], [Stage::Spans(_)]);
    let spans = params.number("spss", USUAL_SPANS, 0, MAX_SPANS)?;
    Ok(has_sets.then_some(spans))
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

fn page(mut answer: TracesAnswer, range: TimeRange, fingerprint: u64) -> SearchAnswer {
    let cursor = |position| SearchCursor { fingerprint, range, position }.encode();
    let found = answer.found;
    let mut summary = |summary: spandrel_storage::TraceSummary| {
        let sets = answer.span_sets.remove(&summary.id);
        let span_sets = sets.map(|sets| sets.iter().map(SpanSet::from).collect());
        TraceSummary { span_sets, ..TraceSummary::from(summary) }
    };
    SearchAnswer {
        traces: found.traces.into_iter().map(&mut summary).collect(),
        next_cursor: found.next.map(cursor),
        partial: found.partial,
        partial_reason: question::reason(answer.partial),
        scanned: Scanned {
            blocks: found.scanned.blocks,
            blocks_read: found.scanned.blocks_read,
            spans: found.scanned.spans,
        },
    }
}

// === impl SpanSet, FoundSpan ===

impl From<&traces::SpanSet> for SpanSet {
    fn from(set: &traces::SpanSet) -> Self {
        Self {
            by: question::object(&set.by),
            values: question::object(&set.values),
            matched_span_count: set.matched_span_count as u64,
            spans: set.spans.iter().map(FoundSpan::from).collect(),
        }
    }
}

impl From<&traces::FoundSpan> for FoundSpan {
    fn from(span: &traces::FoundSpan) -> Self {
        Self {
            id: span.id.to_string(),
            name: span.name.clone(),
            start_unix_nano: span.start.to_string(),
            duration_nano: span.duration,
            attributes: question::object(&span.attributes),
        }
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
            span_sets: None,
        }
    }
}

impl From<spandrel_storage::ServiceCount> for ServiceCount {
    fn from(service: spandrel_storage::ServiceCount) -> Self {
        Self { name: service.name, span_count: service.span_count, error_count: service.error_count }
    }
}
