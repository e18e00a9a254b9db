//! From slots and values back to the wire bytes of spans, as they came in.

use std::sync::Arc;

use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::put_varint;

use super::read::{Column, CorePage, IdsPage, TextTable, ValuesPage};
use super::shape::{Form, Level, Slot};
use crate::dictionary::Dictionary;
use crate::format::FormatError;

/// Writes the spans of consecutive rows of a page.
pub struct Rebuilder {
    dictionary: Arc<Dictionary>,
    shared: Arc<TextTable>,
    core: Arc<CorePage>,
    ids: Arc<IdsPage>,
    values: Arc<ValuesPage>,
    row: usize,
    /// For each slot, how many of its values are behind.
    taken: Vec<u32>,
    events: usize,
    links: usize,
    nested: Vec<u8>,
}

// === impl Rebuilder ===

impl Rebuilder {
    /// Begins at a row of the page.
    pub fn new(
        dictionary: Arc<Dictionary>,
        shared: Arc<TextTable>,
        core: Arc<CorePage>,
        ids: Arc<IdsPage>,
        values: Arc<ValuesPage>,
        row: usize,
    ) -> Self {
        let taken = vec![0; dictionary.slots.len()];
        let mut this =
            Self { dictionary, shared, core, ids, values, row, taken, events: 0, links: 0, nested: Vec::new() };
        this.seek(row);
        this
    }

    /// Counts the values of all rows in front.
    fn seek(&mut self, row: usize) {
        let (mut counts, mut nested) = (vec![0u64; self.taken.len()], [0, 0]);
        let mut classes = vec![0u64; self.dictionary.classes.len()];
        self.core.class.iter().take(row).for_each(|class| classes[*class as usize] += 1);
        for (class, times) in self.dictionary.classes.iter().zip(classes).filter(|(_, times)| *times > 0) {
            self.dictionary.count_slots(class.shape, times, &mut counts, &mut nested);
        }
        [self.events, self.links] = nested.map(|count| count as usize);
        let behind = self.values.events.iter().take(self.events).chain(self.values.links.iter().take(self.links));
        for shape in behind {
            self.dictionary.count_slots(*shape, 1, &mut counts, &mut [0, 0]);
        }
        self.taken = counts.into_iter().map(|count| count as u32).collect();
    }

    /// The row that comes next.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Passes over rows; cheap for few.
    pub fn skip_to(&mut self, row: usize) {
        if row > self.row {
            self.row = row;
            self.seek(row);
        }
    }

    /// Appends the span of the next row, which belongs to a trace.
    pub fn next(&mut self, trace: TraceId, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.write(trace, out).ok_or(FormatError::Damaged("values of a page"))
    }

    fn write(&mut self, trace: TraceId, out: &mut Vec<u8>) -> Option<()> {
        let dictionary = self.dictionary.clone();
        let class = dictionary.classes.get(*self.core.class.get(self.row)? as usize)?;
        let shape = dictionary.shapes.get(class.shape as usize)?;
        let start = self.core.start[self.row];
        for &number in &shape.slots {
            let slot = dictionary.slots.get(number as usize)?;
            match slot.form {
                Form::TraceId => put_field(out, slot, trace.as_bytes()),
                Form::SpanId => put_field(out, slot, &self.ids.span_id.get(self.row)?.to_be_bytes()),
                Form::Parent => put_field(out, slot, &self.ids.parent.get(self.row)?.to_be_bytes()),
                Form::Name => {
                    put_field(out, slot, dictionary.operations.get(class.operation as usize)?.1.as_bytes());
                }
                Form::Start => put_fixed64(out, slot, start),
                Form::End => put_fixed64(out, slot, start.wrapping_add(self.core.duration[self.row])),
                Form::Nested => {
                    let values = self.values.clone();
                    let (shapes, at) = match slot.field {
                        11 => (&values.events, &mut self.events),
                        _ => (&values.links, &mut self.links),
                    };
                    let shape = dictionary.shapes.get(*shapes.get(*at)? as usize)?;
                    *at += 1;
                    let mut nested = std::mem::take(&mut self.nested);
                    nested.clear();
                    for &number in &shape.slots {
                        let slot = dictionary.slots.get(number as usize)?;
                        self.value(&mut nested, slot, number, start)?;
                    }
                    put_field(out, slot, &nested);
                    self.nested = nested;
                }
                _ => self.value(out, slot, number, start)?,
            }
        }
        self.row += 1;
        Some(())
    }

