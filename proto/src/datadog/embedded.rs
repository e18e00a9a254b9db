//! Links and events that a tag holds as JSON: version 0.5 has no fields for them. A text that is something else stays a
//! tag.

use super::Buffers;
use crate::gather::{KeyValues, Link, Texts, Value};
use crate::hex;
use crate::json::number;
use crate::json::scanner::{Fault, Progress, Scanner};

/// A value that holds no others.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scalar<'s> {
    Text(&'s [u8]),
    Number(&'s [u8]),
    Bool(bool),
    Null,
}

/// Reads values, with buffers for the texts.
struct Walk<'s> {
    scanner: Scanner<'s>,
    key: Vec<u8>,
    value: Vec<u8>,
    scratch: Vec<u8>,
}

/// The text is JSON of another kind than expected, or none.
struct Unknown;

/// Whether what is read is also added: a text is read as a whole before anything of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Look,
    Add,
}

impl From<Fault> for Unknown {
    fn from(_: Fault) -> Self {
        Self
    }
}

// === impl Buffers ===

impl Buffers {
    /// Adds the links of a text; false if it holds something else.
    pub(super) fn embedded_links(&mut self, text: &[u8]) -> bool {
        [Pass::Look, Pass::Add].into_iter().all(|pass| self.read_links(text, pass).is_ok())
    }

    /// Adds the events of a text; false if it holds something else.
    pub(super) fn embedded_events(&mut self, text: &[u8]) -> bool {
        [Pass::Look, Pass::Add].into_iter().all(|pass| self.read_events(text, pass).is_ok())
    }

    fn read_links(&mut self, mut text: &[u8], pass: Pass) -> Result<(), Unknown> {
        let Self { draft, link, array, .. } = self;
        let mut walk = Walk::new(&mut text);
        walk.each_item(|walk| {
            let (mut trace_id, mut span_id, mut flags) = ([0; 16], [0; 8], 0);
            let mut trace_state = Vec::new();
            link.clear();
            walk.each_member(|walk, name| {
                match name {
                    b"trace_id" => walk.id(&mut trace_id)?,
                    b"span_id" => walk.id(&mut span_id)?,
                    b"attributes" => walk.attributes(link, array)?,
                    b"tracestate" => match walk.scalar()? {
                        Scalar::Text(text) => trace_state = text.to_vec(),
                        _ => return Err(Unknown),
                    },
                    b"flags" => match walk.scalar()? {
                        Scalar::Number(text) => flags = number::unsigned(text).ok_or(Unknown)? as u32 & 0xff,
                        _ => return Err(Unknown),
                    },
                    _ => walk.scanner.skip()?,
                }
                Ok(())
            })?;
            if pass == Pass::Add {
                let trace_state = &*trace_state;
                draft.add_link(Link { trace_id, span_id, trace_state, flags, attributes: link });
            }
            Ok(())
        })
    }

    fn read_events(&mut self, mut text: &[u8], pass: Pass) -> Result<(), Unknown> {
        let Self { draft, event, array, .. } = self;
        let mut walk = Walk::new(&mut text);
        walk.each_item(|walk| {
            let (mut time, mut event_name) = (0, Vec::new());
            event.clear();
            walk.each_member(|walk, name| {
                match name {
                    b"name" => match walk.scalar()? {
                        Scalar::Text(text) => event_name = text.to_vec(),
                        _ => return Err(Unknown),
                    },
                    b"time_unix_nano" => match walk.scalar()? {
                        Scalar::Number(text) => time = number::unsigned(text).ok_or(Unknown)?,
                        _ => return Err(Unknown),
                    },
                    b"attributes" => walk.attributes(event, array)?,
                    _ => walk.scanner.skip()?,
                }
                Ok(())
            })?;
            if pass == Pass::Add {
                draft.event(time, &event_name, event);
            }
            Ok(())
        })
    }
}

// === impl Walk ===

impl<'s> Walk<'s> {
    fn new(text: &'s mut &[u8]) -> Self {
        Self { scanner: Scanner::new(text), key: Vec::new(), value: Vec::new(), scratch: Vec::new() }
    }

    /// Reads the array that the text has to be.
    fn each_item(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Unknown>) -> Result<(), Unknown> {
        self.open(b'[')?;
        let mut progress = Progress::default();
        while self.scanner.next_item(&mut progress)? {
            item(self)?;
        }
        if self.scanner.peek()?.is_some() { Err(Unknown) } else { Ok(()) }
    }

    fn each_member(
        &mut self,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<(), Unknown>,
    ) -> Result<(), Unknown> {
        self.open(b'{')?;
        let mut progress = Progress::default();
        while self.scanner.next_name(&mut progress)? {
            let Self { key, scratch, .. } = self;
            self.scanner.name(|name| {
                key.clear();
                key.extend_from_slice(name.resolve(scratch));
            })?;
            let name = std::mem::take(&mut self.key);
            member(self, &name)?;
            self.key = name;
        }
        Ok(())
    }

    fn open(&mut self, begin: u8) -> Result<(), Unknown> {
        if self.scanner.peek()? != Some(begin) {
            return Err(Unknown);
        }
        self.scanner.open();
        Ok(())
    }

    /// Hex digits, of which those in front may be missing.
    fn id(&mut self, id: &mut [u8]) -> Result<(), Unknown> {
        match self.scalar()? {
            Scalar::Text(digits) if hex::parse_padded(digits, id) => Ok(()),
            _ => Err(Unknown),
        }
    }

    fn attributes(&mut self, out: &mut KeyValues, array: &mut Texts) -> Result<(), Unknown> {
        self.each_member(|walk, key| {
            if walk.scanner.peek()? != Some(b'[') {
                out.add(key, walk.scalar()?.value());
                return Ok(());
            }
            walk.scanner.open();
            array.clear();
            let mut progress = Progress::default();
            while walk.scanner.next_item(&mut progress)? {
                array.add_value(walk.scalar()?.value());
            }
            out.add_texts(key, array);
            Ok(())
        })
    }

    fn scalar(&mut self) -> Result<Scalar<'_>, Unknown> {
        let Self { scanner, value, scratch, .. } = self;
        value.clear();
        Ok(match scanner.peek_value()? {
            b'"' => {
                value.extend_from_slice(scanner.text()?.resolve(scratch));
                Scalar::Text(value)
            }
            b'{' | b'[' => return Err(Unknown),
            b't' | b'f' | b'n' => match scanner.literal()? {
                "true" => Scalar::Bool(true),
                "false" => Scalar::Bool(false),
                _ => Scalar::Null,
            },
            _ => {
                value.extend_from_slice(scanner.number()?);
                Scalar::Number(value)
            }
        })
    }
}

// === impl Scalar ===

impl<'s> Scalar<'s> {
    fn value(self) -> Value<'s> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Bool(value) => Value::Bool(value),
            Self::Null => Value::Text(b""),
            Self::Number(text) => match (number::signed(text), number::double(text)) {
                (Some(value), _) if !text.contains(&b'.') => Value::Int(value),
                (_, Some(value)) => Value::Double(value),
                _ => Value::Text(text),
            },
        }
    }
}
