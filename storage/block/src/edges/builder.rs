//! Finds the edges of a block while it is written.
//!
//! Spans are pushed trace by trace. Those of a trace are kept until the next one begins, then the caller of each is
//! searched among them: by comparing all IDs if they are few, else in a sorted list.

use rustc_hash::FxHashMap;
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{SpanId, TraceId};

use super::peers::{MessagingOperation, Peer, PeerCandidates};
use super::section::{BlockEdges, EdgeRow, Node, OpenCallee, OpenCaller};
use super::{Candidate, EdgeKind, EdgeTotals, Reference, Relation, USER, choose, may_be_called};
use crate::exemplar::Exemplar;
use crate::rollup::MINUTE;

/// Collects the edges of a block's spans, in the order in which rows are pushed. Unpaired spans are recorded with the
/// number of the row in that order; [`BlockEdges::put_rows`] translates it to the stored row.
///
/// The spans of a trace are pushed one after the other. The attributes of each span go through [`PeerCandidates`]
/// first. INTERNAL spans cost no allocation and no hashing.
#[derive(Debug, Default)]
pub struct EdgeBuilder {
    rows: u32,
    trace: TraceId,
    /// The spans of `trace` so far.
    part: Vec<PartSpan>,
    /// Links of consumers of the trace: the span, and the linked trace and span.
    part_links: Vec<(u32, TraceId, SpanId)>,
    /// Sorted IDs with the indices of their spans in `part`; empty if the part is small.
    places: Vec<(SpanId, u32)>,
    peers: Peers,
    complete: Sums,
    tentative: Sums,
    open_callers: Vec<OpenCaller>,
    open_callees: Vec<OpenCallee>,
}

/// The fields of a span that edges are computed from.
#[derive(Debug, Clone, Copy)]
pub struct EdgeSpan {
    /// Its ID.
    pub id: SpanId,
    /// Its parent; zero without one.
    pub parent: SpanId,
    /// Whether it names a parent; true as well for a parent ID of unusual length.
    pub has_parent: bool,
    /// Its start, in nanoseconds.
    pub start: u64,
    /// Its duration as shown, in nanoseconds.
    pub duration: u64,
    /// The index of its service in the block's dictionary.
    pub service: u32,
    /// Its kind.
    pub kind: SpanKind,
    /// Its flags as sent.
    pub flags: u32,
    /// Whether it failed, as `docs/semantics.md#failed` defines it.
    pub failed: bool,
}

/// A span of the current trace.
#[derive(Debug, Clone, Copy)]
struct PartSpan {
    id: SpanId,
    parent: SpanId,
    start: u64,
    duration: u64,
    service: u32,
    /// The peer that its attributes name, used if no span is found on the other side.
    peer: Option<(Node, EdgeKind)>,
    kind: SpanKind,
    failed: bool,
    may_be_called: bool,
    /// A CONSUMER, or a CLIENT that receives messages.
    consumes: bool,
    answered: bool,
}

#[derive(Debug, Default)]
struct Peers {
    names: Vec<String>,
    index: FxHashMap<String, u32>,
}

type Sums = FxHashMap<(Node, Node, EdgeKind, u32), EdgeTotals>;

/// Up to this many spans are compared one by one.
const FEW: usize = 24;
/// If more spans share an ID, only the first ones are compared. No honest sender has so many, and comparing all with
/// each other would take quadratic time.
const MAX_CANDIDATES: usize = 256;

// === impl EdgeBuilder ===

impl EdgeBuilder {
    /// Adds the span of the next row. `links` is called only for spans whose links may make edges.
    pub fn push<L: Iterator<Item = (TraceId, SpanId)>>(
        &mut self,
        trace: TraceId,
        span: EdgeSpan,
        peers: &PeerCandidates<'_>,
        links: impl FnOnce() -> L,
    ) {
        if trace != self.trace {
            self.finish_part();
            self.trace = trace;
        }
        let EdgeSpan { id, parent, start, duration, service, kind, failed, .. } = span;
        let may_be_called = may_be_called(kind, span.flags);
        let mut added = PartSpan {
            id,
            parent,
            start,
            duration,
            service,
            peer: None,
            kind,
            failed,
            may_be_called,
            consumes: false,
            answered: false,
        };
        let operation = (kind == SpanKind::Client).then(|| peers.messaging_operation()).flatten();
        match (kind, operation) {
            (SpanKind::Client, Some(MessagingOperation::SendOrSettle)) => {}
            (SpanKind::Consumer, _) | (SpanKind::Client, Some(MessagingOperation::Receive)) => {
                added.consumes = true;
                added.may_be_called |= !span.has_parent;
                let parent = if may_be_called { parent } else { SpanId::default() };
                if !self.take_links(parent, links()) && !span.has_parent {
                    added.peer = Some(self.caller(SpanKind::Consumer, peers));
                }
            }
            (SpanKind::Server, _) if !span.has_parent => {
                added.peer = Some(self.caller(SpanKind::Server, peers));
            }
            (SpanKind::Client | SpanKind::Producer, _) => added.peer = self.callee(peers),
            _ => {}
        }
        self.part.push(added);
        self.rows += 1;
    }

