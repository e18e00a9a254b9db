//! The rows of one row group: writes each span into the columns of the schema.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parquet::data_type::ByteArray;
use rustc_hash::FxHashMap;
use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, KeyValueView, ResourceView, ScopeView, SpanView};
use spandrel_storage::StoredSpan;
use spandrel_storage::semantics;

use super::column::{Arena, Column, Entry, Leaf, Map, PLACE_BYTES, Texts};
use super::schema::{Common, RESOURCE, SPAN, STATUS_CODE};
use crate::tree::{each_key_once, write_value};

#[derive(Default)]
pub(super) struct Rows {
    count: usize,
    arena: Arena,
    /// The trace ID of the spans that follow.
    trace: ByteArray,
    /// Columns of each resource, parsed once: many spans share a resource.
    resources: FxHashMap<Bytes, Resource>,

    trace_id: Texts,
    span_id: Texts,
    parent_span_id: Texts,
    service: Texts,
    name: Texts,
    kind: Texts,
    start: Column<i64>,
    end: Column<i64>,
    duration: Column<i64>,
    status: Texts,
    status_message: Texts,
    failed: Column<bool>,
    error_code: Texts,
    trace_state: Texts,
    flags: Column<i64>,
    scope_name: Texts,
    scope_version: Texts,
    resource_common: [Texts; RESOURCE.len()],
    span_common: [Texts; SPAN.len()],
    status_code: Column<i64>,
    resource_attributes: Map,
    attributes: Map,
    events: Events,
    links: Links,
}

#[derive(Default)]
struct Events {
    time: Column<i64>,
    name: Texts,
    attributes: Map,
}

#[derive(Default)]
struct Links {
    trace_id: Texts,
    span_id: Texts,
    trace_state: Texts,
    attributes: Map,
}

/// The values of a resource, copied for its columns.
#[derive(Clone)]
struct Resource {
    service: ByteArray,
    common: [Option<ByteArray>; RESOURCE.len()],
    attributes: Vec<Entry>,
}

/// Memory of a row besides its own texts: numbers, shared texts, and the levels of every column.
const ROW_BYTES: usize = 8 * PLACE_BYTES + 120;

