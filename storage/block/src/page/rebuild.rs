//! Rebuilds the wire bytes of spans from slots and values, exactly as they were sent.

use std::ops::Range;

use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::{put_varint, varint_length};

use super::cursor::{RowCursor, UNKNOWN};
use super::key_order::KeyOrder;
use super::open_page::OpenPage;
use crate::format::FormatError;
use crate::shape::{EVENTS, FieldEncoding, Slot, ValueKind};

/// Rebuilds the spans of consecutive rows of a page, in stored order or in key order.
#[derive(Debug, Clone)]
pub struct Rebuilder {
    page: OpenPage,
    at: RowCursor,
    /// The rows that are read in key order.
    run: Option<KeyOrder>,
    nested: Vec<u8>,
}

const DAMAGED: FormatError = FormatError::Damaged("values of a page");
/// Up to this distance, rows are skipped one by one instead of counting all rows in front of the target.
const NEAR: usize = 64;

// === impl Rebuilder ===

impl Rebuilder {
    /// Starts at a row of the page.
    pub fn new(page: OpenPage, row: usize) -> Self {
        let at = RowCursor::of(&page, row);
        Self { page, at, run: None, nested: Vec::new() }
    }

    /// The page that contains the rows.
    pub fn page(&self) -> &OpenPage {
        &self.page
    }

    /// The stored row that [`Self::next`] reads next.
    pub fn row(&self) -> usize {
        self.at.row
    }

    /// Moves to a row. Nearby rows are reached by skipping those between, because counting all rows in front of each
    /// row of a page would take time quadratic in its rows.
    pub fn seek(&mut self, row: usize) {
        if let Some(run) = self.run.take() {
            run.leave(&mut self.at);
        }
        while self.at.row < row && row - self.at.row <= NEAR {
            self.at.pass(&self.page, &mut |_| {});
        }
        if row != self.at.row {
            self.at = RowCursor::of(&self.page, row);
        }
    }

    /// Moves to the rows of one trace, which the next calls return in key order.
    pub fn order_by_key(&mut self, rows: Range<usize>) {
        self.seek(rows.start);
        self.run = KeyOrder::begin(&self.page, rows, &mut self.at);
    }

    /// Moves to a row, given the number of events and links in front of its own, and for each of its values the number
    /// of values of its slot in front of it, in the order of the values.
    pub(crate) fn seek_to(
        &mut self,
        row: usize,
        (events, links): (usize, usize),
        values: impl DoubleEndedIterator<Item = (u32, u32)>,
    ) {
        self.run = None;
        (self.at.row, self.at.events, self.at.links) = (row, events, links);
        // Reversed, so that the position of a slot's first value in the row is set last and stays.
        values.rev().for_each(|(slot, taken)| self.at.set(slot, taken, UNKNOWN));
    }

    /// Appends the span of the next row, which belongs to a trace, and moves on.
    pub fn next(&mut self, trace: TraceId, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.write(trace, out).ok_or(DAMAGED)?;
        if let Some(run) = &mut self.run
            && !run.advance(&mut self.at)
        {
            self.run = None;
        }
        Ok(())
    }

    /// Like [`Self::next`], but does not move on.
    pub(crate) fn peek(&mut self, trace: TraceId, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let here = self.at.clone();
        let peeked = self.write(trace, out);
        self.at = here;
        peeked.ok_or(DAMAGED)
    }

