//! Decodes the bytes of an `ExportTraceServiceRequest` into a list of checked spans, and those of an
//! `ExportLogsServiceRequest`, whose messages are laid out alike, into rows of log records (`log_rows.rs`).
//!
//! Nothing is copied: a decoded request is its body with the range of each span. Bytes that are not the wire format
//! refuse the whole request; a flaw of one span refuses that span alone and is reported through OTLP's
//! `partial_success`.

use std::ops::Range;

use bytes::Bytes;

use super::head::SpanHead;
use super::plain::{is_plain_attribute, plain_attributes};
use super::rejections::Rejections;
use super::wire::{Reader, Value, WireError};
use crate::{SpanId, TraceId, UnixNanos};

/// Bounds on one request. Errors name the bound that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of one `Span` message.
    pub max_span_bytes: usize,
    /// Bytes of a resource or scope, which the store keeps with every span below it.
    pub max_resource_bytes: usize,
    /// How deep arrays and key-value lists may nest.
    pub max_nesting: usize,
}

/// Why a request as a whole is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an {request}: {error}")]
pub struct DecodeError {
    /// The name of the message that was expected.
    pub request: &'static str,
    /// What is wrong with the bytes.
    pub error: WireError,
}

/// A request whose spans were checked.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// The body, into which the ranges of spans point.
    pub body: Bytes,
    /// Spans that were written anew behind the decoder: ranges beyond the body point in here, as if it followed it.
    pub rewritten: Bytes,
    /// `ResourceSpans` messages without their scope spans.
    pub resources: Vec<Bytes>,
    /// `ScopeSpans` messages without their spans.
    pub scopes: Vec<Bytes>,
    /// The accepted spans.
    pub spans: Vec<DecodedSpan>,
    /// Rows of accepted log records: `Span` messages whose events are the records of one span.
    pub logs: Vec<DecodedSpan>,
    /// How many log records these are.
    pub log_records: u64,
    /// The refused spans or log records, with their reasons.
    pub rejected: Rejections,
    /// Log records that belong to no span.
    pub without_span: WithoutSpan,
}

/// Log records that lack a trace ID, a span ID, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WithoutSpan {
    /// Their number.
    pub count: u64,
    /// Where the first of them is, as in `resourceLogs[0].scopeLogs[1].logRecords[7]`.
    pub first: String,
}

/// The range of a span, and its sort key.
#[derive(Debug, Clone)]
pub struct DecodedSpan {
    /// The trace ID.
    pub trace_id: TraceId,
    /// The span ID.
    pub span_id: SpanId,
    /// The start time.
    pub start: UnixNanos,
    /// Index into [`Decoded::resources`].
    pub resource: u32,
    /// Index into [`Decoded::scopes`].
    pub scope: u32,
    /// The range of its message in [`Decoded::body`], or behind it in [`Decoded::rewritten`]; [`Decoded::span`] finds it.
    pub at: Range<usize>,
}

// === impl Decoded ===

impl Decoded {
    /// The message of a span.
    #[inline]
    pub fn span(&self, span: &DecodedSpan) -> &[u8] {
        match span.at.start.checked_sub(self.body.len()) {
            None => &self.body[span.at.clone()],
            Some(begin) => &self.rewritten[begin..span.at.end - self.body.len()],
        }
    }

    /// The message of a span, without a copy.
    pub fn span_bytes(&self, span: &DecodedSpan) -> Bytes {
        match span.at.start.checked_sub(self.body.len()) {
            None => self.body.slice(span.at.clone()),
            Some(begin) => self.rewritten.slice(begin..span.at.end - self.body.len()),
        }
    }

    /// The bytes that it keeps in memory, but for its lists.
    pub fn size(&self) -> usize {
        self.body.len() + self.rewritten.len()
    }
}

// === impl WithoutSpan ===

