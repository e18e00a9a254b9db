//! Sums up hops by caller and callee: what each side saw, how often requests were tried again, and what each instance of
//! the callee got.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use spandrel_storage::LatencySketch;

use crate::balance::{self, Share, Verdict};
use crate::hops::{self, Hop};
use crate::outcome::{Class, Outcome};
use crate::span::MeshSpan;
use crate::timeline::Timeline;
use crate::workload::Workload;

/// Collects edges, trace by trace.
#[derive(Debug, Default)]
pub struct EdgeCounter {
    edges: BTreeMap<(Party, Party), Edge>,
    /// Pods by their addresses, as far as proxies told them; `None` where two pods had the same one.
    pods: FxHashMap<String, Option<Pod>>,
    proxy_spans: u64,
    left_out: bool,
    /// Absent where nothing is told over time.
    steps: Option<Steps>,
    /// Instances of steps that are still told apart.
    cells: usize,
}

/// The steps of a time line.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// In nanoseconds, not zero.
    pub step: u64,
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

/// What went from one workload to another.
#[derive(Debug, Default)]
pub struct Edge {
    /// One for each request, as the caller's proxy answered it, after all attempts.
    pub client: Side,
    /// One for each attempt that reached a proxy of the callee.
    pub server: Side,
    /// Attempts, as far as anything tells of them.
    pub attempts: u64,
    /// The most attempts of one request.
    pub most_attempts: u64,
    pub retried_requests: u64,
    /// Requests whose attempts went to several instances.
    pub failed_over_requests: u64,
    /// Attempts that no proxy of the callee reported.
    pub unseen_attempts: u64,
    /// Requests without a proxy of the caller that reported them.
    pub requests_without_caller: u64,
    pub cross_zone_attempts: u64,
    pub attempts_of_known_zones: u64,
    /// By the subset that the caller chose.
    pub subsets: BTreeMap<String, u64>,
    /// By pod, or by address where no proxy tells the pod.
    pub instances: BTreeMap<String, Instance>,
    /// Attempts that reached an instance, over time.
    pub timeline: Timeline,
}

/// What one side saw.
#[derive(Debug, Default)]
pub struct Side {
    pub requests: u64,
    pub errors: u64,
    pub client_errors: u64,
    pub injected: u64,
    pub abandoned: u64,
    pub latency: LatencySketch,
    pub codes: BTreeMap<u16, u64>,
    /// By the flags of a request together.
    pub flags: BTreeMap<String, u64>,
}

/// What one instance of a callee got.
#[derive(Debug, Default)]
pub struct Instance {
    pub zone: Option<String>,
    pub revision: Option<String>,
    pub first_attempts: u64,
    pub retries: u64,
    /// Attempts of which nothing tells whether they were the first.
    pub unordered: u64,
    pub seen: Side,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pod {
    name: String,
    workload: Workload,
}

/// Names come from outside. Calls beyond so many edges are one edge between unknown parties,
const MAX_EDGES: usize = 10_000;
/// and instances, subsets and sets of flags of an edge beyond so many are one without a name.
const MAX_NAMES: usize = 1_000;
/// Attempts over time are told for at most so many steps with an attempt.
const MAX_CELLS: usize = 1_000_000;
/// Addresses of more pods are not remembered.
const MAX_PODS: usize = 100_000;

// === impl EdgeCounter ===

impl EdgeCounter {
    /// Counts attempts by step, too.
    pub fn over_time(steps: Steps) -> Self {
        Self { steps: Some(steps), ..Self::default() }
    }

    /// Counts the requests of a trace.
    pub fn add(&mut self, spans: &[MeshSpan]) {
        for span in spans {
            if let (Some(ip), Some(pod)) = (&span.facts.ip, &span.facts.pod) {
                self.see_pod(ip, Pod { name: pod.clone(), workload: span.facts.workload.clone() });
            }
            self.proxy_spans += u64::from(span.facts.role != crate::facts::Role::App);
        }
        for hop in hops::join(spans) {
            let parties = (caller_of(&hop), callee_of(&hop));
            let is_one_too_many = self.edges.len() >= MAX_EDGES && !self.edges.contains_key(&parties);
            self.left_out |= is_one_too_many;
            let parties = if is_one_too_many { (Party::Unknown, Party::Unknown) } else { parties };
            let edge = self.edges.entry(parties).or_default();
            edge.add(&hop);
            if let Some(steps) = self.steps {
                let has_room = self.cells < MAX_CELLS;
                self.left_out |= !has_room && !hop.callees.is_empty();
                self.cells += if has_room { edge.add_to_timeline(&hop, steps) } else { 0 };
            }
        }
    }

