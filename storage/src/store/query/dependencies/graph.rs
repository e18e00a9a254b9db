//! The edges of an answer: sums of calls by caller, callee and kind.

use rustc_hash::FxHashMap;
use spandrel_block::edges::{EdgeRow, Node};
use spandrel_block::{BlockEdges, EdgeKind, EdgeTotals, Exemplar, MINUTE};
use spandrel_proto::{TimeRange, UnixNanos};

use crate::api::Dependency;

/// The number of a name within one answer.
pub(super) type Name = u32;

/// The edges of a range that are known so far.
pub(super) struct Graph {
    range: TimeRange,
    names: Vec<String>,
    index: FxHashMap<String, Name>,
    edges: FxHashMap<(Name, Name, EdgeKind), EdgeTotals>,
}

// === impl Graph ===

impl Graph {
    /// Creates a graph without edges. The range has to consist of whole minutes.
    pub(super) fn new(range: TimeRange) -> Self {
        Self { range, names: Vec::new(), index: FxHashMap::default(), edges: FxHashMap::default() }
    }

    pub(super) fn range(&self) -> TimeRange {
        self.range
    }

    pub(super) fn name(&mut self, name: &str) -> Name {
        if let Some(known) = self.index.get(name) {
            return *known;
        }
        let new = self.names.len() as Name;
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), new);
        new
    }

    /// Adds the sums of a block that are in the range.
    pub(super) fn add_rows<'r>(
        &mut self,
        edges: &BlockEdges,
        rows: impl IntoIterator<Item = &'r EdgeRow>,
        services: &[String],
    ) {
        let mut named: FxHashMap<Node, Name> = FxHashMap::default();
        for row in rows {
            if !self.range.contains(UnixNanos(u64::from(row.minute) * MINUTE)) {
                continue;
            }
            let mut name = |node| *named.entry(node).or_insert_with(|| self.name(edges.name(node, services)));
            let key = (name(row.caller), name(row.callee), row.kind);
            self.edges.entry(key).or_default().merge(&row.totals);
        }
    }

    /// Adds one call if it is in the range.
    pub(super) fn add_call(&mut self, edge: (Name, Name, EdgeKind), start: u64, call: Exemplar) {
        if self.range.contains(UnixNanos(start)) {
            self.edges.entry(edge).or_default().add(call);
        }
    }

    /// Returns the edges, sorted by caller, callee and kind.
    pub(super) fn finish(self) -> Vec<Dependency> {
        let name = |name: Name| self.names[name as usize].clone();
        let dependency = |((caller, callee, kind), totals): ((Name, Name, EdgeKind), EdgeTotals)| {
            Dependency { caller: name(caller), callee: name(callee), kind, totals }
        };
        let mut edges: Vec<Dependency> = self.edges.into_iter().map(dependency).collect();
        edges.sort_unstable_by(|a, b| (&a.caller, &a.callee, a.kind).cmp(&(&b.caller, &b.callee, b.kind)));
        edges
    }
}
