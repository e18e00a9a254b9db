//! Columns of integers: the encoding of all numbers of a page.
//!
//! ```text
//! encoding (1), then
//!   0 constant     value (varint)
//!   1 byte planes  smallest value (varint), width in bytes (1), mask of planes stored as they are (1),
//!                  those planes; unless the mask holds all: length (varint), zstd frame of the others
//!   2 deltas       first value (varint), the zigzag differences, encoded as a column again
//!   3 dictionary   number of values (varint), the values in order, the indices: two columns
//!   4 decimals     exponent (1), the zigzag of value * 10^exponent: a column
//!   5 bits         smallest value (varint), width in bits (1), what each value is above the smallest:
//!                  so many bits, the lowest first, one value behind the other; since format 4
//! ```
//!
//! A byte plane is one byte of every value: first the lowest byte of all values, then the next (Parquet calls this
//! BYTE_STREAM_SPLIT). Planes of high bytes are nearly constant and compress to almost nothing. Planes that look like
//! noise are stored as they are, which saves readers a decompression. Packed bits need none either, so the encoder
//! chooses them where compressed planes would save little. The choice depends on the values alone.

mod decode;

use rustc_hash::FxHashMap;
use spandrel_proto::otlp::wire::put_varint;

use super::bits;
use crate::compression::{Compressor, Unit};

pub(crate) use decode::{Packed, decode, decode_u32, take_slice, take_varint};

const CONSTANT: u8 = 0;
const PLANES: u8 = 1;
const DELTAS: u8 = 2;
const DICTIONARY: u8 = 3;
const DECIMALS: u8 = 4;
const BITS: u8 = 5;

/// Columns with fewer values try no dictionary, because it could not save its cost.
const LEAST_DICTIONARY: usize = 64;
/// A frame has to save this many bytes and this share of the column, because a reader needs a microsecond to decompress
/// it before it has the first byte.
const FRAME_BYTES: usize = 64;
const FRAME_SHARE: usize = 10;
const MAX_EXPONENT: u8 = 6;

/// Appends a column.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[u64], compressor: &mut Compressor) {
    let Some((min, max)) = bounds(values) else {
        return encode_planes_or_constant(out, values, compressor);
    };
    let width = width_of(max - min);
    if width < 2 {
        return encode_planes_or_constant(out, values, compressor);
    }
    let differences = || values.windows(2).map(|pair| zigzag(pair[1].wrapping_sub(pair[0])));
    if width_of(differences().max().unwrap_or(0)) < width {
        out.push(DELTAS);
        put_varint(out, values[0]);
        let deltas: Vec<u64> = differences().collect();
        return encode_planes_or_constant(out, &deltas, compressor);
    }
    let may_have_dictionary = compressor.unit() == Unit::Column;
    if let Some((known, indices)) = may_have_dictionary.then(|| dictionary(values, width)).flatten() {
        out.push(DICTIONARY);
        put_varint(out, known.len() as u64);
        encode_planes_or_constant(out, &known, compressor);
        return encode_planes_or_constant(out, &indices, compressor);
    }
    encode_planes_or_constant(out, values, compressor);
}

/// Appends a column of 32-bit values.
pub(crate) fn encode_u32(out: &mut Vec<u8>, values: &[u32], compressor: &mut Compressor) {
    let wide: Vec<u64> = values.iter().map(|value| u64::from(*value)).collect();
    encode_planes_or_constant(out, &wide, compressor);
}

/// Appends a column of the bits of doubles.
pub(crate) fn encode_doubles(out: &mut Vec<u8>, bits: &[u64], compressor: &mut Compressor) {
    match decimals(bits) {
        Some((exponent, scaled)) => {
            out.extend_from_slice(&[DECIMALS, exponent]);
            encode(out, &scaled, compressor);
        }
        None => encode(out, bits, compressor),
    }
}

fn bounds(values: &[u64]) -> Option<(u64, u64)> {
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(min, max), value| (min.min(*value), max.max(*value))))
}