    fn see_pod(&mut self, ip: &str, pod: Pod) {
        if let Some(known) = self.pods.get_mut(ip) {
            // Addresses are given again after a while, and to pods of other clusters.
            *known = known.take().filter(|known| *known == pod);
        } else if self.pods.len() < MAX_PODS {
            self.pods.insert(ip.to_owned(), Some(pod));
        }
    }

    /// Whether there were more edges than are told apart.
    pub fn left_out(&self) -> bool {
        self.left_out
    }

    /// Spans of proxies that were seen.
    pub fn proxy_spans(&self) -> u64 {
        self.proxy_spans
    }

    /// The edges, by caller and callee. Addresses have become the workloads and pods that proxies told, whenever they
    /// did.
    pub fn finish(self) -> BTreeMap<(Party, Party), Edge> {
        let mut finished: BTreeMap<(Party, Party), Edge> = BTreeMap::new();
        for ((caller, callee), mut edge) in self.edges {
            let party = |party: Party| {
                match &party {
                    Party::Address(ip) => {
                        pod_at(&self.pods, ip).map(|pod| Party::Workload(pod.workload.clone()))
                    }
                    _ => None,
                }
                .unwrap_or(party)
            };
            edge.name_instances(&self.pods);
            finished.entry((party(caller), party(callee))).or_default().merge(edge);
        }
        finished
    }
}

fn pod_at<'p>(pods: &'p FxHashMap<String, Option<Pod>>, ip: &str) -> Option<&'p Pod> {
    pods.get(ip)?.as_ref()
}

/// The value of a name, or of no name where there are too many of them.
fn named<'m, V: Default>(map: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    let name = if map.len() < MAX_NAMES || map.contains_key(name) { name } else { "" };
    map.entry(name.to_owned()).or_default()
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

/// The pod, or its address where no proxy tells the pod.
fn instance_name(callee: &MeshSpan) -> String {
    callee.facts.pod.clone().or_else(|| callee.facts.ip.clone()).unwrap_or_default()
}

// === impl Edge ===

impl Edge {
    fn add(&mut self, hop: &Hop<'_>) {
        let attempts = hop.attempt_count() as u64;
        self.attempts += attempts;
        self.most_attempts = self.most_attempts.max(attempts);
        self.retried_requests += u64::from(attempts > 1);
        self.failed_over_requests += u64::from(hop.failed_over());
        self.unseen_attempts += attempts - hop.callees.len() as u64;
        match hop.caller {
            Some(caller) => {
                self.client.add(&caller.facts.outcome, caller.duration);
                if let Some(subset) = &caller.facts.subset {
                    *named(&mut self.subsets, subset) += 1;
                }
            }
            None => self.requests_without_caller += 1,
        }
        for (nth, callee) in hop.callees.iter().enumerate() {
            self.server.add(&callee.facts.outcome, callee.duration);
            self.see_instance(callee, hop.nth_attempt(nth));
            if let (Some(from), Some(to)) =
                (hop.caller.and_then(|caller| caller.facts.zone.as_ref()), &callee.facts.zone)
            {
                self.attempts_of_known_zones += 1;
                self.cross_zone_attempts += u64::from(from != to);
            }
        }
    }

    /// Returns how many cells there are more.
    fn add_to_timeline(&mut self, hop: &Hop<'_>, steps: Steps) -> usize {
        let mut more = 0;
        for callee in &hop.callees {
            // A trace may have begun before the range.
            let Some(offset) = callee.start.checked_sub(steps.start) else { continue };
            let name = instance_name(callee);
            let name = if self.instances.contains_key(&name) { &*name } else { "" };
            let step = u32::try_from(offset / steps.step).unwrap_or(u32::MAX);
            more += usize::from(self.timeline.add(step, name));
        }
        more
    }

