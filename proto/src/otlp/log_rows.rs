//! Log records as rows: what a log request becomes before it is stored.
//!
//! A log record that belongs to a span says what an event of the span says, and a little more. So the records that one
//! request has of a span, under one resource and scope, become one *row*: a `Span` message that has nothing but the IDs,
//! a time and events, one for each record. What an `Event` message has no field for is in fields with numbers of
//! [`field`], which OTLP does not use in it. A row is told from a span by where it lies ([`Decoded::logs`], and blocks of
//! logs in the store), never by what it says, so a span from outside cannot pass for one.
//!
//! Not for reading rows: `log_view.rs` does that.

use bytes::Bytes;

use super::decode::{DecodeError, DecodeLimits, Decoded, DecodedSpan, decode_log_records, time_of_record};
use super::wire::{
    Reader, WireError, close_message, open_message, put_bytes, put_fixed32, put_fixed64, put_uint,
};

/// Numbers of fields in an `Event` message that only rows have. All are below 32, because the store gives each of those a
/// column of its own.
pub mod field {
    /// Varint 1: the record had no time of its own, and the event's time is the one of observation.
    pub const ONLY_OBSERVED: u32 = 17;
    /// Varint: the number of the severity.
    pub const SEVERITY: u32 = 18;
    /// Text of the severity.
    pub const SEVERITY_TEXT: u32 = 19;
    /// The body, an `AnyValue`.
    pub const BODY: u32 = 21;
    /// Fixed32: the record's flags.
    pub const FLAGS: u32 = 24;
    /// Varint, zigzag: nanoseconds from the event's time to the time of observation.
    pub const OBSERVED_AFTER: u32 = 27;
    /// Fields of the record that this program does not know, as they were sent.
    pub const UNKNOWN: u32 = 31;
}

/// A row ends at this many bytes, so that one noisy span does not become one huge row.
const ROW_BYTES: usize = 64 << 10;

/// The parts of a log record that become an event.
#[derive(Default)]
struct Record<'a> {
    time: u64,
    /// Zero without one.
    observed: u64,
    severity: u64,
    severity_text: &'a [u8],
    body: Option<&'a [u8]>,
    dropped_attributes: u64,
    flags: u32,
    event_name: &'a [u8],
    attributes: Vec<&'a [u8]>,
    /// The fields that this program does not know.
    unknown: Vec<u8>,
}

/// Checks a request, finds its log records, and makes rows of them.
pub fn decode_logs_request(body: Bytes, limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let named = |error| DecodeError { request: "ExportLogsServiceRequest", error };
    let records = decode_log_records(&body, limits).map_err(named)?;
    drop(body);
    into_rows(records).map_err(named)
}

/// Turns a request whose `spans` are log records into one whose `logs` are rows. Its body holds the rows alone.
pub(super) fn into_rows(records: Decoded) -> Result<Decoded, WireError> {
    let mut order: Vec<u32> = (0..records.spans.len() as u32).collect();
    let of = |at: u32| &records.spans[at as usize];
    order.sort_by_key(|at| {
        let record = of(*at);
        (record.resource, record.scope, record.trace_id, record.span_id, record.start)
    });
    let same_row = |a: &u32, b: &u32| key_of(of(*a)) == key_of(of(*b));
    let mut body = Vec::with_capacity(records.body.len());
    let (mut logs, mut record) = (Vec::new(), Record::default());
    for group in order.chunk_by(same_row) {
        let mut left = group;
        while let Some(first) = left.first() {
            let (begin, head) = (body.len(), of(*first));
            put_bytes(&mut body, 1, head.trace_id.as_bytes());
            put_bytes(&mut body, 2, head.span_id.as_bytes());
            put_fixed64(&mut body, 7, head.start.0);
            put_fixed64(&mut body, 8, head.start.0);
            while let Some((next, rest)) = left.split_first()
                && body.len() - begin < ROW_BYTES
            {
                put_event(&mut body, &mut record, records.span(of(*next)))?;
                left = rest;
            }
            logs.push(DecodedSpan { at: begin..body.len(), ..head.clone() });
        }
    }
    body.shrink_to_fit();
    let record_count = records.spans.len() as u64;
    // What the rows refer to must not keep the request's own body in memory.
    let copied = |list: Vec<Bytes>| list.iter().map(|one| Bytes::copy_from_slice(one)).collect();
    Ok(Decoded {
        body: body.into(),
        resources: copied(records.resources),
        scopes: copied(records.scopes),
        logs,
        log_records: record_count,
        rejected: records.rejected,
        without_span: records.without_span,
        ..Decoded::default()
    })
}

/// Records that may share a row have the same.
fn key_of(record: &DecodedSpan) -> (u32, u32, crate::TraceId, crate::SpanId) {
    (record.resource, record.scope, record.trace_id, record.span_id)
}

fn put_event<'r>(out: &mut Vec<u8>, record: &mut Record<'r>, message: &'r [u8]) -> Result<(), WireError> {
    record.read(message)?;
    let time = time_of_record(record.time, record.observed).0;
    let at = open_message(out, 11);
    put_fixed64(out, 1, time);
    if !record.event_name.is_empty() {
        put_bytes(out, 2, record.event_name);
    }
    record.attributes.iter().for_each(|attribute| put_bytes(out, 3, attribute));
    if record.dropped_attributes != 0 {
        put_uint(out, 4, record.dropped_attributes);
    }
    if record.time == 0 {
        put_uint(out, field::ONLY_OBSERVED, 1);
    }
    if record.severity != 0 {
        put_uint(out, field::SEVERITY, record.severity);
    }
    if !record.severity_text.is_empty() {
        put_bytes(out, field::SEVERITY_TEXT, record.severity_text);
    }
    if let Some(body) = record.body {
        put_bytes(out, field::BODY, body);
    }
    if record.flags != 0 {
        put_fixed32(out, field::FLAGS, record.flags);
    }
    if record.observed != 0 {
        put_uint(out, field::OBSERVED_AFTER, zigzag(record.observed.wrapping_sub(time).cast_signed()));
    }
    if !record.unknown.is_empty() {
        put_bytes(out, field::UNKNOWN, &record.unknown);
    }
    close_message(out, at);
    Ok(())
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

// === impl Record ===

impl<'a> Record<'a> {
    /// Reads a record that was checked, in the place of another, whose memory it takes over.
    fn read(&mut self, message: &'a [u8]) -> Result<(), WireError> {
        let (mut attributes, mut unknown) =
            (std::mem::take(&mut self.attributes), std::mem::take(&mut self.unknown));
        attributes.clear();
        unknown.clear();
        *self = Self { attributes, unknown, ..Self::default() };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => self.time = field.fixed64()?,
                2 => self.severity = field.varint()?,
                3 => self.severity_text = field.bytes()?,
                5 => self.body = Some(field.bytes()?),
                6 => self.attributes.push(field.bytes()?),
                7 => self.dropped_attributes = field.varint()?,
                8 => self.flags = field.fixed32()?,
                9 | 10 => {}
                11 => self.observed = field.fixed64()?,
                12 => self.event_name = field.bytes()?,
                _ => self.unknown.extend_from_slice(&message[field.begin..field.end]),
            }
        }
        Ok(())
    }
}
