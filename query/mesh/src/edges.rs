//! Sums up hops by caller and callee: what each side saw, how often requests were tried again, and what each instance of
//! the callee got.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use spandrel_proto::{TimeRange, UnixNanos};

use crate::edge::Edge;
use crate::facts::Role;
use crate::hops::{self, Hop};
use crate::span::MeshSpan;
use crate::workload::{Namespaces, Workload};

/// Collects edges, trace by trace.
#[derive(Debug)]
pub struct EdgeCounter {
    steps: Steps,
    over_time: OverTime,
    edges: BTreeMap<(Party, Party), Edge>,
    /// Pods by their addresses, as far as proxies told them; `None` where two pods had the same one.
    pods: FxHashMap<String, Option<Pod>>,
    /// The names under which the spans of a workload are stored.
    services: BTreeMap<Workload, BTreeSet<String>>,
    proxy_spans: u64,
    left_out: bool,
    room: Room,
    range: TimeRange,
}

/// What is still kept one by one.
#[derive(Debug)]
pub(crate) struct Room {
    /// Steps of edges, and instances of steps.
    pub(crate) cells: usize,
    /// Attempts for a replay.
    pub(crate) attempts: usize,
}

/// What is told over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverTime {
    /// The load of edges.
    Loads,
    /// What each instance got, too.
    Instances,
}

/// The steps of a range of time.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// In nanoseconds, not zero.
    pub step: u64,
}

/// What was counted.
#[derive(Debug)]
pub struct Counted {
    /// By caller and callee. Addresses have become the workloads and pods that proxies told, whenever they did.
    pub edges: BTreeMap<(Party, Party), Edge>,
    /// The names under which the spans of a workload are stored.
    pub services: BTreeMap<Workload, BTreeSet<String>>,
    /// Spans of proxies that were seen.
    pub proxy_spans: u64,
    /// Whether there was more than is told apart.
    pub left_out: bool,
}

/// One end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Workload(Workload),
    /// A peer whose proxy reports nothing, by its address.
    Address(String),
    /// The callee of a request that no route fits.
    NoRoute,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pod {
    name: String,
    workload: Workload,
}

/// Names come from outside. Calls beyond so many edges are one edge between unknown parties.
const MAX_EDGES: usize = 10_000;
/// What is told over time is told for at most so many steps with an attempt.
const MAX_CELLS: usize = 1_000_000;
/// Attempts of at most so many requests are replayed.
const MAX_REPLAYED: usize = 500_000;
/// Addresses of more pods are not remembered,
const MAX_PODS: usize = 100_000;
/// nor are the names of more workloads, and of each more than so many.
const MAX_WORKLOADS: usize = 10_000;
const MAX_SERVICES: usize = 20;
/// Bytes of a name and what belongs to it, about.
const NAME_BYTES: usize = 200;

// === impl EdgeCounter ===

impl EdgeCounter {
    /// Counts requests that begin in a range. Loads are counted by step.
    pub fn new(range: TimeRange, steps: Steps, over_time: OverTime) -> Self {
        Self {
            range,
            steps,
            over_time,
            edges: BTreeMap::new(),
            pods: FxHashMap::default(),
            services: BTreeMap::new(),
            proxy_spans: 0,
            left_out: false,
            room: Room { cells: MAX_CELLS, attempts: MAX_REPLAYED },
        }
    }

    /// Counts the requests of a trace.
    pub fn add(&mut self, spans: &[MeshSpan]) {
        let range = self.range;
        for span in spans.iter().filter(|span| range.contains(UnixNanos(span.start))) {
            if let (Some(ip), Some(pod)) = (&span.facts.ip, &span.facts.pod) {
                self.see_pod(ip, &Pod { name: pod.clone(), workload: span.facts.workload.clone() });
            }
            if let Some(service) = &span.facts.service {
                self.see_service(&span.facts.workload, service);
            }
            self.proxy_spans += u64::from(span.facts.role != Role::App);
        }
        let begins = |hop: &Hop<'_>| hop.first().is_some_and(|span| range.contains(UnixNanos(span.start)));
        for hop in hops::join(spans).into_iter().filter(begins) {
            let parties = self.edge((caller_of(&hop), callee_of(&hop)));
            let edge = self.edges.entry(parties).or_default();
            edge.add(&hop);
            self.left_out |= !edge.add_load(&hop, self.steps, &mut self.room);
            edge.add_to_replay(&hop, &mut self.room);
            if self.over_time == OverTime::Instances {
                self.left_out |= !edge.add_to_timeline(&hop, self.steps, &mut self.room);
            }
        }
    }

