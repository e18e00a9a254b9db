//! Recognises fields as exporters write them: minimal varints, each part of an attribute once and in order. Other
//! fields are stored as their bytes (`shred.rs`).

use spandrel_proto::otlp::wire::{Value, varint_length};

use crate::shape::{FieldEncoding, Level, minimal_varint};

/// The parts of a field as they are on the wire.
pub(super) struct RawField<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
    /// The field with its tag.
    pub(super) bytes: &'a [u8],
}

pub(super) struct RegularAttribute<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: RegularValue<'a>,
}

pub(super) enum RegularValue<'a> {
    Bool(bool),
    Empty,
    Number(FieldEncoding, u64),
    Text(FieldEncoding, &'a [u8]),
}

impl<'a> RegularAttribute<'a> {
    #[inline]
    pub(super) fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let key = delimited(&mut bytes, 0x0a)?;
        if bytes.is_empty() {
            return Some(Self { key, value: RegularValue::Empty });
        }
        let mut value = delimited(&mut bytes, 0x12)?;
        if !bytes.is_empty() {
            return None;
        }
        let Some(&tag) = value.first() else { return Some(Self { key, value: RegularValue::Empty }) };
        let value = match tag {
            0x0a => RegularValue::Text(FieldEncoding::String, last_delimited(&mut value, tag)?),
            0x10 => match value {
                [_, flag @ 0..=1] => RegularValue::Bool(*flag == 1),
                _ => return None,
            },
            0x18 => {
                let (number, length) = minimal_varint(&value[1..])?;
                if length + 1 != value.len() {
                    return None;
                }
                RegularValue::Number(FieldEncoding::Int, number)
            }
            0x21 => {
                RegularValue::Number(FieldEncoding::Double, u64::from_le_bytes(value[1..].try_into().ok()?))
            }
            0x2a => RegularValue::Text(FieldEncoding::Array, last_delimited(&mut value, tag)?),
            0x32 => RegularValue::Text(FieldEncoding::KeyValues, last_delimited(&mut value, tag)?),
            0x3a => RegularValue::Text(FieldEncoding::Blob, last_delimited(&mut value, tag)?),
            _ => return None,
        };
        Some(Self { key, value })
    }
}

/// A length-delimited field with this one-byte tag and a minimal length.
#[inline]
fn delimited<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (length, used) = minimal_varint(rest)?;
    let (payload, rest) = rest[used..].split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(payload)
}

#[inline]
fn last_delimited<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    delimited(bytes, tag).filter(|_| bytes.is_empty())
}

impl RawField<'_> {
    /// Whether the varints of tag and length, or value, are encoded in as few bytes as possible.
    #[inline]
    pub(super) fn is_minimal(&self) -> bool {
        let tag = if self.number < 16 { 1 } else { varint_length(u64::from(self.number) << 3) };
        let payload = match self.value {
            Value::Varint(value) => varint_length(value),
            Value::Fixed64(_) => 8,
            Value::Fixed32(_) => 4,
            Value::Bytes(bytes) => varint_length(bytes.len() as u64) + bytes.len(),
            Value::Group => return false,
        };
        self.bytes.len() == tag + payload
    }
}

/// Whether the field has few distinct values and becomes a part of the shape: kinds, plain statuses, flags.
pub(super) fn is_literal(level: Level, field: &RawField<'_>) -> bool {
    match (level, field.number, field.value) {
        (Level::Span, 6, Value::Varint(kind)) => kind <= 5,
        (Level::Span, 15, Value::Bytes(status)) => matches!(status, [] | [0x18, 0..=2]),
        (Level::Span, 16, Value::Fixed32(flags)) | (Level::Link, 6, Value::Fixed32(flags)) => flags < 0x400,
        _ => false,
    }
}

/// The message and code of a status that has both in this order.
pub(super) fn regular_status(mut status: &[u8]) -> Option<(&[u8], &[u8])> {
    let message = delimited(&mut status, 0x12)?;
    matches!(status, [] | [0x18, 0..=2]).then_some((message, status))
}
