//! The content of JSON strings: escapes resolved, surrogates joined.

/// A string without its quotes. Its escapes are valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'b> {
    pub raw: &'b [u8],
    pub is_ascii: bool,
    pub has_escapes: bool,
}

/// The standard library is faster on short strings, such as most attributes, and SIMD on long ones.
const LONG_TEXT: usize = 64;

// === impl Text ===

impl<'b> Text<'b> {
    /// Whether the raw text is UTF-8. Escapes are ASCII and do not matter here.
    #[inline]
    pub(crate) fn is_utf8(&self) -> bool {
        self.is_ascii
            || if self.raw.len() < LONG_TEXT {
                std::str::from_utf8(self.raw).is_ok()
            } else {
                simdutf8::basic::from_utf8(self.raw).is_ok()
            }
    }

    /// The content; if there are escapes, it is built in `scratch`.
    #[inline]
    pub(crate) fn resolve<'t>(self, scratch: &'t mut Vec<u8>) -> &'t [u8]
    where
        'b: 't,
    {
        if !self.has_escapes {
            return self.raw;
        }
        scratch.clear();
        resolve(self.raw, scratch);
        scratch
    }
}

// === parts of strings ===

/// The beginning of a string that needs no escapes.
pub(crate) struct Plain {
    pub length: usize,
    pub is_ascii: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The bytes before the first quote, backslash or control character, read eight at a time.
#[inline]
pub(crate) fn plain_text(bytes: &[u8]) -> Plain {
    let mut seen = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is zero or below a space. Exact up to the first such byte.
        let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let special = (quote | backslash | control) & HIGH;
        if special != 0 {
            let before = special.trailing_zeros() / 8;
            seen |= word & ((1 << (8 * before)) - 1);
            return Plain { length: 8 * at + before as usize, is_ascii: seen & HIGH == 0 };
        }
        seen |= word;
    }
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    let length = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
    let is_ascii = seen & HIGH == 0 && rest[..length].is_ascii();
    Plain { length: 8 * words.len() + length, is_ascii }
}

fn resolve(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        rest = escape(&rest[at..], out);
    }
    out.extend_from_slice(rest);
}

/// Appends the character of an escape sequence; returns the rest.
fn escape<'r>(raw: &'r [u8], out: &mut Vec<u8>) -> &'r [u8] {
    if let [_, b'u', ..] = raw {
        return code_point(raw, out);
    }
    let Some((sequence, rest)) = raw.split_at_checked(2) else { return &[] };
    out.push(match sequence[1] {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    });
    rest
}

/// Reads one `\u` sequence, or a pair of surrogates. A single surrogate, which senders write that cut a text by its
/// UTF-16 units, becomes U+FFFD: the rest of the text is kept.
fn code_point<'r>(raw: &'r [u8], out: &mut Vec<u8>) -> &'r [u8] {
    let Some((unit, rest)) = code_unit(raw) else { return &[] };
    let (code, rest) = match (unit, code_unit(rest)) {
        (0xd800..0xdc00, Some((low @ 0xdc00..0xe000, behind))) => {
            (0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00)), behind)
        }
        _ => (unit, rest),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn code_unit(raw: &[u8]) -> Option<(u32, &[u8])> {
    let digits = std::str::from_utf8(raw.strip_prefix(b"\\u")?.get(..4)?).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, &raw[6..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(raw: &str) -> String {
        let mut out = Vec::new();
        resolve(raw.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_say_what_json_says() {
        assert_eq!(said(r#"a\"\\\/\b\f\n\r\tz"#), "a\"\\/\u{8}\u{c}\n\r\tz");
        assert_eq!(said(r"\u00e4\u20AC\ud83c\udf89\u0000"), "ä€🎉\0");
    }

    #[test]
    fn a_surrogate_without_its_other_half_is_replaced() {
        assert_eq!(said(r"party \ud83c"), "party \u{fffd}");
        assert_eq!(said(r"\ud83c!"), "\u{fffd}!");
        assert_eq!(said(r"\udf89\ud83c"), "\u{fffd}\u{fffd}");
        assert_eq!(said(r"\ud83c\ud83c\udf89"), "\u{fffd}🎉");
        assert_eq!(said(r"\ud83c\u0041"), "\u{fffd}A");
        assert_eq!(said(r"\ud83c\n"), "\u{fffd}\n");
    }
}
