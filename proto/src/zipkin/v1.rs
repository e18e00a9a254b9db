//! Version 1, whatever it is written in: a span has annotations and binary annotations, each with its endpoint, and
//! which side of a call it is follows from annotations such as `cs` (client sent) and `sr` (server received). A span that
//! has those of both sides becomes two spans with the same ID.

use std::ops::Range;

use super::{Endpoint, Names, Sides, nanos};
use crate::gather::{Draft, Gatherer, KeyValues, Value, tag};
use crate::otlp::SpanKind;

/// One span as it was sent. Buffers stay when it is cleared.
#[derive(Debug, Default)]
pub(super) struct Span {
    pub trace_id: [u8; 16],
    pub id: [u8; 8],
    pub parent_id: Option<[u8; 8]>,
    pub name: Vec<u8>,
    /// Microseconds; 0 is unknown.
    pub timestamp: u64,
    /// Microseconds; 0 is unknown. Below zero where the end is before the start.
    pub duration: i64,
    pub is_debug: bool,
    endpoints: Vec<Endpoint>,
    annotations: Vec<Annotation>,
    tags: Vec<Tag>,
    /// The texts of annotations and tags.
    texts: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Annotation {
    time: u64,
    text: Range<usize>,
    endpoint: Option<usize>,
    /// It is told by kind and times of a span.
    is_told: bool,
}

#[derive(Debug, Clone)]
struct Tag {
    key: Range<usize>,
    value: TagValue,
    endpoint: Option<usize>,
}

#[derive(Debug, Clone)]
enum TagValue {
    Text(Range<usize>),
    Bytes(Range<usize>),
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// One side of the exchange that a span tells about.
#[derive(Debug, Clone, Copy)]
struct Side {
    kind: SpanKind,
    /// The annotation at its beginning, and the one at its end.
    first: Option<usize>,
    last: Option<usize>,
}

/// The attributes of an address beside the peer's.
struct Others {
    service: &'static [u8],
    names: Names,
}

const OTHERS: [(&[u8], Others); 3] = [
    (
        b"sa",
        Others {
            service: b"zipkin.sa.service",
            names: Names {
                address: b"zipkin.sa.address",
                other_address: b"zipkin.sa.ipv6",
                port: b"zipkin.sa.port",
            },
        },
    ),
    (
        b"ca",
        Others {
            service: b"zipkin.ca.service",
            names: Names {
                address: b"zipkin.ca.address",
                other_address: b"zipkin.ca.ipv6",
                port: b"zipkin.ca.port",
            },
        },
    ),
    (
        b"ma",
        Others {
            service: b"zipkin.ma.service",
            names: Names {
                address: b"zipkin.ma.address",
                other_address: b"zipkin.ma.ipv6",
                port: b"zipkin.ma.port",
            },
        },
    ),
];

/// Bytes that a span's lists may take: a bound as for the messages of OTLP, reached long before by its texts.
const LISTED: usize = size_of::<Annotation>() + size_of::<Endpoint>();

// === impl Span ===

impl Span {
    pub(super) fn clear(&mut self) {
        (self.trace_id, self.id, self.parent_id) = ([0; 16], [0; 8], None);
        (self.timestamp, self.duration, self.is_debug) = (0, 0, false);
        self.name.clear();
        self.endpoints.clear();
        self.annotations.clear();
        self.tags.clear();
        self.texts.clear();
    }

    /// Whether it takes more memory than a span may.
    pub(super) fn is_over(&self, max_bytes: usize) -> bool {
        let listed = self.annotations.len() + self.tags.len() + self.endpoints.len();
        self.texts.len() + self.name.len() + listed * LISTED > max_bytes
    }

    /// Adds an annotation.
    pub(super) fn annotate(&mut self, time: u64, text: &[u8], endpoint: Option<&Endpoint>) {
        let (text, endpoint) = (self.keep(text), self.place_of(endpoint));
        self.annotations.push(Annotation { time, text, endpoint, is_told: false });
    }

    /// Adds a binary annotation.
    pub(super) fn tag(&mut self, key: &[u8], value: Value<'_>, endpoint: Option<&Endpoint>) {
        let (key, endpoint) = (self.keep(key), self.place_of(endpoint));
        let value = match value {
            Value::Text(text) => TagValue::Text(self.keep(text)),
            Value::Bytes(bytes) => TagValue::Bytes(self.keep(bytes)),
            Value::Bool(value) => TagValue::Bool(value),
            Value::Int(value) => TagValue::Int(value),
            Value::Double(value) => TagValue::Double(value),
        };
        self.tags.push(Tag { key, value, endpoint });
    }

