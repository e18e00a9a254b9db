//! Joins the spans of one trace: a request as its caller saw it, and the attempts that reached a callee.

use rustc_hash::FxHashMap;
use spandrel_proto::SpanId;

use crate::cluster::Side;
use crate::facts::Role;
use crate::node::ProxyKind;
use crate::span::MeshSpan;

/// One request from a workload to another.
#[derive(Debug)]
pub struct Hop<'t> {
    /// The listener of the caller's proxy; absent if it did not report.
    pub caller: Option<&'t MeshSpan>,
    /// Listeners of callees, one for each attempt that reached a proxy, by start.
    pub callees: Vec<&'t MeshSpan>,
    /// Attempts that the caller's proxy reported one by one, by start.
    pub attempts: Vec<&'t MeshSpan>,
}

/// Whether a callee's listener is the one that an attempt reached: below it, or under the same ID, as Zipkin has it.
pub(crate) fn is_reached_by(callee: &MeshSpan, attempt: &MeshSpan) -> bool {
    callee.id == attempt.id || callee.parent == Some(attempt.id)
}

pub(crate) fn is_waypoint(span: &MeshSpan) -> bool {
    matches!(span.facts.role, Role::Listener(ProxyKind::Waypoint, _))
}

/// The requests of a trace, in no particular order.
pub fn join(spans: &[MeshSpan]) -> Vec<Hop<'_>> {
    let mut hops: Vec<Hop<'_>> = Vec::new();
    let mut by_caller: FxHashMap<SpanId, usize> = FxHashMap::default();
    let callers = || spans.iter().filter(|span| matches!(span.facts.role, Role::Listener(_, Side::Caller)));
    for span in callers().filter(|span| !is_waypoint(span)) {
        by_caller.insert(span.id, hops.len());
        hops.push(Hop { caller: Some(span), callees: Vec::new(), attempts: Vec::new() });
    }
    let mut by_attempt: FxHashMap<SpanId, usize> = FxHashMap::default();
    for span in spans.iter().filter(|span| span.facts.role == Role::Attempt(Side::Caller)) {
        if let Some(hop) = span.parent.and_then(|parent| by_caller.get(&parent)) {
            by_attempt.insert(span.id, *hop);
        }
    }
    // A waypoint below a proxy of the caller is a part of that one's request; else it speaks for the caller.
    for span in callers().filter(|span| is_waypoint(span)) {
        let above = span.parent.and_then(|parent| by_caller.get(&parent).or_else(|| by_attempt.get(&parent)));
        let hop = above.copied().unwrap_or_else(|| {
            hops.push(Hop { caller: Some(span), callees: Vec::new(), attempts: Vec::new() });
            hops.len() - 1
        });
        by_caller.insert(span.id, hop);
    }
    for span in spans.iter().filter(|span| span.facts.role == Role::Attempt(Side::Caller)) {
        if let Some(hop) = span.parent.and_then(|parent| by_caller.get(&parent)) {
            by_attempt.insert(span.id, *hop);
            hops[*hop].attempts.push(span);
        }
    }
    for span in spans.iter().filter(|span| matches!(span.facts.role, Role::Listener(_, Side::Callee))) {
        let below = |id: SpanId| by_caller.get(&id).or_else(|| by_attempt.get(&id)).copied();
        // Zipkin's callee may share the ID of its caller, and then has the same parent as that one.
        match below(span.id).or_else(|| span.parent.and_then(below)) {
            Some(hop) => hops[hop].callees.push(span),
            None => hops.push(Hop { caller: None, callees: vec![span], attempts: Vec::new() }),
        }
    }
    for hop in &mut hops {
        hop.attempts.sort_by_key(|span| (span.start, span.id));
        // The clock of the caller decides where it tells of an attempt; clocks of callees differ.
        let made = |span: &MeshSpan| hop.attempts.iter().find(|made| is_reached_by(span, made));
        hop.callees.sort_by_cached_key(|span| (made(span).map_or(span.start, |made| made.start), span.id));
    }
    hops
}

// === impl Hop ===

impl<'t> Hop<'t> {
    /// The span that tells most of the request: the caller's listener, else the first callee's.
    pub fn first(&self) -> Option<&'t MeshSpan> {
        self.caller.or(self.callees.first().copied())
    }

    /// Nanoseconds that attempts took before the last one.
    pub(crate) fn earlier_nanos(&self) -> u64 {
        let told = if self.attempts.is_empty() { &self.callees } else { &self.attempts };
        told.split_last().map_or(0, |(_, earlier)| {
            earlier.iter().fold(0, |sum: u64, attempt| sum.saturating_add(attempt.duration))
        })
    }

    /// When a callee's attempt began and ended by the clock of the caller, as well as spans tell it.
    pub(crate) fn times_of_callee(&self, callee: usize) -> (u64, u64) {
        let reached = self.callees[callee];
        let lasting_from = |start: u64| (start, start.saturating_add(reached.duration));
        let made = self.attempts.iter().find(|made| is_reached_by(reached, made));
        match (made, self.caller) {
            (Some(made), _) => (made.start, made.start.saturating_add(made.duration)),
            (None, Some(caller)) if callee == 0 => lasting_from(caller.start),
            (None, Some(caller)) => {
                let end = caller.start.saturating_add(caller.duration);
                lasting_from(end.saturating_sub(reached.duration))
            }
            (None, None) => lasting_from(reached.start),
        }
    }

    /// Whether the caller's proxy answered without any attempt, as far as it tells.
    pub fn answered_by_proxy(&self) -> bool {
        let Some(caller) = self.caller.filter(|_| self.callees.is_empty() && self.attempts.is_empty()) else {
            return false;
        };
        let facts = &caller.facts;
        let refused = |flag: &str| !matches!(flag, "DI" | "URX" | "DC" | "UF" | "UC" | "UT" | "UR");
        facts.attempts == Some(0) || (facts.attempts.is_none() && facts.outcome.each_flag().any(refused))
    }

    /// How many attempts there were, as far as anything tells of them.
    pub fn attempt_count(&self) -> usize {
        let counted = self.caller.and_then(|caller| caller.facts.attempts).unwrap_or(0) as usize;
        counted.max(self.callees.len()).max(self.attempts.len())
    }

    /// Which of the attempts a callee answered, from 0; `None` where earlier ones may have reached no proxy and nothing
    /// tells their order.
    pub fn nth_attempt(&self, callee: usize) -> Option<usize> {
        if self.attempt_count() == self.callees.len() {
            return Some(callee);
        }
        self.attempts.iter().position(|attempt| is_reached_by(self.callees[callee], attempt))
    }

    /// Whether attempts went to several instances.
    pub fn failed_over(&self) -> bool {
        let instance = |span: &&MeshSpan| span.facts.pod.clone();
        let address = |span: &&MeshSpan| span.facts.upstream_ip.clone();
        several(self.callees.iter().filter_map(instance)) || several(self.attempts.iter().filter_map(address))
    }
}

fn several(mut all: impl Iterator<Item = String>) -> bool {
    let Some(first) = all.next() else { return false };
    all.any(|other| other != first)
}
