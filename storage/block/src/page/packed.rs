//! The values of one slot in one page: packed, to read a few of them, or unpacked as a whole.

use bytes::Bytes;

use super::ints::{self, Packed, take_varint};
use crate::shape::{FieldEncoding, ValueKind};

/// The values of one slot as the cache keeps them. Reading some of them does not unpack the others.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedColumn(PackedValues);

#[derive(Debug, Clone, PartialEq)]
enum PackedValues {
    Numbers(Packed<Bytes>),
    /// The references of the distinct texts, and the index of each value's text.
    Texts(Packed<Bytes>, Which),
}

/// For each value, the index of its text among the distinct texts of the column.
#[derive(Debug, Clone, PartialEq)]
enum Which {
    /// All values are the same text; the number of values.
    TheOnly(usize),
    /// All values are distinct.
    EachItsOwn,
    /// The code of each value, see `page/mod.rs`.
    Codes(Packed<Bytes>),
}

/// The unpacked values of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// Numbers, or the bits of doubles.
    Numbers(Vec<u64>),
    /// Texts.
    Texts {
        /// References of the distinct texts.
        references: Vec<u32>,
        /// For each value, the index of its text in `references`.
        index: Vec<u32>,
    },
}

// === impl PackedColumn ===

impl PackedColumn {
    /// Decodes a column, which may share parts of `source`.
    pub(crate) fn decode(source: &Bytes, values: usize, encoding: FieldEncoding) -> Option<Self> {
        let mut bytes: &[u8] = source;
        let bytes = &mut bytes;
        let column = match encoding.value_kind() {
            ValueKind::Number | ValueKind::Double => {
                PackedValues::Numbers(Packed::decode(source, bytes, values)?)
            }
            ValueKind::Text => {
                let distinct = usize::try_from(take_varint(bytes)?).ok();
                let distinct = distinct.filter(|distinct| *distinct <= values && *distinct > 0)?;
                let references = Packed::decode(source, bytes, distinct)?;
                PackedValues::Texts(references, Which::decode(source, bytes, distinct, values)?)
            }
            ValueKind::None => return None,
        };
        bytes.is_empty().then_some(Self(column))
    }

    /// Estimates the size in memory after decoding, in bytes.
    pub(crate) fn estimate(mut bytes: &[u8], values: usize, encoding: FieldEncoding) -> usize {
        match encoding.value_kind() {
            ValueKind::None => 0,
            ValueKind::Number | ValueKind::Double => Packed::estimate(bytes, values),
            ValueKind::Text => {
                let distinct =
                    take_varint(&mut bytes).map_or(0, |distinct| distinct.min(values as u64) as usize);
                // A code is no larger than the number of distinct texts.
                let codes =
                    if distinct > 1 && distinct < values { ints::width_of(distinct as u64) } else { 0 };
                Packed::estimate(bytes, distinct) + codes * values
            }
        }
    }

    /// The number at an index; `None` behind the end and for a column of texts.
    pub(crate) fn number(&self, at: usize) -> Option<u64> {
        match &self.0 {
            PackedValues::Numbers(numbers) => numbers.get(at),
            PackedValues::Texts(..) => None,
        }
    }

    /// The reference of the text at an index. `listed` is the number of texts listed before it, and is updated.
    pub(crate) fn reference(&self, at: usize, listed: &mut u32) -> Option<u32> {
        let PackedValues::Texts(references, which) = &self.0 else { return None };
        u32::try_from(references.get(which.of(at, listed)?)?).ok()
    }

    /// Like [`Self::reference`], but returns the number of the text among the distinct ones.
    pub(crate) fn text_number(&self, at: usize, listed: &mut u32) -> Option<u32> {
        let PackedValues::Texts(_, which) = &self.0 else { return None };
        which.of(at, listed).map(|number| number as u32)
    }

    /// The reference of a distinct text.
    pub(crate) fn text_reference(&self, number: usize) -> Option<u32> {
        let PackedValues::Texts(references, _) = &self.0 else { return None };
        u32::try_from(references.get(number)?).ok()
    }

