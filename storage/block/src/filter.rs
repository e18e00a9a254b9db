//! Bloom filters over tokens: they answer "not here" with certainty, or "perhaps".
//!
//! A split block Bloom filter: a token sets one bit in each of the eight 32-bit words of one 256-bit bucket, so that a
//! lookup touches one cache line.
//!
//! Layout: buckets of eight 32-bit words, little endian.

use bytes::{Buf, Bytes};

use crate::token::Token;

/// A filter over the distinct tokens of a block. It is read without decoding: a lookup reads one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BloomFilter {
    /// Whole buckets, at least one.
    bytes: Bytes,
}

/// One part of the Bloom filters of a block: filters of its resources, of all its spans, and of the spans of each page,
/// over the tokens whose hash begins with the number of the part. [`Token::IRREGULAR`] is in every part.
///
/// The filter of all spans is the precise one: with thousands of pages, their filters alone would let some pages
/// through for a value that the block does not have. Filters of pages are coarse, as they are checked only after it.
///
/// A lookup reads one part, a small share of the whole. The number of parts is a power of two that grows with the
/// tokens.
///
/// Layout: for the resources, for all spans (not in format 2), and for each page, the length (4, little
/// endian) and the filter. Within part n of 2^k, tokens are rotated left by k bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterPart {
    /// The number of parts is 2^k; this is k.
    bits: u32,
    /// Over the tokens of all resources.
    resources: BloomFilter,
    /// Over the tokens of all span attributes.
    spans: Option<BloomFilter>,
    /// Over the tokens of each page.
    pages: Vec<BloomFilter>,
}

/// Collects the tokens of a block for its filters.
#[derive(Debug, Default)]
pub(crate) struct FilterBuilder {
    /// Distinct tokens of each page.
    pages: Vec<Vec<Token>>,
}

/// Bits for each token; about 0.7 % of absent tokens are answered with "perhaps".
const SHARP: usize = 12;
/// Bits for each token; about 3 % of absent tokens are answered with "perhaps".
const COARSE: usize = 8;
const BUCKET_BYTES: usize = 32;
/// The first format with a filter over all spans.
const WITH_SPANS: u16 = 3;
/// At most 2^4 parts, because each is a section of its own.
const MAX_PART_BITS: u32 = 4;
/// Filters are split only into parts of at least this many bytes.
const LEAST_PART: usize = 8 << 10;
const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

// === impl BloomFilter ===

impl BloomFilter {
    /// Builds a filter over these tokens with so many bits for each.
    fn new(bits: usize, tokens: &[Token]) -> Self {
        let mut buckets = vec![[0u32; 8]; (tokens.len() * bits).div_ceil(BUCKET_BYTES * 8).max(1)];
        for token in tokens {
            let at = bucket_of(*token, buckets.len());
            for (word, mask) in buckets[at].iter_mut().zip(masks(*token)) {
                *word |= mask;
            }
        }
        Self { bytes: buckets.iter().flatten().flat_map(|word| word.to_le_bytes()).collect() }
    }

    /// Whether the filter may contain the token; false is certain.
    pub fn may_contain(&self, token: Token) -> bool {
        let (buckets, _) = self.bytes.as_chunks::<BUCKET_BYTES>();
        let (words, _) = buckets[bucket_of(token, buckets.len())].as_chunks::<4>();
        words.iter().zip(masks(token)).all(|(word, mask)| u32::from_le_bytes(*word) & mask != 0)
    }

    /// Bytes in memory and on disk.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The encoded filter: its buckets.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// Decodes a filter; `None` unless the bytes are whole buckets, at least one.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let whole = !bytes.is_empty() && bytes.len().is_multiple_of(BUCKET_BYTES);
        whole.then_some(Self { bytes })
    }
}

// === impl FilterPart ===

impl FilterPart {
    /// The number of the part that contains a token.
    pub fn of_token(token: Token, parts: usize) -> usize {
        (token.0.rotate_left(part_bits(parts)) as usize) & (parts.max(1) - 1)
    }

    /// Whether a resource may have the token, which must belong to this part.
    pub fn resources_may_have(&self, token: Token) -> bool {
        self.resources.may_contain(self.rotated(token))
    }

    /// Whether a span of the page may have the token, which must belong to this part; also true if the page has
    /// attributes that are kept as bytes.
    pub fn page_may_have(&self, page: usize, token: Token) -> bool {
        self.page_knows(page, token) || self.page_knows(page, Token::IRREGULAR)
    }