    fn see_instance(&mut self, callee: &MeshSpan, nth: Option<usize>) {
        let instance = named(&mut self.instances, &instance_name(callee));
        instance.zone = callee.facts.zone.clone().or(instance.zone.take());
        instance.revision = callee.facts.revision.clone().or(instance.revision.take());
        match nth {
            Some(0) => instance.first_attempts += 1,
            Some(_) => instance.retries += 1,
            None => instance.unordered += 1,
        }
        instance.seen.add(&callee.facts.outcome, callee.duration);
    }

    fn name_instances(&mut self, pods: &FxHashMap<String, Option<Pod>>) {
        let instances = std::mem::take(&mut self.instances);
        for (name, instance) in instances {
            let name = pod_at(pods, &name).map_or(name, |pod| pod.name.clone());
            self.instances.entry(name).or_default().merge(instance);
        }
        self.timeline
            .rename(|name| pod_at(pods, name).map_or_else(|| name.to_owned(), |pod| pod.name.clone()));
    }

    fn merge(&mut self, other: Self) {
        self.client.merge(&other.client);
        self.server.merge(&other.server);
        self.attempts += other.attempts;
        self.most_attempts = self.most_attempts.max(other.most_attempts);
        self.retried_requests += other.retried_requests;
        self.failed_over_requests += other.failed_over_requests;
        self.unseen_attempts += other.unseen_attempts;
        self.requests_without_caller += other.requests_without_caller;
        self.cross_zone_attempts += other.cross_zone_attempts;
        self.attempts_of_known_zones += other.attempts_of_known_zones;
        add_counts(&mut self.subsets, &other.subsets);
        for (name, instance) in other.instances {
            self.instances.entry(name).or_default().merge(instance);
        }
        self.timeline.merge(other.timeline);
    }

    /// What the first attempts of each instance say about the balancing of load.
    pub fn balance(&self) -> Verdict {
        let share = |instance: &Instance| Share {
            first_attempts: instance.first_attempts,
            mean_nanos: instance.seen.latency.total() / instance.seen.latency.count().max(1) as f64,
        };
        balance::judge(&self.instances.values().map(share).collect::<Vec<_>>())
    }
}

// === impl Instance ===

impl Instance {
    fn merge(&mut self, other: Self) {
        self.zone = other.zone.or(self.zone.take());
        self.revision = other.revision.or(self.revision.take());
        self.first_attempts += other.first_attempts;
        self.retries += other.retries;
        self.unordered += other.unordered;
        self.seen.merge(&other.seen);
    }
}

// === impl Side ===

impl Side {
    fn add(&mut self, outcome: &Outcome, duration: u64) {
        self.requests += 1;
        match outcome.class() {
            Class::Ok => {}
            Class::ClientError => self.client_errors += 1,
            Class::Injected => self.injected += 1,
            Class::Abandoned => self.abandoned += 1,
            Class::Error => self.errors += 1,
        }
        self.latency.add(duration);
        if let Some(code) = outcome.code {
            *self.codes.entry(code).or_default() += 1;
        }
        *named(&mut self.flags, &outcome.flags) += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.client_errors += other.client_errors;
        self.injected += other.injected;
        self.abandoned += other.abandoned;
        self.latency.merge(&other.latency);
        add_counts(&mut self.codes, &other.codes);
        add_counts(&mut self.flags, &other.flags);
    }
}