impl WithoutSpan {
    /// Counts a record.
    pub(super) fn add(&mut self, place: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = place();
        }
        self.count += 1;
    }

    /// Why they are not kept, for their sender.
    pub fn reason(&self) -> String {
        let Self { count, first } = self;
        let records = if *count == 1 { "1 log record".to_owned() } else { format!("{count} log records") };
        format!(
            "{records} without traceId and spanId, the first at {first}: only logs of spans are kept here"
        )
    }
}

/// Why one span or log record is refused.
#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    Wire(WireError),
    Span(String),
    /// A log record belongs to no span.
    WithoutSpan,
}

/// Checks a request and finds its spans.
pub fn decode_request(body: Bytes, limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let named = |error| DecodeError { request: "ExportTraceServiceRequest", error };
    Decoder::of(Signal::Traces, &body, limits).request(&body).map_err(named)
}

/// Checks a request and finds its log records: they are the `spans` of the result, and become rows next.
pub(super) fn decode_log_records(body: &Bytes, limits: &DecodeLimits) -> Result<Decoded, WireError> {
    Decoder::of(Signal::Logs, body, limits).request(body)
}

/// The time by which a log record is sorted: its own, else that of observation.
pub(super) fn time_of_record(time: u64, observed: u64) -> UnixNanos {
    UnixNanos(if time == 0 { observed } else { time })
}

/// What a request holds: the messages around spans and log records have the same fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Traces,
    Logs,
}

struct Decoder<'l> {
    signal: Signal,
    limits: &'l DecodeLimits,
    out: Decoded,
    /// Where the current log record is: the numbers of its resource, its scope, and its own.
    place: [usize; 3],
}

/// A resource or scope. It is listed with its first span: a body of millions of empty ones must not take more memory
/// than its own bytes.
struct Container {
    record: Bytes,
    flaw: Option<String>,
    index: Option<u32>,
}

// === impl Container ===

impl Container {
    fn listed_in(&mut self, list: &mut Vec<Bytes>) -> u32 {
        *self.index.get_or_insert_with(|| {
            list.push(self.record.clone());
            list.len() as u32 - 1
        })
    }
}

// === impl Decoder ===

impl<'l> Decoder<'l> {
    fn of(signal: Signal, body: &Bytes, limits: &'l DecodeLimits) -> Self {
        Self { signal, limits, out: Decoded { body: body.clone(), ..Decoded::default() }, place: [0; 3] }
    }

