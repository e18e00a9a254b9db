//! A filter over tokens: says "not here" for certain, or "perhaps".
//!
//! A split block Bloom filter: a token sets one bit in each of the eight 32-bit words of one 256-bit
//! bucket, so that a question touches one cache line. With 12 bits a token about 0.7 % of absent
//! tokens are answered with "perhaps".
//!
//! Layout: buckets of eight 32-bit words, little endian.

use bytes::{Buf, Bytes};

use crate::token::Token;

/// Built over the distinct tokens of a block. Read in place: a question looks at one bucket of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFilter {
    /// Whole buckets, at least one.
    bytes: Bytes,
}

/// The filters of a block: what its resources hold, and what the spans of each page hold.
///
/// Layout: for the resources and then for each page, the length (4, little endian) and the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFilters {
    /// Over the tokens of all resources.
    pub resources: TokenFilter,
    /// Over the tokens of the span attributes of each page.
    pub pages: Vec<TokenFilter>,
}

const BITS_PER_TOKEN: usize = 12;
const BUCKET_BYTES: usize = 32;
const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

// === impl TokenFilter ===

impl TokenFilter {
    /// A filter that knows these tokens; `count` of them are expected.
    pub fn new(count: usize, tokens: impl IntoIterator<Item = Token>) -> Self {
        let mut buckets = vec![[0u32; 8]; (count * BITS_PER_TOKEN).div_ceil(BUCKET_BYTES * 8).max(1)];
        for token in tokens {
            let at = bucket_of(token, buckets.len());
            for (word, mask) in buckets[at].iter_mut().zip(masks(token)) {
                *word |= mask;
            }
        }
        Self { bytes: buckets.iter().flatten().flat_map(|word| word.to_le_bytes()).collect() }
    }

    /// Whether the token may be among those that the filter was built with.
    pub fn may_contain(&self, token: Token) -> bool {
        let (buckets, _) = self.bytes.as_chunks::<BUCKET_BYTES>();
        let (words, _) = buckets[bucket_of(token, buckets.len())].as_chunks::<4>();
        words.iter().zip(masks(token)).all(|(word, mask)| u32::from_le_bytes(*word) & mask != 0)
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Its bytes.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// Back from its bytes; `None` unless they are whole buckets, at least one.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let whole = !bytes.is_empty() && bytes.len().is_multiple_of(BUCKET_BYTES);
        whole.then_some(Self { bytes })
    }
}

// === impl PageFilters ===

impl PageFilters {
    /// Of a block without filters: they rule nothing out.
    pub fn absent(pages: usize) -> Self {
        let perhaps = TokenFilter { bytes: Bytes::from_static(&[0xff; BUCKET_BYTES]) };
        Self { resources: perhaps.clone(), pages: vec![perhaps; pages] }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for filter in std::iter::once(&self.resources).chain(&self.pages) {
            out.extend_from_slice(&(filter.size() as u32).to_le_bytes());
            out.extend_from_slice(filter.encode());
        }
        out
    }

    /// Back from their section.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let mut filters = Vec::new();
        while bytes.has_remaining() {
            let length = bytes.try_get_u32_le().ok()? as usize;
            let filter = (length <= bytes.len()).then(|| bytes.split_to(length))?;
            filters.push(TokenFilter::decode(filter)?);
        }
        let mut filters = filters.into_iter();
        Some(Self { resources: filters.next()?, pages: filters.collect() })
    }

    /// Bytes that they take.
    pub fn size(&self) -> usize {
        self.resources.size() + self.pages.iter().map(TokenFilter::size).sum::<usize>()
    }
}

fn bucket_of(token: Token, buckets: usize) -> usize {
    (((token.0 >> 32) * buckets as u64) >> 32) as usize
}

fn masks(token: Token) -> [u32; 8] {
    SALT.map(|salt| 1 << ((token.0 as u32).wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(from: u64, to: u64) -> impl Iterator<Item = Token> {
        (from..to).map(|n| Token::of_key(&n.to_string()))
    }

    #[test]
    fn knows_what_it_was_given_and_little_else() {
        let filter = TokenFilter::new(10_000, tokens(0, 10_000));
        let filter = TokenFilter::decode(filter.bytes).unwrap();
        assert!(tokens(0, 10_000).all(|token| filter.may_contain(token)));
        let wrong = tokens(10_000, 110_000).filter(|token| filter.may_contain(*token)).count();
        assert!(wrong < 1_500, "{wrong} of 100,000 absent tokens were not told apart");
    }

    #[test]
    fn empty_and_damaged() {
        assert!(!TokenFilter::new(0, []).may_contain(Token(7)));
        let absent = PageFilters::absent(2);
        assert!(tokens(0, 100).all(|token| absent.pages[1].may_contain(token)));
        assert_eq!(TokenFilter::decode(Bytes::new()), None);
        assert_eq!(TokenFilter::decode(Bytes::from_static(&[0; 33])), None);
    }
}
