//! Resolves parents: shared IDs, missing parents, cycles.

use rustc_hash::{FxHashMap, FxHashSet};
use spandrel_proto::SpanId;
use spandrel_proto::otlp::SpanKind;

use super::model::{Detached, NamedParent, Resource, Span};

/// Gives every span its parent in the tree, or the reason why it has none.
pub(super) fn resolve(spans: &mut [Span], resources: &[Resource]) {
    let index = Index::of(spans, resources);
    let places: Vec<Place> = spans.iter().map(|span| index.place_of(span, spans, resources)).collect();
    for (span, place) in spans.iter_mut().zip(places) {
        match place {
            Place::Top => {}
            Place::Below(parent) => span.parent = Some(parent),
            Place::Detached(why) => span.detached = Some(why),
        }
    }
    cut_cycles(spans);
}

enum Place {
    Top,
    Below(u32),
    Detached(Detached),
}

/// Indexes spans by the parent ID that a child names, alone or with the child's service instance.
struct Index {
    /// The earliest span of each ID.
    by_id: FxHashMap<SpanId, u32>,
    /// IDs that several spans have: client and server of a Zipkin call, or a mistake of the sender.
    shared: FxHashSet<SpanId>,
    /// Those spans by ID.
    candidates: FxHashMap<SpanId, Candidates>,
    /// Those spans by ID and service instance.
    own: FxHashMap<(SpanId, u32), Candidates>,
    /// Those among them that are CLIENT, by ID.
    clients: FxHashMap<SpanId, Candidates>,
}

/// Spans with the same ID, by start; a child gets one of them as its parent.
#[derive(Default)]
struct Candidates {
    places: Vec<u32>,
    /// A binary tree of the latest ends: the root's at 1, the children of node `n` at `2n` and `2n + 1`.
    latest_ends: Vec<u64>,
}

// === impl Index ===

impl Index {
    fn of(spans: &[Span], resources: &[Resource]) -> Self {
        let mut by_id = FxHashMap::default();
        let mut shared = FxHashSet::default();
        by_id.reserve(spans.len());
        for (place, span) in (0u32..).zip(spans) {
            if *by_id.entry(span.id).or_insert(place) != place {
                shared.insert(span.id);
            }
        }
        let mut index = Self {
            by_id,
            shared,
            candidates: FxHashMap::default(),
            own: FxHashMap::default(),
            clients: FxHashMap::default(),
        };
        if !index.shared.is_empty() {
            index.note_shared(spans, resources);
        }
        index
    }

    fn note_shared(&mut self, spans: &[Span], resources: &[Resource]) {
        for (place, span) in (0u32..).zip(spans).filter(|(_, span)| self.shared.contains(&span.id)) {
            let identity = resources[span.resource as usize].identity;
            self.candidates.entry(span.id).or_default().places.push(place);
            self.own.entry((span.id, identity)).or_default().places.push(place);
            if span.kind == SpanKind::Client {
                self.clients.entry(span.id).or_default().places.push(place);
            }
        }
        let lists =
            self.candidates.values_mut().chain(self.own.values_mut()).chain(self.clients.values_mut());
        lists.for_each(|list| list.finish(spans));
    }

    fn place_of(&self, span: &Span, spans: &[Span], resources: &[Resource]) -> Place {
        // Where client and server share an ID, the server's span is the child of the client's, whatever parent it
        // names.
        if span.kind == SpanKind::Server
            && let Some(clients) = self.clients.get(&span.id)
        {
            return Place::Below(clients.choose(span.start, spans));
        }
        let parent = match span.named_parent {
            NamedParent::None => return Place::Top,
            NamedParent::Invalid => return Place::Detached(Detached::Orphan),
            NamedParent::Id(id) if id == span.id => return Place::Detached(Detached::Cycle),
            NamedParent::Id(id) => id,
        };
        let identity = resources[span.resource as usize].identity;
        let chosen = self.own.get(&(parent, identity)).or_else(|| self.candidates.get(&parent));
        match (chosen, self.by_id.get(&parent)) {
            (Some(candidates), _) => Place::Below(candidates.choose(span.start, spans)),
            (None, Some(place)) => Place::Below(*place),
            (None, None) => Place::Detached(Detached::Orphan),
        }
    }
}

// === impl Candidates ===

impl Candidates {
    /// Builds the tree of ends. Call it after the last span is pushed.
    fn finish(&mut self, spans: &[Span]) {
        // One leaf is spare, so that the range to search never ends at the tree's own end.
        let leaves = (self.places.len() + 1).next_power_of_two();
        self.latest_ends = vec![0; 2 * leaves];
        for (leaf, place) in self.places.iter().enumerate() {
            self.latest_ends[leaves + leaf] = spans[*place as usize].end();
        }
        for node in (1..leaves).rev() {
            self.latest_ends[node] = self.latest_ends[2 * node].max(self.latest_ends[2 * node + 1]);
        }
    }

    /// The one whose interval contains `at` (the innermost of several), else the earliest of all.
    fn choose(&self, at: u64, spans: &[Span]) -> u32 {
        let begun = self.places.partition_point(|place| spans[*place as usize].start <= at);
        let chosen = self.last_reaching(at, begun).unwrap_or(0);
        self.places[chosen]
    }

    /// The last of the first `count` that ends at `at` or later, in logarithmic time.
    fn last_reaching(&self, at: u64, count: usize) -> Option<usize> {
        let leaves = self.latest_ends.len() / 2;
        let mut node = leaves + count;
        while node > 1 {
            if node % 2 == 1 && self.latest_ends[node - 1] >= at {
                node -= 1;
                while node < leaves {
                    node = if self.latest_ends[2 * node + 1] >= at { 2 * node + 1 } else { 2 * node };
                }
                return Some(node - leaves);
            }
            node /= 2;
        }
        None
    }
}

/// Cuts every cycle at its earliest span, which moves to the top.
fn cut_cycles(spans: &mut [Span]) {
    /// `walks` holds the number of the walk that visited a span first; zero is none.
    const NEVER: u32 = 0;
    let mut walks = vec![NEVER; spans.len()];
    let mut path = Vec::new();
    for (walk, first) in (1u32..).zip(0..spans.len()) {
        path.clear();
        let mut at = Some(first);
        while let Some(place) = at.filter(|place| walks[*place] == NEVER) {
            walks[place] = walk;
            path.push(place);
            at = spans[place].parent.map(|parent| parent as usize);
        }
        // A span of the same walk closes a cycle. A span of an earlier walk leads up to a top that is known.
        let Some(meeting) = at.filter(|place| walks[*place] == walk) else { continue };
        let cycle = path.iter().skip_while(|place| **place != meeting);
        if let Some(earliest) = cycle.min() {
            spans[*earliest].parent = None;
            spans[*earliest].detached = Some(Detached::Cycle);
        }
    }
}
