//! Edges of the service map equal the oracle's, in whatever blocks caller and callee arrive.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::span::Link;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::{EdgeKind, TraceStore};

use super::Open;
use crate::harness::Harness;
use crate::oracle::edges::{Edge, edges};
use crate::spans::{BEGIN, HOUR, MINUTE, SECOND, Sent, sent, span_id, text, trace_id};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// Longer than a caller waits for its callee before its edge is virtual.
const LONG: u64 = 2 * MINUTE;

/// The store's answer: calls and failed calls of each edge. Asserts the order and the exemplars.
fn answer(harness: &Harness, range: TimeRange) -> BTreeMap<Edge, (u64, u64)> {
    let answer = harness.store().dependencies(&TenantId::default(), range).unwrap();
    assert!(!answer.partial);
    let order: Vec<_> = answer.edges.iter().map(|e| (e.caller.clone(), e.callee.clone(), e.kind)).collect();
    assert!(order.is_sorted(), "{order:?}");
    let mut found = BTreeMap::new();
    for edge in answer.edges {
        assert_eq!(edge.totals.count, edge.totals.latency.count());
        let exemplars = edge.totals.exemplars();
        assert!((1..=3).contains(&exemplars.len()) && exemplars.is_sorted_by(|a, b| a > b));
        let counts = (edge.totals.count, edge.totals.errors);
        assert!(found.insert((edge.caller, edge.callee, edge.kind), counts).is_none(), "an edge comes twice");
    }
    found
}

/// Asserts that the answer equals the oracle's, latencies and exemplars included.
fn check_range(harness: &Harness, spans: &[Sent], range: TimeRange) {
    let now = spandrel_storage::Clock::now(&*harness.clock).0;
    let expected = edges(spans, range, now);
    let counts: BTreeMap<Edge, (u64, u64)> =
        expected.iter().map(|(edge, calls)| (edge.clone(), calls.counts())).collect();
    assert_eq!(answer(harness, range), counts);
    let answer = harness.store().dependencies(&TenantId::default(), range).unwrap();
    for edge in answer.edges {
        let calls = &expected[&(edge.caller.clone(), edge.callee.clone(), edge.kind)];
        super::aggregate::check_latency(&edge.totals.latency, calls.durations());
        let shown: Vec<_> = edge.totals.exemplars().iter().map(|call| (call.failed, call.duration)).collect();
        assert_eq!(shown, calls.worst(3), "{} to {}", edge.caller, edge.callee);
    }
}

fn check(harness: &Harness, spans: &[Sent]) {
    check_range(harness, spans, TimeRange::ALL);
}

fn edge(caller: &str, callee: &str, kind: EdgeKind) -> Edge {
    (caller.to_owned(), callee.to_owned(), kind)
}

fn linked(mut sent: Sent, to: &[(u64, u64)]) -> Sent {
    sent.span.links.extend(to.iter().map(|(trace, span)| Link {
        trace_id: trace_id(*trace).as_bytes().to_vec(),
        span_id: span_id(*span).as_bytes().to_vec(),
        ..Link::default()
    }));
    sent
}

/// An order: the gateway calls the shop, which reads its database, calls an external bank, and sends a message to mail
/// and ledger.
fn order(trace: u64) -> Vec<Sent> {
    let span = |id, service, kind| sent(trace, id).service(service).kind(kind).at(id * SECOND, id * 1_000);
    vec![
        span(1, "gateway", SERVER),
        span(2, "gateway", CLIENT).parent(1).with("server.address", text("shop.internal")),
        span(3, "shop", SERVER).parent(2).status(2),
        span(4, "shop", 1).parent(3),
        span(5, "shop", CLIENT)
            .parent(4)
            .with("db.system", text("postgresql"))
            .with("db.name", text("orders")),
        span(6, "shop", CLIENT).parent(4).with("server.address", text("bank.example.com")).status(2),
        span(7, "shop", PRODUCER).parent(4).with("messaging.destination.name", text("placed")),
        span(8, "mail", CONSUMER).parent(7),
        linked(span(9, "ledger", CONSUMER), &[(trace, 7)]),
        span(10, "ledger", CLIENT).parent(9).with("peer.service", text("archive")),
    ]
}