    /// Appends a field with the slot's next value.
    fn value(&mut self, out: &mut Vec<u8>, slot: &Slot, number: u32, start: u64) -> Option<()> {
        if slot.form == Form::Literal {
            out.extend_from_slice(&slot.name);
            return Some(());
        }
        let at = &mut self.taken[number as usize];
        let column = self.values.column(number, slot.form).ok()??;
        match column {
            Column::Numbers(numbers) => {
                let value = *numbers.get(*at as usize)?;
                *at += 1;
                put_number(out, slot, value, start)
            }
            Column::Texts { references, index } => {
                let reference = *references.get(*index.get(*at as usize)? as usize)?;
                *at += 1;
                put_text(out, slot, self.values.text(reference, &self.shared).ok()?);
                Some(())
            }
        }
    }
}

fn put_number(out: &mut Vec<u8>, slot: &Slot, value: u64, start: u64) -> Option<()> {
    match slot.form {
        Form::Varint => {
            put_varint(out, u64::from(slot.field) << 3);
            put_varint(out, value);
        }
        Form::Fixed64 => put_fixed64(out, slot, value),
        Form::Since => put_fixed64(out, slot, start.wrapping_add(value)),
        Form::Fixed32 => {
            put_varint(out, u64::from(slot.field) << 3 | 5);
            out.extend_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
        }
        Form::Int => {
            let length = varint_length(value);
            put_attribute(out, slot, 1 + length);
            out.push(0x18);
            put_varint(out, value);
        }
        Form::Double => {
            put_attribute(out, slot, 9);
            out.push(0x21);
            out.extend_from_slice(&value.to_le_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn put_text(out: &mut Vec<u8>, slot: &Slot, text: &[u8]) {
    let tag = match slot.form {
        Form::Verbatim => return out.extend_from_slice(text),
        Form::Bytes => return put_field(out, slot, text),
        Form::Status => {
            let length = 1 + varint_length(text.len() as u64) + text.len() + slot.name.len();
            put_varint(out, u64::from(slot.field) << 3 | 2);
            put_varint(out, length as u64);
            out.push(0x12);
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text);
            return out.extend_from_slice(&slot.name);
        }
        Form::String => 0x0a,
        Form::Array => 0x2a,
        Form::KeyValues => 0x32,
        _ => 0x3a,
    };
    put_attribute(out, slot, 1 + varint_length(text.len() as u64) + text.len());
    out.push(tag);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// The beginning of an attribute, up to its value's own field.
fn put_attribute(out: &mut Vec<u8>, slot: &Slot, value: usize) {
    let key = &slot.name;
    let length = 2 + varint_length(key.len() as u64) + key.len() + varint_length(value as u64) + value;
    put_varint(out, u64::from(slot.field) << 3 | 2);
    put_varint(out, length as u64);
    out.push(0x0a);
    put_varint(out, key.len() as u64);
    out.extend_from_slice(key);
    out.push(0x12);
    put_varint(out, value as u64);
}

fn put_field(out: &mut Vec<u8>, slot: &Slot, bytes: &[u8]) {
    put_varint(out, u64::from(slot.field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_fixed64(out: &mut Vec<u8>, slot: &Slot, value: u64) {
    put_varint(out, u64::from(slot.field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn varint_length(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Only spans have events and links.
pub(crate) fn nests(slot: &Slot) -> Option<usize> {
    (slot.form == Form::Nested && slot.level == Level::Span).then_some(usize::from(slot.field != 11))
}
