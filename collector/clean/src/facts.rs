//! What conditions ask of one span, found in one walk over its message. Nothing is copied: values stay where they are, and
//! only attributes that some rule names are noted.

use rustc_hash::FxHashSet;
use spandrel_proto::otlp::wire::{Field, Reader, Value, WireError};
use spandrel_proto::otlp::{AnyValue, KeyValueView, SpanHead};

use crate::selector::Selector;

/// The attributes of spans that rules name, each with a number.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    names: Vec<String>,
    /// The first key of each bucket, as its number plus one.
    first: Vec<u32>,
    /// The next key of the same bucket, in the same way.
    next: Vec<u32>,
    /// Patterns of keys, numbered behind the names.
    patterns: Vec<Selector>,
    /// Some rule asks for long numbers.
    pub(crate) notes_numbers: bool,
}

/// A part of a message.
pub(crate) type Part = (u32, u32);

/// One span, read.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) name: Part,
    pub(crate) raw_kind: i32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) raw_status: i32,
    pub(crate) status_message: Part,
    pub(crate) span_id: Part,
    pub(crate) parent_id: Part,
    pub(crate) has_events: bool,
    pub(crate) has_links: bool,
    /// Some attribute may hold a number as long as that of a card.
    has_long_number: bool,
    /// Where the `KeyValue` of each noted key is; of length zero where the span has none.
    slots: Vec<Part>,
    /// A noted key occurs more than once, so that its values have to be looked for.
    repeats: bool,
    /// Whether the span has a key of each pattern.
    patterns: Vec<bool>,
    /// Keys that no pattern takes: spans have the same ones again and again.
    plain: FxHashSet<Box<[u8]>>,
}

const BUCKETS: usize = 256;
/// The most keys that are known to be plain.
const MAX_PLAIN: usize = 1024;

// === impl Keys ===

impl Keys {
    /// The number of a key.
    pub(crate) fn number(&mut self, key: &str) -> usize {
        if self.first.is_empty() {
            self.first = vec![0; BUCKETS];
        }
        if let Some(known) = self.find(key.as_bytes()) {
            return known;
        }
        let bucket = bucket(key.as_bytes());
        let number = self.names.len();
        self.names.push(key.to_owned());
        self.next.push(std::mem::replace(&mut self.first[bucket], number as u32 + 1));
        number
    }

    /// The number of a pattern of keys.
    pub(crate) fn pattern(&mut self, selector: &Selector) -> usize {
        self.patterns.push(selector.clone());
        self.patterns.len() - 1
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<usize> {
        let mut at = *self.first.get(bucket(key))?;
        while let Some(number) = at.checked_sub(1).map(|number| number as usize) {
            if self.names[number].as_bytes() == key {
                return Some(number);
            }
            at = self.next[number];
        }
        None
    }

    /// The keys and patterns that are known.
    pub(crate) fn len(&self) -> usize {
        self.names.len() + self.patterns.len()
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.patterns.is_empty() && !self.notes_numbers
    }
}

/// Keys share prefixes, so their length and their last bytes tell them apart.
#[inline]
fn bucket(key: &[u8]) -> usize {
    let byte = |back: usize| usize::from(key.len().checked_sub(back).map_or(0, |at| key[at]));
    (key.len().wrapping_mul(37) ^ byte(1).wrapping_mul(7) ^ byte(3).wrapping_mul(29)) % BUCKETS
}

// === impl Facts ===

impl Facts {
    /// Reads a span. What is not the wire format ends the walk: the decoder has refused it before.
    pub(crate) fn read(&mut self, span: &[u8], keys: &Keys) {
        let (mut slots, mut patterns) = (std::mem::take(&mut self.slots), std::mem::take(&mut self.patterns));
        let plain = std::mem::take(&mut self.plain);
        slots.clear();
        slots.resize(keys.names.len(), (0, 0));
        patterns.clear();
        patterns.resize(keys.patterns.len(), false);
        *self = Self { slots, patterns, plain, ..Self::default() };
        // The bytes that the head takes.
        let mut base = 0;
        if let Some(head) = SpanHead::parse(span) {
            let place = |bytes: &[u8]| {
                let begin = bytes.as_ptr() as usize - span.as_ptr() as usize;
                (begin as u32, bytes.len() as u32)
            };
            (self.name, self.span_id) = (place(head.name), place(head.span_id));
            self.parent_id = head.parent_id.map_or((0, 0), |parent| place(parent));
            (self.raw_kind, self.start, self.end) = (head.kind.into(), head.start, head.end);
            base = head.length;
        }
        let _ = self.read_fields(span, base, keys);
    }

