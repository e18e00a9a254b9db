//! What rows are copied from: a block's tables, and a page with the place of each value.

use std::sync::{Arc, OnceLock};

use super::DAMAGED;
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::page::{Column, OpenPage, TextTable};
use crate::shape::{EVENTS, FieldEncoding, Level, Slot, ValueKind};

/// The tables of a block that rows are copied from, which its pages share.
#[derive(Debug)]
pub struct SourceBlock {
    pub(super) dictionary: Arc<Dictionary>,
    pub(super) texts: Arc<TextTable>,
    /// By shape; filled at the first use.
    messages: Vec<OnceLock<MessageParts>>,
}

/// The parts of a message that have a value, in their order.
#[derive(Debug)]
struct MessageParts {
    parts: Box<[Part]>,
    has_nested: bool,
}

/// A part of a message that has a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) slot: u32,
    pub(super) kind: PartKind,
}

/// The column of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    Number,
    Text,
    /// The shape of an event, whose values follow those of the span.
    Event,
    /// The shape of a link, whose values follow those of the span.
    Link,
}

/// A page that rows are copied from.
#[derive(Debug)]
pub(super) struct SourcePage {
    pub(super) block: Arc<SourceBlock>,
    pub(super) open: OpenPage,
    /// The place of each value in its column, row by row: those of a span, then those of its events and links.
    places: Vec<u32>,
    /// The index of each row's first place, and one more for the end.
    begins: Vec<u32>,
    /// By slot; filled at the first use.
    columns: Vec<OnceLock<SourceColumn>>,
}

/// The values of a slot.
#[derive(Debug)]
pub(super) enum SourceColumn {
    Numbers(Vec<u64>),
    Texts {
        /// The references of the distinct texts.
        references: Vec<u32>,
        /// For each value, the index of its text in `references`.
        index: Vec<u32>,
    },
}

// === impl SourceBlock ===

impl SourceBlock {
    /// The tables of the block that has this dictionary and these texts.
    pub fn new(dictionary: Arc<Dictionary>, texts: Arc<TextTable>) -> Arc<Self> {
        let messages = std::iter::repeat_with(OnceLock::new).take(dictionary.shapes.len()).collect();
        Arc::new(Self { dictionary, texts, messages })
    }

    #[inline]
    fn message(&self, shape: u32) -> &MessageParts {
        self.messages[shape as usize].get_or_init(|| {
            let slots = self.dictionary.shapes[shape as usize].slots.iter();
            let parts = slots.filter_map(|slot| Part::of(*slot, &self.dictionary.slots[*slot as usize]));
            let parts: Box<[Part]> = parts.collect();
            let has_nested = parts.iter().any(|part| matches!(part.kind, PartKind::Event | PartKind::Link));
            MessageParts { parts, has_nested }
        })
    }

    /// The parts with a value of a message of this shape.
    #[inline]
    pub(super) fn parts(&self, shape: u32) -> &[Part] {
        &self.message(shape).parts
    }

    /// Whether spans of this shape have events or links.
    #[inline]
    pub(super) fn has_nested(&self, shape: u32) -> bool {
        self.message(shape).has_nested
    }
}

// === impl Part ===

impl Part {
    fn of(number: u32, slot: &Slot) -> Option<Self> {
        let kind = match slot.encoding.value_kind() {
            ValueKind::Number | ValueKind::Double => PartKind::Number,
            ValueKind::Text => PartKind::Text,
            ValueKind::None if slot.encoding != FieldEncoding::Nested || slot.level != Level::Span => {
                return None;
            }
            ValueKind::None if slot.field == EVENTS => PartKind::Event,
            ValueKind::None => PartKind::Link,
        };
        Some(Self { slot: number, kind })
    }
}

// === impl SourcePage ===

impl SourcePage {
    pub(super) fn new(block: Arc<SourceBlock>, open: OpenPage) -> Result<Self, FormatError> {
        let slots = open.dictionary.slots.len();
        let columns = std::iter::repeat_with(OnceLock::new).take(slots).collect();
        let mut page = Self { block, open, places: Vec::new(), begins: Vec::new(), columns };
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
        begins.reserve(open.core.rows() + 1);
        for class in &open.core.class {
            let begin = places.len();
            begins.push(begin as u32);
            let shape = open.dictionary.classes[*class as usize].shape;
            let parts = block.parts(shape);
            places.extend(parts.iter().map(&mut next));
            if !block.has_nested(shape) {
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
    pub(super) fn shape(&self, row: u32) -> u32 {
        self.open.dictionary.classes[self.open.core.class[row as usize] as usize].shape
    }

    /// The messages of a row, the span first: the shape of each, its parts, and their places.
    pub(super) fn messages(&self, row: u32) -> impl Iterator<Item = (u32, &[Part], &[u32])> {
        let shape = self.shape(row);
        let parts = self.block.parts(shape);
        let (own, mut nested) = self.places(row).split_at(parts.len());
        let inner = parts.iter().zip(own).filter_map(move |(part, place)| {
            let shape = self.shapes_of(part.kind)?[*place as usize];
            let parts = self.block.parts(shape);
            let (own, rest) = nested.split_at(parts.len());
            nested = rest;
            Some((shape, parts, own))
        });
        std::iter::once((shape, parts, own)).chain(inner)
    }

    /// The places of a row's values.
    #[inline]
    pub(super) fn places(&self, row: u32) -> &[u32] {
        &self.places[self.begins[row as usize] as usize..self.begins[row as usize + 1] as usize]
    }

    /// The shapes of events or links; `None` for a part that is neither.
    #[inline]
    pub(super) fn shapes_of(&self, kind: PartKind) -> Option<&[u32]> {
        shapes_of(&self.open, kind)
    }

    /// The values of a slot.
    pub(super) fn column(&self, slot: u32) -> Result<&SourceColumn, FormatError> {
        let known = &self.columns[slot as usize];
        if let Some(column) = known.get() {
            return Ok(column);
        }
        let encoding = self.open.dictionary.slots[slot as usize].encoding;
        let column = match self.open.values.decode_column(slot, encoding)?.ok_or(DAMAGED)? {
            Column::Numbers(numbers) => SourceColumn::Numbers(numbers),
            Column::Texts { references, index } => SourceColumn::Texts { references, index },
        };
        Ok(known.get_or_init(|| column))
    }

    /// The values of a slot of numbers that was read before; empty otherwise.
    pub(super) fn numbers(&self, slot: u32) -> &[u64] {
        match self.columns[slot as usize].get() {
            Some(SourceColumn::Numbers(numbers)) => numbers,
            _ => &[],
        }
    }
}

fn shapes_of(open: &OpenPage, kind: PartKind) -> Option<&[u32]> {
    match kind {
        PartKind::Event => Some(&open.values.events),
        PartKind::Link => Some(&open.values.links),
        PartKind::Number | PartKind::Text => None,
    }
}