    fn keep(&mut self, text: &[u8]) -> Range<usize> {
        let begin = self.texts.len();
        self.texts.extend_from_slice(text);
        begin..self.texts.len()
    }

    /// A span names few endpoints, over and over.
    fn place_of(&mut self, endpoint: Option<&Endpoint>) -> Option<usize> {
        let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty())?;
        let recent = self.endpoints.len().saturating_sub(8);
        if let Some(place) = self.endpoints[recent..].iter().position(|known| known == endpoint) {
            return Some(recent + place);
        }
        self.endpoints.push(endpoint.clone());
        Some(self.endpoints.len() - 1)
    }

    /// Adds it to the request: one span, or one for each side.
    pub(super) fn gather(
        &mut self,
        out: &mut Gatherer<'_>,
        buffers: &mut Buffers,
        place: &dyn Fn() -> String,
    ) -> std::io::Result<()> {
        let sides = self.sides();
        let first = sides[0].map(|side| self.service_of(&side).map(<[u8]>::to_vec)).unwrap_or_default();
        for number in 0..sides.len() {
            let (Some(side), other) = (sides[number], sides[1 - number]) else { continue };
            self.write(&side, other.is_some().then_some((number, first.as_deref())), buffers);
            out.add(&buffers.resource, &mut buffers.draft, place)?;
        }
        Ok(())
    }

    /// The one or two sides that its annotations tell about.
    fn sides(&mut self) -> [Option<Side>; 2] {
        let find =
            |name: &[u8]| self.annotations.iter().position(|note| &self.texts[note.text.clone()] == name);
        let [client, server, producer, consumer] = [
            (SpanKind::Client, find(b"cs"), find(b"cr")),
            (SpanKind::Server, find(b"sr"), find(b"ss")),
            (SpanKind::Producer, find(b"ms"), None),
            (SpanKind::Consumer, find(b"mr"), None),
        ]
        .map(|(kind, first, last)| (first.is_some() || last.is_some()).then_some(Side { kind, first, last }));
        let sides = match [client.or(producer), server.or(consumer)] {
            [None, None] => {
                let kind = match (self.address(b"sa").is_some(), self.address(b"ca").is_some()) {
                    (true, false) => SpanKind::Client,
                    (false, true) => SpanKind::Server,
                    _ => SpanKind::Unspecified,
                };
                [Some(Side { kind, first: None, last: None }), None]
            }
            [None, one] => [one, None],
            both => both,
        };
        for side in sides.iter().flatten() {
            for note in [side.first, side.last].into_iter().flatten() {
                self.annotations[note].is_told = true;
            }
        }
        sides
    }

    /// The endpoint of a binary annotation that names an address (`sa`, `ca`, `ma`).
    fn address(&self, name: &[u8]) -> Option<usize> {
        let tag = self.tags.iter().find(|tag| &self.texts[tag.key.clone()] == name)?;
        matches!(tag.value, TagValue::Bool(true)).then_some(tag.endpoint)?
    }

    /// The endpoint at which a side was recorded.
    fn endpoint_of(&self, side: &Side) -> Option<usize> {
        let own =
            [side.first, side.last].into_iter().flatten().find_map(|note| self.annotations[note].endpoint);
        own.or_else(|| {
            let of_tags = self.tags.iter().filter(|tag| !self.is_address(tag)).find_map(|tag| tag.endpoint);
            of_tags.or_else(|| self.annotations.iter().find_map(|note| note.endpoint))
        })
    }

    fn service_of(&self, side: &Side) -> Option<&[u8]> {
        self.endpoint_of(side).map(|place| &*self.endpoints[place].service)
    }

    fn is_address(&self, tag: &Tag) -> bool {
        matches!(&self.texts[tag.key.clone()], b"sa" | b"ca" | b"ma")
            && matches!(tag.value, TagValue::Bool(true))
    }

