//! Version 1 in JSON, as a stream like version 2.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Endpoint;
use super::json::{Found, Given, Stop, Values, array};
use super::v1::{Buffers, Span};
use crate::gather::{Gatherer, Unreadable, Value};
use crate::json::number;
use crate::json::scanner::{Fault, Progress};

/// Decodes `POST /api/v1/spans`.
pub fn decode_json_v1(text: &mut dyn Read, out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut values = Values::new(text);
    let mut decoder = Decoder {
        buffers: Buffers::new(out),
        span: Span::default(),
        endpoint: Endpoint::default(),
        key: Vec::new(),
        text: Vec::new(),
        max_span_bytes: out.max_span_bytes(),
    };
    array(&mut values, out, |values, out, index| decoder.span(values, out, index))
}

struct Decoder {
    buffers: Buffers,
    span: Span,
    endpoint: Endpoint,
    key: Vec<u8>,
    text: Vec<u8>,
    max_span_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum Member {
    TraceId,
    Id,
    ParentId,
    Name,
    Timestamp,
    Duration,
    Annotations,
    Tags,
    Debug,
    /// Those of version 2: without them the span would lose what they say.
    Kind,
    LocalEndpoint,
    RemoteEndpoint,
    PlainTags,
}

const MEMBERS: [(&str, Member); 13] = [
    ("traceId", Member::TraceId),
    ("id", Member::Id),
    ("parentId", Member::ParentId),
    ("name", Member::Name),
    ("timestamp", Member::Timestamp),
    ("duration", Member::Duration),
    ("annotations", Member::Annotations),
    ("binaryAnnotations", Member::Tags),
    ("debug", Member::Debug),
    ("kind", Member::Kind),
    ("localEndpoint", Member::LocalEndpoint),
    ("remoteEndpoint", Member::RemoteEndpoint),
    ("tags", Member::PlainTags),
];

/// The members of an annotation of either sort.
#[derive(Debug, Clone, Copy)]
enum Part {
    Time,
    Key,
    Value,
    Type,
    Endpoint,
}

/// The type that a binary annotation names for its value.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// None that is known: the value shows its type itself.
    Shown,
    Bool,
    Bytes,
    /// A whole number of so many bits.
    Int(u32),
    Double,
    Text,
}

// === impl Decoder ===

impl Decoder {
    fn span(&mut self, values: &mut Values<'_>, out: &mut Gatherer<'_>, index: usize) -> Result<(), Stop> {
        self.span.clear();
        let (mut progress, mut given) = (Progress::default(), Given::default());
        while let Some(member) = values.next(&mut progress, find)? {
            let name = MEMBERS[member as usize].0;
            if !given.note(member as u32) {
                self.buffers.draft.note_flaw(format!(".{name}: is given twice"));
            }
            if self.buffers.draft.is_refused() {
                values.scanner.skip()?;
            } else {
                self.member(values, member, name)?;
            }
        }
        let place = || format!("[{index}]");
        let gathered = if self.buffers.draft.is_refused() {
            out.add(&self.buffers.resource, &mut self.buffers.draft, &place)
        } else {
            self.span.gather(out, &mut self.buffers, &place)
        };
        gathered.map_err(Stop::Full)
    }

    fn member(&mut self, values: &mut Values<'_>, member: Member, name: &str) -> Result<(), Fault> {
        let (span, draft) = (&mut self.span, &mut self.buffers.draft);
        match member {
            Member::TraceId => values.identifier(&mut span.trace_id, draft, name)?,
            Member::Id => values.identifier(&mut span.id, draft, name)?,
            Member::ParentId => values.identifier(span.parent_id.insert([0; 8]), draft, name)?,
            Member::Name => values.text(&mut span.name, draft, name)?,
            Member::Timestamp => span.timestamp = values.micros(draft, name)?,
            Member::Duration => span.duration = values.duration(draft, name)?,
            Member::Debug => span.is_debug = values.flag(draft, name)?,
            Member::Annotations => self.list(values, name, Self::annotation)?,
            Member::Tags => self.list(values, name, Self::tag)?,
            Member::Kind | Member::LocalEndpoint | Member::RemoteEndpoint | Member::PlainTags => {
                draft.note_flaw(format!(".{name}: belongs to version 2, which goes to /api/v2/spans"));
                values.scanner.skip()?;
            }
        }
        Ok(())
    }

    fn list(
        &mut self,
        values: &mut Values<'_>,
        name: &str,
        item: impl Fn(&mut Self, &mut Values<'_>, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if !values.open_array(&mut self.buffers.draft, name)? {
            return Ok(());
        }
        let mut progress = Progress::default();
        while values.scanner.next_item(&mut progress)? {
            if self.span.is_over(self.max_span_bytes) {
                self.buffers.draft.note_flaw(format!(": over maxSpanBytes = {}", self.max_span_bytes));
            }
            if self.buffers.draft.is_refused() {
                values.scanner.skip()?;
            } else if values.open_object(&mut self.buffers.draft, name)? {
                self.endpoint.clear();
                item(self, values, name)?;
            }
        }
        Ok(())
    }