    /// Adds what another one has counted. Its steps are those of this one, or parts of them.
    pub fn merge(&mut self, other: &Self) {
        for (ip, pod) in &other.pods {
            match pod {
                Some(pod) => self.see_pod(ip, pod),
                None => drop(self.pods.insert(ip.clone(), None)),
            }
        }
        for (workload, names) in &other.services {
            names.iter().for_each(|name| self.see_service(workload, name));
        }
        let (own, theirs) = (self.steps, other.steps);
        let step = |step: u32| own.of(theirs.start_of(step)).unwrap_or(0);
        for (parties, edge) in &other.edges {
            let known = self.edge(parties.clone());
            self.left_out |=
                !self.edges.entry(known).or_default().merge(edge, self.over_time, &mut self.room, step);
        }
        self.proxy_spans += other.proxy_spans;
        self.left_out |= other.left_out;
    }

    /// Ends the replays of attempts, so that less is kept of them.
    pub fn settle(&mut self) {
        self.edges.values_mut().for_each(Edge::settle);
    }

    /// The bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        let names = self.pods.len() + self.services.len();
        names * NAME_BYTES + self.edges.values().map(Edge::bytes).sum::<usize>()
    }

    fn see_pod(&mut self, ip: &str, pod: &Pod) {
        if let Some(known) = self.pods.get_mut(ip) {
            // Addresses are given again after a while, and to pods of other clusters.
            *known = known.take().filter(|known| known == pod);
        } else if self.pods.len() < MAX_PODS {
            self.pods.insert(ip.to_owned(), Some(pod.clone()));
        }
    }

    /// The parties themselves, or unknown ones if there are too many edges.
    fn edge(&mut self, parties: (Party, Party)) -> (Party, Party) {
        let is_one_too_many = self.edges.len() >= MAX_EDGES && !self.edges.contains_key(&parties);
        self.left_out |= is_one_too_many;
        if is_one_too_many { (Party::Unknown, Party::Unknown) } else { parties }
    }

    fn see_service(&mut self, workload: &Workload, service: &String) {
        if let Some(known) = self.services.get_mut(workload) {
            if known.len() < MAX_SERVICES && !known.contains(service) {
                known.insert(service.clone());
            }
        } else if self.services.len() < MAX_WORKLOADS {
            self.services.insert(workload.clone(), BTreeSet::from([service.clone()]));
        }
    }

    /// What was counted.
    pub fn finish(self) -> Counted {
        let named = |party: &Party| match party {
            Party::Workload(workload) => Some(workload.clone()),
            _ => None,
        };
        let parties = self.edges.keys().flat_map(|(caller, callee)| [caller, callee]);
        let namespaces = Namespaces::of(parties.filter_map(named).chain(self.services.keys().cloned()));
        let pod_at = |ip: &str| self.pods.get(ip).and_then(Option::as_ref);
        let party = |party: Party| match party {
            Party::Address(ip) => match pod_at(&ip) {
                Some(pod) => Party::Workload(namespaces.complete(pod.workload.clone())),
                None => Party::Address(ip),
            },
            Party::Workload(workload) => Party::Workload(namespaces.complete(workload)),
            other => other,
        };
        let mut edges: BTreeMap<(Party, Party), Edge> = BTreeMap::new();
        for ((caller, callee), mut edge) in self.edges {
            edge.name_instances(|name| pod_at(name).map_or_else(|| name.to_owned(), |pod| pod.name.clone()));
            let mut room = Room { cells: usize::MAX, attempts: usize::MAX };
            let known = edges.entry((party(caller), party(callee))).or_default();
            known.merge(&edge, self.over_time, &mut room, |step| step);
        }
        let mut services: BTreeMap<Workload, BTreeSet<String>> = BTreeMap::new();
        for (workload, names) in self.services {
            services.entry(namespaces.complete(workload)).or_default().extend(names);
        }
        Counted { edges, services, proxy_spans: self.proxy_spans, left_out: self.left_out }
    }
}

