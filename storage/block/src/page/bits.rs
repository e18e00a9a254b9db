//! Numbers of a few bits each, packed without gaps; each is read in place.
//!
//! Entropy coding makes most columns a little smaller than this, but a reader that wants twenty of two thousand values
//! has to decompress all of them first.

use std::ops::Deref;

/// Largest number of bits per value: a value and the up to seven bits in front of it fit into a 64-bit word.
pub(crate) const MAX_WIDTH: usize = 56;

/// Packed numbers in the bytes that they were read from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bits<B> {
    count: usize,
    width: usize,
    bytes: B,
}

/// The number of bytes that `count` values of `width` bits take.
pub(crate) fn packed_length(count: usize, width: usize) -> Option<usize> {
    Some(count.checked_mul(width)?.div_ceil(8))
}

/// Appends values of `width` bits each, the lowest bit first.
pub(crate) fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: usize) {
    let (mut word, mut filled) = (0u64, 0);
    for value in values {
        word |= value << filled;
        filled += width;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
}

// === impl Bits ===

impl<B: Deref<Target = [u8]>> Bits<B> {
    /// Wraps packed values; `None` unless the bytes have the length of [`packed_length`].
    pub(crate) fn new(count: usize, width: usize, bytes: B) -> Option<Self> {
        let is_sound = (1..=MAX_WIDTH).contains(&width) && packed_length(count, width) == Some(bytes.len());
        is_sound.then_some(Self { count, width, bytes })
    }

    /// The value at an index; `None` behind the end.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<u64> {
        (at < self.count).then(|| value(&self.bytes, at, self.width))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        let (bytes, width) = (&*self.bytes, self.width);
        (0..self.count).map(move |at| value(bytes, at, width))
    }

    /// How many of the first `count` values are zero.
    pub(crate) fn zeros(&self, count: usize) -> usize {
        let (count, mask) = (count.min(self.count), mask(self.width));
        let mut zeros = 0;
        let mut at = 0;
        // Eight values of up to seven bits begin at a byte and fit into a word.
        if self.width < 8 {
            while at + 8 <= count {
                let word = word(&self.bytes, at / 8 * self.width);
                zeros += (0..8).filter(|value| word >> (value * self.width) & mask == 0).count();
                at += 8;
            }
        }
        zeros + (at..count).filter(|at| self.get(*at) == Some(0)).count()
    }
}

#[inline]
fn value(bytes: &[u8], at: usize, width: usize) -> u64 {
    let bit = at * width;
    word(bytes, bit / 8) >> (bit % 8) & mask(width)
}

/// The 64-bit word that begins at a byte; zeros stand for bytes behind the end.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    let word = rest.first_chunk().copied().unwrap_or_else(|| {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last
    });
    u64::from_le_bytes(word)
}

fn mask(width: usize) -> u64 {
    (1 << width) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back(values in prop::collection::vec(any::<u64>(), 0..200), width in 1usize..=MAX_WIDTH, sparse in any::<bool>()) {
            let narrow = |value: u64| if sparse && !value.is_multiple_of(3) { 0 } else { value & ((1 << width) - 1) };
            let values: Vec<u64> = values.into_iter().map(narrow).collect();
            let mut packed = Vec::new();
            pack(&mut packed, values.iter().copied(), width);
            prop_assert_eq!(Some(packed.len()), packed_length(values.len(), width));
            let bits = Bits::new(values.len(), width, packed.as_slice()).unwrap();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), values.clone());
            prop_assert_eq!(bits.get(values.len()), None);
            for count in 0..=values.len() + 1 {
                let zeros = values.iter().take(count).filter(|value| **value == 0).count();
                prop_assert_eq!(bits.zeros(count), zeros);
            }
        }
    }

    #[test]
    fn lengths_and_widths_have_to_agree() {
        fn bits<const N: usize>(count: usize, width: usize, bytes: [u8; N]) -> Option<Bits<Vec<u8>>> {
            Bits::new(count, width, bytes.to_vec())
        }
        assert!(bits(9, 1, [0, 0]).is_some());
        assert!(bits(9, 1, [0]).is_none() && bits(8, 1, [0, 0]).is_none());
        assert!(bits(1, 0, []).is_none() && bits(1, 57, [0; 8]).is_none());
        assert!(bits(usize::MAX, 56, []).is_none());
        assert_eq!(bits(0, 56, []).unwrap().get(0), None);
    }
}