pub(crate) fn width_of(value: u64) -> usize {
    (64 - value.leading_zeros()).div_ceil(8) as usize
}

fn encode_planes_or_constant(out: &mut Vec<u8>, values: &[u64], compressor: &mut Compressor) {
    let (min, max) = bounds(values).unwrap_or((0, 0));
    let width = width_of(max - min);
    if width == 0 {
        out.push(CONSTANT);
        return put_varint(out, min);
    }
    // Columns that are later compressed together keep byte planes, which compress better than bits.
    let bits = (64 - (max - min).leading_zeros()) as usize;
    let packed = bits::packed_length(values.len(), bits)
        .filter(|_| compressor.unit() == Unit::Column && bits <= bits::MAX_WIDTH);
    if packed.is_some_and(|packed| packed <= FRAME_BYTES) {
        return put_bits(out, values, min, bits);
    }
    let begin = out.len();
    let mut planes = std::mem::take(&mut compressor.planes);
    transpose(&mut planes, values, min, width);
    out.push(PLANES);
    put_varint(out, min);
    out.push(width as u8);
    let framed = put_planes(out, &planes, values.len(), compressor);
    compressor.planes = planes;
    let length = out.len() - begin;
    let worth = if framed { length + FRAME_BYTES + length / FRAME_SHARE } else { length };
    if packed.is_some_and(|packed| packed <= worth) {
        out.truncate(begin);
        put_bits(out, values, min, bits);
    }
}

fn put_bits(out: &mut Vec<u8>, values: &[u64], min: u64, width: usize) {
    out.push(BITS);
    put_varint(out, min);
    out.push(width as u8);
    bits::pack(out, values.iter().map(|value| value - min), width);
}

fn transpose(planes: &mut Vec<u8>, values: &[u64], min: u64, width: usize) {
    planes.clear();
    for plane in 0..width {
        planes.extend(values.iter().map(|value| ((value - min) >> (8 * plane)) as u8));
    }
}

/// Appends the mask, the byte planes that look like noise, and a frame of the others, if there are any. Returns whether
/// there is a frame.
fn put_planes(out: &mut Vec<u8>, planes: &[u8], rows: usize, compressor: &mut Compressor) -> bool {
    let all = ((1u16 << (planes.len() / rows)) - 1) as u8;
    let mut raw = if compressor.unit() == Unit::Section { all } else { 0 };
    if raw == 0 {
        for (at, plane) in planes.chunks_exact(rows).enumerate() {
            raw |= u8::from(is_noise(plane)) << at;
        }
    }
    let chosen = |mask: u8| {
        planes
            .chunks_exact(rows)
            .enumerate()
            .filter(move |(at, _)| mask & 1 << at != 0)
            .map(|(_, plane)| plane)
    };
    let mut frame = Vec::new();
    if raw != all {
        let rest: Vec<u8> = chosen(all & !raw).flatten().copied().collect();
        match compressor.compress_column(&rest) {
            Some(compressed) => frame = compressed,
            None => raw = all,
        }
    }
    out.push(raw);
    chosen(raw).for_each(|plane| out.extend_from_slice(plane));
    if raw != all {
        put_varint(out, frame.len() as u64);
        out.extend_from_slice(&frame);
    }
    raw != all
}

/// Whether entropy coding would save almost nothing, because the histogram of a sample is flat.
fn is_noise(plane: &[u8]) -> bool {
    const SAMPLE: usize = 1024;
    if plane.len() < 256 {
        return false;
    }
    let mut histogram = [0u16; 256];
    let step = plane.len().div_ceil(SAMPLE);
    let sampled = plane.len().div_ceil(step);
    plane.iter().step_by(step).for_each(|byte| histogram[usize::from(*byte)] += 1);
    // For n draws from 256 equally likely bytes the sum of squares is about n + n^2 / 256.
    let squares: u64 = histogram.iter().map(|count| u64::from(*count).pow(2)).sum();
    let n = sampled as u64;
    squares * 100 < (n + n * n / 256) * 118
}

fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

