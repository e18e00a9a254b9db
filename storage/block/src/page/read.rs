//! Reads pages: decodes sections into columns, and values only when a column is needed.

use std::sync::OnceLock;

use bytes::Bytes;

use super::ints::{self, take_slice, take_varint};
use super::packed::{Column, PackedColumn};
use crate::compression::decompress;
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::shape::{FieldEncoding, ValueKind};

/// The columns that most queries need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorePage {
    /// Index into the dictionary's classes.
    pub class: Vec<u32>,
    /// Index into the dictionary's pairs of resource and scope.
    pub resource_scope: Vec<u32>,
    /// Nanoseconds since the epoch.
    pub start: Vec<u64>,
    /// End minus start in nanoseconds, wrapping.
    pub duration: Vec<u64>,
    /// The sequence number of the commit that stored the span.
    pub sequence: Vec<u64>,
    /// The first row of each trace.
    pub traces: Vec<u32>,
}

/// Span IDs and parents of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdsPage {
    /// Big-endian span ID of each row.
    pub span_id: Vec<u64>,
    /// Big-endian span ID of each row's parent; zero without a parent.
    pub parent: Vec<u64>,
}

/// Values of slots. A column is decoded at its first use.
#[derive(Debug)]
pub struct ValuesPage {
    /// Shapes of all events, in the order of their spans.
    pub events: Vec<u32>,
    /// Shapes of all links.
    pub links: Vec<u32>,
    bytes: Bytes,
    /// By slot, the number of its column, counted from 1; 0 for none.
    places: Vec<u32>,
    columns: Vec<LazyColumn>,
    /// Estimated size of all columns after decoding, in bytes.
    decoded: usize,
    texts: std::ops::Range<usize>,
    local: OnceLock<Option<TextTable>>,
}

#[derive(Debug)]
struct LazyColumn {
    range: std::ops::Range<usize>,
    values: u32,
    decoded: OnceLock<Option<PackedColumn>>,
}

/// A table of texts, which are referred to by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextTable {
    bytes: Bytes,
    ends: Vec<u32>,
}

/// The largest number of values of a page: pages are cut by size long before, and a damaged shape must not make a
/// reader allocate without bound.
const MAX_VALUES: u64 = 1 << 24;
/// The assumed ratio of decompressed to stored texts of a page; it is six in our corpora.
const TEXT_EXPANSION: usize = 8;

// === impl CorePage ===

impl CorePage {
    /// Decodes the section and checks every index.
    pub fn decode(bytes: &[u8], dictionary: &Dictionary) -> Result<Self, FormatError> {
        Self::read(bytes, dictionary).ok_or(FormatError::Damaged("core of a page"))
    }

    fn read(mut bytes: &[u8], dictionary: &Dictionary) -> Option<Self> {
        let bytes = &mut bytes;
        let rows = count(bytes)?;
        let traces = count(bytes).filter(|traces| *traces <= rows)?;
        let class = ints::decode_u32(bytes, rows, dictionary.classes.len())?;
        let resource_scope = ints::decode_u32(bytes, rows, dictionary.resource_scopes.len())?;
        let lengths = ints::decode(bytes, traces)?;
        let firsts = ints::decode(bytes, traces)?;
        let deltas = ints::decode(bytes, rows - traces)?;
        let mut page = Self {
            class,
            resource_scope,
            start: Vec::with_capacity(rows),
            duration: Vec::new(),
            sequence: Vec::new(),
            traces: Vec::with_capacity(traces),
        };
        let mut deltas = deltas.into_iter();
        for (length, first) in lengths.into_iter().zip(firsts) {
            let rest = usize::try_from(length).ok()?.checked_sub(1)?;
            page.traces.push(page.start.len() as u32);
            let mut last = first;
            page.start.push(first);
            if rest > deltas.len() {
                return None;
            }
            page.start.extend(deltas.by_ref().take(rest).map(|delta| {
                last = last.wrapping_add(delta);
                last
            }));
        }
        if page.start.len() != rows {
            return None;
        }
        page.duration = ints::decode(bytes, rows)?;
        page.sequence = ints::decode(bytes, rows)?;
        bytes.is_empty().then_some(page)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.class.len()
    }