    /// The number of texts listed before an index.
    pub(crate) fn listed_before(&self, at: usize) -> u32 {
        match &self.0 {
            PackedValues::Texts(_, Which::Codes(codes)) => codes.zeros(at) as u32,
            _ => 0,
        }
    }

    pub(crate) fn into_column(self, values: u32) -> Option<Column> {
        match self.0 {
            PackedValues::Numbers(numbers) => Some(Column::Numbers(numbers.unpack()?)),
            PackedValues::Texts(references, which) => {
                let narrow = |reference: u64| u32::try_from(reference).ok();
                let references = references.unpack()?.into_iter().map(narrow).collect::<Option<Vec<_>>>()?;
                let index = which.index(values, references.len())?;
                Some(Column::Texts { references, index })
            }
        }
    }
}

impl Which {
    fn decode(source: &Bytes, bytes: &mut &[u8], distinct: usize, values: usize) -> Option<Self> {
        if distinct == 1 {
            return Some(Self::TheOnly(values));
        }
        if distinct == values {
            return Some(Self::EachItsOwn);
        }
        Some(Self::Codes(Packed::decode(source, bytes, values)?))
    }

    /// The index of a value's text, given the number of texts listed before it.
    fn of(&self, at: usize, listed: &mut u32) -> Option<usize> {
        let codes = match self {
            Self::TheOnly(values) => return (at < *values).then_some(0),
            Self::EachItsOwn => return Some(at),
            Self::Codes(codes) => codes,
        };
        match codes.get(at)? {
            0 => {
                *listed += 1;
                Some(*listed as usize - 1)
            }
            back => u64::from(*listed).checked_sub(back).map(|place| place as usize),
        }
    }

    /// The index of each value's text; `None` unless all listed texts are used.
    fn index(self, values: u32, distinct: usize) -> Option<Vec<u32>> {
        let codes = match self {
            Self::TheOnly(values) => return Some(vec![0; values]),
            Self::EachItsOwn => return Some((0..values).collect()),
            Self::Codes(codes) => codes.unpack()?,
        };
        let mut listed = 0u32;
        let place = |code: u64| match code {
            0 => {
                listed += 1;
                Some(listed - 1)
            }
            back => u64::from(listed).checked_sub(back).map(|place| place as u32),
        };
        let index = codes.into_iter().map(place).collect();
        if listed as usize == distinct { index } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_listed_in_the_order_in_which_they_come() {
        // Two distinct texts, listed at first use and then referred to by their distance from the end of the list.
        let codes = [2, 1, 0, 1, 7, 2, 0, 1, 0, 1, 7, 0, 0, 1, 2];
        let column = PackedColumn::decode(&Bytes::copy_from_slice(&codes), 4, FieldEncoding::String).unwrap();
        let mut listed = 0;
        let each: Vec<_> = (0..5).map(|at| column.reference(at, &mut listed)).collect();
        assert_eq!(each, [Some(2), Some(0), Some(0), Some(2), None]);
        assert_eq!([0, 1, 2, 3].map(|at| column.listed_before(at)), [0, 1, 2, 2]);
        let texts = Column::Texts { references: vec![2, 0], index: vec![0, 1, 1, 0] };
        assert_eq!(column.into_column(4), Some(texts));
        let before_the_first = [2, 1, 0, 1, 7, 2, 0, 1, 0, 1, 7, 1, 0, 0, 2];
        let column =
            PackedColumn::decode(&Bytes::copy_from_slice(&before_the_first), 4, FieldEncoding::String)
                .unwrap();
        assert_eq!((column.reference(0, &mut 0), column.into_column(4)), (None, None));
        let three_for_two = [2, 1, 0, 1, 7, 2, 0, 1, 0, 1, 7, 0, 0, 0, 2];
        let column =
            PackedColumn::decode(&Bytes::copy_from_slice(&three_for_two), 4, FieldEncoding::String).unwrap();
        let (mut listed, third) = (column.listed_before(2), 2);
        assert_eq!(
            (column.reference(third, &mut listed), column.into_column(4)),
            (None, None),
            "more than are listed"
        );
        assert_eq!(
            PackedColumn::decode(&Bytes::from_static(&[3, 0, 0, 0, 0]), 2, FieldEncoding::String),
            None,
            "more texts than values"
        );
    }
}
