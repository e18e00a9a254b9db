//! Links and events that a tag holds as JSON: version 0.5 has no fields for them. A text that is something else stays a
//! tag.

use super::Buffers;
use crate::gather::{KeyValues, Link, Texts, Value};
use crate::hex;
use crate::json::number;
use crate::json::walk::{Scalar, Unexpected, Walk};

/// Whether what is read is also added: a text is read as a whole before anything of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Look,
    Add,
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

    fn read_links(&mut self, mut text: &[u8], pass: Pass) -> Result<(), Unexpected> {
        let Self { draft, link, array, .. } = self;
        let mut walk = Walk::new(&mut text);
        begins_with_an_array(&mut walk)?;
        walk.each_item(|walk| {
            let (mut trace_id, mut span_id, mut flags) = ([0; 16], [0; 8], 0);
            let mut trace_state = Vec::new();
            link.clear();
            walk.each_member(|walk, name| {
                match name {
                    b"trace_id" => id(walk, &mut trace_id)?,
                    b"span_id" => id(walk, &mut span_id)?,
                    b"attributes" => attributes(walk, link, array)?,
                    b"tracestate" => trace_state = walk.text()?.to_vec(),
                    b"flags" => flags = unsigned(walk)? as u32 & 0xff,
                    _ => walk.scanner.skip()?,
                }
                Ok(())
            })?;
            if pass == Pass::Add {
                let trace_state = &*trace_state;
                draft.add_link(Link { trace_id, span_id, trace_state, flags, attributes: link });
            }
            Ok(())
        })?;
        walk.end()
    }

    fn read_events(&mut self, mut text: &[u8], pass: Pass) -> Result<(), Unexpected> {
        let Self { draft, event, array, .. } = self;
        let mut walk = Walk::new(&mut text);
        begins_with_an_array(&mut walk)?;
        walk.each_item(|walk| {
            let (mut time, mut event_name) = (0, Vec::new());
            event.clear();
            walk.each_member(|walk, name| {
                match name {
                    b"name" => event_name = walk.text()?.to_vec(),
                    b"time_unix_nano" => time = unsigned(walk)?,
                    b"attributes" => attributes(walk, event, array)?,
                    _ => walk.scanner.skip()?,
                }
                Ok(())
            })?;
            if pass == Pass::Add {
                draft.event(time, &event_name, event);
            }
            Ok(())
        })?;
        walk.end()
    }
}

/// A text of `null` is a tag like others.
fn begins_with_an_array(walk: &mut Walk<'_>) -> Result<(), Unexpected> {
    match walk.scanner.peek()? {
        Some(b'[') => Ok(()),
        _ => Err(Unexpected::Form("an array")),
    }
}

/// Hex digits, of which those in front may be missing.
fn id(walk: &mut Walk<'_>, id: &mut [u8]) -> Result<(), Unexpected> {
    match walk.scalar()? {
        Scalar::Text(digits) if hex::parse_padded(digits, id) => Ok(()),
        _ => Err(Unexpected::Form("an ID")),
    }
}

fn unsigned(walk: &mut Walk<'_>) -> Result<u64, Unexpected> {
    match walk.scalar()? {
        Scalar::Number(text) => number::unsigned(text).ok_or(Unexpected::Form("a whole number")),
        _ => Err(Unexpected::Form("a whole number")),
    }
}

fn attributes(walk: &mut Walk<'_>, out: &mut KeyValues, array: &mut Texts) -> Result<(), Unexpected> {
    walk.each_member(|walk, key| {
        if walk.scanner.peek()? != Some(b'[') {
            out.add(key, value(walk.scalar()?));
            return Ok(());
        }
        array.clear();
        walk.each_item(|walk| {
            array.add_value(value(walk.scalar()?));
            Ok(())
        })?;
        out.add_texts(key, array);
        Ok(())
    })
}

fn value(scalar: Scalar<'_>) -> Value<'_> {
    match scalar {
        Scalar::Text(text) => Value::Text(text),
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Null => Value::Text(b""),
        Scalar::Number(text) => match (number::signed(text), number::double(text)) {
            (Some(value), _) if !text.contains(&b'.') => Value::Int(value),
            (_, Some(value)) => Value::Double(value),
            _ => Value::Text(text),
        },
    }
}
