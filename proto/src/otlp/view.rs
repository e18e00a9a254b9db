//! Borrowed views of OTLP messages: fields are read in place, nothing is copied.
//!
//! As protobuf requires, the last occurrence of a scalar field wins and repeated occurrences of a sub-message are
//! merged. Ingest has checked strings ([`super::decode_request`]). Here bytes that are not UTF-8 are an error, so that
//! a damaged store cannot cause a panic.

use super::attribute::{Attributes, messages};
use super::head::SpanHead;
use super::wire::{Field, Reader, WireError};

/// `SpanKind` of OTLP; values that OTLP does not define stay visible as `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// 0, or not sent.
    Unspecified,
    /// 1.
    Internal,
    /// 2.
    Server,
    /// 3.
    Client,
    /// 4.
    Producer,
    /// 5.
    Consumer,
    /// Anything else.
    Other(i32),
}

/// `Status.code` of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusCode {
    /// 0, or not sent, or not defined by OTLP.
    Unset,
    /// 1.
    Ok,
    /// 2.
    Error,
}

/// A `Span` whose scalar fields are read and whose repeated fields are still in place.
#[derive(Debug, Clone, Copy)]
pub struct SpanView<'a> {
    bytes: &'a [u8],
    /// The parts of the message that contain all of field 9, 11 or 13. Most spans have no events and no links, and
    /// these parts spare a second walk over the whole message.
    attributes: Stretch,
    events: Stretch,
    links: Stretch,
    /// Field 1.
    pub trace_id: &'a [u8],
    /// Field 2.
    pub span_id: &'a [u8],
    /// Field 3.
    pub trace_state: &'a str,
    /// Field 4; empty for a root.
    pub parent_span_id: &'a [u8],
    /// Field 5.
    pub name: &'a str,
    /// Field 6, as sent.
    pub raw_kind: i32,
    /// Field 7.
    pub start: u64,
    /// Field 8.
    pub end: u64,
    /// Field 10.
    pub dropped_attributes_count: u32,
    /// Field 12.
    pub dropped_events_count: u32,
    /// Field 14.
    pub dropped_links_count: u32,
    /// Whether field 15 was sent.
    pub has_status: bool,
    /// Field 15.3, as sent.
    pub raw_status_code: i32,
    /// Field 15.2.
    pub status_message: &'a str,
    /// Field 16.
    pub flags: u32,
}

/// A part of a message, from the first to the last of certain fields.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    begin: usize,
    end: usize,
}

/// A `ResourceSpans` without its spans.
#[derive(Debug, Clone, Copy)]
pub struct ResourceView<'a> {
    bytes: &'a [u8],
    /// Whether field 1 was sent.
    pub has_resource: bool,
    /// Field 1.2.
    pub dropped_attributes_count: u32,
    /// Field 3.
    pub schema_url: &'a str,
}

/// A `ScopeSpans` without its spans.
#[derive(Debug, Clone, Copy)]
pub struct ScopeView<'a> {
    bytes: &'a [u8],
    /// Whether field 1 was sent.
    pub has_scope: bool,
    /// Field 1.1.
    pub name: &'a str,
    /// Field 1.2.
    pub version: &'a str,
    /// Field 1.4.
    pub dropped_attributes_count: u32,
    /// Field 3.
    pub schema_url: &'a str,
}

/// A span event.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    bytes: &'a [u8],
    /// Field 1.
    pub time: u64,
    /// Field 2.
    pub name: &'a str,
    /// Field 4.
    pub dropped_attributes_count: u32,
}

/// A span link.
#[derive(Debug, Clone, Copy)]
pub struct LinkView<'a> {
    bytes: &'a [u8],
    /// Field 1.
    pub trace_id: &'a [u8],
    /// Field 2.
    pub span_id: &'a [u8],
    /// Field 3.
    pub trace_state: &'a str,
    /// Field 5.
    pub dropped_attributes_count: u32,
    /// Field 6.
    pub flags: u32,
}

