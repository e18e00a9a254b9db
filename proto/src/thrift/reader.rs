//! The reader of both protocols.

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Fixed widths, big endian.
    Binary,
    /// Varints, and field numbers as differences.
    Compact,
}

/// The types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// 8 bits.
    Byte,
    /// 16 bits.
    I16,
    /// 32 bits, also of enums.
    I32,
    /// 64 bits.
    I64,
    /// 64 bits with a fraction.
    Double,
    /// Text or bytes.
    Binary,
    /// Fields.
    Struct,
    /// Pairs of keys and values.
    Map,
    /// Items without an order.
    Set,
    /// Items.
    List,
    /// 16 bytes.
    Uuid,
}

/// An error in the bytes, with its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct ThriftError {
    /// What is wrong.
    pub kind: ThriftErrorKind,
    /// Where it was found.
    pub offset: usize,
}

/// The errors of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThriftErrorKind {
    /// The bytes end inside a value.
    #[error("the message ends inside a value")]
    Truncated,
    /// A length below zero.
    #[error("a length is below zero")]
    NegativeLength,
    /// A type that the protocol does not define.
    #[error("a type is not valid")]
    BadType,
    /// A varint of more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    VarintTooLong,
    /// Not the beginning of a message.
    #[error("this is no message of the protocol")]
    BadMessage,
    /// Values that nest too deeply.
    #[error("values nest too deeply")]
    TooDeep,
    /// Bytes behind the last value.
    #[error("more bytes follow the last value")]
    Trailing,
    /// Sound thrift of something else.
    #[error("expected {0}")]
    Expected(&'static str),
}

/// The state of reading the fields of one struct.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields {
    last: i16,
}

/// The head of a field; its value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its number.
    pub id: i16,
    /// The type of its value.
    pub kind: Type,
}

/// The head of a list or set; its items come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// The type of the items.
    pub item: Type,
    /// How many there are, not more than there are bytes.
    pub length: usize,
}

/// The head of a message; a struct of its arguments comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'b> {
    /// The called function.
    pub name: &'b [u8],
}

/// Takes values off bytes.
#[derive(Debug, Clone)]
pub struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    protocol: Protocol,
    /// The value of a field that the compact protocol writes into the field's head.
    pending: Option<bool>,
}

const MAX_DEPTH: usize = 64;
const BINARY_VERSION: u32 = 0x8001;
const COMPACT_ID: u8 = 0x82;
const COMPACT_VERSION: u8 = 1;

// === impl Reader ===

impl<'b> Reader<'b> {
    /// Reads bytes from the first one.
    pub fn new(bytes: &'b [u8], protocol: Protocol) -> Self {
        Self { bytes, at: 0, protocol, pending: None }
    }

    /// The offset of the next value.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// An error for sound thrift that is not what it should be.
    pub fn unexpected(&self, wanted: &'static str) -> ThriftError {
        self.error(ThriftErrorKind::Expected(wanted))
    }

    /// Checks that nothing follows.
    pub fn end(&self) -> Result<(), ThriftError> {
        if self.rest() == 0 { Ok(()) } else { Err(self.error(ThriftErrorKind::Trailing)) }
    }

