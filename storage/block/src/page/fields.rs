//! Reads one field of the spans of a page, or of their events or links, from columns: row by row, and without putting a
//! span together. `field_column.rs` reads a field of all rows at once.

use std::sync::Arc;

use super::open_page::OpenPage;
use super::packed::{Column, PackedColumn};
use super::read::{CorePage, TextTable, ValuesPage};
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::shape::{EVENTS, FieldEncoding, Level, Slot, ValueKind};

/// A page without the IDs of its rows.
#[derive(Debug, Clone)]
pub struct OpenValues {
    /// The dictionary that rows refer to.
    pub dictionary: Arc<Dictionary>,
    /// Texts that the block's pages share.
    pub texts: Arc<TextTable>,
    /// The columns that every row has.
    pub core: Arc<CorePage>,
    /// The values of slots, as columns.
    pub values: Arc<ValuesPage>,
}

/// A field of the messages of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageField<'k> {
    /// The attributes with a key.
    Attribute(&'k str),
    /// The field with a number. Not for fields whose values are in columns that every row has.
    Number(u32),
}

/// How to read a field from the pages of a block.
#[derive(Debug)]
pub struct FieldPlan {
    level: Level,
    /// The slots that contain values of the field.
    slots: Vec<u32>,
    /// By shape.
    shapes: Vec<ShapePlan>,
}

/// How to read a field from messages of one shape.
#[derive(Debug, Default)]
struct ShapePlan {
    /// Only the message itself tells its values.
    is_opaque: bool,
    /// The values of the field, in their order: indices of the plan's slots.
    places: Box<[u32]>,
    /// For spans: the number of their events or links, if the field belongs to these.
    nested: u32,
}

/// Reads a field of consecutive rows of a page.
#[derive(Debug)]
pub struct FieldReader<'p> {
    page: &'p OpenValues,
    plan: &'p FieldPlan,
    access: Access,
    /// For each slot of the plan.
    slots: Vec<SlotCursor<'p>>,
    row: usize,
    /// The number of events or links in front of the row.
    nested: usize,
    found: Vec<FieldValue>,
}

/// How a reader reads columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Unpacks them, to read most values.
    Whole,
    /// Leaves them packed, to read a few values.
    Sparse,
}

/// A value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldValue {
    /// The number of its slot in the dictionary.
    pub slot: u32,
    /// The number of its slot in the plan.
    pub place: u32,
    /// The value, given its slot.
    pub stored: StoredValue,
}

/// A value, given its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredValue {
    /// The slot says it all.
    Literal,
    /// A number, or the bits of a double.
    Number(u64),
    /// The number of a text among the distinct ones of the column.
    Text(u32),
}

#[derive(Debug)]
struct SlotCursor<'p> {
    values: SlotValues<'p>,
    /// The number of values in front of the row.
    taken: usize,
    /// For packed texts, the number of texts listed in front of the row's first value.
    listed: u32,
}

#[derive(Debug)]
enum SlotValues<'p> {
    /// Not read yet.
    Unread,
    Literal,
    Whole(Column),
    Packed(&'p PackedColumn),
}

const DAMAGED: FormatError = FormatError::Damaged("values of a page");
/// The count of listed texts is not known.
const UNKNOWN: u32 = u32::MAX;
/// Up to this distance, rows are skipped one by one.
const NEAR: usize = 64;

// === impl MessageField ===

impl MessageField<'_> {
    /// Whether the slot contains values of this field of messages of a level.
    fn is_in(self, level: Level, slot: &Slot) -> bool {
        if slot.level != level {
            return false;
        }
        match self {
            Self::Attribute(key) => slot.level_attribute().is_some_and(|known| known == key.as_bytes()),
            Self::Number(number) => slot.field == number && is_usual(level, number, slot.encoding),
        }
    }

    /// Whether the slot may contain values of this field that only the message itself tells.
    fn may_hide_in(self, level: Level, slot: &Slot) -> bool {
        // A span that is stored as text may have events and links.
        if slot.encoding == FieldEncoding::Verbatim {
            return slot.level == level || slot.level == Level::Span;
        }
        let number = match self {
            Self::Attribute(_) => return slot.level == level && slot.has_hidden_attribute(),
            Self::Number(number) => number,
        };
        slot.level == level && slot.field == number && !is_usual(level, number, slot.encoding)
    }
}

/// Whether a field is encoded in this way when it is written as exporters do.
fn is_usual(level: Level, number: u32, encoding: FieldEncoding) -> bool {
    match (level, number) {
        (Level::Span, 15) => matches!(encoding, FieldEncoding::Literal | FieldEncoding::Status),
        (Level::Span, 16) => matches!(encoding, FieldEncoding::Literal | FieldEncoding::Fixed32),
        (Level::Event, 1) => encoding == FieldEncoding::Since,
        _ => encoding == FieldEncoding::Bytes,
    }
}

