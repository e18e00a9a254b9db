//! Reads parts of a span as bytes: its key, and its attributes without checking their text again. Hashing, sorting and
//! skipping need no more.

use super::head::SpanHead;
use super::view::SpanView;
use super::wire::{Reader, WireError};
use crate::{SpanId, TraceId};

/// The sort key of a span, read without the rest of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpanKey {
    /// Field 1.
    pub trace_id: TraceId,
    /// Field 7.
    pub start: u64,
    /// Field 2.
    pub span_id: SpanId,
}

/// A comparable attribute value whose text is not checked to be UTF-8, because hashing needs only its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawValue<'a> {
    /// Field 1.
    String(&'a [u8]),
    /// Field 2.
    Bool(bool),
    /// Field 3.
    Int(i64),
    /// Field 4.
    Double(f64),
    /// No value, or one that is not compared.
    Other,
}

impl SpanKey {
    /// Reads the key of a span that [`super::decode_request`] has accepted. It has each of the three fields once, and
    /// exporters write them first, so the walk ends early.
    pub fn parse(span: &[u8]) -> Result<Self, WireError> {
        if let Some(head) = SpanHead::parse(span) {
            let trace_id = TraceId::from_bytes(*head.trace_id);
            return Ok(Self { trace_id, start: head.start, span_id: SpanId::from_bytes(*head.span_id) });
        }
        let mut key = Self::default();
        let mut missing = 3;
        let mut reader = Reader::new(span);
        while let (1.., Some(field)) = (missing, reader.next_field()?) {
            match field.number {
                1 => key.trace_id = TraceId::from_wire(field.bytes()?).unwrap_or_default(),
                2 => key.span_id = SpanId::from_wire(field.bytes()?).unwrap_or_default(),
                7 => key.start = field.fixed64()?,
                _ => continue,
            }
            missing -= 1;
        }
        Ok(key)
    }
}

impl<'a> SpanView<'a> {
    /// Calls `visit` with the key and value of each attribute.
    #[inline]
    pub fn visit_raw_attributes(
        &self,
        mut visit: impl FnMut(&'a [u8], RawValue<'a>),
    ) -> Result<(), WireError> {
        let mut reader = Reader::new(self.attribute_fields());
        while let Some(field) = reader.next_field()? {
            if field.number == 9 {
                let (key, value) = raw_attribute(field.bytes()?)?;
                visit(key, value);
            }
        }
        Ok(())
    }
}

/// Splits a `KeyValue` into key and value.
#[inline]
pub fn raw_attribute(bytes: &[u8]) -> Result<(&[u8], RawValue<'_>), WireError> {
    let (mut key, mut value): (&[u8], _) = (&[], RawValue::Other);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => {
                let mut inner = Reader::new(field.bytes()?);
                while let Some(field) = inner.next_field()? {
                    value = match field.number {
                        1 => RawValue::String(field.bytes()?),
                        2 => RawValue::Bool(field.varint()? != 0),
                        3 => RawValue::Int(field.varint()? as i64),
                        4 => RawValue::Double(f64::from_bits(field.fixed64()?)),
                        5..=7 => RawValue::Other,
                        _ => value,
                    };
                }
            }
            _ => {}
        }
    }
    Ok((key, value))
}