    /// Reads the head of a message, as of a call.
    pub fn message(&mut self) -> Result<Message<'b>, ThriftError> {
        match self.protocol {
            Protocol::Binary => {
                let first = self.fixed::<4>()?;
                if u32::from_be_bytes(first) >> 16 == BINARY_VERSION {
                    let name = self.bytes()?;
                    self.fixed::<4>()?;
                    return Ok(Message { name });
                }
                // The older form has no version: the name's length, the name, the type.
                let name = self.taken(i32::from_be_bytes(first))?;
                self.fixed::<5>()?;
                Ok(Message { name })
            }
            Protocol::Compact => {
                let [id, version] = self.fixed()?;
                if id != COMPACT_ID || version & 0x1f != COMPACT_VERSION {
                    return Err(self.error(ThriftErrorKind::BadMessage));
                }
                self.varint()?;
                Ok(Message { name: self.bytes()? })
            }
        }
    }

    /// Reads the head of the next field, or `None` at the end of the struct.
    #[inline]
    pub fn next_field(&mut self, fields: &mut Fields) -> Result<Option<Field>, ThriftError> {
        let [head] = self.fixed()?;
        if head == 0 {
            return Ok(None);
        }
        if self.protocol == Protocol::Binary {
            let kind = self.binary_type(head)?;
            let id = i16::from_be_bytes(self.fixed()?);
            return Ok(Some(Field { id, kind }));
        }
        let kind = self.compact_type(head & 0x0f)?;
        let id = match head >> 4 {
            0 => self.i16()?,
            more => fields.last.wrapping_add(i16::from(more)),
        };
        fields.last = id;
        if kind == Type::Bool {
            self.pending = Some(head & 0x0f == 1);
        }
        Ok(Some(Field { id, kind }))
    }

    /// Reads the head of a list or set. Each item takes a byte or more, so a length beyond the rest is an error.
    pub fn list(&mut self) -> Result<List, ThriftError> {
        let [head] = self.fixed()?;
        let list = match self.protocol {
            Protocol::Binary => {
                let item = self.binary_type(head);
                let length = self.binary_length()?;
                // An empty list may have a type of nothing.
                List { item: if length == 0 { item.unwrap_or(Type::Byte) } else { item? }, length }
            }
            Protocol::Compact => {
                let length = match head >> 4 {
                    15 => self.varint_length()?,
                    short => usize::from(short),
                };
                let item = self.compact_type(head & 0x0f);
                List { item: if length == 0 { item.unwrap_or(Type::Byte) } else { item? }, length }
            }
        };
        if list.length > self.rest() { Err(self.error(ThriftErrorKind::Truncated)) } else { Ok(list) }
    }

    /// Reads a text or bytes.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'b [u8], ThriftError> {
        let length = match self.protocol {
            Protocol::Binary => self.binary_length()?,
            Protocol::Compact => self.varint_length()?,
        };
        self.take(length)
    }

    /// Reads true or false.
    pub fn bool(&mut self) -> Result<bool, ThriftError> {
        match self.pending.take() {
            Some(value) => Ok(value),
            None => Ok(self.fixed::<1>()? == [1]),
        }
    }

    /// Reads 16 bits.
    pub fn i16(&mut self) -> Result<i16, ThriftError> {
        match self.protocol {
            Protocol::Binary => Ok(i16::from_be_bytes(self.fixed()?)),
            Protocol::Compact => Ok(self.zigzag()? as i16),
        }
    }

    /// Reads 32 bits.
    pub fn i32(&mut self) -> Result<i32, ThriftError> {
        match self.protocol {
            Protocol::Binary => Ok(i32::from_be_bytes(self.fixed()?)),
            Protocol::Compact => Ok(self.zigzag()? as i32),
        }
    }

    /// Reads 64 bits.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, ThriftError> {
        match self.protocol {
            Protocol::Binary => Ok(i64::from_be_bytes(self.fixed()?)),
            Protocol::Compact => self.zigzag(),
        }
    }

    /// Reads 64 bits with a fraction.
    pub fn double(&mut self) -> Result<f64, ThriftError> {
        let bytes = self.fixed()?;
        Ok(match self.protocol {
            Protocol::Binary => f64::from_be_bytes(bytes),
            Protocol::Compact => f64::from_le_bytes(bytes),
        })
    }

    /// Skips a value.
    pub fn skip(&mut self, kind: Type) -> Result<(), ThriftError> {
        self.skip_within(kind, MAX_DEPTH)
    }

    fn skip_within(&mut self, kind: Type, depth: usize) -> Result<(), ThriftError> {
        let Some(depth) = depth.checked_sub(1) else { return Err(self.error(ThriftErrorKind::TooDeep)) };
        match kind {
            Type::Bool => drop(self.bool()?),
            Type::Byte => drop(self.fixed::<1>()?),
            Type::I16 => drop(self.i16()?),
            Type::I32 => drop(self.i32()?),
            Type::I64 => drop(self.i64()?),
            Type::Double => drop(self.double()?),
            Type::Binary => drop(self.bytes()?),
            Type::Uuid => drop(self.fixed::<16>()?),
            Type::Struct => {
                let mut fields = Fields::default();
                while let Some(field) = self.next_field(&mut fields)? {
                    self.skip_within(field.kind, depth)?;
                }
            }
            Type::List | Type::Set => {
                let list = self.list()?;
                for _ in 0..list.length {
                    self.skip_within(list.item, depth)?;
                }
            }
            Type::Map => {
                let (key, value, length) = self.map()?;
                for _ in 0..length {
                    self.skip_within(key, depth)?;
                    self.skip_within(value, depth)?;
                }
            }
        }
        Ok(())
    }

    fn map(&mut self) -> Result<(Type, Type, usize), ThriftError> {
        let (key, value, length) = match self.protocol {
            Protocol::Binary => {
                let [key, value] = self.fixed()?;
                (self.binary_type(key), self.binary_type(value), self.binary_length()?)
            }
            Protocol::Compact => {
                let length = self.varint_length()?;
                let [types] = if length == 0 { [0] } else { self.fixed()? };
                (self.compact_type(types >> 4), self.compact_type(types & 0x0f), length)
            }
        };
        match length {
            0 => Ok((Type::Byte, Type::Byte, 0)),
            length if length > self.rest() => Err(self.error(ThriftErrorKind::Truncated)),
            length => Ok((key?, value?, length)),
        }
    }

    fn binary_type(&self, code: u8) -> Result<Type, ThriftError> {
        Ok(match code {
            2 => Type::Bool,
            3 => Type::Byte,
            4 => Type::Double,
            6 => Type::I16,
            8 => Type::I32,
            10 => Type::I64,
            11 => Type::Binary,
            12 => Type::Struct,
            13 => Type::Map,
            14 => Type::Set,
            15 => Type::List,
            16 => Type::Uuid,
            _ => return Err(self.error(ThriftErrorKind::BadType)),
        })
    }

    fn compact_type(&self, code: u8) -> Result<Type, ThriftError> {
        Ok(match code {
            1 | 2 => Type::Bool,
            3 => Type::Byte,
            4 => Type::I16,
            5 => Type::I32,
            6 => Type::I64,
            7 => Type::Double,
            8 => Type::Binary,
            9 => Type::List,
            10 => Type::Set,
            11 => Type::Map,
            12 => Type::Struct,
            13 => Type::Uuid,
            _ => return Err(self.error(ThriftErrorKind::BadType)),
        })
    }

    fn binary_length(&mut self) -> Result<usize, ThriftError> {
        let length = i32::from_be_bytes(self.fixed()?);
        usize::try_from(length).map_err(|_| self.error(ThriftErrorKind::NegativeLength))
    }

    fn varint_length(&mut self) -> Result<usize, ThriftError> {
        let length = self.varint()?;
        usize::try_from(length).map_err(|_| self.error(ThriftErrorKind::Truncated))
    }

    fn zigzag(&mut self) -> Result<i64, ThriftError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, ThriftError> {
        let mut value = 0;
        for place in 0..10 {
            let [byte] = self.fixed()?;
            if place == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(ThriftErrorKind::VarintTooLong))
    }

    fn taken(&mut self, length: i32) -> Result<&'b [u8], ThriftError> {
        let length = usize::try_from(length).map_err(|_| self.error(ThriftErrorKind::BadMessage))?;
        self.take(length)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'b [u8], ThriftError> {
        if length > self.rest() {
            return Err(self.error(ThriftErrorKind::Truncated));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], ThriftError> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.error(ThriftErrorKind::Truncated)),
        }
    }

    fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn error(&self, kind: ThriftErrorKind) -> ThriftError {
        ThriftError { kind, offset: self.at }
    }
}