/// An entity reference of a resource.
#[derive(Debug, Clone)]
pub struct EntityRefView<'a> {
    /// Field 1.
    pub schema_url: &'a str,
    /// Field 2.
    pub kind: &'a str,
    /// Field 3.
    pub id_keys: Vec<&'a str>,
    /// Field 4.
    pub description_keys: Vec<&'a str>,
}

// === impl SpanKind, StatusCode ===

impl SpanKind {
    /// Converts the number on the wire.
    pub fn from_raw(raw: i32) -> Self {
        match raw {
            0 => Self::Unspecified,
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            other => Self::Other(other),
        }
    }

    /// The name in the API; unknown kinds are `UNSPECIFIED` there.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "INTERNAL",
            Self::Server => "SERVER",
            Self::Client => "CLIENT",
            Self::Producer => "PRODUCER",
            Self::Consumer => "CONSUMER",
            Self::Unspecified | Self::Other(_) => "UNSPECIFIED",
        }
    }
}

impl StatusCode {
    /// Converts the number on the wire.
    pub fn from_raw(raw: i32) -> Self {
        match raw {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unset => "UNSET",
            Self::Ok => "OK",
            Self::Error => "ERROR",
        }
    }
}

// === impl SpanView ===

impl<'a> SpanView<'a> {
    /// Reads the scalar fields of a `Span` message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let nothing = Stretch::default();
        let mut view = Self {
            bytes,
            attributes: nothing,
            events: nothing,
            links: nothing,
            trace_id: &[],
            span_id: &[],
            trace_state: "",
            parent_span_id: &[],
            name: "",
            raw_kind: 0,
            start: 0,
            end: 0,
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            dropped_links_count: 0,
            has_status: false,
            raw_status_code: 0,
            status_message: "",
            flags: 0,
        };
        let mut reader = Reader::new(bytes);
        if let Some(head) = SpanHead::parse(bytes)
            && let Ok(name) = std::str::from_utf8(head.name)
        {
            (view.trace_id, view.span_id, view.name) = (head.trace_id, head.span_id, name);
            view.parent_span_id = head.parent_id.map_or(&[], |parent| &parent[..]);
            (view.raw_kind, view.start, view.end) = (head.kind.into(), head.start, head.end);
            reader.advance(head.length);
        }
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => view.trace_id = field.bytes()?,
                2 => view.span_id = field.bytes()?,
                3 => view.trace_state = field.str()?,
                4 => view.parent_span_id = field.bytes()?,
                5 => view.name = field.str()?,
                6 => view.raw_kind = field.varint()? as i32,
                7 => view.start = field.fixed64()?,
                8 => view.end = field.fixed64()?,
                9 => view.attributes.widen(&field),
                10 => view.dropped_attributes_count = field.varint()? as u32,
                11 => view.events.widen(&field),
                12 => view.dropped_events_count = field.varint()? as u32,
                13 => view.links.widen(&field),
                14 => view.dropped_links_count = field.varint()? as u32,
                15 => view.read_status(field.bytes()?)?,
                16 => view.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(view)
    }

    fn read_status(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        self.has_status = true;
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => self.status_message = field.str()?,
                3 => self.raw_status_code = field.varint()? as i32,
                _ => {}
            }
        }
        Ok(())
    }

    /// The part of the message that has all its attributes.
    pub(super) fn attribute_fields(&self) -> &'a [u8] {
        self.attributes.of(self.bytes)
    }

    /// The kind of the span.
    pub fn kind(&self) -> SpanKind {
        SpanKind::from_raw(self.raw_kind)
    }

    /// The status code as sent, which need not say whether the span has failed.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_raw(self.raw_status_code)
    }

    /// End minus start; zero if the span ends before it starts.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The attributes in the order sent.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.attributes.of(self.bytes), 9)
    }

    /// The events in the order sent.
    pub fn events(&self) -> impl Iterator<Item = Result<EventView<'a>, WireError>> + use<'a> {
        messages(self.events.of(self.bytes), 11).map(|m| m.and_then(EventView::parse))
    }

    /// The links in the order sent.
    pub fn links(&self) -> impl Iterator<Item = Result<LinkView<'a>, WireError>> + use<'a> {
        messages(self.links.of(self.bytes), 13).map(|m| m.and_then(LinkView::parse))
    }
}

