//! The store on a failing engine: damaged blocks, full disks, failed writes. In memory, because that engine can inject
//! failures.

use bytes::Bytes;
use spandrel_block::{BlockKey, CatalogRow, Header, SectionKind, verify};
use spandrel_proto::otlp::SpanKey;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::engine::{BlockStore, Catalog, Change, EngineError, MemoryEngine, NewBlock};
use spandrel_storage::plan::{
    AttributeScope, Comparison, Field, Literal, Order, Predicate, ScanPlan, SearchPlan,
};
use spandrel_storage::{AppendError, StoredSpan, TraceScan, TraceStore};
use spandrel_tests::contract::aggregate;
use spandrel_tests::harness::{Backend, Harness, plan};
use spandrel_tests::spans::{BEGIN, HOUR, MINUTE, Sent, decoded, sent, text, trace_id};

fn on(engine: &MemoryEngine) -> Harness {
    Harness::new(Backend::Memory(engine.clone()))
}

/// Spans of each trace in each of the two blocks: a page for each trace.
const SPANS: u64 = 4_100;
/// The first span ID of the second block.
const SECOND_BLOCK: u64 = 10_000;

/// Parts of traces 1 to 5 in one block and parts of 4 to 8 in another, each of several pages. Every second span is a
/// call to another service. Returns the key of the first block.
fn two_blocks(engine: &MemoryEngine, sealed: bool) -> BlockKey {
    let harness = on(engine);
    let spans = |traces: std::ops::RangeInclusive<u64>, before: u64| -> Vec<Sent> {
        let each = |n| {
            (before + 1..=before + SPANS).map(move |m| {
                let span = sent(n, m).at(m, m).with("k", text(&format!("text {}", m % 50)));
                if m.is_multiple_of(2) { span.service("cart").parent(m - 1) } else { span }
            })
        };
        traces.flat_map(each).collect()
    };
    harness.append(&spans(1..=5, 0));
    if sealed {
        harness.store().seal_all();
        harness.maintain(1);
    }
    let first = engine.block_keys().pop().unwrap();
    harness.clock.advance(HOUR);
    harness.append(&spans(4..=8, SECOND_BLOCK));
    if sealed {
        harness.store().seal_all();
        harness.maintain(1);
    }
    first
}

/// The changes that put the same blocks into other engines.
fn changes(engine: &MemoryEngine) -> Vec<Change> {
    let change = |(key, row): (BlockKey, Vec<u8>)| {
        let bytes = block(engine, &key);
        let index = verify(bytes.clone()).unwrap().traces.entries().to_vec();
        let add = NewBlock { id: key.block, row, bytes, short_lived: false, index };
        Change { tenant: key.tenant, hour: key.hour, adds: vec![add], removes: vec![] }
    };
    engine.catalog_rows().unwrap().into_iter().map(change).collect()
}

fn block(engine: &MemoryEngine, key: &BlockKey) -> Bytes {
    let row = engine.catalog_rows().unwrap().into_iter().find(|(known, _)| known == key).unwrap().1;
    let row = CatalogRow::decode(&row).unwrap();
    engine.get_ranges(key, std::slice::from_ref(&(0..row.bytes))).unwrap().remove(0)
}

/// An offset in each section of a block, the header first.
fn places(engine: &MemoryEngine, key: &BlockKey) -> Vec<(String, usize)> {
    let header = Header::parse(&block(engine, key)).unwrap();
    let mut places: Vec<(String, usize)> =
        [0, 8, 12, 16, 30, 40, 60].map(|at| (format!("header byte {at}"), at)).into();
    use SectionKind::{Core, Ids, Values};
    let mut count = [0; 18];
    for section in header.sections() {
        let page = &mut count[section.kind as usize];
        let range = section.range();
        let at = (range.start + range.end) as usize / 2;
        match section.kind {
            Core | Ids | Values => places.push((format!("{:?} of page {page}", section.kind), at)),
            kind => places.push((format!("{kind:?}"), at)),
        }
        *page += 1;
    }
    assert_eq!([Core, Ids, Values].map(|kind| count[kind as usize]), [6; 3], "pages");
    // Filters, rollups, edges and zones of fresh blocks are not stored.
    let others = if header.is_without_derived() { 4 } else { 8 };
    assert_eq!(places.len(), 7 + others + 18, "a section is new, or gone: {places:?}");
    places
}

