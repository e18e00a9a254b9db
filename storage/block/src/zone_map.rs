//! Zone maps of pages: bounds on their columns, so that readers skip pages that cannot match without decoding them. The
//! zone map of a whole block is in `meta.rs`.
//!
//! Layout, for each page: earliest start, latest minus earliest, shortest shown duration, longest minus shortest
//! (varints); bytes (varint) of the set of its classes, and the set (bit n of byte n / 8 for class n); number of
//! bounded columns (varint), and for each the slot minus the slot before (varint), the smallest and the largest value
//! (8 each, little endian, as in the column). Columns of span attributes with numbers are bounded; NaN has no order and
//! is left out.

use spandrel_proto::TimeRange;
use spandrel_proto::UnixNanos;
use spandrel_proto::otlp::wire::put_varint;

use crate::dictionary::Dictionary;
use crate::flags::shown_duration;
use crate::format::{FormatError, take_varint};
use crate::shape::{FieldEncoding, Level, Slot};
use crate::token::Number;

/// The bounds of the columns of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneMap {
    /// The earliest and latest start.
    start: (u64, u64),
    /// The shortest and longest shown duration.
    duration: (u64, u64),
    /// The classes of its rows, as a set of bits.
    classes: Vec<u8>,
    /// Sorted by slot: the smallest and largest value as in the column.
    numbers: Vec<(u32, u64, u64)>,
}

const DAMAGED: FormatError = FormatError::Damaged("zone map of a page");

// === impl ZoneMap ===

impl ZoneMap {
    /// Builds the zone map of a page from its columns; of slots only those that [are bounded](ZoneMap::is_bounded).
    pub(crate) fn of<'a>(
        class: &[u32],
        start: &[u64],
        duration: &[u64],
        numbers: impl Iterator<Item = (u32, FieldEncoding, &'a [u64])>,
    ) -> Self {
        let widen = |(min, max): (u64, u64), value: u64| (min.min(value), max.max(value));
        let mut zone =
            Self { start: (u64::MAX, 0), duration: (u64::MAX, 0), classes: Vec::new(), numbers: Vec::new() };
        for ((class, start), duration) in class.iter().zip(start).zip(duration) {
            zone.start = widen(zone.start, *start);
            zone.duration = widen(zone.duration, shown_duration(*start, *duration));
            let byte = *class as usize / 8;
            if byte >= zone.classes.len() {
                zone.classes.resize(byte + 1, 0);
            }
            zone.classes[byte] |= 1 << (class % 8);
        }
        zone.numbers = numbers
            .filter_map(|(slot, encoding, values)| {
                let (min, max) = bounds_of(encoding, values)?;
                Some((slot, min, max))
            })
            .collect();
        zone
    }

    /// Whether columns of a slot are bounded.
    pub(crate) fn is_bounded(slot: &Slot) -> bool {
        slot.level == Level::Span && matches!(slot.encoding, FieldEncoding::Int | FieldEncoding::Double)
    }

    /// Whether a row of the page may start in the range.
    pub fn touches(&self, range: &TimeRange) -> bool {
        range.touches(UnixNanos(self.start.0), UnixNanos(self.start.1))
    }

    /// The shortest and the longest shown duration, in nanoseconds.
    pub fn durations(&self) -> (u64, u64) {
        self.duration
    }

    /// Whether the page has a row of a class.
    pub fn has_class(&self, class: u32) -> bool {
        self.classes.get(class as usize / 8).is_some_and(|byte| byte & 1 << (class % 8) != 0)
    }

    /// The smallest and the largest number in a slot's column; `None` if the page has no such column or only NaN.
    pub fn numbers(&self, number: u32, slot: &Slot) -> Option<(Number, Number)> {
        let at = self.numbers.binary_search_by_key(&number, |known| known.0).ok()?;
        let (_, min, max) = self.numbers[at];
        let number = |value: u64| match slot.encoding {
            FieldEncoding::Double => Number::of_double(f64::from_bits(value)),
            _ => Number::Int(value as i64),
        };
        Some((number(min), number(max)))
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.classes.len() + self.numbers.len() * 24
    }

    pub(crate) fn encode_all(zones: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        for zone in zones {
            for (min, max) in [zone.start, zone.duration] {
                put_varint(&mut out, min);
                put_varint(&mut out, max - min);
            }
            put_varint(&mut out, zone.classes.len() as u64);
            out.extend_from_slice(&zone.classes);
            put_varint(&mut out, zone.numbers.len() as u64);
            let mut last = 0;
            for (slot, min, max) in &zone.numbers {
                put_varint(&mut out, u64::from(slot - std::mem::replace(&mut last, *slot)));
                out.extend_from_slice(&min.to_le_bytes());
                out.extend_from_slice(&max.to_le_bytes());
            }
        }
        out
    }

