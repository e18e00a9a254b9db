//! Reads the tokens of JSON (RFC 8259) from a stream. Memory holds a window of the text: the current token and one
//! chunk that was read ahead.
//!
//! The scanner knows the grammar and the position; the encoder knows names and values.

use std::io::{self, Read};

use super::text::{Text, plain_text};

/// Why the text cannot be read further.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The text is not JSON. The message has the reason, the line and the column.
    Syntax(String),
    /// The source failed.
    Read(io::Error),
}

/// Reads tokens, one after another.
pub(crate) struct Scanner<'s> {
    source: &'s mut dyn Read,
    window: Vec<u8>,
    /// The offset of the next token in the window.
    at: usize,
    /// The position of the window in the text.
    begin: Position,
    has_ended: bool,
}

/// The progress in an object or array.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    has_begun: bool,
}

/// Lines and columns so far; both count from zero.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    line: u64,
    column: u64,
}

/// The kinds of the objects and arrays around a skipped value, one bit each: a text of brackets alone takes an eighth
/// of its length.
#[derive(Default)]
struct Nesting {
    bits: Vec<u64>,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Composite {
    Object,
    Array,
}

/// Bytes that are read at a time.
const CHUNK: usize = 32 << 10;

// === impl Scanner ===

impl<'s> Scanner<'s> {
    pub(crate) fn new(source: &'s mut dyn Read) -> Self {
        Self { source, window: Vec::new(), at: 0, begin: Position::default(), has_ended: false }
    }

    /// The first byte of the next token; `None` at the end of the text.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            match self.window.get(self.at).copied() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(Some(byte)),
                None if self.refill()? => {}
                None => return Ok(None),
            }
        }
    }

    /// The first byte of a value, which has to follow.
    #[inline]
    pub(crate) fn peek_value(&mut self) -> Result<u8, Fault> {
        match self.peek()? {
            Some(byte @ (b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')) => Ok(byte),
            Some(_) => Err(self.syntax("expected a value")),
            None => Err(self.syntax("expected a value, found the end")),
        }
    }

    /// The text in the window from the next token on.
    #[inline]
    pub(crate) fn window(&self) -> &[u8] {
        &self.window[self.at..]
    }

    /// Skips tokens that the caller has read in the window.
    #[inline]
    pub(crate) fn pass(&mut self, length: usize) {
        self.at += length;
    }

    /// Skips the first byte of an object or array, after a peek at it.
    #[inline]
    pub(crate) fn open(&mut self) {
        self.at += 1;
    }

    /// Reads the name of the next member and the colon after it; `None` at the end of the object.
    #[inline]
    pub(crate) fn next_member<T>(
        &mut self,
        progress: &mut Progress,
        find: impl FnOnce(Text<'_>) -> T,
    ) -> Result<Option<T>, Fault> {
        if self.advance(progress, b'}')? { self.name(find).map(Some) } else { Ok(None) }
    }

    /// Moves to the name of the next member, which [`Scanner::name`] reads, or the caller in the window; `false` at the end
    /// of the object.
    #[inline]
    pub(crate) fn next_name(&mut self, progress: &mut Progress) -> Result<bool, Fault> {
        self.advance(progress, b'}')
    }

    /// Moves to the next item; `false` at the end of the array.
    #[inline]
    pub(crate) fn next_item(&mut self, progress: &mut Progress) -> Result<bool, Fault> {
        self.advance(progress, b']')
    }

    #[inline]
    fn advance(&mut self, progress: &mut Progress, end: u8) -> Result<bool, Fault> {
        let next = self.peek()?;
        if next == Some(end) {
            self.at += 1;
            return Ok(false);
        }
        if progress.has_begun {
            if next != Some(b',') {
                return Err(self.syntax("expected a comma, or the end of the object or array"));
            }
            self.at += 1;
        }
        progress.has_begun = true;
        Ok(true)
    }

    /// Reads the name of a member and the colon after it.
    #[inline]
    pub(crate) fn name<T>(&mut self, find: impl FnOnce(Text<'_>) -> T) -> Result<T, Fault> {
        if self.peek()? != Some(b'"') {
            return Err(self.syntax("expected the name of a member, in double quotes"));
        }
        let found = find(self.text()?);
        if self.peek()? != Some(b':') {
            return Err(self.syntax("expected a colon"));
        }
        self.at += 1;
        Ok(found)
    }

    /// Reads a string, after a peek at its first byte.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text<'_>, Fault> {
        self.at += 1;
        let (mut length, mut is_ascii, mut has_escapes) = (0, true, false);
        loop {
            let plain = plain_text(&self.window[self.at + length..]);
            length += plain.length;
            is_ascii &= plain.is_ascii;
            match self.ahead(length)? {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    length += self.escape(length)?;
                }
                Some(0..0x20) => return Err(self.syntax("a string holds a control character")),
                // The window ended inside the string and is refilled now.
                Some(_) => {}
                None => return Err(self.syntax("the text ends inside a string")),
            }
        }
        let begin = self.at;
        self.at += length + 1;
        Ok(Text { raw: &self.window[begin..begin + length], is_ascii, has_escapes })
    }

    /// The length of the escape sequence at this offset.
    fn escape(&mut self, at: usize) -> Result<usize, Fault> {
        match self.ahead(at + 1)? {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') => {
                for digit in at + 2..at + 6 {
                    if !self.ahead(digit)?.is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.syntax("a string holds \\u without four hex digits"));
                    }
                }
                Ok(6)
            }
            _ => Err(self.syntax("a string holds an escape that JSON does not know")),
        }
    }

    /// Reads a number, after a peek at its first byte.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<&[u8], Fault> {
        let mut length = 0;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.ahead(length)? {
            length += 1;
        }
        let number = self.at..self.at + length;
        if !is_number(&self.window[number.clone()]) {
            return Err(self.syntax("a number is not written as JSON writes it"));
        }
        self.at = number.end;
        Ok(&self.window[number])
    }

    /// Reads `true`, `false` or `null`, after a peek at its first byte.
    pub(crate) fn literal(&mut self) -> Result<&'static str, Fault> {
        let word = match self.ahead(0)? {
            Some(b't') => "true",
            Some(b'f') => "false",
            _ => "null",
        };
        for (at, letter) in word.bytes().enumerate() {
            if self.ahead(at)? != Some(letter) {
                return Err(self.syntax("expected true, false or null"));
            }
        }
        self.at += word.len();
        Ok(word)
    }

    /// Skips a value of any depth.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        let mut nesting = Nesting::default();
        loop {
            match self.peek_value()? {
                b'"' => drop(self.text()?),
                b'{' => {
                    self.open();
                    nesting.push(Composite::Object);
                    if self.peek()? != Some(b'}') {
                        self.name(|_| ())?;
                        continue;
                    }
                }
                b'[' => {
                    self.open();
                    nesting.push(Composite::Array);
                    if self.peek()? != Some(b']') {
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => drop(self.number()?),
                _ => drop(self.literal()?),
            }
            // A value has ended, and perhaps the object or array around it.
            loop {
                match (nesting.innermost(), self.after_value(&nesting)?) {
                    (None, _) => return Ok(()),
                    (Some(Composite::Object), b',') => {
                        self.name(|_| ())?;
                        break;
                    }
                    (Some(Composite::Array), b',') => break,
                    _ => nesting.pop(),
                }
            }
        }
    }

    /// Skips the token after a value in an object or array: a comma or the end.
    fn after_value(&mut self, nesting: &Nesting) -> Result<u8, Fault> {
        let end = match nesting.innermost() {
            None => return Ok(0),
            Some(Composite::Object) => b'}',
            Some(Composite::Array) => b']',
        };
        match self.peek()? {
            Some(byte) if byte == b',' || byte == end => {
                self.at += 1;
                Ok(byte)
            }
            _ => Err(self.syntax("expected a comma, or the end of the object or array")),
        }
    }

    /// The byte at this offset from the next token.
    #[inline]
    fn ahead(&mut self, at: usize) -> Result<Option<u8>, Fault> {
        loop {
            match self.window.get(self.at + at).copied() {
                Some(byte) => return Ok(Some(byte)),
                None if self.refill()? => {}
                None => return Ok(None),
            }
        }
    }

    /// Reads more of the text, and drops the window before the next token; `false` at the end.
    #[cold]
    fn refill(&mut self) -> Result<bool, Fault> {
        if self.has_ended {
            return Ok(false);
        }
        self.begin.pass(&self.window[..self.at]);
        self.window.drain(..self.at);
        self.at = 0;
        let mut chunk = (&mut *self.source).take(CHUNK as u64);
        let read = chunk.read_to_end(&mut self.window).map_err(Fault::Read)?;
        self.has_ended = read < CHUNK;
        Ok(read > 0)
    }

    /// A syntax error at the next token.
    #[cold]
    pub(crate) fn syntax(&self, message: &str) -> Fault {
        let mut position = self.begin;
        position.pass(&self.window[..self.at.min(self.window.len())]);
        let Position { line, column } = position;
        Fault::Syntax(format!("{message}, at line {} column {}", line + 1, column + 1))
    }
}