    /// For each class of the dictionary, the number of rows.
    pub fn class_counts(&self, dictionary: &Dictionary) -> Vec<u32> {
        let mut counts = vec![0; dictionary.classes.len()];
        self.class.iter().for_each(|class| counts[*class as usize] += 1);
        counts
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        self.rows() * 32 + self.traces.len() * 4
    }
}

fn count(bytes: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(take_varint(bytes)?).ok()?;
    (count <= super::MAX_ROWS).then_some(count)
}

// === impl IdsPage ===

impl IdsPage {
    /// Decodes the section of a page with that many rows.
    pub fn decode(bytes: &[u8], rows: usize) -> Result<Self, FormatError> {
        Self::read(bytes, rows).ok_or(FormatError::Damaged("IDs of a page"))
    }

    fn read(mut bytes: &[u8], rows: usize) -> Option<Self> {
        let bytes = &mut bytes;
        let ids = take_slice(bytes, rows.checked_mul(8)?)?;
        let span_id: Vec<u64> = ids.as_chunks::<8>().0.iter().map(|id| u64::from_be_bytes(*id)).collect();
        let codes = ints::decode(bytes, rows)?;
        let mut parent = Vec::with_capacity(rows);
        for (row, code) in codes.into_iter().enumerate() {
            parent.push(match code {
                0 => 0,
                1 => u64::from_be_bytes(*take_slice(bytes, 8)?.first_chunk()?),
                code => {
                    let zigzag = code - 2;
                    let distance = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                    let at = usize::try_from((row as i64).checked_sub(distance)?).ok()?;
                    *span_id.get(at)?
                }
            });
        }
        bytes.is_empty().then_some(Self { span_id, parent })
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        self.span_id.len() * 16
    }
}

// === impl ValuesPage ===

impl ValuesPage {
    /// Reads the directory of the columns of a page with this core.
    pub fn open(bytes: Bytes, core: &CorePage, dictionary: &Dictionary) -> Result<Self, FormatError> {
        Self::read(bytes, core, dictionary).ok_or(FormatError::Damaged("values of a page"))
    }

    fn read(bytes: Bytes, core: &CorePage, dictionary: &Dictionary) -> Option<Self> {
        let mut rest: &[u8] = &bytes;
        let rest = &mut rest;
        let mut counts = vec![0u64; dictionary.slots.len()];
        let classes = core.class_counts(dictionary);
        for (class, times) in dictionary.classes.iter().zip(classes).filter(|(_, times)| *times > 0) {
            dictionary.count_slots(class.shape, u64::from(times), &mut counts);
        }
        let nested = dictionary.nested(&counts);
        let mut shapes = [Vec::new(), Vec::new()];
        for (shapes, expected) in shapes.iter_mut().zip(nested) {
            let known = take_varint(rest)?;
            if known != expected || known > MAX_VALUES {
                return None;
            }
            *shapes = ints::decode_u32(rest, known as usize, dictionary.shapes.len())?;
            shapes.iter().for_each(|shape| dictionary.count_slots(*shape, 1, &mut counts));
        }
        // Nesting has one level: an event contains no events.
        if dictionary.nested(&counts) != nested {
            return None;
        }
        let [events, links] = shapes;
        let known = usize::try_from(take_varint(rest)?).ok().filter(|known| *known <= counts.len())?;
        let mut lengths = Vec::with_capacity(known);
        let mut slot = 0usize;
        for at in 0..known {
            let step = usize::try_from(take_varint(rest)?).ok()?;
            slot = slot.checked_add(step).filter(|_| step > 0 || at == 0)?;
            lengths.push((slot, usize::try_from(take_varint(rest)?).ok()?));
        }
        let (mut places, mut columns) = (vec![0; counts.len()], Vec::with_capacity(known));
        for (slot, length) in lengths {
            let begin = bytes.len() - rest.len();
            take_slice(rest, length).filter(|column| !column.is_empty())?;
            let values = u32::try_from(*counts.get(slot)?).ok()?;
            columns.push(LazyColumn { range: begin..begin + length, values, decoded: OnceLock::new() });
            places[slot] = columns.len() as u32;
        }
        let (mut all, mut decoded) = (0, 0usize);
        for ((place, slot), values) in places.iter().zip(&dictionary.slots).zip(counts) {
            let has_column = slot.encoding.value_kind() != ValueKind::None && values > 0;
            all += if has_column { values } else { 0 };
            if all > MAX_VALUES || has_column != (*place > 0) {
                return None;
            }
            if let Some(column) = (*place as usize).checked_sub(1).and_then(|at| columns.get(at)) {
                let stored = &bytes[column.range.clone()];
                let estimate = PackedColumn::estimate(stored, values as usize, slot.encoding);
                decoded = decoded.saturating_add(estimate);
            }
        }
        let texts = bytes.len() - rest.len()..bytes.len();
        let local = OnceLock::new();
        Some(Self { events, links, places, columns, decoded, texts, local, bytes: bytes.clone() })
    }

