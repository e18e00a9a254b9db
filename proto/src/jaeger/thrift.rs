//! `jaeger.thrift`: a batch, alone as the body of an HTTP request or as the argument of a call to the agent over UDP.

use super::{Buffers, Referred, Relation, process_tag, span_tag};
use crate::gather::{Gatherer, KeyValues, Unreadable, Value};
use crate::thrift::{Fields, Protocol, Reader, ThriftError, Type};
use crate::zipkin;

/// Decodes the batch that is the body of `POST /api/traces`.
pub fn decode_batch(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut reader = Reader::new(body, Protocol::Binary);
    batch(&mut reader, out)?;
    reader.end().map_err(malformed)
}

/// Decodes a datagram of the agent's protocol: a call of `emitBatch`, or of `emitZipkinBatch`.
pub fn decode_agent_message(
    datagram: &[u8],
    protocol: Protocol,
    out: &mut Gatherer<'_>,
) -> Result<(), Unreadable> {
    let mut reader = Reader::new(datagram, protocol);
    let message = reader.message().map_err(malformed)?;
    let mut fields = Fields::default();
    while let Some(field) = reader.next_field(&mut fields).map_err(malformed)? {
        match (message.name, field.id, field.kind) {
            (b"emitBatch", 1, Type::Struct) => batch(&mut reader, out)?,
            (b"emitZipkinBatch", 1, Type::List) => zipkin::decode_thrift_list(&mut reader, out)?,
            (b"emitBatch" | b"emitZipkinBatch", _, kind) => reader.skip(kind).map_err(malformed)?,
            _ => return Err(malformed(reader.unexpected("a call of emitBatch or emitZipkinBatch"))),
        }
    }
    reader.end().map_err(malformed)
}

fn malformed(error: ThriftError) -> Unreadable {
    Unreadable::Malformed(format!("not a batch of Jaeger in thrift: {error}"))
}

/// Reads a batch. Its process is looked for first, wherever it stands.
fn batch(reader: &mut Reader<'_>, out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut buffers = Buffers::new(out);
    find_process(reader.clone(), buffers.process.attributes_mut()).map_err(malformed)?;
    let mut fields = Fields::default();
    while let Some(field) = reader.next_field(&mut fields).map_err(malformed)? {
        if (field.id, field.kind) != (2, Type::List) {
            reader.skip(field.kind).map_err(malformed)?;
            continue;
        }
        let list = reader.list().map_err(malformed)?;
        for index in 0..list.length {
            if list.item != Type::Struct {
                return Err(malformed(reader.unexpected("a list of spans")));
            }
            buffers.begin();
            span(reader, &mut buffers).map_err(malformed)?;
            buffers.end(out, &|| format!("spans[{index}]"))?;
        }
    }
    Ok(())
}

fn find_process(mut reader: Reader<'_>, process: &mut KeyValues) -> Result<(), ThriftError> {
    let mut fields = Fields::default();
    while let Some(field) = reader.next_field(&mut fields)? {
        if (field.id, field.kind) == (1, Type::Struct) {
            return read_process(&mut reader, process);
        }
        reader.skip(field.kind)?;
    }
    Ok(())
}

fn read_process(reader: &mut Reader<'_>, process: &mut KeyValues) -> Result<(), ThriftError> {
    let mut fields = Fields::default();
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::Binary) => match reader.bytes()? {
                // An empty name is no name.
                b"" => {}
                name => process.add(b"service.name", Value::Text(name)),
            },
            (2, Type::List) => {
                each(reader, |reader| tag(reader, |key, value| process_tag(process, key, value)))?
            }
            (_, kind) => reader.skip(kind)?,
        }
    }
    Ok(())
}