    /// Fills the draft with the client's or the server's half of a span. Where a span has both halves, annotations with
    /// the service of the first go to the first, and all others to the second.
    fn write(&self, side: &Side, split: Option<(usize, Option<&[u8]>)>, buffers: &mut Buffers) {
        let Buffers { draft, resource, sides, none } = buffers;
        sides.clear();
        (draft.trace_id, draft.span_id, draft.parent_id) = (self.trace_id, self.id, self.parent_id);
        draft.kind = side.kind;
        draft.set_name(&self.name);
        sides.is_debug = self.is_debug;
        if let Some(place) = self.endpoint_of(side) {
            sides.local.clone_from(&self.endpoints[place]);
        }
        let peer = match side.kind {
            SpanKind::Client => self.address(b"sa"),
            SpanKind::Server => self.address(b"ca"),
            _ => self.address(b"ma").or_else(|| self.address(b"sa")).or_else(|| self.address(b"ca")),
        };
        if let Some(place) = peer {
            sides.remote.clone_from(&self.endpoints[place]);
        }
        // Of two halves each has the other's address.
        if split.is_none() {
            self.write_other_addresses([peer, self.endpoint_of(side)], draft);
        }
        self.set_times(side, split.map(|(number, _)| number), sides);
        let belongs = |endpoint: Option<usize>| match split {
            None => true,
            Some((number, first)) => {
                let service = endpoint.map(|place| &*self.endpoints[place].service);
                let is_first = service.is_none() || service == first;
                is_first == (number == 0)
            }
        };
        for note in &self.annotations {
            sides.annotated(note.time);
            let end = sides.timestamp.saturating_add_signed(sides.duration);
            // What kind, start and end say already is not said again.
            let is_told = note.is_told && (note.time == sides.timestamp || note.time == end);
            if is_told || !belongs(note.endpoint) {
                continue;
            }
            match nanos(note.time) {
                Some(time) => draft.event(time, &self.texts[note.text.clone()], none),
                None => draft.note_flaw(": the time of an annotation is beyond the year 2554".to_owned()),
            }
        }
        for one in self.tags.iter().filter(|tag| !self.is_address(tag) && belongs(tag.endpoint)) {
            let value = match &one.value {
                TagValue::Text(text) => Value::Text(&self.texts[text.clone()]),
                TagValue::Bytes(bytes) => Value::Bytes(&self.texts[bytes.clone()]),
                TagValue::Bool(value) => Value::Bool(*value),
                TagValue::Int(value) => Value::Int(*value),
                TagValue::Double(value) => Value::Double(*value),
            };
            tag(draft, &self.texts[one.key.clone()], value);
        }
        sides.finish(draft, resource);
    }

    /// Adds the addresses that are neither the span's own nor its peer's.
    fn write_other_addresses(&self, known: [Option<usize>; 2], draft: &mut Draft) {
        for (name, others) in OTHERS {
            let Some(place) = self.address(name).filter(|place| !known.contains(&Some(*place))) else {
                continue;
            };
            let endpoint = &self.endpoints[place];
            if !endpoint.service.is_empty() {
                draft.attribute(others.service, Value::Text(&endpoint.service));
            }
            endpoint.write(draft, others.names);
        }
    }

    /// The span's own time is that of its first side, which began it; the other one has its annotations.
    fn set_times(&self, side: &Side, number: Option<usize>, sides: &mut Sides) {
        let time = |note: Option<usize>| note.map(|note| self.annotations[note].time);
        let (first, last) = (time(side.first), time(side.last));
        let noted = first.zip(last).map_or(0, |(first, last)| between(first, last));
        sides.timestamp = first.or(last).unwrap_or(0);
        sides.duration = noted;
        if number != Some(1) {
            if self.timestamp != 0 {
                sides.timestamp = self.timestamp;
            }
            if self.duration != 0 {
                sides.duration = self.duration;
            }
        }
        // A server that has no time of its own, or tells about its client, too, took over the client's ID.
        let joined = number == Some(1) || self.timestamp == 0;
        sides.is_shared = joined && matches!(side.kind, SpanKind::Server | SpanKind::Consumer);
    }
}

/// The difference of two times. Where it has no room, the later time is beyond all that a span can have.
fn between(first: u64, last: u64) -> i64 {
    i64::try_from(i128::from(last) - i128::from(first)).unwrap_or(i64::MAX)
}

/// Buffers that serve all spans of a request.
pub(super) struct Buffers {
    pub draft: Draft,
    pub resource: KeyValues,
    sides: Sides,
    /// Annotations have no attributes.
    none: KeyValues,
}

impl Buffers {
    pub(super) fn new(out: &Gatherer<'_>) -> Self {
        Self { draft: out.draft(), resource: out.resource(), sides: Sides::default(), none: out.event() }
    }
}
