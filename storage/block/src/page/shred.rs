//! Splits the wire bytes of a span into slots and values, in one pass that copies new texts only.
//!
//! Fields written as exporters write them (minimal varints, each part of an attribute once and in order) go into slots
//! of their kind. Everything else that protobuf allows is stored as bytes, field by field. Nothing is normalised, so a
//! span is restored byte for byte (spans are compared by `equality.rs`).

use spandrel_proto::otlp::wire::{Reader, Value, WireError};
use spandrel_proto::otlp::{RawValue, SpanHead, raw_attribute};

use super::columns::PageColumns;
use super::regular::{RawField, RegularAttribute, RegularValue, is_literal, regular_status};
use super::shape_predictor::ShapePredictor;
use crate::edges::{PeerCandidates, is_peer_key};
use crate::flags::RowFlags;
use crate::interner::{Interner, same};
use crate::shape::{
    AttributeField, Class, ERROR, FieldEncoding, Level, ShapeTable, SlotTable, SlotValue, ValueKind,
};

/// The slots, shapes, texts and classes so far of a block that is being written.
#[derive(Debug, Default)]
pub(crate) struct SpanSchema {
    pub(crate) slots: SlotTable,
    pub(crate) shapes: ShapeTable,
    pub(crate) texts: Interner,
    pub(crate) classes: Vec<Class>,
}

/// Splits spans into the columns of a page.
#[derive(Debug, Default)]
pub(crate) struct Shredder {
    /// The slots of the current span.
    span: Vec<u32>,
    /// The slots of the current event or link.
    nested: Vec<u32>,
    /// Slots whose columns got a value from the current span, to undo it.
    pushed: Vec<u32>,
    predictor: ShapePredictor,
    heads: Heads,
    /// Number of events and links of the current span.
    events: usize,
    links: usize,
    /// Whether the current span has attribute `error` with a true value.
    error: bool,
    /// Whether to collect the names of peers.
    peers: bool,
}

/// The slots of a span's first fields in their usual encoding (`SpanHead`), by kind and by whether there is a parent.
/// An entry is empty until one such span was split field by field, and also if a full schema stored one of the fields
/// as text: all fields of a head have to be in the columns of the row or in the slots.
#[derive(Debug, Default)]
struct Heads([[Vec<u32>; 2]; 6]);

/// The most slots of a block. Further attributes are stored as bytes, so that an attacker's keys do not fill the block.
pub(crate) const MAX_SLOTS: usize = 8192;
/// Messages with more fields are stored as bytes.
const MAX_SHAPE: usize = 1024;
/// The most shapes of a block; further spans are stored as bytes.
pub(crate) const MAX_SHAPES: usize = 65_536;

const START: u32 = u32::MAX;
/// The number of fields of a head without parent: trace ID, span ID, name, kind, start and end.
const LEAST_HEAD: usize = 6;
/// The field numbers of every head, as a set of bits.
const HEAD_FIELDS: u32 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;

/// The fields of a span that its row and its edges need.
#[derive(Debug, Default)]
pub(crate) struct SpanFields<'a> {
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: &'a [u8],
    pub(crate) parent_id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) kind: i32,
    pub(crate) status: i32,
    pub(crate) end: u64,
    pub(crate) flags: u32,
    /// Whether attribute `error` has a true value.
    pub(crate) error: bool,
    /// Whether the span has field 13, which holds links.
    pub(crate) has_links: bool,
    /// Names of the peer.
    pub(crate) peers: PeerCandidates<'a>,
}

// === impl SpanSchema ===

impl SpanSchema {
    /// The service and the flags of a class, given all operations.
    pub(crate) fn service_and_flags(&self, class: u32, operations: &[(u32, String)]) -> (u32, RowFlags) {
        let Class { operation, shape } = self.classes[class as usize];
        (operations[operation as usize].0, RowFlags(self.shapes.get(shape).flags))
    }
}

// === impl Shredder ===