    fn request(mut self, body: &Bytes) -> Result<Decoded, WireError> {
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            if field.number == 1 {
                let message = field.bytes()?;
                self.resource_spans(body, message, field.end - message.len())?;
                self.place[0] += 1;
            }
        }
        Ok(self.out)
    }

    fn resource_spans(&mut self, body: &Bytes, message: &[u8], base: usize) -> Result<(), WireError> {
        let (record, inside) = split(body, message, base, 2)?;
        let flaw = self.container_flaw(&record, base, "resource")?;
        let mut resource = Container { record, flaw, index: None };
        self.place[1] = 0;
        inside.each(message, base, |at| {
            self.scope_spans(body, &body[at.clone()], at.start, &mut resource)?;
            self.place[1] += 1;
            Ok(())
        })
    }

    fn scope_spans(
        &mut self,
        body: &Bytes,
        message: &[u8],
        base: usize,
        resource: &mut Container,
    ) -> Result<(), WireError> {
        let (record, inside) = split(body, message, base, 2)?;
        let own_flaw = self.container_flaw(&record, base, "scope")?;
        let mut scope = Container { record, flaw: resource.flaw.clone().or(own_flaw), index: None };
        self.place[2] = 0;
        inside.each(message, base, |at| {
            let found = match &scope.flaw {
                Some(flaw) => Err(Flaw::Span(flaw.clone())),
                None if self.signal == Signal::Logs => self.log_record(&body[at.clone()], at.start),
                None => self.span(&body[at.clone()], at.start),
            };
            self.place[2] += 1;
            match found {
                Ok((trace_id, span_id, start)) => {
                    let resource = resource.listed_in(&mut self.out.resources);
                    let scope = scope.listed_in(&mut self.out.scopes);
                    self.out.spans.push(DecodedSpan { trace_id, span_id, start, resource, scope, at });
                    Ok(())
                }
                Err(Flaw::Span(reason)) => {
                    self.out.rejected.add(reason);
                    Ok(())
                }
                Err(Flaw::WithoutSpan) => {
                    let place = self.log_place();
                    self.out.without_span.add(|| place);
                    Ok(())
                }
                Err(Flaw::Wire(error)) => Err(error),
            }
        })
    }

    /// Where the log record is that was counted last.
    fn log_place(&self) -> String {
        let [resource, scope, behind] = self.place;
        format!("resourceLogs[{resource}].scopeLogs[{scope}].logRecords[{}]", behind.saturating_sub(1))
    }

    /// A flaw of a resource or scope refuses the spans below it, not the request.
    fn container_flaw(&self, record: &[u8], base: usize, what: &str) -> Result<Option<String>, WireError> {
        if record.len() > self.limits.max_resource_bytes {
            return Ok(Some(format!(
                "{what} of {} bytes is over maxResourceBytes = {}",
                record.len(),
                self.limits.max_resource_bytes
            )));
        }
        let schema = if what == "resource" { RESOURCE_SPANS } else { SCOPE_SPANS };
        match check(record, base, schema, self.limits.max_nesting) {
            Ok(()) | Err(Flaw::WithoutSpan) => Ok(None),
            Err(Flaw::Span(reason)) => Ok(Some(format!("{what}: {reason}"))),
            Err(Flaw::Wire(error)) => Err(error),
        }
    }

    /// Checks a log record; one with a flaw is told with its place.
    fn log_record(&self, record: &[u8], base: usize) -> Result<(TraceId, SpanId, UnixNanos), Flaw> {
        match self.unplaced_log_record(record, base) {
            Err(Flaw::Span(reason)) if self.out.rejected.has_room() => {
                let [resource, scope, at] = self.place;
                let place = format!("resourceLogs[{resource}].scopeLogs[{scope}].logRecords[{at}]");
                Err(Flaw::Span(format!("{place}: {reason}")))
            }
            other => other,
        }
    }

    fn unplaced_log_record(&self, record: &[u8], base: usize) -> Result<(TraceId, SpanId, UnixNanos), Flaw> {
        let limit = self.limits.max_span_bytes;
        if record.len() > limit {
            return Err(Flaw::Span(format!(
                "log record of {} bytes is over maxSpanBytes = {limit}",
                record.len()
            )));
        }
        let (mut trace_id, mut span_id, mut time, mut observed): (&[u8], &[u8], u64, u64) = (&[], &[], 0, 0);
        let (mut flaw, mut ids) = (None, 0);
        let mut reader = Reader::at_offset(record, base);
        while let Some(field) = reader.next_field()? {
            ids += u32::from(matches!(field.number, 9 | 10));
            match (field.number, field.value) {
                (9, Value::Bytes(bytes)) => trace_id = bytes,
                (10, Value::Bytes(bytes)) => span_id = bytes,
                (1, Value::Fixed64(value)) => time = value,
                (11, Value::Fixed64(value)) => observed = value,
                (5, Value::Bytes(body)) => {
                    let at = reader.offset() - body.len();
                    match check_value(body, at, self.limits.max_nesting) {
                        Err(Flaw::Span(reason)) => flaw = flaw.or(Some(reason)),
                        other => other?,
                    }
                }
                _ => {
                    match check_field(&reader, field.number, field.value, LOG_RECORD, self.limits.max_nesting)
                    {
                        Err(Flaw::Span(reason)) => flaw = flaw.or(Some(reason)),
                        other => other?,
                    }
                }
            }
        }
        match flaw {
            None if ids > 2 => Err(Flaw::Span("trace ID or span ID is sent twice".to_owned())),
            None => identifiers(trace_id, span_id)
                .map(|(trace, span)| (trace, span, time_of_record(time, observed))),
            Some(reason) => Err(Flaw::Span(reason)),
        }
    }

    #[inline]
    fn span(&self, span: &[u8], base: usize) -> Result<(TraceId, SpanId, UnixNanos), Flaw> {
        if span.len() > self.limits.max_span_bytes {
            let limit = self.limits.max_span_bytes;
            return Err(Flaw::Span(format!("span of {} bytes is over maxSpanBytes = {limit}", span.len())));
        }
        let (mut trace_id, mut span_id, mut start): (&[u8], &[u8], u64) = (&[], &[], 0);
        // The checks read the whole span, so that a broken wire format refuses the request even after a flaw of the
        // span.
        let mut flaw = None;
        let mut keys = 0;
        let mut reader = Reader::at_offset(span, base);
        if let Some(head) = SpanHead::parse(span).filter(|head| head.name.is_ascii()) {
            (trace_id, span_id, start, keys) = (head.trace_id, head.span_id, head.start, 3);
            reader.advance(head.length);
        }
        loop {
            // With a limit of zero no nesting is allowed, so no value is valid.
            if self.limits.max_nesting > 0 {
                reader.advance(plain_attributes(reader.rest()));
            }
            let Some(field) = reader.next_field()? else { break };
            keys += u32::from(matches!(field.number, 1 | 2 | 7));
            match (field.number, field.value) {
                (9, Value::Bytes(bytes)) => {
                    let at = reader.offset() - bytes.len();
                    match check_key_value(bytes, at, self.limits.max_nesting) {
                        Err(Flaw::Span(reason)) => flaw = flaw.or(Some(reason)),
                        other => other?,
                    }
                }
                (1, Value::Bytes(bytes)) => trace_id = bytes,
                (2, Value::Bytes(bytes)) => span_id = bytes,
                (7, Value::Fixed64(value)) => start = value,
                _ => match check_field(&reader, field.number, field.value, SPAN, self.limits.max_nesting) {
                    Err(Flaw::Span(reason)) => flaw = flaw.or(Some(reason)),
                    other => other?,
                },
            }
        }
        let trace = TraceId::from_wire(trace_id).ok_or_else(|| bad_id("trace", trace_id, 16))?;
        let span = SpanId::from_wire(span_id).ok_or_else(|| bad_id("span", span_id, 8))?;
        match flaw {
            // Readers disagree on which of two equal fields counts, and lookups must not depend on that.
            None if keys > 3 => Err(Flaw::Span("trace ID, span ID or start is sent twice".to_owned())),
            None => Ok((trace, span, UnixNanos(start))),
            Some(reason) => Err(Flaw::Span(reason)),
        }
    }
}

