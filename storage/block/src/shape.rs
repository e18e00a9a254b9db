//! Slots and shapes: how a message is split into parts, so that equal parts are stored once.
//!
//! A message (span, event, link) is a sequence of fields. A *slot* is everything of a field but its value: the message
//! it belongs to, its encoding, its number, an attribute's key. The slots of a message in their order are its *shape*.
//! A block has a few hundred slots and shapes, and a span is the number of its shape and one value for each slot that
//! has one. It is restored byte for byte, with its fields in the order and the encoding in which they were sent.

use bytes::Bytes;
use rustc_hash::FxHasher;
use spandrel_proto::otlp::wire::{Reader, Value};
use spandrel_proto::otlp::{AnyValue, RawValue, raw_attribute};
use std::hash::Hasher;

use crate::edges::is_peer_key;
use crate::interner::same;

/// The message that a slot belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// `Span`
    Span = 0,
    /// `Span.Event`
    Event = 1,
    /// `Span.Link`
    Link = 2,
}

/// How the field of a slot is encoded on the wire, and where its value is stored. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FieldEncoding {
    /// The slot's name is the whole field with tag and length. No value.
    Literal = 0,
    /// A varint field; the value is a number.
    Varint = 1,
    /// A fixed64 field; the value is a number.
    Fixed64 = 2,
    /// A fixed32 field; the value is a number.
    Fixed32 = 3,
    /// A length-delimited field; the value is a text.
    Bytes = 4,
    /// Any field: the text is the field with its tag, or the rest of the message.
    Verbatim = 5,
    /// An attribute with a string; the value is a text. The slot's name is the key.
    String = 6,
    /// An attribute with an integer; the value is a number.
    Int = 7,
    /// An attribute with a double; the value is its bits.
    Double = 8,
    /// An attribute with an array: the text is the `ArrayValue`.
    Array = 9,
    /// An attribute with a list of key-values: the text is the `KeyValueList`.
    KeyValues = 10,
    /// An attribute with bytes; the value is a text.
    Blob = 11,
    /// Field 1 of a span, the trace ID of the row.
    TraceId = 12,
    /// Field 2, the span ID of the row.
    SpanId = 13,
    /// Field 4 with eight bytes, the parent of the row.
    Parent = 14,
    /// Field 5, the name of the row's operation.
    Name = 15,
    /// Field 7, the start of the row.
    Start = 16,
    /// Field 8, the end of the row.
    End = 17,
    /// Field 15 with a message and then a code: the text is the message, the slot's name the code's bytes.
    Status = 18,
    /// An event or link, the next of those in the page.
    Nested = 19,
    /// A fixed64 field; the value is a number that is added to the span's start.
    Since = 20,
}

/// A field without its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The message that has the field.
    pub level: Level,
    /// How the field is encoded.
    pub encoding: FieldEncoding,
    /// The number of the field.
    pub field: u32,
    /// The key of an attribute, the bytes of a literal, else empty.
    pub name: Bytes,
}

/// The type of the values of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// No value, or one that a column of every row contains.
    None,
    /// A number.
    Number,
    /// The bits of a double.
    Double,
    /// A byte string.
    Text,
}

/// The shape of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The flags of [`crate::RowFlags`] for spans, which depend on the shape alone.
    pub flags: u8,
    /// Indices of its slots, in the order of the fields.
    pub slots: Vec<u32>,
}

/// The operation and shape of a row. Few pairs occur, so rows store the number of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    /// Index into the dictionary's operations.
    pub operation: u32,
    /// Index into the dictionary's shapes.
    pub shape: u32,
}

/// The value of a field, given its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotValue<'b> {
    None,
    Number(u64),
    Text(&'b [u8]),
}

/// The field of a span's attribute on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributeField<'b> {
    /// The whole field.
    pub(crate) field: &'b [u8],
    /// The message in it.
    message: &'b [u8],
}

/// Numbers slots in the order in which they are first seen.
#[derive(Debug, Default)]
pub(crate) struct SlotTable {
    slots: Vec<Slot>,
    table: Vec<u32>,
    /// For each slot, the slot that followed it last time.
    after: Vec<u32>,
    /// For each slot of an attribute, the bytes behind the length: key, and the tag of the value. Empty if the slot
    /// cannot be recognised by them.
    prefixes: Vec<Box<[u8]>>,
    /// For each slot, whether it may name the peer of a call.
    peers: Vec<bool>,
}