fn span_id(stored: &StoredSpan) -> u64 {
    let id = SpanKey::parse(&stored.span).unwrap().span_id;
    u64::from_be_bytes(*id.as_bytes())
}

/// Runs queries of every kind. None may panic or fail, and the undamaged block has to be served. Returns whether an
/// answer was partial.
fn ask_everything(harness: &Harness, what: &str) -> bool {
    let tenant = TenantId::default();
    let mut said = false;
    for n in 1..=8 {
        let found = harness.store().trace(&tenant, trace_id(n)).unwrap();
        let Some(spans) = found else { continue };
        let damage = spans.damage();
        let ids: Vec<u64> = spans.map(|span| span_id(&span.unwrap())).collect();
        said |= damage.blocks() > 0;
        let intact = ids.iter().filter(|id| **id > SECOND_BLOCK).count() as u64;
        assert_eq!(intact, if n >= 4 { SPANS } else { 0 }, "{what}: trace {n}");
        assert!(
            damage.blocks() > 0 || n > 5 || ids.len() as u64 - intact == SPANS,
            "{what}: silent loss in trace {n}"
        );
    }
    let attribute = Field::Attribute(AttributeScope::Span, "k".to_owned());
    let predicates = [
        Predicate::All,
        Predicate::Exists(attribute.clone()),
        Predicate::Compare(attribute, Comparison::Ne(Literal::String(String::new()))),
        Predicate::Compare(Field::Duration, Comparison::Ge(Literal::Int(0))),
        Predicate::Compare(Field::Kind, Comparison::Ne(Literal::Int(1))),
    ];
    let orders = [Order::Newest, Order::Longest, Order::MostSpans].into_iter().cycle();
    for (predicate, order) in predicates.into_iter().zip(orders) {
        let answer = harness.search(&SearchPlan { order, ..plan(predicate.clone()) });
        said |= answer.partial;
        let intact = answer.traces.iter().filter(|trace| trace.id >= trace_id(6)).count();
        let none = matches!(predicate, Predicate::Compare(Field::Kind, _));
        assert_eq!(intact, if none { 0 } else { 3 }, "{what}: {predicate:?} {order:?}");
        let whole = answer.traces.iter().filter(|trace| trace.span_count >= SPANS).count();
        assert!(answer.partial || none || whole == 8, "{what}: silent loss in {predicate:?} {order:?}");
    }
    for step in [MINUTE, 1] {
        let plan = spandrel_storage::plan::AggregatePlan { step, ..aggregate::plan() };
        let answer = harness.store().aggregate(&tenant, &plan).unwrap();
        let partial = answer.partial;
        said |= partial;
        let counted: u64 = aggregate::points(answer).values().map(|point| point.0).sum();
        assert!(
            counted == 10 * SPANS || partial && (5 * SPANS..10 * SPANS).contains(&counted),
            "{what}: {counted} spans in steps of {step}"
        );
    }
    let answer = harness.store().dependencies(&tenant, TimeRange::ALL).unwrap();
    said |= answer.partial;
    let calls = answer.edges.iter().filter(|edge| edge.callee == "cart").map(|edge| edge.totals.count);
    let calls: u64 = calls.sum();
    assert!(
        calls == 5 * SPANS || answer.partial && calls == 5 * SPANS / 2,
        "{what}: {calls} calls, partial: {}",
        answer.partial
    );
    harness.store().services(&tenant);
    harness.store().status();
    said
}

