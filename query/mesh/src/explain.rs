//! One trace hop by hop: which spans belong together to one request between two workloads, what its attempts were, and
//! where the time went.
//!
//! Clocks of machines differ, so that only durations are compared, never times of different proxies.

use rustc_hash::{FxHashMap, FxHashSet};
use spandrel_proto::SpanId;

use crate::edges::{self, Party};
use crate::facts::Role;
use crate::hops::{self, Hop};
use crate::span::MeshSpan;

/// A request between two workloads, with everything that a trace tells of it.
#[derive(Debug)]
pub struct Explained<'t> {
    pub hop: Hop<'t>,
    /// The hop during which this one was made, by its place in the list.
    pub inside: Option<usize>,
    /// The span of the calling application that its proxy continued.
    pub app_client: Option<&'t MeshSpan>,
    /// The span of the called application below the attempt that was answered last.
    pub app_server: Option<&'t MeshSpan>,
    /// By start.
    pub attempts: Vec<Attempt<'t>>,
    /// From the caller to the callee.
    pub times: Vec<(Part, u64)>,
}

/// One attempt to reach an instance, of which at least one side tells.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'t> {
    /// The attempt as the caller's proxy reported it.
    pub made: Option<&'t MeshSpan>,
    /// The listener of the callee that it reached.
    pub reached: Option<&'t MeshSpan>,
}

/// Where the time of a hop goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Between the calling application and its proxy.
    ToProxy,
    EarlierAttempts,
    CallerProxy,
    Network,
    /// Both, where no span of an attempt tells them apart.
    CallerProxyAndNetwork,
    CalleeProxy,
    App,
    /// Both, where the application sends no spans.
    CalleeProxyAndApp,
}

/// Hops are looked for so many spans above a hop. Between two hops stand the spans of one application.
const MOST_ABOVE: usize = 1_000;

/// The hops of a trace, each after the one inside of which it was made.
pub fn explain(spans: &[MeshSpan]) -> Vec<Explained<'_>> {
    let mut hops = hops::join(spans);
    hops.sort_by_key(|hop| hop.first().map(|span| (span.start, span.id)));
    let places = Places::of(spans, &hops);
    let explained: Vec<Explained<'_>> = hops
        .into_iter()
        .enumerate()
        .map(|(at, hop)| {
            let inside = places.inside(at, &hop);
            let attempts = attempts(&hop);
            let app_server = attempts
                .iter()
                .rev()
                .find_map(|attempt| attempt.reached)
                .and_then(|reached| places.app(reached));
            let app_client = hop.caller.and_then(|caller| places.app_above(caller));
            let times = times(&hop, &attempts, app_client, app_server);
            Explained { hop, inside, app_client, app_server, attempts, times }
        })
        .collect();
    outermost_first(explained)
}

/// Sorts hops so that each follows the one inside of which it was made, whatever clocks say. Of hops that would be
/// inside each other, the earliest is inside none.
fn outermost_first(mut explained: Vec<Explained<'_>>) -> Vec<Explained<'_>> {
    let mut inner: Vec<Vec<usize>> = vec![Vec::new(); explained.len()];
    for (at, hop) in explained.iter().enumerate() {
        if let Some(outer) = hop.inside {
            inner[outer].push(at);
        }
    }
    let mut place: Vec<Option<usize>> = vec![None; explained.len()];
    let mut order = Vec::with_capacity(explained.len());
    let roots = (0..explained.len()).filter(|at| explained[*at].inside.is_none());
    for begin in roots.chain(0..explained.len()).collect::<Vec<_>>() {
        let mut waiting = vec![begin];
        while let Some(at) = waiting.pop() {
            if place[at].is_none() {
                place[at] = Some(order.len());
                order.push(at);
                waiting.extend(inner[at].iter().rev());
            }
        }
    }
    for (at, hop) in explained.iter_mut().enumerate() {
        let outer = hop.inside.and_then(|outer| place[outer]);
        hop.inside = outer.filter(|outer| place[at].is_some_and(|own| *outer < own));
    }
    let mut hops: Vec<Option<Explained<'_>>> = explained.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| hops[at].take()).collect()
}

/// Where spans of a trace are.
struct Places<'t> {
    by_id: FxHashMap<SpanId, &'t MeshSpan>,
    /// The longest span of an application below each span.
    apps: FxHashMap<SpanId, &'t MeshSpan>,
    /// The hop that a listener of a callee belongs to.
    hop_of_callee: FxHashMap<SpanId, usize>,
}

// === impl Places ===

