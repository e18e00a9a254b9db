//! Links and events of a span, as version 0.4 has fields for them.

use super::Buffers;
use crate::gather::{KeyValues, Link, Texts, Value};
use crate::msgpack::{MsgpackError, Number, Reader};

/// The flags of a trace are in the lowest byte; the highest bit of the field says that they are known.
const TRACE_FLAGS: u32 = 0xff;

/// A value in its envelope, which has a member for each type and a number that says which of them counts.
#[derive(Debug, Clone, Copy, Default)]
struct Typed<'b> {
    kind: i64,
    text: &'b [u8],
    bool: bool,
    int: i64,
    double: f64,
}

// === impl Buffers ===

impl Buffers {
    /// Reads the links.
    pub(super) fn links(&mut self, reader: &mut Reader<'_>) -> Result<(), MsgpackError> {
        for _ in 0..reader.array()? {
            let (mut lower, mut upper, mut span_id, mut flags) = (0_u64, 0_u64, 0_u64, 0);
            let mut trace_state: &[u8] = b"";
            self.link.clear();
            for _ in 0..reader.map()? {
                match reader.text()? {
                    b"trace_id" => lower = reader.number()?.bits(),
                    b"trace_id_high" => upper = reader.number()?.bits(),
                    b"span_id" => span_id = reader.number()?.bits(),
                    b"flags" => flags = reader.number()?.bits() as u32 & TRACE_FLAGS,
                    b"tracestate" => trace_state = reader.text()?,
                    b"attributes" => {
                        for _ in 0..reader.map()? {
                            self.link.add(reader.text()?, Value::Text(reader.text()?));
                        }
                    }
                    _ => reader.skip()?,
                }
            }
            let trace_id = (u128::from(upper) << 64 | u128::from(lower)).to_be_bytes();
            let span_id = span_id.to_be_bytes();
            self.draft.add_link(Link { trace_id, span_id, trace_state, flags, attributes: &self.link });
        }
        Ok(())
    }

    /// Reads the events.
    pub(super) fn events(&mut self, reader: &mut Reader<'_>) -> Result<(), MsgpackError> {
        for _ in 0..reader.array()? {
            let (mut time, mut name): (_, &[u8]) = (0, b"");
            self.event.clear();
            for _ in 0..reader.map()? {
                match reader.text()? {
                    b"time_unix_nano" => time = reader.number()?.bits(),
                    b"name" => name = reader.text()?,
                    b"attributes" => {
                        for _ in 0..reader.map()? {
                            let key = reader.text()?;
                            attribute(reader, key, &mut self.event, &mut self.array)?;
                        }
                    }
                    _ => reader.skip()?,
                }
            }
            self.draft.event(time, name, &self.event);
        }
        Ok(())
    }
}

/// Reads the value of an attribute. A number of the type that is not known makes it an empty text.
fn attribute(
    reader: &mut Reader<'_>,
    key: &[u8],
    event: &mut KeyValues,
    array: &mut Texts,
) -> Result<(), MsgpackError> {
    let mut value = Typed::default();
    array.clear();
    for _ in 0..reader.map()? {
        match reader.text()? {
            b"array_value" => {
                for _ in 0..reader.map()? {
                    match reader.text()? {
                        b"values" => items(reader, array)?,
                        _ => reader.skip()?,
                    }
                }
            }
            member => value.read(member, reader)?,
        }
    }
    match value.kind {
        4 => event.add_texts(key, array),
        _ => event.add(key, value.value()),
    }
    Ok(())
}

fn items(reader: &mut Reader<'_>, array: &mut Texts) -> Result<(), MsgpackError> {
    for _ in 0..reader.array()? {
        let mut item = Typed::default();
        for _ in 0..reader.map()? {
            let member = reader.text()?;
            item.read(member, reader)?;
        }
        array.add_value(item.value());
    }
    Ok(())
}

// === impl Typed ===

impl<'b> Typed<'b> {
    fn read(&mut self, member: &[u8], reader: &mut Reader<'b>) -> Result<(), MsgpackError> {
        match member {
            b"type" => self.kind = reader.number()?.whole(),
            b"string_value" => self.text = reader.text()?,
            b"bool_value" => self.bool = reader.number()? != Number::Int(0),
            b"int_value" => self.int = reader.number()?.whole(),
            b"double_value" => {
                self.double = match reader.number()? {
                    Number::Double(value) => value,
                    whole => whole.whole() as f64,
                }
            }
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn value(&self) -> Value<'b> {
        match self.kind {
            1 => Value::Bool(self.bool),
            2 => Value::Int(self.int),
            3 => Value::Double(self.double),
            _ => Value::Text(self.text),
        }
    }
}