#[test]
fn damage_costs_one_block_and_is_told() {
    for sealed in [false, true] {
        let sound = MemoryEngine::default();
        let key = two_blocks(&sound, sealed);
        let changes = changes(&sound);
        for (at, (name, place)) in places(&sound, &key).into_iter().enumerate() {
            // The first and the last page stand for those between.
            if (1..=3).any(|page| name.ends_with(&format!("page {page}"))) {
                continue;
            }
            let what = format!("{name}, {}", if sealed { "sealed" } else { "fresh" });
            let engine = MemoryEngine::default();
            changes.iter().for_each(|change| engine.commit(change).unwrap());
            let mut harness = on(&engine);
            harness.clock.advance(HOUR);
            if at % 4 == 0 {
                // The open store has parts in its cache; a new one reads the damage at once.
                assert!(!ask_everything(&harness, &what), "{what}: partial before it is damaged");
                engine.damage(&key, place);
                ask_everything(&harness, &what);
            } else {
                engine.damage(&key, place);
            }
            assert!(verify(block(&engine, &key)).is_err(), "{what}: a check finds nothing");
            harness.restart();
            let said = ask_everything(&harness, &what);
            // Columns replace rollups, and zone maps are also in the catalog: nothing is missing.
            assert!(said || name == "Rollups" || name == "Meta", "{what}: no answer said that it is partial");
            let damaged = harness.store().status().damaged_blocks;
            assert!(damaged > 0 || name == "Meta", "{what}: damage is not counted");
            // A merge that cannot read a block leaves it as it is, and merges the rest.
            harness.store().seal_all();
            ask_everything(&harness, &what);
            let is_there = engine.block_keys().contains(&key);
            assert!(is_there || name == "Meta", "{what}: a merge dropped a damaged block");
            let fresh = harness.store().status().fresh_block_count;
            assert!(fresh <= 1, "{what}: {fresh} blocks stay fresh");
            harness.append(&[sent(99, 1)]);
            let found = harness.store().trace(&TenantId::default(), trace_id(99)).unwrap().unwrap();
            assert_eq!(found.count(), 1, "{what}");
        }
    }
}

/// An export breaks off for damage that its header could not tell of, and for no other.
#[test]
fn a_scan_tells_new_damage_from_known() {
    let engine = MemoryEngine::default();
    let key = two_blocks(&engine, true);
    let (_, place) = places(&engine, &key).into_iter().find(|(name, _)| name == "Values of page 0").unwrap();
    engine.damage(&key, place);
    let harness = on(&engine);
    let everything = ScanPlan { predicate: Predicate::All, range: TimeRange::ALL };
    let scan = |tenant: &TenantId| harness.store().scan(tenant, &everything).unwrap();
    let met = |mut scan: TraceScan<'_>| {
        for (_, spans) in scan.by_ref().map(Result::unwrap) {
            spans.for_each(drop);
        }
        (scan.damaged_blocks, scan.damage().blocks() > 0, scan.damage().new_blocks() > 0)
    };
    let (tenant, void) = (TenantId::default(), TenantId::new("void").unwrap());
    let joined = || TraceScan::joined(vec![scan(&void), scan(&tenant)]);
    assert_eq!(met(joined()), (0, true, true));
    assert_eq!(met(scan(&tenant)), (1, true, false));
    assert_eq!(met(joined()), (1, true, false));
    assert_eq!(met(scan(&void)), (0, false, false), "that of other tenants is not its own");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let engine = MemoryEngine::default();
    let mut harness = on(&engine);
    harness.append(&[sent(1, 1)]);
    engine.fail_commits(Some(EngineError::no_space("No space left on device")));
    for _ in 0..3 {
        let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(2, 1)])]);
        assert!(matches!(refused, Err(AppendError::DiskFull { .. })), "{refused:?}");
        // Reads work, and the refused batch has left nothing.
        assert_eq!((harness.trace(trace_id(1)).len(), harness.trace(trace_id(2)).len()), (1, 0));
        assert_eq!(harness.find(Predicate::All).len(), 1);
        // Merges need room, so they wait.
        harness.store().seal_all();
    }
    engine.fail_commits(None);
    assert!(harness.store().refusal().is_none());
    harness.append(&[sent(2, 1)]);
    harness.whatever_happens(|harness| {
        assert_eq!(harness.find(Predicate::All).len(), 2);
        assert_eq!(harness.store().status().span_count, 2);
    });
}