/// An order in one block has every kind of edge.
pub fn edges_are_those_of_the_spans(open: Open) {
    let mut harness = open();
    harness.append(&order(1));
    harness.clock.advance(LONG);
    let found = answer(&harness, TimeRange::ALL);
    let expected = BTreeMap::from([
        (edge("user", "gateway", EdgeKind::Virtual), (1, 0)),
        (edge("gateway", "shop", EdgeKind::Rpc), (1, 1)),
        (edge("shop", "orders", EdgeKind::Database), (1, 0)),
        (edge("shop", "bank.example.com", EdgeKind::Virtual), (1, 1)),
        (edge("shop", "mail", EdgeKind::Messaging), (1, 0)),
        (edge("shop", "ledger", EdgeKind::Messaging), (1, 0)),
        (edge("ledger", "archive", EdgeKind::Virtual), (1, 0)),
    ]);
    assert_eq!(found, expected);
    harness.whatever_happens(|harness| check(harness, &order(1)));
}

/// Each span arrives in its own batch, seconds apart, callees first.
pub fn halves_that_arrive_seconds_apart_are_joined(open: Open) {
    let mut harness = open();
    let mut spans = order(1);
    spans.reverse();
    for n in 0..spans.len() {
        harness.append(&spans[n..=n]);
        harness.clock.advance(3 * SECOND);
        check(&harness, &spans[..=n]);
    }
    harness.clock.advance(LONG);
    harness.whatever_happens(|harness| check(harness, &spans));
}

/// A call without a callee becomes a virtual edge after a minute, and a real one when its callee arrives: in a fresh or
/// a sealed block, in the same window or another.
pub fn a_late_callee_makes_a_virtual_edge_real(open: Open) {
    for (is_sealed, late) in [(false, MINUTE), (true, MINUTE), (false, 3 * HOUR), (true, 3 * HOUR)] {
        let mut harness = open();
        let call = sent(1, 1).service("shop").kind(CLIENT).with("server.address", text("bank"));
        let answered = sent(1, 2).service("bank-api").parent(1);
        harness.append(std::slice::from_ref(&call));
        if is_sealed {
            harness.store().seal_all();
        }
        harness.clock.advance(59 * SECOND);
        assert_eq!(answer(&harness, TimeRange::ALL), BTreeMap::new());
        harness.clock.advance(2 * SECOND);
        let virtual_edge = BTreeMap::from([(edge("shop", "bank", EdgeKind::Virtual), (1, 0))]);
        assert_eq!(answer(&harness, TimeRange::ALL), virtual_edge);
        harness.clock.advance(late);
        harness.append(std::slice::from_ref(&answered));
        let real = BTreeMap::from([(edge("shop", "bank-api", EdgeKind::Rpc), (1, 0))]);
        assert_eq!(answer(&harness, TimeRange::ALL), real);
        harness.whatever_happens(|harness| assert_eq!(answer(harness, TimeRange::ALL), real));
    }
}

/// A wrong clock must not keep a call unpaired for ever: after its window of arrival it becomes a virtual edge.
pub fn a_call_from_the_future_waits_for_its_window(open: Open) {
    let mut harness = open();
    let call = sent(1, 1).kind(CLIENT).at(500 * HOUR, 1).with("peer.service", text("bank"));
    harness.append(&[call]);
    harness.clock.advance(HOUR / 2);
    assert_eq!(answer(&harness, TimeRange::ALL), BTreeMap::new());
    harness.clock.advance(HOUR / 2 + MINUTE);
    let expected = BTreeMap::from([(edge("shop", "bank", EdgeKind::Virtual), (1, 0))]);
    harness.whatever_happens(|harness| assert_eq!(answer(harness, TimeRange::ALL), expected));
}