    fn lazy(&self, slot: u32) -> Option<&LazyColumn> {
        let place = *self.places.get(slot as usize)?;
        self.columns.get((place as usize).checked_sub(1)?)
    }

    /// Whether the page has values of a slot.
    pub(crate) fn has_column(&self, slot: u32) -> bool {
        self.lazy(slot).is_some()
    }

    /// The packed values of a slot, kept for the next caller; `None` if the page has none.
    pub fn column(&self, slot: u32, encoding: FieldEncoding) -> Result<Option<&PackedColumn>, FormatError> {
        let Some(column) = self.lazy(slot) else { return Ok(None) };
        let decoded = column.decoded.get_or_init(|| self.packed(column, encoding));
        decoded.as_ref().map(Some).ok_or(FormatError::Damaged("column"))
    }

    /// Like [`Self::column`], but unpacked; the packed column is kept for the next caller.
    pub fn whole_column(&self, slot: u32, encoding: FieldEncoding) -> Result<Option<Column>, FormatError> {
        let (Some(packed), Some(lazy)) = (self.column(slot, encoding)?, self.lazy(slot)) else {
            return Ok(None);
        };
        let column = packed.clone().into_column(lazy.values);
        column.map(Some).ok_or(FormatError::Damaged("column"))
    }

    /// Like [`Self::whole_column`], but keeps nothing, for readers that read a page once.
    pub fn decode_column(&self, slot: u32, encoding: FieldEncoding) -> Result<Option<Column>, FormatError> {
        let Some(column) = self.lazy(slot) else { return Ok(None) };
        let decoded = self.packed(column, encoding).and_then(|packed| packed.into_column(column.values));
        decoded.map(Some).ok_or(FormatError::Damaged("column"))
    }

    fn packed(&self, column: &LazyColumn, encoding: FieldEncoding) -> Option<PackedColumn> {
        PackedColumn::decode(&self.bytes.slice(column.range.clone()), column.values as usize, encoding)
    }

    /// The texts that only this page uses.
    pub fn local_texts(&self) -> Result<&TextTable, FormatError> {
        let decoded = self.local.get_or_init(|| TextTable::read(&self.bytes.slice(self.texts.clone())));
        decoded.as_ref().ok_or(FormatError::Damaged("texts of a page"))
    }

    /// The number of a reference's text in the table that the block's pages share; `None` for a text of this page.
    pub fn shared_text(reference: u32) -> Option<u32> {
        (reference & 1 == 0).then_some(reference >> 1)
    }

    /// The text of a reference.
    pub fn text<'t>(&'t self, reference: u32, shared: &'t TextTable) -> Result<&'t [u8], FormatError> {
        let table = if reference & 1 == 1 { self.local_texts()? } else { shared };
        table.get(reference >> 1).ok_or(FormatError::Damaged("column"))
    }

    /// Estimated bytes in memory once every column and text is decoded.
    pub fn size(&self) -> usize {
        let texts = self.texts.len() * TEXT_EXPANSION;
        let columns = self.places.len() * 4 + self.columns.len() * size_of::<LazyColumn>() + self.decoded;
        self.bytes.len() + columns + texts + (self.events.len() + self.links.len()) * 4
    }
}

// === impl TextTable ===

