//! From slots and values back to the wire bytes of spans, as they came in.

use std::ops::Range;
use std::sync::Arc;

use spandrel_proto::otlp::wire::put_varint;
use spandrel_proto::{SpanId, TraceId};

use super::key_order::{KeyOrder, ValuePlace};
use super::packed::Column;
use super::read::{CorePage, IdsPage, TextTable, ValuesPage};
use super::row::Row;
use super::shape::{EVENTS, FieldEncoding, Level, Slot, ValueKind};
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::zone_map::ZoneMap;

/// A page with everything that its rows are made of.
#[derive(Debug, Clone)]
pub struct OpenPage {
    /// What rows refer to.
    pub dictionary: Arc<Dictionary>,
    /// Texts that the block's pages share.
    pub texts: Arc<TextTable>,
    /// The columns that every row has.
    pub core: Arc<CorePage>,
    /// Their IDs.
    pub ids: Arc<IdsPage>,
    /// The values of slots.
    pub values: Arc<ValuesPage>,
}

/// Writes the spans of consecutive rows of a page, as they stand or by their keys.
#[derive(Debug, Clone)]
pub struct Rebuilder {
    page: OpenPage,
    at: RowCursor,
    /// Rows that are read by their keys.
    run: Option<KeyOrder>,
    nested: Vec<u8>,
}

const UNKNOWN: u32 = u32::MAX;
const DAMAGED: FormatError = FormatError::Damaged("values of a page");
/// Rows that are passed to get to another one, rather than all in front of it counted.
const NEAR: usize = 64;

/// A row, and how much lies in front of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowCursor {
    pub(crate) row: usize,
    /// For each slot, its values.
    pub(crate) taken: Vec<u32>,
    /// For each slot of texts, how many of its column are listed; `UNKNOWN` until the column is read. Empty in a
    /// reader of whole columns.
    pub(crate) listed: Vec<u32>,
    pub(crate) events: usize,
    pub(crate) links: usize,
}

// === impl Rebuilder ===

impl Rebuilder {
    /// Begins at a row of the page.
    pub fn new(page: OpenPage, row: usize) -> Self {
        let at = RowCursor::of(&page, row);
        Self { page, at, run: None, nested: Vec::new() }
    }

    /// The page whose rows these are.
    pub fn page(&self) -> &OpenPage {
        &self.page
    }

    /// The row that comes next.
    pub fn row(&self) -> usize {
        self.at.row
    }

    /// Goes to a row. Counting what lies in front of it, for each row of a page, would cost the square of
    /// its rows: from a row that is near, those between are passed instead.
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

    /// Goes to rows of one trace, and gives them by their keys until all were given.
    pub fn order_by_key(&mut self, rows: Range<usize>) {
        self.seek(rows.start);
        self.run = KeyOrder::begin(&self.page, rows, &mut self.at);
    }

    /// Goes to one of the rows of a trace, which do not stand by their keys, by its place among the keys.
    pub(crate) fn seek_by_key(&mut self, rows: &Range<usize>, nth: usize) {
        if self.run.as_ref().is_none_or(|run| run.rows() != rows) {
            self.order_by_key(rows.clone());
        }
        if let Some(run) = &mut self.run {
            run.go_to(nth, &mut self.at);
        }
    }

    /// Appends the span of the next row, which belongs to a trace.
    pub fn next(&mut self, trace: TraceId, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.write(trace, out).ok_or(DAMAGED)?;
        if let Some(run) = &mut self.run
            && !run.advance(&mut self.at)
        {
            self.run = None;
        }
        Ok(())
    }

    /// The same, and the row still comes next.
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

// === impl RowCursor ===

impl RowCursor {
    /// Counts the values of all rows in front of one.
    pub(crate) fn of(page: &OpenPage, row: usize) -> Self {
        let OpenPage { dictionary, core, values, .. } = page;
        let mut counts = vec![0u64; dictionary.slots.len()];
        let mut classes = vec![0u64; dictionary.classes.len()];
        core.class.iter().take(row).for_each(|class| classes[*class as usize] += 1);
        for (class, times) in dictionary.classes.iter().zip(classes).filter(|(_, times)| *times > 0) {
            dictionary.count_slots(class.shape, times, &mut counts);
        }
        let [events, links] = dictionary.nested(&counts).map(|count| count as usize);
        for shape in values.events.iter().take(events).chain(values.links.iter().take(links)) {
            dictionary.count_slots(*shape, 1, &mut counts);
        }
        let taken: Vec<u32> = counts.into_iter().map(|count| count as u32).collect();
        let listed = vec![UNKNOWN; taken.len()];
        Self { row, taken, listed, events, links }
    }

