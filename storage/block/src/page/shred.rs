//! From the wire bytes of a span to slots and values: one walk, nothing copied but new texts.
//!
//! Fields in the form that exporters write (minimal varints, each part of an attribute once and in
//! order) go into slots of their kind. Whatever else protobuf allows is kept as the bytes it came as,
//! field by field: nothing is normalised, nothing is lost.

use spandrel_proto::otlp::wire::{Reader, Value, WireError};
use spandrel_proto::otlp::{RawValue, SpanHead, raw_attribute};

use super::columns::PageColumns;
use super::guess::Guess;
use super::interner::{Interner, same};
use super::regular::{RawField, RegularAttribute, RegularValue, is_literal, regular_status};
use super::shape::{ERROR, Form, Level, ShapeTable, SlotTable, SlotValue, ValueKind};
use crate::edges::{PeerCandidates, is_peer_key};
use crate::flags::RowFlags;

/// What a block knows of spans so far.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    pub(crate) slots: SlotTable,
    pub(crate) shapes: ShapeTable,
    pub(crate) texts: Interner,
    pub(crate) classes: Vec<Class>,
}

/// What a row is: its operation and its shape. The two go together so often that one number says both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    /// Index into the dictionary's operations.
    pub operation: u32,
    /// Index into the dictionary's shapes.
    pub shape: u32,
}

/// Takes spans apart into the columns of a page.
#[derive(Debug, Default)]
pub(crate) struct Shredder {
    /// The slots of the span in hand.
    span: Vec<u32>,
    /// The slots of the event or link in hand.
    nested: Vec<u32>,
    /// Slots whose columns got a value from the span in hand, to take it back.
    pushed: Vec<u32>,
    guess: Guess,
    heads: Heads,
    /// Events and links of the span in hand.
    events: usize,
    links: usize,
    /// Whether its attribute `error` is true.
    error: bool,
    /// Whether names of the other side are wanted.
    peers: bool,
}

/// The slots of the front of a span that is written as nearly all are, by its kind and whether it names a
/// parent. Empty until one was taken apart field by field, and where a block that knows too much already
/// kept a field of it as a text: all that a head says has to be in the columns of its row, or in its slots.
#[derive(Debug, Default)]
struct Heads([[Vec<u32>; 2]; 6]);

/// More slots are not told apart: further attributes are kept as bytes, whatever an attacker sends.
pub(crate) const MAX_SLOTS: usize = 8192;
/// Longer messages are kept as bytes.
const MAX_SHAPE: usize = 1024;
/// More shapes are not told apart.
pub(crate) const MAX_SHAPES: usize = 65_536;

const START: u32 = u32::MAX;
/// Trace ID, span ID, name, kind, start and end.
const LEAST_HEAD: usize = 6;
/// The numbers of the fields that each head has, as bits.
const HEAD_FIELDS: u32 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;

/// What a row shows of a span, met on the walk.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: &'a [u8],
    pub(crate) parent_id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) kind: i32,
    pub(crate) status: i32,
    pub(crate) end: u64,
    pub(crate) flags: u32,
    /// Attribute `error` is true.
    pub(crate) error: bool,
    /// Links, or what may be some.
    pub(crate) has_links: bool,
    /// Names of the other side.
    pub(crate) peers: PeerCandidates<'a>,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// The service of a class, given all operations, and what its shape says of a span.
    pub(crate) fn service_and_flags(&self, class: u32, operations: &[(u32, String)]) -> (u32, RowFlags) {
        let Class { operation, shape } = self.classes[class as usize];
        (operations[operation as usize].0, RowFlags(self.shapes.get(shape).flags))
    }
}

// === impl Shredder ===

impl Shredder {
    /// `peers` says whether the facts shall have names of the other side.
    pub(crate) fn new(peers: bool) -> Self {
        Self { peers, ..Self::default() }
    }