    /// Pairs the spans of the last trace and returns all edges.
    pub fn into_edges(mut self) -> BlockEdges {
        self.finish_part();
        self.open_callees.sort_by_key(|open| open.row);
        BlockEdges {
            peers: self.peers.names,
            complete: sorted(self.complete),
            tentative: sorted(self.tentative),
            open_callers: self.open_callers,
            open_callees: self.open_callees,
        }
    }

    fn callee(&mut self, peers: &PeerCandidates<'_>) -> Option<(Node, EdgeKind)> {
        Some(match peers.callee()? {
            Peer::Database(name) => (self.peers.node(name), EdgeKind::Database),
            Peer::Other(name) => (self.peers.node(name), EdgeKind::Virtual),
        })
    }

    fn caller(&mut self, kind: SpanKind, peers: &PeerCandidates<'_>) -> (Node, EdgeKind) {
        (self.peers.node(peers.caller(kind).unwrap_or(USER)), EdgeKind::Virtual)
    }

    /// Records the links of a consumer, each once and without its parent; returns whether it has any.
    fn take_links(&mut self, parent: SpanId, links: impl Iterator<Item = (TraceId, SpanId)>) -> bool {
        let (first, at) = (self.part_links.len(), self.part.len() as u32);
        let mut any = false;
        for (trace, id) in links {
            any = true;
            if trace != self.trace || id != parent {
                self.part_links.push((at, trace, id));
            }
        }
        self.part_links[first..].sort_unstable();
        let mut kept = first;
        for next in first..self.part_links.len() {
            if kept == first || self.part_links[kept - 1] != self.part_links[next] {
                self.part_links[kept] = self.part_links[next];
                kept += 1;
            }
        }
        self.part_links.truncate(kept);
        any
    }

    /// Pairs the spans of the trace that is complete.
    fn finish_part(&mut self) {
        self.places.clear();
        if self.part.len() > FEW {
            self.places.extend(self.part.iter().enumerate().map(|(at, span)| (span.id, at as u32)));
            self.places.sort_unstable();
        }
        (0..self.part.len()).for_each(|at| self.find_parent(at));
        self.find_linked();
        let first_row = self.rows - self.part.len() as u32;
        for (at, span) in self.part.iter().enumerate() {
            let caller = matches!(span.kind, SpanKind::Client | SpanKind::Producer) && !span.consumes;
            if let Some((callee, kind)) = span.peer.filter(|_| caller && !span.answered) {
                let key = (Node::service(span.service), callee, kind, minute(span.start));
                self.tentative.entry(key).or_default().add(span.call(self.trace, false));
                self.open_callers.push(OpenCaller { row: first_row + at as u32, callee, kind });
            }
        }
        self.part.clear();
        self.part_links.clear();
    }

    fn find_parent(&mut self, at: usize) {
        let child = self.part[at];
        if !child.may_be_called {
            return;
        }
        if let Some(client) = self.shared_client(at) {
            return self.relate(Reference::Parent, client, at);
        }
        let is_entry = child.kind == SpanKind::Server || child.consumes;
        let by = if child.consumes && child.kind == SpanKind::Client {
            Reference::Link
        } else {
            Reference::Parent
        };
        match self.find(child.parent, at) {
            Some(parent) => self.relate(by, parent, at),
            None if child.parent != SpanId::default() => {
                self.open_callees.push(OpenCallee {
                    row: self.row(at),
                    by,
                    trace: None,
                    caller: child.parent,
                });
            }
            None if is_entry => {
                if let Some((caller, kind)) = child.peer {
                    let key = (caller, Node::service(child.service), kind, minute(child.start));
                    self.complete.entry(key).or_default().add(child.call(self.trace, false));
                }
            }
            None => {}
        }
    }

    fn find_linked(&mut self) {
        for n in 0..self.part_links.len() {
            let (at, trace, caller) = self.part_links[n];
            let at = at as usize;
            let own = trace == self.trace;
            match own.then(|| self.find(caller, at)).flatten() {
                Some(linked) => self.relate(Reference::Link, linked, at),
                None => self.open_callees.push(OpenCallee {
                    row: self.row(at),
                    by: Reference::Link,
                    trace: (!own).then_some(trace),
                    caller,
                }),
            }
        }
    }