// === impl Stretch ===

impl Stretch {
    fn widen(&mut self, field: &Field<'_>) {
        if self.end == 0 {
            self.begin = field.begin;
        }
        self.end = field.end;
    }

    fn of(self, message: &[u8]) -> &[u8] {
        &message[self.begin..self.end]
    }
}

// === impl ResourceView ===

impl<'a> ResourceView<'a> {
    /// Reads a `ResourceSpans` message without its spans.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { bytes, has_resource: false, dropped_attributes_count: 0, schema_url: "" };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => {
                    view.has_resource = true;
                    let mut inner = Reader::new(field.bytes()?);
                    while let Some(field) = inner.next_field()? {
                        if field.number == 2 {
                            view.dropped_attributes_count = field.varint()? as u32;
                        }
                    }
                }
                3 => view.schema_url = field.str()?,
                _ => {}
            }
        }
        Ok(view)
    }

    /// The resource's attributes, in the order sent.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::inside(self.bytes, 1, 1)
    }

    /// The resource's entity references.
    pub fn entity_refs(&self) -> impl Iterator<Item = Result<EntityRefView<'a>, WireError>> + use<'a> {
        messages(self.bytes, 1).flat_map(|resource| match resource {
            Ok(resource) => {
                messages(resource, 3).map(|m| m.and_then(EntityRefView::parse)).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        })
    }

    /// The last string attribute with this key.
    pub fn string_attribute(&self, key: &str) -> Option<&'a str> {
        self.attributes().string(key)
    }
}

// === impl ScopeView ===

impl<'a> ScopeView<'a> {
    /// Reads a `ScopeSpans` message without its spans.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self {
            bytes,
            has_scope: false,
            name: "",
            version: "",
            dropped_attributes_count: 0,
            schema_url: "",
        };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => {
                    view.has_scope = true;
                    let mut inner = Reader::new(field.bytes()?);
                    while let Some(field) = inner.next_field()? {
                        match field.number {
                            1 => view.name = field.str()?,
                            2 => view.version = field.str()?,
                            4 => view.dropped_attributes_count = field.varint()? as u32,
                            _ => {}
                        }
                    }
                }
                3 => view.schema_url = field.str()?,
                _ => {}
            }
        }
        Ok(view)
    }

    /// The scope's attributes, in the order sent.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::inside(self.bytes, 1, 3)
    }
}

// === impl EventView, LinkView, EntityRefView ===

impl<'a> EventView<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { bytes, time: 0, name: "", dropped_attributes_count: 0 };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => view.time = field.fixed64()?,
                2 => view.name = field.str()?,
                4 => view.dropped_attributes_count = field.varint()? as u32,
                _ => {}
            }
        }
        Ok(view)
    }

    /// The whole `Event` message.
    pub(super) fn message(&self) -> &'a [u8] {
        self.bytes
    }

    /// The event's attributes, in the order sent.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.bytes, 3)
    }
}

impl<'a> LinkView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self {
            bytes,
            trace_id: &[],
            span_id: &[],
            trace_state: "",
            dropped_attributes_count: 0,
            flags: 0,
        };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => view.trace_id = field.bytes()?,
                2 => view.span_id = field.bytes()?,
                3 => view.trace_state = field.str()?,
                5 => view.dropped_attributes_count = field.varint()? as u32,
                6 => view.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(view)
    }

    /// The link's attributes, in the order sent.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.bytes, 4)
    }
}

impl<'a> EntityRefView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { schema_url: "", kind: "", id_keys: Vec::new(), description_keys: Vec::new() };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => view.schema_url = field.str()?,
                2 => view.kind = field.str()?,
                3 => view.id_keys.push(field.str()?),
                4 => view.description_keys.push(field.str()?),
                _ => {}
            }
        }
        Ok(view)
    }
}
