//! Reads an attribute at once if it is written as by nearly all senders: a key and a value of one type, in this order,
//! without escapes, with at most one space between tokens.
//!
//! Other attributes are read member by member.

use crate::json::number;
use crate::json::text::{Text, plain_text};
use crate::otlp::wire::{put_bytes, put_varint, varint_length};

/// A recognised value.
enum Plain<'t> {
    Text(&'t [u8]),
    Int(i64),
    Bool(bool),
}

/// A position in the text.
struct Cursor<'t> {
    rest: &'t [u8],
}

/// Appends the attribute at the beginning of the text as a field of this number. Returns its length as text; `None`,
/// with nothing appended, if it is written in another way or does not end in the window.
#[inline]
pub(super) fn attribute(text: &[u8], number: u32, out: &mut Vec<u8>) -> Option<usize> {
    let mut cursor = Cursor { rest: text };
    cursor.token(b"{")?;
    cursor.token(b"\"key\":")?;
    let key = cursor.text()?;
    cursor.token(b",")?;
    cursor.token(b"\"value\":")?;
    cursor.token(b"{")?;
    let value = cursor.value()?;
    cursor.token(b"}")?;
    cursor.token(b"}")?;
    let length = text.len() - cursor.rest.len();

    let value_length = value.length();
    let key_length = if key.is_empty() { 0 } else { field_length(key.len()) };
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, (key_length + field_length(value_length)) as u64);
    if !key.is_empty() {
        put_bytes(out, 1, key);
    }
    out.push(2 << 3 | 2);
    put_varint(out, value_length as u64);
    match value {
        Plain::Text(text) => put_bytes(out, 1, text),
        Plain::Bool(flag) => out.extend_from_slice(&[2 << 3, u8::from(flag)]),
        Plain::Int(int) => {
            out.push(3 << 3);
            put_varint(out, int.cast_unsigned());
        }
    }
    Some(length)
}

/// The length of a length-delimited field whose number is below 16.
fn field_length(length: usize) -> usize {
    1 + varint_length(length as u64) + length
}

// === impl Plain ===

impl Plain<'_> {
    /// The length of the value as an `AnyValue`.
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => field_length(text.len()),
            Self::Bool(_) => 2,
            Self::Int(int) => 1 + varint_length(int.cast_unsigned()),
        }
    }
}

// === impl Cursor ===

impl<'t> Cursor<'t> {
    #[inline]
    fn token(&mut self, token: &[u8]) -> Option<()> {
        let rest = self.rest.strip_prefix(token)?;
        self.rest = rest.strip_prefix(b" ").unwrap_or(rest);
        Some(())
    }

    #[inline]
    fn text(&mut self) -> Option<&'t [u8]> {
        let rest = self.rest.strip_prefix(b"\"")?;
        let plain = plain_text(rest);
        let (raw, rest) = rest.split_at(plain.length);
        self.rest = rest;
        self.token(b"\"")?;
        Text { raw, is_ascii: plain.is_ascii, has_escapes: false }.is_utf8().then_some(raw)
    }

    #[inline]
    fn value(&mut self) -> Option<Plain<'t>> {
        if self.token(b"\"stringValue\":").is_some() {
            self.text().map(Plain::Text)
        } else if self.token(b"\"intValue\":").is_some() {
            self.int().map(Plain::Int)
        } else {
            self.token(b"\"boolValue\":")?;
            match self.token(b"true") {
                Some(()) => Some(Plain::Bool(true)),
                None => self.token(b"false").map(|()| Plain::Bool(false)),
            }
        }
    }

    fn int(&mut self) -> Option<i64> {
        if self.rest.starts_with(b"\"") {
            return number::signed(self.text()?);
        }
        let digits = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // JSON has no leading zeros. A number at the end of the window may continue, and other characters need the full
        // parser.
        let is_plain = matches!(digits.get(count), Some(b'}' | b' ')) && (digits[0] != b'0' || count == 1);
        let (number, rest) = self.rest.split_at(self.rest.len() - digits.len() + count);
        let int = is_plain.then(|| number::signed(number)).flatten()?;
        self.rest = rest;
        self.token(b"")?;
        Some(int)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Option<(usize, Vec<u8>)> {
        let mut out = Vec::new();
        let length = attribute(text.as_bytes(), 9, &mut out);
        assert_eq!(length.is_none(), out.is_empty(), "{text}");
        length.map(|length| (length, out))
    }

    #[test]
    fn what_senders_write_is_taken() {
        let (length, field) = taken(r#"{"key":"a","value":{"stringValue":"ä"}},{"#).unwrap();
        assert_eq!((length, &*field), (40, &[0x4a, 9, 0x0a, 1, b'a', 0x12, 4, 0x0a, 2, 0xc3, 0xa4][..]));
        let (length, field) = taken(r#"{"key": "", "value": {"intValue": "-1"}}"#).unwrap();
        assert_eq!((length, &field[..5]), (40, &[0x4a, 13, 0x12, 11, 0x18][..]));
        for text in [
            r#"{"key":"a","value":{"intValue":0}}"#,
            r#"{"key":"a","value":{"intValue":-12}}"#,
            r#"{"key":"a","value":{"boolValue":false}}"#,
        ] {
            assert_eq!(taken(text).unwrap().0, text.len());
        }
    }

    #[test]
    fn everything_else_is_left_to_others() {
        for text in [
            "",
            r#"{"key":"a","value":{"stringValue":"b"}"#,
            r#"{"key":"a","value":{"stringValue":"b\n"}}"#,
            r#"{"key":"a","value":{"intValue":007}}"#,
            r#"{"key":"a","value":{"intValue":1e3}}"#,
            r#"{"key":"a","value":{"intValue":-}}"#,
            r#"{"key":"a","value":{"intValue":12"#,
            r#"{"key":"a","value":{"intValue":"x"}}"#,
            r#"{"key":"a","value":{"boolValue":1}}"#,
            r#"{"key":"a","value":{"doubleValue":1}}"#,
            r#"{"key":"a","value":{"intValue":1,"x":2}}"#,
            r#"{"key":"a","value":{"intValue":1},"x":2}"#,
            r#"{"value":{"intValue":1},"key":"a"}"#,
            r#"{"key":"a"}"#,
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
        let cut = r#"{"key":"abc","value":{"stringValue":"def"}}"#;
        assert!((0..cut.len()).all(|end| taken(&cut[..end]).is_none()));
    }
}