/// The distinct values and the index of each value, if they take fewer bytes than the values.
fn dictionary(values: &[u64], width: usize) -> Option<(Vec<u64>, Vec<u64>)> {
    if values.len() < LEAST_DICTIONARY {
        return None;
    }
    let most = values.len() / 4;
    let mut index: FxHashMap<u64, u64> = FxHashMap::default();
    for value in values {
        index.insert(*value, 0);
        if index.len() > most {
            return None;
        }
    }
    let index_width = width_of(index.len() as u64 - 1).max(1);
    if index.len() * width + values.len() * index_width >= values.len() * width {
        return None;
    }
    let mut known: Vec<u64> = index.keys().copied().collect();
    known.sort_unstable();
    for (at, value) in known.iter().enumerate() {
        index.insert(*value, at as u64);
    }
    Some((known, values.iter().map(|value| index[value]).collect()))
}

/// The smallest exponent that makes all doubles integers, and these integers.
fn decimals(bits: &[u64]) -> Option<(u8, Vec<u64>)> {
    let mut exponent = 0;
    for value in bits {
        while scaled(*value, exponent).is_none() {
            exponent += 1;
            if exponent > MAX_EXPONENT {
                return None;
            }
        }
    }
    let all: Option<Vec<u64>> = bits.iter().map(|value| scaled(*value, exponent)).collect();
    all.map(|all| (exponent, all))
}