fn add_counts<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *counts.entry(key.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Side as ListenerSide;
    use crate::testing::{listener, workload};

    fn only_edge(counter: EdgeCounter) -> ((Party, Party), Edge) {
        let mut edges = counter.finish().into_iter();
        let edge = edges.next().unwrap();
        assert!(edges.next().is_none());
        edge
    }

    const CALLER: ListenerSide = ListenerSide::Caller;
    const CALLEE: ListenerSide = ListenerSide::Callee;

    #[test]
    fn a_retried_request_is_one_request_and_two_attempts() {
        let mut counter = EdgeCounter::default();
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
        caller.facts.attempts = Some(3);
        let mut counter = EdgeCounter::default();
        counter.add(&[caller, listener(2, Some(1), CALLEE, "payment", 200, "-")]);
        let (_, edge) = only_edge(counter);
        assert_eq!((edge.attempts, edge.unseen_attempts, edge.most_attempts), (3, 2, 3));
        // The first may have gone to a dead instance.
        let instance = &edge.instances["payment-2"];
        assert_eq!((instance.first_attempts, instance.retries, instance.unordered), (0, 0, 1));
    }

    #[test]
    fn a_caller_without_a_span_is_known_by_its_address_whenever_that_is_told() {
        let mut counter = EdgeCounter::default();
        counter.add(&[listener(2, Some(7), CALLEE, "payment", 200, "-")]);
        counter.add(&[listener(9, None, CALLER, "cart", 503, "UH")]);
        let edges = counter.finish();
        let [from_cart] = &edges.into_iter().collect::<Vec<_>>()[..] else { panic!("one edge") };
        let ((caller, _), edge) = from_cart;
        assert_eq!(*caller, Party::Workload(workload("cart")));
        assert_eq!((edge.client.requests, edge.server.requests, edge.requests_without_caller), (1, 1, 1));
    }

    #[test]
    fn a_span_that_shares_the_id_of_its_caller_is_its_callee() {
        let mut counter = EdgeCounter::default();
        let (caller, mut callee) =
            (listener(1, None, CALLER, "checkout", 200, "-"), listener(1, None, CALLEE, "payment", 200, "-"));
        callee.facts.pod = Some("payment-x".to_owned());
        counter.add(&[caller, callee]);
        let (_, edge) = only_edge(counter);
        assert_eq!((edge.client.requests, edge.server.requests, edge.requests_without_caller), (1, 1, 0));
    }

    #[test]
    fn callees_that_share_ids_in_a_chain_belong_to_their_own_callers() {
        let mut counter = EdgeCounter::default();
        let mut spans = vec![
            listener(1, None, CALLER, "gateway", 200, "-"),
            listener(1, None, CALLEE, "checkout", 200, "-"),
            listener(2, Some(1), CALLER, "checkout", 200, "-"),
            listener(2, Some(1), CALLEE, "payment", 200, "-"),
        ];
        spans[0].facts.callee = Some(workload("checkout"));
        counter.add(&spans);
        for ((caller, callee), edge) in counter.finish() {
            assert_eq!(
                (edge.client.requests, edge.server.requests, edge.retried_requests),
                (1, 1, 0),
                "{caller:?} {callee:?}"
            );
        }
    }

    #[test]
    fn an_address_of_two_pods_names_none() {
        let mut counter = EdgeCounter::default();
        let mut other = listener(9, None, CALLER, "cart", 200, "-");
        counter.add(&[other.clone()]);
        other.facts.pod = Some("cart-other".to_owned());
        counter.add(&[other]);
        counter.add(&[listener(2, Some(7), CALLEE, "payment", 200, "-")]);
        let callers: Vec<Party> = counter.finish().into_keys().map(|(caller, _)| caller).collect();
        assert!(callers.contains(&Party::Address("10.0.0.9".to_owned())), "{callers:?}");
    }

    #[test]
    fn invented_names_are_bounded() {
        let mut counter = EdgeCounter::default();
        for number in 0..2 * MAX_NAMES {
            let mut callee = listener(2, Some(1), CALLEE, "payment", 200, &format!("F{number}"));
            callee.facts.pod = Some(format!("pod-{number}"));
            callee.facts.ip = None;
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
        let mut counter = EdgeCounter::default();
        for number in 1..5 {
            let mut span = listener(number, None, CALLER, "gateway", 404, "NR");
            span.facts.callee = Some(workload(&format!("invented-{number}")));
            counter.add(&[span]);
        }
        let ((_, callee), edge) = only_edge(counter);
        assert_eq!((callee, edge.client.requests, edge.client.client_errors), (Party::NoRoute, 4, 4));
    }
}