// === impl FieldPlan ===

impl FieldPlan {
    /// Plans to read a field of all messages of a level.
    pub fn new(dictionary: &Dictionary, level: Level, field: MessageField<'_>) -> Self {
        const ABSENT: u32 = u32::MAX;
        let (mut slots, mut places) = (Vec::new(), Vec::with_capacity(dictionary.slots.len()));
        let mut hides = Vec::with_capacity(dictionary.slots.len());
        for (number, slot) in dictionary.slots.iter().enumerate() {
            let is_in = field.is_in(level, slot);
            places.push(if is_in { slots.len() as u32 } else { ABSENT });
            hides.push(field.may_hide_in(level, slot));
            if is_in {
                slots.push(number as u32);
            }
        }
        let contains_level = |number: &&u32| {
            let slot = &dictionary.slots[**number as usize];
            slot.encoding == FieldEncoding::Nested
                && slot.level == Level::Span
                && level != Level::Span
                && (slot.field == EVENTS) == (level == Level::Event)
        };
        let shapes = dictionary.shapes.iter().map(|shape| ShapePlan {
            is_opaque: shape.slots.iter().any(|slot| hides[*slot as usize]),
            places: shape
                .slots
                .iter()
                .map(|slot| places[*slot as usize])
                .filter(|place| *place != ABSENT)
                .collect(),
            nested: shape.slots.iter().filter(contains_level).count() as u32,
        });
        Self { level, slots, shapes: shapes.collect() }
    }

    /// For each class, whether its rows have no value of the field, as their shape alone tells.
    pub fn absent_classes(&self, dictionary: &Dictionary) -> Vec<bool> {
        let is_absent = |shape: &ShapePlan| match self.level {
            _ if shape.is_opaque => false,
            Level::Span => shape.places.is_empty(),
            Level::Event | Level::Link => shape.nested == 0,
        };
        let shapes: Vec<bool> = self.shapes.iter().map(is_absent).collect();
        dictionary.classes.iter().map(|class| shapes[class.shape as usize]).collect()
    }

    /// The number of slots that contain values of the field.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// These slots.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The only place of the field in spans of a shape, if there is one; `None` if rows have to be read one by one.
    pub(crate) fn only_place(&self, shape: usize) -> Option<Option<u32>> {
        let shape = &self.shapes[shape];
        match (self.level, &shape.places[..]) {
            _ if shape.is_opaque => None,
            (Level::Span, []) => Some(None),
            (Level::Span, [place]) => Some(Some(*place)),
            _ => None,
        }
    }
}

// === impl FieldReader ===

impl<'p> FieldReader<'p> {
    /// Starts at the first row of a page of the plan's block.
    pub fn new(page: &'p OpenValues, plan: &'p FieldPlan, access: Access) -> Self {
        let slot = |_: &u32| SlotCursor { values: SlotValues::Unread, taken: 0, listed: UNKNOWN };
        let slots = plan.slots.iter().map(slot).collect();
        Self { page, plan, access, slots, row: 0, nested: 0, found: Vec::new() }
    }

    /// Shows the values of a row, message by message: of the span, or of each of its events or links, also of those
    /// without a value. Rows have to be read in ascending order. Returns false, and shows nothing, if only the span
    /// itself tells the values.
    pub fn read(
        &mut self,
        row: usize,
        mut tell: impl FnMut(&Self, &[FieldValue]),
    ) -> Result<bool, FormatError> {
        self.skip_to(row);
        let shape = self.shape_of(row)?;
        let nested = self.nested_shapes(shape.nested)?;
        if shape.is_opaque || nested.iter().any(|shape| self.plan.shapes[*shape as usize].is_opaque) {
            return Ok(false);
        }
        self.row += 1;
        self.nested += nested.len();
        let messages = if self.plan.level == Level::Span { 1 } else { nested.len() };
        let mut found = std::mem::take(&mut self.found);
        for message in 0..messages {
            let shape = match nested.get(message) {
                Some(number) => &self.plan.shapes[*number as usize],
                None => shape,
            };
            found.clear();
            for place in &shape.places {
                found.push(self.take(*place)?);
            }
            tell(self, &found);
        }
        self.found = found;
        Ok(true)
    }

    /// Passes a row that has no value of the field, if it is the next one.
    pub fn pass_absent(&mut self, row: usize) {
        self.row += usize::from(self.row == row);
    }

