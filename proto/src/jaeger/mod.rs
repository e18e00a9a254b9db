//! Spans of Jaeger: `api_v2` in protobuf, as its collector's gRPC takes them, `jaeger.thrift` over HTTP and UDP, and the JSON
//! of its UI, from files; single spans of `api_v2` in protobuf and its JSON, from messages.
//!
//! `docs/receivers.md#jaeger` has the conversion to OTLP, field by field.

mod json;
mod json_span;
mod protobuf;
mod thrift;

pub use self::json::decode_trace_json;
pub use self::json_span::decode_span_json;
pub use self::protobuf::{decode_post_spans, decode_span};
pub use self::thrift::{decode_agent_message, decode_batch};
use crate::gather::{Draft, Gatherer, KeyValues, Reference, SharedResource, Texts, Value, tag};
use crate::otlp::SpanKind;

/// Buffers that serve all spans of a request.
struct Buffers {
    draft: Draft,
    /// The process of the batch.
    process: SharedResource,
    /// The process of one span, where it has its own.
    own_process: KeyValues,
    has_own_process: bool,
    log: Log,
    references: Vec<Referred>,
    max_references: usize,
    warnings: Texts,
    /// A member that holds no ID.
    flaw: Option<&'static str>,
}

/// One log of a span.
struct Log {
    time: u64,
    name: Vec<u8>,
    fields: KeyValues,
}

/// A reference to another span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Referred {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    relation: Relation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    ChildOf,
    FollowsFrom,
}

/// The flag of a sampled span, the same as in OTLP.
const SAMPLED: u32 = 1;

// === impl Buffers ===

impl Buffers {
    fn new(out: &Gatherer<'_>) -> Self {
        Self {
            draft: out.draft(),
            process: out.shared_resource(),
            own_process: out.resource(),
            has_own_process: false,
            log: Log { time: 0, name: Vec::new(), fields: out.event() },
            references: Vec::new(),
            max_references: out.max_span_bytes() / size_of::<Referred>(),
            warnings: out.texts(),
            flaw: None,
        }
    }

    /// Notes a reference. They are bounded like the rest of the span: one takes more memory than it may take bytes.
    fn refer(&mut self, to: Referred) {
        if self.references.len() < self.max_references {
            self.references.push(to);
        } else {
            self.draft.note_flaw(": its references are over maxSpanBytes".to_owned());
        }
    }

    fn begin(&mut self) {
        self.own_process.clear();
        self.has_own_process = false;
        self.references.clear();
        self.warnings.clear();
        self.flaw = None;
    }

    /// Adds the span to the request.
    fn end(&mut self, out: &mut Gatherer<'_>, place: &dyn Fn() -> String) -> std::io::Result<()> {
        self.resolve_references();
        match self.has_own_process {
            true => out.add(&self.own_process, &mut self.draft, place),
            false => out.add_shared(&mut self.process, &mut self.draft, place),
        }
    }

    /// The parent is the span that is named as such, else the first one that this is a child of, else the first one that
    /// it follows from. All other references are links.
    fn resolve_references(&mut self) {
        let Self { draft, references, .. } = self;
        let named = draft.parent_id.filter(|id| *id != [0; 8]);
        let first = |relation| {
            let is_it = |to: &&Referred| to.relation == relation && to.trace_id == draft.trace_id;
            references.iter().find(is_it).map(|to| to.span_id)
        };
        let parent = named.or_else(|| first(Relation::ChildOf)).or_else(|| first(Relation::FollowsFrom));
        draft.parent_id = parent;
        let mut is_told = false;
        for to in references.iter() {
            let is_parent = to.relation == Relation::ChildOf
                && to.trace_id == draft.trace_id
                && Some(to.span_id) == parent;
            if is_parent && !is_told {
                is_told = true;
                continue;
            }
            let relation = match to.relation {
                Relation::ChildOf => "child_of",
                Relation::FollowsFrom => "follows_from",
            };
            let (trace_id, span_id) = (to.trace_id, to.span_id);
            draft.link(Reference { trace_id, span_id, relation: ("opentracing.ref_type", relation) });
        }
    }

    fn set_flags(&mut self, flags: u32) {
        self.draft.flags = flags & SAMPLED;
        if flags & !SAMPLED != 0 {
            self.draft.attribute(b"jaeger.flags", Value::Int(flags.into()));
        }
    }

    /// Takes nanoseconds. An end before its start is kept, as clocks that were set back tell it.
    fn set_times(&mut self, start: i128, duration: i128) {
        match (u64::try_from(start), u64::try_from(start + duration)) {
            (Ok(start), Ok(end)) => (self.draft.start, self.draft.end) = (start, end),
            _ => self.draft.note_flaw(": its start or end is before 1970 or beyond 2554".to_owned()),
        }
    }

    fn end_log(&mut self) {
        let Log { time, name, fields } = &mut self.log;
        self.draft.event(*time, name, fields);
        name.clear();
        fields.clear();
        *time = 0;
    }
}

/// Adds a tag of a span.
fn span_tag(draft: &mut Draft, key: &[u8], value: Value<'_>) {
    match (key, value) {
        (b"span.kind", Value::Text(kind)) => match kind {
            b"client" => draft.kind = SpanKind::Client,
            b"server" => draft.kind = SpanKind::Server,
            b"producer" => draft.kind = SpanKind::Producer,
            b"consumer" => draft.kind = SpanKind::Consumer,
            b"internal" => draft.kind = SpanKind::Internal,
            _ => draft.attribute(key, value),
        },
        (b"w3c.tracestate", Value::Text(state)) => draft.set_trace_state(state),
        _ => tag(draft, key, value),
    }
}

/// Adds a tag of a process.
fn process_tag(resource: &mut KeyValues, key: &[u8], value: Value<'_>) {
    match key {
        b"hostname" => resource.add(b"host.name", value),
        _ => resource.add(key, value),
    }
}

// === impl Log ===

impl Log {
    fn add(&mut self, key: &[u8], value: Value<'_>) {
        match (key, value) {
            (b"event", Value::Text(name)) if self.name.is_empty() => self.name.extend_from_slice(name),
            _ => self.fields.add(key, value),
        }
    }
}

#[cfg(test)]
mod tests;