fn span(reader: &mut Reader<'_>, buffers: &mut Buffers) -> Result<(), ThriftError> {
    let (mut fields, mut trace, mut flags) = (Fields::default(), [0; 2], 0);
    let (mut start, mut duration) = (0, 0);
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::I64) => trace[1] = reader.i64()?,
            (2, Type::I64) => trace[0] = reader.i64()?,
            (3, Type::I64) => buffers.draft.span_id = reader.i64()?.to_be_bytes(),
            (4, Type::I64) => buffers.draft.parent_id = Some(reader.i64()?.to_be_bytes()),
            (5, Type::Binary) => buffers.draft.set_name(reader.bytes()?),
            (6, Type::List) => each(reader, |reader| {
                buffers.refer(reference(reader)?);
                Ok(())
            })?,
            (7, Type::I32) => flags = reader.i32()?.cast_unsigned(),
            (8, Type::I64) => start = reader.i64()?,
            (9, Type::I64) => duration = reader.i64()?,
            (10, Type::List) => {
                let draft = &mut buffers.draft;
                each(reader, |reader| tag(reader, |key, value| span_tag(draft, key, value)))?;
            }
            (11, Type::List) => each(reader, |reader| log(reader, buffers))?,
            (_, kind) => reader.skip(kind)?,
        }
    }
    buffers.draft.trace_id = trace_id(trace);
    buffers.set_flags(flags);
    buffers.set_times(nanos(start), nanos(duration));
    Ok(())
}

fn trace_id([high, low]: [i64; 2]) -> [u8; 16] {
    (u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned())).to_be_bytes()
}

/// Microseconds as nanoseconds.
fn nanos(micros: i64) -> i128 {
    i128::from(micros) * 1_000
}

/// Reads the structs of a list; items of another type are skipped.
fn each<'b>(
    reader: &mut Reader<'b>,
    mut item: impl FnMut(&mut Reader<'b>) -> Result<(), ThriftError>,
) -> Result<(), ThriftError> {
    let list = reader.list()?;
    for _ in 0..list.length {
        if list.item == Type::Struct {
            item(reader)?;
        } else {
            reader.skip(list.item)?;
        }
    }
    Ok(())
}

fn reference(reader: &mut Reader<'_>) -> Result<Referred, ThriftError> {
    let (mut fields, mut kind, mut trace, mut span_id) = (Fields::default(), 0, [0; 2], 0);
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::I32) => kind = reader.i32()?,
            (2, Type::I64) => trace[1] = reader.i64()?,
            (3, Type::I64) => trace[0] = reader.i64()?,
            (4, Type::I64) => span_id = reader.i64()?,
            (_, kind) => reader.skip(kind)?,
        }
    }
    let relation = if kind == 0 { Relation::ChildOf } else { Relation::FollowsFrom };
    Ok(Referred { trace_id: trace_id(trace), span_id: span_id.to_be_bytes(), relation })
}

fn log(reader: &mut Reader<'_>, buffers: &mut Buffers) -> Result<(), ThriftError> {
    let mut fields = Fields::default();
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::I64) => match u64::try_from(nanos(reader.i64()?)) {
                Ok(time) => buffers.log.time = time,
                Err(_) => {
                    buffers.draft.note_flaw(": the time of a log is before 1970 or beyond 2554".to_owned())
                }
            },
            (2, Type::List) => {
                let log = &mut buffers.log;
                each(reader, |reader| tag(reader, |key, value| log.add(key, value)))?;
            }
            (_, kind) => reader.skip(kind)?,
        }
    }
    buffers.end_log();
    Ok(())
}

fn tag<'b>(reader: &mut Reader<'b>, add: impl FnOnce(&'b [u8], Value<'b>)) -> Result<(), ThriftError> {
    let (mut fields, mut key, mut kind): (_, &[u8], _) = (Fields::default(), &[], 0);
    let (mut text, mut bytes): (&[u8], &[u8]) = (&[], &[]);
    let (mut double, mut bool, mut long) = (0.0, false, 0);
    while let Some(field) = reader.next_field(&mut fields)? {
        match (field.id, field.kind) {
            (1, Type::Binary) => key = reader.bytes()?,
            (2, Type::I32) => kind = reader.i32()?,
            (3, Type::Binary) => text = reader.bytes()?,
            (4, Type::Double) => double = reader.double()?,
            (5, Type::Bool) => bool = reader.bool()?,
            (6, Type::I64) => long = reader.i64()?,
            (7, Type::Binary) => bytes = reader.bytes()?,
            (_, kind) => reader.skip(kind)?,
        }
    }
    let value = match kind {
        0 => Value::Text(text),
        1 => Value::Double(double),
        2 => Value::Bool(bool),
        3 => Value::Int(long),
        _ => Value::Bytes(bytes),
    };
    add(key, value);
    Ok(())
}