// === impl Position ===

impl Position {
    fn pass(&mut self, text: &[u8]) {
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        self.line += lines as u64;
        self.column += text.len() as u64;
        if lines > 0 {
            self.column = text.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
        }
    }
}

// === impl Nesting ===

impl Nesting {
    fn push(&mut self, composite: Composite) {
        if self.depth.is_multiple_of(64) {
            self.bits.push(0);
        }
        if let Some(last) = self.bits.last_mut() {
            let bit = 1 << (self.depth % 64);
            match composite {
                Composite::Object => *last |= bit,
                Composite::Array => *last &= !bit,
            }
        }
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        if self.depth.is_multiple_of(64) {
            self.bits.pop();
        }
    }

    fn innermost(&self) -> Option<Composite> {
        let at = self.depth.checked_sub(1)?;
        let is_object = self.bits.last()? >> (at % 64) & 1 == 1;
        Some(if is_object { Composite::Object } else { Composite::Array })
    }
}

// === numbers ===

/// Whether bytes are a number of JSON. The caller has checked that they are digits, signs, points and exponents.
fn is_number(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (whole, rest) = digits(bytes);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        _ => (&b"0"[..], rest),
    };
    let (exponent, rest) = match rest {
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => digits(rest),
        _ => (&b"0"[..], rest),
    };
    let is_whole = matches!(whole, [b'0'] | [b'1'..=b'9', ..]);
    is_whole && !fraction.is_empty() && !exponent.is_empty() && rest.is_empty()
}

#[inline]
fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    bytes.split_at(end)
}