    /// The text of a value.
    pub fn text(&self, place: u32, text: u32) -> Result<&[u8], FormatError> {
        let reference = match &self.slots.get(place as usize).ok_or(DAMAGED)?.values {
            SlotValues::Whole(Column::Texts { references, .. }) => references.get(text as usize).copied(),
            SlotValues::Packed(column) => column.text_reference(text as usize),
            _ => None,
        };
        self.page.values.text(reference.ok_or(DAMAGED)?, &self.page.texts)
    }

    fn shape_of(&self, row: usize) -> Result<&'p ShapePlan, FormatError> {
        let class = *self.page.core.class.get(row).ok_or(DAMAGED)?;
        Ok(&self.plan.shapes[self.page.dictionary.classes[class as usize].shape as usize])
    }

    /// The shapes of the next events or links.
    fn nested_shapes(&self, count: u32) -> Result<&'p [u32], FormatError> {
        let all = match self.plan.level {
            Level::Event => &self.page.values.events,
            Level::Link => &self.page.values.links,
            Level::Span => return Ok(&[]),
        };
        all.get(self.nested..self.nested + count as usize).ok_or(DAMAGED)
    }

    /// Counts the values of the rows in front of a row.
    fn skip_to(&mut self, row: usize) {
        let (page, plan) = (self.page, self.plan);
        let skipped = page.core.class.get(self.row..row).unwrap_or_default();
        let mut skip = |class: usize, times: usize| {
            let shape = &plan.shapes[page.dictionary.classes[class].shape as usize];
            shape.places.iter().for_each(|place| self.slots[*place as usize].skip(times));
            shape.nested as usize * times
        };
        let nested: usize = if skipped.len() <= NEAR {
            skipped.iter().map(|class| skip(*class as usize, 1)).sum()
        } else {
            let mut counts = vec![0usize; page.dictionary.classes.len()];
            skipped.iter().for_each(|class| counts[*class as usize] += 1);
            let counts = counts.into_iter().enumerate().filter(|(_, times)| *times > 0);
            counts.map(|(class, times)| skip(class, times)).sum()
        };
        for shape in self.nested_shapes(nested as u32).unwrap_or_default() {
            for place in &plan.shapes[*shape as usize].places {
                self.slots[*place as usize].skip(1);
            }
        }
        self.nested += nested;
        self.row = self.row.max(row);
    }

    /// The next value of a slot.
    fn take(&mut self, place: u32) -> Result<FieldValue, FormatError> {
        let slot = self.plan.slots[place as usize];
        let cursor = &mut self.slots[place as usize];
        if let SlotValues::Unread = cursor.values {
            cursor.values = SlotValues::read(self.page, slot, self.access)?;
        }
        let stored = cursor.take().ok_or(DAMAGED)?;
        Ok(FieldValue { slot, place, stored })
    }
}

// === impl SlotCursor, SlotValues ===

impl SlotCursor<'_> {
    fn skip(&mut self, values: usize) {
        self.taken += values;
        self.listed = UNKNOWN;
    }

    fn take(&mut self) -> Option<StoredValue> {
        let at = self.taken;
        self.taken += 1;
        Some(match &self.values {
            SlotValues::Unread => return None,
            SlotValues::Literal => StoredValue::Literal,
            SlotValues::Whole(Column::Numbers(numbers)) => StoredValue::Number(*numbers.get(at)?),
            SlotValues::Whole(Column::Texts { index, .. }) => StoredValue::Text(*index.get(at)?),
            SlotValues::Packed(column) => match column.number(at) {
                Some(number) => StoredValue::Number(number),
                None => {
                    if self.listed == UNKNOWN {
                        self.listed = column.listed_before(at);
                    }
                    StoredValue::Text(column.text_number(at, &mut self.listed)?)
                }
            },
        })
    }
}

impl<'p> SlotValues<'p> {
    fn read(page: &'p OpenValues, number: u32, access: Access) -> Result<Self, FormatError> {
        let encoding = page.dictionary.slots[number as usize].encoding;
        if encoding.value_kind() == ValueKind::None {
            return Ok(Self::Literal);
        }
        Ok(match access {
            Access::Whole => Self::Whole(page.values.whole_column(number, encoding)?.ok_or(DAMAGED)?),
            Access::Sparse => Self::Packed(page.values.column(number, encoding)?.ok_or(DAMAGED)?),
        })
    }
}

// === impl OpenValues ===

impl From<&OpenPage> for OpenValues {
    fn from(page: &OpenPage) -> Self {
        let OpenPage { dictionary, texts, core, values, .. } = page.clone();
        Self { dictionary, texts, core, values }
    }
}
