//! Version 2 in protobuf: `zipkin.proto3.ListOfSpans`, also of the gRPC service `SpanService`.

use super::{BAD_ADDRESS, Endpoint, Sides, nanos};
use crate::gather::{Draft, Gatherer, KeyValues, Unreadable, Value, tag};
use crate::otlp::SpanKind;
use crate::otlp::wire::{Field, Reader, WireError};

/// Decodes a `ListOfSpans`.
pub fn decode_protobuf(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let malformed = |error: WireError| Unreadable::Malformed(format!("not a ListOfSpans of Zipkin: {error}"));
    let (mut draft, mut resource, mut sides) = (out.draft(), out.resource(), Sides::default());
    let (mut reader, mut index, none) = (Reader::new(body), 0, out.event());
    while let Some(field) = reader.next_field().map_err(malformed)? {
        if field.number != 1 {
            continue;
        }
        let message = field.bytes().map_err(malformed)?;
        sides.clear();
        span(message, field.end - message.len(), &mut draft, &mut sides, &none).map_err(malformed)?;
        sides.finish(&mut draft, &mut resource);
        out.add(&resource, &mut draft, &|| format!("spans[{index}]"))?;
        index += 1;
    }
    Ok(())
}

fn span(
    message: &[u8],
    base: usize,
    draft: &mut Draft,
    sides: &mut Sides,
    none: &KeyValues,
) -> Result<(), WireError> {
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        let at = || base + field.end - field.bytes().map_or(0, <[u8]>::len);
        match field.number {
            1 => draft.trace_id = trace_id(field.bytes()?, draft),
            2 => draft.parent_id = span_id(field.bytes()?, "parent ID", draft),
            3 => draft.span_id = span_id(field.bytes()?, "span ID", draft).unwrap_or_default(),
            4 => match field.varint()? {
                0 => {}
                1 => draft.kind = SpanKind::Client,
                2 => draft.kind = SpanKind::Server,
                3 => draft.kind = SpanKind::Producer,
                4 => draft.kind = SpanKind::Consumer,
                other => draft.attribute(b"zipkin.kind", Value::Int(other.cast_signed())),
            },
            5 => draft.set_name(field.bytes()?),
            6 => sides.timestamp = field.fixed64()?,
            7 => sides.duration = field.varint()?.cast_signed(),
            8 => endpoint(field.bytes()?, at(), &mut sides.local, draft)?,
            9 => endpoint(field.bytes()?, at(), &mut sides.remote, draft)?,
            10 => annotation(field, at(), draft, sides, none)?,
            11 => {
                let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
                let mut reader = Reader::at_offset(field.bytes()?, at());
                while let Some(part) = reader.next_field()? {
                    match part.number {
                        1 => key = part.bytes()?,
                        2 => value = part.bytes()?,
                        _ => {}
                    }
                }
                tag(draft, key, Value::Text(value));
            }
            12 => sides.is_debug = field.varint()? != 0,
            13 => sides.is_shared = field.varint()? != 0,
            _ => {}
        }
    }
    Ok(())
}

/// 8 or 16 bytes; the shorter one is padded with zeros on the left.
fn trace_id(bytes: &[u8], draft: &mut Draft) -> [u8; 16] {
    let mut id = [0; 16];
    match bytes.len() {
        8 | 16 => id[16 - bytes.len()..].copy_from_slice(bytes),
        length => draft.note_flaw(format!(": its trace ID has {length} bytes, not 8 or 16")),
    }
    id
}

fn span_id(bytes: &[u8], what: &str, draft: &mut Draft) -> Option<[u8; 8]> {
    let id = bytes.try_into().ok();
    if id.is_none() && !bytes.is_empty() {
        draft.note_flaw(format!(": its {what} has {} bytes, not 8", bytes.len()));
    }
    id
}

fn endpoint(
    message: &[u8],
    base: usize,
    endpoint: &mut Endpoint,
    draft: &mut Draft,
) -> Result<(), WireError> {
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        let is_sound = match field.number {
            1 => {
                endpoint.service.clear();
                endpoint.service.extend_from_slice(field.bytes()?);
                true
            }
            2 => endpoint.set_ipv4(field.bytes()?),
            3 => endpoint.set_ipv6(field.bytes()?),
            4 => {
                match u16::try_from(field.varint()?) {
                    Ok(port) => endpoint.port = port,
                    Err(_) => draft.note_flaw(": a port of an endpoint is not from 0 to 65535".to_owned()),
                }
                true
            }
            _ => true,
        };
        if !is_sound {
            draft.note_flaw(BAD_ADDRESS.to_owned());
        }
    }
    Ok(())
}

fn annotation(
    field: Field<'_>,
    base: usize,
    draft: &mut Draft,
    sides: &mut Sides,
    none: &KeyValues,
) -> Result<(), WireError> {
    let (mut time, mut text): (u64, &[u8]) = (0, &[]);
    let mut reader = Reader::at_offset(field.bytes()?, base);
    while let Some(part) = reader.next_field()? {
        match part.number {
            1 => time = part.fixed64()?,
            2 => text = part.bytes()?,
            _ => {}
        }
    }
    sides.annotated(time);
    match nanos(time) {
        Some(time) => draft.event(time, text, none),
        None => draft.note_flaw(": the time of an annotation is beyond the year 2554".to_owned()),
    }
    Ok(())
}
