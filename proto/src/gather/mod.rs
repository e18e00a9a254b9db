//! The contract between the collector and formats other than OTLP.
//!
//! A decoder of such a format walks over its bytes, fills one [`Draft`] after another, and gives each to the
//! [`Gatherer`], which checks it and writes it down as OTLP. The result is the same [`Decoded`] that an OTLP request
//! gives, so everything behind it (quotas, resends, batches, back-pressure, refusals of single spans) is the same, too.
//!
//! Memory is bounded by what was gathered, of which the gatherer reports every step, and by one draft. A decoder keeps
//! nothing of a request but its place.

mod attributes;
mod conventions;
mod draft;

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;

pub use self::attributes::{KeyValues, Texts, Value};
pub(crate) use self::conventions::tag;
pub use self::draft::{Draft, Link, Reference};
use crate::otlp::wire::{put_bytes, varint_length};
use crate::otlp::{DecodeLimits, Decoded, DecodedSpan, Rejections};
use crate::{SpanId, TraceId, UnixNanos};

/// Why a request as a whole is refused.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are not the format. The message says where and why.
    #[error("{0}")]
    Malformed(String),
    /// The source of the bytes failed, or there is no memory for what they hold.
    #[error(transparent)]
    Source(#[from] io::Error),
}

/// Reserves memory: called with the bytes that were gathered so far; an error ends the request.
pub type Hold<'h> = &'h mut dyn FnMut(usize) -> io::Result<()>;

/// Collects the spans of one request.
pub struct Gatherer<'h> {
    limits: DecodeLimits,
    hold: Hold<'h>,
    held: usize,
    /// What the decoder keeps beside what is gathered.
    aside: usize,
    body: Vec<u8>,
    resources: Records,
    scopes: Records,
    /// The scope of one span, while it is looked for.
    scope: Vec<u8>,
    spans: Vec<DecodedSpan>,
    rejected: Rejections,
}

/// A resource that many spans of a batch share: once one of them was added, the others know its record.
#[derive(Debug)]
pub struct SharedResource {
    attributes: KeyValues,
    record: Option<u32>,
}

