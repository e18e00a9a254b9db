//! The protobuf wire format: tags, varints, lengths. It does not depend on messages or their fields.

/// An error in the bytes, with its offset in the outermost message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct WireError {
    /// What is wrong with the bytes.
    pub kind: WireErrorKind,
    /// The offset at which the error was found.
    pub offset: usize,
}

/// The errors of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireErrorKind {
    /// The bytes end inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A varint of more than ten bytes or 64 bits.
    #[error("a varint is longer than 64 bits")]
    VarintTooLong,
    /// Field number zero, or above the limit.
    #[error("a field number is not valid")]
    BadFieldNumber,
    /// A wire type that protobuf does not define.
    #[error("a wire type is not valid")]
    BadWireType,
    /// A known field with another wire type than its definition has.
    #[error("field {0} has the wrong wire type")]
    WrongType(u32),
    /// Groups that do not end, or nest too deeply.
    #[error("a group is not closed or nests too deeply")]
    BadGroup,
}

/// The payload of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 3 and 4, skipped as a whole.
    Group,
    /// Wire type 5.
    Fixed32(u32),
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    /// The field number.
    pub number: u32,
    /// The payload by its wire type.
    pub value: Value<'a>,
    /// The offset of its tag.
    pub begin: usize,
    /// The end of its payload, relative to the same message as `begin`.
    pub end: usize,
}

/// Walks over the fields of one message.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    base: usize,
}

const MAX_GROUP_DEPTH: usize = 32;

// === impl Field ===

impl<'a> Field<'a> {
    fn wrong_type(&self) -> WireError {
        WireError { kind: WireErrorKind::WrongType(self.number), offset: self.begin }
    }

    pub(crate) fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_type()),
        }
    }

    pub(crate) fn str(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.wrong_type())
    }

    pub(crate) fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    pub(crate) fn fixed64(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    pub(crate) fn fixed32(&self) -> Result<u32, WireError> {
        match self.value {
            Value::Fixed32(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Reads a message from its first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, base: 0 }
    }

    /// Reads a message at `base` of a larger one, so that errors have the offset in the larger one.
    pub fn at_offset(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, at: 0, base }
    }

    /// The next field, or `None` at the end of the message.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let begin = self.at;
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.length_delimited()?),
            3 => {
                self.skip_group(number, 0)?;
                Value::Group
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            4 => return Err(self.error(WireErrorKind::BadGroup)),
            _ => return Err(self.error(WireErrorKind::BadWireType)),
        };
        Ok(Some(Field { number, value, begin, end: self.at }))
    }

    /// The bytes that are not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Skips fields that the caller has read itself.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at = self.bytes.len().min(self.at + bytes);
    }

    /// The offset of the next field in the outermost message.
    pub fn offset(&self) -> usize {
        self.base + self.at
    }

    /// An error for a known field with another wire type.
    pub fn wrong_type(&self, number: u32) -> WireError {
        self.error(WireErrorKind::WrongType(number))
    }

    fn error(&self, kind: WireErrorKind) -> WireError {
        WireError { kind, offset: self.base + self.at }
    }

    /// Reads a field's number and wire type.
    #[inline]
    fn tag(&mut self) -> Result<(u32, u64), WireError> {
        let tag = self.varint()?;
        match u32::try_from(tag >> 3) {
            Ok(number) if number > 0 && number < (1 << 29) => Ok((number, tag & 7)),
            _ => Err(self.error(WireErrorKind::BadFieldNumber)),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        if let Some(&byte) = self.bytes.get(self.at)
            && byte < 0x80
        {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for i in 0..10 {
            let Some(&byte) = self.bytes.get(self.at + i) else {
                return Err(self.error(WireErrorKind::Truncated));
            };
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.error(WireErrorKind::VarintTooLong))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((head, _)) = self.bytes[self.at..].split_first_chunk::<N>() else {
            return Err(self.error(WireErrorKind::Truncated));
        };
        self.at += N;
        Ok(*head)
    }

    #[inline]
    fn length_delimited(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.varint()?;
        let rest = &self.bytes[self.at..];
        match usize::try_from(length) {
            Ok(length) if length <= rest.len() => {
                self.at += length;
                Ok(&rest[..length])
            }
            _ => Err(self.error(WireErrorKind::Truncated)),
        }
    }

    fn skip_group(&mut self, number: u32, depth: usize) -> Result<(), WireError> {
        if depth >= MAX_GROUP_DEPTH {
            return Err(self.error(WireErrorKind::BadGroup));
        }
        loop {
            if self.at >= self.bytes.len() {
                return Err(self.error(WireErrorKind::BadGroup));
            }
            let (inner, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.length_delimited()?),
                3 => self.skip_group(inner, depth + 1)?,
                4 if inner == number => return Ok(()),
                5 => drop(self.array::<4>()?),
                _ => return Err(self.error(WireErrorKind::BadGroup)),
            }
        }
    }
}

