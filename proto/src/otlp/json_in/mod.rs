//! Decodes OTLP/JSON requests as a stream: span by span, or log record by log record, into the protobuf form that a binary request has, without
//! a tree of values in between. Memory holds the decoded spans and the current one.
//!
//! The mapping is protobuf's JSON mapping with OTLP's exceptions: IDs are hex, enums are numbers (names are
//! understood too), field names are lowerCamelCase (the original snake_case is understood too), 64-bit
//! integers come as strings or numbers, unknown members are ignored, null means "not sent". Members stand in
//! any order. A member given twice is an error, because JSON readers disagree on which of the two counts.
//!
//! A flaw of a span or log record refuses it, a flaw of a resource or scope those below it. Both are reported with their
//! place, as in `resourceSpans[0].scopeSpans[1].spans[7].traceId`. A text that is not JSON, or not a request, is
//! refused as a whole.

mod encoder;
mod plain;
mod schema;

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;

use self::encoder::{Bound, Encoder, Members};
use self::schema::{
    Kind, LOG_RECORD, LOGS_REQUEST, Message, REQUEST, RESOURCE_LOGS, RESOURCE_SPANS, SCOPE_LOGS, SCOPE_SPANS,
    SPAN,
};
use super::decode::{DecodeLimits, Decoded, DecodedSpan, WithoutSpan, identifiers_of_json, time_of_record};
use super::log_rows::into_rows;
use super::raw::SpanKey;
use super::rejections::Rejections;
use super::wire::{Reader, Value, sort_fields};
use crate::json::place::Step;
use crate::json::scanner::{Fault, Progress, Scanner};
use crate::{SpanId, TraceId, UnixNanos};

/// Why a JSON request as a whole is refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is not a request. The message says where and why.
    #[error("not an OTLP/JSON request: {0}")]
    Malformed(String),
    /// The source of the text failed.
    #[error("the request could not be read: {0}")]
    Read(#[source] io::Error),
}

/// Decodes a request while it is read.
///
/// The `body` of the result is not a message itself: it holds the messages of resources, scopes and spans, and is never
/// longer than the text.
pub fn decode_json_request(text: &mut dyn Read, limits: &DecodeLimits) -> Result<Decoded, JsonError> {
    decode(text, Signal::Traces, limits)
}

/// The same for a request of log records, of which the result has rows.
pub fn decode_json_logs_request(text: &mut dyn Read, limits: &DecodeLimits) -> Result<Decoded, JsonError> {
    let records = decode(text, Signal::Logs, limits)?;
    // The encoder has just written these records, so they are valid.
    into_rows(records).map_err(|error| JsonError::Malformed(error.to_string()))
}

fn decode(text: &mut dyn Read, signal: Signal, limits: &DecodeLimits) -> Result<Decoded, JsonError> {
    let mut decoder = Decoder {
        encoder: Encoder::new(Scanner::new(text), limits.max_nesting),
        signal,
        limits,
        body: Vec::new(),
        resources: Vec::new(),
        scopes: Vec::new(),
        spans: Vec::new(),
        rejected: Rejections::default(),
        without_span: WithoutSpan::default(),
    };
    match decoder.request() {
        Ok(None) => decoder.finish(),
        Ok(Some(flaw)) => Err(JsonError::Malformed(flaw)),
        Err(Fault::Syntax(why)) => Err(JsonError::Malformed(format!("{}: {why}", decoder.encoder.place))),
        Err(Fault::Read(error)) => Err(JsonError::Read(error)),
    }
}

struct Decoder<'s> {
    encoder: Encoder<'s>,
    signal: Signal,
    limits: &'s DecodeLimits,
    /// Messages, one after another; the ranges are in the lists below.
    body: Vec<u8>,
    resources: Vec<Range<usize>>,
    scopes: Vec<Range<usize>>,
    spans: Vec<DecodedSpan>,
    rejected: Rejections,
    without_span: WithoutSpan,
}

/// What a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Traces,
    Logs,
}

/// The messages that contain others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Request,
    Resource,
    Scope,
}

/// The lengths of the lists when a resource or scope began.
#[derive(Debug, Clone, Copy)]
struct Mark {
    body: usize,
    scopes: usize,
    spans: usize,
}