/// Numbers shapes in the order in which they are first seen.
#[derive(Debug, Default)]
pub(crate) struct ShapeTable {
    shapes: Vec<Shape>,
    table: Vec<u32>,
}

// === impl FieldEncoding, Level ===

impl Level {
    /// The number of the field that holds the attributes of its messages.
    fn attributes(self) -> u32 {
        match self {
            Self::Span => ATTRIBUTES,
            Self::Event => 3,
            Self::Link => 4,
        }
    }

    pub(crate) fn from_raw(raw: u8) -> Option<Self> {
        [Self::Span, Self::Event, Self::Link].into_iter().find(|level| *level as u8 == raw)
    }
}

impl FieldEncoding {
    pub(crate) fn from_raw(raw: u8) -> Option<Self> {
        use FieldEncoding::*;
        const ALL: [FieldEncoding; 21] = [
            Literal, Varint, Fixed64, Fixed32, Bytes, Verbatim, String, Int, Double, Array, KeyValues, Blob,
            TraceId, SpanId, Parent, Name, Start, End, Status, Nested, Since,
        ];
        ALL.get(usize::from(raw)).copied()
    }

    /// The type of the values that are stored for each field.
    pub fn value_kind(self) -> ValueKind {
        match self {
            Self::Varint | Self::Fixed64 | Self::Fixed32 | Self::Int | Self::Since => ValueKind::Number,
            Self::Double => ValueKind::Double,
            Self::Bytes
            | Self::Verbatim
            | Self::String
            | Self::Array
            | Self::KeyValues
            | Self::Blob
            | Self::Status => ValueKind::Text,
            _ => ValueKind::None,
        }
    }

    /// Whether the slot's name is an attribute's key.
    pub fn is_attribute(self) -> bool {
        (Self::String as u8..=Self::Blob as u8).contains(&(self as u8))
    }
}

// === impl Slot ===

/// The key of the attribute that marks a span as failed.
pub(crate) const ERROR: &[u8] = crate::semantics::ERROR_ATTRIBUTE.as_bytes();
/// The number of the field that holds a span's attributes.
pub(crate) const ATTRIBUTES: u32 = 9;
const ATTRIBUTES_TAG: u8 = (ATTRIBUTES << 3 | 2) as u8;
/// The number of the field that holds a span's flags.
const FLAGS: u32 = 16;
/// The number of the field that holds a span's events.
pub(crate) const EVENTS: u32 = 11;

impl Slot {
    /// The key and value of an attribute whose whole field is the slot's name.
    pub fn literal_attribute(&self) -> Option<(&[u8], RawValue<'_>)> {
        let field = Reader::new(&self.name).next_field().ok()??;
        match field.value {
            Value::Bytes(attribute) => raw_attribute(attribute).ok(),
            _ => None,
        }
    }

    /// Like [`Self::literal_attribute`] for attributes of spans, with a value that can be compared.
    pub fn span_literal(&self) -> Option<(&[u8], AnyValue<'_>)> {
        if self.level != Level::Span { None } else { self.literal_of_level() }
    }

    /// The attribute that the slot says it all about, whatever the level.
    fn literal_of_level(&self) -> Option<(&[u8], AnyValue<'_>)> {
        if (self.encoding, self.field) != (FieldEncoding::Literal, self.level.attributes()) {
            return None;
        }
        let (key, value) = self.literal_attribute()?;
        let value = if let RawValue::Bool(flag) = value { AnyValue::Bool(flag) } else { AnyValue::Empty };
        Some((key, value))
    }

