//! Byte strings by number: each distinct one is kept once.

use xxhash_rust::xxh3::xxh3_64;

/// Whether two byte strings are equal. Most compared strings are short and equal, and a call to `memcmp` costs more
/// than comparing them.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    if a_words.len() > 8 {
        return a == b;
    }
    for (x, y) in a_words.iter().zip(b_words) {
        if u64::from_ne_bytes(*x) != u64::from_ne_bytes(*y) {
            return false;
        }
    }
    if let (Some(x), Some(y)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        return u64::from_ne_bytes(*x) == u64::from_ne_bytes(*y);
    }
    a_rest.iter().zip(b_rest).all(|(x, y)| x == y)
}

/// Numbers byte strings in the order in which they are first seen.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    /// The strings one behind the other, none in two chunks: growing copies nothing.
    chunks: Vec<Vec<u8>>,
    /// The chunk that is being filled.
    chunk: usize,
    strings: Vec<Place>,
    bytes: usize,
    /// Open addressing: the lower half of the hash, and the number plus one; zero is free.
    table: Vec<(u32, u32)>,
}

/// Where a string is.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    begin: u32,
    length: u32,
}

/// A longer string has a chunk of its own.
const CHUNK: usize = 1 << 20;
/// The most chunks that are kept for other strings.
const MAX_SPARE_CHUNKS: usize = 8;

// === impl Interner ===

impl Interner {
    /// Number of strings.
    pub(crate) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Total length of all strings.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> &[u8] {
        let Place { chunk, begin, length } = self.strings[number as usize];
        &self.chunks[chunk as usize][begin as usize..(begin + length) as usize]
    }

    /// Returns the number of a string, which is added if it is new.
    #[inline]
    pub(crate) fn intern(&mut self, string: &[u8]) -> u32 {
        if self.strings.len() * 2 >= self.table.len() {
            self.grow();
        }
        let (mask, tag) = (self.table.len() - 1, xxh3_64(string) as u32);
        let mut at = tag as usize & mask;
        loop {
            match self.table[at] {
                (_, 0) => break,
                (known, number) if known == tag && same(self.get(number - 1), string) => return number - 1,
                _ => at = (at + 1) & mask,
            }
        }
        self.push(string);
        self.table[at] = (tag, self.strings.len() as u32);
        self.strings.len() as u32 - 1
    }

    fn push(&mut self, string: &[u8]) {
        let has_room = |chunk: &Vec<u8>| chunk.capacity() - chunk.len() >= string.len();
        while self.chunks.get(self.chunk).is_some_and(|chunk| !has_room(chunk)) {
            self.chunk += 1;
        }
        if self.chunk == self.chunks.len() {
            self.chunks.push(Vec::with_capacity(CHUNK.max(string.len())));
        }
        let chunk = &mut self.chunks[self.chunk];
        let begin = chunk.len() as u32;
        chunk.extend_from_slice(string);
        self.bytes += string.len();
        self.strings.push(Place { chunk: self.chunk as u32, begin, length: string.len() as u32 });
    }

    /// Removes all strings and keeps the memory, but no more than some chunks.
    pub(crate) fn clear(&mut self) {
        self.chunks.retain(|chunk| chunk.capacity() <= CHUNK);
        self.chunks.truncate(MAX_SPARE_CHUNKS);
        self.chunks.iter_mut().for_each(Vec::clear);
        self.strings.clear();
        (self.chunk, self.bytes) = (0, 0);
        self.table.fill((0, 0));
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(1024);
        let mut table = vec![(0, 0); size];
        for &(tag, number) in self.table.iter().filter(|(_, number)| *number > 0) {
            let mut at = tag as usize & (size - 1);
            while table[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            table[at] = (tag, number);
        }
        self.table = table;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_string_has_one_number() {
        let mut interner = Interner::default();
        let name = |n: u32| format!("{n}").into_bytes();
        for _ in 0..2 {
            for n in 0..5000 {
                assert_eq!(interner.intern(&name(n)), n);
            }
        }
        assert_eq!(interner.intern(b""), 5000);
        assert_eq!((interner.len(), interner.get(17), interner.get(5000)), (5001, &b"17"[..], &b""[..]));
    }

    #[test]
    fn strings_of_any_length_are_kept_whole() {
        let mut interner = Interner::default();
        let lengths = [CHUNK - 1, 2, CHUNK, 3 * CHUNK, 1, 7];
        for round in 0..2 {
            for (number, length) in lengths.iter().enumerate() {
                let string = vec![number as u8; *length];
                assert_eq!(interner.intern(&string), number as u32);
                assert_eq!(interner.get(number as u32), string);
            }
            assert_eq!((interner.len(), interner.bytes()), (6, lengths.iter().sum()));
            if round == 0 {
                interner.clear();
                assert_eq!((interner.len(), interner.bytes()), (0, 0));
                let kept: usize = interner.chunks.iter().map(Vec::capacity).sum();
                assert!(kept <= MAX_SPARE_CHUNKS * CHUNK, "long strings are not kept");
            }
        }
    }
}