/// The IDs of the span that a log record belongs to. An ID that is missing or all zero means that there is none.
fn identifiers(trace_id: &[u8], span_id: &[u8]) -> Result<(TraceId, SpanId), Flaw> {
    let has = |id: &[u8]| id.iter().any(|byte| *byte != 0);
    if !has(trace_id) || !has(span_id) {
        return Err(Flaw::WithoutSpan);
    }
    let trace = TraceId::from_wire(trace_id).ok_or_else(|| bad_id("trace", trace_id, 16))?;
    let span = SpanId::from_wire(span_id).ok_or_else(|| bad_id("span", span_id, 8))?;
    Ok((trace, span))
}

/// The same for the IDs of a record that was read from JSON; `None` if it has none, a text if one is not valid.
pub(super) fn identifiers_of_json(
    trace_id: &[u8],
    span_id: &[u8],
) -> Result<Option<(TraceId, SpanId)>, String> {
    match identifiers(trace_id, span_id) {
        Ok(ids) => Ok(Some(ids)),
        Err(Flaw::Span(reason)) => Err(reason),
        Err(Flaw::WithoutSpan | Flaw::Wire(_)) => Ok(None),
    }
}

fn bad_id(what: &str, id: &[u8], expected: usize) -> Flaw {
    Flaw::Span(if id.len() == expected {
        format!("{what} ID is all zero")
    } else {
        format!("{what} ID has {} bytes, not {expected}", id.len())
    })
}

