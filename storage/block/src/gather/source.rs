//! What rows are copied from: a block's tables, and a page with the place of each value.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::DAMAGED;
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::page::{Column, OpenPage, Rebuilder, TextTable};
use crate::shape::{EVENTS, FieldEncoding, Level, Slot, ValueKind};

/// The tables of a block that rows are copied from, which its pages share.
#[derive(Debug)]
pub struct SourceBlock {
    pub(crate) dictionary: Arc<Dictionary>,
    pub(crate) texts: Arc<TextTable>,
    messages: Vec<Message>,
    /// Those of all shapes, one after the other.
    parts: Vec<Part>,
    calls: Vec<CallPart>,
}

/// What follows from the shape of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    /// Its first part in `parts`, and its first call part in `calls`; the next shape's are the ends.
    parts: u32,
    calls: u32,
    /// The span's flags, if they are a part of the shape.
    pub(crate) flags: u32,
    /// Whether it has events or links.
    pub(crate) has_nested: bool,
    /// Whether the input of an edge has to be read from the span itself.
    pub(crate) is_opaque: bool,
}

/// A part of a message that has a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) slot: u32,
    pub(crate) kind: PartKind,
}

/// The column of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    Number,
    Text,
    /// The shape of an event, whose values follow those of the span.
    Event,
    /// The shape of a link, whose values follow those of the span.
    Link,
}

/// A part of a span that an edge needs: its flags, or a text that may name the peer of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallPart {
    /// Its index among the parts of the shape.
    pub(crate) at: u32,
    pub(crate) slot: u32,
    pub(crate) is_flags: bool,
}

/// A page that rows are copied from.
#[derive(Debug)]
pub(crate) struct SourcePage {
    pub(crate) block: Arc<SourceBlock>,
    pub(crate) open: OpenPage,
    /// The place of each value in its column, row by row: those of a span, then those of its events and links.
    places: Vec<u32>,
    /// The index of each row's first place, and one more for the end.
    begins: Vec<u32>,
}

/// What a slot means for a shape that has it.
struct SlotFacts {
    kind: Option<PartKind>,
    flags: Option<u32>,
    is_opaque: bool,
    is_flags: bool,
    is_peer: bool,
}

// === impl SourceBlock ===

impl SourceBlock {
    /// The tables of the block that has this dictionary and these texts. Slots have to be distinct: a column of the new
    /// page is gathered from one column of each page.
    pub fn new(dictionary: Arc<Dictionary>, texts: Arc<TextTable>) -> Result<Arc<Self>, FormatError> {
        let mut known = FxHashSet::default();
        if !dictionary.slots.iter().all(|slot| known.insert(slot)) {
            return Err(FormatError::Damaged("dictionary"));
        }
        let slots: Vec<SlotFacts> = dictionary.slots.iter().map(SlotFacts::of).collect();
        let messages = Vec::with_capacity(dictionary.shapes.len() + 1);
        let mut block = Self { dictionary, texts, messages, parts: Vec::new(), calls: Vec::new() };
        let dictionary = block.dictionary.clone();
        dictionary.shapes.iter().for_each(|shape| block.add_message(&shape.slots, &slots));
        // Its beginnings are the ends of the last shape.
        block.add_message(&[], &slots);
        Ok(Arc::new(block))
    }

    fn add_message(&mut self, shape: &[u32], slots: &[SlotFacts]) {
        let (parts, calls) = (self.parts.len() as u32, self.calls.len() as u32);
        let mut message = Message { parts, calls, flags: 0, has_nested: false, is_opaque: false };
        for &slot in shape {
            let facts = &slots[slot as usize];
            message.is_opaque |= facts.is_opaque;
            message.flags = facts.flags.unwrap_or(message.flags);
            let Some(kind) = facts.kind else { continue };
            message.has_nested |= matches!(kind, PartKind::Event | PartKind::Link);
            if facts.is_flags || facts.is_peer {
                let at = self.parts.len() as u32 - parts;
                self.calls.push(CallPart { at, slot, is_flags: facts.is_flags });
            }
            self.parts.push(Part { slot, kind });
        }
        self.messages.push(message);
    }

    #[inline]
    pub(crate) fn message(&self, shape: u32) -> &Message {
        &self.messages[shape as usize]
    }

    /// The parts with a value of a message of this shape.
    #[inline]
    pub(crate) fn parts(&self, shape: u32) -> &[Part] {
        let [begin, end] = [0, 1].map(|next| self.messages[shape as usize + next].parts as usize);
        &self.parts[begin..end]
    }

    /// The parts of a span of this shape that edges need.
    #[inline]
    pub(crate) fn calls(&self, shape: u32) -> &[CallPart] {
        let [begin, end] = [0, 1].map(|next| self.messages[shape as usize + next].calls as usize);
        &self.calls[begin..end]
    }
}

// === impl Part ===

impl Part {
    fn is_nested(&self) -> bool {
        matches!(self.kind, PartKind::Event | PartKind::Link)
    }
}

// === impl SlotFacts ===