pub(crate) fn caller_of(hop: &Hop<'_>) -> Party {
    match (hop.caller, hop.callees.first()) {
        (Some(caller), _) => Party::Workload(caller.facts.workload.clone()),
        (None, Some(callee)) => callee.facts.peer_ip.clone().map_or(Party::Unknown, Party::Address),
        (None, None) => Party::Unknown,
    }
}

/// A callee that reports knows its name best.
pub(crate) fn callee_of(hop: &Hop<'_>) -> Party {
    if hop.caller.is_some_and(|caller| caller.facts.outcome.has_flag("NR")) {
        return Party::NoRoute;
    }
    let reported = hop.callees.first().map(|callee| callee.facts.workload.clone());
    let named = || hop.caller.and_then(|caller| caller.facts.callee.clone());
    reported.or_else(named).map_or(Party::Unknown, Party::Workload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Side as ListenerSide;
    use crate::edge::MAX_NAMES;
    use crate::node::ProxyKind;
    use crate::testing::{listener, workload};

    fn counter() -> EdgeCounter {
        let always = TimeRange { start: UnixNanos(0), end: None };
        EdgeCounter::new(always, Steps { start: 0, step: 60_000_000_000 }, OverTime::Loads)
    }

    fn only_edge(counter: EdgeCounter) -> ((Party, Party), Edge) {
        let mut edges = counter.finish().edges.into_iter();
        let edge = edges.next().unwrap();
        assert!(edges.next().is_none());
        edge
    }

    const CALLER: ListenerSide = ListenerSide::Caller;
    const CALLEE: ListenerSide = ListenerSide::Callee;

    #[test]
    fn a_retried_request_is_one_request_and_two_attempts() {
        let mut counter = counter();
        counter.add(&[
            listener(1, None, CALLER, "checkout", 200, "-"),
            listener(3, Some(1), CALLEE, "payment", 200, "-"),
            listener(2, Some(1), CALLEE, "payment", 503, "UF"),
        ]);
        let ((caller, callee), edge) = only_edge(counter);
        assert_eq!(
            (caller, callee),
            (Party::Workload(workload("checkout")), Party::Workload(workload("payment")))
        );
        assert_eq!((edge.client.requests, edge.client.errors), (1, 0));
        assert_eq!((edge.server.requests, edge.server.errors), (2, 1));
        assert_eq!((edge.attempts, edge.retried_requests, edge.failed_over_requests), (2, 1, 1));
        assert_eq!((edge.instances["payment-2"].first_attempts, edge.instances["payment-2"].retries), (1, 0));
        assert_eq!((edge.instances["payment-3"].first_attempts, edge.instances["payment-3"].retries), (0, 1));
    }

    #[test]
    fn attempts_that_reach_no_proxy_are_counted_where_the_caller_tells_of_them() {
        let mut caller = listener(1, None, CALLER, "checkout", 200, "-");
        caller.told().attempts = Some(3);
        let mut counter = counter();
        counter.add(&[caller, listener(2, Some(1), CALLEE, "payment", 200, "-")]);
        let (_, edge) = only_edge(counter);
        assert_eq!((edge.attempts, edge.unseen_attempts, edge.most_attempts), (3, 2, 3));
        // The first may have gone to a dead instance.
        let instance = &edge.instances["payment-2"];
        assert_eq!((instance.first_attempts, instance.retries, instance.unordered), (0, 0, 1));
    }

    #[test]
    fn a_caller_without_a_span_is_known_by_its_address_whenever_that_is_told() {
        let mut counter = counter();
        counter.add(&[listener(2, Some(7), CALLEE, "payment", 200, "-")]);
        counter.add(&[listener(9, None, CALLER, "cart", 503, "UH")]);
        let edges = counter.finish().edges;
        let [from_cart] = &edges.into_iter().collect::<Vec<_>>()[..] else { panic!("one edge") };
        let ((caller, _), edge) = from_cart;
        assert_eq!(*caller, Party::Workload(workload("cart")));
        assert_eq!((edge.client.requests, edge.server.requests, edge.requests_without_caller), (1, 1, 1));
    }

    #[test]
    fn a_span_that_shares_the_id_of_its_caller_is_its_callee() {
        let mut counter = counter();
        let (caller, mut callee) =
            (listener(1, None, CALLER, "checkout", 200, "-"), listener(1, None, CALLEE, "payment", 200, "-"));
        callee.told().pod = Some("payment-x".to_owned());
        counter.add(&[caller, callee]);
        let (_, edge) = only_edge(counter);
        assert_eq!((edge.client.requests, edge.server.requests, edge.requests_without_caller), (1, 1, 0));
    }

    #[test]
    fn callees_that_share_ids_in_a_chain_belong_to_their_own_callers() {
        let mut counter = counter();
        let mut spans = vec![
            listener(1, None, CALLER, "gateway", 200, "-"),
            listener(1, None, CALLEE, "checkout", 200, "-"),
            listener(2, Some(1), CALLER, "checkout", 200, "-"),
            listener(2, Some(1), CALLEE, "payment", 200, "-"),
        ];
        spans[0].told().callee = Some(workload("checkout"));
        counter.add(&spans);
        for ((caller, callee), edge) in counter.finish().edges {
            assert_eq!(
                (edge.client.requests, edge.server.requests, edge.retried_requests),
                (1, 1, 0),
                "{caller:?} {callee:?}"
            );
        }
    }

    #[test]
    fn a_waypoint_speaks_for_both_sides() {
        let waypoint = |number: u8, parent: Option<u8>| {
            let mut span = listener(number, parent, CALLER, "checkout", 200, "-");
            span.told().role = Role::Listener(ProxyKind::Waypoint, CALLER);
            (span.told().ip, span.told().upstream_pod) = (None, Some("payment-x".to_owned()));
            span
        };
        let mut counter = counter();
        counter.add(&[waypoint(1, None)]);
        let (parties, edge) = only_edge(counter);
        assert_eq!(parties, (Party::Workload(workload("checkout")), Party::Workload(workload("payment"))));
        assert_eq!((edge.client.requests, edge.server.requests), (1, 0));
        assert_eq!(edge.instances["payment-x"].first_attempts, 1);

        let mut counter = self::counter();
        counter.add(&[
            listener(1, None, CALLER, "checkout", 200, "-"),
            waypoint(2, Some(1)),
            listener(3, Some(2), CALLEE, "payment", 200, "-"),
        ]);
        let (_, edge) = only_edge(counter);
        assert_eq!((edge.client.requests, edge.server.requests, edge.attempts), (1, 1, 1));
    }

    #[test]
    fn an_address_of_two_pods_names_none() {
        let mut counter = counter();
        let mut other = listener(9, None, CALLER, "cart", 200, "-");
        counter.add(&[other.clone()]);
        other.told().pod = Some("cart-other".to_owned());
        counter.add(&[other]);
        counter.add(&[listener(2, Some(7), CALLEE, "payment", 200, "-")]);
        let callers: Vec<Party> = counter.finish().edges.into_keys().map(|(caller, _)| caller).collect();
        assert!(callers.contains(&Party::Address("10.0.0.9".to_owned())), "{callers:?}");
    }

    #[test]
    fn invented_names_are_bounded() {
        let mut counter = counter();
        for number in 0..2 * MAX_NAMES {
            let mut callee = listener(2, Some(1), CALLEE, "payment", 200, &format!("F{number}"));
            callee.told().pod = Some(format!("pod-{number}"));
            callee.told().ip = None;
            counter.add(&[listener(1, None, CALLER, "checkout", 200, "-"), callee]);
        }
        let (_, edge) = only_edge(counter);
        assert_eq!(edge.server.requests, 2 * MAX_NAMES as u64);
        assert!(edge.instances.len() <= MAX_NAMES + 1 && edge.server.flags.len() <= MAX_NAMES + 1);
        assert_eq!(
            edge.instances.values().map(|instance| instance.first_attempts).sum::<u64>(),
            2 * MAX_NAMES as u64
        );
    }

    #[test]
    fn hosts_that_no_route_fits_make_one_edge() {
        let mut counter = counter();
        for number in 1..5 {
            let mut span = listener(number, None, CALLER, "gateway", 404, "NR");
            span.told().callee = Some(workload(&format!("invented-{number}")));
            counter.add(&[span]);
        }
        let ((_, callee), edge) = only_edge(counter);
        assert_eq!((callee, edge.client.requests, edge.client.client_errors), (Party::NoRoute, 4, 4));
    }
}
