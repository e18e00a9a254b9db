//! Edges of a block: the calls between services, with counts, errors and latencies.
//!
//! An edge goes from the service of a *caller* span to the service of a *callee* span, or to the name of a peer that
//! sends no spans. Its start and duration are those of the callee if there is one, else those of the caller, and it has
//! failed when either side has. The rules are those of `docs/semantics.md#service-map`. These spans make an edge:
//!
//! | what | kind | as in |
//! | --- | --- | --- |
//! | a span whose parent is of another service, whatever the kinds | rpc; messaging when PRODUCER or CONSUMER takes part | Jaeger's dependencies; kinds of Tempo's service graph |
//! | a CONSUMER, or a CLIENT that receives, with a link to a PRODUCER of another service | messaging | OpenTelemetry's messaging conventions |
//! | a CLIENT that receives, whose parent is a PRODUCER of another service | messaging | the same |
//! | a CLIENT with `db.*` that no service answers | database, at once | Tempo |
//! | another CLIENT or PRODUCER that no service answers and that names its peer | virtual, after a waiting time | Tempo |
//! | a parentless SERVER, CONSUMER or CLIENT that receives, without links | virtual, from its peer or from `user` | Tempo |
//!
//! The attribute `messaging.operation.type` of a CLIENT tells whether it receives, sends or settles. One that sends or
//! settles calls a broker, which is no callee, so it makes no virtual edge. One that receives counts as a consumer.
//! Unpaired spans do not record whether they receive: a receiver refers to its parent as if by a link
//! ([`Reference::Link`]), so that the rules are the same within a block and across blocks.
//!
//! Calls of a service to itself are no edges. A SERVER that shares its span ID with a CLIENT of
//! another service (Zipkin) is that client's callee. A span that is neither SERVER nor CONSUMER and
//! whose flags say that its parent is local is no callee.
//!
//! A block contains a part of a trace. It stores the edges of which it has both spans, summed by minute, and the
//! unpaired spans: callees whose caller is not in the block ([`OpenCallee`]), callers that no span of the block answers
//! ([`OpenCaller`]). All other fields of an unpaired span are in the columns of its row. Readers pair spans across
//! blocks with the same rules ([`Relation`]); a merge that brings both spans into one block computes the edge again.
//! Spans that share an ID are distinguished within a block only.
//!
//! Not here: reading blocks, the clock, and how long an unpaired span waits for its other side.

mod builder;
mod peers;
mod section;
mod totals;

pub use builder::{EdgeBuilder, EdgeSpan};
pub(crate) use peers::is_peer_key;
pub use peers::{PeerCandidates, names_peer};
pub use section::{BlockEdges, EdgeRow, Node, OpenCallee, OpenCaller};
pub use totals::EdgeTotals;

use serde::{Deserialize, Serialize};
use spandrel_proto::otlp::SpanKind;

/// The kind of call of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EdgeKind {
    /// A service called another.
    Rpc,
    /// A message went from one service to another.
    Messaging,
    /// A service called a database that sends no spans.
    Database,
    /// One side sends no spans.
    Virtual,
}

/// How a callee refers to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reference {
    /// As its parent.
    Parent,
    /// By a link, or as the parent of a CLIENT that receives.
    Link,
}

/// How a callee relates to the span that it refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// The edge between them, if there is one.
    pub edge: Option<EdgeKind>,
    /// Whether the callee answers the caller, which then makes no database or virtual edge.
    pub answers: bool,
}

/// The caller of a trace's entry span if no attribute names one; Tempo uses the same name.
pub const USER: &str = "user";

const NEITHER: Relation = Relation { edge: None, answers: false };

// === impl EdgeKind ===

impl EdgeKind {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rpc => "rpc",
            Self::Messaging => "messaging",
            Self::Database => "database",
            Self::Virtual => "virtual",
        }
    }
}

// === impl Relation ===