// === impl Rows ===

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// An estimate of the memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.arena.used + self.count * ROW_BYTES
    }

    /// Starts the next row group. Writing the columns has emptied them.
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.arena.used = 0;
        self.resources.clear();
    }

    /// Sets the trace ID of the spans that follow.
    pub(super) fn begin_trace(&mut self, id: TraceId) {
        self.trace = self.arena.copy(id.to_string().as_bytes());
    }

    pub(super) fn push(&mut self, stored: &StoredSpan) -> Result<(), WireError> {
        let span = SpanView::parse(&stored.span)?;
        let attributes = each_key_once(span.attributes())?;
        self.push_resource(&stored.resource)?;
        self.push_fields(&span, &ScopeView::parse(&stored.scope)?)?;
        self.failed.put(stored.failed);
        for (common, column) in SPAN.iter().zip(&mut self.span_common) {
            column.put_optional(common_text(&mut self.arena, common, &attributes)?);
        }
        self.status_code.put_optional(best(&STATUS_CODE, &attributes).and_then(as_int));
        self.attributes.put(0, 0, entries(&mut self.arena, &attributes)?);
        self.push_events(&span)?;
        self.push_links(&span)?;
        self.count += 1;
        Ok(())
    }

    fn push_fields(&mut self, span: &SpanView<'_>, scope: &ScopeView<'_>) -> Result<(), WireError> {
        let arena = &mut self.arena;
        self.trace_id.put(self.trace.clone());
        self.span_id.put(hex(arena, span.span_id));
        let has_parent = !semantics::is_parentless(span.parent_span_id);
        self.parent_span_id.put_optional(has_parent.then(|| hex(arena, span.parent_span_id)));
        self.name.put(arena.copy(span.name.as_bytes()));
        self.kind.put(fixed(span.kind().name()));
        self.start.put(timestamp(span.start));
        self.end.put(timestamp(span.end));
        self.duration.put(timestamp(span.duration()));
        self.status.put(fixed(span.status().name()));
        self.status_message.put_optional(unless_empty(arena, span.status_message));
        self.error_code.put_optional(semantics::error_code(span)?.map(|code| arena.copy(code.as_bytes())));
        self.trace_state.put_optional(unless_empty(arena, span.trace_state));
        self.flags.put(i64::from(span.flags));
        self.scope_name.put_optional(unless_empty(arena, scope.name));
        self.scope_version.put_optional(unless_empty(arena, scope.version));
        Ok(())
    }

    fn push_resource(&mut self, record: &Bytes) -> Result<(), WireError> {
        if !self.resources.contains_key(record) {
            let resource = Resource::read(&mut self.arena, record)?;
            // The key is a copy: a slice would keep the block in memory.
            self.resources.insert(Bytes::copy_from_slice(record), resource);
        }
        if let Some(Resource { service, common, attributes }) = self.resources.get(record) {
            self.service.put(service.clone());
            for (column, text) in self.resource_common.iter_mut().zip(common) {
                column.put_optional(text.clone());
            }
            self.resource_attributes.put(0, 0, attributes.iter().cloned());
            self.arena.used += 2 * PLACE_BYTES * attributes.len();
        }
        Ok(())
    }

    fn push_events(&mut self, span: &SpanView<'_>) -> Result<(), WireError> {
        let Events { time, name, attributes } = &mut self.events;
        let mut repetition = 0;
        for event in span.events() {
            let event = event?;
            time.put_at(repetition, 1, Some(timestamp(event.time)));
            name.put_at(repetition, 1, Some(self.arena.copy(event.name.as_bytes())));
            let entries = entries(&mut self.arena, &each_key_once(event.attributes())?)?;
            attributes.put(repetition, 1, entries);
            repetition = 1;
        }
        if repetition == 0 {
            time.put_at(0, 0, None);
            name.put_at(0, 0, None);
            attributes.put_nothing();
        }
        Ok(())
    }

    fn push_links(&mut self, span: &SpanView<'_>) -> Result<(), WireError> {
        let Links { trace_id, span_id, trace_state, attributes } = &mut self.links;
        let mut repetition = 0;
        for link in span.links() {
            let link = link?;
            trace_id.put_at(repetition, 1, Some(hex(&mut self.arena, link.trace_id)));
            span_id.put_at(repetition, 1, Some(hex(&mut self.arena, link.span_id)));
            let state = unless_empty(&mut self.arena, link.trace_state);
            trace_state.put_at(repetition, 1 + i16::from(state.is_some()), state);
            let entries = entries(&mut self.arena, &each_key_once(link.attributes())?)?;
            attributes.put(repetition, 1, entries);
            repetition = 1;
        }
        if repetition == 0 {
            [trace_id, span_id, trace_state].into_iter().for_each(|column| column.put_at(0, 0, None));
            attributes.put_nothing();
        }
        Ok(())
    }

    /// All columns, in the order of the schema, for writing.
    pub(super) fn leaves(&mut self) -> Vec<Leaf<'_>> {
        use Leaf::{Bool, Int, Text};
        let mut leaves = vec![
            Text(&mut self.trace_id),
            Text(&mut self.span_id),
            Text(&mut self.parent_span_id),
            Text(&mut self.service),
            Text(&mut self.name),
            Text(&mut self.kind),
            Int(&mut self.start),
            Int(&mut self.end),
            Int(&mut self.duration),
            Text(&mut self.status),
            Text(&mut self.status_message),
            Bool(&mut self.failed),
            Text(&mut self.error_code),
            Text(&mut self.trace_state),
            Int(&mut self.flags),
            Text(&mut self.scope_name),
            Text(&mut self.scope_version),
        ];
        leaves.extend(self.resource_common.iter_mut().map(Text));
        leaves.extend(self.span_common.iter_mut().map(Text));
        leaves.push(Int(&mut self.status_code));
        leaves.extend(self.resource_attributes.leaves());
        leaves.extend(self.attributes.leaves());
        leaves.extend([Int(&mut self.events.time), Text(&mut self.events.name)]);
        leaves.extend(self.events.attributes.leaves());
        let Links { trace_id, span_id, trace_state, attributes } = &mut self.links;
        leaves.extend([trace_id, span_id, trace_state].map(Text));
        leaves.extend(attributes.leaves());
        leaves
    }
}

