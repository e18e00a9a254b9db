//! From the spans of a trace to its tree: trace, segments, spans (`docs/semantics.md#trace`, `#tree`, `#segment`).
//!
//! Spans come as they were stored, in any number and shape: parents missing, shared, in cycles,
//! clocks anywhere between 1970 and 2554. Every span has exactly one place in the tree, what is odd
//! becomes a warning, and nothing here recurses, so that a chain of a million spans is as safe as
//! one of ten. How the tree is written is in [`crate::tree`].

mod load;
mod parents;
mod segments;
mod shape;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::SpanId;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_storage::semantics::{RootCandidate, root_of};
use spandrel_storage::{Damage, ReadError, ServiceCount, StoredSpan};

/// A trace, assembled.
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
    /// The place in `spans` of its root.
    pub(crate) root: usize,
    /// Earliest start.
    pub(crate) start: u64,
    /// Latest end.
    pub(crate) end: u64,
    /// Its services, sorted by name.
    pub(crate) services: Vec<ServiceCount>,
    /// What is odd about it.
    pub(crate) warnings: Vec<String>,
}

/// Where spans come from.
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
    /// As sent: may lie before the start.
    pub(crate) sent_end: u64,
    /// Index into [`Assembled::resources`].
    pub(crate) resource: u32,
    /// Index into [`Assembled::scopes`].
    pub(crate) scope: u32,
    /// The place of its parent in the tree.
    pub(crate) parent: Option<u32>,
    /// Duration minus the union of its children's intervals.
    pub(crate) self_nanos: u64,
    /// Why it stands at the top of the tree, if that is not because it names no parent.
    pub(crate) detached: Option<Detached>,
}

/// What a span says about its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedParent {
    /// It has none.
    None,
    /// Its ID.
    Id(SpanId),
    /// Bytes that are no span ID.
    Invalid,
}

/// Why a span that names a parent has none in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detached {
    /// The parent is not in the trace.
    Orphan,
    /// As the only orphan it is the root: its caller is simply not traced here.
    ExternalParent,
    /// It would be its own ancestor.
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
    /// The name of the instance, for people.
    pub(crate) instance: Option<String>,
}

/// Assembles a trace; `None` when there is no span that can be read.
pub(crate) fn assemble(
    spans: impl Iterator<Item = Result<StoredSpan, ReadError>>,
    damage: &Damage,
) -> Result<Option<Assembled>, ReadError> {
    let load::Loaded { resources, scopes, mut spans, unreadable } = load::load(spans)?;
    let Some(root) = root_of(&root_candidates(&spans)) else { return Ok(None) };
    parents::resolve(&mut spans, &resources);
    let shape = shape::Shape::of(&spans, root);
    shape.measure_self_time(&mut spans);
    let segments::Segmented { segments, order } = segments::cut(&spans, &resources, &shape);
    mark_external_parent(&mut spans, root);
    let mut assembled = Assembled {
        root,
        start: spans.iter().map(|span| span.start).min().unwrap_or(0),
        end: spans.iter().map(Span::end).max().unwrap_or(0),
        services: service_counts(&spans, &resources),
        warnings: Vec::new(),
        resources,
        scopes,
        spans,
        segments,
        order,
    };
    assembled.warnings = warnings(&assembled.spans, unreadable, damage.blocks());
    Ok(Some(assembled))
}

/// One rule for store and tree: which span is the root is decided where both can see it.
fn root_candidates(spans: &[Span]) -> Vec<RootCandidate<'_>> {
    let mut candidates = Vec::with_capacity(spans.len());
    for span in spans {
        let parent_id = span.named_parent.as_bytes();
        candidates.push(RootCandidate { start: span.start, span_id: span.id.as_bytes(), parent_id });
    }
    candidates
}

fn mark_external_parent(spans: &mut [Span], root: usize) {
    let orphans = spans.iter().filter(|span| span.detached == Some(Detached::Orphan)).count();
    if orphans == 1 && spans[root].detached == Some(Detached::Orphan) {
        spans[root].detached = Some(Detached::ExternalParent);
    }
}

fn service_counts(spans: &[Span], resources: &[Resource]) -> Vec<ServiceCount> {
    let mut by_resource = vec![(0u64, 0u64); resources.len()];
    for span in spans {
        let (count, errors) = &mut by_resource[span.resource as usize];
        *count += 1;
        *errors += u64::from(span.failed);
    }
    let mut by_name: FxHashMap<&str, (u64, u64)> = FxHashMap::default();
    for (resource, (count, errors)) in resources.iter().zip(by_resource) {
        let total = by_name.entry(&resource.service).or_default();
        *total = (total.0 + count, total.1 + errors);
    }
    let mut services: Vec<ServiceCount> = by_name
        .into_iter()
        .map(|(name, (span_count, error_count))| ServiceCount {
            name: name.to_owned(),
            span_count,
            error_count,
        })
        .collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    services
}

fn warnings(spans: &[Span], unreadable: u64, damaged_blocks: u64) -> Vec<String> {
    let detached = |why| spans.iter().filter(|span| span.detached == Some(why)).count();
    let mut warnings = Vec::new();
    let mut warn = |count: usize, one: &str, many: &str| match count {
        0 => {}
        1 => warnings.push(format!("1 {one}")),
        count => warnings.push(format!("{count} {many}")),
    };
    warn(
        detached(Detached::Orphan),
        "span names a parent that is not in this trace",
        "spans name a parent that is not in this trace",
    );
    warn(
        detached(Detached::Cycle),
        "cycle of parents was cut at its earliest span",
        "cycles of parents were cut, each at its earliest span",
    );
    warn(
        spans.iter().filter(|span| span.ends_early()).count(),
        "span ends before it starts; its duration is shown as 0",
        "spans end before they start; their durations are shown as 0",
    );
    warn(
        usize::try_from(unreadable).unwrap_or(usize::MAX),
        "stored span could not be read and is left out",
        "stored spans could not be read and are left out",
    );
    warn(
        usize::try_from(damaged_blocks).unwrap_or(usize::MAX),
        "damaged block was left out; spans may be missing",
        "damaged blocks were left out; spans may be missing",
    );
    if detached(Detached::ExternalParent) > 0 {
        warnings.push("external parent: the root's parent is not in this trace".to_owned());
    }
    warnings
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

    /// The ID of a segment: its entry's, with a number when that is not enough to tell it apart.
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

// === impl Span, NamedParent ===

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

impl NamedParent {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Id(id) => id.as_bytes(),
            // Not zero and not of a span ID's length: names a parent that cannot be there.
            Self::Invalid => &[0xff],
        }
    }
}

#[cfg(test)]
mod tests;
