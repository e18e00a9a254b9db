//! One span while it is converted: its fields come in any order, and it is written down with those of OTLP in order.

use super::attributes::{KeyValues, NOT_UTF8, Texts, Value, is_text};
use crate::otlp::wire::{close_message, open_message, put_bytes, put_fixed32, put_fixed64, put_uint};
use crate::otlp::{SpanKind, StatusCode};

/// A span that is not complete yet. Buffers stay when it is cleared, so that one draft serves a whole request.
#[derive(Debug)]
pub struct Draft {
    /// All zero means that it is missing.
    pub trace_id: [u8; 16],
    /// All zero means that it is missing.
    pub span_id: [u8; 8],
    /// `None`, or all zero, for a span without a parent.
    pub parent_id: Option<[u8; 8]>,
    /// The side of the exchange.
    pub kind: SpanKind,
    /// Unix nanoseconds.
    pub start: u64,
    /// Unix nanoseconds.
    pub end: u64,
    /// Flags as OTLP has them.
    pub flags: u32,
    status: StatusCode,
    has_error: bool,
    status_message: Vec<u8>,
    name: Vec<u8>,
    trace_state: Vec<u8>,
    attributes: KeyValues,
    link_attributes: KeyValues,
    /// Fields 11.
    events: Vec<u8>,
    /// Fields 13.
    links: Vec<u8>,
    /// Name and version of the `InstrumentationScope`.
    scope_parts: [Vec<u8>; 2],
    flaw: Option<String>,
    max_bytes: usize,
    max_scope_bytes: usize,
}

/// Another span that this one refers to, not as its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'r> {
    /// The other span's trace.
    pub trace_id: [u8; 16],
    /// The other span.
    pub span_id: [u8; 8],
    /// Name and value of the attribute that says how they belong together.
    pub relation: (&'r str, &'r str),
}

/// The same with everything that a link of OTLP holds.
#[derive(Debug, Clone, Copy)]
pub struct Link<'l> {
    /// The other span's trace.
    pub trace_id: [u8; 16],
    /// The other span.
    pub span_id: [u8; 8],
    /// As in `tracestate`.
    pub trace_state: &'l [u8],
    /// As OTLP has them.
    pub flags: u32,
    /// Made by [`Gatherer::link`](super::Gatherer::link).
    pub attributes: &'l KeyValues,
}

// === impl Draft ===

impl Draft {
    /// An empty one, with bounds on the span and on its scope.
    pub(super) fn within(max_bytes: usize, max_scope_bytes: usize) -> Self {
        Self {
            trace_id: [0; 16],
            span_id: [0; 8],
            parent_id: None,
            kind: SpanKind::Unspecified,
            start: 0,
            end: 0,
            flags: 0,
            status: StatusCode::Unset,
            has_error: false,
            status_message: Vec::new(),
            name: Vec::new(),
            trace_state: Vec::new(),
            attributes: KeyValues::new(9, max_bytes),
            link_attributes: KeyValues::new(4, max_bytes),
            events: Vec::new(),
            links: Vec::new(),
            scope_parts: [Vec::new(), Vec::new()],
            flaw: None,
            max_bytes,
            max_scope_bytes,
        }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        (self.trace_id, self.span_id, self.parent_id) = ([0; 16], [0; 8], None);
        (self.kind, self.start, self.end, self.flags) = (SpanKind::Unspecified, 0, 0, 0);
        (self.status, self.has_error) = (StatusCode::Unset, false);
        for buffer in [
            &mut self.status_message,
            &mut self.name,
            &mut self.trace_state,
            &mut self.events,
            &mut self.links,
        ] {
            buffer.clear();
        }
        self.scope_parts.iter_mut().for_each(Vec::clear);
        self.attributes.clear();
        self.flaw = None;
    }

    /// Notes why the span cannot be accepted, with the place in the span in front, as in `.traceId: is missing`. The
    /// first reason counts.
    #[cold]
    pub fn note_flaw(&mut self, flaw: String) {
        self.flaw.get_or_insert(flaw);
    }

    /// Whether the span is refused already, so that the rest of it need not be understood.
    pub fn is_refused(&self) -> bool {
        self.flaw.is_some()
    }

    /// Sets the name.
    pub fn set_name(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
    }

    /// Sets the trace state.
    pub fn set_trace_state(&mut self, state: &[u8]) {
        self.trace_state.clear();
        self.trace_state.extend_from_slice(state);
    }

    /// Sets the status that the sender names.
    pub fn set_status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Sets the message of the status.
    pub fn set_status_message(&mut self, message: &[u8]) {
        self.status_message.clear();
        self.status_message.extend_from_slice(message);
    }

    /// Notes that the span has failed, perhaps with a message. A status that the sender names stands above it.
    pub fn mark_error(&mut self, message: &[u8]) {
        self.has_error = true;
        if self.status_message.is_empty() {
            self.status_message.extend_from_slice(message);
        }
    }

    /// Sets the name of the instrumentation scope.
    pub fn set_scope_name(&mut self, name: &[u8]) {
        self.set_scope(0, name);
    }

    /// Sets the version of the instrumentation scope.
    pub fn set_scope_version(&mut self, version: &[u8]) {
        self.set_scope(1, version);
    }

    fn set_scope(&mut self, part: usize, text: &[u8]) {
        self.scope_parts[part].clear();
        self.scope_parts[part].extend_from_slice(text);
        if self.scope_size() > self.max_scope_bytes {
            self.note_flaw(format!(": its scope is over maxResourceBytes = {}", self.max_scope_bytes));
        }
    }

    /// Adds an attribute.
    #[inline]
    pub fn attribute(&mut self, key: &[u8], value: Value<'_>) {
        if self.has_room() {
            self.attributes.add(key, value);
        }
    }