fn scaled(bits: u64, exponent: u8) -> Option<u64> {
    let factor = 10f64.powi(i32::from(exponent));
    let whole = (f64::from_bits(bits) * factor).round();
    // Doubles represent integers exactly up to 2^53.
    if whole.abs() >= 9_007_199_254_740_992.0 || (whole as i64 as f64 / factor).to_bits() != bits {
        return None;
    }
    Some(zigzag(whole as i64 as u64))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[u64], doubles: bool) -> Vec<u8> {
        let mut out = Vec::new();
        // The returned encoding is that of the last unit, a column.
        for unit in [Unit::Section, Unit::Column] {
            out.clear();
            let mut compressor = Compressor::new(1, unit).unwrap();
            if doubles {
                encode_doubles(&mut out, values, &mut compressor);
            } else {
                encode(&mut out, values, &mut compressor);
            }
            let source = Bytes::copy_from_slice(&out);
            let mut rest = &*source;
            let packed = Packed::decode(&source, &mut rest, values.len()).unwrap();
            assert!(rest.is_empty());
            let is_shared = |kept: &Bytes| source.as_ptr_range().contains(&kept.as_ptr());
            let takes = match &packed {
                Packed::Wide(values) => 8 * values.len(),
                Packed::Planes(_, _, planes) if !is_shared(planes) => planes.len(),
                _ => 0,
            };
            if let Packed::Planes(_, _, planes) = &packed {
                assert!(unit == Unit::Column || is_shared(planes), "copied, though nothing is decompressed");
            }
            assert_eq!(decode(&mut &*out, values.len()).as_deref(), Some(values));
            assert!(Packed::estimate(&out, values.len()) >= takes);
            let each: Option<Vec<u64>> = (0..values.len()).map(|at| packed.get(at)).collect();
            assert_eq!((each.as_deref(), packed.get(values.len())), (Some(values), None));
            let zeros = values.iter().take(9).filter(|value| **value == 0).count();
            assert_eq!(packed.zeros(9.min(values.len())), zeros);
            assert_eq!(packed.unpack().as_deref(), Some(values));
        }
        out
    }

    /// Pseudo-random numbers.
    fn noise(count: usize) -> Vec<u64> {
        let mut x = 1u64;
        let next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    fn encoding_of(values: &[u64]) -> u8 {
        round_trip(values, false)[0]
    }

    #[test]
    fn the_encoding_follows_from_the_values() {
        assert_eq!(encoding_of(&[]), CONSTANT);
        assert_eq!(encoding_of(&[7; 100]), CONSTANT);
        assert_eq!(encoding_of(&[1, 2, 3]), BITS);
        // Nearly constant planes compress to a frame that is much smaller than packed bits.
        let rare: Vec<u64> = (0..4096).map(|n| u64::from(n % 512 == 0) * 200).collect();
        assert_eq!(encoding_of(&rare), PLANES);
        let flat: Vec<u64> = noise(4096).into_iter().map(|n| n & 31).collect();
        assert_eq!((encoding_of(&flat), round_trip(&flat, false).len()), (BITS, 3 + 4096 * 5 / 8));
        let counter: Vec<u64> = (0..5000).map(|n| (1 << 60) + 3 * n).collect();
        assert_eq!(encoding_of(&counter), DELTAS);
        let few: Vec<u64> = (0..5000).map(|n| (n * n % 17) << 40).collect();
        assert_eq!(encoding_of(&few), DICTIONARY);
        let prices: Vec<u64> = (0..500)
            .map(|n| (f64::from(n) * 1.37).mul_add(100.0, 0.0).round() / 100.0)
            .map(f64::to_bits)
            .collect();
        let encoded = round_trip(&prices, true);
        assert_eq!(encoded[0], DECIMALS);
        assert!(encoded.len() < 1100, "{} bytes", encoded.len());
    }

    #[test]
    fn noise_is_kept_as_it_is() {
        let noise = noise(4096);
        assert_eq!(
            encoding_of(&noise),
            PLANES,
            "64 bits of a value and those in front of it do not fit a word"
        );
        assert!(round_trip(&noise, false).len() < 8 * 4096 + 20);
    }

    /// Stored columns have to stay readable forever.
    #[test]
    fn frozen_encodings() {
        let frozen: [(&[u8], &[u64]); 6] = [
            (&[0, 0x90, 0x4e], &[10_000; 3]),
            (&[1, 7, 2, 3, 0, 1, 2, 0, 0, 1], &[7, 8, 265]),
            (&[2, 9, 1, 0, 1, 1, 4, 1], &[9, 11, 10]),
            (&[3, 2, 1, 5, 1, 1, 0, 3, 1, 0, 1, 1, 1, 0, 1], &[8, 5, 8]),
            (&[4, 1, 1, 0, 1, 1, 25, 5], &[(-1.3f64).to_bits(), (-0.3f64).to_bits()]),
            (&[5, 7, 3, 0x88, 0xc6, 0xfa], &[7, 8, 9, 10, 11, 12, 13, 14]),
        ];
        for (bytes, values) in frozen {
            let mut rest = bytes;
            assert_eq!(decode(&mut rest, values.len()).as_deref(), Some(values), "{bytes:?}");
            assert!(rest.is_empty());
        }
        let mut frame = vec![1, 0, 1, 0];
        let planes: Vec<u8> = (0..4096).map(|n| u8::from(n % 512 == 0)).collect();
        let compressed = Compressor::new(1, Unit::Column).unwrap().compress(&planes).unwrap();
        put_varint(&mut frame, compressed.len() as u64);
        frame.extend_from_slice(&compressed);
        let read = decode(&mut frame.as_slice(), 4096).unwrap();
        assert!(read.into_iter().eq(planes.into_iter().map(u64::from)));
    }

    proptest! {
        #[test]
        fn comes_back(values in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..300, Just(u64::MAX)], 0..300), shift in 0u32..64) {
            let values: Vec<u64> = values.iter().map(|value| value >> shift).collect();
            round_trip(&values, false);
        }

        #[test]
        fn doubles_come_back(values in prop::collection::vec(prop_oneof![any::<f64>(), (0i64..100_000).prop_map(|n| n as f64 / 100.0), Just(-0.0), Just(f64::NAN)], 0..300)) {
            round_trip(&values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), true);
        }

        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..80), count in 0usize..100) {
            let source = Bytes::from(bytes);
            if let Some(packed) = Packed::decode(&source, &mut &*source, count) {
                let each: Option<Vec<u64>> = (0..count).map(|at| packed.get(at)).collect();
                prop_assert_eq!(packed.get(count), None);
                prop_assert_eq!(packed.unpack(), each);
            }
        }
    }
}