    /// Decodes the zone maps of all pages.
    pub fn decode_all(
        mut bytes: &[u8],
        pages: usize,
        dictionary: &Dictionary,
    ) -> Result<Vec<Self>, FormatError> {
        let mut zones = Vec::new();
        for _ in 0..pages {
            let zone = Self::read(&mut bytes).ok_or(DAMAGED)?;
            let classes = zone.classes.len() <= dictionary.classes.len().div_ceil(8);
            let slots = zone.numbers.iter().all(|(slot, ..)| (*slot as usize) < dictionary.slots.len());
            zones.push(Some(zone).filter(|_| classes && slots).ok_or(DAMAGED)?);
        }
        if bytes.is_empty() { Ok(zones) } else { Err(DAMAGED) }
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut range = || {
            let min = take_varint(bytes)?;
            Some((min, min.checked_add(take_varint(bytes)?)?))
        };
        let (start, duration) = (range()?, range()?);
        let length = usize::try_from(take_varint(bytes)?).ok()?;
        let (classes, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let mut numbers = Vec::new();
        let mut slot = 0u32;
        for at in 0..take_varint(bytes)? {
            let step = u32::try_from(take_varint(bytes)?).ok()?;
            slot = slot.checked_add(step).filter(|_| step > 0 || at == 0)?;
            let (min, rest) = bytes.split_first_chunk::<8>()?;
            let (max, rest) = rest.split_first_chunk::<8>()?;
            *bytes = rest;
            numbers.push((slot, u64::from_le_bytes(*min), u64::from_le_bytes(*max)));
        }
        Some(Self { start, duration, classes: classes.to_vec(), numbers })
    }
}

/// The smallest and the largest value, encoded as in the column; `None` if there is no number but NaN.
fn bounds_of(encoding: FieldEncoding, values: &[u64]) -> Option<(u64, u64)> {
    match encoding {
        FieldEncoding::Double => {
            let doubles = || values.iter().map(|bits| f64::from_bits(*bits)).filter(|value| !value.is_nan());
            let min = doubles().min_by(f64::total_cmp)?;
            Some((min.to_bits(), doubles().max_by(f64::total_cmp)?.to_bits()))
        }
        _ => {
            let integers = || values.iter().map(|value| *value as i64);
            Some((integers().min()? as u64, integers().max()? as u64))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::shape::{Class, Shape};

    fn slot(encoding: FieldEncoding) -> Slot {
        Slot { level: Level::Span, encoding, field: 9, name: Bytes::from_static(b"k") }
    }

    fn dictionary() -> Dictionary {
        Dictionary {
            services: vec!["s".to_owned()],
            operations: vec![(0, "o".to_owned())],
            slots: vec![slot(FieldEncoding::Int), slot(FieldEncoding::Double)],
            shapes: vec![Shape { flags: 0, slots: vec![0] }],
            classes: vec![Class { operation: 0, shape: 0 }; 20],
            ..Dictionary::default()
        }
    }

    fn zone(class: &[u32], integers: &[i64], doubles: &[f64]) -> ZoneMap {
        let integers: Vec<u64> = integers.iter().map(|n| *n as u64).collect();
        let doubles: Vec<u64> = doubles.iter().map(|n| n.to_bits()).collect();
        let times = vec![5; class.len()];
        let numbers = [(0, FieldEncoding::Int, &integers[..]), (1, FieldEncoding::Double, &doubles[..])];
        ZoneMap::of(class, &times, &times, numbers.into_iter())
    }

    #[test]
    fn frozen_version_2() {
        let bytes = ZoneMap::encode_all(&[zone(&[0, 9], &[-1, 3], &[]), zone(&[2], &[], &[0.5])]);
        let expected = [
            &[5, 0, 5, 0, 2, 1, 2, 1, 0][..],
            &[0xff; 8],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[5, 0, 5, 0, 1, 4, 1, 1],
            &0.5f64.to_le_bytes(),
            &0.5f64.to_le_bytes(),
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn nan_is_in_no_order() {
        let bounds = |doubles: &[f64]| zone(&[1], &[], doubles).numbers(1, &slot(FieldEncoding::Double));
        assert_eq!(bounds(&[f64::NAN, 2.0, -0.5]), Some((Number::Double(-0.5), Number::Int(2))));
        assert_eq!(bounds(&[f64::NAN]), None);
    }

    #[test]
    fn damage_is_noticed() {
        let bytes = ZoneMap::encode_all(&[zone(&[0, 19], &[7], &[])]);
        assert!(ZoneMap::decode_all(&bytes, 1, &dictionary()).is_ok());
        assert!(ZoneMap::decode_all(&bytes, 2, &dictionary()).is_err());
        assert!(ZoneMap::decode_all(&bytes, 0, &dictionary()).is_err());
        for cut in 0..bytes.len() {
            assert!(ZoneMap::decode_all(&bytes[..cut], 1, &dictionary()).is_err(), "{cut}");
        }
        let of_many = ZoneMap::encode_all(&[zone(&[24], &[7], &[])]);
        assert!(ZoneMap::decode_all(&of_many, 1, &dictionary()).is_err(), "a class that is none");
    }

    proptest! {
        #[test]
        fn holds_what_the_columns_hold(class in prop::collection::vec(0u32..20, 1..50), integers in prop::collection::vec(any::<i64>(), 0..20), doubles in prop::collection::vec(any::<f64>(), 0..20)) {
            let zone = zone(&class, &integers, &doubles);
            let decoded = ZoneMap::decode_all(&ZoneMap::encode_all(&[zone.clone(), zone.clone()]), 2, &dictionary());
            prop_assert_eq!(decoded.as_ref(), Ok(&vec![zone.clone(), zone.clone()]));
            prop_assert!((0..30).all(|n| zone.has_class(n) == class.contains(&n)));
            if let Some((Number::Int(min), Number::Int(max))) = zone.numbers(0, &slot(FieldEncoding::Int)) {
                prop_assert!(integers.iter().all(|n| (min..=max).contains(n)));
            } else {
                prop_assert!(integers.is_empty());
            }
        }

        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..80), pages in 0usize..4) {
            let _ = ZoneMap::decode_all(&bytes, pages, &dictionary());
        }
    }
}
