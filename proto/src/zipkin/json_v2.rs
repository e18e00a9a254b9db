//! Version 2 in JSON, as a stream: span by span while the text is decompressed.

use std::io::Read;

use super::Sides;
use super::json::{Found, Given, Stop, Values, array};
use crate::gather::{Draft, Gatherer, KeyValues, Unreadable, Value, tag};
use crate::json::scanner::{Fault, Progress};
use crate::otlp::SpanKind;

/// Decodes `POST /api/v2/spans`.
pub fn decode_json(text: &mut dyn Read, out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut values = Values::new(text);
    let mut decoder = Decoder {
        draft: out.draft(),
        resource: out.resource(),
        none: out.event(),
        sides: Sides::default(),
        key: Vec::new(),
        name: Vec::new(),
    };
    array(&mut values, out, |values, out, index| decoder.span(values, out, index))
}

/// Buffers that serve all spans of a request.
struct Decoder {
    draft: Draft,
    resource: KeyValues,
    /// Annotations have no attributes.
    none: KeyValues,
    sides: Sides,
    key: Vec<u8>,
    name: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Member {
    TraceId,
    Id,
    ParentId,
    Name,
    Kind,
    Timestamp,
    Duration,
    Local,
    Remote,
    Annotations,
    Tags,
    Debug,
    Shared,
    /// Of version 1: without them the span would lose what they say.
    BinaryAnnotations,
}

/// The names of the members, in their order.
const NAMES: [&str; 14] = [
    "traceId",
    "id",
    "parentId",
    "name",
    "kind",
    "timestamp",
    "duration",
    "localEndpoint",
    "remoteEndpoint",
    "annotations",
    "tags",
    "debug",
    "shared",
    "binaryAnnotations",
];

// === impl Decoder ===

impl Decoder {
    fn span(&mut self, values: &mut Values<'_>, out: &mut Gatherer<'_>, index: usize) -> Result<(), Stop> {
        self.sides.clear();
        let (mut progress, mut given) = (Progress::default(), Given::default());
        while let Some(member) = values.next(&mut progress, find)? {
            let name = NAMES[member as usize];
            if !given.note(member as u32) {
                self.draft.note_flaw(format!(".{name}: is given twice"));
            }
            if self.draft.is_refused() {
                values.scanner.skip()?;
            } else {
                self.member(values, member, name)?;
            }
        }
        if !self.draft.is_refused() {
            self.sides.finish(&mut self.draft, &mut self.resource);
        }
        out.add(&self.resource, &mut self.draft, &|| format!("[{index}]")).map_err(Stop::Full)
    }

    fn member(&mut self, values: &mut Values<'_>, member: Member, name: &str) -> Result<(), Fault> {
        let Self { draft, sides, .. } = self;
        match member {
            Member::TraceId => {
                let mut id = [0; 16];
                values.identifier(&mut id, draft, name)?;
                draft.trace_id = id;
            }
            Member::Id => {
                let mut id = [0; 8];
                values.identifier(&mut id, draft, name)?;
                draft.span_id = id;
            }
            Member::ParentId => {
                let mut id = [0; 8];
                values.identifier(&mut id, draft, name)?;
                draft.parent_id = Some(id);
            }
            Member::Name => {
                values.text(&mut self.name, draft, name)?;
                draft.set_name(&self.name);
            }
            Member::Kind => {
                values.text(&mut self.key, draft, name)?;
                match kind(&self.key) {
                    Some(kind) => draft.kind = kind,
                    None => draft.attribute(b"zipkin.kind", Value::Text(&self.key)),
                }
            }
            Member::Timestamp => sides.timestamp = values.micros(draft, name)?,
            Member::Duration => sides.duration = values.duration(draft, name)?,
            Member::Local => values.endpoint(&mut sides.local, draft, name)?,
            Member::Remote => values.endpoint(&mut sides.remote, draft, name)?,
            Member::Annotations => self.annotations(values, name)?,
            Member::Tags => self.tags(values, name)?,
            Member::Debug => sides.is_debug = values.flag(draft, name)?,
            Member::Shared => sides.is_shared = values.flag(draft, name)?,
            Member::BinaryAnnotations => {
                draft.note_flaw(format!(".{name}: belongs to version 1, which goes to /api/v1/spans"));
                values.scanner.skip()?;
            }
        }
        Ok(())
    }

    fn tags(&mut self, values: &mut Values<'_>, name: &str) -> Result<(), Fault> {
        if !values.open_object(&mut self.draft, name)? {
            return Ok(());
        }
        let draft = &mut self.draft;
        values.entries(&mut self.key, |key, found, value| match found {
            Found::Text | Found::Number => tag(draft, key, Value::Text(value)),
            Found::Bool(true) => tag(draft, key, Value::Text(b"true")),
            Found::Bool(false) => tag(draft, key, Value::Text(b"false")),
            Found::Null => {}
            Found::Composite => {
                let key = String::from_utf8_lossy(&key[..key.len().min(40)]).into_owned();
                draft.note_flaw(format!(".tags.{key}: expected a string"));
            }
        })
    }

    fn annotations(&mut self, values: &mut Values<'_>, name: &str) -> Result<(), Fault> {
        if !values.open_array(&mut self.draft, name)? {
            return Ok(());
        }
        let mut progress = Progress::default();
        while values.scanner.next_item(&mut progress)? {
            if !values.open_object(&mut self.draft, name)? {
                continue;
            }
            let (mut members, mut time) = (Progress::default(), 0);
            self.name.clear();
            while let Some(is_time) = values.next(&mut members, annotation_member)? {
                if is_time {
                    time = values.micros(&mut self.draft, name)?;
                } else {
                    values.text(&mut self.name, &mut self.draft, name)?;
                }
            }
            self.sides.annotated(time);
            match super::nanos(time) {
                Some(time) => self.draft.event(time, &self.name, &self.none),
                None => self.draft.note_flaw(format!(".{name}: its time is beyond the year 2554")),
            }
        }
        Ok(())
    }
}

fn find(name: &[u8]) -> Option<Member> {
    Some(match name {
        b"traceId" => Member::TraceId,
        b"id" => Member::Id,
        b"parentId" => Member::ParentId,
        b"name" => Member::Name,
        b"kind" => Member::Kind,
        b"timestamp" => Member::Timestamp,
        b"duration" => Member::Duration,
        b"localEndpoint" => Member::Local,
        b"remoteEndpoint" => Member::Remote,
        b"annotations" => Member::Annotations,
        b"tags" => Member::Tags,
        b"debug" => Member::Debug,
        b"shared" => Member::Shared,
        b"binaryAnnotations" => Member::BinaryAnnotations,
        _ => return None,
    })
}

fn annotation_member(name: &[u8]) -> Option<bool> {
    match name {
        b"timestamp" => Some(true),
        b"value" => Some(false),
        _ => None,
    }
}

pub(super) fn kind(name: &[u8]) -> Option<SpanKind> {
    match name {
        b"CLIENT" => Some(SpanKind::Client),
        b"SERVER" => Some(SpanKind::Server),
        b"PRODUCER" => Some(SpanKind::Producer),
        b"CONSUMER" => Some(SpanKind::Consumer),
        _ => None,
    }
}
