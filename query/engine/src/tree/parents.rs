//! Resolves parents: shared IDs, missing parents, cycles (`docs/semantics.md#tree`).

use rustc_hash::{FxHashMap, FxHashSet};
use spandrel_proto::SpanId;
use spandrel_proto::otlp::SpanKind;

/// What decides about the place of a span in its tree.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Its ID.
    pub id: SpanId,
    /// The ID of its parent.
    pub named_parent: NamedParent,
    /// Its kind.
    pub kind: SpanKind,
    /// Its start.
    pub start: u64,
    /// Its end, not before its start.
    pub end: u64,
    /// Equal for spans of the same service instance.
    pub identity: u32,
}

/// The parent ID of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedParent {
    /// It has none.
    None,
    /// Its ID.
    Id(SpanId),
    /// Bytes that are no span ID.
    Invalid,
}

/// The place of a span in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has no parent.
    Top,
    /// Its parent, by number.
    Below(u32),
    /// It names a parent, and stands at the top all the same.
    Detached(Detached),
}

/// Why a span that names a parent has none in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// The parent is not in the trace.
    Orphan,
    /// Following the parents leads back to the span.
    Cycle,
}

/// The place of every span of a trace. The spans are sorted by (start, ID).
pub fn resolve(nodes: &[Node]) -> Vec<Place> {
    let index = Index::of(nodes);
    let mut places: Vec<Place> = nodes.iter().map(|node| index.place_of(node, nodes)).collect();
    cut_cycles(&mut places);
    places
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
    fn of(nodes: &[Node]) -> Self {
        let mut by_id = FxHashMap::default();
        let mut shared = FxHashSet::default();
        by_id.reserve(nodes.len());
        for (place, span) in (0u32..).zip(nodes) {
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
            index.note_shared(nodes);
        }
        index
    }

    fn note_shared(&mut self, nodes: &[Node]) {
        for (place, span) in (0u32..).zip(nodes).filter(|(_, span)| self.shared.contains(&span.id)) {
            self.candidates.entry(span.id).or_default().places.push(place);
            self.own.entry((span.id, span.identity)).or_default().places.push(place);
            if span.kind == SpanKind::Client {
                self.clients.entry(span.id).or_default().places.push(place);
            }
        }
        let lists =
            self.candidates.values_mut().chain(self.own.values_mut()).chain(self.clients.values_mut());
        lists.for_each(|list| list.finish(nodes));
    }

    fn place_of(&self, span: &Node, spans: &[Node]) -> Place {
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
        let chosen = self.own.get(&(parent, span.identity)).or_else(|| self.candidates.get(&parent));
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
    fn finish(&mut self, spans: &[Node]) {
        // One leaf is spare, so that the range to search never ends at the tree's own end.
        let leaves = (self.places.len() + 1).next_power_of_two();
        self.latest_ends = vec![0; 2 * leaves];
        for (leaf, place) in self.places.iter().enumerate() {
            self.latest_ends[leaves + leaf] = spans[*place as usize].end;
        }
        for node in (1..leaves).rev() {
            self.latest_ends[node] = self.latest_ends[2 * node].max(self.latest_ends[2 * node + 1]);
        }
    }

    /// The one whose interval contains `at` (the innermost of several), else the earliest of all.
    fn choose(&self, at: u64, spans: &[Node]) -> u32 {
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
fn cut_cycles(places: &mut [Place]) {
    /// `walks` holds the number of the walk that visited a span first; zero is none.
    const NEVER: u32 = 0;
    let mut walks = vec![NEVER; places.len()];
    let mut path = Vec::new();
    for (walk, first) in (1u32..).zip(0..places.len()) {
        path.clear();
        let mut at = Some(first);
        while let Some(span) = at.filter(|span| walks[*span] == NEVER) {
            walks[span] = walk;
            path.push(span);
            at = places[span].parent();
        }
        // A span of the same walk closes a cycle. A span of an earlier walk leads up to a top that is known.
        let Some(meeting) = at.filter(|span| walks[*span] == walk) else { continue };
        let cycle = path.iter().skip_while(|span| **span != meeting);
        if let Some(earliest) = cycle.min() {
            places[*earliest] = Place::Detached(Detached::Cycle);
        }
    }
}

// === impl Place, NamedParent ===

impl Place {
    /// The number of the parent.
    pub fn parent(self) -> Option<usize> {
        if let Self::Below(parent) = self { Some(parent as usize) } else { None }
    }
}

impl NamedParent {
    /// Bytes that stand for it where roots are told from other spans.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Id(id) => id.as_bytes(),
            // Neither a zero ID nor one of eight bytes: stands for a parent that cannot be in the trace.
            Self::Invalid => &[0xff],
        }
    }
}