// === impl Resource ===

impl Resource {
    fn read(arena: &mut Arena, record: &Bytes) -> Result<Self, WireError> {
        let view = ResourceView::parse(record)?;
        let attributes = each_key_once(view.attributes())?;
        let mut common: [Option<ByteArray>; RESOURCE.len()] = Default::default();
        for (slot, column) in common.iter_mut().zip(&RESOURCE) {
            *slot = common_text(arena, column, &attributes)?;
        }
        let service = arena.copy(semantics::service_name(&view).as_bytes());
        Ok(Self { service, common, attributes: entries(arena, &attributes)? })
    }
}

// === values ===

/// Unix nanoseconds as Parquet's signed 64 bits; a time after 2262 becomes the last one.
fn timestamp(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn fixed(text: &'static str) -> ByteArray {
    Bytes::from_static(text.as_bytes()).into()
}

fn unless_empty(arena: &mut Arena, text: &str) -> Option<ByteArray> {
    (!text.is_empty()).then(|| arena.copy(text.as_bytes()))
}

fn hex(arena: &mut Arena, id: &[u8]) -> ByteArray {
    let mut quoted = Vec::with_capacity(34);
    crate::json::hex(&mut quoted, id);
    arena.copy(&quoted[1..quoted.len() - 1])
}

fn entries(arena: &mut Arena, attributes: &[KeyValueView<'_>]) -> Result<Vec<Entry>, WireError> {
    let entry = |attribute: &KeyValueView<'_>| {
        let value = attribute.value.unwrap_or(AnyValue::Empty);
        Ok((arena.copy(attribute.key.as_bytes()), text(arena, value)?))
    };
    attributes.iter().map(entry).collect()
}

/// A value as text; `None` for an empty value.
fn text(arena: &mut Arena, value: AnyValue<'_>) -> Result<Option<ByteArray>, WireError> {
    let mut written = Vec::new();
    match value {
        AnyValue::Empty => return Ok(None),
        AnyValue::String(text) => return Ok(Some(arena.copy(text.as_bytes()))),
        AnyValue::Int(int) => drop(write!(written, "{int}")),
        AnyValue::Bytes(bytes) => written = STANDARD.encode(bytes).into_bytes(),
        AnyValue::Double(double) if double.is_nan() => written.extend_from_slice(b"NaN"),
        AnyValue::Double(f64::INFINITY) => written.extend_from_slice(b"Infinity"),
        AnyValue::Double(f64::NEG_INFINITY) => written.extend_from_slice(b"-Infinity"),
        AnyValue::Bool(_) | AnyValue::Double(_) | AnyValue::Array(_) | AnyValue::KeyValues(_) => {
            write_value(&mut written, value)?;
        }
    }
    Ok(Some(arena.copy(&written)))
}

/// The value for a common column, from the best of the keys that are present.
fn best<'a>(common: &Common, attributes: &[KeyValueView<'a>]) -> Option<AnyValue<'a>> {
    let ranked = attributes.iter().filter_map(|one| Some((common.rank(one.key)?, one.value?)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, value)| value)
}

fn common_text(
    arena: &mut Arena,
    common: &Common,
    attributes: &[KeyValueView<'_>],
) -> Result<Option<ByteArray>, WireError> {
    best(common, attributes).map_or(Ok(None), |value| text(arena, value))
}

fn as_int(value: AnyValue<'_>) -> Option<i64> {
    match value {
        AnyValue::Int(int) => Some(int),
        AnyValue::String(text) => text.parse().ok(),
        _ => None,
    }
}
