//! A filter over tokens: says "not here" for certain, or "perhaps".
//!
//! A split block Bloom filter: a token sets one bit in each of the eight 32-bit words of one 256-bit
//! bucket, so that a question touches one cache line. With 12 bits a token about 0.7 % of absent
//! tokens are answered with "perhaps".
//!
//! Layout: buckets of eight 32-bit words, little endian.

use crate::token::Token;

/// Built over the distinct tokens of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFilter {
    buckets: Vec<[u32; 8]>,
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
        let buckets = (count * BITS_PER_TOKEN).div_ceil(BUCKET_BYTES * 8).max(1);
        let mut filter = Self { buckets: vec![[0; 8]; buckets] };
        for token in tokens {
            let at = filter.bucket_of(token);
            for (word, mask) in filter.buckets[at].iter_mut().zip(masks(token)) {
                *word |= mask;
            }
        }
        filter
    }

    /// Whether the token may be among those that the filter was built with.
    pub fn may_contain(&self, token: Token) -> bool {
        self.buckets[self.bucket_of(token)].iter().zip(masks(token)).all(|(word, mask)| word & mask != 0)
    }

    fn bucket_of(&self, token: Token) -> usize {
        (((token.0 >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.buckets.len() * BUCKET_BYTES
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.buckets.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Back from its bytes; `None` unless they are whole buckets, at least one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(BUCKET_BYTES) {
            return None;
        }
        let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let bucket = |b: &[u8]| std::array::from_fn(|i| word(&b[4 * i..4 * i + 4]));
        Some(Self { buckets: bytes.chunks_exact(BUCKET_BYTES).map(bucket).collect() })
    }
}

// === impl PageFilters ===

impl PageFilters {
    /// Of a block without filters: they rule nothing out.
    pub fn absent(pages: usize) -> Self {
        let perhaps = TokenFilter { buckets: vec![[u32::MAX; 8]] };
        Self { resources: perhaps.clone(), pages: vec![perhaps; pages] }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for filter in std::iter::once(&self.resources).chain(&self.pages) {
            out.extend_from_slice(&(filter.size() as u32).to_le_bytes());
            out.extend(filter.encode());
        }
        out
    }

    /// Back from their section.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut filters = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let (filter, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            filters.push(TokenFilter::decode(filter)?);
            bytes = rest;
        }
        let mut filters = filters.into_iter();
        Some(Self { resources: filters.next()?, pages: filters.collect() })
    }

    /// Bytes that they take.
    pub fn size(&self) -> usize {
        self.resources.size() + self.pages.iter().map(TokenFilter::size).sum::<usize>()
    }
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
        let filter = TokenFilter::decode(&filter.encode()).unwrap();
        assert!(tokens(0, 10_000).all(|token| filter.may_contain(token)));
        let wrong = tokens(10_000, 110_000).filter(|token| filter.may_contain(*token)).count();
        assert!(wrong < 1_500, "{wrong} of 100,000 absent tokens were not told apart");
    }

    #[test]
    fn empty_and_damaged() {
        assert!(!TokenFilter::new(0, []).may_contain(Token(7)));
        let absent = PageFilters::absent(2);
        assert!(tokens(0, 100).all(|token| absent.pages[1].may_contain(token)));
        assert_eq!(TokenFilter::decode(&[]), None);
        assert_eq!(TokenFilter::decode(&[0; 33]), None);
    }
}
