//! Borrowed views of attributes and their values, and iteration over repeated sub-messages.

use super::wire::{Reader, WireError};

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyValueView<'a> {
    /// Field 1.
    pub key: &'a str,
    /// Field 2; `None` when it was not sent.
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

/// Iterates over the `KeyValue` fields of a message, optionally those one message deeper.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    outer: Option<(Reader<'a>, u32)>,
    inner: Reader<'a>,
    number: u32,
}

// === impl KeyValueView, AnyValue ===

impl<'a> KeyValueView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
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
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
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

    /// The last string with this key; values of other types do not count.
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
            // Damaged bytes end the walk: the place after an error has no meaning.
            self.inner = Reader::new(&[]);
            self.outer = None;
        }
        result
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
