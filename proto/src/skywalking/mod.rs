//! Segments of SkyWalking's agents, version 3 of its protocol in protobuf.
//!
//! `docs/receivers.md#skywalking` has the conversion to OTLP, field by field. A segment of SkyWalking is what one thread of
//! a process did for one trace. Its spans are numbered within it and name parents in other segments by the segment's ID
//! and a number, so IDs of 8 bytes are made from both; a trace's ID is a text of any form.

mod ids;
mod span;

use self::ids::trace_id;
pub use self::ids::trace_id as trace_id_of;
use self::span::{Buffers, span};
use crate::gather::{Gatherer, KeyValues, Unreadable, Value};
use crate::otlp::wire::{Reader, WireError};

/// What the spans of a segment share.
#[derive(Debug, Clone, Copy, Default)]
struct Segment<'b> {
    trace: &'b [u8],
    trace_id: [u8; 16],
    id: &'b [u8],
    is_size_limited: bool,
}

/// Decodes a `SegmentObject`, one message of the stream of `TraceSegmentReportService/collect`.
pub fn decode_segment(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut buffers = Buffers::new(out);
    segment(body, 0, &mut buffers, out, "")
}

/// Decodes a `SegmentCollection`, the message of `TraceSegmentReportService/collectInSync`.
pub fn decode_collection(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut buffers = Buffers::new(out);
    let (mut reader, mut index) = (Reader::new(body), 0);
    while let Some(field) = reader.next_field().map_err(malformed)? {
        if field.number == 1 {
            let message = field.bytes().map_err(malformed)?;
            let place = if out.explains_flaws() { format!("segments[{index}].") } else { String::new() };
            segment(message, reader.offset() - message.len(), &mut buffers, out, &place)?;
            index += 1;
        }
    }
    Ok(())
}

fn malformed(error: WireError) -> Unreadable {
    Unreadable::Malformed(format!("not a segment of SkyWalking: {error}"))
}

/// What all spans of a segment need is looked for first, wherever it stands.
fn segment(
    message: &[u8],
    base: usize,
    buffers: &mut Buffers,
    out: &mut Gatherer<'_>,
    place: &str,
) -> Result<(), Unreadable> {
    let segment = head(message, base, buffers.resource.attributes_mut()).map_err(malformed)?;
    let (mut reader, mut index) = (Reader::at_offset(message, base), 0);
    while let Some(field) = reader.next_field().map_err(malformed)? {
        if field.number == 3 {
            let message = field.bytes().map_err(malformed)?;
            span(message, reader.offset() - message.len(), &segment, buffers).map_err(malformed)?;
            let Buffers { resource, draft, .. } = buffers;
            out.add_shared(resource, draft, &|| format!("{place}spans[{index}]"))?;
            index += 1;
        }
    }
    Ok(())
}

fn head<'b>(message: &'b [u8], base: usize, resource: &mut KeyValues) -> Result<Segment<'b>, WireError> {
    let mut segment = Segment::default();
    let (mut service, mut instance): (&[u8], &[u8]) = (b"", b"");
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => segment.trace = field.bytes()?,
            2 => segment.id = field.bytes()?,
            4 => service = field.bytes()?,
            5 => instance = field.bytes()?,
            6 => segment.is_size_limited = field.varint()? != 0,
            _ => {}
        }
    }
    segment.trace_id = trace_id(segment.trace);
    resource.clear();
    for (key, value) in [(&b"service.name"[..], service), (b"service.instance.id", instance)] {
        if !value.is_empty() {
            resource.add(key, Value::Text(value));
        }
    }
    Ok(segment)
}

#[cfg(test)]
mod tests;