    /// Passes over the row; tells where each of its values is.
    pub(crate) fn pass(&mut self, page: &OpenPage, tell: &mut impl FnMut(ValuePlace)) {
        if let Some(class) = page.core.class.get(self.row) {
            self.pass_message(page, page.dictionary.classes[*class as usize].shape, tell);
        }
        self.row += 1;
    }

    fn pass_message(&mut self, page: &OpenPage, shape: u32, tell: &mut impl FnMut(ValuePlace)) {
        for &number in &page.dictionary.shapes[shape as usize].slots {
            let slot = &page.dictionary.slots[number as usize];
            if slot.encoding.value_kind() != ValueKind::None {
                let taken = self.taken[number as usize];
                self.taken[number as usize] += 1;
                tell(ValuePlace { slot: number, taken, listed: self.pass_text(page, slot, number, taken) });
            } else if slot.encoding == FieldEncoding::Nested && slot.level == Level::Span {
                let (shapes, behind) = match slot.field {
                    EVENTS => (&page.values.events, &mut self.events),
                    _ => (&page.values.links, &mut self.links),
                };
                let nested = shapes.get(*behind).copied();
                *behind += 1;
                nested.into_iter().for_each(|shape| self.pass_message(page, shape, tell));
            }
        }
    }

    /// How many texts are listed in front of one, and behind.
    fn pass_text(&mut self, page: &OpenPage, slot: &Slot, number: u32, taken: u32) -> (u32, u32) {
        let Some(listed) = self.listed.get_mut(number as usize) else { return (UNKNOWN, UNKNOWN) };
        if slot.encoding.value_kind() != ValueKind::Text {
            return (UNKNOWN, UNKNOWN);
        }
        // Damage is reported when the value itself is read.
        let Ok(Some(column)) = page.values.column(number, slot.encoding) else { return (UNKNOWN, UNKNOWN) };
        if *listed == UNKNOWN {
            *listed = column.listed_before(taken as usize);
        }
        let before = *listed;
        let _ = column.reference(taken as usize, listed);
        (before, *listed)
    }

    /// Sets what lies in front of a value.
    pub(crate) fn set(&mut self, slot: u32, taken: u32, listed: u32) {
        self.taken[slot as usize] = taken;
        if let Some(known) = self.listed.get_mut(slot as usize) {
            *known = listed;
        }
    }
}

// === impl OpenPage ===

impl OpenPage {
    /// What its columns say of a row that it has.
    pub(crate) fn row(&self, at: usize) -> Row {
        let Self { core, ids, .. } = self;
        Row {
            class: core.class[at],
            resource_scope: core.resource_scope[at],
            start: core.start[at],
            duration: core.duration[at],
            sequence: core.sequence[at],
            span_id: SpanId::from_bytes(ids.span_id[at].to_be_bytes()),
            parent: ids.parent[at],
        }
    }

    /// The rows of a run: those of one trace.
    pub(crate) fn run(&self, number: usize) -> Range<usize> {
        let begin = |run: usize| self.core.traces.get(run).map_or(self.core.rows(), |begin| *begin as usize);
        begin(number)..begin(number + 1)
    }

    /// The run of a row.
    pub fn run_of(&self, row: usize) -> Range<usize> {
        let behind = self.core.traces.partition_point(|begin| *begin as usize <= row);
        self.run(behind.saturating_sub(1))
    }

    /// Rows of one trace by start and span ID; of spans that have both in common, by commit, and then as they came.
    /// Nothing where they stand so.
    pub(crate) fn order_by_key(&self, rows: Range<usize>) -> Option<Vec<u32>> {
        if rows.clone().is_sorted_by_key(|row| self.key_in_trace(row)) {
            return None;
        }
        let mut order: Vec<u32> = rows.map(|row| row as u32).collect();
        // As they came is as they stand: `tree.rs` leaves them so.
        order.sort_by_key(|row| self.key_in_trace(*row as usize));
        Some(order)
    }

    fn key_in_trace(&self, row: usize) -> (u64, u64, u64) {
        (self.core.start[row], self.ids.span_id[row], self.core.sequence[row])
    }

    /// The bounds of what it holds.
    pub(crate) fn zone(&self) -> Result<ZoneMap, FormatError> {
        let Self { core, dictionary, values, .. } = self;
        let mut numbers = Vec::new();
        for (at, slot) in dictionary.slots.iter().enumerate().filter(|(_, slot)| ZoneMap::is_bounded(slot)) {
            if let Some(Column::Numbers(column)) = values.decode_column(at as u32, slot.encoding)? {
                numbers.push((at as u32, slot.encoding, column));
            }
        }
        let numbers = numbers.iter().map(|(at, encoding, column)| (*at, *encoding, column.as_slice()));
        Ok(ZoneMap::of(&core.class, &core.start, &core.duration, numbers))
    }

    /// Appends a field with the slot's next value.
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
