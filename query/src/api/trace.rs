//! `GET /api/v1/traces/{traceId}`: one trace, as a tree or as OTLP.

use std::ops::Range;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use spandrel_proto::{AnsweredTraces, TenantId, TraceId};
use spandrel_storage::{Damage, TraceSpans, TraceStore};

use super::fold::{Fold, fold};
use super::handler::{Answer, Asked, part};
use crate::assemble::{Assembled, Shown, assemble_with_logs};
use crate::cursor::{TreeCursor, fingerprint_of, other_query};
use crate::otlp::OtlpFormat;
use crate::params::Params;
use crate::problem::Problem;
use crate::tree::{self, AttributeStyle};

const PARAMETERS: [&str; 5] = ["format", "attributes", "segment", "cursor", "fold"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tree,
    Otlp(OtlpFormat),
}

const FORMATS: [(&str, Format); 5] = [
    ("tree", Format::Tree),
    ("otlp", Format::Otlp(OtlpFormat::Json)),
    ("otlp-proto", Format::Otlp(OtlpFormat::Protobuf)),
    ("otlp-logs", Format::Otlp(OtlpFormat::LogsJson)),
    ("otlp-logs-proto", Format::Otlp(OtlpFormat::LogsProtobuf)),
];

const STYLES: [(&str, AttributeStyle); 2] = [("otlp", AttributeStyle::Otlp), ("map", AttributeStyle::Map)];

/// The part of a tree that a request selects.
struct TreeQuery {
    id: TraceId,
    shown: Shown,
    style: AttributeStyle,
    segment: Option<String>,
    cursor: Option<TreeCursor>,
    max_spans: usize,
}

pub(super) async fn get(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let id =
        part("traceId", path)?.parse::<TraceId>().map_err(|error| Problem::parameter("traceId", error))?;
    let store = state.store();
    let mut response = match params.choice("format", Format::Tree, &FORMATS)? {
        Format::Otlp(format) => {
            refuse_tree_parameters(&params)?;
            let write = move |out: &mut _| {
                let (spans, logs) = (store.trace(&tenant, id)?, store.trace_logs(&tenant, id)?);
                let is_known = spans.is_some() || logs.is_some();
                if !is_known {
                    return Err(unknown(id).into());
                }
                let found = format.write(out, spans.into_iter().flatten(), logs.into_iter().flatten())?;
                if found || format.is_of_logs() { Ok(()) } else { Err(unknown(id).into()) }
            };
            state.stream(format.content_type(), write).await
        }
        Format::Tree => {
            let query = TreeQuery::read(id, &params, state.config().max_tree_spans)?;
            let write = move |out: &mut _| {
                let trace = assembled(&*store, &tenant, id, query.shown)?;
                tree::write(out, id, &trace, &query.page(&trace)?)
            };
            state.stream("application/json", write).await
        }
    }?;
    response.extensions_mut().insert(AnsweredTraces(1));
    Ok(response)
}

/// A trace whose spans may not be stored yet, or never come, has its logs.
fn assembled(
    store: &dyn TraceStore,
    tenant: &TenantId,
    id: TraceId,
    shown: Shown,
) -> Result<Assembled, Problem> {
    let (spans, logs) = (store.trace(tenant, id)?, store.trace_logs(tenant, id)?);
    let damage: Vec<Damage> = spans.iter().chain(&logs).map(TraceSpans::damage).collect();
    let damage = Damage::of_parts(damage);
    let assembled =
        assemble_with_logs(spans.into_iter().flatten(), logs.into_iter().flatten(), &damage, shown)?;
    assembled.ok_or_else(|| unknown(id))
}

pub(super) fn unknown(id: TraceId) -> Problem {
    Problem::not_found(format!(
        "no trace {id} is stored; it may have been deleted by retention, or its spans have not arrived yet"
    ))
}

fn refuse_tree_parameters(params: &Params) -> Result<(), Problem> {
    match ["attributes", "segment", "cursor", "fold"].into_iter().find(|name| params.text(name).is_some()) {
        Some(name) => {
            Err(Problem::parameter(name, "only the tree takes this parameter; leave it or format out"))
        }
        None => Ok(()),
    }
}

// === impl TreeQuery ===

impl TreeQuery {
    fn read(id: TraceId, params: &Params, max_spans: usize) -> Result<Self, Problem> {
        Ok(Self {
            id,
            shown: match fold(params)? {
                Fold::Nothing => Shown::All,
                Fold::Mesh => Shown::WithoutProxies,
            },
            style: params.choice("attributes", AttributeStyle::Otlp, &STYLES)?,
            segment: params.text("segment").map(str::to_ascii_lowercase),
            cursor: params.text("cursor").map(TreeCursor::decode).transpose()?,
            max_spans: max_spans.max(1),
        })
    }

    fn fingerprint(&self) -> u64 {
        let id = self.id.to_string();
        let mut parts = vec![&*id, self.segment.as_deref().unwrap_or_default()];
        if self.shown == Shown::WithoutProxies {
            parts.push("fold=mesh");
        }
        fingerprint_of(&parts)
    }

    fn page(&self, trace: &Assembled) -> Result<tree::Page, Problem> {
        let requested = self.requested_spans(trace)?;
        let begin = requested.start.saturating_add(self.offset(trace)?);
        if begin > requested.end {
            return Err(other_query());
        }
        let end = begin.saturating_add(self.max_spans).min(requested.end);
        let next = (end < requested.end).then(|| self.cursor(trace, end - requested.start));
        // Behind the first page they would be there again.
        let max_logs = if self.cursor.is_none() && self.segment.is_none() { self.max_spans } else { 0 };
        Ok(tree::Page { spans: begin..end, style: self.style, max_logs, next })
    }

    /// The spans of the whole trace or of the requested segment, over all pages.
    fn requested_spans(&self, trace: &Assembled) -> Result<Range<usize>, Problem> {
        let Some(id) = &self.segment else { return Ok(0..trace.order.len()) };
        let segment = trace.segments.iter().find(|segment| trace.segment_id(segment) == *id);
        let segment = segment.ok_or_else(|| {
            Problem::not_found(format!("the trace has no segment {id}; take an id of its segments"))
        })?;
        Ok(trace.subtree(segment))
    }

    fn offset(&self, trace: &Assembled) -> Result<usize, Problem> {
        let Some(cursor) = self.cursor else { return Ok(0) };
        if cursor.fingerprint != self.fingerprint() {
            return Err(other_query());
        }
        if cursor.span_count != trace.spans.len() as u64 {
            return Err(Problem::changed(
                "the trace has other spans than when the cursor was given, so their order has changed; \
                 begin again without cursor",
            ));
        }
        Ok(usize::try_from(cursor.offset).unwrap_or(usize::MAX))
    }

    fn cursor(&self, trace: &Assembled, offset: usize) -> String {
        let cursor = TreeCursor {
            fingerprint: self.fingerprint(),
            span_count: trace.spans.len() as u64,
            offset: offset as u64,
        };
        cursor.encode()
    }
}