    /// The CLIENT of another service that shares its span ID with this SERVER.
    fn shared_client(&self, at: usize) -> Option<usize> {
        let server = &self.part[at];
        let is_its_client = |place: &usize| {
            let other = &self.part[*place];
            other.kind == SpanKind::Client && other.service != server.service
        };
        (server.kind == SpanKind::Server).then(|| self.find_with(server.id, at, is_its_client)).flatten()
    }

    fn find(&self, id: SpanId, callee: usize) -> Option<usize> {
        self.find_with(id, callee, |_| true)
    }

    /// The accepted span that has this ID, other than the callee itself.
    fn find_with(&self, id: SpanId, callee: usize, accept: impl Fn(&usize) -> bool) -> Option<usize> {
        let accept = |place: &usize| *place != callee && accept(place);
        if self.places.is_empty() {
            let mut found = (0..self.part.len()).filter(|place| self.part[*place].id == id).filter(&accept);
            let first = found.next()?;
            // Spans hardly ever share an ID, so there is usually nothing to choose.
            return match found.next() {
                None => Some(first),
                Some(second) => self.choose([first, second].into_iter().chain(found), callee),
            };
        }
        let from = self.places.partition_point(|place| place.0 < id);
        let found = self.places[from..].iter().take_while(|place| place.0 == id).take(MAX_CANDIDATES);
        self.choose(found.map(|place| place.1 as usize).filter(accept), callee)
    }

    fn choose(&self, places: impl Iterator<Item = usize> + Clone, callee: usize) -> Option<usize> {
        let callee = &self.part[callee];
        let candidate = |place: usize| {
            let PartSpan { service, start, duration, .. } = self.part[place];
            Candidate { same_service: service == callee.service, start, duration }
        };
        let chosen = choose(places.clone().map(candidate), callee.start)?;
        places.into_iter().nth(chosen)
    }

    fn relate(&mut self, by: Reference, caller: usize, callee: usize) {
        let (from, to) = (self.part[caller], self.part[callee]);
        let relation = Relation::of(by, from.kind, to.kind, from.service == to.service);
        self.part[caller].answered |= relation.answers;
        if let Some(kind) = relation.edge {
            let key = (Node::service(from.service), Node::service(to.service), kind, minute(to.start));
            self.complete.entry(key).or_default().add(to.call(self.trace, from.failed));
        }
    }

    /// The row of a span of the part.
    fn row(&self, at: usize) -> u32 {
        self.rows - self.part.len() as u32 + at as u32
    }
}

fn minute(start: u64) -> u32 {
    (start / MINUTE) as u32
}

fn sorted(sums: Sums) -> Vec<EdgeRow> {
    let row = |((caller, callee, kind, minute), totals)| EdgeRow { caller, callee, kind, minute, totals };
    let mut rows: Vec<EdgeRow> = sums.into_iter().map(row).collect();
    rows.sort_unstable_by_key(|row| (row.minute, row.caller, row.callee, row.kind));
    rows
}

// === impl PartSpan ===

impl PartSpan {
    fn call(&self, trace: TraceId, other_failed: bool) -> Exemplar {
        Exemplar { failed: self.failed || other_failed, duration: self.duration, trace }
    }
}

// === impl Peers ===

impl Peers {
    fn node(&mut self, name: &str) -> Node {
        if let Some(known) = self.index.get(name) {
            return Node::peer(*known);
        }
        let index = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), index);
        Node::peer(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The caller that is found if so many spans have the ID that a callee refers to; only the last one was running
    /// then.
    fn caller(spans: u32) -> Node {
        let mut edges = EdgeBuilder::default();
        let span = |id, parent, service, kind, start| EdgeSpan {
            id: SpanId::from_bytes([id; 8]),
            parent: SpanId::from_bytes([parent; 8]),
            has_parent: parent > 0,
            start,
            duration: 5,
            service,
            kind,
            flags: 0,
            failed: false,
        };
        let callers = (0..spans).map(|n| span(7, 0, n, SpanKind::Client, u64::from(n) * 10));
        let callee = span(8, 7, spans, SpanKind::Server, u64::from(spans - 1) * 10 + 1);
        for span in callers.chain([callee]) {
            let (trace, peers) = (TraceId::from_bytes([1; 16]), PeerCandidates::default());
            edges.push(trace, span, &peers, std::iter::empty);
        }
        edges.into_edges().complete[0].caller
    }

    #[test]
    fn of_spans_that_share_an_id_the_first_ones_are_looked_at() {
        let most = MAX_CANDIDATES as u32;
        for spans in [1, 2, FEW as u32 + 1, most] {
            assert_eq!(caller(spans), Node::service(spans - 1), "{spans}");
        }
        assert_eq!(caller(most + 1), Node::service(0));
    }
}