/// Where the fields of one number are in the body. A message with many such fields is walked again instead of listing
/// them all: millions of empty ones must not take more memory than the body.
struct Inside {
    number: u32,
    listed: Vec<Range<usize>>,
    /// Where in the message the unlisted fields begin.
    rest: Option<usize>,
}

/// The most fields of one message that are listed, in 16 KiB.
const LISTED: usize = 1024;

/// Splits a message: the rest without the fields of one number (a slice of the body if it is contiguous), and these.
fn split(body: &Bytes, message: &[u8], base: usize, number: u32) -> Result<(Bytes, Inside), WireError> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut inside = Inside { number, listed: Vec::new(), rest: None };
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        if field.number == number {
            let bytes = field.bytes().map_err(|_| reader.wrong_type(number))?;
            if inside.listed.len() < LISTED {
                inside.listed.push(reader.offset() - bytes.len()..reader.offset());
            } else if inside.rest.is_none() {
                inside.rest = Some(field.begin);
            }
            continue;
        }
        match pieces.last_mut() {
            Some(last) if last.end == field.begin => last.end = field.end,
            _ => pieces.push(field.begin..field.end),
        }
    }
    let rest = match pieces.as_slice() {
        [] => Bytes::new(),
        [one] => body.slice(base + one.start..base + one.end),
        many => many.iter().flat_map(|piece| &message[piece.clone()]).copied().collect::<Vec<u8>>().into(),
    };
    Ok((rest, inside))
}

// === impl Inside ===