    /// Whether the filters contain the token itself for this page.
    pub fn page_knows(&self, page: usize, token: Token) -> bool {
        let token = self.rotated(token);
        self.spans.as_ref().is_none_or(|spans| spans.may_contain(token))
            && self.pages[page].may_contain(token)
    }

    fn rotated(&self, token: Token) -> Token {
        Token(token.0.rotate_left(self.bits))
    }

    /// The number of pages that have a filter.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Decodes a part; `parts` is the number of parts, `pages` the number of pages of the block, and `version` the
    /// format of the block.
    pub fn decode(mut bytes: Bytes, parts: usize, pages: usize, version: u16) -> Option<Self> {
        if !parts.is_power_of_two() || parts > 1 << MAX_PART_BITS {
            return None;
        }
        let mut filters = Vec::new();
        while bytes.has_remaining() {
            let length = bytes.try_get_u32_le().ok()? as usize;
            let filter = (length <= bytes.len()).then(|| bytes.split_to(length))?;
            filters.push(BloomFilter::decode(filter)?);
        }
        let mut filters = filters.into_iter();
        let resources = filters.next()?;
        let spans = if version >= WITH_SPANS { Some(filters.next()?) } else { None };
        let pages = (filters.len() == pages).then(|| filters.collect())?;
        Some(Self { bits: part_bits(parts), resources, spans, pages })
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        let filters = self.pages.iter().chain(&self.spans).chain([&self.resources]);
        filters.map(|filter| filter.size() + size_of::<BloomFilter>()).sum()
    }
}

/// The k of 2^k parts.
fn part_bits(parts: usize) -> u32 {
    parts.checked_ilog2().unwrap_or(0)
}

// === impl FilterBuilder ===

impl FilterBuilder {
    /// Adds a page with its distinct tokens.
    pub(crate) fn push_page(&mut self, tokens: impl Iterator<Item = Token>) {
        self.pages.push(tokens.collect());
    }

    /// All tokens as one part with precise filters for the pages, for blocks with few pages.
    pub(crate) fn whole(&self, resources: &[Token]) -> FilterPart {
        let page = |tokens: &Vec<Token>| BloomFilter::new(SHARP, tokens);
        let resources = BloomFilter::new(SHARP, &distinct(resources.to_vec()));
        FilterPart { bits: 0, resources, spans: None, pages: self.pages.iter().map(page).collect() }
    }

    /// The sections of all parts, in order.
    pub(crate) fn finish(&self, resources: &[Token]) -> Vec<Vec<u8>> {
        let resources = &distinct(resources.to_vec());
        let tokens = resources.len() + self.pages.iter().map(Vec::len).sum::<usize>();
        let parts = (tokens * COARSE / 8 / LEAST_PART).max(1);
        let bits = parts.ilog2().min(MAX_PART_BITS);
        let pages: Vec<_> = self.pages.iter().map(|tokens| split(tokens, bits)).collect();
        let resources = split(resources, bits);
        let part = |number: usize| {
            let spans = distinct(pages.iter().flat_map(|page| page[number].iter().copied()).collect());
            let mut out = Vec::new();
            put(&mut out, &BloomFilter::new(SHARP, &resources[number]));
            put(&mut out, &BloomFilter::new(SHARP, &spans));
            pages.iter().for_each(|page| put(&mut out, &BloomFilter::new(COARSE, &page[number])));
            out
        };
        (0..1 << bits).map(part).collect()
    }
}

fn distinct(mut tokens: Vec<Token>) -> Vec<Token> {
    tokens.sort_unstable_by_key(|token| token.0);
    tokens.dedup();
    tokens
}

fn put(out: &mut Vec<u8>, filter: &BloomFilter) {
    out.extend_from_slice(&(filter.size() as u32).to_le_bytes());
    out.extend_from_slice(filter.encode());
}

