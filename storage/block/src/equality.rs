//! When two spans are equal: `docs/semantics.md#equality`.
//!
//! Spans are stored as they were sent, and senders encode equal spans in many ways: fields in another order, default
//! values spelled out, a message in two parts. So spans are compared in a canonical form: fields sorted by number,
//! singular fields of OTLP once and without default values, varints as short as possible. The form is computed only
//! where two spans share trace, start and ID and differ in their bytes, so an append usually does not pay for it, and
//! blocks of every format are compared alike.

use std::collections::HashSet;

use bytes::Bytes;
use spandrel_proto::otlp::wire::{
    Field, Reader, Value, WireError, put_bytes, put_fixed32, put_fixed64, put_uint,
};

use crate::row_key::RowKey;

/// A span with its resource and scope, as wire bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpanParts {
    /// A `ResourceSpans` message without its scope spans.
    pub resource: Bytes,
    /// A `ScopeSpans` message without its spans.
    pub scope: Bytes,
    /// A `Span` message.
    pub span: Bytes,
}

/// Finds duplicates among spans that are pushed sorted by their keys.
#[derive(Debug, Default)]
pub struct Deduplicator {
    key: Option<RowKey>,
    seen: DistinctSpans,
}

/// The distinct spans among those that share trace, start and span ID. Nearly always there is one, so the first few are
/// compared one by one; further ones, from a sender that gives one key to many spans, are hashed.
#[derive(Debug, Default)]
struct DistinctSpans {
    few: Vec<KnownSpan>,
    /// In canonical form.
    many: HashSet<SpanParts>,
}

#[derive(Debug)]
struct KnownSpan {
    sent: SpanParts,
    /// Computed when another span has to be compared with it.
    canonical: Option<SpanParts>,
}

/// Further distinct spans of one key are hashed.
const FEW: usize = 8;
/// Messages that nest deeper are compared as they were sent. Requests are refused at a quarter of this depth.
const MAX_DEPTH: usize = 128;

// === impl SpanParts ===

impl SpanParts {
    /// The canonical form; it is the same for two spans if and only if they are equal.
    pub fn canonical(&self) -> Self {
        let Self { resource, scope, span } = self;
        Self {
            resource: canonical(resource, &RESOURCE_SPANS).into(),
            scope: canonical(scope, &SCOPE_SPANS).into(),
            span: canonical(span, &SPAN).into(),
        }
    }
}

// === impl Deduplicator ===

impl Deduplicator {
    /// Whether no equal span was pushed before. Equal spans have equal keys, so `parts` rebuilds the span only if the
    /// span before or the next one, with the key `next`, has the same key. A span that cannot be rebuilt counts as
    /// distinct.
    pub fn is_first(
        &mut self,
        key: RowKey,
        next: Option<RowKey>,
        parts: impl FnOnce() -> Option<SpanParts>,
    ) -> bool {
        if self.key != Some(key) {
            if next != Some(key) {
                return true;
            }
            self.seen.clear();
            self.key = Some(key);
        }
        parts().is_none_or(|span| self.seen.insert(span))
    }
}

// === impl DistinctSpans ===

impl DistinctSpans {
    /// Adds a span; returns whether no equal one was added before.
    fn insert(&mut self, span: SpanParts) -> bool {
        if self.few.iter().any(|known| known.sent == span) {
            return false;
        }
        if self.few.is_empty() && self.many.is_empty() {
            self.few.push(KnownSpan { sent: span, canonical: None });
            return true;
        }
        let canonical = span.canonical();
        if self.few.iter_mut().any(|known| *known.canonical() == canonical) || self.many.contains(&canonical)
        {
            return false;
        }
        if self.few.len() < FEW {
            self.few.push(KnownSpan { sent: span, canonical: Some(canonical) });
        } else {
            self.many.insert(canonical);
        }
        true
    }

    fn clear(&mut self) {
        self.few.clear();
        if !self.many.is_empty() {
            self.many = HashSet::new();
        }
    }
}

// === impl KnownSpan ===

impl KnownSpan {
    fn canonical(&mut self) -> &SpanParts {
        self.canonical.get_or_insert_with(|| self.sent.canonical())
    }
}

// === OTLP's messages ===

/// The fields of a message.
struct Message {
    fields: &'static [(u32, Kind)],
    /// Whether at most one field is set: the last one on the wire.
    is_oneof: bool,
}

