//! `jaeger.api_v2.PostSpansRequest`: a batch in protobuf.

use super::{Buffers, Referred, Relation, process_tag, span_tag};
use crate::gather::{Gatherer, KeyValues, Unreadable, Value};
use crate::otlp::wire::{Reader, WireError};

/// Decodes the request of `CollectorService/PostSpans`.
pub fn decode_post_spans(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut reader = Reader::new(body);
    while let Some(field) = reader.next_field().map_err(malformed)? {
        if field.number == 1 {
            let message = field.bytes().map_err(malformed)?;
            batch(message, field.end - message.len(), out)?;
        }
    }
    Ok(())
}

/// Decodes one span, which brings its process with it.
pub fn decode_span(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let malformed = |error| Unreadable::Malformed(format!("not a span of Jaeger: {error}"));
    let mut buffers = Buffers::new(out);
    buffers.begin();
    span(body, 0, &mut buffers).map_err(malformed)?;
    Ok(buffers.end(out, &|| "the span".to_owned())?)
}

fn malformed(error: WireError) -> Unreadable {
    Unreadable::Malformed(format!("not a PostSpansRequest of Jaeger: {error}"))
}

/// Reads a batch. Its process is looked for first: it stands behind the spans.
fn batch(message: &[u8], base: usize, out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut buffers = Buffers::new(out);
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field().map_err(malformed)? {
        if field.number == 2 {
            let attributes = buffers.process.attributes_mut();
            attributes.clear();
            let message = field.bytes().map_err(malformed)?;
            process(message, reader.offset() - message.len(), attributes).map_err(malformed)?;
        }
    }
    let (mut reader, mut index) = (Reader::at_offset(message, base), 0);
    while let Some(field) = reader.next_field().map_err(malformed)? {
        if field.number == 1 {
            let message = field.bytes().map_err(malformed)?;
            buffers.begin();
            span(message, reader.offset() - message.len(), &mut buffers).map_err(malformed)?;
            buffers.end(out, &|| format!("batch.spans[{index}]"))?;
            index += 1;
        }
    }
    Ok(())
}

fn process(message: &[u8], base: usize, resource: &mut KeyValues) -> Result<(), WireError> {
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => match field.bytes()? {
                // An empty name is no name.
                b"" => {}
                name => resource.add(b"service.name", Value::Text(name)),
            },
            2 => {
                let (key, value) = tag(field.bytes()?, reader.offset())?;
                process_tag(resource, key, value);
            }
            _ => {}
        }
    }
    Ok(())
}

fn span(message: &[u8], base: usize, buffers: &mut Buffers) -> Result<(), WireError> {
    let (mut start, mut duration, mut flags) = (0, 0, 0);
    let mut process_id: &[u8] = &[];
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => buffers.draft.trace_id = trace_id(field.bytes()?, buffers),
            2 => buffers.draft.span_id = span_id(field.bytes()?, buffers),
            3 => buffers.draft.set_name(field.bytes()?),
            4 => {
                let reference = reference(field.bytes()?, reader.offset(), buffers)?;
                buffers.refer(reference);
            }
            5 => flags = field.varint()? as u32,
            6 => start = time(field.bytes()?, reader.offset())?,
            7 => duration = time(field.bytes()?, reader.offset())?,
            8 => {
                let (key, value) = tag(field.bytes()?, reader.offset())?;
                span_tag(&mut buffers.draft, key, value);
            }
            9 => log(field.bytes()?, reader.offset(), buffers)?,
            10 => {
                buffers.own_process.clear();
                buffers.has_own_process = true;
                process(field.bytes()?, reader.offset(), &mut buffers.own_process)?;
            }
            11 => process_id = field.bytes()?,
            12 => buffers.warnings.add(field.bytes()?),
            _ => {}
        }
    }
    if !process_id.is_empty() {
        buffers.draft.attribute(b"jaeger.process_id", Value::Text(process_id));
    }
    if !buffers.warnings.is_empty() {
        buffers.draft.texts(b"jaeger.warnings", &buffers.warnings);
    }
    buffers.set_flags(flags);
    buffers.set_times(start, duration);
    Ok(())
}

/// 8 or 16 bytes; the shorter one is padded with zeros on the left.
fn trace_id(bytes: &[u8], buffers: &mut Buffers) -> [u8; 16] {
    let mut id = [0; 16];
    match bytes.len() {
        8 | 16 => id[16 - bytes.len()..].copy_from_slice(bytes),
        length => buffers.draft.note_flaw(format!(": a trace ID has {length} bytes, not 8 or 16")),
    }
    id
}

fn span_id(bytes: &[u8], buffers: &mut Buffers) -> [u8; 8] {
    bytes.try_into().unwrap_or_else(|_| {
        buffers.draft.note_flaw(format!(": a span ID has {} bytes, not 8", bytes.len()));
        [0; 8]
    })
}

fn reference(message: &[u8], end: usize, buffers: &mut Buffers) -> Result<Referred, WireError> {
    let mut to = Referred { trace_id: [0; 16], span_id: [0; 8], relation: Relation::ChildOf };
    let mut reader = Reader::at_offset(message, end - message.len());
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => to.trace_id = trace_id(field.bytes()?, buffers),
            2 => to.span_id = span_id(field.bytes()?, buffers),
            3 if field.varint()? != 0 => to.relation = Relation::FollowsFrom,
            _ => {}
        }
    }
    Ok(to)
}

/// A `Timestamp` or `Duration` in nanoseconds, which may be below zero.
fn time(message: &[u8], end: usize) -> Result<i128, WireError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::at_offset(message, end - message.len());
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => seconds = field.varint()?.cast_signed(),
            2 => nanos = field.varint()?.cast_signed(),
            _ => {}
        }
    }
    Ok(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

fn log(message: &[u8], end: usize, buffers: &mut Buffers) -> Result<(), WireError> {
    let mut reader = Reader::at_offset(message, end - message.len());
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => match u64::try_from(time(field.bytes()?, reader.offset())?) {
                Ok(time) => buffers.log.time = time,
                Err(_) => {
                    buffers.draft.note_flaw(": the time of a log is before 1970 or beyond 2554".to_owned())
                }
            },
            2 => {
                let (key, value) = tag(field.bytes()?, reader.offset())?;
                buffers.log.add(key, value);
            }
            _ => {}
        }
    }
    buffers.end_log();
    Ok(())
}

fn tag(message: &[u8], end: usize) -> Result<(&[u8], Value<'_>), WireError> {
    let (mut key, mut text, mut bytes): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut kind, mut bool, mut int, mut double) = (0, false, 0, 0.0);
    let mut reader = Reader::at_offset(message, end - message.len());
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => kind = field.varint()?,
            3 => text = field.bytes()?,
            4 => bool = field.varint()? != 0,
            5 => int = field.varint()?.cast_signed(),
            6 => double = f64::from_bits(field.fixed64()?),
            7 => bytes = field.bytes()?,
            _ => {}
        }
    }
    let value = match kind {
        0 => Value::Text(text),
        1 => Value::Bool(bool),
        2 => Value::Int(int),
        3 => Value::Double(double),
        _ => Value::Bytes(bytes),
    };
    Ok((key, value))
}