impl Shredder {
    /// Creates one that also collects the names of peers.
    pub(crate) fn with_peers() -> Self {
        Self { peers: true, ..Self::default() }
    }

    /// Splits a span; returns the number of its shape and the fields that its row needs. `start` is the span's start;
    /// `flags` computes the shape's flags from the fields.
    pub(crate) fn span<'a>(
        &mut self,
        schema: &mut SpanSchema,
        columns: &mut PageColumns,
        span: &'a [u8],
        start: u64,
        flags: impl FnOnce(&SpanFields<'a>) -> u8,
    ) -> Result<(u32, SpanFields<'a>), WireError> {
        self.span.clear();
        self.pushed.clear();
        self.predictor.begin();
        (self.events, self.links, self.error) = (0, 0, false);
        let mut fields = SpanFields::default();
        let regular = self.fields(schema, columns, span, start, &mut fields)?;
        fields.error = self.error;
        if !regular || self.span.len() > MAX_SHAPE || schema.shapes.len() >= MAX_SHAPES {
            self.take_back(columns);
            self.span.clear();
            let slot = schema.slots.intern(START, Level::Span, FieldEncoding::Verbatim, 0, b"");
            self.push_text(schema, columns, slot, span);
            self.span.push(slot);
        }
        let shape = schema.shapes.intern(flags(&fields), &self.span);
        self.predictor.learn(shape);
        Ok((shape, fields))
    }