    fn annotation(&mut self, values: &mut Values<'_>, name: &str) -> Result<(), Fault> {
        let draft = &mut self.buffers.draft;
        let (mut progress, mut time) = (Progress::default(), 0);
        self.text.clear();
        while let Some(part) = values.next(&mut progress, part)? {
            match part {
                Part::Time => time = values.micros(draft, name)?,
                Part::Value => values.text(&mut self.text, draft, name)?,
                Part::Endpoint => values.endpoint(&mut self.endpoint, draft, name)?,
                Part::Key | Part::Type => values.scanner.skip()?,
            }
        }
        self.span.annotate(time, &self.text, Some(&self.endpoint));
        Ok(())
    }

    fn tag(&mut self, values: &mut Values<'_>, name: &str) -> Result<(), Fault> {
        let draft = &mut self.buffers.draft;
        let (mut progress, mut found, mut kind) = (Progress::default(), Found::Null, Kind::Shown);
        self.key.clear();
        self.text.clear();
        while let Some(part) = values.next(&mut progress, part)? {
            match part {
                Part::Key => values.text(&mut self.key, draft, name)?,
                Part::Value => {
                    found = values.read()?;
                    std::mem::swap(&mut self.text, &mut values.value);
                }
                Part::Endpoint => values.endpoint(&mut self.endpoint, draft, name)?,
                Part::Type => {
                    let is_name = values.read()? == Found::Text;
                    kind = if is_name { Kind::named(&values.value) } else { Kind::Shown };
                }
                Part::Time => values.scanner.skip()?,
            }
        }
        if let Kind::Bytes = kind
            && found == Found::Text
        {
            match STANDARD.decode(&self.text) {
                Ok(bytes) => self.text = bytes,
                Err(_) => draft.note_flaw(format!(".{name}: expected bytes in base64")),
            }
        }
        match kind.value(found, &self.text) {
            Some(value) => self.span.tag(&self.key, value, Some(&self.endpoint)),
            None => draft.note_flaw(format!(".{name}: a value is not of its type")),
        }
        Ok(())
    }
}

// === impl Kind ===

impl Kind {
    fn named(name: &[u8]) -> Self {
        match name {
            b"BOOL" => Self::Bool,
            b"BYTES" => Self::Bytes,
            b"I16" => Self::Int(16),
            b"I32" => Self::Int(32),
            b"I64" => Self::Int(64),
            b"DOUBLE" => Self::Double,
            b"STRING" => Self::Text,
            _ => Self::Shown,
        }
    }

    /// The value in this type. Numbers may be written as texts, because many readers of JSON have no 64 bits.
    fn value(self, found: Found, text: &[u8]) -> Option<Value<'_>> {
        Some(match (self, found) {
            (_, Found::Null) => Value::Text(b""),
            (_, Found::Composite) => return None,
            (Self::Bytes, Found::Text) => Value::Bytes(text),
            (Self::Int(bits), Found::Text | Found::Number) => Value::Int(int(text, bits)?),
            (Self::Double, Found::Text | Found::Number) => Value::Double(number::double(text)?),
            (Self::Bool, Found::Text) => match text {
                b"true" => Value::Bool(true),
                b"false" => Value::Bool(false),
                _ => return None,
            },
            (Self::Shown | Self::Bool, Found::Bool(value)) => Value::Bool(value),
            (Self::Text, Found::Bool(value)) => Value::Text(if value { b"true" } else { b"false" }),
            (Self::Shown | Self::Text, Found::Text) | (Self::Text, Found::Number) => Value::Text(text),
            (Self::Shown, Found::Number) => match number::signed(text) {
                Some(int) => Value::Int(int),
                None => Value::Double(number::double(text).unwrap_or(f64::INFINITY)),
            },
            (Self::Bytes | Self::Int(_) | Self::Double | Self::Bool, _) => return None,
        })
    }
}

/// A whole number of so many bits.
fn int(text: &[u8], bits: u32) -> Option<i64> {
    let unused = 64 - bits;
    number::signed(text).filter(|value| (value << unused) >> unused == *value)
}

fn find(name: &[u8]) -> Option<Member> {
    MEMBERS.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, member)| *member)
}

fn part(name: &[u8]) -> Option<Part> {
    match name {
        b"timestamp" => Some(Part::Time),
        b"key" => Some(Part::Key),
        b"value" => Some(Part::Value),
        b"type" => Some(Part::Type),
        b"endpoint" => Some(Part::Endpoint),
        _ => None,
    }
}
