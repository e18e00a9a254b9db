//! One edge: what went from one workload to another, as both sides saw it, by instance and over time.

use std::collections::BTreeMap;

use spandrel_storage::LatencySketch;

use crate::balance::Share;
use crate::edges::{OverTime, Room, Steps};
use crate::hops::{Hop, is_waypoint};
use crate::outcome::{Class, Outcome};
use crate::replay::{Replay, Sent};
use crate::span::MeshSpan;
use crate::storms::Loads;
use crate::timeline::Timeline;

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
    /// Requests that callers report, over time.
    pub loads: Loads,
    replay: Replay,
    /// What least request would have given each instance, of attempts that have been replayed.
    replayed: BTreeMap<String, f64>,
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

/// What memory takes for an edge with its sketches, for an instance, a step of something, and an attempt, about.
const EDGE_BYTES: usize = 6_000;
const INSTANCE_BYTES: usize = 2_500;
const NAME_BYTES: usize = 100;
const CELL_BYTES: usize = 100;
const ATTEMPT_BYTES: usize = 100;
/// Instances, subsets and sets of flags of an edge beyond so many are one without a name.
pub(crate) const MAX_NAMES: usize = 1_000;

/// The value of a name, or of no name where there are too many of them.
fn named<'m, V: Default>(map: &'m mut BTreeMap<String, V>, name: &str) -> &'m mut V {
    let name = if map.len() < MAX_NAMES || map.contains_key(name) { name } else { "" };
    map.entry(name.to_owned()).or_default()
}

/// The pod, or its address where no proxy tells the pod.
fn instance_name(callee: &MeshSpan) -> String {
    callee.facts.pod.clone().or_else(|| callee.facts.ip.clone()).unwrap_or_default()
}

// === impl Edge ===