impl SlotFacts {
    fn of(slot: &Slot) -> Self {
        let kind = match slot.encoding.value_kind() {
            ValueKind::Number | ValueKind::Double => Some(PartKind::Number),
            ValueKind::Text => Some(PartKind::Text),
            ValueKind::None if slot.encoding != FieldEncoding::Nested || slot.level != Level::Span => None,
            ValueKind::None if slot.field == EVENTS => Some(PartKind::Event),
            ValueKind::None => Some(PartKind::Link),
        };
        Self {
            kind,
            flags: slot.literal_span_flags(),
            is_opaque: slot.is_opaque_call(),
            is_flags: slot.encoding == FieldEncoding::Fixed32 && slot.is_span_flags(),
            is_peer: slot.is_peer(),
        }
    }
}

// === impl SourcePage ===

impl SourcePage {
    /// The page has to be one of the block.
    pub(crate) fn new(block: Arc<SourceBlock>, mut open: OpenPage) -> Result<Self, FormatError> {
        let lengths = |of: &Dictionary| {
            (of.slots.len(), of.shapes.len(), of.classes.len(), of.operations.len(), of.resource_scopes.len())
        };
        if lengths(&open.dictionary) != lengths(&block.dictionary) {
            return Err(FormatError::Damaged("dictionary"));
        }
        // One copy for all pages, whatever the cache has kept.
        (open.dictionary, open.texts) = (block.dictionary.clone(), block.texts.clone());
        let slots = open.dictionary.slots.len();
        let mut page = Self { block, open, places: Vec::new(), begins: Vec::new() };
        page.find_places(slots).ok_or(DAMAGED)?;
        Ok(page)
    }

    /// Walks over the rows once. A column has as many values as the shapes of the rows say, which was checked when the
    /// page was opened.
    fn find_places(&mut self, slots: usize) -> Option<()> {
        let Self { block, open, places, begins, .. } = self;
        let mut taken = vec![0; slots];
        let (mut events, mut links) = (0, 0);
        let mut next = |part: &Part| {
            let next = match part.kind {
                PartKind::Event => &mut events,
                PartKind::Link => &mut links,
                PartKind::Number | PartKind::Text => &mut taken[part.slot as usize],
            };
            *next += 1;
            *next - 1
        };
        let shapes = || open.core.class.iter().map(|class| open.dictionary.classes[*class as usize].shape);
        begins.reserve(open.core.rows() + 1);
        places.reserve(shapes().map(|shape| block.parts(shape).len()).sum());
        for shape in shapes() {
            let begin = places.len();
            begins.push(begin as u32);
            let parts = block.parts(shape);
            places.extend(parts.iter().map(&mut next));
            if !block.message(shape).has_nested {
                continue;
            }
            for (at, part) in parts.iter().enumerate() {
                if let Some(shapes) = shapes_of(open, part.kind) {
                    let shape = *shapes.get(places[begin + at] as usize)?;
                    places.extend(block.parts(shape).iter().map(&mut next));
                }
            }
        }
        begins.push(places.len() as u32);
        Some(())
    }

    /// The shape of a row.
    #[inline]
    pub(crate) fn shape(&self, row: u32) -> u32 {
        self.open.dictionary.classes[self.open.core.class[row as usize] as usize].shape
    }

    /// The places of a row's values.
    #[inline]
    pub(crate) fn places(&self, row: u32) -> &[u32] {
        &self.places[self.begins[row as usize] as usize..self.begins[row as usize + 1] as usize]
    }

    /// The messages of a row, the span first: the shape of each, its parts, and their places.
    #[inline]
    pub(crate) fn messages(&self, row: u32) -> impl Iterator<Item = (u32, &[Part], &[u32])> {
        let shape = self.shape(row);
        let parts = self.block.parts(shape);
        let (own, mut nested) = self.places(row).split_at(parts.len());
        let with_nested = if self.block.message(shape).has_nested { parts } else { &[] };
        let inner = with_nested.iter().zip(own).filter_map(move |(part, place)| {
            let shape = shapes_of(&self.open, part.kind)?[*place as usize];
            let parts = self.block.parts(shape);
            let (own, rest) = nested.split_at(parts.len());
            nested = rest;
            Some((shape, parts, own))
        });
        std::iter::once((shape, parts, own)).chain(inner)
    }

    /// Moves to a row.
    pub(crate) fn seek(&self, spans: &mut Rebuilder, row: u32) {
        let (mut nested, mut values) = ((0, 0), Vec::new());
        for (_, parts, places) in self.messages(row) {
            for (part, place) in parts.iter().zip(places).rev() {
                match part.kind {
                    PartKind::Event => nested.0 = *place as usize,
                    PartKind::Link => nested.1 = *place as usize,
                    PartKind::Number | PartKind::Text => {}
                }
            }
            let columns = parts.iter().zip(places).filter(|(part, _)| !part.is_nested());
            values.extend(columns.map(|(part, place)| (part.slot, *place)));
        }
        spans.seek_to(row as usize, nested, values.into_iter());
    }

    /// The slots that have a column of values.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        (0..self.open.dictionary.slots.len() as u32).filter(|slot| self.open.values.has_column(*slot))
    }

    /// Reads the values of a slot.
    pub(crate) fn column(&self, slot: u32) -> Result<Column, FormatError> {
        let encoding = self.open.dictionary.slots[slot as usize].encoding;
        self.open.values.decode_column(slot, encoding)?.ok_or(DAMAGED)
    }
}

#[inline]
fn shapes_of(open: &OpenPage, kind: PartKind) -> Option<&[u32]> {
    match kind {
        PartKind::Event => Some(&open.values.events),
        PartKind::Link => Some(&open.values.links),
        PartKind::Number | PartKind::Text => None,
    }
}