impl Relation {
    /// Applies the rules to a caller and a callee that refers to it; `same_service` says that both have the same
    /// service. Only consumers refer by a link, whatever their kind is.
    pub fn of(by: Reference, caller: SpanKind, callee: SpanKind, same_service: bool) -> Self {
        let messaging = caller == SpanKind::Producer || callee == SpanKind::Consumer;
        match by {
            Reference::Link if caller != SpanKind::Producer => NEITHER,
            _ if same_service => {
                let answers =
                    by == Reference::Link || matches!(callee, SpanKind::Server | SpanKind::Consumer);
                Self { edge: None, answers }
            }
            _ => {
                let edge = if messaging { EdgeKind::Messaging } else { EdgeKind::Rpc };
                Self { edge: Some(edge), answers: true }
            }
        }
    }
}

/// Whether a span may be called from another service.
pub(crate) fn may_be_called(kind: SpanKind, flags: u32) -> bool {
    const HAS_IS_REMOTE: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    matches!(kind, SpanKind::Server | SpanKind::Consumer)
        || flags & (HAS_IS_REMOTE | IS_REMOTE) != HAS_IS_REMOTE
}

/// A span that a callee may refer to, among several with the same ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Whether its service is that of the callee.
    pub same_service: bool,
    /// Its start, in nanoseconds.
    pub start: u64,
    /// Its duration, in nanoseconds.
    pub duration: u64,
}

/// Chooses the span that a callee refers to among several with the same ID: one of its own service, else one whose
/// interval contains the callee's start, else the earliest. Assembly of traces uses the same rule.
pub fn choose(candidates: impl Iterator<Item = Candidate>, callee_start: u64) -> Option<usize> {
    let rank = |candidate: &Candidate| {
        let end = candidate.start.saturating_add(candidate.duration);
        let contains = candidate.start <= callee_start && callee_start <= end;
        (!candidate.same_service, !contains, candidate.start)
    };
    candidates.enumerate().min_by_key(|(_, candidate)| rank(candidate)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use SpanKind::*;

    use super::*;

    #[test]
    fn the_rules() {
        let edge = |by, caller, callee| Relation::of(by, caller, callee, false).edge;
        assert_eq!(edge(Reference::Parent, Client, Server), Some(EdgeKind::Rpc));
        assert_eq!(edge(Reference::Parent, Internal, Internal), Some(EdgeKind::Rpc));
        assert_eq!(edge(Reference::Parent, Producer, Consumer), Some(EdgeKind::Messaging));
        assert_eq!(edge(Reference::Parent, Internal, Consumer), Some(EdgeKind::Messaging));
        assert_eq!(edge(Reference::Link, Producer, Consumer), Some(EdgeKind::Messaging));
        assert_eq!(edge(Reference::Link, Server, Consumer), None);
        assert_eq!(edge(Reference::Link, Producer, Client), Some(EdgeKind::Messaging), "it receives");
        let received = Relation::of(Reference::Link, Producer, Client, true);
        assert_eq!(received, Relation { edge: None, answers: true });
        let within = |caller, callee| Relation::of(Reference::Parent, caller, callee, true);
        assert_eq!(within(Client, Server), Relation { edge: None, answers: true });
        assert_eq!(within(Client, Client), Relation { edge: None, answers: false });
    }

    #[test]
    fn flags_keep_local_children_out() {
        assert!(may_be_called(Server, 0x101));
        assert!(may_be_called(Internal, 0) && may_be_called(Internal, 0x300));
        assert!(!may_be_called(Internal, 0x101) && !may_be_called(Client, 0x100));
    }

    #[test]
    fn a_caller_is_chosen_as_in_a_tree() {
        let candidate = |same_service, start, duration| Candidate { same_service, start, duration };
        let far = candidate(false, 0, 5);
        assert_eq!(choose([].into_iter(), 7), None);
        assert_eq!(choose([candidate(false, 9, 5), far].into_iter(), 7), Some(1));
        assert_eq!(choose([far, candidate(false, 6, 5)].into_iter(), 7), Some(1));
        assert_eq!(choose([candidate(false, 6, 5), candidate(true, 9, 1)].into_iter(), 7), Some(1));
    }
}
