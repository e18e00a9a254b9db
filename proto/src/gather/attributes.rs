//! Attributes as they are written down: encoded one after another, in the order in which they come.

use crate::otlp::wire::{put_bytes, put_fixed64, put_uint, put_varint, varint_length};

/// Attributes of a resource, span, event or link.
#[derive(Debug, Clone)]
pub struct KeyValues {
    /// Fields of the number that attributes have in their message.
    fields: Vec<u8>,
    number: u32,
    max_bytes: usize,
    flaw: Option<&'static str>,
}

/// The value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'v> {
    /// Has to be UTF-8, which is checked.
    Text(&'v [u8]),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// Bytes of any kind.
    Bytes(&'v [u8]),
}

/// Texts (or, of some senders, values of other types) that become one attribute, in a buffer that stays when they are forgotten.
#[derive(Debug, Clone)]
pub struct Texts {
    /// The values of an `ArrayValue`.
    items: Vec<u8>,
    max_bytes: usize,
    flaw: Option<&'static str>,
}

/// Bytes of key and text below which all lengths are one byte: there are six others in a field of less than 128.
const SHORT: usize = 0x80 - 6;

pub(super) const NOT_UTF8: &str = "a string is not valid UTF-8";
const TOO_LARGE: &str =
    "its attributes are over maxResourceBytes, or those of a span or event over maxSpanBytes";
const TEXTS_TOO_LARGE: &str = "an array is over maxSpanBytes";

// === impl KeyValues ===

impl KeyValues {
    /// Those that are fields of this number in their message, up to a bound beyond which they only have a flaw.
    pub(super) fn new(number: u32, max_bytes: usize) -> Self {
        Self { fields: Vec::new(), number, max_bytes, flaw: None }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.flaw = None;
    }

    /// Adds one.
    #[inline]
    pub fn add(&mut self, key: &[u8], value: Value<'_>) {
        let is_text = match value {
            Value::Text(text) => is_text(key) && is_text(text),
            _ => is_text(key),
        };
        if !is_text {
            self.flaw = Some(NOT_UTF8);
        } else if self.fields.len() > self.max_bytes {
            self.flaw = Some(TOO_LARGE);
        }
        if self.flaw.is_some() {
            return;
        }
        if let Value::Text(text) = value
            && !key.is_empty()
            && key.len() + text.len() < SHORT
        {
            return self.add_short(key, text);
        }
        let inner = value.length();
        // An empty key is the default, which the canonical form leaves out.
        let key_length = if key.is_empty() { 0 } else { 1 + varint_length(key.len() as u64) + key.len() };
        let length = key_length + 1 + varint_length(inner as u64) + inner;
        put_varint(&mut self.fields, u64::from(self.number) << 3 | 2);
        put_varint(&mut self.fields, length as u64);
        if !key.is_empty() {
            put_bytes(&mut self.fields, 1, key);
        }
        self.fields.push(0x12);
        put_varint(&mut self.fields, inner as u64);
        value.write(&mut self.fields);
    }

    /// The same for most attributes, of which every length is one byte.
    #[inline]
    fn add_short(&mut self, key: &[u8], text: &[u8]) {
        let (number, key_length, length) = (self.number as u8, key.len() as u8, text.len() as u8);
        self.fields.reserve(usize::from(key_length) + usize::from(length) + 8);
        self.fields.extend_from_slice(&[number << 3 | 2, key_length + length + 6, 0x0a, key_length]);
        self.fields.extend_from_slice(key);
        self.fields.extend_from_slice(&[0x12, length + 2, 0x0a, length]);
        self.fields.extend_from_slice(text);
    }

    /// Adds an array.
    pub(crate) fn add_texts(&mut self, key: &[u8], texts: &Texts) {
        if let Some(flaw) = texts.flaw.or((!is_text(key)).then_some(NOT_UTF8)) {
            self.flaw = Some(flaw);
        } else if self.fields.len() > self.max_bytes {
            self.flaw = Some(TOO_LARGE);
        }
        if self.flaw.is_some() {
            return;
        }
        let (mut array, mut value) = (Vec::new(), Vec::new());
        put_bytes(&mut array, 5, &texts.items);
        if !key.is_empty() {
            put_bytes(&mut value, 1, key);
        }
        put_bytes(&mut value, 2, &array);
        put_bytes(&mut self.fields, self.number, &value);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.flaw.is_none()
    }

    pub(super) fn as_fields(&self) -> &[u8] {
        &self.fields
    }

    pub(super) fn flaw(&self) -> Option<&'static str> {
        self.flaw
    }
}

// === impl Texts ===

impl Texts {
    /// None yet, up to a bound beyond which they only have a flaw.
    pub(super) fn within(max_bytes: usize) -> Self {
        Self { items: Vec::new(), max_bytes, flaw: None }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.items.clear();
        self.flaw = None;
    }

    /// Adds one.
    pub fn add(&mut self, text: &[u8]) {
        self.add_value(Value::Text(text));
    }

    /// Adds a value of any type.
    pub fn add_value(&mut self, value: Value<'_>) {
        let inner = value.length();
        if let Value::Text(text) = value
            && !is_text(text)
        {
            self.flaw = Some(NOT_UTF8);
        } else if self.items.len() + inner > self.max_bytes {
            self.flaw = Some(TEXTS_TOO_LARGE);
        }
        if self.flaw.is_none() {
            put_varint(&mut self.items, 1 << 3 | 2);
            put_varint(&mut self.items, inner as u64);
            value.write(&mut self.items);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.flaw.is_none()
    }
}

/// Most texts are short and ASCII.
#[inline]
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || simdutf8::basic::from_utf8(bytes).is_ok()
}

// === impl Value ===

impl Value<'_> {
    fn length(self) -> usize {
        match self {
            Self::Text(bytes) | Self::Bytes(bytes) => 1 + varint_length(bytes.len() as u64) + bytes.len(),
            Self::Bool(_) => 2,
            Self::Int(value) => 1 + varint_length(value.cast_unsigned()),
            Self::Double(_) => 9,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => put_bytes(out, 1, text),
            Self::Bool(value) => put_uint(out, 2, u64::from(value)),
            Self::Int(value) => put_uint(out, 3, value.cast_unsigned()),
            Self::Double(value) => put_fixed64(out, 4, value.to_bits()),
            Self::Bytes(bytes) => put_bytes(out, 7, bytes),
        }
    }
}
