//! Pages of search results neither skip nor repeat a trace, whatever happens between two pages.

use std::collections::HashSet;

use spandrel_proto::{TenantId, TraceId};
use spandrel_storage::plan::{Order, Predicate, SearchPlan};
use spandrel_storage::{SearchAnswer, TraceStore};

use super::Open;
use crate::harness::{Harness, plan};
use crate::oracle;
use crate::spans::{HOUR, SECOND, Sent, sent, trace_id};

const ORDERS: [Order; 6] =
    [Order::Newest, Order::Oldest, Order::Longest, Order::Shortest, Order::MostSpans, Order::MostErrors];

/// Thirty traces of one to three spans; many share their start, duration or counts.
fn traces() -> Vec<Sent> {
    let spans = |n: u64| (1..=1 + n % 3).map(move |span| trace_part(n, span));
    (1..=30).flat_map(spans).collect()
}

fn trace_part(n: u64, span: u64) -> Sent {
    let part = sent(n, span).at((n % 7) * SECOND + span, (n % 5) * SECOND);
    if n.is_multiple_of(4) { part.status(2) } else { part }
}

/// Reads all pages and calls `between` after each.
fn pages(harness: &mut Harness, plan: &SearchPlan, mut between: impl FnMut(&mut Harness)) -> Vec<TraceId> {
    let mut plan = plan.clone();
    let mut found = Vec::new();
    loop {
        let answer = harness.search(&plan);
        assert!(!answer.partial);
        assert!(answer.traces.len() <= plan.limit);
        found.extend(answer.traces.iter().map(|trace| trace.id));
        match answer.next {
            Some(next) => plan.after = Some(next),
            None => return found,
        }
        assert!(found.len() <= 1000, "paging does not end");
        between(harness);
    }
}

fn expected(spans: &[Sent], plan: &SearchPlan) -> Vec<TraceId> {
    oracle::search(spans, plan).into_iter().map(|trace| trace.id).collect()
}

/// Every order is read in pages of several sizes.
pub fn pages_neither_skip_nor_repeat(open: Open) {
    let mut harness = open();
    let spans = traces();
    for part in spans.chunks(13) {
        harness.append(part);
        harness.clock.advance(HOUR / 2);
    }
    for _ in 0..2 {
        for order in ORDERS {
            let plan = SearchPlan { order, ..plan(Predicate::All) };
            let all = expected(&spans, &plan);
            for limit in [1, 2, 7, 29, 30, 31] {
                assert_eq!(
                    pages(&mut harness, &SearchPlan { limit, ..plan.clone() }, |_| {}),
                    all,
                    "{order:?} {limit}"
                );
            }
        }
        harness.store().seal_all();
    }
}

/// Traces and spans arrive, merges run and the store restarts between pages. The result is that of the moment of the
/// first page.
pub fn pages_hold_still_while_spans_arrive(open: Open) {
    for order in ORDERS {
        let mut harness = open();
        let spans = traces();
        spans.chunks(20).for_each(|part| harness.append(part));
        let plan = SearchPlan { order, limit: 4, ..plan(Predicate::All) };
        let mut page = 0;
        let found = pages(&mut harness, &plan, |harness| {
            page += 1;
            harness.append(&[
                // A new trace in the middle of all orders, and one at each end.
                sent(100 + page, 1).at(3 * SECOND, 2 * SECOND),
                sent(200 + page, 1).at(100 * SECOND, 100 * SECOND).status(2),
                sent(300 + page, 1).times(1, 1),
                // Old traces that would move: a later end, more spans, more failures.
                sent(page * 3, 50 + page).at(6 * SECOND, 100 * SECOND).status(2),
                sent(page * 3, 60 + page).at(6 * SECOND, 100 * SECOND).status(2),
            ]);
            match page % 3 {
                0 => harness.store().seal_all(),
                1 => harness.restart(),
                _ => {}
            }
        });
        assert_eq!(found, expected(&spans, &plan), "{order:?}");
    }
}

/// A span that starts before all others of its trace is stored and merged between two pages.
pub fn an_early_span_that_arrives_late_moves_nothing(open: Open) {
    for order in ORDERS {
        let mut harness = open();
        let spans: Vec<Sent> = (1..=9).map(|n| sent(n, 1).at(n * SECOND, n)).collect();
        spans.chunks(3).for_each(|part| harness.append(part));
        let plan = SearchPlan { order, limit: 2, ..plan(Predicate::All) };
        let found = pages(&mut harness, &plan, |harness| {
            let early: Vec<Sent> = (1..=9).map(|n| sent(n, 2).times(1000 - n, 1000 - n)).collect();
            harness.append(&early);
            harness.store().seal_all();
        });
        assert_eq!(found, expected(&spans, &plan), "{order:?}");
    }
}