/// A batch consumer has links to messages of other traces.
pub fn links_join_across_traces(open: Open) {
    let mut harness = open();
    let produced = |trace, service: &str| {
        let span = sent(trace, 1).service(service).kind(PRODUCER);
        span.with("messaging.destination.name", text("events"))
    };
    let not_a_producer = sent(4, 1).service("web");
    let unanswered = produced(6, "shop");
    let spans = [
        produced(1, "shop"),
        produced(2, "shop"),
        produced(3, "web"),
        not_a_producer,
        linked(sent(5, 1).service("stats").kind(CONSUMER), &[(1, 1), (2, 1), (3, 1), (4, 1), (9, 9), (1, 1)]),
        unanswered,
    ];
    spans.chunks(1).rev().for_each(|part| harness.append(part));
    harness.clock.advance(LONG);
    let expected = BTreeMap::from([
        (edge("shop", "stats", EdgeKind::Messaging), (2, 0)),
        (edge("web", "stats", EdgeKind::Messaging), (1, 0)),
        (edge("shop", "events", EdgeKind::Virtual), (1, 0)),
        (edge("user", "web", EdgeKind::Virtual), (1, 0)),
    ]);
    assert_eq!(answer(&harness, TimeRange::ALL), expected);
    harness.whatever_happens(|harness| check(harness, &spans));
}

/// A range covers every minute that it touches; a call belongs to the minute in which the callee starts.
pub fn ranges_count_every_minute_that_they_touch(open: Open) {
    let mut harness = open();
    let mut spans = Vec::new();
    for n in 0..40 {
        let at = n * 17 * SECOND;
        spans.push(sent(n + 1, 1).kind(CLIENT).at(at, 90 * SECOND).with("peer.service", text("gone")));
        // The callee starts later than the caller, sometimes in another minute.
        spans.push(sent(n + 1, 2).service("cart").parent(1).at(at + n * SECOND, SECOND));
        spans.push(sent(n + 1, 3).kind(CLIENT).at(at, SECOND).with("db.system", text("redis")));
    }
    spans.iter().step_by(2).for_each(|span| harness.append(std::slice::from_ref(span)));
    spans.iter().skip(1).step_by(2).for_each(|span| harness.append(std::slice::from_ref(span)));
    harness.clock.advance(HOUR);
    let ends = [(0, 1), (0, MINUTE), (59 * SECOND, 61 * SECOND), (5 * MINUTE, 6 * MINUTE), (0, HOUR), (7, 7)];
    harness.whatever_happens(|harness| {
        for (start, end) in ends {
            let (start, end) = (UnixNanos(BEGIN + start), Some(UnixNanos(BEGIN + end)));
            check_range(harness, &spans, TimeRange { start, end });
            check_range(harness, &spans, TimeRange { start, end: None });
        }
    });
}

/// The caller is found although it began long before the range.
pub fn a_long_call_finds_its_late_callees(open: Open) {
    let mut harness = open();
    let spans = [
        sent(1, 1).service("batch").kind(1).at(0, 5 * HOUR),
        sent(1, 2).service("shop").parent(1).at(4 * HOUR, SECOND),
    ];
    harness.append(&spans[..1]);
    harness.append(&spans[1..]);
    let range = TimeRange { start: UnixNanos(BEGIN + 4 * HOUR), end: None };
    let expected = BTreeMap::from([(edge("batch", "shop", EdgeKind::Rpc), (1, 0))]);
    harness.whatever_happens(|harness| assert_eq!(answer(harness, range), expected));
}

/// How the span that consumes a message refers to it.
#[derive(Debug, Clone, Copy)]
enum Taken {
    /// CONSUMER, child of the PRODUCER.
    AsChild,
    /// CONSUMER of the same trace, by a link.
    ByLink,
    /// CONSUMER of another trace, by a link.
    ByLinkFromElsewhere,
    /// CLIENT that receives, of another trace, by a link.
    Received,
}