    /// Adds an attribute that holds several texts.
    pub fn texts(&mut self, key: &[u8], texts: &Texts) {
        if self.has_room() {
            self.attributes.add_texts(key, texts);
        }
    }

    /// Adds an event.
    pub fn event(&mut self, time: u64, name: &[u8], attributes: &KeyValues) {
        if !self.has_room() {
            return;
        }
        if let Some(flaw) = attributes.flaw().or((!is_text(name)).then_some(NOT_UTF8)) {
            return self.note_flaw(format!(": {flaw}"));
        }
        let begin = open_message(&mut self.events, 11);
        if time != 0 {
            put_fixed64(&mut self.events, 1, time);
        }
        put_text(&mut self.events, 2, name);
        self.events.extend_from_slice(attributes.as_fields());
        close_message(&mut self.events, begin);
    }

    /// Adds a link with one attribute.
    pub fn link(&mut self, to: Reference<'_>) {
        let Reference { trace_id, span_id, relation: (name, value) } = to;
        let mut attributes = std::mem::replace(&mut self.link_attributes, KeyValues::new(4, 0));
        attributes.clear();
        attributes.add(name.as_bytes(), Value::Text(value.as_bytes()));
        self.add_link(Link { trace_id, span_id, trace_state: b"", flags: 0, attributes: &attributes });
        self.link_attributes = attributes;
    }

    /// Adds a link.
    pub fn add_link(&mut self, to: Link<'_>) {
        if !self.has_room() {
            return;
        }
        if let Some(flaw) = to.attributes.flaw().or((!is_text(to.trace_state)).then_some(NOT_UTF8)) {
            return self.note_flaw(format!(": {flaw}"));
        }
        let begin = open_message(&mut self.links, 13);
        put_bytes(&mut self.links, 1, &to.trace_id);
        put_bytes(&mut self.links, 2, &to.span_id);
        put_text(&mut self.links, 3, to.trace_state);
        self.links.extend_from_slice(to.attributes.as_fields());
        if to.flags != 0 {
            put_fixed32(&mut self.links, 6, to.flags);
        }
        close_message(&mut self.links, begin);
    }

    /// Whether more may be added. A span over its bound is refused, and takes no more memory.
    fn has_room(&mut self) -> bool {
        if self.flaw.is_none() && self.size() > self.max_bytes {
            self.note_flaw(format!(": over maxSpanBytes = {}", self.max_bytes));
        }
        self.flaw.is_none()
    }

    /// The bytes of what has no fixed length.
    pub(super) fn size(&self) -> usize {
        self.attributes.as_fields().len()
            + self.events.len()
            + self.links.len()
            + self.name.len()
            + self.trace_state.len()
            + self.status_message.len()
            + self.scope_size()
    }

    fn scope_size(&self) -> usize {
        self.scope_parts.iter().map(Vec::len).sum()
    }

    /// Why it cannot be accepted.
    pub(super) fn flaw(&mut self) -> Option<String> {
        // What was added last may have been too much.
        if !self.has_room() {
            return self.flaw.clone();
        }
        let texts =
            [&self.name, &self.trace_state, &self.status_message, &self.scope_parts[0], &self.scope_parts[1]];
        if self.trace_id == [0; 16] {
            Some(": its trace ID is missing or all zero".to_owned())
        } else if self.span_id == [0; 8] {
            Some(": its span ID is missing or all zero".to_owned())
        } else if let Some(flaw) = self.attributes.flaw() {
            Some(format!(": {flaw}"))
        } else if !texts.iter().all(|text| is_text(text)) {
            Some(format!(": {NOT_UTF8}"))
        } else {
            None
        }
    }

    /// Writes the fields of its `InstrumentationScope` into a buffer, in their order.
    pub(super) fn write_scope(&self, out: &mut Vec<u8>) {
        out.clear();
        for (number, part) in (1..).zip(&self.scope_parts) {
            put_text(out, number, part);
        }
    }

    /// Appends the `Span` message, in protobuf's canonical form: fields by number, defaults left out.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.trace_id);
        put_bytes(out, 2, &self.span_id);
        put_text(out, 3, &self.trace_state);
        if let Some(parent) = self.parent_id.filter(|parent| *parent != [0; 8]) {
            put_bytes(out, 4, &parent);
        }
        put_text(out, 5, &self.name);
        if let kind @ 1.. = number_of(self.kind) {
            put_uint(out, 6, kind);
        }
        for (number, time) in [(7, self.start), (8, self.end)] {
            if time != 0 {
                put_fixed64(out, number, time);
            }
        }
        out.extend_from_slice(self.attributes.as_fields());
        out.extend_from_slice(&self.events);
        out.extend_from_slice(&self.links);
        let code = match self.status {
            StatusCode::Unset if self.has_error => 2,
            StatusCode::Unset => 0,
            StatusCode::Ok => 1,
            StatusCode::Error => 2,
        };
        if code != 0 || !self.status_message.is_empty() {
            let begin = open_message(out, 15);
            put_text(out, 2, &self.status_message);
            if code != 0 {
                put_uint(out, 3, code);
            }
            close_message(out, begin);
        }
        if self.flags != 0 {
            put_fixed32(out, 16, self.flags);
        }
    }
}

fn put_text(out: &mut Vec<u8>, number: u32, text: &[u8]) {
    if !text.is_empty() {
        put_bytes(out, number, text);
    }
}

fn number_of(kind: SpanKind) -> u64 {
    match kind {
        SpanKind::Unspecified => 0,
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
        SpanKind::Other(number) => i64::from(number).cast_unsigned(),
    }
}