/// The tokens of each of 2^`bits` parts, rotated. [`Token::IRREGULAR`] goes into all of them.
fn split(tokens: &[Token], bits: u32) -> Vec<Vec<Token>> {
    let mut parts: Vec<Vec<Token>> = vec![Vec::new(); 1 << bits];
    for token in tokens {
        let rotated = Token(token.0.rotate_left(bits));
        if *token == Token::IRREGULAR {
            parts.iter_mut().for_each(|part| part.push(rotated));
        } else {
            parts[FilterPart::of_token(*token, 1 << bits)].push(rotated);
        }
    }
    parts
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
        for (bits, most) in [(SHARP, 1_500), (COARSE, 5_000)] {
            let known: Vec<Token> = tokens(0, 10_000).collect();
            let filter = BloomFilter::decode(BloomFilter::new(bits, &known).bytes).unwrap();
            assert!(known.iter().all(|token| filter.may_contain(*token)));
            let wrong = tokens(10_000, 110_000).filter(|token| filter.may_contain(*token)).count();
            assert!(wrong < most, "{wrong} of 100,000 absent tokens were not told apart");
        }
    }

    #[test]
    fn empty_and_damaged() {
        assert!(!BloomFilter::new(SHARP, &[]).may_contain(Token(7)));
        assert_eq!(BloomFilter::decode(Bytes::new()), None);
        assert_eq!(BloomFilter::decode(Bytes::from_static(&[0; 33])), None);
    }

    #[test]
    fn parts_know_their_tokens_and_only_those_of_their_page() {
        for (count, parts) in [(10, 1), (17_000, 2), (200_000, 16)] {
            let mut builder = FilterBuilder::default();
            builder.push_page(tokens(0, count / 2));
            builder.push_page(tokens(count / 2, count).chain([Token::IRREGULAR]));
            builder.push_page(std::iter::empty());
            let sections = builder.finish(&[Token(1), Token(u64::MAX)]);
            assert_eq!(sections.len(), parts);
            let decode = |bytes: Vec<u8>| FilterPart::decode(bytes.into(), parts, 3, 3).unwrap();
            let decoded: Vec<FilterPart> = sections.into_iter().map(decode).collect();
            let of = |token| &decoded[FilterPart::of_token(token, parts)];
            assert!([1, u64::MAX].map(Token).iter().all(|token| of(*token).resources_may_have(*token)));
            assert!(tokens(0, count / 2).all(|token| of(token).page_may_have(0, token)));
            assert!(tokens(0, count).all(|token| of(token).page_may_have(1, token)), "irregular");
            assert!(!tokens(0, count).any(|token| of(token).page_may_have(2, token)));
            let wrong = |from, to| tokens(from, to).filter(|t| of(*t).page_knows(0, *t)).count() as u64;
            let (elsewhere, nowhere) = (wrong(count / 2, count), wrong(count, 2 * count));
            assert!(
                elsewhere * 15 < count.max(60) && nowhere * 400 < count.max(400),
                "{elsewhere}, {nowhere}"
            );
        }
    }

    #[test]
    fn a_whole_filter_knows_the_same() {
        let mut builder = FilterBuilder::default();
        builder.push_page(tokens(0, 1_000));
        builder.push_page(tokens(1_000, 2_000).chain([Token::IRREGULAR]));
        let whole = builder.whole(&[Token(7), Token(7)]);
        assert_eq!(whole.pages(), 2);
        assert!(whole.resources_may_have(Token(7)) && !whole.resources_may_have(Token(8)));
        assert!(tokens(0, 1_000).all(|token| whole.page_may_have(0, token)));
        assert!(tokens(0, 3_000).all(|token| whole.page_may_have(1, token)), "irregular");
        let wrong = tokens(1_000, 11_000).filter(|token| whole.page_may_have(0, *token)).count();
        assert!(wrong < 150, "{wrong} of 10,000 absent tokens were not told apart");
    }

    #[test]
    fn parts_that_are_damaged() {
        let mut builder = FilterBuilder::default();
        builder.push_page(tokens(0, 100));
        let part = builder.finish(&[]).remove(0);
        let decode =
            |bytes: &[u8], parts, pages| FilterPart::decode(Bytes::copy_from_slice(bytes), parts, pages, 3);
        assert!(decode(&part, 1, 1).is_some_and(|part| part.spans.is_some()));
        let old = FilterPart::decode(part.clone().into(), 1, 2, 2);
        assert!(old.is_some_and(|part| part.spans.is_none()), "as format 2 had it");
        for (bytes, parts, pages) in [
            (&part[..], 3, 1),
            (&part[..], 0, 1),
            (&part[..], 32, 1),
            (&part[..], 1, 3),
            (&part[1..], 1, 1),
            (&[], 1, 1),
        ] {
            assert_eq!(decode(bytes, parts, pages), None);
        }
        assert!((1..part.len()).all(|cut| decode(&part[..cut], 1, 1).is_none()));
    }
}