/// The type of a field that OTLP defines.
#[derive(Clone, Copy)]
enum Kind {
    /// A string or bytes.
    Bytes,
    /// A 32-bit unsigned number.
    Uint32,
    /// A 32-bit signed number, or an enum.
    Int32,
    Fixed64,
    Fixed32,
    /// A message; an empty one equals a missing one.
    Message(&'static Message),
    /// A repeated string.
    EachBytes,
    /// A repeated message.
    Each(&'static Message),
    /// A member of a oneof, which is kept even if its value is the default.
    Member(Member),
}

#[derive(Clone, Copy)]
enum Member {
    Bytes,
    Bool,
    Int64,
    Double,
    Message(&'static Message),
}

const fn message(fields: &'static [(u32, Kind)]) -> Message {
    Message { fields, is_oneof: false }
}

static RESOURCE_SPANS: Message = message(&[(1, Kind::Message(&RESOURCE)), (3, Kind::Bytes)]);
static RESOURCE: Message =
    message(&[(1, Kind::Each(&KEY_VALUE)), (2, Kind::Uint32), (3, Kind::Each(&ENTITY_REF))]);
static ENTITY_REF: Message =
    message(&[(1, Kind::Bytes), (2, Kind::Bytes), (3, Kind::EachBytes), (4, Kind::EachBytes)]);
static SCOPE_SPANS: Message = message(&[(1, Kind::Message(&SCOPE)), (3, Kind::Bytes)]);
static SCOPE: Message =
    message(&[(1, Kind::Bytes), (2, Kind::Bytes), (3, Kind::Each(&KEY_VALUE)), (4, Kind::Uint32)]);
static SPAN: Message = message(&[
    (1, Kind::Bytes),
    (2, Kind::Bytes),
    (3, Kind::Bytes),
    (4, Kind::Bytes),
    (5, Kind::Bytes),
    (6, Kind::Int32),
    (7, Kind::Fixed64),
    (8, Kind::Fixed64),
    (9, Kind::Each(&KEY_VALUE)),
    (10, Kind::Uint32),
    (11, Kind::Each(&EVENT)),
    (12, Kind::Uint32),
    (13, Kind::Each(&LINK)),
    (14, Kind::Uint32),
    (15, Kind::Message(&STATUS)),
    (16, Kind::Fixed32),
]);
static STATUS: Message = message(&[(2, Kind::Bytes), (3, Kind::Int32)]);
static EVENT: Message =
    message(&[(1, Kind::Fixed64), (2, Kind::Bytes), (3, Kind::Each(&KEY_VALUE)), (4, Kind::Uint32)]);
static LINK: Message = message(&[
    (1, Kind::Bytes),
    (2, Kind::Bytes),
    (3, Kind::Bytes),
    (4, Kind::Each(&KEY_VALUE)),
    (5, Kind::Uint32),
    (6, Kind::Fixed32),
]);
static KEY_VALUE: Message = message(&[(1, Kind::Bytes), (2, Kind::Message(&ANY_VALUE)), (3, Kind::Int32)]);
static ANY_VALUE: Message = Message {
    fields: &[
        (1, Kind::Member(Member::Bytes)),
        (2, Kind::Member(Member::Bool)),
        (3, Kind::Member(Member::Int64)),
        (4, Kind::Member(Member::Double)),
        (5, Kind::Member(Member::Message(&ARRAY_VALUE))),
        (6, Kind::Member(Member::Message(&KEY_VALUE_LIST))),
        (7, Kind::Member(Member::Bytes)),
    ],
    is_oneof: true,
};
static ARRAY_VALUE: Message = message(&[(1, Kind::Each(&ANY_VALUE))]);
static KEY_VALUE_LIST: Message = message(&[(1, Kind::Each(&KEY_VALUE))]);

// === the canonical form ===

/// Encodes a message in canonical form. Bytes that do not parse as a message are returned as they are.
fn canonical(bytes: &[u8], of: &'static Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    put_message(&mut out, bytes, of, MAX_DEPTH).map_or_else(|_| bytes.to_vec(), |()| out)
}

/// A field of a message, with its type unless OTLP does not define the field.
struct KnownField<'a> {
    field: Field<'a>,
    kind: Option<Kind>,
}

fn put_message(out: &mut Vec<u8>, bytes: &[u8], of: &'static Message, depth: usize) -> Result<(), WireError> {
    let Some(depth) = depth.checked_sub(1) else {
        out.extend_from_slice(bytes);
        return Ok(());
    };
    let mut fields = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next_field()? {
        fields.push(KnownField { field, kind: of.kind(&field) });
    }
    if of.is_oneof {
        let last = fields.iter().rposition(|known| known.kind.is_some());
        let mut at = 0..;
        fields.retain(|known| at.next() == last || known.kind.is_none());
    }
    // The sort is stable, so items of a list keep their order.
    fields.sort_by_key(|known| (known.field.number, known.kind.is_none()));
    for same in
        fields.chunk_by(|a, b| (a.field.number, a.kind.is_none()) == (b.field.number, b.kind.is_none()))
    {
        put_fields(out, bytes, same, depth)?;
    }
    Ok(())
}

/// Appends the fields of one number.
fn put_fields(
    out: &mut Vec<u8>,
    message: &[u8],
    fields: &[KnownField<'_>],
    depth: usize,
) -> Result<(), WireError> {
    let Some(KnownField { field: last, kind }) = fields.last() else { return Ok(()) };
    let number = last.number;
    let each_bytes = || fields.iter().filter_map(|known| bytes_of(known.field.value));
    match (kind, last.value) {
        (None, _) => fields.iter().for_each(|known| put_unknown(out, message, &known.field)),
        (Some(Kind::EachBytes), _) => each_bytes().for_each(|bytes| put_bytes(out, number, bytes)),
        (Some(Kind::Each(of)), _) => {
            for bytes in each_bytes() {
                let mut item = Vec::with_capacity(bytes.len());
                put_message(&mut item, bytes, of, depth)?;
                put_bytes(out, number, &item);
            }
        }
        (Some(Kind::Message(of)), _) => {
            // Protobuf merges the parts of one message.
            let whole = each_bytes().collect::<Vec<_>>().concat();
            let mut item = Vec::with_capacity(whole.len());
            put_message(&mut item, &whole, of, depth)?;
            if !item.is_empty() {
                put_bytes(out, number, &item);
            }
        }
        (Some(Kind::Member(member)), value) => put_member(out, number, *member, value, depth)?,
        (Some(Kind::Bytes), Value::Bytes(bytes)) if !bytes.is_empty() => put_bytes(out, number, bytes),
        (Some(Kind::Uint32), Value::Varint(value)) if value as u32 != 0 => {
            put_uint(out, number, u64::from(value as u32));
        }
        (Some(Kind::Int32), Value::Varint(value)) if value as i32 != 0 => {
            put_uint(out, number, i64::from(value as i32) as u64);
        }
        (Some(Kind::Fixed64), Value::Fixed64(value)) if value != 0 => put_fixed64(out, number, value),
        (Some(Kind::Fixed32), Value::Fixed32(value)) if value != 0 => put_fixed32(out, number, value),
        // Default values are left out.
        _ => {}
    }
    Ok(())
}

fn put_member(
    out: &mut Vec<u8>,
    number: u32,
    member: Member,
    value: Value<'_>,
    depth: usize,
) -> Result<(), WireError> {
    match (member, value) {
        (Member::Message(of), Value::Bytes(bytes)) => {
            let mut item = Vec::with_capacity(bytes.len());
            put_message(&mut item, bytes, of, depth)?;
            put_bytes(out, number, &item);
        }
        (_, Value::Bytes(bytes)) => put_bytes(out, number, bytes),
        (Member::Bool, Value::Varint(value)) => put_uint(out, number, u64::from(value != 0)),
        (_, Value::Varint(value)) => put_uint(out, number, value),
        (_, Value::Fixed64(bits)) => {
            // JSON has a single NaN.
            let is_nan = f64::from_bits(bits).is_nan();
            put_fixed64(out, number, if is_nan { f64::NAN.to_bits() } else { bits });
        }
        (_, Value::Fixed32(_) | Value::Group) => {}
    }
    Ok(())
}

/// Appends a field that OTLP does not define.
fn put_unknown(out: &mut Vec<u8>, message: &[u8], field: &Field<'_>) {
    match field.value {
        Value::Varint(value) => put_uint(out, field.number, value),
        Value::Fixed64(value) => put_fixed64(out, field.number, value),
        Value::Fixed32(value) => put_fixed32(out, field.number, value),
        Value::Bytes(bytes) => put_bytes(out, field.number, bytes),
        Value::Group => out.extend_from_slice(&message[field.begin..field.end]),
    }
}

fn bytes_of(value: Value<'_>) -> Option<&[u8]> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}

// === impl Message, Kind, Member ===

impl Message {
    /// The type of a field; `None` if OTLP does not define it or its wire type is not the one that OTLP uses.
    fn kind(&self, field: &Field<'_>) -> Option<Kind> {
        let (_, kind) = self.fields.iter().find(|(number, _)| *number == field.number)?;
        kind.is_written_as(field.value).then_some(*kind)
    }
}

impl Kind {
    fn is_written_as(self, value: Value<'_>) -> bool {
        match self {
            Self::Bytes | Self::Message(_) | Self::EachBytes | Self::Each(_) => {
                matches!(value, Value::Bytes(_))
            }
            Self::Member(Member::Bytes | Member::Message(_)) => matches!(value, Value::Bytes(_)),
            Self::Uint32 | Self::Int32 | Self::Member(Member::Bool | Member::Int64) => {
                matches!(value, Value::Varint(_))
            }
            Self::Fixed64 | Self::Member(Member::Double) => matches!(value, Value::Fixed64(_)),
            Self::Fixed32 => matches!(value, Value::Fixed32(_)),
        }
    }
}