    /// The value of the attribute that the slot says it all about; empty for other slots.
    pub fn literal_value(&self) -> AnyValue<'_> {
        self.literal_of_level().map_or(AnyValue::Empty, |(_, value)| value)
    }

    /// The key of the attribute of its level that the slot stands for.
    pub(crate) fn level_attribute(&self) -> Option<&[u8]> {
        if self.encoding.is_attribute() {
            Some(&self.name)
        } else {
            self.literal_of_level().map(|(key, _)| key)
        }
    }

    /// Whether its values are attributes of its level, stored as bytes.
    pub(crate) fn has_hidden_attribute(&self) -> bool {
        self.encoding == FieldEncoding::Bytes && self.field == self.level.attributes()
    }

    /// The span's flags, if their whole field is the slot's name.
    pub fn literal_span_flags(&self) -> Option<u32> {
        if (self.level, self.encoding, self.field) != (Level::Span, FieldEncoding::Literal, FLAGS) {
            return None;
        }
        match Reader::new(&self.name).next_field().ok()??.value {
            Value::Fixed32(flags) => Some(flags),
            _ => None,
        }
    }

    /// Whether edges need the span itself, because the slot may contain attributes of any key, or links.
    pub(crate) fn is_opaque_call(&self) -> bool {
        self.is_irregular() || self.encoding == FieldEncoding::Nested && self.field != EVENTS
    }

    /// Whether its texts may name the peer of a call.
    pub(crate) fn is_peer(&self) -> bool {
        (self.level, self.encoding) == (Level::Span, FieldEncoding::String) && is_peer_key(&self.name)
    }

    /// Whether its numbers are flags of spans.
    pub(crate) fn is_span_flags(&self) -> bool {
        self.level == Level::Span && self.field == FLAGS
    }

    /// Whether it is the attribute of spans with this key.
    pub fn is_attribute(&self, key: &str) -> bool {
        self.level == Level::Span && self.encoding.is_attribute() && same(&self.name, key.as_bytes())
    }

    /// Whether it is the attribute of spans with this key, encoded as an array.
    pub fn is_array(&self, key: &str) -> bool {
        self.encoding == FieldEncoding::Array && self.is_attribute(key)
    }

    /// Whether it is the attribute of spans with this key, encoded as a string.
    pub fn is_string(&self, key: &str) -> bool {
        self.encoding == FieldEncoding::String && self.is_attribute(key)
    }

    /// The attribute value that a number in the slot's column stands for.
    pub fn value_of_number(&self, number: u64) -> AnyValue<'_> {
        match self.encoding {
            FieldEncoding::Int => AnyValue::Int(number as i64),
            FieldEncoding::Double => AnyValue::Double(f64::from_bits(number)),
            _ => AnyValue::Empty,
        }
    }

    /// The attribute value that a text in the slot's column stands for.
    pub fn value_of_text<'t>(&self, text: &'t [u8]) -> AnyValue<'t> {
        match self.encoding {
            FieldEncoding::String => std::str::from_utf8(text).map_or(AnyValue::Empty, AnyValue::String),
            FieldEncoding::Blob => AnyValue::Bytes(text),
            FieldEncoding::Array => AnyValue::Array(text),
            FieldEncoding::KeyValues => AnyValue::KeyValues(text),
            _ => AnyValue::Empty,
        }
    }

    /// Whether it may contain attributes of any key, which are found only by reading the span.
    pub fn is_irregular(&self) -> bool {
        self.level == Level::Span && (self.encoding == FieldEncoding::Verbatim || self.has_hidden_attribute())
    }
}

// === impl SlotTable ===

const FREE: u32 = u32::MAX;

impl SlotTable {
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the slot may name the peer of a call.
    pub(crate) fn is_peer(&self, slot: u32) -> bool {
        self.peers[slot as usize]
    }

