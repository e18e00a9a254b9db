//! The reader.

/// An error in the bytes, with its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub(crate) struct MsgpackError {
    pub kind: MsgpackErrorKind,
    /// Where the value begins that is wrong.
    pub offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MsgpackErrorKind {
    #[error("the message ends inside a value")]
    Truncated,
    #[error("more bytes follow the last value")]
    Trailing,
    #[error("a byte begins no value")]
    BadMarker,
    #[error("expected {0}")]
    Expected(&'static str),
}

/// A number of any width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    /// Beyond what fits into `Int`.
    Large(u64),
    Double(f64),
}

/// Takes values off bytes. Where text, an array or a map may stand, nil stands for an empty one: senders write nothing
/// so.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

/// What a value begins with.
enum Head<'b> {
    Nil,
    Bool(bool),
    Number(Number),
    Text(&'b [u8]),
    Array(usize),
    Map(usize),
    Extension,
}

// === impl Reader ===

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Reads the same bytes from another offset.
    pub(crate) fn at(&self, offset: usize) -> Self {
        Self { bytes: self.bytes, at: offset.min(self.bytes.len()) }
    }

    /// The offset of the next value.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&self) -> Result<(), MsgpackError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error(MsgpackErrorKind::Trailing)) }
    }

    /// Reads the head of an array: how many items follow, not more than there are bytes.
    pub(crate) fn array(&mut self) -> Result<usize, MsgpackError> {
        match self.head()? {
            (_, Head::Array(length)) => Ok(length),
            (_, Head::Nil) => Ok(0),
            (begin, _) => Err(expected(begin, "an array")),
        }
    }

    /// Reads the head of a map: how many keys with values follow, not more than there are bytes for.
    pub(crate) fn map(&mut self) -> Result<usize, MsgpackError> {
        match self.head()? {
            (_, Head::Map(length)) => Ok(length),
            (_, Head::Nil) => Ok(0),
            (begin, _) => Err(expected(begin, "a map")),
        }
    }

    /// Reads a text or bytes.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'b [u8], MsgpackError> {
        // Nearly all texts are short, or a little longer.
        match self.bytes[self.at..] {
            [marker @ 0xa0..=0xbf, ..] => {
                self.at += 1;
                self.take(usize::from(marker & 0x1f))
            }
            [0xd9, length, ..] => {
                self.at += 2;
                self.take(usize::from(length))
            }
            _ => match self.head()? {
                (_, Head::Text(text)) => Ok(text),
                (_, Head::Nil) => Ok(b""),
                (begin, _) => Err(expected(begin, "a text")),
            },
        }
    }

    /// Reads a number.
    pub(crate) fn number(&mut self) -> Result<Number, MsgpackError> {
        match self.head()? {
            (_, Head::Number(number)) => Ok(number),
            (_, Head::Bool(value)) => Ok(Number::Int(value.into())),
            (_, Head::Nil) => Ok(Number::Int(0)),
            (begin, _) => Err(expected(begin, "a number")),
        }
    }

    /// Skips a value of any depth.
    pub(crate) fn skip(&mut self) -> Result<(), MsgpackError> {
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            match self.head()?.1 {
                Head::Array(length) => left += length as u64,
                Head::Map(length) => left += 2 * length as u64,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads what a value begins with, and all of one that holds no others; with its offset.
    fn head(&mut self) -> Result<(usize, Head<'b>), MsgpackError> {
        let begin = self.at;
        let [marker] = self.fixed()?;
        let number = |number| Head::Number(Number::Int(number));
        let head = match marker {
            0x00..=0x7f => number(marker.into()),
            0xe0..=0xff => number(marker.cast_signed().into()),
            0x80..=0x8f => self.counted(usize::from(marker & 0x0f), 2).map(Head::Map)?,
            0x90..=0x9f => self.counted(usize::from(marker & 0x0f), 1).map(Head::Array)?,
            0xa0..=0xbf => self.take(usize::from(marker & 0x1f)).map(Head::Text)?,
            0xc0 => Head::Nil,
            0xc1 => return Err(MsgpackError { kind: MsgpackErrorKind::BadMarker, offset: begin }),
            0xc2 | 0xc3 => Head::Bool(marker == 0xc3),
            0xca => Head::Number(Number::Double(f32::from_be_bytes(self.fixed()?).into())),
            0xcb => Head::Number(Number::Double(f64::from_be_bytes(self.fixed()?))),
            0xcc => number(u8::from_be_bytes(self.fixed()?).into()),
            0xcd => number(u16::from_be_bytes(self.fixed()?).into()),
            0xce => number(u32::from_be_bytes(self.fixed()?).into()),
            0xcf => Head::Number(Number::of(u64::from_be_bytes(self.fixed()?))),
            0xd0 => number(i8::from_be_bytes(self.fixed()?).into()),
            0xd1 => number(i16::from_be_bytes(self.fixed()?).into()),
            0xd2 => number(i32::from_be_bytes(self.fixed()?).into()),
            0xd3 => number(i64::from_be_bytes(self.fixed()?)),
            0xc4 | 0xd9 => self.sized::<1>().map(Head::Text)?,
            0xc5 | 0xda => self.sized::<2>().map(Head::Text)?,
            0xc6 | 0xdb => self.sized::<4>().map(Head::Text)?,
            0xdc => {
                let length = self.length::<2>()?;
                self.counted(length, 1).map(Head::Array)?
            }
            0xdd => {
                let length = self.length::<4>()?;
                self.counted(length, 1).map(Head::Array)?
            }
            0xde => {
                let length = self.length::<2>()?;
                self.counted(length, 2).map(Head::Map)?
            }
            0xdf => {
                let length = self.length::<4>()?;
                self.counted(length, 2).map(Head::Map)?
            }
            0xc7..=0xc9 | 0xd4..=0xd8 => self.extension(marker)?,
        };
        Ok((begin, head))
    }

    /// Skips the type and the data of a value that applications define.
    fn extension(&mut self, marker: u8) -> Result<Head<'b>, MsgpackError> {
        let length = match marker {
            0xc7 => self.length::<1>()?,
            0xc8 => self.length::<2>()?,
            0xc9 => self.length::<4>()?,
            fixed => 1 << (fixed - 0xd4),
        };
        self.take(length + 1)?;
        Ok(Head::Extension)
    }

    /// Each item takes bytes, so a number beyond the rest is an error.
    fn counted(&self, length: usize, bytes_each: usize) -> Result<usize, MsgpackError> {
        match length.saturating_mul(bytes_each) > self.bytes.len() - self.at {
            true => Err(self.error(MsgpackErrorKind::Truncated)),
            false => Ok(length),
        }
    }

    fn sized<const N: usize>(&mut self) -> Result<&'b [u8], MsgpackError> {
        let length = self.length::<N>()?;
        self.take(length)
    }

    fn length<const N: usize>(&mut self) -> Result<usize, MsgpackError> {
        let bytes = self.fixed::<N>()?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'b [u8], MsgpackError> {
        let Some(taken) = self.bytes[self.at..].get(..length) else {
            return Err(self.error(MsgpackErrorKind::Truncated));
        };
        self.at += length;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let Some(bytes) = self.bytes[self.at..].first_chunk() else {
            return Err(self.error(MsgpackErrorKind::Truncated));
        };
        self.at += N;
        Ok(*bytes)
    }

    fn error(&self, kind: MsgpackErrorKind) -> MsgpackError {
        MsgpackError { kind, offset: self.at }
    }
}

fn expected(offset: usize, what: &'static str) -> MsgpackError {
    MsgpackError { kind: MsgpackErrorKind::Expected(what), offset }
}

// === impl Number ===

impl Number {
    fn of(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Large(value), Self::Int)
    }

    /// As the 64 bits of an identifier, whose sign does not matter.
    pub(crate) fn bits(self) -> u64 {
        match self {
            Self::Int(value) => value.cast_unsigned(),
            Self::Large(value) => value,
            Self::Double(value) => value as u64,
        }
    }

    /// As a whole number, cut off at the ends of the range.
    pub(crate) fn whole(self) -> i64 {
        match self {
            Self::Int(value) => value,
            Self::Large(_) => i64::MAX,
            Self::Double(value) => value as i64,
        }
    }
}