const TAKEN: [Taken; 4] = [Taken::AsChild, Taken::ByLink, Taken::ByLinkFromElsewhere, Taken::Received];

/// A message that the shop sends at `BEGIN`.
fn message(trace: u64) -> Sent {
    let span = sent(trace, 1).service("shop").kind(PRODUCER);
    span.with("messaging.destination.name", text("orders"))
}

/// A span that consumes the message of a trace, `later` after it was sent.
fn taken(trace: u64, how: Taken, later: u64) -> Sent {
    let consumer = |trace, kind| sent(trace, 2).service("mail").kind(kind).at(later, SECOND);
    match how {
        Taken::AsChild => consumer(trace, CONSUMER).parent(1),
        Taken::ByLink => linked(consumer(trace, CONSUMER), &[(trace, 1)]),
        Taken::ByLinkFromElsewhere => linked(consumer(trace + 1_000, CONSUMER), &[(trace, 1)]),
        Taken::Received => {
            let receives = consumer(trace + 1_000, CLIENT).with("messaging.operation.type", text("receive"));
            linked(receives, &[(trace, 1)])
        }
    }
}

fn from(offset: u64) -> TimeRange {
    TimeRange { start: UnixNanos(BEGIN + offset), end: None }
}

fn until(offset: u64) -> TimeRange {
    TimeRange { end: Some(UnixNanos(BEGIN + offset)), ..from(0) }
}

fn shop_to_mail(count: u64) -> BTreeMap<Edge, (u64, u64)> {
    BTreeMap::from([(edge("shop", "mail", EdgeKind::Messaging), (count, 0))])
}

/// The edge of a message belongs to the minute in which it is consumed, however long ago it was sent: in one block or
/// two, in either order.
pub fn a_message_makes_its_edge_however_old_it_is(open: Open) {
    for (how, later) in TAKEN.into_iter().flat_map(|how| [(how, 40 * MINUTE), (how, 5 * HOUR)]) {
        for arrival in ["together", "message first", "consumer first", "message sealed first"] {
            let mut harness = open();
            let (message, consumer) = (message(1), taken(1, how, later));
            match arrival {
                "together" => harness.append(&[message, consumer]),
                "consumer first" => {
                    harness.append(&[consumer]);
                    harness.append(&[message]);
                }
                _ => {
                    harness.append(&[message]);
                    if arrival == "message sealed first" {
                        harness.store().seal_all();
                    }
                    harness.clock.advance(later);
                    harness.append(&[consumer]);
                }
            }
            harness.clock.set(BEGIN + later + LONG);
            harness.whatever_happens(|harness| {
                let told = format!("{how:?}, {later} later, {arrival}");
                assert_eq!(answer(harness, from(later)), shop_to_mail(1), "{told}");
                assert_eq!(answer(harness, from(later - HOUR / 2)), shop_to_mail(1), "{told}");
                assert_eq!(answer(harness, from(later + MINUTE)), BTreeMap::new(), "{told}");
                assert_eq!(answer(harness, TimeRange::ALL), shop_to_mail(1), "{told}");
                // The producer has no virtual edge either, although the message is consumed much later.
                assert_eq!(answer(harness, until(MINUTE)), BTreeMap::new(), "{told}");
            });
        }
    }
}

/// Many spans consume one message.
pub fn one_old_message_has_many_consumers(open: Open) {
    let mut harness = open();
    const CONSUMERS: u64 = 500;
    harness.append(&[message(1)]);
    harness.store().seal_all();
    harness.clock.advance(HOUR);
    let consumer = |n| linked(sent(1 + n, 2).service("mail").kind(CONSUMER).at(HOUR + n, 1), &[(1, 1)]);
    let consumers: Vec<Sent> = (1..=CONSUMERS).map(consumer).collect();
    consumers.chunks(100).for_each(|part| harness.append(part));
    harness.whatever_happens(|harness| {
        assert_eq!(answer(harness, from(HOUR)), shop_to_mail(CONSUMERS));
    });
}