/// The answers about several tenants, one of them unknown, are one sequence of pages while spans arrive. A trace whose
/// rank its summary does not tell any more, because it has grown since the first page, keeps its place.
pub fn pages_of_several_tenants_neither_skip_nor_repeat(open: Open) {
    let tenants = ["acme", "shop", "void"].map(|name| TenantId::new(name).unwrap());
    for order in ORDERS {
        let harness = open();
        let spans: Vec<Sent> = (1..=20).map(|n| sent(n, 1).at(n * SECOND, (n % 5) * SECOND)).collect();
        for (n, span) in spans.iter().enumerate() {
            harness.append_for(&tenants[n % 2], std::slice::from_ref(span));
        }
        let whole = SearchPlan { order, ..plan(Predicate::All) };
        let (mut plan, mut found) = (SearchPlan { limit: 3, ..whole.clone() }, Vec::new());
        loop {
            let search = |tenant| harness.store().search(tenant, &plan).unwrap();
            let page = SearchAnswer::joined(&plan, tenants.iter().map(search).collect());
            assert_eq!(page.traces.len(), page.keys.len());
            found.extend(page.traces.iter().map(|trace| trace.id));
            assert!(found.len() <= 100, "paging does not end");
            let Some(next) = page.next else { break };
            plan.after = Some(next);
            let grown = |n: u64| sent(n, 50 + found.len() as u64).times(1, 100 * HOUR).status(2);
            harness.append_for(&tenants[0], &[grown(1), grown(11)]);
            harness.append_for(&tenants[1], &[grown(2), grown(12)]);
        }
        assert_eq!(found, expected(&spans, &whole), "{order:?}");
    }
}

/// A trace that two tenants have is one, with the spans of both.
pub fn a_trace_of_two_tenants_is_one_of_a_page(open: Open) {
    let harness = open();
    let tenants = ["acme", "shop"].map(|name| TenantId::new(name).unwrap());
    let spans = |tenant: &str, from: u64| -> Vec<Sent> {
        (from..from + 15).map(|n| sent(1, n).service(tenant).at(n * SECOND, SECOND)).collect()
    };
    harness.append_for(&tenants[0], &spans("acme", 101));
    harness.append_for(&tenants[1], &[spans("shop", 1), vec![sent(2, 1).at(50 * SECOND, 1)]].concat());
    let plan = plan(Predicate::All);
    let search = |tenant| harness.store().search(tenant, &plan).unwrap();
    let page = SearchAnswer::joined(&plan, tenants.iter().map(search).collect());
    let (apart, both) = (harness.store().search(&tenants[1], &plan).unwrap(), &page.traces[0]);
    assert_eq!(page.traces.iter().map(|trace| trace.id).collect::<Vec<_>>(), [trace_id(1), trace_id(2)]);
    let of_shop = apart.traces.iter().find(|trace| trace.id == trace_id(1)).unwrap();
    assert_eq!((both.root_name.as_str(), both.start), (of_shop.root_name.as_str(), of_shop.start));
    assert_eq!((both.span_count, both.matched_span_count, both.matched_span_ids.len()), (30, 30, 20));
    assert_eq!(both.duration, 115 * SECOND);
    let services: Vec<_> = both.services.iter().map(|of| (of.name.as_str(), of.span_count)).collect();
    assert_eq!(services, [("acme", 15), ("shop", 15)]);
}

/// Orders that have to compare all candidates report a partial answer if there are too many.
pub fn too_many_candidates_are_a_partial_answer(open: Open) {
    let mut harness = open();
    harness.config.max_candidates = 10;
    harness.restart();
    for part in traces().chunks(5) {
        harness.append(part);
    }
    let longest = SearchPlan { order: Order::Longest, limit: 5, ..plan(Predicate::All) };
    assert!(harness.search(&longest).partial);
    // Newest first stops early, so it never reaches the limit.
    let newest = harness.search(&SearchPlan { limit: 5, ..plan(Predicate::All) });
    assert!(!newest.partial);
    let ids: HashSet<TraceId> = newest.traces.iter().map(|trace| trace.id).collect();
    assert!(ids.contains(&trace_id(27)) && ids.len() == 5, "{ids:?}");
}
