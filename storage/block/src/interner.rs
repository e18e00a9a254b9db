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
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Open addressing: the upper half of the hash, and the number plus one; zero is free.
    table: Vec<(u32, u32)>,
}

// === impl Interner ===

impl Interner {
    /// Number of strings.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Total length of all strings.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let begin = if number == 0 { 0 } else { self.ends[number - 1] as usize };
        &self.bytes[begin..self.ends[number] as usize]
    }

    /// Returns the number of a string, which is added if it is new.
    #[inline]
    pub(crate) fn intern(&mut self, string: &[u8]) -> u32 {
        if self.ends.len() * 2 >= self.table.len() {
            self.grow();
        }
        let hash = xxh3_64(string);
        let (mask, tag) = (self.table.len() - 1, (hash >> 32) as u32);
        let mut at = hash as usize & mask;
        loop {
            match self.table[at] {
                (_, 0) => break,
                (known, number) if known == tag && same(self.get(number - 1), string) => return number - 1,
                _ => at = (at + 1) & mask,
            }
        }
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len() as u32);
        self.table[at] = (tag, self.ends.len() as u32);
        self.ends.len() as u32 - 1
    }

    /// Removes all strings and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.table.fill((0, 0));
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(1024);
        let mut table = vec![(0, 0); size];
        for number in 0..self.ends.len() as u32 {
            let hash = xxh3_64(self.get(number));
            let mut at = hash as usize & (size - 1);
            while table[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            table[at] = ((hash >> 32) as u32, number + 1);
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
}