impl TextTable {
    /// Decodes a table from its section.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::read(&Bytes::copy_from_slice(bytes)).ok_or(FormatError::Damaged("texts"))
    }

    /// Texts that are not compressed stay where they are.
    fn read(source: &Bytes) -> Option<Self> {
        let bytes = &mut &source[..];
        let count = usize::try_from(take_varint(bytes)?).ok().filter(|count| *count as u64 <= MAX_VALUES)?;
        let lengths = ints::decode(bytes, count)?;
        let length = usize::try_from(take_varint(bytes)?).ok()?;
        let stored = usize::try_from(take_varint(bytes)?).ok()?;
        let stored = take_slice(bytes, stored).filter(|_| bytes.is_empty())?;
        let bytes = match stored.len() == length {
            true => source.slice_ref(stored),
            false => decompress(stored, length)?.into(),
        };
        let mut end = 0u64;
        let mut ends = Vec::with_capacity(count);
        for length in lengths {
            end = end.checked_add(length)?;
            ends.push(u32::try_from(end).ok()?);
        }
        (end == bytes.len() as u64).then_some(Self { bytes, ends })
    }

    /// The text with a number; `None` if there is none.
    pub fn get(&self, number: u32) -> Option<&[u8]> {
        let number = number as usize;
        let end = *self.ends.get(number)? as usize;
        let begin = if number == 0 { 0 } else { self.ends[number - 1] as usize };
        self.bytes.get(begin..end)
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the table has no texts.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * 4
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spandrel_proto::otlp::wire::put_varint;

    use super::*;
    use crate::shape::{Class, Level, Shape, Slot};

    /// A dictionary with one operation, one pair of resource and scope, and classes of shapes with these slots.
    fn dictionary(encodings: &[FieldEncoding], shapes: &[&[u32]]) -> Dictionary {
        let slot = |encoding: &FieldEncoding| Slot {
            level: Level::Span,
            encoding: *encoding,
            field: 11,
            name: Bytes::from_static(b"k"),
        };
        let shape = |slots: &&[u32]| Shape { flags: 0, slots: slots.to_vec() };
        Dictionary {
            services: vec!["s".to_owned()],
            operations: vec![(0, "o".to_owned())],
            resources: vec![Bytes::new()],
            resource_services: vec![0],
            scopes: vec![Bytes::new()],
            resource_scopes: vec![(0, 0)],
            slots: encodings.iter().map(slot).collect(),
            shapes: shapes.iter().map(shape).collect(),
            classes: (0..shapes.len() as u32).map(|shape| Class { operation: 0, shape }).collect(),
        }
    }

    /// The bytes of a core whose columns are constant.
    fn core(rows: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, rows);
        put_varint(&mut out, 1);
        // Class, resource and scope, length of the one trace, its first start, differences, duration, sequence.
        for value in [0, 0, rows, 7, 1, 2, 3] {
            out.push(0);
            put_varint(&mut out, value);
        }
        out
    }

    /// The bytes of values without events, links and texts, with these columns by slot.
    fn values(columns: &[(u64, &[u8])]) -> Bytes {
        let mut out = vec![0, 0, 0, 0, 0, 0];
        put_varint(&mut out, columns.len() as u64);
        for (step, bytes) in columns {
            put_varint(&mut out, *step);
            put_varint(&mut out, bytes.len() as u64);
        }
        columns.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
        out.extend_from_slice(&[0, 0, 0, 0, 0]);
        out.into()
    }

    #[test]
    fn few_bytes_stand_for_many_equal_values() {
        let dictionary = dictionary(&[FieldEncoding::Varint, FieldEncoding::Varint], &[&[1, 1, 1]]);
        let core = CorePage::decode(&core(16_384), &dictionary).unwrap();
        assert_eq!((core.rows(), core.start[0], core.start[2]), (16_384, 7, 9));
        let page = ValuesPage::open(values(&[(1, &[0, 9])]), &core, &dictionary).unwrap();
        assert_eq!(page.column(0, FieldEncoding::Varint), Ok(None));
        assert_eq!(
            page.decode_column(1, FieldEncoding::Varint),
            Ok(Some(Column::Numbers(vec![9; 3 * 16_384])))
        );
        assert!(page.local_texts().unwrap().is_empty());
    }

    #[test]
    fn but_not_for_more_than_a_page_has() {
        assert!(CorePage::decode(&core(16_385), &dictionary(&[], &[&[]])).is_err());
        // 2,000 values of one slot in each of 16,384 rows; then as many of two slots together.
        for encodings in [&[FieldEncoding::Varint][..], &[FieldEncoding::Varint, FieldEncoding::Fixed64]] {
            let slots: Vec<u32> = (0..2_000).map(|at| at % encodings.len() as u32).collect();
            let dictionary = dictionary(encodings, &[&slots]);
            let core = CorePage::decode(&core(16_384), &dictionary).unwrap();
            let columns = [(0, &[0, 9][..]), (1, &[0, 9])];
            assert!(ValuesPage::open(values(&columns[..encodings.len()]), &core, &dictionary).is_err());
        }
        // Events without a row, and a wrong number of events.
        let dictionary = dictionary(&[FieldEncoding::Nested], &[&[0], &[]]);
        let core = CorePage::decode(&core(2), &dictionary).unwrap();
        let with = |events: u8, shape: u8| {
            ValuesPage::open(vec![events, 0, shape, 0, 0, 0, 0, 0, 0, 0, 0, 0].into(), &core, &dictionary)
        };
        assert_eq!(with(2, 1).unwrap().events, [1, 1]);
        assert!(with(3, 1).is_err() && with(2, 2).is_err(), "an event of no shape");
        assert!(with(2, 0).is_err(), "an event with events");
    }

    #[test]
    fn columns_and_slots_have_to_agree() {
        let dictionary = dictionary(&[FieldEncoding::Varint, FieldEncoding::Literal], &[&[0, 1]]);
        let core = CorePage::decode(&core(2), &dictionary).unwrap();
        let open = |columns: &[(u64, &[u8])]| ValuesPage::open(values(columns), &core, &dictionary);
        assert!(open(&[(0, &[0, 9])]).is_ok());
        assert!(open(&[]).is_err(), "values without a column");
        assert!(open(&[(0, &[0, 9]), (1, &[0, 9])]).is_err(), "a column of what has no values");
        assert!(open(&[(0, &[0, 9]), (9, &[0, 9])]).is_err(), "a column of no slot");
        assert!(open(&[(0, &[0, 9]), (0, &[0, 9])]).is_err(), "a column twice");
        let trailing = open(&[(0, &[0, 9, 0])]).unwrap();
        assert_eq!(trailing.column(0, FieldEncoding::Varint), Err(FormatError::Damaged("column")));
    }

    #[test]
    fn parents_lie_within_the_page() {
        let ids = |code: u8| {
            let mut bytes = [1u64, 2].map(u64::to_be_bytes).concat();
            bytes.extend_from_slice(&[0, code]);
            IdsPage::decode(&bytes, 2).map(|ids| ids.parent)
        };
        assert_eq!(ids(0), Ok(vec![0, 0]));
        assert_eq!(ids(2), Ok(vec![1, 2]));
        assert!(ids(1).is_err(), "a raw parent that is not there");
        assert!(ids(4).is_err() && ids(3).is_err(), "a parent before the first or behind the last row");
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..120), rows in 0usize..4) {
            let dictionary = dictionary(&[FieldEncoding::Varint, FieldEncoding::String, FieldEncoding::Nested], &[&[0, 1], &[1, 2]]);
            let _ = (TextTable::decode(&bytes), IdsPage::decode(&bytes, rows));
            if let Ok(core) = CorePage::decode(&bytes, &dictionary) {
                prop_assert_eq!((core.start.len(), core.sequence.len()), (core.rows(), core.rows()));
            }
            let core = CorePage::decode(&core(3), &dictionary).unwrap();
            if let Ok(page) = ValuesPage::open(bytes.into(), &core, &dictionary) {
                for (slot, encoding) in [(0, FieldEncoding::Varint), (1, FieldEncoding::String)] {
                    let (packed, column) = (page.column(slot, encoding), page.decode_column(slot, encoding));
                    if let (Ok(Some(packed)), Ok(Some(column))) = (packed, column) {
                        let mut listed = 0;
                        let mut same = |at: usize| match &column {
                            Column::Numbers(numbers) => packed.number(at) == numbers.get(at).copied(),
                            Column::Texts { references, index } => {
                                let reference = packed.reference(at, &mut listed);
                                reference == index.get(at).map(|which| references[*which as usize])
                            }
                        };
                        prop_assert!((0..3).all(&mut same));
                    }
                }
                let _ = page.local_texts();
            }
        }
    }
}