    fn read_fields(&mut self, span: &[u8], base: usize, keys: &Keys) -> Result<(), WireError> {
        let mut reader = Reader::new(&span[base..]);
        while let Some(field) = reader.next_field()? {
            match (field.number, field.value) {
                (9, Value::Bytes(bytes)) if !keys.is_empty() => {
                    self.note(bytes, part(&field, bytes, base), keys)
                }
                (2, Value::Bytes(bytes)) => self.span_id = part(&field, bytes, base),
                (4, Value::Bytes(bytes)) => self.parent_id = part(&field, bytes, base),
                (5, Value::Bytes(bytes)) => self.name = part(&field, bytes, base),
                (6, Value::Varint(kind)) => self.raw_kind = kind as i32,
                (7, Value::Fixed64(time)) => self.start = time,
                (8, Value::Fixed64(time)) => self.end = time,
                (11 | 13, value) => {
                    self.has_events |= field.number == 11;
                    self.has_links |= field.number == 13;
                    if let Value::Bytes(part) = value
                        && keys.notes_numbers
                    {
                        self.has_long_number = self.has_long_number || holds_long_number(part);
                    }
                }
                (15, Value::Bytes(bytes)) => self.read_status(bytes, part(&field, bytes, base).0)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_status(&mut self, bytes: &[u8], base: u32) -> Result<(), WireError> {
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match (field.number, field.value) {
                (2, Value::Bytes(text)) => self.status_message = part(&field, text, base as usize),
                (3, Value::Varint(code)) => self.raw_status = code as i32,
                _ => {}
            }
        }
        Ok(())
    }

    #[inline]
    fn note(&mut self, attribute: &[u8], at: Part, keys: &Keys) {
        let key = match attribute {
            [0x0a, length @ 0..0x80, rest @ ..] if ends_with_value(rest, usize::from(*length)) => {
                &rest[..usize::from(*length)]
            }
            _ => key_of(attribute),
        };
        if keys.notes_numbers && !self.has_long_number {
            self.has_long_number = may_be_long(attribute, key);
        }
        if let Some(slot) = keys.find(key) {
            self.repeats |= self.slots[slot].1 > 0;
            self.slots[slot] = at;
        }
        if keys.patterns.is_empty() || self.plain.contains(key) {
            return;
        }
        let mut is_taken = false;
        for (known, pattern) in self.patterns.iter_mut().zip(&keys.patterns) {
            let takes = pattern.takes_key_bytes(key);
            *known |= takes;
            is_taken |= takes;
        }
        if !is_taken && self.plain.len() < MAX_PLAIN && key.len() <= MAX_PLAIN {
            self.plain.insert(key.into());
        }
    }

    /// Whether the span may hold a number as long as that of a card.
    pub(crate) fn may_have_long_numbers(&self) -> bool {
        self.has_long_number
    }

    /// Whether the span has the attribute.
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.slots[slot].1 > 0
    }

    /// Whether an attribute may have a longer value: more bytes, with those of its key.
    pub(crate) fn is_longer(&self, slot: usize, length: usize) -> bool {
        self.slots[slot].1 as usize > length || self.repeats && self.has(slot)
    }

    /// Whether the span has an attribute of a pattern.
    pub(crate) fn has_pattern(&self, pattern: usize) -> bool {
        self.patterns[pattern]
    }

    /// Calls `holds` with the values of an attribute, until it holds for one.
    #[inline]
    pub(crate) fn any_value(
        &self,
        span: &[u8],
        keys: &Keys,
        slot: usize,
        mut holds: impl FnMut(AnyValue<'_>) -> bool,
    ) -> bool {
        if !self.has(slot) {
            return false;
        }
        let mut of_bytes = |bytes: &[u8]| {
            KeyValueView::parse(bytes).is_ok_and(|view| holds(view.value.unwrap_or(AnyValue::Empty)))
        };
        if !self.repeats {
            return of_bytes(in_part(span, self.slots[slot]));
        }
        let key = keys.names[slot].as_bytes();
        let mut reader = Reader::new(span);
        while let Ok(Some(field)) = reader.next_field() {
            if let (9, Value::Bytes(bytes)) = (field.number, field.value)
                && key_of(bytes) == key
                && of_bytes(bytes)
            {
                return true;
            }
        }
        false
    }

    /// The `KeyValue` message of an attribute that the span has once.
    pub(crate) fn first_value<'s>(&self, span: &'s [u8], keys: &Keys, slot: usize) -> Option<AnyValue<'s>> {
        if !self.has(slot) {
            return None;
        }
        let mut at = in_part(span, self.slots[slot]);
        if self.repeats {
            let mut reader = Reader::new(span);
            while let Ok(Some(field)) = reader.next_field() {
                if let (9, Value::Bytes(bytes)) = (field.number, field.value)
                    && key_of(bytes) == keys.names[slot].as_bytes()
                {
                    at = bytes;
                    break;
                }
            }
        }
        KeyValueView::parse(at).ok().map(|view| view.value.unwrap_or(AnyValue::Empty))
    }
}

/// Whether nothing but a value follows a key: else another key may, which counts.
#[inline]
fn ends_with_value(rest: &[u8], key: usize) -> bool {
    match rest.get(key..) {
        Some([]) => true,
        Some([0x12, length @ 0..0x80, value @ ..]) => value.len() == usize::from(*length),
        Some([0x12, low @ 0x80..=0xff, high @ 0..0x80, value @ ..]) => {
            value.len() == usize::from(low & 0x7f) | usize::from(*high) << 7
        }
        _ => false,
    }
}

/// Whether the value behind a key may be a number of thirteen digits, or hold others; texts are looked at elsewhere.
#[inline]
fn may_be_long(attribute: &[u8], key: &[u8]) -> bool {
    // The head of a value with one byte of length: of a longer one only texts, lists and bytes are made.
    let value = match attribute.get(2 + key.len()..) {
        Some([0x12, length @ 0..0x80, value @ ..]) if value.len() == usize::from(*length) => value,
        Some([0x12, 0x80..=0xff, 0..0x80, value @ ..]) => value,
        Some([]) => return false,
        _ => return true,
    };
    match value {
        // A text or a truth, alone.
        [0x0a, length @ 0..0x80, text @ ..] => text.len() != usize::from(*length),
        [0x0a, low @ 0x80..=0xff, high @ 0..0x80, text @ ..] => {
            text.len() != usize::from(low & 0x7f) | usize::from(*high) << 7
        }
        [0x10, _] => false,
        // 35 bits are ten digits.
        [0x18, varint @ ..] => varint.len() > 5,
        [] => false,
        value => holds_long_number(value),
    }
}

/// Whether a number of thirteen digits may be anywhere in a message: a tag of one, and what may be its value, wherever
/// they stand.
fn holds_long_number(message: &[u8]) -> bool {
    memchr::memchr2_iter(0x18, 0x21, message).any(|at| match &message[at..] {
        // 35 bits are ten digits.
        [0x18, varint @ ..] => varint.len() > 5 && varint[..5].iter().all(|byte| *byte >= 0x80),
        [0x21, double @ ..] => {
            double.first_chunk().is_some_and(|bytes| f64::from_le_bytes(*bytes).abs() >= SMALLEST_LONG)
        }
        _ => false,
    })
}

/// Cards have thirteen digits at the least.
const SMALLEST_LONG: f64 = 1e12;

/// The key of a `KeyValue` message.
pub(crate) fn key_of(attribute: &[u8]) -> &[u8] {
    let mut key: &[u8] = &[];
    let mut reader = Reader::new(attribute);
    while let Ok(Some(field)) = reader.next_field() {
        if let (1, Value::Bytes(bytes)) = (field.number, field.value) {
            key = bytes;
        }
    }
    key
}

/// Where the payload of a field lies.
#[inline]
fn part(field: &Field<'_>, bytes: &[u8], base: usize) -> Part {
    ((base + field.end - bytes.len()) as u32, bytes.len() as u32)
}

/// A part of a message.
#[inline]
pub(crate) fn in_part(message: &[u8], (begin, length): Part) -> &[u8] {
    message.get(begin as usize..begin as usize + length as usize).unwrap_or_default()
}

/// A part of a message as text.
pub(crate) fn text_in(message: &[u8], part: Part) -> &str {
    std::str::from_utf8(in_part(message, part)).unwrap_or_default()
}
