//! Writes an assembled trace as the JSON of `docs/api.md#traces`.
//!
//! The document goes straight into the response's buffer, span by span, and is sent as the buffer fills: a trace of
//! 200,000 spans is never held as text. [`crate::assemble`] decides where spans stand.

mod attributes;

use std::ops::Range;

use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{LogView, ResourceView, ScopeView, SpanView, StatusCode, write_string};
use spandrel_storage::semantics::error_code_with;

pub(crate) use attributes::{AttributeStyle, each_key_once, write_value};

use crate::assemble::{Assembled, Detached, Happening, NamedParent, Segment, Span};
use crate::executor::{Output, StreamError};
use crate::json::{Object, hex, list};

/// The part of a tree that a response contains.
pub(crate) struct Page {
    /// Places in [`Assembled::order`].
    pub(crate) spans: Range<usize>,
    pub(crate) style: AttributeStyle,
    /// The most log records that are listed for spans that are not in the trace; none behind the first page.
    pub(crate) max_logs: usize,
    /// The cursor of the next page; `None` on the last.
    pub(crate) next: Option<String>,
}

/// The most parts of a span that are listed.
const MAX_FOLDED: usize = 1_000;

/// Writes a page of the tree. Everything but `segments` describes the whole trace.
pub(crate) fn write(
    out: &mut Output,
    id: TraceId,
    trace: &Assembled,
    page: &Page,
) -> Result<(), StreamError> {
    out.buffer.extend_from_slice(b"{\"trace\":");
    write_head(&mut out.buffer, id, trace, page.style);
    out.buffer.extend_from_slice(b",\"segments\":[");
    let segments = trace.segments.iter().filter(|segment| !overlap(segment, page).is_empty());
    for (place, segment) in segments.enumerate() {
        if place > 0 {
            out.buffer.push(b',');
        }
        write_segment(out, trace, segment, page)?;
    }
    out.buffer.extend_from_slice(b"],\"logs\":");
    write_unknown_logs(&mut out.buffer, trace, page);
    if let Some(next) = &page.next {
        out.buffer.extend_from_slice(b",\"truncated\":true,\"nextCursor\":");
        write_string(&mut out.buffer, next);
    }
    out.buffer.extend_from_slice(b"}}");
    Ok(())
}

fn overlap(segment: &Segment, page: &Page) -> Range<usize> {
    segment.spans.start.max(page.spans.start)..segment.spans.end.min(page.spans.end)
}

/// Writes the trace's own members and leaves its object open.
fn write_head(out: &mut Vec<u8>, id: TraceId, trace: &Assembled, style: AttributeStyle) {
    let mut object = Object::begin(out);
    object.hex("id", id.as_bytes());
    object.time("startUnixNano", trace.start);
    object.time("endUnixNano", trace.end);
    object.number("durationNano", trace.end - trace.start);
    match trace.root {
        Some(root) => write_root(&mut object, trace, root),
        None => {
            object.string("status", StatusCode::Unset.name());
            object.null("errorCode");
            object.null("rootService");
            object.string("rootName", "");
        }
    }
    object.count("spanCount", trace.spans.len());
    object.count("logCount", trace.logs.records.len());
    let folded: usize = trace.spans.iter().map(|span| span.folded.len()).sum();
    if folded > 0 {
        object.count("foldedSpanCount", folded);
    }
    object.number("errorCount", trace.error_count());
    object.count("segmentCount", trace.segments.len());
    list(object.name("services"), &trace.services, |out, service| {
        let mut object = Object::begin(out);
        object.string("name", &service.name);
        object.number("spanCount", service.span_count);
        object.number("errorCount", service.error_count);
        object.end();
    });
    list(object.name("warnings"), &trace.warnings, |out, warning| write_string(out, warning));
    list(object.name("resources"), &trace.resources, |out, resource| {
        readable(out, b"null", |out| write_resource(out, &resource.message, style));
    });
    list(object.name("scopes"), &trace.scopes, |out, scope| {
        readable(out, b"null", |out| write_scope(out, scope, style));
    });
}

fn write_root(object: &mut Object<'_>, trace: &Assembled, place: usize) {
    let root = &trace.spans[place];
    object.string("status", root.status.name());
    with_view(root, |view| {
        object.string_or_null("errorCode", code_of(trace, place, view).as_deref());
        object.string("rootService", &trace.resource_of(root).service);
        object.string("rootName", view.name);
    });
}

