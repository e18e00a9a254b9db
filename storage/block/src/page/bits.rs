//! Numbers of a few bits each, side by side: any of them is read where it lies.
//!
//! Entropy coding makes most columns a little smaller than this, but a reader who wants twenty of two
//! thousand values has to undo all of it first.

/// Bits per value at the most: a value and the bits in front of it fit a word.
pub(crate) const MAX_WIDTH: usize = 56;

/// Bytes behind the last value, so that a word can be read wherever a value begins.
const PADDING: usize = 8;

/// Numbers that were packed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bits {
    count: usize,
    width: usize,
    bytes: Vec<u8>,
}

/// Bytes that so many values take.
pub(crate) fn packed_length(count: usize, width: usize) -> Option<usize> {
    Some(count.checked_mul(width)?.div_ceil(8))
}

/// Appends values of so many bits each, the lowest bit first.
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

impl Bits {
    /// Values back from their bytes, as many as [`packed_length`] says.
    pub(crate) fn new(count: usize, width: usize, packed: &[u8]) -> Option<Self> {
        if !(1..=MAX_WIDTH).contains(&width) || packed_length(count, width) != Some(packed.len()) {
            return None;
        }
        let mut bytes = Vec::with_capacity(packed.len() + PADDING);
        bytes.extend_from_slice(packed);
        bytes.extend_from_slice(&[0; PADDING]);
        Some(Self { count, width, bytes })
    }

    /// The value at a place; `None` behind the end.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<u64> {
        if at >= self.count {
            return None;
        }
        let bit = at * self.width;
        let word = u64::from_le_bytes(*self.bytes[bit / 8..].first_chunk()?);
        Some(word >> (bit % 8) & self.mask())
    }

    fn mask(&self) -> u64 {
        (1 << self.width) - 1
    }

    /// All values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.count).map_while(|at| self.get(at))
    }

    /// How many of the first `count` values are zero.
    pub(crate) fn zeros(&self, count: usize) -> usize {
        let (count, mask) = (count.min(self.count), self.mask());
        let mut zeros = 0;
        let mut at = 0;
        // Eight values of up to seven bits begin with a byte and fit a word.
        if self.width < 8 {
            while at + 8 <= count {
                let word = self.bytes[at / 8 * self.width..]
                    .first_chunk()
                    .map_or(0, |word| u64::from_le_bytes(*word));
                zeros += (0..8).filter(|value| word >> (value * self.width) & mask == 0).count();
                at += 8;
            }
        }
        zeros + (at..count).filter(|at| self.get(*at) == Some(0)).count()
    }
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
            let bits = Bits::new(values.len(), width, &packed).unwrap();
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
        assert!(Bits::new(9, 1, &[0, 0]).is_some());
        assert!(Bits::new(9, 1, &[0]).is_none() && Bits::new(8, 1, &[0, 0]).is_none());
        assert!(Bits::new(1, 0, &[]).is_none() && Bits::new(1, 57, &[0; 8]).is_none());
        assert!(Bits::new(usize::MAX, 56, &[]).is_none());
        assert_eq!(Bits::new(0, 56, &[]).unwrap().get(0), None);
    }
}
