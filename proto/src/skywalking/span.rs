//! One span of a segment.

use super::Segment;
use super::ids::{span_id, trace_id};
use crate::gather::{Draft, Gatherer, KeyValues, Link, SharedResource, Value, tag};
use crate::otlp::SpanKind;
use crate::otlp::wire::{Reader, WireError};

/// Buffers that serve all spans of a request.
pub(super) struct Buffers {
    pub draft: Draft,
    pub resource: SharedResource,
    event: KeyValues,
    link: KeyValues,
}

/// Fields that others depend on.
#[derive(Debug, Clone, Copy, Default)]
struct Fields<'b> {
    id: i32,
    parent: i32,
    start: i64,
    end: i64,
    peer: &'b [u8],
    role: u64,
    layer: u64,
    component: i32,
    is_error: bool,
    skips_analysis: bool,
}

/// The parent of a span in another segment.
#[derive(Debug, Clone, Copy, Default)]
struct Reference<'b> {
    kind: u64,
    trace: &'b [u8],
    segment: &'b [u8],
    span: i32,
    service: &'b [u8],
    instance: &'b [u8],
    endpoint: &'b [u8],
    address: &'b [u8],
}

const ENTRY: u64 = 0;
const EXIT: u64 = 1;
const LOCAL: u64 = 2;
const MESSAGING: u64 = 4;
const LAYERS: [&[u8]; 7] = [b"Unknown", b"Database", b"RPCFramework", b"Http", b"MQ", b"Cache", b"FAAS"];
const CROSS_PROCESS: u64 = 0;

/// OTLP's flags of a parent: whether it is known to be in another process, and whether it is.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// The most bytes of the IDs of a segment and its trace.
const MAX_ID_BYTES: usize = 1_024;

// === impl Buffers ===

impl Buffers {
    pub(super) fn new(out: &Gatherer<'_>) -> Self {
        Self { draft: out.draft(), resource: out.shared_resource(), event: out.event(), link: out.link() }
    }
}

/// Fills the draft.
pub(super) fn span(
    message: &[u8],
    base: usize,
    segment: &Segment<'_>,
    buffers: &mut Buffers,
) -> Result<(), WireError> {
    let fields = Fields::read(message, base)?;
    let draft = &mut buffers.draft;
    // Both are written into each span of the segment.
    if segment.id.is_empty() || segment.id.len() > MAX_ID_BYTES || segment.trace.len() > MAX_ID_BYTES {
        draft
            .note_flaw(format!(": its segment has no ID, or an ID or trace ID of over {MAX_ID_BYTES} bytes"));
        return Ok(());
    }
    draft.trace_id = segment.trace_id;
    draft.span_id = span_id(segment.id, fields.id);
    let is_first = fields.parent < 0 || fields.parent == fields.id;
    if !is_first {
        draft.parent_id = Some(span_id(segment.id, fields.parent));
        draft.flags = PARENT_IS_KNOWN;
    }
    draft.kind = match (fields.role, fields.layer) {
        (ENTRY, MESSAGING) => SpanKind::Consumer,
        (ENTRY, _) => SpanKind::Server,
        (EXIT, MESSAGING) => SpanKind::Producer,
        (EXIT, _) => SpanKind::Client,
        (LOCAL, _) => SpanKind::Internal,
        _ => SpanKind::Unspecified,
    };
    match (nanos(fields.start), nanos(fields.end)) {
        (Some(start), Some(end)) => (draft.start, draft.end) = (start, end),
        _ => draft.note_flaw(": its start or end is before 1970 or beyond 2554".to_owned()),
    }
    fields.write(segment, draft);
    let mut has_parent = !is_first;
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        match field.number {
            5 => {
                let reference = Reference::read(field.bytes()?, reader.offset())?;
                let is_parent = !has_parent && reference.trace == segment.trace;
                has_parent |= is_parent;
                if is_parent { reference.become_parent(buffers) } else { reference.become_link(buffers) }
            }
            6 => buffers.draft.set_name(field.bytes()?),
            12 => {
                let (key, value) = pair(field.bytes()?, reader.offset())?;
                span_tag(&mut buffers.draft, key, value);
            }
            13 => log(field.bytes()?, reader.offset(), fields.is_error, buffers)?,
            _ => {}
        }
    }
    if fields.is_error {
        buffers.draft.mark_error(b"");
    }
    Ok(())
}