// === writing ===

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number of bytes of a varint.
#[inline]
pub fn varint_length(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a varint field.
pub fn put_uint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends a fixed64 field.
pub fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a fixed32 field.
pub fn put_fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    put_varint(out, u64::from(number) << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Begins a nested message whose length is not known yet; returns the argument of [`close_message`].
pub(crate) fn open_message(out: &mut Vec<u8>, number: u32) -> usize {
    put_varint(out, u64::from(number) << 3 | 2);
    // Most messages are shorter than 128 bytes, so one byte is enough for the length.
    out.push(0);
    out.len()
}

/// Ends the message that began at `begin`.
#[inline]
pub(crate) fn close_message(out: &mut Vec<u8>, begin: usize) {
    let length = out.len() - begin;
    if length < 0x80 {
        out[begin - 1] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    put_varint(&mut prefix, length as u64);
    out.splice(begin - 1..begin, prefix);
}

/// Sorts the fields of the message that begins at `begin` by their numbers; fields of one number keep their order.
/// Bytes that are not a message stay as they are.
pub(super) fn sort_fields(out: &mut [u8], begin: usize) {
    let message = &mut out[begin..];
    let mut fields = Vec::new();
    let mut reader = Reader::new(message);
    while let Ok(Some(field)) = reader.next_field() {
        fields.push((field.number, field.begin..field.end));
    }
    if fields.last().is_none_or(|(_, range)| range.end != message.len()) {
        return;
    }
    fields.sort_by_key(|(number, _)| *number);
    let mut sorted = Vec::with_capacity(message.len());
    fields.iter().for_each(|(_, range)| sorted.extend_from_slice(&message[range.clone()]));
    message.copy_from_slice(&sorted);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<Field<'_>>, WireErrorKind> {
        Reader::new(bytes).next_field().map_err(|e| e.kind)
    }

    #[test]
    fn reads_what_it_writes() {
        let mut out = Vec::new();
        put_uint(&mut out, 1, u64::MAX);
        put_bytes(&mut out, 1000, b"abc");
        put_fixed64(&mut out, 3, 7);
        put_fixed32(&mut out, 16, 9);
        let mut reader = Reader::new(&out);
        let mut seen = Vec::new();
        while let Some(field) = reader.next_field().unwrap() {
            seen.push((field.number, field.value));
        }
        assert_eq!(
            seen,
            [
                (1, Value::Varint(u64::MAX)),
                (1000, Value::Bytes(b"abc")),
                (3, Value::Fixed64(7)),
                (16, Value::Fixed32(9))
            ]
        );
    }

    #[test]
    fn refuses_what_is_not_protobuf() {
        assert_eq!(first(&[0x0a, 5, 1]), Err(WireErrorKind::Truncated));
        assert_eq!(first(&[0x00]), Err(WireErrorKind::BadFieldNumber));
        assert_eq!(first(&[0x0f]), Err(WireErrorKind::BadWireType));
        assert_eq!(first(&[0x0c]), Err(WireErrorKind::BadGroup));
        assert_eq!(first(&[0x0b, 0x08, 1]), Err(WireErrorKind::BadGroup));
        assert_eq!(first(&[0xff; 11]), Err(WireErrorKind::VarintTooLong));
        assert_eq!(first(&[0x0b].repeat(100)), Err(WireErrorKind::BadGroup));
        // Also in a group that is skipped.
        assert_eq!(first(&[0x0b, 0x00, 1, 0x0c]), Err(WireErrorKind::BadFieldNumber));
    }

    #[test]
    fn skips_groups() {
        let mut reader = Reader::new(&[0x0b, 0x08, 1, 0x0c, 0x10, 2]);
        assert_eq!(reader.next_field().unwrap().unwrap().value, Value::Group);
        assert_eq!(reader.next_field().unwrap().unwrap().value, Value::Varint(2));
    }
}
