//! Version 1 in thrift (`zipkinCore.thrift`), by the binary protocol over HTTP; by either one inside of Jaeger's UDP.

use super::v1::{Buffers, Span};
use super::{BAD_ADDRESS, Endpoint};
use crate::gather::{Gatherer, Unreadable, Value};
use crate::thrift::{Fields, Protocol, Reader, ThriftError, Type};

/// Decodes the list of spans that is the body of `POST /api/v1/spans`.
pub fn decode_thrift(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut reader = Reader::new(body, Protocol::Binary);
    decode_thrift_list(&mut reader, out)?;
    reader.end().map_err(malformed)
}

/// Decodes a list of spans at the place of a reader.
pub fn decode_thrift_list(reader: &mut Reader<'_>, out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let (mut buffers, mut span) = (Buffers::new(out), Span::default());
    let list = reader.list().map_err(malformed)?;
    if list.item != Type::Struct && list.length > 0 {
        return Err(malformed(reader.unexpected("a list of spans")));
    }
    for index in 0..list.length {
        span.clear();
        read(reader, &mut span, out.max_span_bytes(), &mut buffers).map_err(malformed)?;
        let place = || format!("spans[{index}]");
        if buffers.draft.is_refused() {
            out.add(&buffers.resource, &mut buffers.draft, &place)?;
        } else {
            span.gather(out, &mut buffers, &place)?;
        }
    }
    Ok(())
}

fn malformed(error: ThriftError) -> Unreadable {
    Unreadable::Malformed(format!("not a list of Zipkin spans in thrift: {error}"))
}

fn read(
    reader: &mut Reader<'_>,
    span: &mut Span,
    max_bytes: usize,
    buffers: &mut Buffers,
) -> Result<(), ThriftError> {
    let mut fields = Fields::default();
    let (mut low, mut high) = (0, 0);
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::I64) => low = reader.i64()?,
            (3, Type::Binary) => span.name.extend_from_slice(reader.bytes()?),
            (4, Type::I64) => span.id = reader.i64()?.to_be_bytes(),
            (5, Type::I64) => span.parent_id = Some(reader.i64()?.to_be_bytes()),
            (6, Type::List) => each(reader, span, max_bytes, buffers, annotation)?,
            (8, Type::List) => each(reader, span, max_bytes, buffers, tag)?,
            (9, Type::Bool) => span.is_debug = reader.bool()?,
            (10, Type::I64) => span.timestamp = micros(reader.i64()?, buffers),
            (11, Type::I64) => span.duration = reader.i64()?,
            (12, Type::I64) => high = reader.i64()?,
            (_, kind) => reader.skip(kind)?,
        }
    }
    span.trace_id[..8].copy_from_slice(&high.to_be_bytes());
    span.trace_id[8..].copy_from_slice(&low.to_be_bytes());
    Ok(())
}

fn each(
    reader: &mut Reader<'_>,
    span: &mut Span,
    max_bytes: usize,
    buffers: &mut Buffers,
    item: fn(&mut Reader<'_>, &mut Span, &mut Buffers) -> Result<(), ThriftError>,
) -> Result<(), ThriftError> {
    let list = reader.list()?;
    for _ in 0..list.length {
        if span.is_over(max_bytes) {
            buffers.draft.note_flaw(format!(": over maxSpanBytes = {max_bytes}"));
        }
        if list.item != Type::Struct || buffers.draft.is_refused() {
            reader.skip(list.item)?;
        } else {
            item(reader, span, buffers)?;
        }
    }
    Ok(())
}

fn micros(value: i64, buffers: &mut Buffers) -> u64 {
    u64::try_from(value).unwrap_or_else(|_| {
        buffers.draft.note_flaw(": a time is below zero".to_owned());
        0
    })
}

fn annotation(reader: &mut Reader<'_>, span: &mut Span, buffers: &mut Buffers) -> Result<(), ThriftError> {
    let (mut fields, mut time, mut text, mut host) = (Fields::default(), 0, &[][..], None);
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::I64) => time = micros(reader.i64()?, buffers),
            (2, Type::Binary) => text = reader.bytes()?,
            (3, Type::Struct) => host = Some(endpoint(reader, buffers)?),
            (_, kind) => reader.skip(kind)?,
        }
    }
    span.annotate(time, text, host.as_ref());
    Ok(())
}

fn tag(reader: &mut Reader<'_>, span: &mut Span, buffers: &mut Buffers) -> Result<(), ThriftError> {
    let (mut fields, mut key, mut value, mut kind) = (Fields::default(), &[][..], &[][..], 6);
    let mut host = None;
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::Binary) => key = reader.bytes()?,
            (2, Type::Binary) => value = reader.bytes()?,
            (3, Type::I32) => kind = reader.i32()?,
            (4, Type::Struct) => host = Some(endpoint(reader, buffers)?),
            (_, kind) => reader.skip(kind)?,
        }
    }
    match typed(kind, value) {
        Some(value) => span.tag(key, value, host.as_ref()),
        None => buffers.draft.note_flaw(": a binary annotation has another length than its type".to_owned()),
    }
    Ok(())
}

/// A value of an `AnnotationType`; unknown ones are bytes.
fn typed(kind: i32, bytes: &[u8]) -> Option<Value<'_>> {
    Some(match kind {
        0 => Value::Bool(*bytes.first()? != 0),
        2 => Value::Int(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        3 => Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        4 => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        5 => Value::Double(f64::from_be_bytes(bytes.try_into().ok()?)),
        6 => Value::Text(bytes),
        _ => Value::Bytes(bytes),
    })
}

fn endpoint(reader: &mut Reader<'_>, buffers: &mut Buffers) -> Result<Endpoint, ThriftError> {
    let (mut fields, mut endpoint) = (Fields::default(), Endpoint::default());
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::I32) => {
                let address = reader.i32()?;
                if address != 0 {
                    endpoint.set_ipv4(&address.to_be_bytes());
                }
            }
            // Ports above 32767 look negative in 16 bits with a sign.
            (2, Type::I16) => endpoint.port = reader.i16()?.cast_unsigned(),
            (3, Type::Binary) => endpoint.service = reader.bytes()?.to_vec(),
            (4, Type::Binary) => {
                if !endpoint.set_ipv6(reader.bytes()?) {
                    buffers.draft.note_flaw(BAD_ADDRESS.to_owned());
                }
            }
            (_, kind) => reader.skip(kind)?,
        }
    }
    Ok(endpoint)
}