// === impl Decoder ===

impl Decoder<'_> {
    /// Reads the request; returns the flaw that refuses it as a whole, if any.
    fn request(&mut self) -> Result<Option<String>, Fault> {
        let flaw = self.members(Level::Request, &mut Vec::new())?;
        if flaw.is_none() && self.encoder.scanner.peek()?.is_some() {
            return Err(self.encoder.scanner.syntax("more text follows the request"));
        }
        Ok(flaw)
    }

    /// Reads a resource or scope with everything below it, and lists it if one of its spans was accepted.
    fn container(&mut self, level: Level) -> Result<(), Fault> {
        let mark = Mark { body: self.body.len(), scopes: self.scopes.len(), spans: self.spans.len() };
        let mut record = Vec::new();
        if let Some(flaw) = self.members(level, &mut record)? {
            self.reject_since(mark, flaw);
        } else if self.spans.len() > mark.spans {
            let begin = self.body.len();
            self.body.append(&mut record);
            let list = if level == Level::Resource { &mut self.resources } else { &mut self.scopes };
            list.push(begin..self.body.len());
        }
        Ok(())
    }

    /// Reads the members of a message that contains others: its own fields go to `record`, the others to the body.
    /// Returns the first flaw of its own fields.
    fn members(&mut self, level: Level, record: &mut Vec<u8>) -> Result<Option<String>, Fault> {
        self.encoder.explains_flaws = level == Level::Request || self.rejected.has_room();
        if self.encoder.scanner.peek_value()? != b'{' {
            self.encoder.unexpected("an object")?;
            return Ok(self.encoder.take_flaw());
        }
        self.encoder.scanner.open();
        let max_bytes = self.limits.max_resource_bytes;
        let bound = Bound { begin: 0, max_bytes, name: "maxResourceBytes" };
        let (mut members, mut flaw) = (Members::of(level.message(self.signal)), None);
        while let Some(member) = self.encoder.next_member(&mut members)? {
            flaw = flaw.or(self.encoder.take_flaw());
            match member.kind {
                Kind::Stream => self.items(level)?,
                _ => self.encoder.field_within(record, member, bound)?,
            }
            self.encoder.place.leave();
            flaw = flaw.or(self.encoder.take_flaw());
            self.encoder.explains_flaws = level == Level::Request || self.rejected.has_room();
        }
        if !members.are_in_order() {
            sort_fields(record, 0);
        }
        Ok(flaw.or(self.encoder.take_flaw()))
    }

    /// Reads an array of resources, scopes or spans.
    fn items(&mut self, holder: Level) -> Result<(), Fault> {
        if self.encoder.scanner.peek_value()? != b'[' {
            return self.encoder.unexpected("an array");
        }
        self.encoder.scanner.open();
        let (mut progress, mut index) = (Progress::default(), 0);
        while self.encoder.scanner.next_item(&mut progress)? {
            self.encoder.place.enter(Step::Item(index));
            match holder {
                Level::Request => self.container(Level::Resource)?,
                Level::Resource => self.container(Level::Scope)?,
                Level::Scope if self.signal == Signal::Logs => self.log_record()?,
                Level::Scope => self.span()?,
            }
            self.encoder.place.leave();
            index += 1;
        }
        Ok(())
    }

    fn span(&mut self) -> Result<(), Fault> {
        let begin = self.body.len();
        let bound = Bound { begin, max_bytes: self.limits.max_span_bytes, name: "maxSpanBytes" };
        self.encoder.explains_flaws = self.rejected.has_room();
        self.encoder.message_within(&mut self.body, &SPAN, bound)?;
        // The encoder has just written these bytes, so they are valid.
        let key = SpanKey::parse(&self.body[begin..]).unwrap_or_default();
        self.check_identifiers(&key);
        if let Some(flaw) = self.encoder.take_flaw() {
            self.body.truncate(begin);
            self.rejected.add(flaw);
            return Ok(());
        }
        self.spans.push(DecodedSpan {
            trace_id: key.trace_id,
            span_id: key.span_id,
            start: UnixNanos(key.start),
            // The current resource and scope are listed when they end, with these numbers.
            resource: self.resources.len() as u32,
            scope: self.scopes.len() as u32,
            at: begin..self.body.len(),
        });
        Ok(())
    }

    fn log_record(&mut self) -> Result<(), Fault> {
        let begin = self.body.len();
        let bound = Bound { begin, max_bytes: self.limits.max_span_bytes, name: "maxSpanBytes" };
        self.encoder.explains_flaws = self.rejected.has_room();
        self.encoder.message_within(&mut self.body, &LOG_RECORD, bound)?;
        let (mut trace_id, mut span_id, mut time, mut observed): (&[u8], &[u8], u64, u64) = (&[], &[], 0, 0);
        let mut reader = Reader::new(&self.body[begin..]);
        // The encoder has just written these bytes, so they are valid.
        while let Ok(Some(field)) = reader.next_field() {
            match (field.number, field.value) {
                (9, Value::Bytes(id)) => trace_id = id,
                (10, Value::Bytes(id)) => span_id = id,
                (1, Value::Fixed64(nanos)) => time = nanos,
                (11, Value::Fixed64(nanos)) => observed = nanos,
                _ => {}
            }
        }
        let found = identifiers_of_json(trace_id, span_id);
        if let Err(why) = &found {
            self.encoder.note_flaw(why);
        }
        let flaw = self.encoder.take_flaw();
        match (flaw, found) {
            (None, Ok(Some((trace_id, span_id)))) => {
                let (resource, scope) = (self.resources.len() as u32, self.scopes.len() as u32);
                let (start, at) = (time_of_record(time, observed), begin..self.body.len());
                self.spans.push(DecodedSpan { trace_id, span_id, start, resource, scope, at });
                return Ok(());
            }
            (Some(flaw), _) => self.rejected.add(flaw),
            (None, _) => {
                let place = &self.encoder.place;
                self.without_span.add(|| place.to_string());
            }
        }
        self.body.truncate(begin);
        Ok(())
    }

    fn check_identifiers(&mut self, key: &SpanKey) {
        let missing = if key.trace_id == TraceId::default() {
            "traceId"
        } else if key.span_id == SpanId::default() {
            "spanId"
        } else {
            return;
        };
        self.encoder.place.enter(Step::Member(missing));
        self.encoder.note_flaw("is missing");
        self.encoder.place.leave();
    }

    /// Refuses all spans that were accepted since.
    fn reject_since(&mut self, mark: Mark, flaw: String) {
        self.rejected.add_many((self.spans.len() - mark.spans) as u64, flaw);
        self.spans.truncate(mark.spans);
        self.scopes.truncate(mark.scopes);
        self.body.truncate(mark.body);
    }

    fn finish(mut self) -> Result<Decoded, JsonError> {
        // Nothing in it was recognised as a span, so it is not a request with some bad spans.
        let has_items = !self.spans.is_empty() || self.rejected.count > 0 || self.without_span.count > 0;
        if !has_items && !self.rejected.reasons.is_empty() {
            return Err(JsonError::Malformed(self.rejected.message()));
        }
        self.body.shrink_to_fit();
        let body = Bytes::from(self.body);
        let records = |ranges: Vec<Range<usize>>| ranges.into_iter().map(|at| body.slice(at)).collect();
        Ok(Decoded {
            resources: records(self.resources),
            scopes: records(self.scopes),
            spans: self.spans,
            rejected: self.rejected,
            without_span: self.without_span,
            body,
            ..Decoded::default()
        })
    }
}

// === impl Level ===

impl Level {
    fn message(self, signal: Signal) -> &'static Message {
        match (self, signal) {
            (Self::Request, Signal::Traces) => &REQUEST,
            (Self::Resource, Signal::Traces) => &RESOURCE_SPANS,
            (Self::Scope, Signal::Traces) => &SCOPE_SPANS,
            (Self::Request, Signal::Logs) => &LOGS_REQUEST,
            (Self::Resource, Signal::Logs) => &RESOURCE_LOGS,
            (Self::Scope, Signal::Logs) => &SCOPE_LOGS,
        }
    }
}

#[cfg(test)]
mod tests;
