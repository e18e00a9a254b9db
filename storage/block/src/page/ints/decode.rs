//! Decodes columns of integers: packed, to read a few values, or unpacked as a whole.

use std::borrow::Cow;
use std::ops::Deref;

use bytes::Bytes;

use super::{BITS, CONSTANT, DECIMALS, DELTAS, DICTIONARY, MAX_EXPONENT, PLANES, width_of};
use crate::compression::decompress;
use crate::page::bits::{self, Bits};

/// The deepest nesting of encodings: deltas of a dictionary of decimals.
const MAX_DEPTH: u8 = 4;

/// A packed column. A lookup reads some twenty of two thousand values, so byte planes and bits stay packed. Bytes that
/// need no decompression are shared with the page (`Bytes`), or borrowed if the column is unpacked immediately (`Cow`).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Packed<B> {
    /// Unpacked numbers, used for deltas, which cannot be read one by one.
    Wide(Vec<u64>),
    /// The number of values, and the value of all.
    Constant(usize, u64),
    /// The number of values, the smallest value, and the byte planes, the lowest byte first.
    Planes(usize, u64, B),
    /// The smallest value, and the difference of each value from it.
    Bits(u64, Bits<B>),
    /// The distinct values, and the index of each value.
    Dictionary(Vec<u64>, Box<Self>),
    /// The divisor, and the integers that are divided by it.
    Decimals(f64, Box<Self>),
}

/// Decodes and unpacks a column of `count` values at the front.
pub(crate) fn decode(bytes: &mut &[u8], count: usize) -> Option<Vec<u64>> {
    borrowed(bytes, count)?.unpack()
}

/// Decodes and unpacks a column of 32-bit values at the front; each has to be smaller than `bound`.
pub(crate) fn decode_u32(bytes: &mut &[u8], count: usize, bound: usize) -> Option<Vec<u32>> {
    let bound = u64::try_from(bound).ok().filter(|bound| *bound <= 1 << 32)?;
    let mut most = 0;
    let mut narrow = |value: u64| {
        most = most.max(value);
        value as u32
    };
    let narrowed: Vec<u32> = match borrowed(bytes, count)? {
        Packed::Constant(count, value) => vec![narrow(value); count],
        Packed::Bits(min, bits) => bits.iter().map(|value| narrow(min.wrapping_add(value))).collect(),
        packed => packed.unpack()?.into_iter().map(narrow).collect(),
    };
    (most < bound || narrowed.is_empty()).then_some(narrowed)
}

fn borrowed<'b>(bytes: &mut &'b [u8], count: usize) -> Option<Packed<Cow<'b, [u8]>>> {
    Packed::decode_at(&|kept| Cow::Borrowed(kept), bytes, count, MAX_DEPTH)
}

impl Packed<Bytes> {
    /// Decodes a column of `count` values at the front of a part of `source`, and shares bytes of that part.
    pub(crate) fn decode(source: &Bytes, bytes: &mut &[u8], count: usize) -> Option<Self> {
        Self::decode_at(&|kept| source.slice_ref(kept), bytes, count, MAX_DEPTH)
    }

    /// Estimates the bytes in memory of the decoded column, without those that it shares with the page, from the first
    /// bytes alone.
    pub(crate) fn estimate(mut bytes: &[u8], count: usize) -> usize {
        let bytes = &mut bytes;
        while let [DECIMALS, _, rest @ ..] = bytes {
            *bytes = rest;
        }
        let estimate = match take(bytes) {
            Some(PLANES) => take_varint(bytes).and_then(|_| take(bytes)).map(|width| {
                let width = width.min(8);
                // Planes that are all stored uncompressed are shared with the page.
                let all = ((1u16 << width) - 1) as u8;
                if bytes.first().is_some_and(|raw| raw & all == all) { 0 } else { usize::from(width) * count }
            }),
            Some(DELTAS) => Some(8 * count),
            Some(DICTIONARY) => take_varint(bytes).map(|known| {
                let known = known.min(count as u64);
                known as usize * 8 + width_of(known) * count
            }),
            _ => None,
        };
        estimate.unwrap_or(0)
    }
}