#[test]
fn a_failed_write_poisons_until_restart() {
    let engine = MemoryEngine::default();
    let mut harness = on(&engine);
    harness.append(&[sent(1, 1)]);
    engine.fail_commits(Some(EngineError::io("fsync: input/output error")));
    let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(2, 1)])]);
    assert!(matches!(&refused, Err(AppendError::Poisoned(why)) if why.contains("fsync")), "{refused:?}");
    engine.fail_commits(None);
    // A failed sync is never tried again, even if the disk seems to work.
    let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(3, 1)])]);
    assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
    let told = harness.store().refusal().unwrap().to_string();
    assert!(told.contains("fsync") && told.contains("restart"), "{told}");
    assert_eq!(harness.trace(trace_id(1)).len(), 1);
    harness.restart();
    harness.append(&[sent(3, 1)]);
    assert_eq!(harness.find(Predicate::All).len(), 2);
}

#[test]
fn a_merge_whose_write_fails_poisons_too() {
    let engine = MemoryEngine::default();
    let mut harness = on(&engine);
    harness.append(&[sent(1, 1)]);
    engine.fail_commits(Some(EngineError::io("fsync: input/output error")));
    harness.store().seal_all();
    engine.fail_commits(None);
    let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(3, 1)])]);
    assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
    harness.restart();
    assert_eq!(harness.trace(trace_id(1)).len(), 1);
}

#[test]
fn another_writer_does_not_break_a_merge() {
    let engine = MemoryEngine::default();
    let harness = on(&engine);
    (1..=3).for_each(|n| harness.append(&[sent(n, 1)]));
    // Another user of the engine removes a block that this store is about to merge.
    let (key, _) = engine.catalog_rows().unwrap().remove(1);
    let gone = Change { tenant: key.tenant.clone(), hour: key.hour, adds: vec![], removes: vec![key.block] };
    engine.commit(&gone).unwrap();
    harness.store().seal_all();
    assert_eq!(engine.catalog_rows().unwrap().len(), 2, "a merge that met a conflict changed the catalog");
    harness.append(&[sent(4, 1)]);
    assert_eq!(harness.trace(trace_id(1)).len(), 1);
}

/// Rows of the index outlive their block. A later block with its ID would show spans of one trace in another. A clock
/// that always starts at the same time must not give that ID.
#[test]
fn a_clock_that_stands_still_gives_no_number_twice() {
    let mut harness = Harness::new(Backend::quick_rocks());
    for round in 0..3 {
        let (old, new) = (round * 100, round * 100 + 50);
        (old + 1..=old + 4).for_each(|n| harness.append(&[sent(n, 1), sent(n, 2)]));
        harness.store().seal_all();
        harness.clock.advance(8 * 24 * HOUR);
        harness.maintain(3);
        assert_eq!(harness.store().status().span_count, 0);
        harness.clock.set(BEGIN);
        harness.restart();
        (new + 1..=new + 4).for_each(|n| harness.append(&[sent(n, 1)]));
        harness.store().seal_all();
        (old + 1..=old + 4).for_each(|n| assert_eq!(harness.trace(trace_id(n)), [], "trace {n} is gone"));
        (new + 1..=new + 4).for_each(|n| assert_eq!(harness.trace(trace_id(n)), [sent(n, 1)]));
        harness.clock.advance(8 * 24 * HOUR);
        harness.maintain(3);
        harness.clock.set(BEGIN);
        harness.restart();
    }
}
