//! Borrowed views of attributes and their values, and iteration over repeated sub-messages.

use super::wire::{Reader, WireError};

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyValueView<'a> {
    /// Field 1.
    pub key: &'a str,
    /// Field 2; `None` if it was not sent.
    pub value: Option<AnyValue<'a>>,
}

/// The value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyValue<'a> {
    /// No field of the union is set.
    Empty,
    /// Field 1.
    String(&'a str),
    /// Field 2.
    Bool(bool),
    /// Field 3.
    Int(i64),
    /// Field 4.
    Double(f64),
    /// Field 5: an `ArrayValue` message.
    Array(&'a [u8]),
    /// Field 6: a `KeyValueList` message.
    KeyValues(&'a [u8]),
    /// Field 7.
    Bytes(&'a [u8]),
}

/// Iterates over the `KeyValue` fields of a message, or of a sub-message of it.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    outer: Option<(Reader<'a>, u32)>,
    inner: Reader<'a>,
    number: u32,
}

// === impl KeyValueView, AnyValue ===

impl<'a> KeyValueView<'a> {
    /// Reads a `KeyValue` message.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        match Self::parse_plain(bytes) {
            Some(view) => Ok(view),
            None => Self::parse_any(bytes),
        }
    }

    /// Parses a key and a value of one field each, short and in order, as nearly all exporters encode them.
    #[inline]
    fn parse_plain(bytes: &'a [u8]) -> Option<Self> {
        let (key, bytes) = short_field(bytes, 0x0a)?;
        let (value, []) = short_field(bytes, 0x12)? else { return None };
        let value = match value.first()? {
            0x0a => match short_field(value, 0x0a)? {
                (text, []) => AnyValue::String(std::str::from_utf8(text).ok()?),
                _ => return None,
            },
            0x18 => match value {
                [_, number @ 0..0x80] => AnyValue::Int(i64::from(*number)),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { key: std::str::from_utf8(key).ok()?, value: Some(value) })
    }

    fn parse_any(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { key: "", value: None };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => view.key = field.str()?,
                2 => {
                    let value = AnyValue::parse(field.bytes()?)?;
                    if view.value.is_none() || value != AnyValue::Empty {
                        view.value = Some(value);
                    }
                }
                _ => {}
            }
        }
        Ok(view)
    }
}

impl<'a> AnyValue<'a> {
    /// Reads an `AnyValue` message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut value = Self::Empty;
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            value = match field.number {
                1 => Self::String(field.str()?),
                2 => Self::Bool(field.varint()? != 0),
                3 => Self::Int(field.varint()? as i64),
                4 => Self::Double(f64::from_bits(field.fixed64()?)),
                5 => Self::Array(field.bytes()?),
                6 => Self::KeyValues(field.bytes()?),
                7 => Self::Bytes(field.bytes()?),
                _ => value,
            };
        }
        Ok(value)
    }

    /// The elements of an `ArrayValue` message.
    pub fn array_items(message: &'a [u8]) -> impl Iterator<Item = Result<AnyValue<'a>, WireError>> + use<'a> {
        messages(message, 1).map(|m| m.and_then(AnyValue::parse))
    }

    /// The entries of a `KeyValueList` message.
    pub fn entries(message: &'a [u8]) -> Attributes<'a> {
        Attributes::of(message, 1)
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    pub(super) fn of(bytes: &'a [u8], number: u32) -> Self {
        Self { outer: None, inner: Reader::new(bytes), number }
    }

    /// The fields `number` inside every occurrence of the sub-message `outer`.
    pub(super) fn inside(bytes: &'a [u8], outer: u32, number: u32) -> Self {
        Self { outer: Some((Reader::new(bytes), outer)), inner: Reader::new(&[]), number }
    }

    /// The last string with this key; values of other types are ignored.
    pub fn string(self, key: &str) -> Option<&'a str> {
        let mut found = None;
        for entry in self.flatten() {
            if let (true, Some(AnyValue::String(value))) = (entry.key == key, entry.value) {
                found = Some(value);
            }
        }
        found
    }

    fn advance(&mut self) -> Result<Option<KeyValueView<'a>>, WireError> {
        loop {
            while let Some(field) = self.inner.next_field()? {
                if field.number == self.number {
                    return KeyValueView::parse(field.bytes()?).map(Some);
                }
            }
            let Some((outer, number)) = &mut self.outer else { return Ok(None) };
            let Some(field) = outer.next_field()? else { return Ok(None) };
            if field.number == *number {
                self.inner = Reader::new(field.bytes()?);
            }
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<KeyValueView<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance().transpose();
        if matches!(result, Some(Err(_))) {
            // Nothing after damaged bytes can be read, so the iteration ends.
            self.inner = Reader::new(&[]);
            self.outer = None;
        }
        result
    }
}

/// A length-delimited field with this tag and a length of one byte, and what follows it.
#[inline]
fn short_field(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    match bytes {
        [first, length @ 0..0x80, rest @ ..] if *first == tag => rest.split_at_checked(usize::from(*length)),
        _ => None,
    }
}

/// The sub-messages with one field number.
pub(super) fn messages<'a>(
    bytes: &'a [u8],
    number: u32,
) -> impl Iterator<Item = Result<&'a [u8], WireError>> + use<'a> {
    let mut reader = Some(Reader::new(bytes));
    std::iter::from_fn(move || {
        loop {
            let step = reader.as_mut()?.next_field();
            match step {
                Ok(None) => return None,
                Ok(Some(field)) if field.number == number => return Some(field.bytes()),
                Ok(Some(_)) => {}
                Err(error) => {
                    reader = None;
                    return Some(Err(error));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::{put_bytes, put_uint};
    use super::*;

    #[test]
    fn the_short_way_takes_what_exporters_write() {
        let mut value = Vec::new();
        put_bytes(&mut value, 1, b"checkout");
        let mut attribute = Vec::new();
        put_bytes(&mut attribute, 1, b"page");
        put_bytes(&mut attribute, 2, &value);
        let view = KeyValueView { key: "page", value: Some(AnyValue::String("checkout")) };
        assert_eq!(KeyValueView::parse_plain(&attribute), Some(view));
        put_uint(&mut attribute, 9, 1);
        assert_eq!(KeyValueView::parse_plain(&attribute), None);
        assert_eq!(KeyValueView::parse(&attribute), Ok(view));
    }

    proptest! {
        /// One byte of a plain attribute may be changed, and its end may be cut off.
        #[test]
        fn both_ways_read_the_same(
            key in "[a-z]{0,6}",
            text in "[a-zé]{0,6}",
            number in prop::option::of(0u64..300),
            at: prop::sample::Index,
            byte in prop_oneof![Just(None), any::<u8>().prop_map(Some)],
            cut in 0usize..3,
        ) {
            let (mut value, mut bytes) = (Vec::new(), Vec::new());
            match number {
                Some(number) => put_uint(&mut value, 3, number),
                None => put_bytes(&mut value, 1, text.as_bytes()),
            }
            put_bytes(&mut bytes, 1, key.as_bytes());
            put_bytes(&mut bytes, 2, &value);
            let at = at.index(bytes.len());
            bytes[at] = byte.unwrap_or(bytes[at]);
            bytes.truncate(bytes.len() - cut * usize::from(byte.is_some()));
            let plain = KeyValueView::parse_plain(&bytes);
            if byte.is_none() {
                prop_assert!(plain.is_some() || number.is_some_and(|number| number >= 128));
            }
            if let Some(view) = plain {
                prop_assert_eq!(KeyValueView::parse_any(&bytes), Ok(view));
            }
        }
    }
}