impl<'t> Places<'t> {
    fn of(spans: &'t [MeshSpan], hops: &[Hop<'t>]) -> Self {
        let by_id = spans.iter().map(|span| (span.id, span)).collect();
        let mut apps: FxHashMap<SpanId, &MeshSpan> = FxHashMap::default();
        for span in spans.iter().filter(|span| span.facts.role == Role::App) {
            if let Some(parent) = span.parent {
                let longest = apps.entry(parent).or_insert(span);
                if longest.duration < span.duration {
                    *longest = span;
                }
            }
        }
        let callees =
            hops.iter().enumerate().flat_map(|(at, hop)| hop.callees.iter().map(move |span| (span.id, at)));
        Self { by_id, apps, hop_of_callee: callees.collect() }
    }

    /// The application that answered at a listener.
    fn app(&self, listener: &MeshSpan) -> Option<&'t MeshSpan> {
        self.apps.get(&listener.id).copied()
    }

    fn app_above(&self, caller: &MeshSpan) -> Option<&'t MeshSpan> {
        self.by_id.get(&caller.parent?).copied().filter(|span| span.facts.role == Role::App && span.is_client)
    }

    /// The hop whose callee made another hop.
    fn inside(&self, at: usize, hop: &Hop<'_>) -> Option<usize> {
        let mut above = hop.first()?.parent;
        // Parents may name each other in a circle, or be a chain that is made to take long.
        for _ in 0..MOST_ABOVE {
            let id = above?;
            match self.hop_of_callee.get(&id) {
                Some(outer) if *outer != at => return Some(*outer),
                _ => above = self.by_id.get(&id)?.parent,
            }
        }
        None
    }
}

/// Attempts that the caller's proxy reported, each with the listener that it reached, and listeners of which it reported
/// no attempt.
fn attempts<'t>(hop: &Hop<'t>) -> Vec<Attempt<'t>> {
    // By the ID of the attempt: that of its parent, or its own, as Zipkin has it. The first one counts.
    let ids = |callee: &&'t MeshSpan| [Some(callee.id), callee.parent].into_iter().flatten();
    let below: FxHashMap<SpanId, &'t MeshSpan> =
        hop.callees.iter().rev().flat_map(|callee| ids(callee).map(|id| (id, *callee))).collect();
    let made: FxHashSet<SpanId> = hop.attempts.iter().map(|made| made.id).collect();
    let of = |made: &&'t MeshSpan| Attempt { made: Some(made), reached: below.get(&made.id).copied() };
    let mut all: Vec<Attempt<'t>> = hop.attempts.iter().map(of).collect();
    let others = hop.callees.iter().filter(|callee| !ids(callee).any(|id| made.contains(&id)));
    all.extend(others.map(|callee| Attempt { made: None, reached: Some(callee) }));
    all.sort_by_key(|attempt| attempt.either().map(|span| (span.start, span.id)));
    all
}

fn times(
    hop: &Hop<'_>,
    attempts: &[Attempt<'_>],
    app_client: Option<&MeshSpan>,
    app_server: Option<&MeshSpan>,
) -> Vec<(Part, u64)> {
    let duration = |attempt: &Attempt<'_>| attempt.either().map_or(0, |span| span.duration);
    let (last, earlier) = match attempts.split_last() {
        Some((last, earlier)) => (Some(last), earlier.iter().map(duration).sum::<u64>()),
        None => (None, 0),
    };
    let mut times = Vec::new();
    if let (Some(client), Some(caller)) = (app_client, hop.caller) {
        times.push((Part::ToProxy, client.duration.saturating_sub(caller.duration)));
    }
    if earlier > 0 {
        times.push((Part::EarlierAttempts, earlier));
    }
    if let Some(caller) = hop.caller {
        let rest = caller.duration.saturating_sub(earlier).saturating_sub(last.map_or(0, duration));
        let is_told = match attempts {
            [] => hop.answered_by_proxy(),
            attempts => attempts.iter().all(|attempt| attempt.made.is_some()),
        };
        times.push((if is_told { Part::CallerProxy } else { Part::CallerProxyAndNetwork }, rest));
    }
    if let Some(Attempt { made: Some(made), reached: Some(reached) }) = last {
        times.push((Part::Network, made.duration.saturating_sub(reached.duration)));
    }
    match (last.and_then(|last| last.reached), app_server) {
        (Some(reached), Some(app)) => {
            times.push((Part::CalleeProxy, reached.duration.saturating_sub(app.duration)));
            times.push((Part::App, app.duration));
        }
        (Some(reached), None) => times.push((Part::CalleeProxyAndApp, reached.duration)),
        (None, _) => {}
    }
    times
}

// === impl Attempt ===

impl<'t> Attempt<'t> {
    /// What the caller's proxy says of it, else what the callee's does.
    pub fn either(&self) -> Option<&'t MeshSpan> {
        self.made.or(self.reached)
    }

    /// The instance that it went to: its pod, or its address where no proxy there reported.
    pub fn instance(&self) -> Option<&'t str> {
        let facts = self.reached.map(|reached| &reached.facts);
        let told = facts.and_then(|facts| facts.pod.as_deref().or(facts.ip.as_deref()));
        told.or(self.made.and_then(|made| made.facts.upstream()))
    }
}