/// The lookups of callers before the range are bounded, and an answer that lacks some is marked as partial.
pub fn lookups_of_old_callers_are_bounded(open: Open) {
    let mut harness = open();
    harness.append(&(1..=3).map(message).collect::<Vec<_>>());
    harness.clock.advance(HOUR);
    // Orphans of other traces also wait for a lookup, and come before the consumers.
    let orphan = |n| sent(n, 9).service("stray").parent(8).at(HOUR, 1);
    harness.append(&(100..110).map(orphan).collect::<Vec<_>>());
    harness.append(&(1..=3).map(|n| taken(n, Taken::ByLinkFromElsewhere, HOUR)).collect::<Vec<_>>());
    for (most, edges, is_partial) in [(0, 0, true), (2, 2, true), (3, 3, true), (13, 3, false)] {
        harness.config.max_caller_lookups = most;
        harness.restart();
        harness.whatever_happens(|harness| {
            let answer = harness.store().dependencies(&TenantId::default(), from(HOUR)).unwrap();
            let calls: u64 = answer.edges.iter().map(|edge| edge.totals.count).sum();
            assert_eq!((calls, answer.partial), (edges, is_partial), "{most} lookups");
            // A query that reads every block needs no lookups.
            assert!(!harness.store().dependencies(&TenantId::default(), TimeRange::ALL).unwrap().partial);
        });
    }
}

/// The producer of an expired message is unknown: its consumer has no edge, and the answer is not partial.
pub fn an_expired_message_has_no_edge(open: Open) {
    let mut harness = open();
    harness.config.retention = std::time::Duration::from_secs(2 * 3600);
    harness.restart();
    harness.append(&[message(1)]);
    harness.store().seal_all();
    harness.clock.advance(5 * HOUR / 2);
    harness.append(&[taken(1, Taken::ByLinkFromElsewhere, 5 * HOUR / 2)]);
    assert_eq!(answer(&harness, from(2 * HOUR)), shop_to_mail(1));
    harness.clock.advance(HOUR);
    harness.maintain(3);
    assert!(harness.trace(trace_id(1)).is_empty(), "it has expired");
    harness.whatever_happens(|harness| assert_eq!(answer(harness, from(2 * HOUR)), BTreeMap::new()));
}

/// A CLIENT that receives is a consumer. One that sends or settles calls the broker, which is not the consumer.
pub fn clients_that_handle_messages_are_told_apart(open: Open) {
    let client = |id: u64, operation| {
        let span = sent(1, id).service("shop").kind(CLIENT).at(id * SECOND, 1);
        span.with("messaging.operation.type", text(operation))
            .with("messaging.system", text("kafka"))
            .with("server.address", text("broker"))
    };
    let create = sent(1, 1).service("shop").kind(PRODUCER).with("messaging.destination.name", text("orders"));
    let spans = [
        create,
        client(2, "send").parent(1),
        client(3, "settle").parent(1),
        client(4, "receive").service("mail").parent(1),
        linked(client(5, "receive").service("ledger"), &[(1, 1)]),
        // Its parent belongs to another service, but is no producer.
        client(6, "receive").service("stats").parent(7),
        sent(1, 7).service("cron").kind(1),
        client(8, "receive").service("poller").with("messaging.destination.name", text("orders")),
        sent(1, 9)
            .service("old")
            .kind(CLIENT)
            .with("messaging.operation", text("publish"))
            .with("server.address", text("broker")),
        client(10, "process").parent(1),
    ];
    let expected = BTreeMap::from([
        (edge("shop", "mail", EdgeKind::Messaging), (1, 0)),
        (edge("shop", "ledger", EdgeKind::Messaging), (1, 0)),
        (edge("orders", "poller", EdgeKind::Virtual), (1, 0)),
        (edge("shop", "kafka", EdgeKind::Virtual), (1, 0)),
    ]);
    for size in [spans.len(), 1] {
        let mut harness = open();
        spans.chunks(size).rev().for_each(|part| harness.append(part));
        harness.clock.advance(LONG);
        assert_eq!(answer(&harness, TimeRange::ALL), expected, "{size} in a block");
        harness.whatever_happens(|harness| check(harness, &spans));
    }
}