impl Edge {
    pub(crate) fn add(&mut self, hop: &Hop<'_>) {
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
        self.see_chosen(hop);
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

    /// Counts the load of a request whose caller reports; returns whether there was room.
    pub(crate) fn add_load(&mut self, hop: &Hop<'_>, steps: Steps, room: &mut Room) -> bool {
        let Some(caller) = hop.caller else { return true };
        // A trace may have begun before the range.
        let Some(step) = steps.of(caller.start) else { return true };
        if room.cells == 0 {
            return false;
        }
        let (load, is_new) = self.loads.at(step);
        room.cells -= usize::from(is_new);
        let attempts = hop.attempt_count() as u64;
        load.requests += 1;
        load.attempts += attempts;
        load.extra_nanos = load.extra_nanos.saturating_add(hop.earlier_nanos());
        if attempts > 1 {
            match caller.facts.outcome.class() {
                Class::Ok | Class::ClientError => load.rescued += 1,
                Class::Error => load.failed += 1,
                Class::Injected | Class::Abandoned => {}
            }
        }
        true
    }

    /// Keeps the attempts of a request of which it is known who made them and in which order.
    pub(crate) fn add_to_replay(&mut self, hop: &Hop<'_>, room: &mut Room) {
        let Some(caller) = hop.caller.and_then(|caller| caller.facts.pod.as_deref()) else { return };
        if room.attempts < hop.callees.len() {
            self.replay.cut();
            return;
        }
        room.attempts -= hop.callees.len();
        for (nth, callee) in hop.callees.iter().enumerate() {
            let (start, end) = hop.times_of_callee(nth);
            let instance = instance_name(callee);
            let is_first = hop.nth_attempt(nth) == Some(0);
            self.replay.add(caller, Sent { start, end, instance, is_first });
        }
    }

    /// Returns whether there was room.
    pub(crate) fn add_to_timeline(&mut self, hop: &Hop<'_>, steps: Steps, room: &mut Room) -> bool {
        for callee in &hop.callees {
            let Some(step) = steps.of(callee.start) else { continue };
            if room.cells == 0 {
                return false;
            }
            let name = instance_name(callee);
            let name = if self.instances.contains_key(&name) { &*name } else { "" };
            room.cells -= usize::from(self.timeline.add(step, name));
        }
        true
    }

    fn see_instance(&mut self, callee: &MeshSpan, nth: Option<usize>) {
        let instance = named(&mut self.instances, &instance_name(callee));
        instance.zone = callee.facts.zone.clone().or(instance.zone.take());
        instance.revision = callee.facts.revision.clone().or(instance.revision.take());
        instance.add(callee, nth);
    }

    /// Counts the instances that a waypoint chose where no proxy of the callee reports, as it is without sidecars.
    fn see_chosen(&mut self, hop: &Hop<'_>) {
        let Some(waypoint) = hop.caller.filter(|caller| is_waypoint(caller) && hop.callees.is_empty()) else {
            return;
        };
        let attempts = if hop.attempts.is_empty() { std::slice::from_ref(&waypoint) } else { &hop.attempts };
        for (nth, attempt) in attempts.iter().enumerate() {
            if let Some(upstream) = attempt.facts.upstream() {
                named(&mut self.instances, upstream).add(attempt, Some(nth));
            }
        }
    }

    /// Gives instances that are known by their addresses the names of their pods.
    pub(crate) fn name_instances(&mut self, name_of: impl Fn(&str) -> String) {
        let instances = std::mem::take(&mut self.instances);
        for (name, instance) in instances {
            self.instances.entry(name_of(&name)).or_default().merge(&instance);
        }
        self.timeline.rename(&name_of);
        self.replay.rename(&name_of);
        for (name, expected) in std::mem::take(&mut self.replayed) {
            *self.replayed.entry(name_of(&name)).or_default() += expected;
        }
    }

    /// Replays the attempts that are kept, and keeps what least request would have done with them.
    pub(crate) fn settle(&mut self) {
        let names: Vec<&str> = self.instances.keys().map(String::as_str).collect();
        if let Some(expected) = std::mem::take(&mut self.replay).settle(&names, &mut self.replay) {
            for (name, expected) in names.iter().zip(expected) {
                *self.replayed.entry((*name).to_owned()).or_default() += expected;
            }
        }
    }

    /// The bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let of_instance =
            |(name, instance): (&String, &Instance)| INSTANCE_BYTES + name.len() + instance.seen.name_bytes();
        EDGE_BYTES
            + self.client.name_bytes()
            + self.server.name_bytes()
            + self.instances.iter().map(of_instance).sum::<usize>()
            + (self.subsets.len() + self.replayed.len()) * NAME_BYTES
            + (self.timeline.cells() + self.loads.cells()) * CELL_BYTES
            + self.replay.attempts() * ATTEMPT_BYTES
    }

    /// Adds another one, whose steps are parts of those that `step` gives. Returns whether there was room for all of it.
    pub(crate) fn merge(
        &mut self,
        other: &Self,
        over_time: OverTime,
        room: &mut Room,
        step: impl Fn(u32) -> u32,
    ) -> bool {
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
        add_named(&mut self.subsets, &other.subsets);
        for (name, instance) in &other.instances {
            named(&mut self.instances, name).merge(instance);
        }
        self.merge_replay(other, room);
        let timeline = if over_time == OverTime::Instances { other.timeline.cells() } else { 0 };
        let cells = other.loads.cells() + timeline;
        if cells > room.cells {
            return false;
        }
        room.cells -= cells;
        if over_time == OverTime::Instances {
            self.timeline.merge(&other.timeline, &step);
        }
        self.loads.merge(&other.loads, &step);
        true
    }

    fn merge_replay(&mut self, other: &Self, room: &mut Room) {
        let attempts = other.replay.attempts();
        // What was replayed among some of the instances says nothing of a choice between all of them.
        let is_among_others = !self.replayed.is_empty()
            && !other.replayed.is_empty()
            && !self.replayed.keys().eq(other.replayed.keys());
        if attempts > room.attempts || is_among_others {
            self.replay = Replay::default();
            self.replay.cut();
            return;
        }
        room.attempts -= attempts;
        self.replay.merge(&other.replay);
        for (name, expected) in &other.replayed {
            *self.replayed.entry(name.clone()).or_default() += expected;
        }
    }

    /// What the instances of each version saw together, or those of each zone. Instances of which it is not known are left
    /// out.
    pub fn by(&self, part: fn(&Instance) -> Option<&String>) -> BTreeMap<&str, Side> {
        let mut groups: BTreeMap<&str, Side> = BTreeMap::new();
        for instance in self.instances.values() {
            if let Some(name) = part(instance) {
                groups.entry(name).or_default().merge(&instance.seen);
            }
        }
        groups
    }