/// Milliseconds as nanoseconds.
fn nanos(millis: i64) -> Option<u64> {
    u64::try_from(millis).ok()?.checked_mul(1_000_000)
}

fn pair(message: &[u8], end: usize) -> Result<(&[u8], &[u8]), WireError> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut reader = Reader::at_offset(message, end - message.len());
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Adds a tag, under the name that OpenTelemetry's conventions have for it, or had.
fn span_tag(draft: &mut Draft, key: &[u8], value: &[u8]) {
    let key: &[u8] = match key {
        b"url" => b"url.full",
        b"status_code" => b"http.status_code",
        b"db.type" => b"db.system",
        b"db.instance" => b"db.name",
        b"mq.topic" | b"mq.queue" => b"messaging.destination.name",
        other => other,
    };
    tag(draft, key, Value::Text(value));
}

/// Adds a log. One with the event `error` is an exception.
fn log(message: &[u8], end: usize, is_error: bool, buffers: &mut Buffers) -> Result<(), WireError> {
    let Buffers { draft, event, .. } = buffers;
    let (mut time, mut name): (_, &[u8]) = (0, b"log");
    let mut reader = Reader::at_offset(message, end - message.len());
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => time = field.varint()?.cast_signed(),
            2 => {
                match pair(field.bytes()?, reader.offset())? {
                    (b"event", value) => name = value,
                    // The agent for Python has no name for it.
                    (b"Traceback", _) => name = b"error",
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let is_exception = name == b"error";
    event.clear();
    let mut reader = Reader::at_offset(message, end - message.len());
    while let Some(field) = reader.next_field()? {
        if field.number != 2 {
            continue;
        }
        let (key, value) = pair(field.bytes()?, reader.offset())?;
        let key: &[u8] = match key {
            b"event" => continue,
            b"error.kind" if is_exception => b"exception.type",
            b"stack" | b"Traceback" if is_exception => b"exception.stacktrace",
            b"message" if is_exception => {
                if is_error {
                    draft.mark_error(value);
                }
                b"exception.message"
            }
            other => other,
        };
        event.add(key, Value::Text(value));
    }
    match nanos(time) {
        Some(time) => draft.event(time, if is_exception { b"exception" } else { name }, event),
        None => draft.note_flaw(": the time of a log is before 1970 or beyond 2554".to_owned()),
    }
    Ok(())
}

// === impl Fields ===

impl<'b> Fields<'b> {
    fn read(message: &'b [u8], base: usize) -> Result<Self, WireError> {
        let mut fields = Self::default();
        let mut reader = Reader::at_offset(message, base);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => fields.id = field.varint()? as i32,
                2 => fields.parent = field.varint()? as i32,
                3 => fields.start = field.varint()?.cast_signed(),
                4 => fields.end = field.varint()?.cast_signed(),
                7 => fields.peer = field.bytes()?,
                8 => fields.role = field.varint()?,
                9 => fields.layer = field.varint()?,
                10 => fields.component = field.varint()? as i32,
                11 => fields.is_error = field.varint()? != 0,
                14 => fields.skips_analysis = field.varint()? != 0,
                _ => {}
            }
        }
        Ok(fields)
    }

    /// Adds what OTLP has no field for.
    fn write(&self, segment: &Segment<'_>, draft: &mut Draft) {
        draft.attribute(b"sw8.trace_id", Value::Text(segment.trace));
        draft.attribute(b"sw8.segment_id", Value::Text(segment.id));
        draft.attribute(b"sw8.span_id", Value::Int(self.id.into()));
        if self.role > LOCAL {
            draft.attribute(b"sw8.span_type", Value::Int(self.role.cast_signed()));
        }
        match LAYERS.get(self.layer as usize) {
            _ if self.layer == 0 => {}
            Some(name) => draft.attribute(b"sw8.span_layer", Value::Text(name)),
            None => draft.attribute(b"sw8.span_layer", Value::Int(self.layer.cast_signed())),
        }
        if self.component != 0 {
            draft.attribute(b"sw8.component_id", Value::Int(self.component.into()));
        }
        for (name, is_set) in [
            (&b"sw8.skip_analysis"[..], self.skips_analysis),
            (b"sw8.is_size_limited", segment.is_size_limited),
        ] {
            if is_set {
                draft.attribute(name, Value::Bool(true));
            }
        }
        // The peer of who is called is the caller, except for messages, which come from a broker.
        match (self.role, self.layer) {
            (ENTRY, MESSAGING) | (EXIT | LOCAL.., _) => {
                write_address(draft, self.peer, b"server.address", b"server.port");
            }
            (ENTRY, _) => write_address(draft, self.peer, b"client.address", b"client.port"),
        }
    }
}

