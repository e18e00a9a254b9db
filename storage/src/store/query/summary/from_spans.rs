//! The summary of a whole trace from its spans, with the spans that satisfy a predicate. For traces for which columns
//! do not suffice (`from_columns.rs`).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use spandrel_block::semantics::{self, RootCandidate, root_of};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{ResourceView, SpanView};
use spandrel_proto::{SpanId, TimeRange, TraceId, UnixNanos};

use crate::api::{ServiceCount, StoredSpan, TraceSummary};
use crate::plan::Predicate;

/// The most matching spans that a summary lists.
pub(crate) const MAX_MATCHED_IDS: usize = 20;

/// Summarises a trace from all its spans, sorted by (start, span ID), and its rows of logs, which tell of exceptions.
/// `None` without spans.
pub(crate) fn summarise(
    id: TraceId,
    rows: &[StoredSpan],
    logs: &[StoredSpan],
    predicate: &Predicate,
    range: &TimeRange,
) -> Result<Option<TraceSummary>, WireError> {
    let spans: Vec<SpanView<'_>> =
        rows.iter().map(|row| SpanView::parse(&row.span)).collect::<Result<_, _>>()?;
    let candidates: Vec<RootCandidate<'_>> = spans
        .iter()
        .map(|span| RootCandidate {
            start: span.start,
            span_id: span.span_id,
            parent_id: span.parent_span_id,
        })
        .collect();
    let Some(root) = root_of(&candidates) else { return Ok(None) };
    let mut resources: HashMap<&Bytes, ResourceView<'_>> = HashMap::new();
    let mut services: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut matched = Vec::new();
    for (row, span) in rows.iter().zip(&spans) {
        let resource = match resources.get(&row.resource) {
            Some(known) => *known,
            None => *resources.entry(&row.resource).or_insert(ResourceView::parse(&row.resource)?),
        };
        let counts = services.entry(semantics::service_name(&resource)).or_default();
        counts.0 += 1;
        counts.1 += u64::from(row.failed);
        if range.contains(UnixNanos(span.start))
            && crate::store::read::matcher::matches(predicate, span, &resource)?
        {
            matched.push(SpanId::from_wire(span.span_id).unwrap_or_default());
        }
    }
    let start = spans.iter().map(|span| span.start).min().unwrap_or_default();
    // An end before its start counts as the start, because it must not shorten the trace.
    let end = spans.iter().map(|span| span.end.max(span.start)).max().unwrap_or_default();
    let root_resource = ResourceView::parse(&rows[root].resource)?;
    Ok(Some(TraceSummary {
        id,
        root_service: semantics::service_name(&root_resource).to_owned(),
        root_name: spans[root].name.to_owned(),
        status: spans[root].status(),
        error_code: error_code(rows, &spans, root, logs)?,
        start: UnixNanos(start),
        duration: end - start,
        span_count: rows.len() as u64,
        error_count: services.values().map(|counts| counts.1).sum(),
        matched_span_count: matched.len() as u64,
        matched_span_ids: matched.into_iter().take(MAX_MATCHED_IDS).collect(),
        services: count_services(services),
    }))
}

/// The error code of the root, with its logs.
fn error_code(
    rows: &[StoredSpan],
    spans: &[SpanView<'_>],
    root: usize,
    logs: &[StoredSpan],
) -> Result<Option<String>, WireError> {
    let mut events = Vec::new();
    let of_id: Vec<usize> = (0..spans.len()).filter(|at| spans[*at].span_id == spans[root].span_id).collect();
    for row in logs {
        let view = SpanView::parse(&row.span)?;
        if view.span_id != spans[root].span_id {
            continue;
        }
        let mut services = Vec::with_capacity(of_id.len());
        for at in &of_id {
            services.push(semantics::service_name(&ResourceView::parse(&rows[*at].resource)?));
        }
        let service = semantics::service_name(&ResourceView::parse(&row.resource)?);
        let own = services.iter().position(|own| *own == service).unwrap_or(0);
        if of_id.get(own) == Some(&root) {
            events.extend(view.events().collect::<Result<Vec<_>, _>>()?);
        }
    }
    events.sort_by_key(|event| event.time);
    semantics::error_code_with(&spans[root], events.into_iter())
}

/// The number of spans and failed spans of each service.
pub(crate) fn count_services(services: BTreeMap<&str, (u64, u64)>) -> Vec<ServiceCount> {
    let count = |(name, (span_count, error_count)): (&str, (u64, u64))| ServiceCount {
        name: name.to_owned(),
        span_count,
        error_count,
    };
    services.into_iter().map(count).collect()
}