/// Duplicates count once after the merge.
pub fn duplicates_leave_with_the_merge(open: Open) {
    let mut harness = open();
    let spans = order(1);
    harness.append(&spans[..5]);
    harness.append(&spans);
    harness.append(&spans[3..]);
    harness.clock.advance(LONG);
    harness.store().seal_all();
    check(&harness, &spans);
    harness.restart();
    check(&harness, &spans);
}

/// In Zipkin a SERVER shares its ID with its CLIENT.
pub fn spans_that_share_an_id_are_caller_and_callee(open: Open) {
    let mut harness = open();
    harness.append(&[
        sent(1, 1).service("shop").kind(CLIENT).at(0, SECOND).with("peer.service", text("bank")),
        sent(1, 1).service("bank").at(1, 5),
        sent(1, 2).service("bank").kind(1).parent(1).at(2, 3),
    ]);
    harness.clock.advance(LONG);
    let expected = BTreeMap::from([(edge("shop", "bank", EdgeKind::Rpc), (1, 0))]);
    harness.whatever_happens(|harness| assert_eq!(answer(harness, TimeRange::ALL), expected));
}

/// Many spans share one ID. Their edges are found across blocks, and the lookups are bounded.
pub fn one_id_for_very_many_spans_is_looked_up_in_bounds(open: Open) {
    let mut harness = open();
    const CALLS: u64 = 1_000;
    let caller = |n: u64| sent(1, 1).service("shop").kind(CLIENT).at(n, 1);
    let callee = |n: u64| sent(1, 1_000 + n).service("bank").parent(1).at(n, 1);
    harness.append(&(0..CALLS).map(caller).collect::<Vec<_>>());
    harness.append(&(0..CALLS).map(callee).collect::<Vec<_>>());
    harness.clock.advance(LONG);
    let expected = BTreeMap::from([(edge("shop", "bank", EdgeKind::Rpc), (CALLS, 0))]);
    harness.whatever_happens(|harness| assert_eq!(answer(harness, TimeRange::ALL), expected));
}

/// Edges never cross tenants, and an empty store has none.
pub fn tenants_have_graphs_of_their_own(open: Open) {
    let harness = open();
    let other = TenantId::new("other").unwrap();
    assert_eq!(answer(&harness, TimeRange::ALL), BTreeMap::new());
    // The caller belongs to one tenant, the callee to the other.
    harness.append(&[sent(1, 1).service("shop").kind(CLIENT)]);
    harness.append_for(&other, &[sent(1, 2).service("bank").parent(1)]);
    assert_eq!(answer(&harness, TimeRange::ALL), BTreeMap::new());
    assert_eq!(harness.store().dependencies(&other, TimeRange::ALL).unwrap().edges, []);
}

/// Random traces are split into random batches that arrive in random order, and are merged into blocks that split them
/// again. The edges equal those of all spans at once.
pub fn any_split_gives_the_same_edges(open: Open) {
    for seed in 0..12 {
        let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check_history(open(), seed)));
        assert!(shown.is_ok(), "with seed {seed}");
    }
}