    pub(crate) fn get(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    /// The slot that followed another one last time.
    pub(crate) fn after(&self, before: u32) -> u32 {
        self.after.get(before as usize).copied().unwrap_or(FREE)
    }

    /// Recognises an attribute of this slot; returns its value. `None` does not exclude that it is one: its value may be
    /// encoded in another way than this recognises.
    #[inline]
    pub(crate) fn recognise<'b>(&self, slot: u32, attribute: &AttributeField<'b>) -> Option<SlotValue<'b>> {
        let prefix = self.prefixes.get(slot as usize).filter(|prefix| !prefix.is_empty())?;
        let (begin, mut value) = attribute.message.split_at_checked(prefix.len())?;
        // The second byte is the length of the key.
        if begin[1] != prefix[1] || !same(begin, prefix) {
            return None;
        }
        let Slot { encoding, name, .. } = &self.slots[slot as usize];
        if *encoding == FieldEncoding::Literal {
            return same(attribute.field, name).then_some(SlotValue::None);
        }
        if take_length(&mut value)? != value.len() {
            return None;
        }
        let (&tag, mut value) = value.split_first()?;
        match (encoding, tag) {
            (FieldEncoding::String, 0x0a)
            | (FieldEncoding::Array, 0x2a)
            | (FieldEncoding::KeyValues, 0x32)
            | (FieldEncoding::Blob, 0x3a) => {
                let length = take_length(&mut value)?;
                (length == value.len()).then_some(SlotValue::Text(value))
            }
            (FieldEncoding::Int, 0x18) => {
                let (number, length) = minimal_varint(value)?;
                (length == value.len()).then_some(SlotValue::Number(number))
            }
            (FieldEncoding::Double, 0x21) => {
                Some(SlotValue::Number(u64::from_le_bytes(value.try_into().ok()?)))
            }
            _ => None,
        }
    }

    /// Records that a slot followed another one.
    #[inline]
    pub(crate) fn follows(&mut self, before: u32, slot: u32) {
        if let Some(after) = self.after.get_mut(before as usize) {
            *after = slot;
        }
    }

    /// Returns the number of a slot, which is added if it is new. The likely slot is compared first.
    #[inline]
    pub(crate) fn intern(
        &mut self,
        predicted: u32,
        level: Level,
        encoding: FieldEncoding,
        field: u32,
        name: &[u8],
    ) -> u32 {
        if let Some(slot) = self.slots.get(predicted as usize)
            && slot.encoding == encoding
            && same(&slot.name, name)
            && slot.level == level
            && slot.field == field
        {
            return predicted;
        }
        self.look_up(level, encoding, field, name)
    }

    fn look_up(&mut self, level: Level, encoding: FieldEncoding, field: u32, name: &[u8]) -> u32 {
        if self.slots.len() * 2 >= self.table.len() {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut at = slot_hash(level, encoding, field, name) as usize & mask;
        while let Some(slot) = self.slots.get(self.table[at] as usize) {
            if slot.encoding == encoding && slot.level == level && slot.field == field && slot.name == name {
                return self.table[at];
            }
            at = (at + 1) & mask;
        }
        let number = self.slots.len() as u32;
        self.table[at] = number;
        let slot = Slot { level, encoding, field, name: Bytes::copy_from_slice(name) };
        self.after.push(FREE);
        self.peers.push(slot.is_peer());
        self.prefixes.push(prefix_of(&slot));
        self.slots.push(slot);
        number
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(1024);
        self.table = vec![FREE; size];
        for (number, slot) in self.slots.iter().enumerate() {
            let mut at = slot_hash(slot.level, slot.encoding, slot.field, &slot.name) as usize & (size - 1);
            while self.table[at] != FREE {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = number as u32;
        }
    }
}

/// The bytes behind the length of a slot's attributes, if they identify the slot. Empty for attribute `error`, whose
/// value decides about the flags of the span.
fn prefix_of(slot: &Slot) -> Box<[u8]> {
    const LONGEST: usize = 100;
    let key: &[u8] = match slot.encoding {
        _ if slot.level != Level::Span => return Box::default(),
        FieldEncoding::String
        | FieldEncoding::Int
        | FieldEncoding::Double
        | FieldEncoding::Array
        | FieldEncoding::KeyValues
        | FieldEncoding::Blob => &slot.name,
        FieldEncoding::Literal if slot.field == ATTRIBUTES => match slot.literal_attribute() {
            Some((key, _)) if slot.level == Level::Span => key,
            _ => return Box::default(),
        },
        _ => return Box::default(),
    };
    if key == ERROR || key.len() > LONGEST {
        return Box::default();
    }
    [&[0x0a, key.len() as u8], key, &[0x12]].concat().into()
}

// === impl AttributeField ===

impl<'b> AttributeField<'b> {
    /// The field at the front of `bytes`, if it is one; a long one may not be recognised.
    #[inline]
    pub(crate) fn at_front(bytes: &'b [u8]) -> Option<Self> {
        let (&ATTRIBUTES_TAG, mut rest) = bytes.split_first()? else { return None };
        let length = take_length(&mut rest)?;
        let message = rest.get(..length)?;
        Some(Self { field: &bytes[..bytes.len() - rest.len() + length], message })
    }
}

/// Removes a length below 16,384 from the front, if it is encoded in as few bytes as possible.
#[inline]
fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (length, rest) = match **bytes {
        [length @ 0..0x80, ref rest @ ..] => (usize::from(length), rest),
        [low @ 0x80..=0xff, high @ 1..0x80, ref rest @ ..] => {
            (usize::from(low & 0x7f) | usize::from(high) << 7, rest)
        }
        _ => return None,
    };
    *bytes = rest;
    Some(length)
}