    /// Takes a span apart; gives the number of its shape, and what its row shows. `start` is the span's
    /// start; `flags` tells the shape's flags from the facts.
    pub(crate) fn span<'a>(
        &mut self,
        words: &mut Vocabulary,
        columns: &mut PageColumns,
        span: &'a [u8],
        start: u64,
        flags: impl FnOnce(&Facts<'a>) -> u8,
    ) -> Result<(u32, Facts<'a>), WireError> {
        self.span.clear();
        self.pushed.clear();
        self.guess.begin();
        (self.events, self.links, self.error) = (0, 0, false);
        let mut facts = Facts::default();
        let regular = self.fields(words, columns, span, start, &mut facts)?;
        facts.error = self.error;
        if !regular || self.span.len() > MAX_SHAPE || words.shapes.len() >= MAX_SHAPES {
            self.take_back(columns);
            self.span.clear();
            let slot = words.slots.intern(START, Level::Span, Form::Verbatim, 0, b"");
            self.push_text(words, columns, slot, span);
            self.span.push(slot);
        }
        let shape = words.shapes.intern(flags(&facts), &self.span);
        self.guess.learn(shape);
        Ok((shape, facts))
    }

    /// Whether the span could be taken apart: not if a field of a row is there twice, because the last
    /// of them counts and the first one stands in front.
    fn fields<'a>(
        &mut self,
        words: &mut Vocabulary,
        columns: &mut PageColumns,
        span: &'a [u8],
        start: u64,
        facts: &mut Facts<'a>,
    ) -> Result<bool, WireError> {
        let head = SpanHead::parse(span);
        let mut at = head.as_ref().map_or(0, |head| self.head(words, head, facts));
        let known = self.span.len();
        let mut before = self.span.last().copied().unwrap_or(START);
        let (mut seen, mut twice) = (0u32, false);
        if let Some(head) = head.filter(|_| known > 0) {
            seen = HEAD_FIELDS | u32::from(head.parent_id.is_some()) << 4;
        }
        while at < span.len() {
            let likely = self.guess.slot(words.slots.after(before));
            if let Some((length, value)) = words.slots.recognise(likely, &span[at..]) {
                self.push_value(words, columns, likely, value, facts);
                self.guess.met(likely);
                self.span.push(likely);
                (before, at) = (likely, at + length);
                continue;
            }
            let mut reader = Reader::at_offset(&span[at..], at);
            let Some(field) = reader.next_field()? else { break };
            let bytes = &span[at..at + field.end];
            at += field.end;
            let field = RawField { number: field.number, value: field.value, bytes };
            let slot = match (field.number, field.value) {
                (9, Value::Bytes(attribute)) => {
                    self.attribute(words, columns, likely, Level::Span, &field, attribute, facts)
                }
                (11, Value::Bytes(event)) if field.is_minimal() => {
                    self.nested(words, columns, Level::Event, event, start)?;
                    words.slots.intern(likely, Level::Span, Form::Nested, 11, b"")
                }
                (13, Value::Bytes(link)) if field.is_minimal() => {
                    facts.has_links = true;
                    self.nested(words, columns, Level::Link, link, start)?;
                    words.slots.intern(likely, Level::Span, Form::Nested, 13, b"")
                }
                (number, _) => {
                    if matches!(number, 1 | 2 | 4..=8 | 15 | 16) {
                        twice |= seen & 1 << number != 0;
                        seen |= 1 << number;
                    }
                    match facts.see(&field)? {
                        Some(form) if field.is_minimal() => {
                            let slot = words.slots.intern(likely, Level::Span, form, number, b"");
                            if form == Form::Name {
                                self.guess.named(facts.name, slot, &words.shapes);
                            }
                            slot
                        }
                        _ => self.other(words, columns, likely, Level::Span, &field),
                    }
                }
            };
            words.slots.follows(before, slot);
            self.guess.met(slot);
            self.span.push(slot);
            before = slot;
        }
        if let Some(head) = head.filter(|_| known == 0) {
            self.heads.learn(&head, &self.span, &words.slots);
        }
        Ok(!twice)
    }

    /// Takes the front of a span, if its slots are known; returns how many bytes that were.
    #[inline]
    fn head<'a>(&mut self, words: &Vocabulary, head: &SpanHead<'a>, facts: &mut Facts<'a>) -> usize {
        let Some(&last) = self.heads.slots(head).last() else { return 0 };
        self.span.extend_from_slice(self.heads.slots(head));
        (facts.trace_id, facts.span_id, facts.name) = (head.trace_id, head.span_id, head.name);
        facts.parent_id = head.parent_id.map_or(&[], |parent| &parent[..]);
        (facts.kind, facts.end) = (head.kind.into(), head.end);
        self.guess.named(head.name, last, &words.shapes);
        head.length
    }

    /// The value of an attribute that was recognised by its slot.
    #[inline]
    fn push_value<'a>(
        &mut self,
        words: &mut Vocabulary,
        columns: &mut PageColumns,
        slot: u32,
        value: SlotValue<'a>,
        facts: &mut Facts<'a>,
    ) {
        match value {
            SlotValue::None => {}
            SlotValue::Number(number) => self.push_number(columns, slot, number),
            SlotValue::Text(text) => {
                if self.peers && words.slots.is_peer(slot) {
                    facts.peers.see(&words.slots.get(slot).name, text);
                }
                self.push_text(words, columns, slot, text);
            }
        }
    }

    fn nested(
        &mut self,
        words: &mut Vocabulary,
        columns: &mut PageColumns,
        level: Level,
        message: &[u8],
        start: u64,
    ) -> Result<(), WireError> {
        self.nested.clear();
        let mut nobody = Facts::default();
        let mut reader = Reader::new(message);
        let mut before = START;
        while let Some(field) = reader.next_field()? {
            let bytes = &message[field.begin..field.end];
            let likely = words.slots.after(before);
            let field = RawField { number: field.number, value: field.value, bytes };
            let slot = match (level, field.number, field.value) {
                (Level::Event, 3, Value::Bytes(attribute)) | (Level::Link, 4, Value::Bytes(attribute)) => {
                    self.attribute(words, columns, likely, level, &field, attribute, &mut nobody)
                }
                (Level::Event, 1, Value::Fixed64(time)) if field.is_minimal() => {
                    let slot = words.slots.intern(likely, level, Form::Since, 1, b"");
                    self.push_number(columns, slot, time.wrapping_sub(start));
                    slot
                }
                _ => self.other(words, columns, likely, level, &field),
            };
            words.slots.follows(before, slot);
            self.nested.push(slot);
            before = slot;
        }
        if self.nested.len() > MAX_SHAPE {
            // Too long to be told apart: as one text. Its values leave the columns again.
            let values = self
                .nested
                .iter()
                .filter(|slot| words.slots.get(**slot).form.value_kind() != super::shape::ValueKind::None);
            for _ in 0..values.count() {
                if let Some(slot) = self.pushed.pop() {
                    columns.pop(slot);
                }
            }
            let slot = words.slots.intern(START, level, Form::Verbatim, 0, b"");
            self.push_text(words, columns, slot, message);
            self.nested.clear();
            self.nested.push(slot);
        }
        let shape = words.shapes.intern(0, &self.nested);
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

    /// An attribute as exporters write it: key, then a value of one field.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    fn attribute<'a>(
        &mut self,
        words: &mut Vocabulary,
        columns: &mut PageColumns,
        likely: u32,
        level: Level,
        field: &RawField<'a>,
        attribute: &'a [u8],
        facts: &mut Facts<'a>,
    ) -> u32 {
        let parsed = RegularAttribute::parse(attribute);
        let room = field.is_minimal() && words.slots.len() < MAX_SLOTS;
        let Some(RegularAttribute { key, value }) = parsed.filter(|_| room) else {
            if level == Level::Span {
                self.see_irregular(attribute, facts);
            }
            return self.other(words, columns, likely, level, field);
        };
        if level == Level::Span && key == ERROR {
            self.error =
                matches!(value, RegularValue::Bool(true) | RegularValue::Text(Form::String, b"true"));
        }
        match value {
            RegularValue::Bool(_) | RegularValue::Empty => {
                words.slots.intern(likely, level, Form::Literal, field.number, field.bytes)
            }
            RegularValue::Number(form, number) => {
                let slot = words.slots.intern(likely, level, form, field.number, key);
                self.push_number(columns, slot, number);
                slot
            }
            RegularValue::Text(form, text) => {
                let slot = words.slots.intern(likely, level, form, field.number, key);
                if self.peers && words.slots.is_peer(slot) {
                    facts.peers.see(key, text);
                }
                self.push_text(words, columns, slot, text);
                slot
            }
        }
    }

    /// Takes note of an attribute that is kept as bytes.
    fn see_irregular<'a>(&mut self, attribute: &'a [u8], facts: &mut Facts<'a>) {
        let Ok((key, value)) = raw_attribute(attribute) else { return };
        if key == ERROR {
            self.error = matches!(value, RawValue::Bool(true) | RawValue::String(b"true"));
        }
        if let RawValue::String(text) = value
            && self.peers
            && is_peer_key(key)
        {
            facts.peers.see(key, text);
        }
    }

    /// A field that is nothing special.
    fn other(
        &mut self,
        words: &mut Vocabulary,
        columns: &mut PageColumns,
        likely: u32,
        level: Level,
        field: &RawField<'_>,
    ) -> u32 {
        let number = field.number;
        // Field numbers that OTLP does not have are not told apart: there may be millions.
        if !field.is_minimal() || number > 31 || words.slots.len() >= MAX_SLOTS + 1024 {
            let slot = words.slots.intern(likely, level, Form::Verbatim, 0, b"");
            self.push_text(words, columns, slot, field.bytes);
            return slot;
        }
        if is_literal(level, field) {
            return words.slots.intern(likely, level, Form::Literal, number, field.bytes);
        }
        if let (Level::Span, 15, Value::Bytes(status)) = (level, number, field.value)
            && let Some((message, code)) = regular_status(status)
        {
            let slot = words.slots.intern(likely, level, Form::Status, number, code);
            self.push_text(words, columns, slot, message);
            return slot;
        }
        let form = match field.value {
            Value::Varint(_) => Form::Varint,
            Value::Fixed64(_) => Form::Fixed64,
            Value::Fixed32(_) => Form::Fixed32,
            Value::Bytes(_) => Form::Bytes,
            Value::Group => Form::Verbatim,
        };
        let field_number = if form == Form::Verbatim { 0 } else { number };
        let slot = words.slots.intern(likely, level, form, field_number, b"");
        match field.value {
            Value::Varint(value) | Value::Fixed64(value) => self.push_number(columns, slot, value),
            Value::Fixed32(value) => self.push_number(columns, slot, u64::from(value)),
            Value::Bytes(text) => self.push_text(words, columns, slot, text),
            Value::Group => self.push_text(words, columns, slot, field.bytes),
        }
        slot
    }

    #[inline]
    fn push_number(&mut self, columns: &mut PageColumns, slot: u32, number: u64) {
        columns.push_number(slot, number);
        self.pushed.push(slot);
    }

    #[inline]
    fn push_text(&mut self, words: &mut Vocabulary, columns: &mut PageColumns, slot: u32, text: &[u8]) {
        let column = columns.texts(slot);
        // Rows of one trace follow each other and say the same again and again.
        let number = match column.last() {
            Some(last) if same(words.texts.get(*last), text) => *last,
            _ => words.texts.intern(text),
        };
        column.push(number);
        self.pushed.push(slot);
    }

    /// Takes back every value of the span in hand.
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

    /// Remembers the slots of a span that was taken apart field by field.
    fn learn(&mut self, head: &SpanHead<'_>, span: &[u32], known: &SlotTable) {
        let has_parent = usize::from(head.parent_id.is_some());
        let slots = span.get(..LEAST_HEAD + has_parent).unwrap_or_default();
        if slots.iter().all(|slot| known.get(*slot).form.value_kind() == ValueKind::None) {
            self.0[usize::from(head.kind)][has_parent] = slots.to_vec();
        }
    }
}

// === impl Facts ===

impl<'a> Facts<'a> {
    /// Takes note of a field; gives the form of fields whose value is a column of every row.
    #[inline]
    fn see(&mut self, field: &RawField<'a>) -> Result<Option<Form>, WireError> {
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
            (1, Value::Bytes(id)) if id.len() == 16 => Some(Form::TraceId),
            (2, Value::Bytes(id)) if id.len() == 8 => Some(Form::SpanId),
            (4, Value::Bytes(id)) if id.len() == 8 => Some(Form::Parent),
            (5, Value::Bytes(_)) => Some(Form::Name),
            (7, Value::Fixed64(_)) => Some(Form::Start),
            (8, Value::Fixed64(_)) => Some(Form::End),
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