/// The resource of a span that is added.
enum ResourceOf<'r> {
    Own(&'r KeyValues),
    Shared(&'r mut SharedResource),
}

/// Messages that many spans share, each written down once.
#[derive(Default)]
struct Records {
    ranges: Vec<Range<usize>>,
    known: HashMap<Box<[u8]>, u32>,
    /// The length of all keys of `known`.
    bytes: usize,
    last: u32,
}

/// How much has to be gathered before it is reported again.
const STEP: usize = 64 << 10;
/// What the fields of a span take that all have the same length.
const FIELDS: usize = 128;
/// What an entry of the table of known records takes beside its bytes: key, number, and what the allocator adds.
const ENTRY: usize = 64;

// === impl Gatherer ===

impl<'h> Gatherer<'h> {
    /// Gathers within limits.
    pub fn new(limits: &DecodeLimits, hold: Hold<'h>) -> Self {
        Self {
            limits: *limits,
            hold,
            held: 0,
            aside: 0,
            body: Vec::new(),
            resources: Records::default(),
            scopes: Records::default(),
            scope: Vec::new(),
            spans: Vec::new(),
            rejected: Rejections::default(),
        }
    }

    /// An empty draft that is filled and added over and over.
    pub fn draft(&self) -> Draft {
        Draft::within(self.limits.max_span_bytes, self.limits.max_resource_bytes)
    }

    /// Attributes of a resource, to be filled over and over.
    pub fn resource(&self) -> KeyValues {
        KeyValues::new(1, self.limits.max_resource_bytes)
    }

    /// The resource of a batch, to be filled before its spans are added.
    pub fn shared_resource(&self) -> SharedResource {
        SharedResource { attributes: self.resource(), record: None }
    }

    /// Texts of one attribute, to be filled over and over.
    pub fn texts(&self) -> Texts {
        Texts::within(self.limits.max_span_bytes)
    }

    /// Attributes of an event, to be filled over and over.
    pub fn event(&self) -> KeyValues {
        KeyValues::new(3, self.limits.max_span_bytes)
    }

    /// Attributes of a link, to be filled over and over.
    pub fn link(&self) -> KeyValues {
        KeyValues::new(4, self.limits.max_span_bytes)
    }

    /// Reserves memory for what the decoder itself keeps of a request, until its end.
    pub fn set_aside(&mut self, bytes: usize) -> io::Result<()> {
        self.aside += bytes;
        self.report(self.gathered(), 1)
    }

    /// The bound on one span.
    pub fn max_span_bytes(&self) -> usize {
        self.limits.max_span_bytes
    }

    /// Whether flaws still need a text: once enough reasons are listed, further ones are only counted.
    pub fn explains_flaws(&self) -> bool {
        self.rejected.has_room()
    }

    /// Adds a span, or counts it as refused if it has a flaw. `place` is where it stands in the request. The draft is
    /// empty afterwards.
    pub fn add(
        &mut self,
        resource: &KeyValues,
        draft: &mut Draft,
        place: &dyn Fn() -> String,
    ) -> io::Result<()> {
        self.add_to(ResourceOf::Own(resource), draft, place)
    }

    /// The same for a span of a batch, whose resource is neither hashed nor compared again.
    pub fn add_shared(
        &mut self,
        resource: &mut SharedResource,
        draft: &mut Draft,
        place: &dyn Fn() -> String,
    ) -> io::Result<()> {
        self.add_to(ResourceOf::Shared(resource), draft, place)
    }

    fn add_to(
        &mut self,
        resource: ResourceOf<'_>,
        draft: &mut Draft,
        place: &dyn Fn() -> String,
    ) -> io::Result<()> {
        draft.write_scope(&mut self.scope);
        let flaw = self.flaw_of(resource.attributes(), draft);
        if let Some(flaw) = flaw {
            let reason = if self.explains_flaws() { format!("{}{flaw}", place()) } else { String::new() };
            self.reject(reason);
        } else {
            self.make_room(draft)?;
            let begin = self.body.len();
            draft.write(&mut self.body);
            let at = begin..self.body.len();
            let resource = self.record_of(resource);
            let scope = self.scopes.place_of(&mut self.body, &self.scope);
            self.spans.push(DecodedSpan {
                trace_id: TraceId::from_bytes(draft.trace_id),
                span_id: SpanId::from_bytes(draft.span_id),
                start: UnixNanos(draft.start),
                resource,
                scope,
                at,
            });
        }
        draft.clear();
        Ok(())
    }

    /// Counts a span that was not understood.
    pub fn reject(&mut self, reason: String) {
        self.rejected.add(reason);
    }

    /// The request. Fails if there is no memory for it.
    pub fn finish(mut self) -> io::Result<Decoded> {
        self.report(self.gathered(), 1)?;
        self.body.shrink_to_fit();
        let body = Bytes::from(self.body);
        let records = |records: Records| records.ranges.into_iter().map(|at| body.slice(at)).collect();
        Ok(Decoded {
            resources: records(self.resources),
            scopes: records(self.scopes),
            spans: self.spans,
            rejected: self.rejected,
            body,
            ..Decoded::default()
        })
    }

    fn record_of(&mut self, resource: ResourceOf<'_>) -> u32 {
        let shared = match resource {
            ResourceOf::Own(attributes) => {
                return self.resources.place_of(&mut self.body, attributes.as_fields());
            }
            ResourceOf::Shared(shared) => shared,
        };
        let SharedResource { attributes, record } = shared;
        *record.get_or_insert_with(|| self.resources.place_of(&mut self.body, attributes.as_fields()))
    }

    fn flaw_of(&self, resource: &KeyValues, draft: &mut Draft) -> Option<String> {
        let max = self.limits.max_resource_bytes;
        if let Some(flaw) = draft.flaw() {
            Some(flaw)
        } else if let Some(flaw) = resource.flaw() {
            Some(format!(": resource: {flaw}"))
        } else if resource.as_fields().len() > max || self.scope.len() > max {
            Some(format!(": its resource or scope is over maxResourceBytes = {max}"))
        } else {
            None
        }
    }

    /// Reserves memory for a span before the lists grow: they double, and that must not come as a surprise.
    fn make_room(&mut self, draft: &Draft) -> io::Result<()> {
        let more = draft.size() + FIELDS;
        let mut needed = self.gathered();
        if self.body.capacity() - self.body.len() < more {
            needed += more.max(self.body.capacity());
        }
        if self.spans.len() == self.spans.capacity() {
            needed += self.spans.capacity() * size_of::<DecodedSpan>();
        }
        self.report(needed, STEP)
    }

    fn gathered(&self) -> usize {
        self.aside
            + self.body.capacity()
            + self.spans.capacity() * size_of::<DecodedSpan>()
            + self.resources.size()
            + self.scopes.size()
    }

    fn report(&mut self, needed: usize, step: usize) -> io::Result<()> {
        if needed >= self.held + step {
            (self.hold)(needed)?;
            self.held = needed;
        }
        Ok(())
    }
}

// === impl SharedResource ===

impl SharedResource {
    /// Its attributes, to be changed: it is another resource from now on.
    pub fn attributes_mut(&mut self) -> &mut KeyValues {
        self.record = None;
        &mut self.attributes
    }
}

// === impl ResourceOf ===

impl ResourceOf<'_> {
    fn attributes(&self) -> &KeyValues {
        match self {
            Self::Own(attributes) => attributes,
            Self::Shared(shared) => &shared.attributes,
        }
    }
}

// === impl Records ===

impl Records {
    /// The number of a record, which is written down when it is new. `message` is its resource or scope.
    fn place_of(&mut self, body: &mut Vec<u8>, message: &[u8]) -> u32 {
        if self.is_last(body, message) {
            return self.last;
        }
        if let Some(place) = self.known.get(message) {
            self.last = *place;
            return *place;
        }
        let begin = body.len();
        if !message.is_empty() {
            put_bytes(body, 1, message);
        }
        let place = self.ranges.len() as u32;
        self.ranges.push(begin..body.len());
        self.known.insert(message.into(), place);
        self.bytes += message.len();
        self.last = place;
        place
    }

    /// Whether a message is that of the record before: neighbours often share it, and comparing is faster than hashing.
    fn is_last(&self, body: &[u8], message: &[u8]) -> bool {
        let Some(record) = self.ranges.get(self.last as usize).map(|range| &body[range.clone()]) else {
            return false;
        };
        // A record is its message behind tag and length, and both follow from the message.
        let length = match message.len() {
            0 => 0,
            length => 1 + varint_length(length as u64) + length,
        };
        record.len() == length && record.ends_with(message)
    }

    fn size(&self) -> usize {
        self.bytes + self.known.capacity() * ENTRY + self.ranges.capacity() * size_of::<Range<usize>>()
    }
}
