//! An assembled trace: spans with their parents, and the segments that they form.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_engine::tree::parents::{self, NamedParent};
use spandrel_proto::SpanId;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_storage::ServiceCount;

pub(crate) struct Assembled {
    /// The different resources of its spans.
    pub(crate) resources: Vec<Resource>,
    /// The different scopes of its spans: `ScopeSpans` messages without spans.
    pub(crate) scopes: Vec<Bytes>,
    /// Its spans by (start, span ID).
    pub(crate) spans: Vec<Span>,
    /// Its segments, depth first.
    pub(crate) segments: Vec<Segment>,
    /// Places in `spans`, in tree order: segment by segment, depth first inside each.
    pub(crate) order: Vec<u32>,
    /// The place in `spans` of its root; `None` of a trace that has only logs.
    pub(crate) root: Option<usize>,
    /// Its log records.
    pub(crate) logs: Logs,
    /// Earliest start.
    pub(crate) start: u64,
    /// Latest end.
    pub(crate) end: u64,
    /// Its services, sorted by name.
    pub(crate) services: Vec<ServiceCount>,
    /// Oddities, in sentences for users.
    pub(crate) warnings: Vec<String>,
}

pub(crate) struct Resource {
    /// A `ResourceSpans` message without its scope spans.
    pub(crate) message: Bytes,
    /// The name of its service.
    pub(crate) service: String,
    /// Equal for resources that are the same service instance.
    pub(crate) identity: u32,
    /// `service.instance.id`.
    pub(crate) instance_id: Option<String>,
    /// The pod in Envoy's `node_id`, if the resource has it.
    pub(crate) pod: Option<String>,
    /// `k8s.pod.name`, else `host.name`.
    pub(crate) host: Option<String>,
}

/// A span and its place in the tree.
pub(crate) struct Span {
    /// A `Span` message.
    pub(crate) message: Bytes,
    pub(crate) id: SpanId,
    pub(crate) named_parent: NamedParent,
    pub(crate) kind: SpanKind,
    pub(crate) status: StatusCode,
    pub(crate) failed: bool,
    pub(crate) flags: u32,
    pub(crate) start: u64,
    /// The end as sent, which may lie before the start.
    pub(crate) sent_end: u64,
    /// Index into [`Assembled::resources`].
    pub(crate) resource: u32,
    /// Index into [`Assembled::scopes`].
    pub(crate) scope: u32,
    /// The place of its parent in the tree.
    pub(crate) parent: Option<u32>,
    /// Duration minus the union of its children's intervals.
    pub(crate) self_nanos: u64,
    /// Why a span that names a parent stands at the top of the tree.
    pub(crate) detached: Option<Detached>,
    /// The missing parent that a part of it names, instead of its own.
    pub(crate) outer_parent: Option<SpanId>,
    /// Spans of proxies that are parts of it, where those are not shown.
    pub(crate) folded: Vec<Span>,
}

/// The log records of a trace, each once.
#[derive(Default)]
pub(crate) struct Logs {
    /// By (span ID, time).
    pub(crate) records: Vec<Log>,
    /// By the place of a span: its records, in the order of their times.
    pub(super) of_spans: FxHashMap<u32, Vec<u32>>,
    /// Those of spans that are not stored.
    pub(crate) of_unknown: Vec<u32>,
}

/// A log record.
pub(crate) struct Log {
    pub(crate) span: SpanId,
    pub(crate) time: u64,
    /// The event of a row ([`LogView::parse`] reads it).
    pub(crate) event: Bytes,
    /// Index into the trace's resources.
    pub(crate) resource: u32,
    /// Index into the trace's scopes.
    pub(crate) scope: u32,
}

/// Why a span that names a parent has none in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detached {
    /// The parent is not in the trace.
    Orphan,
    /// The only orphan of a trace is its root: the caller exists but is not traced here.
    ExternalParent,
    /// Following the parents leads back to the span.
    Cycle,
}

/// The connected part of a trace inside one service instance.
pub(crate) struct Segment {
    /// The place in `spans` of the span it begins with.
    pub(crate) entry: u32,
    /// How many segments before it (by start) begin with the same span ID.
    pub(crate) ordinal: u32,
    /// The segment above it.
    pub(crate) parent: Option<u32>,
    /// The segment behind the last one below it.
    pub(crate) subtree_end: u32,
    /// Its spans, as a range of [`Assembled::order`].
    pub(crate) spans: std::ops::Range<usize>,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) error_count: u64,
    /// The name of the service instance, for display.
    pub(crate) instance: Option<String>,
}

// === impl Assembled ===

impl Assembled {
    /// The resource of a span.
    pub(crate) fn resource_of(&self, span: &Span) -> &Resource {
        &self.resources[span.resource as usize]
    }

    /// How many of its spans have failed.
    pub(crate) fn error_count(&self) -> u64 {
        self.spans.iter().filter(|span| span.failed).count() as u64
    }

    /// The span ID of the entry; a number is added if other segments begin with the same ID.
    pub(crate) fn segment_id(&self, segment: &Segment) -> String {
        let id = self.spans[segment.entry as usize].id;
        if segment.ordinal == 0 { id.to_string() } else { format!("{id}-{}", segment.ordinal + 1) }
    }

    /// The spans of a segment and of all segments below it, as a range of [`Assembled::order`].
    pub(crate) fn subtree(&self, segment: &Segment) -> std::ops::Range<usize> {
        let last = &self.segments[segment.subtree_end as usize - 1];
        segment.spans.start..last.spans.end
    }
}

// === impl Span, Detached ===

impl Span {
    /// Its end, or its start when that is later.
    pub(crate) fn end(&self) -> u64 {
        self.sent_end.max(self.start)
    }

    /// Its end minus its start; zero when it ends before it starts.
    pub(crate) fn duration(&self) -> u64 {
        self.end() - self.start
    }

    pub(crate) fn ends_early(&self) -> bool {
        self.sent_end < self.start
    }
}

impl From<parents::Detached> for Detached {
    fn from(detached: parents::Detached) -> Self {
        match detached {
            parents::Detached::Orphan => Self::Orphan,
            parents::Detached::Cycle => Self::Cycle,
        }
    }
}