    /// What each instance got and what policies need to know of it, in the order of [`Self::instances`]. `weights` are
    /// those that were configured, by pod, version or zone; those of a version or zone are divided between its instances.
    pub fn shares(&self, weights: &BTreeMap<String, f64>) -> Vec<Share> {
        let names: Vec<&str> = self.instances.keys().map(String::as_str).collect();
        let is_of_all = self.replayed.is_empty() || self.replayed.len() == names.len();
        let least_request = self.replay.expected(&names).filter(|_| is_of_all);
        let sizes = GroupSizes::of(self, weights);
        let share = |(place, (name, instance)): (usize, (&String, &Instance))| Share {
            first_attempts: instance.first_attempts,
            mean_nanos: instance.seen.latency.total() / instance.seen.latency.count().max(1) as f64,
            weight: weights.get(name).copied().or_else(|| sizes.weight(instance, weights)),
            least_request: least_request
                .as_ref()
                .map(|expected| expected[place] + self.replayed.get(name).copied().unwrap_or(0.0)),
        };
        self.instances.iter().enumerate().map(share).collect()
    }
}

/// How many instances a version or zone has of which a weight was said.
#[derive(Default)]
struct GroupSizes {
    versions: BTreeMap<String, usize>,
    zones: BTreeMap<String, usize>,
}

// === impl GroupSizes ===

impl GroupSizes {
    fn of(edge: &Edge, weights: &BTreeMap<String, f64>) -> Self {
        let mut sizes = Self::default();
        for instance in edge.instances.values() {
            let groups = [(&instance.revision, &mut sizes.versions), (&instance.zone, &mut sizes.zones)];
            for (name, counts) in groups {
                if let Some(name) = name.as_ref().filter(|name| weights.contains_key(*name)) {
                    *counts.entry(name.clone()).or_default() += 1;
                }
            }
        }
        sizes
    }

    /// The part of a group's weight that an instance has.
    fn weight(&self, instance: &Instance, weights: &BTreeMap<String, f64>) -> Option<f64> {
        let of = |name: &Option<String>, sizes: &BTreeMap<String, usize>| {
            let name = name.as_ref()?;
            Some(weights.get(name)? / *sizes.get(name)? as f64)
        };
        of(&instance.revision, &self.versions).or_else(|| of(&instance.zone, &self.zones))
    }
}

// === impl Instance ===

impl Instance {
    fn add(&mut self, seen: &MeshSpan, nth: Option<usize>) {
        match nth {
            Some(0) => self.first_attempts += 1,
            Some(_) => self.retries += 1,
            None => self.unordered += 1,
        }
        self.seen.add(&seen.facts.outcome, seen.duration);
    }

    fn merge(&mut self, other: &Self) {
        self.zone = other.zone.clone().or(self.zone.take());
        self.revision = other.revision.clone().or(self.revision.take());
        self.first_attempts += other.first_attempts;
        self.retries += other.retries;
        self.unordered += other.unordered;
        self.seen.merge(&other.seen);
    }
}

// === impl Side ===

impl Side {
    /// The bytes of its counts by name, about.
    fn name_bytes(&self) -> usize {
        let flags: usize = self.flags.keys().map(|flags| NAME_BYTES + flags.len()).sum();
        flags + self.codes.len() * NAME_BYTES
    }

    pub(crate) fn add(&mut self, outcome: &Outcome, duration: u64) {
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
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        add_named(&mut self.flags, &other.flags);
    }
}

fn add_named(counts: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        *named(counts, name) += count;
    }
}

// === impl Steps ===

impl Steps {
    pub(crate) fn start_of(self, step: u32) -> u64 {
        self.start.saturating_add(u64::from(step).saturating_mul(self.step))
    }

    /// The step of a moment that is not before the start.
    pub(crate) fn of(self, nanos: u64) -> Option<u32> {
        Some(u32::try_from(nanos.checked_sub(self.start)? / self.step).unwrap_or(u32::MAX))
    }
}