    /// Returns whether the span can be stored in slots. It cannot if a field of the row's columns occurs twice: the
    /// last value wins, and rebuilding would write it in both places.
    fn fields<'a>(
        &mut self,
        schema: &mut SpanSchema,
        columns: &mut PageColumns,
        span: &'a [u8],
        start: u64,
        fields: &mut SpanFields<'a>,
    ) -> Result<bool, WireError> {
        let head = SpanHead::parse(span);
        let mut at = head.as_ref().map_or(0, |head| self.head(schema, head, fields));
        let known = self.span.len();
        let mut before = self.span.last().copied().unwrap_or(START);
        let (mut seen, mut twice) = (0u32, false);
        if let Some(head) = head.filter(|_| known > 0) {
            seen = HEAD_FIELDS | u32::from(head.parent_id.is_some()) << 4;
        }
        while at < span.len() {
            let after = schema.slots.after(before);
            let likely = self.predictor.next_slot(after);
            if let Some(attribute) = AttributeField::at_front(&span[at..]) {
                // The slot of the last span of this name, or else the one that came next in any span.
                let slots = &schema.slots;
                let found = match slots.recognise(likely, &attribute) {
                    Some(value) => Some((likely, value)),
                    None => slots.recognise(after, &attribute).map(|value| (after, value)),
                };
                if let Some((slot, value)) = found {
                    self.push_value(schema, columns, slot, value, fields);
                    schema.slots.follows(before, slot);
                    self.predictor.advance(slot);
                    self.span.push(slot);
                    (before, at) = (slot, at + attribute.field.len());
                    continue;
                }
            }
            let mut reader = Reader::at_offset(&span[at..], at);
            let Some(field) = reader.next_field()? else { break };
            let bytes = &span[at..at + field.end];
            at += field.end;
            let field = RawField { number: field.number, value: field.value, bytes };
            let slot = match (field.number, field.value) {
                (9, Value::Bytes(attribute)) => {
                    self.attribute(schema, columns, likely, Level::Span, &field, attribute, fields)
                }
                (11, Value::Bytes(event)) if field.is_minimal() => {
                    self.nested(schema, columns, Level::Event, event, start)?;
                    schema.slots.intern(likely, Level::Span, FieldEncoding::Nested, 11, b"")
                }
                (13, Value::Bytes(link)) if field.is_minimal() => {
                    fields.has_links = true;
                    self.nested(schema, columns, Level::Link, link, start)?;
                    schema.slots.intern(likely, Level::Span, FieldEncoding::Nested, 13, b"")
                }
                (number, _) => {
                    if matches!(number, 1 | 2 | 4..=8 | 15 | 16) {
                        twice |= seen & 1 << number != 0;
                        seen |= 1 << number;
                    }
                    match fields.see(&field)? {
                        Some(encoding) if field.is_minimal() => {
                            let slot = schema.slots.intern(likely, Level::Span, encoding, number, b"");
                            if encoding == FieldEncoding::Name {
                                self.predictor.predict(fields.name, slot, &schema.shapes);
                            }
                            slot
                        }
                        _ => self.other(schema, columns, likely, Level::Span, &field),
                    }
                }
            };
            schema.slots.follows(before, slot);
            self.predictor.advance(slot);
            self.span.push(slot);
            before = slot;
        }
        if let Some(head) = head.filter(|_| known == 0) {
            self.heads.learn(&head, &self.span, &schema.slots);
        }
        Ok(!twice)
    }

    /// Consumes the head of a span if its slots are known. Returns the number of bytes consumed.
    #[inline]
    fn head<'a>(&mut self, schema: &SpanSchema, head: &SpanHead<'a>, fields: &mut SpanFields<'a>) -> usize {
        let Some(&last) = self.heads.slots(head).last() else { return 0 };
        self.span.extend_from_slice(self.heads.slots(head));
        (fields.trace_id, fields.span_id, fields.name) = (head.trace_id, head.span_id, head.name);
        fields.parent_id = head.parent_id.map_or(&[], |parent| &parent[..]);
        (fields.kind, fields.end) = (head.kind.into(), head.end);
        self.predictor.predict(head.name, last, &schema.shapes);
        head.length
    }

    /// Adds the value of an attribute that [`SlotTable::recognise`] found.
    #[inline]
    fn push_value<'a>(
        &mut self,
        schema: &mut SpanSchema,
        columns: &mut PageColumns,
        slot: u32,
        value: SlotValue<'a>,
        fields: &mut SpanFields<'a>,
    ) {
        match value {
            SlotValue::None => {}
            SlotValue::Number(number) => self.push_number(columns, slot, number),
            SlotValue::Text(text) => {
                if self.peers && schema.slots.is_peer(slot) {
                    fields.peers.see(&schema.slots.get(slot).name, text);
                }
                self.push_text(schema, columns, slot, text);
            }
        }
    }

    fn nested(
        &mut self,
        schema: &mut SpanSchema,
        columns: &mut PageColumns,
        level: Level,
        message: &[u8],
        start: u64,
    ) -> Result<(), WireError> {
        self.nested.clear();
        let mut ignored = SpanFields::default();
        let mut reader = Reader::new(message);
        let mut before = START;
        while let Some(field) = reader.next_field()? {
            let bytes = &message[field.begin..field.end];
            let likely = schema.slots.after(before);
            let field = RawField { number: field.number, value: field.value, bytes };
            let slot = match (level, field.number, field.value) {
                (Level::Event, 3, Value::Bytes(attribute)) | (Level::Link, 4, Value::Bytes(attribute)) => {
                    self.attribute(schema, columns, likely, level, &field, attribute, &mut ignored)
                }
                (Level::Event, 1, Value::Fixed64(time)) if field.is_minimal() => {
                    let slot = schema.slots.intern(likely, level, FieldEncoding::Since, 1, b"");
                    self.push_number(columns, slot, time.wrapping_sub(start));
                    slot
                }
                _ => self.other(schema, columns, likely, level, &field),
            };
            schema.slots.follows(before, slot);
            self.nested.push(slot);
            before = slot;
        }
        if self.nested.len() > MAX_SHAPE {
            // The message is too long for a shape: it is stored as one text, and its values are removed from the
            // columns again.
            let values = self.nested.iter().filter(|slot| {
                schema.slots.get(**slot).encoding.value_kind() != crate::shape::ValueKind::None
            });
            for _ in 0..values.count() {
                if let Some(slot) = self.pushed.pop() {
                    columns.pop(slot);
                }
            }
            let slot = schema.slots.intern(START, level, FieldEncoding::Verbatim, 0, b"");
            self.push_text(schema, columns, slot, message);
            self.nested.clear();
            self.nested.push(slot);
        }
        let shape = schema.shapes.intern(0, &self.nested);
        match level {
            Level::Link => {
                columns.links.push(shape);
                self.links += 1;
            }
            _ => {
                columns.events.push(shape);
                self.events += 1;
            }
        }
        Ok(())
    }

    /// Adds an attribute; one as exporters write it (key, then a value of one field) gets a slot of its key.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    fn attribute<'a>(
        &mut self,
        schema: &mut SpanSchema,
        columns: &mut PageColumns,
        likely: u32,
        level: Level,
        field: &RawField<'a>,
        attribute: &'a [u8],
        fields: &mut SpanFields<'a>,
    ) -> u32 {
        let parsed = RegularAttribute::parse(attribute);
        let room = field.is_minimal() && schema.slots.len() < MAX_SLOTS;
        let Some(RegularAttribute { key, value }) = parsed.filter(|_| room) else {
            if level == Level::Span {
                self.see_irregular(attribute, fields);
            }
            return self.other(schema, columns, likely, level, field);
        };
        if level == Level::Span && key == ERROR {
            self.error = matches!(
                value,
                RegularValue::Bool(true) | RegularValue::Text(FieldEncoding::String, b"true")
            );
        }
        match value {
            RegularValue::Bool(_) | RegularValue::Empty => {
                schema.slots.intern(likely, level, FieldEncoding::Literal, field.number, field.bytes)
            }
            RegularValue::Number(encoding, number) => {
                let slot = schema.slots.intern(likely, level, encoding, field.number, key);
                self.push_number(columns, slot, number);
                slot
            }
            RegularValue::Text(encoding, text) => {
                let slot = schema.slots.intern(likely, level, encoding, field.number, key);
                if self.peers && schema.slots.is_peer(slot) {
                    fields.peers.see(key, text);
                }
                self.push_text(schema, columns, slot, text);
                slot
            }
        }
    }

    /// Reads `error` and the names of the peer from an attribute that is stored as bytes.
    fn see_irregular<'a>(&mut self, attribute: &'a [u8], fields: &mut SpanFields<'a>) {
        let Ok((key, value)) = raw_attribute(attribute) else { return };
        if key == ERROR {
            self.error = matches!(value, RawValue::Bool(true) | RawValue::String(b"true"));
        }
        if let RawValue::String(text) = value
            && self.peers
            && is_peer_key(key)
        {
            fields.peers.see(key, text);
        }
    }

    /// Adds any other field.
    fn other(
        &mut self,
        schema: &mut SpanSchema,
        columns: &mut PageColumns,
        likely: u32,
        level: Level,
        field: &RawField<'_>,
    ) -> u32 {
        let number = field.number;
        // Fields with other numbers than those of OTLP share one slot, because there may be millions of numbers.
        if !field.is_minimal() || number > 31 || schema.slots.len() >= MAX_SLOTS + 1024 {
            let slot = schema.slots.intern(likely, level, FieldEncoding::Verbatim, 0, b"");
            self.push_text(schema, columns, slot, field.bytes);
            return slot;
        }
        if is_literal(level, field) {
            return schema.slots.intern(likely, level, FieldEncoding::Literal, number, field.bytes);
        }
        if let (Level::Span, 15, Value::Bytes(status)) = (level, number, field.value)
            && let Some((message, code)) = regular_status(status)
        {
            let slot = schema.slots.intern(likely, level, FieldEncoding::Status, number, code);
            self.push_text(schema, columns, slot, message);
            return slot;
        }
        let encoding = match field.value {
            Value::Varint(_) => FieldEncoding::Varint,
            Value::Fixed64(_) => FieldEncoding::Fixed64,
            Value::Fixed32(_) => FieldEncoding::Fixed32,
            Value::Bytes(_) => FieldEncoding::Bytes,
            Value::Group => FieldEncoding::Verbatim,
        };
        let field_number = if encoding == FieldEncoding::Verbatim { 0 } else { number };
        let slot = schema.slots.intern(likely, level, encoding, field_number, b"");
        match field.value {
            Value::Varint(value) | Value::Fixed64(value) => self.push_number(columns, slot, value),
            Value::Fixed32(value) => self.push_number(columns, slot, u64::from(value)),
            Value::Bytes(text) => self.push_text(schema, columns, slot, text),
            Value::Group => self.push_text(schema, columns, slot, field.bytes),
        }
        slot
    }

    #[inline]
    fn push_number(&mut self, columns: &mut PageColumns, slot: u32, number: u64) {
        columns.push_number(slot, number);
        self.pushed.push(slot);
    }

    #[inline]
    fn push_text(&mut self, schema: &mut SpanSchema, columns: &mut PageColumns, slot: u32, text: &[u8]) {
        let column = columns.texts(slot);
        // Rows of one trace follow each other and often repeat a value.
        let number = match column.last() {
            Some(last) if same(schema.texts.get(*last), text) => *last,
            _ => schema.texts.intern(text),
        };
        column.push(number);
        self.pushed.push(slot);
    }

    /// Removes every value of the current span from the columns.
    fn take_back(&mut self, columns: &mut PageColumns) {
        while let Some(slot) = self.pushed.pop() {
            columns.pop(slot);
        }
        columns.events.truncate(columns.events.len() - self.events);
        columns.links.truncate(columns.links.len() - self.links);
    }
}