impl Inside {
    /// Visits the range of each field, given the message and its offset in the body.
    fn each(
        self,
        message: &[u8],
        base: usize,
        mut visit: impl FnMut(Range<usize>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        self.listed.into_iter().try_for_each(&mut visit)?;
        let Some(rest) = self.rest else { return Ok(()) };
        let mut reader = Reader::at_offset(&message[rest..], base + rest);
        while let Some(field) = reader.next_field()? {
            if field.number == self.number {
                let bytes = field.bytes().map_err(|_| reader.wrong_type(self.number))?;
                visit(reader.offset() - bytes.len()..reader.offset())?;
            }
        }
        Ok(())
    }
}

// === checks ===

impl From<WireError> for Flaw {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// The type of a field in OTLP, as far as checking needs it.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bytes,
    Varint,
    Fixed64,
    Fixed32,
    Message(&'static [(u32, Kind)]),
    /// A `KeyValue`. Most of a request is attributes, so they are checked by a faster function.
    Attribute,
}

const ENTITY_REF: Kind = Kind::Message(&[(1, Kind::Text), (2, Kind::Text), (3, Kind::Text), (4, Kind::Text)]);
const RESOURCE_SPANS: &[(u32, Kind)] =
    &[(1, Kind::Message(&[(1, Kind::Attribute), (2, Kind::Varint), (3, ENTITY_REF)])), (3, Kind::Text)];
const SCOPE_SPANS: &[(u32, Kind)] = &[
    (1, Kind::Message(&[(1, Kind::Text), (2, Kind::Text), (3, Kind::Attribute), (4, Kind::Varint)])),
    (3, Kind::Text),
];
const EVENT: Kind =
    Kind::Message(&[(1, Kind::Fixed64), (2, Kind::Text), (3, Kind::Attribute), (4, Kind::Varint)]);
const LINK: Kind = Kind::Message(&[
    (1, Kind::Bytes),
    (2, Kind::Bytes),
    (3, Kind::Text),
    (4, Kind::Attribute),
    (5, Kind::Varint),
    (6, Kind::Fixed32),
]);
const SPAN: &[(u32, Kind)] = &[
    (5, Kind::Text),
    (4, Kind::Bytes),
    (6, Kind::Varint),
    (8, Kind::Fixed64),
    (11, EVENT),
    (15, Kind::Message(&[(2, Kind::Text), (3, Kind::Varint)])),
    (16, Kind::Fixed32),
    (1, Kind::Bytes),
    (2, Kind::Bytes),
    (3, Kind::Text),
    (7, Kind::Fixed64),
    (9, Kind::Attribute),
    (10, Kind::Varint),
    (12, Kind::Varint),
    (13, LINK),
    (14, Kind::Varint),
];
/// Without the body, which is a value by itself.
const LOG_RECORD: &[(u32, Kind)] = &[
    (6, Kind::Attribute),
    (1, Kind::Fixed64),
    (2, Kind::Varint),
    (3, Kind::Text),
    (5, Kind::Bytes),
    (7, Kind::Varint),
    (8, Kind::Fixed32),
    (9, Kind::Bytes),
    (10, Kind::Bytes),
    (11, Kind::Fixed64),
    (12, Kind::Text),
];

#[inline]
fn check_key_value(bytes: &[u8], base: usize, depth: usize) -> Result<(), Flaw> {
    // With a limit of zero no nesting is allowed, so no value is valid.
    if depth > 0 && is_plain_attribute(bytes) {
        return Ok(());
    }
    let mut reader = Reader::at_offset(bytes, base);
    while let Some(field) = reader.next_field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(key)) => check_text(key, 1)?,
            (2, Value::Bytes(value)) => check_value(value, reader.offset() - value.len(), depth)?,
            (3, Value::Varint(_)) => {}
            (1..=3, _) => return Err(Flaw::Wire(reader.wrong_type(field.number))),
            _ => {}
        }
    }
    Ok(())
}

fn check_value(bytes: &[u8], base: usize, depth: usize) -> Result<(), Flaw> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Flaw::Span("an attribute nests deeper than maxNesting".to_owned()));
    };
    let mut reader = Reader::at_offset(bytes, base);
    while let Some(field) = reader.next_field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(text)) => check_text(text, 1)?,
            (2 | 3 | 8, Value::Varint(_)) | (4, Value::Fixed64(_)) | (7, Value::Bytes(_)) => {}
            (5, Value::Bytes(items)) => {
                check_items(items, reader.offset() - items.len(), depth, check_value)?
            }
            (6, Value::Bytes(items)) => {
                check_items(items, reader.offset() - items.len(), depth, check_key_value)?;
            }
            (1..=8, _) => return Err(Flaw::Wire(reader.wrong_type(field.number))),
            _ => {}
        }
    }
    Ok(())
}

/// Checks the items of an `ArrayValue` or `KeyValueList`.
fn check_items(
    bytes: &[u8],
    base: usize,
    depth: usize,
    check_item: impl Fn(&[u8], usize, usize) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let mut reader = Reader::at_offset(bytes, base);
    while let Some(field) = reader.next_field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(item)) => check_item(item, reader.offset() - item.len(), depth)?,
            (1, _) => return Err(Flaw::Wire(reader.wrong_type(1))),
            _ => {}
        }
    }
    Ok(())
}

fn check(message: &[u8], base: usize, schema: &[(u32, Kind)], depth: usize) -> Result<(), Flaw> {
    let mut reader = Reader::at_offset(message, base);
    while let Some(field) = reader.next_field()? {
        check_field(&reader, field.number, field.value, schema, depth)?;
    }
    Ok(())
}

