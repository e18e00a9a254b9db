//! The section of a block that holds its edges: a record of version 1, with row numbers as differences.

use serde::{Deserialize, Serialize};
use spandrel_proto::{SpanId, TraceId};

use super::{EdgeKind, EdgeTotals, Reference};
use crate::record::{self, RecordError};
use crate::rollup::MINUTE;

/// The edges of a block, and its unpaired spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockEdges {
    /// Names of callers and callees that are not services of this block.
    pub(super) peers: Vec<String>,
    /// Edges that no span of another block can change.
    pub complete: Vec<EdgeRow>,
    /// Database and virtual edges of the unpaired callers; an edge is dropped when its callee is found.
    pub tentative: Vec<EdgeRow>,
    /// CLIENT and PRODUCER spans that no span of this block answers and that name their peer, sorted by stored row.
    pub open_callers: Vec<OpenCaller>,
    /// Spans whose caller is not among the spans of their trace in this block, sorted by stored row.
    pub open_callees: Vec<OpenCallee>,
}

/// Calls of one edge within a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeRow {
    /// The calling service or peer.
    pub caller: Node,
    /// The called service or peer.
    pub callee: Node,
    /// The kind of call.
    pub kind: EdgeKind,
    /// Minutes since the epoch.
    pub minute: u32,
    /// Count, errors and latency of the calls.
    pub totals: EdgeTotals,
}

/// One side of an edge within a block: a service of its dictionary, or a name in this section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node(u32);

/// A caller that a span of another block may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCaller {
    /// Its row in the block.
    pub row: u32,
    /// The peer that its attributes name.
    pub callee: Node,
    /// The edge that it makes unless a callee is found: database or virtual.
    pub kind: EdgeKind,
}

/// A callee whose caller may be in another block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCallee {
    /// Its row in the block.
    pub row: u32,
    /// How it refers to its caller.
    pub by: Reference,
    /// The caller's trace; `None` if it is the callee's own.
    pub trace: Option<TraceId>,
    /// The caller's ID.
    pub caller: SpanId,
}

const VERSION: u8 = 1;

/// The stored form: columns, because they compress better than rows.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    peers: Vec<String>,
    complete: Vec<EdgeRow>,
    tentative: Vec<EdgeRow>,
    caller_rows: Vec<u32>,
    /// Twice the index of the peer, plus one when the edge is virtual.
    caller_peers: Vec<u32>,
    parent_rows: Vec<u32>,
    parents: Vec<SpanId>,
    link_rows: Vec<u32>,
    /// The trace is `None` if it is the callee's own.
    links: Vec<(Option<TraceId>, SpanId)>,
}

// === impl Node ===

impl Node {
    pub(crate) fn service(index: u32) -> Self {
        Self(index << 1)
    }

    pub(super) fn peer(index: u32) -> Self {
        Self(index << 1 | 1)
    }

    /// The index into the dictionary's services, or into the section's own names.
    fn index(self) -> Result<u32, u32> {
        if self.0 & 1 == 0 { Ok(self.0 >> 1) } else { Err(self.0 >> 1) }
    }
}

// === impl BlockEdges ===

impl BlockEdges {
    /// The name of a node, given the services of the block's dictionary.
    pub fn name<'a>(&'a self, node: Node, services: &'a [String]) -> &'a str {
        let name = match node.index() {
            Ok(service) => services.get(service as usize),
            Err(peer) => self.peers.get(peer as usize),
        };
        // The indices were checked on decoding.
        name.map_or("", String::as_str)
    }

    /// Bytes in memory, an estimate.
    pub fn size(&self) -> usize {
        let rows = self.complete.len() + self.tentative.len();
        rows * 512
            + self.open_callers.len() * size_of::<OpenCaller>()
            + self.open_callees.len() * size_of::<OpenCallee>()
    }

    /// Renumbers the rows of unpaired spans.
    pub(crate) fn put_rows(&mut self, place: impl Fn(u32) -> u32) {
        self.open_callers.iter_mut().for_each(|open| open.row = place(open.row));
        self.open_callees.iter_mut().for_each(|open| open.row = place(open.row));
        self.open_callers.sort_by_key(|open| open.row);
        self.open_callees.sort_by_key(|open| open.row);
    }

    pub(crate) fn encode(self) -> Result<Vec<u8>, RecordError> {
        let Self { peers, complete, tentative, open_callers, open_callees } = self;
        let mut stored = Stored { peers, complete, tentative, ..Stored::default() };
        let mut last = 0;
        for open in open_callers {
            stored.caller_rows.push(open.row - std::mem::replace(&mut last, open.row));
            let peer = open.callee.index().unwrap_or_else(|peer| peer);
            stored.caller_peers.push(peer << 1 | u32::from(open.kind == EdgeKind::Virtual));
        }
        let (mut last_child, mut last_linked) = (0, 0);
        for open in open_callees {
            match open.by {
                Reference::Parent => {
                    stored.parent_rows.push(open.row - std::mem::replace(&mut last_child, open.row));
                    stored.parents.push(open.caller);
                }
                Reference::Link => {
                    stored.link_rows.push(open.row - std::mem::replace(&mut last_linked, open.row));
                    stored.links.push((open.trace, open.caller));
                }
            }
        }
        record::encode(VERSION, &stored)
    }

