//! Version 0.4: a span is a map with texts as keys.

use super::{Buffers, Chunk, LANGUAGE, Parts, UPPER_HALF, language, malformed, upper_half};
use crate::gather::{Gatherer, Unreadable, Value};
use crate::msgpack::{MsgpackError, Reader};

/// Decodes the body of `/v0.4/traces`, and of `/v0.3/traces`, which is the same.
pub fn decode_v04(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut reader = Reader::new(body);
    let mut buffers = Buffers::new(out);
    for trace in 0..reader.array().map_err(malformed)? {
        let chunk = chunk(reader.clone()).map_err(malformed)?;
        for index in 0..reader.array().map_err(malformed)? {
            let parts = span(&mut reader, &mut buffers).map_err(malformed)?;
            buffers.end(&parts, &chunk, out, &|| format!("traces[{trace}][{index}]"))?;
        }
    }
    reader.end().map_err(malformed)
}

/// Looks for what holds for all spans of a chunk. The first one has it, unless the sender is older.
fn chunk(mut reader: Reader<'_>) -> Result<Chunk<'_>, MsgpackError> {
    let mut chunk = Chunk::default();
    for _ in 0..reader.array()? {
        let (mut trace_id, mut upper) = (0, None);
        for _ in 0..reader.map()? {
            match reader.text()? {
                b"trace_id" => trace_id = reader.number()?.bits(),
                b"meta" => {
                    for _ in 0..reader.map()? {
                        match reader.text()? {
                            UPPER_HALF => upper = upper_half(reader.text()?),
                            LANGUAGE => chunk.language = language(reader.text()?),
                            _ => reader.skip()?,
                        }
                    }
                }
                _ => reader.skip()?,
            }
        }
        if upper.is_some() {
            (chunk.trace_id, chunk.upper) = (trace_id, upper);
            break;
        }
    }
    Ok(chunk)
}

fn span<'b>(reader: &mut Reader<'b>, buffers: &mut Buffers) -> Result<Parts<'b>, MsgpackError> {
    let mut parts = Parts::default();
    for _ in 0..reader.map()? {
        match reader.text()? {
            b"service" => parts.service = reader.text()?,
            b"name" => parts.name = reader.text()?,
            b"resource" => parts.resource = reader.text()?,
            b"type" => parts.kind = reader.text()?,
            b"trace_id" => parts.trace_id = reader.number()?.bits(),
            b"span_id" => parts.span_id = reader.number()?.bits(),
            b"parent_id" => parts.parent_id = reader.number()?.bits(),
            b"start" => parts.start = reader.number()?.whole(),
            b"duration" => parts.duration = reader.number()?.whole(),
            b"error" => parts.is_error = reader.number()?.whole() != 0,
            b"meta" => {
                for _ in 0..reader.map()? {
                    let (key, value) = (reader.text()?, reader.text()?);
                    buffers.meta(&mut parts, key, value);
                }
            }
            b"metrics" => {
                for _ in 0..reader.map()? {
                    let (key, value) = (reader.text()?, reader.number()?);
                    buffers.metric(key, value);
                }
            }
            b"meta_struct" => {
                for _ in 0..reader.map()? {
                    let (key, value) = (reader.text()?, reader.text()?);
                    buffers.draft.attribute(key, Value::Bytes(value));
                }
            }
            b"span_links" => buffers.links(reader)?,
            b"span_events" => buffers.events(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok(parts)
}