/// Checks the field that `reader` has just read; unknown fields are kept without a check.
#[inline]
fn check_field(
    reader: &Reader<'_>,
    number: u32,
    value: Value<'_>,
    schema: &[(u32, Kind)],
    depth: usize,
) -> Result<(), Flaw> {
    let Some((_, kind)) = schema.iter().find(|(known, _)| *known == number) else { return Ok(()) };
    match (kind, value) {
        (Kind::Text, Value::Bytes(bytes)) => check_text(bytes, number),
        (Kind::Message(inner), Value::Bytes(bytes)) => {
            check(bytes, reader.offset() - bytes.len(), inner, depth)
        }
        (Kind::Attribute, Value::Bytes(bytes)) => {
            check_key_value(bytes, reader.offset() - bytes.len(), depth)
        }
        (Kind::Bytes, Value::Bytes(_))
        | (Kind::Varint, Value::Varint(_))
        | (Kind::Fixed64, Value::Fixed64(_))
        | (Kind::Fixed32, Value::Fixed32(_)) => Ok(()),
        _ => Err(Flaw::Wire(reader.wrong_type(number))),
    }
}

/// The standard library is faster on short strings, such as most attributes, and SIMD on long ones.
const LONG_TEXT: usize = 64;

#[inline]
fn check_text(bytes: &[u8], number: u32) -> Result<(), Flaw> {
    let valid = if bytes.len() < LONG_TEXT {
        bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    };
    if valid { Ok(()) } else { Err(Flaw::Span(format!("a string is not valid UTF-8 (field {number})"))) }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        // With deeper values exports would exceed the 100 levels of messages that protobuf readers accept: a key-value
        // list takes three.
        Self { max_span_bytes: 8 << 20, max_resource_bytes: 1 << 20, max_nesting: 32 }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value as V};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use super::*;

    fn span(id: u8) -> Span {
        Span { trace_id: vec![id; 16], span_id: vec![id; 8], name: format!("span {id}"), ..Span::default() }
    }

    fn request(spans: Vec<Span>) -> Bytes {
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource::default()),
                scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
                schema_url: "https://example.com/schema".to_owned(),
            }],
        }
        .encode_to_vec()
        .into()
    }

    fn decode(body: Bytes) -> Decoded {
        decode_request(body, &DecodeLimits::default()).unwrap()
    }

    /// The first fields are in the usual order, so they are read at once.
    #[test]
    fn a_front_that_is_read_at_once_is_checked_like_any_other() {
        let whole = Span { parent_span_id: vec![9; 8], kind: 2, start_time_unix_nano: 5, ..span(1) };
        let whole = Span { end_time_unix_nano: 7, ..whole };
        let bytes = |more: &[u8]| {
            let span = [whole.encode_to_vec(), more.to_vec()].concat();
            assert!(SpanHead::parse(&span).is_some());
            let mut body = Vec::new();
            let scope = [&[0x12][..], &[span.len() as u8], &span].concat();
            let resource = [&[0x12][..], &[scope.len() as u8], &scope].concat();
            body.extend([0x0a, resource.len() as u8]);
            body.extend(resource);
            decode_request(body.into(), &DecodeLimits::default())
        };
        let decoded = bytes(&[]).unwrap();
        let span = &decoded.spans[0];
        assert_eq!((span.trace_id, span.span_id), (TraceId::from_bytes([1; 16]), SpanId::from_bytes([1; 8])));
        assert_eq!(span.start, UnixNanos(5));
        for again in [&[0x12, 8, 1, 1, 1, 1, 1, 1, 1, 1][..], &[0x39, 5, 0, 0, 0, 0, 0, 0, 0]] {
            let rejected = bytes(again).unwrap().rejected;
            assert!(rejected.reasons[0].contains("sent twice"), "{rejected:?}");
        }
        // A name that is not UTF-8, and a field that is cut off.
        assert!(!bytes(&[0x2a, 1, 0xff]).unwrap().rejected.reasons.is_empty());
        assert!(bytes(&[0x2a, 9, 0x41]).is_err());
    }

    #[test]
    fn finds_every_span_where_it_lies() {
        let spans = vec![span(1), span(2)];
        let decoded = decode(request(spans.clone()));
        assert_eq!(decoded.rejected, Rejections::default());
        for (found, sent) in decoded.spans.iter().zip(&spans) {
            assert_eq!(Span::decode(&decoded.body[found.at.clone()]).unwrap(), *sent);
        }
        // More spans than are listed.
        let many: Vec<Span> = (0..3 * LISTED).map(|at| Span { flags: at as u32, ..span(1) }).collect();
        let decoded = decode(request(many.clone()));
        let each = decoded.spans.iter().map(|found| Span::decode(&decoded.body[found.at.clone()]).unwrap());
        assert!(each.eq(many));
        let decoded = decode(request(spans));
        // The fields before and after the scope spans are joined into one record.
        let record = ResourceSpans::decode(decoded.resources[0].clone()).unwrap();
        assert_eq!((record.schema_url.as_str(), record.scope_spans.len()), ("https://example.com/schema", 0));
        assert!(record.resource.is_some());
    }

    #[test]
    fn refuses_spans_one_by_one() {
        let zero = Span { trace_id: vec![0; 16], ..span(1) };
        let short = Span { span_id: vec![1; 3], ..span(2) };
        let mut text = request(vec![span(3)]).to_vec();
        let at = text.windows(6).position(|w| w == b"span 3").unwrap();
        text[at] = 0xff;
        let mut body = request(vec![zero, short, span(4)]).to_vec();
        body.extend(text);
        let decoded = decode(body.into());
        assert_eq!(decoded.spans.len(), 1);
        assert_eq!(decoded.rejected.count, 3);
        let reasons = decoded.rejected.message();
        for expected in ["trace ID is all zero", "span ID has 3 bytes, not 8", "not valid UTF-8"] {
            assert!(reasons.contains(expected), "{reasons}");
        }
    }

    #[test]
    fn what_holds_no_span_is_not_listed() {
        let mut body = Bytes::from_static(&[0x0a, 0x00]).repeat(1000);
        body.extend(Bytes::from_static(&[0x0a, 0x02, 0x12, 0x00]).repeat(1000));
        body.extend_from_slice(&request(vec![span(1)]));
        let decoded = decode(body.into());
        assert_eq!((decoded.spans.len(), decoded.resources.len(), decoded.scopes.len()), (1, 1, 1));
    }

    #[test]
    fn limits_are_named() {
        let limits = DecodeLimits { max_span_bytes: 100, max_resource_bytes: 1000, max_nesting: 3 };
        let large = Span { name: "x".repeat(200), ..span(1) };
        let mut value = AnyValue { value: Some(V::IntValue(1)) };
        for _ in 0..4 {
            value = AnyValue { value: Some(V::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        let attribute = KeyValue { key: "k".to_owned(), value: Some(value), ..KeyValue::default() };
        let deep = Span { attributes: vec![attribute], ..span(2) };
        let decoded = decode_request(request(vec![large, deep]), &limits).unwrap();
        let reasons = decoded.rejected.message();
        assert!(reasons.contains("maxSpanBytes = 100") && reasons.contains("maxNesting"), "{reasons}");
    }

    #[test]
    fn refuses_what_is_not_the_wire_format() {
        let whole = request(vec![span(1)]);
        let error = decode_request(whole.slice(..whole.len() - 3), &DecodeLimits::default()).unwrap_err();
        assert!(error.to_string().contains("ends inside a field"), "{error}");
        // Field 5 (name) of the span as a varint.
        let wrong = Bytes::from_static(&[0x0a, 6, 0x12, 4, 0x12, 2, 0x28, 1]);
        let error = decode_request(wrong, &DecodeLimits::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not an ExportTraceServiceRequest: field 5 has the wrong wire type at byte 8"
        );
    }
}