// === impl Heads ===

impl Heads {
    fn slots(&self, head: &SpanHead<'_>) -> &[u32] {
        &self.0[usize::from(head.kind)][usize::from(head.parent_id.is_some())]
    }

    /// Remembers the slots of a span that was split field by field.
    fn learn(&mut self, head: &SpanHead<'_>, span: &[u32], known: &SlotTable) {
        let has_parent = usize::from(head.parent_id.is_some());
        let slots = span.get(..LEAST_HEAD + has_parent).unwrap_or_default();
        if slots.iter().all(|slot| known.get(*slot).encoding.value_kind() == ValueKind::None) {
            self.0[usize::from(head.kind)][has_parent] = slots.to_vec();
        }
    }
}

// === impl SpanFields ===

impl<'a> SpanFields<'a> {
    /// Reads a field. Returns its encoding if its value is in a column that every row has.
    #[inline]
    fn see(&mut self, field: &RawField<'a>) -> Result<Option<FieldEncoding>, WireError> {
        match (field.number, field.value) {
            (1, Value::Bytes(id)) => self.trace_id = id,
            (2, Value::Bytes(id)) => self.span_id = id,
            (4, Value::Bytes(id)) => self.parent_id = id,
            (5, Value::Bytes(name)) => self.name = name,
            (6, Value::Varint(kind)) => self.kind = kind as i32,
            (8, Value::Fixed64(end)) => self.end = end,
            (13, _) => self.has_links = true,
            (16, Value::Fixed32(flags)) => self.flags = flags,
            (15, Value::Bytes(status)) => self.status = status_code(status, self.status)?,
            _ => {}
        }
        Ok(match (field.number, field.value) {
            (1, Value::Bytes(id)) if id.len() == 16 => Some(FieldEncoding::TraceId),
            (2, Value::Bytes(id)) if id.len() == 8 => Some(FieldEncoding::SpanId),
            (4, Value::Bytes(id)) if id.len() == 8 => Some(FieldEncoding::Parent),
            (5, Value::Bytes(_)) => Some(FieldEncoding::Name),
            (7, Value::Fixed64(_)) => Some(FieldEncoding::Start),
            (8, Value::Fixed64(_)) => Some(FieldEncoding::End),
            _ => None,
        })
    }
}

fn status_code(status: &[u8], before: i32) -> Result<i32, WireError> {
    let mut code = before;
    let mut reader = Reader::new(status);
    while let Some(field) = reader.next_field()? {
        if let (3, Value::Varint(value)) = (field.number, field.value) {
            code = value as i32;
        }
    }
    Ok(code)
}