impl<B: Deref<Target = [u8]> + From<Vec<u8>>> Packed<B> {
    /// `keep` shares or borrows bytes that stay packed.
    fn decode_at<'b>(
        keep: &impl Fn(&'b [u8]) -> B,
        bytes: &mut &'b [u8],
        count: usize,
        depth: u8,
    ) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        Some(match take(bytes)? {
            CONSTANT => Self::Constant(count, take_varint(bytes)?),
            PLANES => decode_planes(keep, bytes, count)?,
            BITS => {
                let min = take_varint(bytes)?;
                let width = usize::from(take(bytes)?);
                let packed = take_slice(bytes, bits::packed_length(count, width)?)?;
                Self::Bits(min, Bits::new(count, width, keep(packed))?)
            }
            DELTAS => {
                let first = take_varint(bytes)?;
                let deltas = Self::decode_at(keep, bytes, count.checked_sub(1)?, depth)?.unpack()?;
                let mut last = first;
                let rest = deltas.into_iter().map(|delta| {
                    last = last.wrapping_add(unzigzag(delta));
                    last
                });
                Self::Wide(std::iter::once(first).chain(rest).collect())
            }
            DICTIONARY => {
                let known = usize::try_from(take_varint(bytes)?).ok().filter(|known| *known <= count)?;
                let known = Self::decode_at(keep, bytes, known, depth)?.unpack()?;
                Self::Dictionary(known, Box::new(Self::decode_at(keep, bytes, count, depth)?))
            }
            DECIMALS => {
                let exponent = take(bytes).filter(|exponent| *exponent <= MAX_EXPONENT)?;
                let scaled = Self::decode_at(keep, bytes, count, depth)?;
                Self::Decimals(10f64.powi(i32::from(exponent)), Box::new(scaled))
            }
            _ => return None,
        })
    }

    /// The value at an index; `None` behind the end, and for damaged bytes.
    pub(crate) fn get(&self, at: usize) -> Option<u64> {
        match self {
            Self::Wide(values) => values.get(at).copied(),
            Self::Constant(count, value) => (at < *count).then_some(*value),
            Self::Planes(count, min, planes) => (at < *count).then(|| {
                let bytes = planes[at..].iter().step_by(*count).enumerate();
                bytes.fold(*min, |value, (plane, byte)| value.wrapping_add(u64::from(*byte) << (8 * plane)))
            }),
            Self::Bits(min, bits) => bits.get(at).map(|value| min.wrapping_add(value)),
            Self::Dictionary(known, indices) => known.get(usize::try_from(indices.get(at)?).ok()?).copied(),
            Self::Decimals(factor, scaled) => scaled.get(at).map(|scaled| decimal(scaled, *factor)),
        }
    }

    /// All values; `None` for damaged bytes.
    pub(crate) fn unpack(self) -> Option<Vec<u64>> {
        match self {
            Self::Wide(values) => Some(values),
            Self::Constant(count, value) => Some(vec![value; count]),
            Self::Planes(count, min, planes) => {
                let mut values = vec![min; count];
                for (at, plane) in planes.chunks_exact(count.max(1)).enumerate() {
                    for (value, byte) in values.iter_mut().zip(plane) {
                        *value = value.wrapping_add(u64::from(*byte) << (8 * at));
                    }
                }
                Some(values)
            }
            Self::Bits(min, bits) => Some(bits.iter().map(|value| min.wrapping_add(value)).collect()),
            Self::Dictionary(known, indices) => {
                let index = |at: u64| known.get(usize::try_from(at).ok()?).copied();
                indices.unpack()?.into_iter().map(index).collect()
            }
            Self::Decimals(factor, scaled) => {
                Some(scaled.unpack()?.into_iter().map(|scaled| decimal(scaled, factor)).collect())
            }
        }
    }

    /// How many of the first `count` values are zero.
    pub(crate) fn zeros(&self, count: usize) -> usize {
        match self {
            Self::Planes(rows, 0, planes) if planes.len() == *rows => {
                planes[..count.min(*rows)].iter().filter(|byte| **byte == 0).count()
            }
            Self::Bits(0, bits) => bits.zeros(count),
            _ => (0..count).filter(|at| self.get(*at) == Some(0)).count(),
        }
    }
}

fn unzigzag(value: u64) -> u64 {
    value >> 1 ^ (value & 1).wrapping_neg()
}

fn decimal(scaled: u64, factor: f64) -> u64 {
    (unzigzag(scaled) as i64 as f64 / factor).to_bits()
}

fn decode_planes<'b, B: From<Vec<u8>>>(
    keep: &impl Fn(&'b [u8]) -> B,
    bytes: &mut &'b [u8],
    count: usize,
) -> Option<Packed<B>> {
    let min = take_varint(bytes)?;
    let width = usize::from(take(bytes).filter(|width| (1..=8).contains(width))?);
    let all = ((1u16 << width) - 1) as u8;
    let raw = take(bytes)? & all;
    let as_they_are = raw.count_ones() as usize;
    let kept = take_slice(bytes, as_they_are.checked_mul(count)?)?;
    if raw == all {
        return Some(Packed::Planes(count, min, keep(kept)));
    }
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let decompressed = decompress(take_slice(bytes, length)?, (width - as_they_are).checked_mul(count)?)?;
    if raw == 0 {
        return Some(Packed::Planes(count, min, decompressed.into()));
    }
    let (mut kept, mut decompressed): (&[u8], &[u8]) = (kept, &decompressed);
    let mut planes = Vec::with_capacity(width * count);
    for plane in 0..width {
        let source = if raw & 1 << plane != 0 { &mut kept } else { &mut decompressed };
        planes.extend_from_slice(take_slice(source, count)?);
    }
    Some(Packed::Planes(count, min, planes.into()))
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

pub(crate) fn take_slice<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    crate::format::take_varint(bytes)
}