// === impl Explained ===

impl<'t> Explained<'t> {
    /// What tells most of the request: the caller's listener, else the first callee's.
    pub fn told_by(&self) -> Option<&'t MeshSpan> {
        self.hop.first()
    }

    /// Who called whom.
    pub fn parties(&self) -> (Party, Party) {
        (edges::caller_of(&self.hop), edges::callee_of(&self.hop))
    }

    /// Attempts that nothing tells of but the number that the caller's proxy counted.
    pub fn unseen(&self) -> usize {
        self.hop.attempt_count().saturating_sub(self.attempts.len())
    }

    /// All spans of the request: applications on both sides, listeners and attempts.
    pub fn spans(&self) -> impl Iterator<Item = &'t MeshSpan> {
        let sides = [self.app_client, self.hop.caller].into_iter().flatten();
        let attempts = self.attempts.iter().flat_map(|attempt| [attempt.made, attempt.reached]).flatten();
        sides.chain(attempts).chain(self.app_server)
    }
}

// === impl Part ===

impl Part {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::ToProxy => "toProxy",
            Self::EarlierAttempts => "earlierAttempts",
            Self::CallerProxy => "callerProxy",
            Self::Network => "network",
            Self::CallerProxyAndNetwork => "callerProxyAndNetwork",
            Self::CalleeProxy => "calleeProxy",
            Self::App => "app",
            Self::CalleeProxyAndApp => "calleeProxyAndApp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Side;
    use crate::testing::{app, attempt, listener};

    fn parts(hop: &Explained<'_>) -> Vec<(&'static str, u64)> {
        hop.times.iter().map(|(part, nanos)| (part.name(), *nanos)).collect()
    }

    #[test]
    fn the_time_of_a_hop_is_divided_between_proxies_network_and_application() {
        let spans = [
            MeshSpan { is_client: true, ..app(1, None, "checkout", 1_000) },
            listener(2, Some(1), Side::Caller, "checkout", 200, "-").lasting(900),
            listener(3, Some(2), Side::Callee, "payment", 200, "-").lasting(600),
            app(4, Some(3), "payment", 500),
        ];
        let hops = explain(&spans);
        let [hop] = &hops[..] else { panic!("{} hops", hops.len()) };
        assert_eq!(
            parts(hop),
            [("toProxy", 100), ("callerProxyAndNetwork", 300), ("calleeProxy", 100), ("app", 500)]
        );
        assert_eq!(hop.spans().count(), 4);
        assert_eq!(hop.unseen(), 0);
    }

    #[test]
    fn spans_of_attempts_tell_the_network_apart() {
        let spans = [
            listener(1, None, Side::Caller, "gateway", 200, "-").lasting(1_000),
            attempt(2, Some(1), "10.0.0.7", 0, "UF").lasting(100),
            attempt(3, Some(1), "10.0.0.8", 200, "-").lasting(700),
            listener(4, Some(3), Side::Callee, "payment", 200, "-").lasting(650),
        ];
        let hops = explain(&spans);
        assert_eq!(
            parts(&hops[0]),
            [("earlierAttempts", 100), ("callerProxy", 200), ("network", 50), ("calleeProxyAndApp", 650)]
        );
        let instances: Vec<_> = hops[0].attempts.iter().map(Attempt::instance).collect();
        assert_eq!(instances, [Some("10.0.0.7"), Some("payment-4")]);
    }

    #[test]
    fn hops_follow_the_one_inside_of_which_they_were_made() {
        let spans = [
            listener(6, Some(5), Side::Callee, "payment", 200, "-").at(1),
            listener(5, Some(4), Side::Caller, "checkout", 200, "-").at(2),
            app(4, Some(3), "checkout", 10),
            listener(3, Some(2), Side::Callee, "checkout", 200, "-").at(8),
            listener(2, None, Side::Caller, "gateway", 200, "-").at(9),
        ];
        let hops = explain(&spans);
        let callers: Vec<_> =
            hops.iter().map(|hop| hop.told_by().map(|span| &*span.facts.workload.name)).collect();
        assert_eq!(callers, [Some("gateway"), Some("checkout")]);
        assert_eq!((hops[0].inside, hops[1].inside), (None, Some(0)));
    }

    #[test]
    fn parents_in_a_circle_lose_no_hop() {
        let spans = [
            listener(1, Some(4), Side::Caller, "a", 200, "-"),
            listener(2, Some(1), Side::Callee, "b", 200, "-"),
            listener(3, Some(2), Side::Caller, "b", 200, "-"),
            listener(4, Some(3), Side::Callee, "a", 200, "-"),
        ];
        let hops = explain(&spans);
        assert_eq!(hops.len(), 2);
        assert_eq!((hops[0].inside, hops[1].inside), (None, Some(0)));
    }
}