fn write_resource(out: &mut Vec<u8>, message: &[u8], style: AttributeStyle) -> Result<(), WireError> {
    let view = ResourceView::parse(message)?;
    let mut object = Object::begin(out);
    style.attributes(object.name("attributes"), view.attributes())?;
    object.string("schemaUrl", view.schema_url);
    object.number("droppedAttributesCount", view.dropped_attributes_count);
    object.end();
    Ok(())
}

fn write_scope(out: &mut Vec<u8>, message: &[u8], style: AttributeStyle) -> Result<(), WireError> {
    let view = ScopeView::parse(message)?;
    let mut object = Object::begin(out);
    object.string("name", view.name);
    object.string("version", view.version);
    style.attributes(object.name("attributes"), view.attributes())?;
    object.string("schemaUrl", view.schema_url);
    object.end();
    Ok(())
}

fn write_segment(
    out: &mut Output,
    trace: &Assembled,
    segment: &Segment,
    page: &Page,
) -> Result<(), StreamError> {
    let place = segment.entry as usize;
    let entry = &trace.spans[place];
    let above = segment.parent.map(|parent| trace.segment_id(&trace.segments[parent as usize]));
    let mut object = Object::begin(&mut out.buffer);
    object.string("id", &trace.segment_id(segment));
    object.string_or_null("parentSegmentId", above.as_deref());
    with_view(entry, |view| {
        write_parent(object.name("parentSpanId"), trace, entry, view);
        object.string("service", &trace.resource_of(entry).service);
        object.string_or_null("instance", segment.instance.as_deref());
        object.time("startUnixNano", segment.start);
        object.time("endUnixNano", segment.end);
        object.number("durationNano", segment.end - segment.start);
        object.string("status", entry.status.name());
        object.string_or_null("errorCode", code_of(trace, place, view).as_deref());
    });
    object.count("spanCount", segment.spans.len());
    object.number("errorCount", segment.error_count);
    object.name("spans").push(b'[');
    for (place, span) in trace.order[overlap(segment, page)].iter().enumerate() {
        if place > 0 {
            out.buffer.push(b',');
        }
        write_span(&mut out.buffer, trace, *span as usize, page.style);
        out.spill()?;
    }
    out.buffer.extend_from_slice(b"]}");
    Ok(())
}

fn write_span(out: &mut Vec<u8>, trace: &Assembled, place: usize, style: AttributeStyle) {
    let span = &trace.spans[place];
    let mut object = Object::begin(out);
    with_view(span, |view| {
        object.hex("id", span.id.as_bytes());
        write_parent(object.name("parentId"), trace, span, view);
        object.string("name", view.name);
        object.string("kind", span.kind.name());
        object.time("startUnixNano", span.start);
        object.time("endUnixNano", span.sent_end);
        object.number("durationNano", span.duration());
        object.number("selfNano", span.self_nanos);
        object.string("status", span.status.name());
        object.string("statusMessage", view.status_message);
        object.string_or_null("errorCode", code_of(trace, place, view).as_deref());
        object.number("resource", span.resource);
        object.number("scope", span.scope);
        let whole =
            readable(object.name("attributes"), b"[]", |out| style.attributes(out, view.attributes()))
                & readable(object.name("events"), b"[]", |out| {
                    write_happenings(out, trace, place, view, style)
                })
                & readable(object.name("links"), b"[]", |out| {
                    try_list(out, view.links(), |out, link| style.link(out, &link))
                });
        if !span.folded.is_empty() {
            let shown = &span.folded[..span.folded.len().min(MAX_FOLDED)];
            object.count("foldedSpanCount", span.folded.len());
            list(object.name("folded"), shown, |out, folded| write_folded(out, trace, folded));
        }
        object.number("flags", span.flags);
        object.string("traceState", view.trace_state);
        let mut warnings = warnings(span, view);
        if !whole {
            warnings.push("a part of this span could not be read and is left out".to_owned());
        }
        list(object.name("warnings"), warnings, |out, warning| write_string(out, &warning));
    });
    object.end();
}

