//! Spans of Datadog's tracers, as its agent takes them: versions 0.4 (also 0.3) and 0.5 in MessagePack.
//!
//! `docs/receivers.md#datadog` has the conversion to OTLP, field by field. A request is a list of chunks; a chunk holds
//! spans of one trace that one process has finished, and its first span says for all of them what is not repeated: the
//! upper half of the trace ID, and the language.

mod details;
mod embedded;
mod v04;
mod v05;

pub use self::v04::decode_v04;
pub use self::v05::decode_v05;
use crate::gather::{Draft, Gatherer, KeyValues, Texts, Unreadable, Value, tag};
use crate::hex;
use crate::msgpack::{MsgpackError, Number};
use crate::otlp::SpanKind;

/// Buffers that serve all spans of a request.
struct Buffers {
    draft: Draft,
    resource: KeyValues,
    event: KeyValues,
    link: KeyValues,
    array: Texts,
}

/// What the spans of a chunk share.
#[derive(Debug, Clone, Copy, Default)]
struct Chunk<'b> {
    /// The lower half of the trace ID of the span that names the upper half.
    trace_id: u64,
    upper: Option<[u8; 8]>,
    language: &'b [u8],
}

/// What a span has beside what its draft holds already.
#[derive(Debug, Clone, Copy, Default)]
struct Parts<'b> {
    service: &'b [u8],
    name: &'b [u8],
    resource: &'b [u8],
    kind: &'b [u8],
    trace_id: u64,
    span_id: u64,
    parent_id: u64,
    start: i64,
    duration: i64,
    is_error: bool,
    environment: &'b [u8],
    version: &'b [u8],
    host: &'b [u8],
    message: &'b [u8],
}

/// The tag of the upper half of a trace ID, in hex.
const UPPER_HALF: &[u8] = b"_dd.p.tid";
const LANGUAGE: &[u8] = b"language";

/// Types of spans whose resource is the text of a query or a command, of which there are too many to be names.
const QUERIES: [&[u8]; 12] = [
    b"sql",
    b"db",
    b"redis",
    b"valkey",
    b"memcached",
    b"cache",
    b"mongodb",
    b"cassandra",
    b"elasticsearch",
    b"opensearch",
    b"aerospike",
    b"leveldb",
];

/// The language of a chunk. Each of its spans has it, so that a long text is no language.
fn language(text: &[u8]) -> &[u8] {
    const MAX_BYTES: usize = 64;
    if text.len() <= MAX_BYTES { text } else { b"" }
}

// === impl Buffers ===

impl Buffers {
    fn new(out: &Gatherer<'_>) -> Self {
        Self {
            draft: out.draft(),
            resource: out.resource(),
            event: out.event(),
            link: out.link(),
            array: out.texts(),
        }
    }

    /// Adds a tag that is a text.
    #[inline]
    fn meta<'b>(&mut self, parts: &mut Parts<'b>, key: &[u8], value: &'b [u8]) {
        match key {
            b"span.kind" => match kind(value) {
                Some(kind) => self.draft.kind = kind,
                None => self.draft.attribute(key, Value::Text(value)),
            },
            b"env" => parts.environment = value,
            b"version" => parts.version = value,
            b"_dd.hostname" => parts.host = value,
            // Said once for the chunk.
            b"_dd.p.tid" if upper_half(value).is_some() => {}
            b"language" => {}
            b"_dd.span_links" if !self.draft.is_refused() && self.embedded_links(value) => {}
            b"events" if !self.draft.is_refused() && self.embedded_events(value) => {}
            _ => {
                if matches!(key, b"error.message" | b"error.msg") {
                    parts.message = value;
                }
                tag(&mut self.draft, key, Value::Text(value));
            }
        }
    }

    /// Adds a tag that is a number.
    #[inline]
    fn metric(&mut self, key: &[u8], value: Number) {
        let value = match value {
            Number::Int(value) => Value::Int(value),
            Number::Large(value) => Value::Double(value as f64),
            Number::Double(value) => Value::Double(value),
        };
        self.draft.attribute(key, value);
    }

    /// Completes a span and adds it to the request.
    fn end(
        &mut self,
        parts: &Parts<'_>,
        chunk: &Chunk<'_>,
        out: &mut Gatherer<'_>,
        place: &dyn Fn() -> String,
    ) -> std::io::Result<()> {
        let Self { draft, resource, .. } = self;
        draft.trace_id = trace_id(parts, chunk);
        draft.span_id = parts.span_id.to_be_bytes();
        draft.parent_id = Some(parts.parent_id.to_be_bytes());
        match (u64::try_from(parts.start), u64::try_from(parts.start.saturating_add(parts.duration))) {
            (Ok(start), Ok(end)) => (draft.start, draft.end) = (start, end),
            _ => draft.note_flaw(": its start or end is before 1970".to_owned()),
        }
        if parts.is_error {
            draft.mark_error(parts.message);
        }
        write_names(draft, parts);
        resource.clear();
        for (key, value) in [
            (&b"service.name"[..], parts.service),
            (b"service.version", parts.version),
            (b"deployment.environment.name", parts.environment),
            (b"host.name", parts.host),
            (b"telemetry.sdk.language", chunk.language),
        ] {
            if !value.is_empty() {
                resource.add(key, Value::Text(value));
            }
        }
        out.add(resource, draft, place)
    }
}

/// The resource tells what was asked for, as in `GET /orders/{id}`, and so does a name in OTLP. Datadog's own name tells
/// the kind of the work, as in `flask.request`.
fn write_names(draft: &mut Draft, parts: &Parts<'_>) {
    let is_query = QUERIES.contains(&parts.kind);
    let name = if is_query || parts.resource.is_empty() { parts.name } else { parts.resource };
    draft.set_name(name);
    for (key, text) in
        [(&b"operation.name"[..], parts.name), (b"resource.name", parts.resource), (b"span.type", parts.kind)]
    {
        if !text.is_empty() && text != name {
            draft.attribute(key, Value::Text(text));
        }
    }
}

fn trace_id(parts: &Parts<'_>, chunk: &Chunk<'_>) -> [u8; 16] {
    let mut id = [0; 16];
    if parts.trace_id == chunk.trace_id
        && let Some(upper) = chunk.upper
    {
        id[..8].copy_from_slice(&upper);
    }
    id[8..].copy_from_slice(&parts.trace_id.to_be_bytes());
    id
}

fn upper_half(digits: &[u8]) -> Option<[u8; 8]> {
    let mut half = [0; 8];
    hex::parse(digits, &mut half).then_some(half)
}

fn kind(name: &[u8]) -> Option<SpanKind> {
    Some(match name {
        b"server" => SpanKind::Server,
        b"client" => SpanKind::Client,
        b"producer" => SpanKind::Producer,
        b"consumer" => SpanKind::Consumer,
        b"internal" => SpanKind::Internal,
        _ => return None,
    })
}

fn malformed(error: MsgpackError) -> Unreadable {
    Unreadable::Malformed(format!("not a list of traces of Datadog: {error}"))
}

#[cfg(test)]
mod tests;