    /// Decodes the section, given the number of spans and services of the block.
    pub fn decode(bytes: &[u8], spans: u32, services: usize) -> Result<Self, RecordError> {
        let stored: Stored = record::decode(VERSION, bytes)?;
        let peers = stored.peers.len();
        let known = |node: &Node| match node.index() {
            Ok(service) => (service as usize) < services,
            Err(peer) => (peer as usize) < peers,
        };
        let sound = |row: &EdgeRow| {
            known(&row.caller)
                && known(&row.callee)
                && u64::from(row.minute) <= u64::MAX / MINUTE
                && row.totals.is_consistent()
        };
        let columns_match = stored.caller_rows.len() == stored.caller_peers.len()
            && stored.parent_rows.len() == stored.parents.len()
            && stored.link_rows.len() == stored.links.len()
            && stored.caller_peers.iter().all(|peer| ((peer >> 1) as usize) < peers);
        if !columns_match || !stored.complete.iter().chain(&stored.tentative).all(sound) {
            return Err(contradiction());
        }
        let callers = absolute(&stored.caller_rows, spans)?.into_iter().zip(stored.caller_peers);
        let children = absolute(&stored.parent_rows, spans)?.into_iter().zip(stored.parents);
        let linked = absolute(&stored.link_rows, spans)?.into_iter().zip(stored.links);
        let caller = |(row, peer): (u32, u32)| OpenCaller {
            row,
            callee: Node::peer(peer >> 1),
            kind: if peer & 1 == 0 { EdgeKind::Database } else { EdgeKind::Virtual },
        };
        let child = |(row, caller)| OpenCallee { row, by: Reference::Parent, trace: None, caller };
        let link = |(row, (trace, caller))| OpenCallee { row, by: Reference::Link, trace, caller };
        let mut open_callees: Vec<OpenCallee> = children.map(child).chain(linked.map(link)).collect();
        open_callees.sort_by_key(|open| open.row);
        Ok(Self {
            open_callers: callers.map(caller).collect(),
            open_callees,
            peers: stored.peers,
            complete: stored.complete,
            tentative: stored.tentative,
        })
    }
}

/// Computes rows from their differences; each has to be a row of the block.
fn absolute(differences: &[u32], spans: u32) -> Result<Vec<u32>, RecordError> {
    let mut row = 0u32;
    let next = |difference: &u32| {
        row = row.checked_add(*difference).filter(|row| *row < spans).ok_or_else(contradiction)?;
        Ok(row)
    };
    differences.iter().map(next).collect()
}

fn contradiction() -> RecordError {
    RecordError::Payload("edges contradict their block".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exemplar::Exemplar;

    fn edges() -> BlockEdges {
        let trace = TraceId::from_bytes([7; 16]);
        let mut totals = EdgeTotals::default();
        totals.add(Exemplar { failed: true, duration: 9, trace });
        let row = |callee, kind| EdgeRow {
            caller: Node::service(1),
            callee,
            kind,
            minute: 28_333_333,
            totals: totals.clone(),
        };
        let child = |row| OpenCallee {
            row,
            by: Reference::Parent,
            trace: None,
            caller: SpanId::from_bytes([row as u8; 8]),
        };
        let link = |row, trace| OpenCallee { by: Reference::Link, trace, ..child(row) };
        BlockEdges {
            peers: vec!["ledger".to_owned()],
            complete: vec![row(Node::service(0), EdgeKind::Rpc)],
            tentative: vec![row(Node::peer(0), EdgeKind::Database)],
            open_callers: vec![
                OpenCaller { row: 3, callee: Node::peer(0), kind: EdgeKind::Database },
                OpenCaller { row: 9, callee: Node::peer(0), kind: EdgeKind::Virtual },
            ],
            open_callees: vec![child(0), child(2), link(2, Some(trace)), link(2, None), child(8)],
        }
    }

    #[test]
    fn edges_come_back() {
        let bytes = edges().encode().unwrap();
        let back = BlockEdges::decode(&bytes, 10, 2).unwrap();
        assert_eq!(back, edges());
        let services = ["shop".to_owned(), "cart".to_owned()];
        assert_eq!(back.name(back.tentative[0].caller, &services), "cart");
        assert_eq!(back.name(back.tentative[0].callee, &services), "ledger");
    }

    #[test]
    fn edges_that_contradict_their_block_are_refused() {
        let bytes = edges().encode().unwrap();
        assert!(BlockEdges::decode(&bytes, 9, 2).is_err(), "a row that the block does not have");
        assert!(BlockEdges::decode(&bytes, 10, 1).is_err(), "a service that the block does not have");
        let mut miscounted = edges();
        miscounted.complete[0].totals.count = 2;
        assert!(BlockEdges::decode(&miscounted.encode().unwrap(), 10, 2).is_err());
        let mut nameless = edges();
        nameless.peers.clear();
        assert!(BlockEdges::decode(&nameless.encode().unwrap(), 10, 2).is_err());
    }
}