/// Checks one random history.
pub fn check_history(mut harness: Harness, seed: u64) {
    harness.config.sealed_rows = 16;
    harness.config.merge_blocks = 3;
    harness.restart();
    let mut chance = Chance(seed);
    let mut spans = random_spans(&mut chance);
    if spans.iter().any(|span| span.start() > BEGIN + HOUR / 2) {
        harness.clock.advance(10 * HOUR);
    }
    let batches = 1 + chance.below(12) as usize;
    for n in (1..spans.len()).rev() {
        spans.swap(n, chance.below(n as u64 + 1) as usize);
    }
    for part in spans.chunks(spans.len().div_ceil(batches)) {
        harness.append(part);
        harness.clock.advance(chance.below(40) * SECOND);
        match chance.below(8) {
            0 => harness.store().seal_all(),
            1 => harness.maintain(1),
            2 => harness.clock.advance(HOUR),
            _ => {}
        }
    }
    check(&harness, &spans);
    harness.clock.advance(LONG);
    check(&harness, &spans);
    check_parts(&harness, &spans);
    harness.store().seal_all();
    check(&harness, &spans);
    check_parts(&harness, &spans);
    harness.restart();
    check(&harness, &spans);
}

/// Compares edges between services over several ranges of time.
fn check_parts(harness: &Harness, spans: &[Sent]) {
    let now = spandrel_storage::Clock::now(&*harness.clock).0;
    let at = |offset: u64| UnixNanos(BEGIN + offset);
    for (start, end) in [(0, HOUR), (HOUR, 3 * HOUR), (2 * HOUR, 10 * HOUR), (50 * MINUTE, 70 * MINUTE)] {
        for range in
            [TimeRange { start: at(start), end: None }, TimeRange { start: at(start), end: Some(at(end)) }]
        {
            // Virtual edges are left out: with a callee that starts before its caller they depend on the range.
            let of_services = |kind: EdgeKind| matches!(kind, EdgeKind::Rpc | EdgeKind::Messaging);
            let expected = edges(spans, range, now).into_iter();
            let expected: BTreeMap<Edge, (u64, u64)> = expected
                .filter(|(edge, _)| of_services(edge.2))
                .map(|(edge, calls)| (edge, calls.counts()))
                .collect();
            let mut found = answer(harness, range);
            found.retain(|edge, _| of_services(edge.2));
            assert_eq!(found, expected, "{range:?}");
        }
    }
}

/// A reproducible random generator.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27) % end
    }

    fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u64) as usize]
    }
}

fn random_spans(chance: &mut Chance) -> Vec<Sent> {
    let services = ["a", "b", "c", "d"];
    let mut spans = Vec::new();
    let is_wide = chance.below(3) == 0;
    for trace in 1..=1 + chance.below(5) {
        // Some traces are longer than the limit up to which spans are compared in pairs.
        let count = if chance.below(6) == 0 { 60 } else { 1 + chance.below(9) };
        for id in 1..=count {
            // In some traces caller and callee are hours apart.
            let apart = if is_wide { chance.of(&[0, 0, 0, 40 * MINUTE, 3 * HOUR]) } else { 0 };
            let mut span = sent(trace, id)
                .service(chance.of(&services))
                .kind(chance.below(6) as i32)
                .status(chance.of(&[0, 0, 1, 2]))
                .at(apart + chance.below(200) * SECOND, chance.below(50) * SECOND);
            if chance.below(8) > 0 {
                // The parent may be the span itself, or missing.
                span = span.parent(1 + chance.below(count + 2));
            }
            span.span.flags = chance.of(&[0, 0, 0x101, 0x301]);
            let peers = ["peer.service", "server.address", "db.system", "db.name", "messaging.system"];
            for _ in 0..chance.below(3) {
                let key = chance.of(&peers);
                span.span.attributes.retain(|attribute| attribute.key != key);
                span = span.with(key, text(chance.of(&["x", "y", "a"])));
            }
            if chance.below(4) == 0 {
                let key = chance.of(&["messaging.operation.type", "messaging.operation"]);
                let said = chance.of(&["send", "publish", "receive", "receive", "process", "settle"]);
                span = span.with(key, text(said));
            }
            let links: Vec<(u64, u64)> =
                (0..chance.below(4)).map(|_| (1 + chance.below(5), 1 + chance.below(count))).collect();
            spans.push(linked(span, &links));
        }
    }
    spans
}