    fn write(&mut self, trace: TraceId, out: &mut Vec<u8>) -> Option<()> {
        let Self { page, at, nested: scratch, .. } = self;
        let OpenPage { dictionary, core, ids, values, .. } = &*page;
        let row = at.row;
        let class = dictionary.classes.get(*core.class.get(row)? as usize)?;
        let shape = dictionary.shapes.get(class.shape as usize)?;
        let start = core.start[row];
        for &number in &shape.slots {
            let slot = dictionary.slots.get(number as usize)?;
            match slot.encoding {
                FieldEncoding::TraceId => put_field(out, slot, trace.as_bytes()),
                FieldEncoding::SpanId => put_field(out, slot, &ids.span_id.get(row)?.to_be_bytes()),
                FieldEncoding::Parent => put_field(out, slot, &ids.parent.get(row)?.to_be_bytes()),
                FieldEncoding::Name => {
                    put_field(out, slot, dictionary.operations.get(class.operation as usize)?.1.as_bytes());
                }
                FieldEncoding::Start => put_fixed64(out, slot, start),
                FieldEncoding::End => put_fixed64(out, slot, start.wrapping_add(core.duration[row])),
                FieldEncoding::Nested => {
                    let (shapes, behind) = match slot.field {
                        EVENTS => (&values.events, &mut at.events),
                        _ => (&values.links, &mut at.links),
                    };
                    let shape = dictionary.shapes.get(*shapes.get(*behind)? as usize)?;
                    *behind += 1;
                    scratch.clear();
                    for &number in &shape.slots {
                        let slot = dictionary.slots.get(number as usize)?;
                        page.put_value(scratch, slot, number, at, start)?;
                    }
                    put_field(out, slot, scratch);
                }
                _ => page.put_value(out, slot, number, at, start)?,
            }
        }
        at.row += 1;
        Some(())
    }
}

// === impl OpenPage ===

impl OpenPage {
    /// Appends a field with the next value of the slot.
    fn put_value(
        &self,
        out: &mut Vec<u8>,
        slot: &Slot,
        number: u32,
        at: &mut RowCursor,
        start: u64,
    ) -> Option<()> {
        if slot.encoding == FieldEncoding::Literal {
            out.extend_from_slice(&slot.name);
            return Some(());
        }
        let column = self.values.column(number, slot.encoding).ok()??;
        let place = at.taken[number as usize] as usize;
        at.taken[number as usize] += 1;
        if slot.encoding.value_kind() != ValueKind::Text {
            return put_number(out, slot, column.number(place)?, start);
        }
        let listed = &mut at.listed[number as usize];
        if *listed == UNKNOWN {
            *listed = column.listed_before(place);
        }
        put_text(out, slot, self.values.text(column.reference(place, listed)?, &self.texts).ok()?);
        Some(())
    }
}

fn put_number(out: &mut Vec<u8>, slot: &Slot, value: u64, start: u64) -> Option<()> {
    match slot.encoding {
        FieldEncoding::Varint => {
            put_varint(out, u64::from(slot.field) << 3);
            put_varint(out, value);
        }
        FieldEncoding::Fixed64 => put_fixed64(out, slot, value),
        FieldEncoding::Since => put_fixed64(out, slot, start.wrapping_add(value)),
        FieldEncoding::Fixed32 => {
            put_varint(out, u64::from(slot.field) << 3 | 5);
            out.extend_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
        }
        FieldEncoding::Int => {
            let length = varint_length(value);
            put_attribute(out, slot, 1 + length);
            out.push(0x18);
            put_varint(out, value);
        }
        FieldEncoding::Double => {
            put_attribute(out, slot, 9);
            out.push(0x21);
            out.extend_from_slice(&value.to_le_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn put_text(out: &mut Vec<u8>, slot: &Slot, text: &[u8]) {
    let tag = match slot.encoding {
        FieldEncoding::Verbatim => return out.extend_from_slice(text),
        FieldEncoding::Bytes => return put_field(out, slot, text),
        FieldEncoding::Status => {
            let length = 1 + varint_length(text.len() as u64) + text.len() + slot.name.len();
            put_varint(out, u64::from(slot.field) << 3 | 2);
            put_varint(out, length as u64);
            out.push(0x12);
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text);
            return out.extend_from_slice(&slot.name);
        }
        FieldEncoding::String => 0x0a,
        FieldEncoding::Array => 0x2a,
        FieldEncoding::KeyValues => 0x32,
        _ => 0x3a,
    };
    put_attribute(out, slot, 1 + varint_length(text.len() as u64) + text.len());
    out.push(tag);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Appends the beginning of an attribute, up to the field of its value.
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