/// Writes a span of a proxy that is a part of the one that is shown.
fn write_folded(out: &mut Vec<u8>, trace: &Assembled, span: &Span) {
    let mut object = Object::begin(out);
    with_view(span, |view| {
        object.hex("id", span.id.as_bytes());
        object.string("service", &trace.resource_of(span).service);
        object.string("name", view.name);
        object.string("kind", span.kind.name());
        object.time("startUnixNano", span.start);
        object.number("durationNano", span.duration());
        object.string("status", span.status.name());
        object.string_or_null("errorCode", code_of_folded(span, view).as_deref());
    });
    object.end();
}

/// Writes the events of a span, and its log records among them.
fn write_happenings(
    out: &mut Vec<u8>,
    trace: &Assembled,
    place: usize,
    view: &SpanView<'_>,
    style: AttributeStyle,
) -> Result<(), WireError> {
    let happenings = trace.logs.happenings(place, view)?;
    try_list(out, happenings.iter().map(Ok), |out, happening| match happening {
        Happening::Event(event) => style.event(out, event),
        Happening::Log(log, view, is_event) => style.log(out, log, view, *is_event),
    })
}

/// Writes the log records of spans that are not in the trace.
fn write_unknown_logs(out: &mut Vec<u8>, trace: &Assembled, page: &Page) {
    let shown = trace.logs.of_unknown.iter().take(page.max_logs);
    list(out, shown.map(|number| trace.logs.get(*number)), |out, log| {
        readable(out, b"null", |out| page.style.log_of_unknown(out, log));
    });
}

/// Writes the ID of the parent in the tree; if the parent is missing, its ID as sent.
fn write_parent(out: &mut Vec<u8>, trace: &Assembled, span: &Span, view: &SpanView<'_>) {
    match (span.parent, span.detached) {
        (Some(parent), _) => hex(out, trace.spans[parent as usize].id.as_bytes()),
        (None, Some(Detached::Orphan | Detached::ExternalParent)) => {
            hex(out, span.outer_parent.as_ref().map_or(view.parent_span_id, |outer| outer.as_bytes()));
        }
        (None, Some(Detached::Cycle) | None) => out.extend_from_slice(b"null"),
    }
}

fn warnings(span: &Span, view: &SpanView<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let parent = || match span.named_parent {
        NamedParent::Id(id) => id.to_string(),
        NamedParent::None | NamedParent::Invalid => format!("of {} bytes", view.parent_span_id.len()),
    };
    match span.detached {
        None => {}
        Some(Detached::Orphan) => warnings.push(format!("the parent {} is not in this trace", parent())),
        Some(Detached::ExternalParent) => {
            warnings.push(format!("external parent: {} is not in this trace", parent()));
        }
        Some(Detached::Cycle) => {
            warnings.push(format!("a cycle of parents is cut here; the parent it names is {}", parent()));
        }
    }
    if span.ends_early() {
        warnings.push("ends before it starts; the duration is shown as 0".to_owned());
    }
    warnings
}

/// Its logs are those of the span that it is a part of.
fn code_of_folded(span: &Span, view: &SpanView<'_>) -> Option<String> {
    if span.failed { error_code_with(view, std::iter::empty()).unwrap_or_default() } else { None }
}

fn code_of(trace: &Assembled, place: usize, view: &SpanView<'_>) -> Option<String> {
    // Only failed spans have an error code; the check spares a walk over the attributes of the others.
    if !trace.spans[place].failed {
        return None;
    }
    let logs = trace.logs.of_span(place).filter_map(|log| Some(LogView::parse(&log.event).ok()?.event));
    error_code_with(view, logs).unwrap_or_default()
}

fn with_view(span: &Span, write: impl FnOnce(&SpanView<'_>)) {
    // Loading has parsed the same bytes, so this cannot fail.
    if let Ok(view) = SpanView::parse(&span.message) {
        write(&view);
    }
}

/// Runs `write`; if it meets damage, replaces its output by `instead` and returns false.
fn readable(
    out: &mut Vec<u8>,
    instead: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
) -> bool {
    let begin = out.len();
    let written = write(out);
    if written.is_err() {
        out.truncate(begin);
        out.extend_from_slice(instead);
    }
    written.is_ok()
}

fn try_list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = Result<T, WireError>>,
    mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), WireError>,
) -> Result<(), WireError> {
    out.push(b'[');
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item?)?;
    }
    out.push(b']');
    Ok(())
}
