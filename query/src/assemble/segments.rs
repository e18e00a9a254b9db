//! Cuts a tree of spans into segments: the connected parts inside one service instance.

use spandrel_proto::otlp::{SpanKind, SpanView};

use super::load::{pod_of, text_attribute};
use super::model::{Resource, Segment, Span};
use super::shape::Shape;

/// The segments in tree order, and the spans in the order of their segments.
pub(super) struct Segmented {
    pub(super) segments: Vec<Segment>,
    pub(super) order: Vec<u32>,
}

/// Bit of a span's flags: [`IS_REMOTE`] is valid.
const HAS_IS_REMOTE: u32 = 0x100;
/// Bit of a span's flags: the parent is remote.
const IS_REMOTE: u32 = 0x200;

pub(super) fn cut(spans: &[Span], resources: &[Resource], shape: &Shape) -> Segmented {
    let (mut segments, segment_of) = grow(spans, resources, shape);
    number_equal_ids(&mut segments, spans);
    close_subtrees(&mut segments);
    let order = order_by_segment(&mut segments, &segment_of, shape);
    for segment in &mut segments {
        segment.instance = instance(segment, &order, spans, resources);
    }
    Segmented { segments, order }
}

/// Walks down the tree; a span outside its parent's segment begins a new one.
fn grow(spans: &[Span], resources: &[Resource], shape: &Shape) -> (Vec<Segment>, Vec<u32>) {
    let mut segments: Vec<Segment> = Vec::new();
    let mut segment_of = vec![0u32; spans.len()];
    for &place in &shape.walk {
        let span = &spans[place as usize];
        let above = span.parent.map(|parent| segment_of[parent as usize]);
        let joins = span.parent.is_some_and(|parent| continues(span, &spans[parent as usize], resources));
        let own = match above {
            Some(above) if joins => above,
            _ => {
                segments.push(Segment::beginning_with(place, span, above));
                segments.len() as u32 - 1
            }
        };
        segment_of[place as usize] = own;
        segments[own as usize].take_in(span);
    }
    (segments, segment_of)
}

/// Whether a span is in the segment of its parent.
fn continues(span: &Span, parent: &Span, resources: &[Resource]) -> bool {
    let identity = |span: &Span| resources[span.resource as usize].identity;
    let enters = matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
    let parent_is_local = span.flags & (HAS_IS_REMOTE | IS_REMOTE) == HAS_IS_REMOTE;
    identity(span) == identity(parent) && (!enters || parent_is_local)
}

/// Numbers the segments that begin with the same span ID, by start, so that their IDs differ.
fn number_equal_ids(segments: &mut [Segment], spans: &[Span]) {
    let id = |segment: &Segment| spans[segment.entry as usize].id;
    let mut by_id: Vec<usize> = (0..segments.len()).collect();
    by_id.sort_unstable_by_key(|place| {
        let segment = &segments[*place];
        (id(segment), segment.start, segment.entry)
    });
    for pair in 1..by_id.len() {
        let (earlier, later) = (by_id[pair - 1], by_id[pair]);
        if id(&segments[earlier]) == id(&segments[later]) {
            segments[later].ordinal = segments[earlier].ordinal + 1;
        }
    }
}

/// Sets where each subtree ends. Segments stand depth first, so those below one follow it without a gap.
fn close_subtrees(segments: &mut [Segment]) {
    for place in (0..segments.len()).rev() {
        let end = segments[place].subtree_end.max(place as u32 + 1);
        segments[place].subtree_end = end;
        if let Some(parent) = segments[place].parent {
            let above = &mut segments[parent as usize].subtree_end;
            *above = end.max(*above);
        }
    }
}

/// Spans in the order of their segments, and of the walk inside each.
fn order_by_segment(segments: &mut [Segment], segment_of: &[u32], shape: &Shape) -> Vec<u32> {
    let mut next = 0;
    for segment in segments.iter_mut() {
        let count = segment.spans.len();
        segment.spans = next..next;
        next += count;
    }
    let mut order = vec![0; shape.walk.len()];
    for &place in &shape.walk {
        let filled = &mut segments[segment_of[place as usize] as usize].spans.end;
        order[*filled] = place;
        *filled += 1;
    }
    order
}

/// `service.instance.id`, else the pod in Envoy's `node_id`, else `k8s.pod.name`, else `host.name`.
fn instance(segment: &Segment, order: &[u32], spans: &[Span], resources: &[Resource]) -> Option<String> {
    let resource = &resources[spans[segment.entry as usize].resource as usize];
    let known = resource.instance_id.clone().or_else(|| resource.pod.clone());
    // Envoy sets `node_id` on some of its spans, not on the resource.
    let on_a_span =
        || order[segment.spans.clone()].iter().find_map(|place| node_pod(&spans[*place as usize]));
    known.or_else(on_a_span).or_else(|| resource.host.clone())
}

fn node_pod(span: &Span) -> Option<String> {
    let view = SpanView::parse(&span.message).ok()?;
    pod_of(&text_attribute(view.attributes(), "node_id")?)
}

// === impl Segment ===

impl Segment {
    fn beginning_with(entry: u32, span: &Span, parent: Option<u32>) -> Self {
        Self {
            entry,
            ordinal: 0,
            parent,
            subtree_end: 0,
            spans: 0..0,
            start: span.start,
            end: span.end(),
            error_count: 0,
            instance: None,
        }
    }

    fn take_in(&mut self, span: &Span) {
        self.start = self.start.min(span.start);
        self.end = self.end.max(span.end());
        self.error_count += u64::from(span.failed);
        self.spans.end += 1;
    }
}