/// Adds an address, which has a port or none; a list of several ones is kept as it is.
fn write_address(draft: &mut Draft, peer: &[u8], address: &[u8], port: &[u8]) {
    if peer.is_empty() {
        return;
    }
    let parts = peer.iter().rposition(|byte| *byte == b':').map(|at| (&peer[..at], &peer[at + 1..]));
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u16>().ok();
    let is_host = |host: &[u8]| match host {
        [b'[', .., b']'] => true,
        _ => !host.is_empty() && !host.contains(&b':') && !host.contains(&b','),
    };
    match parts.and_then(|(host, digits)| Some((host, number(digits)?))) {
        Some((host, number)) if is_host(host) => {
            let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
            draft.attribute(address, Value::Text(host));
            draft.attribute(port, Value::Int(number.into()));
        }
        _ => draft.attribute(address, Value::Text(peer)),
    }
}

// === impl Reference ===

impl<'b> Reference<'b> {
    fn read(message: &'b [u8], end: usize) -> Result<Self, WireError> {
        let mut to = Self::default();
        let mut reader = Reader::at_offset(message, end - message.len());
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => to.kind = field.varint()?,
                2 => to.trace = field.bytes()?,
                3 => to.segment = field.bytes()?,
                4 => to.span = field.varint()? as i32,
                5 => to.service = field.bytes()?,
                6 => to.instance = field.bytes()?,
                7 => to.endpoint = field.bytes()?,
                8 => to.address = field.bytes()?,
                _ => {}
            }
        }
        Ok(to)
    }

    fn become_parent(&self, buffers: &mut Buffers) {
        let draft = &mut buffers.draft;
        draft.parent_id = Some(span_id(self.segment, self.span));
        draft.flags = PARENT_IS_KNOWN | if self.kind == CROSS_PROCESS { PARENT_IS_REMOTE } else { 0 };
        for (key, value) in self.parts() {
            draft.attribute(key, Value::Text(value));
        }
    }

    fn become_link(&self, buffers: &mut Buffers) {
        let Buffers { draft, link, .. } = buffers;
        link.clear();
        let kind: &[u8] = if self.kind == CROSS_PROCESS { b"CrossProcess" } else { b"CrossThread" };
        link.add(b"sw8.ref_type", Value::Text(kind));
        link.add(b"sw8.trace_id", Value::Text(self.trace));
        for (key, value) in self.parts() {
            link.add(key, Value::Text(value));
        }
        let (trace_id, span_id) = (trace_id(self.trace), span_id(self.segment, self.span));
        draft.add_link(Link { trace_id, span_id, trace_state: b"", flags: 0, attributes: link });
    }

    fn parts(&self) -> impl Iterator<Item = (&'static [u8], &'b [u8])> {
        let parts: [(&'static [u8], &'b [u8]); 5] = [
            (b"sw8.parent_segment_id", self.segment),
            (b"sw8.parent_service", self.service),
            (b"sw8.parent_service_instance", self.instance),
            (b"sw8.parent_endpoint", self.endpoint),
            (b"sw8.network_address_used_at_peer", self.address),
        ];
        parts.into_iter().filter(|(_, value)| !value.is_empty())
    }
}
