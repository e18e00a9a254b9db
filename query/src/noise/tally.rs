//! What the spans of a report add up to, by service.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use spandrel_detect as detect;
use spandrel_proto::Detector;
use spandrel_proto::otlp::{AnyValue, Attributes, KeyValueView, ResourceView, SpanKind, SpanView};
use spandrel_storage::{StoredSpan, semantics};

use super::names::{self, Probe};

/// What was added up.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) traces: u64,
    pub(super) spans: u64,
    pub(super) bytes: u64,
    /// Spans that are damaged.
    pub(super) unreadable: u64,
    pub(super) services: BTreeMap<String, Service>,
    /// The resource of the last span: neighbours share theirs.
    resource: Option<Resource>,
    /// Spans of the trace that is read, and the operation of its first one.
    in_trace: u64,
    first: Option<(String, OperationKey)>,
}

#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) spans: u64,
    pub(super) bytes: u64,
    /// Its resources name it.
    pub(super) is_named: bool,
    pub(super) operations: FxHashMap<OperationKey, Operation>,
    pub(super) attributes: FxHashMap<(Level, String), Attribute>,
    /// Personal data in names of spans.
    pub(super) in_names: Personal,
}

/// An operation. Probes of one name are told apart, because their rules are about paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct OperationKey {
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) probe: Option<Probe>,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) spans: u64,
    pub(super) errors: u64,
    pub(super) bytes: u64,
    /// Bytes of those without an error.
    pub(super) sound_bytes: u64,
    /// Traces of this span alone.
    pub(super) alone: u64,
    /// By the logarithm of their duration.
    durations: [u32; 64],
}

/// The levels whose attributes are counted. Those of resources are shared by many spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Level {
    Span,
    Event,
}

#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) values: u64,
    pub(super) bytes: u64,
    /// The one value of all spans.
    pub(super) constant: Option<Constant>,
    /// Values that the resource has under the same key.
    pub(super) of_resource: u64,
    pub(super) personal: Personal,
}

/// A value that a rule can name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Text(String),
    Int(i64),
    Bool(bool),
}

/// What detectors have found among values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Personal {
    /// Values that were looked at.
    pub(super) looked: u64,
    pub(super) found: [u64; Detector::ALL.len()],
}

#[derive(Debug)]
struct Resource {
    bytes: bytes::Bytes,
    service: String,
    is_named: bool,
    attributes: Vec<(String, Constant)>,
}

/// Values of an attribute of a service that detectors look at; they take longer than everything else.
const LOOKED: u64 = 2_000;
/// A longer text is no constant that a rule names.
const MAX_CONSTANT: usize = 200;
/// Memory of an entry beside its texts.
const ENTRY_BYTES: usize = 400;

// === impl Tally ===

impl Tally {
    pub(super) fn begin_trace(&mut self) {
        self.traces += 1;
        (self.in_trace, self.first) = (0, None);
    }

    pub(super) fn end_trace(&mut self) {
        let Some((service, operation)) = self.first.take().filter(|_| self.in_trace == 1) else { return };
        let service = self.services.get_mut(&service);
        if let Some(operation) = service.and_then(|service| service.operations.get_mut(&operation)) {
            operation.alone += 1;
        }
    }

    /// Counts a span. `take` asks for memory.
    pub(super) fn add(&mut self, stored: &StoredSpan, mut take: impl FnMut(usize) -> bool) {
        self.spans += 1;
        let Ok(span) = SpanView::parse(&stored.span) else {
            self.unreadable += 1;
            return;
        };
        let bytes = stored.span.len() as u64;
        self.bytes += bytes;
        if self.resource.as_ref().is_none_or(|known| known.bytes != stored.resource) {
            self.resource = Some(Resource::read(&stored.resource));
        }
        let Some(resource) = &self.resource else { return };
        if !self.services.contains_key(&resource.service) {
            take(ENTRY_BYTES + resource.service.len());
            self.services.insert(resource.service.clone(), Service::default());
        }
        let Some(service) = self.services.get_mut(&resource.service) else { return };
        service.spans += 1;
        service.bytes += bytes;
        service.is_named = resource.is_named;
        service.in_names.look(span.name);
        let key = OperationKey { name: span.name.to_owned(), kind: span.kind(), probe: names::probe(&span) };
        if !service.operations.contains_key(&key) {
            take(ENTRY_BYTES + key.name.len());
        }
        self.in_trace += 1;
        if self.in_trace == 1 {
            self.first = Some((resource.service.clone(), key.clone()));
        }
        service.operations.entry(key).or_insert_with(Operation::new).add(&span, bytes, stored.failed);
        service.add_attributes(Level::Span, span.attributes(), resource, &mut take);
        for event in span.events().flatten() {
            service.add_attributes(Level::Event, event.attributes(), resource, &mut take);
        }
    }
}

// === impl Service ===

