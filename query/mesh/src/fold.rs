//! Which spans of a trace say the same as another one, so that a tree can show one for all of them: the proxies on both
//! sides of a call stand for the spans of the applications there.
//!
//! - An attempt is a part of the listener that made it.
//! - A caller's listener is a part of the client span of the application that called.
//! - A callee's listener is a part of the span of the application that answered: the longest one below it that is no
//!   call of its own.
//! - A waypoint is a part of the call above it.
//!
//! A proxy beside an application without spans is shown: nothing else tells of the request.

use crate::cluster::Side;
use crate::facts::Role;
use crate::hops::is_waypoint;
use crate::span::MeshSpan;

/// For each span, the one that it is a part of. Parents are places in the list.
pub fn fold(spans: &[MeshSpan], parents: &[Option<usize>]) -> Vec<Option<usize>> {
    let answers = answers(spans, parents);
    let direct: Vec<Option<usize>> = (0..spans.len())
        .map(|at| match spans[at].facts.role {
            _ if is_waypoint(&spans[at]) => parents[at].filter(|above| is_call(&spans[*above])),
            Role::Attempt(_) => parents[at].filter(|above| spans[*above].facts.role != Role::App),
            Role::Listener(_, Side::Caller) => parents[at].filter(|above| is_call_of_app(&spans[*above])),
            Role::Listener(_, Side::Callee) => answers[at],
            Role::App => None,
        })
        .collect();
    followed(&direct)
}

/// Whether a waypoint below it is a part of it.
fn is_call(span: &MeshSpan) -> bool {
    matches!(span.facts.role, Role::Listener(_, Side::Caller) | Role::Attempt(Side::Caller))
        || is_call_of_app(span)
}

fn is_call_of_app(span: &MeshSpan) -> bool {
    span.facts.role == Role::App && span.is_client
}

/// For each listener, the application below it that answered, perhaps below an attempt that it made to reach it.
fn answers(spans: &[MeshSpan], parents: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut answers: Vec<Option<usize>> = vec![None; spans.len()];
    let is_inner_attempt = |at: &usize| spans[*at].facts.role == Role::Attempt(Side::Callee);
    for (at, span) in spans.iter().enumerate() {
        let above = parents[at].filter(|_| span.facts.role == Role::App && !span.is_client);
        let Some(above) = above.map(|above| {
            Some(above).filter(is_inner_attempt).and_then(|attempt| parents[attempt]).unwrap_or(above)
        }) else {
            continue;
        };
        let longest = answers[above].get_or_insert(at);
        if spans[*longest].duration < span.duration {
            *longest = at;
        }
    }
    answers
}

/// Follows parts of parts to the spans that are shown. Each path is gone once, however long a chain is.
fn followed(direct: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut shown: Vec<Option<usize>> = vec![None; direct.len()];
    let mut is_known = vec![false; direct.len()];
    for begin in 0..direct.len() {
        let (mut at, mut path) = (begin, Vec::new());
        while let Some(next) = direct[at].filter(|_| !is_known[at]) {
            // Marked at once, so that parts in a circle end, too.
            is_known[at] = true;
            path.push(at);
            at = next;
        }
        let end = shown[at].unwrap_or(at);
        for part in path {
            shown[part] = Some(end).filter(|end| *end != part);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::ProxyKind;
    use crate::testing::{app, attempt, listener};

    fn folded(spans: &[MeshSpan]) -> Vec<Option<usize>> {
        let place = |span: &MeshSpan| spans.iter().position(|other| Some(other.id) == span.parent);
        fold(spans, &spans.iter().map(place).collect::<Vec<_>>())
    }

    #[test]
    fn proxies_on_both_sides_are_parts_of_their_applications() {
        let spans = [
            MeshSpan { is_client: true, ..app(1, None, "checkout", 1_000) },
            listener(2, Some(1), Side::Caller, "checkout", 200, "-"),
            attempt(3, Some(2), "10.0.0.9", 200, "-"),
            listener(4, Some(3), Side::Callee, "payment", 200, "-"),
            app(5, Some(4), "payment", 500),
        ];
        assert_eq!(folded(&spans), [None, Some(0), Some(0), Some(4), None]);
    }

    #[test]
    fn proxies_without_applications_are_shown() {
        let spans = [
            listener(1, None, Side::Caller, "gateway", 200, "-"),
            attempt(2, Some(1), "10.0.0.9", 0, "UF"),
            attempt(3, Some(1), "10.0.0.8", 200, "-"),
            listener(4, Some(3), Side::Callee, "payment", 200, "-"),
        ];
        assert_eq!(folded(&spans), [None, Some(0), Some(0), None]);
    }

    #[test]
    fn a_call_of_the_application_is_not_its_answer() {
        let spans = [
            listener(1, None, Side::Callee, "checkout", 200, "-"),
            MeshSpan { is_client: true, ..app(2, Some(1), "checkout", 900) },
            app(3, Some(1), "checkout", 500),
        ];
        assert_eq!(folded(&spans), [Some(2), None, None]);
        assert_eq!(folded(&spans[..2]), [None, None]);
    }

    #[test]
    fn an_answer_is_found_below_the_attempt_of_its_own_proxy() {
        let mut attempt = attempt(2, Some(1), "10.0.0.9", 200, "-");
        attempt.told().role = Role::Attempt(Side::Callee);
        let spans =
            [listener(1, None, Side::Callee, "payment", 200, "-"), attempt, app(3, Some(2), "payment", 500)];
        assert_eq!(folded(&spans), [Some(2), Some(2), None]);
    }

    #[test]
    fn chains_of_attempts_are_gone_once() {
        let chain: Vec<Option<usize>> = (0..100_000usize).map(|at| at.checked_sub(1)).collect();
        assert!(followed(&chain)[1..].iter().all(|shown| *shown == Some(0)));
        assert_eq!(followed(&[Some(1), Some(0)]).iter().flatten().count(), 1, "a circle leaves one");
    }

    #[test]
    fn a_waypoint_is_a_part_of_the_call_above_it() {
        let mut waypoint = listener(2, Some(1), Side::Caller, "checkout", 200, "-");
        waypoint.told().role = Role::Listener(ProxyKind::Waypoint, Side::Caller);
        let spans = [
            MeshSpan { is_client: true, ..app(1, None, "checkout", 1_000) },
            waypoint,
            app(3, Some(2), "payment", 5),
        ];
        assert_eq!(folded(&spans), [None, Some(0), None]);
        // Without a span of the call, nothing else tells of it.
        let below_an_answer = [app(1, None, "checkout", 1_000), spans[1].clone()];
        assert_eq!(folded(&below_an_answer), [None, None]);
    }
}