/// A varint and its length, if it is encoded in as few bytes as possible.
#[inline]
pub(crate) fn minimal_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let &first = bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (at, &byte) in bytes.iter().enumerate().take(10).skip(1) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return (byte != 0 && (at < 9 || byte == 1)).then_some((value, at + 1));
        }
    }
    None
}

fn slot_hash(level: Level, encoding: FieldEncoding, field: u32, name: &[u8]) -> u64 {
    let seed = u64::from(field) << 16 | (encoding as u64) << 8 | level as u64;
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(name, seed);
    hash ^ hash >> 32
}

// === impl ShapeTable ===

impl ShapeTable {
    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    pub(crate) fn len(&self) -> usize {
        self.shapes.len()
    }

    pub(crate) fn get(&self, shape: u32) -> &Shape {
        &self.shapes[shape as usize]
    }

    pub(crate) fn try_get(&self, shape: u32) -> Option<&Shape> {
        self.shapes.get(shape as usize)
    }

    /// Returns the number of a shape, which is added if it is new.
    #[inline]
    pub(crate) fn intern(&mut self, flags: u8, slots: &[u32]) -> u32 {
        if self.shapes.len() * 2 >= self.table.len() {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut at = shape_hash(flags, slots) as usize & mask;
        while let Some(shape) = self.shapes.get(self.table[at] as usize) {
            if shape.flags == flags && shape.slots == slots {
                return self.table[at];
            }
            at = (at + 1) & mask;
        }
        let number = self.shapes.len() as u32;
        self.table[at] = number;
        self.shapes.push(Shape { flags, slots: slots.to_vec() });
        number
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(1024);
        self.table = vec![FREE; size];
        for (number, shape) in self.shapes.iter().enumerate() {
            let mut at = shape_hash(shape.flags, &shape.slots) as usize & (size - 1);
            while self.table[at] != FREE {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = number as u32;
        }
    }
}

fn shape_hash(flags: u8, slots: &[u32]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u8(flags);
    slots.iter().for_each(|slot| hasher.write_u32(*slot));
    let hash = hasher.finish();
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_shapes_have_one_number() {
        let mut slots = SlotTable::default();
        let mut shapes = ShapeTable::default();
        let name = |n: u32| format!("key.{n}").into_bytes();
        for _ in 0..2 {
            let mut predicted = FREE;
            for n in 0..3000 {
                assert_eq!(slots.intern(predicted, Level::Span, FieldEncoding::String, 9, &name(n)), n);
                slots.follows(n.wrapping_sub(1), n);
                predicted = slots.after(n);
                assert_eq!(shapes.intern(2, &[n, n + 1]), n);
            }
        }
        let of = |slots: &mut SlotTable, level, encoding| slots.intern(0, level, encoding, 9, b"key.0");
        assert_eq!(of(&mut slots, Level::Span, FieldEncoding::Int), 3000);
        assert_eq!(of(&mut slots, Level::Event, FieldEncoding::String), 3001);
        assert_eq!(shapes.intern(3, &[0, 1]), 3000);
        assert_eq!((slots.len(), shapes.len()), (3002, 3001));
    }

    #[test]
    fn forms_are_numbered_as_they_are_stored() {
        for raw in 0..=20 {
            assert_eq!(FieldEncoding::from_raw(raw).map(|encoding| encoding as u8), Some(raw));
        }
        assert_eq!(FieldEncoding::from_raw(21), None);
    }
}