impl Service {
    fn add_attributes(
        &mut self,
        level: Level,
        attributes: Attributes<'_>,
        resource: &Resource,
        take: &mut impl FnMut(usize) -> bool,
    ) {
        for attribute in attributes.flatten() {
            let value = constant(attribute.value);
            let key = (level, attribute.key.to_owned());
            let known = self.attributes.entry(key).or_insert_with(|| {
                take(ENTRY_BYTES + attribute.key.len());
                Attribute::new(value.clone())
            });
            known.values += 1;
            known.bytes += wire_size(&attribute);
            if known.constant != value {
                known.constant = None;
            }
            let is_of_resource = |value: &Constant| {
                resource.attributes.iter().any(|(key, of)| key == attribute.key && of == value)
            };
            known.of_resource += u64::from(value.as_ref().is_some_and(is_of_resource));
            known.personal.look_at(attribute.value);
        }
    }
}

impl Resource {
    fn read(bytes: &bytes::Bytes) -> Self {
        let mut resource = Self {
            bytes: bytes.clone(),
            service: semantics::UNKNOWN_SERVICE.to_owned(),
            is_named: false,
            attributes: Vec::new(),
        };
        if let Ok(view) = ResourceView::parse(bytes) {
            resource.service = semantics::service_name(&view).to_owned();
            resource.is_named = view.string_attribute("service.name") == Some(&resource.service);
            let one =
                |attribute: KeyValueView<'_>| Some((attribute.key.to_owned(), constant(attribute.value)?));
            resource.attributes = view.attributes().flatten().filter_map(one).collect();
        }
        resource
    }
}

// === impl Operation ===

impl Operation {
    fn new() -> Self {
        Self { spans: 0, errors: 0, bytes: 0, sound_bytes: 0, alone: 0, durations: [0; 64] }
    }

    fn add(&mut self, span: &SpanView<'_>, bytes: u64, failed: bool) {
        self.spans += 1;
        self.bytes += bytes;
        if failed {
            self.errors += 1;
        } else {
            self.sound_bytes += bytes;
        }
        let nanos = span.end.saturating_sub(span.start);
        self.durations[(64 - nanos.leading_zeros() as usize).min(63)] += 1;
    }

    /// Whether nineteen of twenty spans take about as long as each other: within a factor of eight.
    pub(super) fn is_steady(&self) -> bool {
        let wanted = self.spans - self.spans / 20;
        self.durations
            .windows(3)
            .any(|near| near.iter().map(|count| u64::from(*count)).sum::<u64>() >= wanted)
    }
}

// === impl Attribute ===

impl Attribute {
    fn new(constant: Option<Constant>) -> Self {
        Self { values: 0, bytes: 0, constant, of_resource: 0, personal: Personal::default() }
    }
}

impl Level {
    /// An attribute as rules name it.
    pub(super) fn named(self, key: &str) -> String {
        match self {
            Self::Span => format!("span.{key}"),
            Self::Event => format!("event.{key}"),
        }
    }
}

fn constant(value: Option<AnyValue<'_>>) -> Option<Constant> {
    match value? {
        AnyValue::String(text) if text.len() <= MAX_CONSTANT => Some(Constant::Text(text.to_owned())),
        AnyValue::Int(int) => Some(Constant::Int(int)),
        AnyValue::Bool(flag) => Some(Constant::Bool(flag)),
        _ => None,
    }
}

/// The bytes of an attribute in its span.
fn wire_size(attribute: &KeyValueView<'_>) -> u64 {
    let varint = |number: u64| u64::from((64 - (number | 1).leading_zeros()).div_ceil(7));
    let framed = |length: u64| 1 + varint(length) + length;
    let text = |length: usize| framed(length as u64);
    let value = match attribute.value {
        None => return framed(text(attribute.key.len())),
        Some(AnyValue::Empty) => 0,
        Some(AnyValue::String(value)) => text(value.len()),
        Some(AnyValue::Bool(_)) => 2,
        Some(AnyValue::Int(int)) => 1 + varint(int as u64),
        Some(AnyValue::Double(_)) => 9,
        Some(AnyValue::Array(value) | AnyValue::KeyValues(value) | AnyValue::Bytes(value)) => {
            text(value.len())
        }
    };
    framed(text(attribute.key.len()) + framed(value))
}

// === impl Personal ===

impl Personal {
    fn look_at(&mut self, value: Option<AnyValue<'_>>) {
        match value {
            Some(AnyValue::String(text)) => self.look(text),
            Some(AnyValue::Int(int)) if int.unsigned_abs() >= SMALLEST_CARD => self.look(&int.to_string()),
            _ => {}
        }
    }

    fn look(&mut self, text: &str) {
        if self.looked >= LOOKED || text.is_empty() {
            return;
        }
        self.looked += 1;
        for (found, detector) in self.found.iter_mut().zip(Detector::ALL) {
            let finds = detect::may_find(detector, text.as_bytes()) && detect::hide(detector, text).is_some();
            *found += u64::from(finds);
        }
    }
}

/// The smallest number of thirteen digits.
const SMALLEST_CARD: u64 = 1_000_000_000_000;
