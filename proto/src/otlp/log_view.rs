//! Reads the log records in a row that `log_rows.rs` has written, and writes them as OTLP has them in protobuf
//! (`json_out.rs` writes them in JSON).

use super::attribute::AnyValue;
use super::log_rows::{field, unzigzag};
use super::view::{EventView, SpanView};
use super::wire::{Reader, WireError, put_bytes, put_fixed32, put_fixed64, put_uint};

/// A log record of a row.
#[derive(Debug, Clone, Copy)]
pub struct LogView<'a> {
    /// What a span event says, too: time (else that of observation), event name, attributes.
    pub event: EventView<'a>,
    /// Whether the record had no time of its own.
    pub only_observed: bool,
    /// From 1 (TRACE) to 24 (FATAL4), zero without one.
    pub severity: u32,
    /// The severity as the sender names it.
    pub severity_text: &'a str,
    /// The body, if there is one.
    pub body: Option<AnyValue<'a>>,
    /// The flags of the trace.
    pub flags: u32,
    /// When the record was observed; zero if unknown.
    pub observed: u64,
    body_message: Option<&'a [u8]>,
    unknown: &'a [u8],
}

/// The log records of a row, in the order of their times.
pub fn logs_of<'a>(row: &SpanView<'a>) -> impl Iterator<Item = Result<LogView<'a>, WireError>> + use<'a> {
    row.events().map(|event| event.and_then(LogView::of))
}

// === impl LogView ===

impl<'a> LogView<'a> {
    /// Reads the event of a row.
    pub fn parse(event: &'a [u8]) -> Result<Self, WireError> {
        Self::of(EventView::parse(event)?)
    }

    /// The event of the row, from which it was read.
    pub fn message(&self) -> &'a [u8] {
        self.event.message()
    }

    fn of(event: EventView<'a>) -> Result<Self, WireError> {
        let mut view = Self {
            event,
            only_observed: false,
            severity: 0,
            severity_text: "",
            body: None,
            flags: 0,
            observed: 0,
            body_message: None,
            unknown: &[],
        };
        let mut reader = Reader::new(event.message());
        while let Some(found) = reader.next_field()? {
            match found.number {
                field::ONLY_OBSERVED => view.only_observed = found.varint()? != 0,
                field::SEVERITY => view.severity = found.varint()? as u32,
                field::SEVERITY_TEXT => view.severity_text = found.str()?,
                field::BODY => {
                    let body = found.bytes()?;
                    (view.body, view.body_message) = (Some(AnyValue::parse(body)?), Some(body));
                }
                field::FLAGS => view.flags = found.fixed32()?,
                field::OBSERVED_AFTER => {
                    view.observed = event.time.wrapping_add(unzigzag(found.varint()?).cast_unsigned());
                }
                field::UNKNOWN => view.unknown = found.bytes()?,
                _ => {}
            }
        }
        Ok(view)
    }

    /// The record's own time; zero without one.
    pub fn time(&self) -> u64 {
        if self.only_observed { 0 } else { self.event.time }
    }

    /// Writes the record as a `LogRecord` message, with the IDs of its row.
    pub fn write_message(&self, out: &mut Vec<u8>, row: &SpanView<'_>) -> Result<(), WireError> {
        if self.time() != 0 {
            put_fixed64(out, 1, self.time());
        }
        if self.severity != 0 {
            put_uint(out, 2, self.severity.into());
        }
        if !self.severity_text.is_empty() {
            put_bytes(out, 3, self.severity_text.as_bytes());
        }
        if let Some(body) = self.body_message {
            put_bytes(out, 5, body);
        }
        let mut reader = Reader::new(self.event.message());
        while let Some(found) = reader.next_field()? {
            if found.number == 3 {
                put_bytes(out, 6, found.bytes()?);
            }
        }
        if self.event.dropped_attributes_count != 0 {
            put_uint(out, 7, self.event.dropped_attributes_count.into());
        }
        if self.flags != 0 {
            put_fixed32(out, 8, self.flags);
        }
        put_bytes(out, 9, row.trace_id);
        put_bytes(out, 10, row.span_id);
        if self.observed != 0 {
            put_fixed64(out, 11, self.observed);
        }
        if !self.event.name.is_empty() {
            put_bytes(out, 12, self.event.name.as_bytes());
        }
        out.extend_from_slice(self.unknown);
        Ok(())
    }
}
