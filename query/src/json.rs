//! JSON objects written member by member, straight into a buffer.

use spandrel_proto::otlp::write_string;

/// An object that is being written. Members are written in the order of the calls.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

/// Writes a list, with commas between what `write` writes.
pub(crate) fn list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Writes bytes as a string of lower-case hex digits.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    out.extend(
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
    out.push(b'"');
}

/// Writes a number. A tree has ten numbers per span, and `itoa` is faster than `core::fmt`.
fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

// === impl Object ===

impl<'o> Object<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a member's name. The caller writes the value next.
    pub(crate) fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn string(&mut self, name: &str, text: &str) {
        write_string(self.name(name), text);
    }

    pub(crate) fn string_or_null(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.string(name, text),
            None => self.null(name),
        }
    }

    pub(crate) fn null(&mut self, name: &str) {
        self.name(name).extend_from_slice(b"null");
    }

    pub(crate) fn number(&mut self, name: &str, number: impl Into<u64>) {
        decimal(self.name(name), number.into());
    }

    pub(crate) fn count(&mut self, name: &str, count: usize) {
        self.number(name, count as u64);
    }

    /// A point in time: a decimal string, since a JSON number would be rounded by many readers.
    pub(crate) fn time(&mut self, name: &str, nanos: u64) {
        let out = self.name(name);
        out.push(b'"');
        decimal(out, nanos);
        out.push(b'"');
    }

    pub(crate) fn hex(&mut self, name: &str, bytes: &[u8]) {
        hex(self.name(name), bytes);
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}
