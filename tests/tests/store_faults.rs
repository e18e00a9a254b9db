//! What the store does when its ground gives way: damaged blocks, full disks, failed writes. In
//! memory, where ground can be made to give way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use spandrel_block::{BlockKey, Header, SectionKind};
use spandrel_proto::TenantId;
use spandrel_storage::engine::{BlockStore, Catalog, Change, EngineError, MemoryEngine, NewBlock};
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Order, Predicate, SearchPlan};
use spandrel_storage::{AppendError, TraceStore};
use spandrel_tests::contract::aggregate;
use spandrel_tests::harness::{Ground, Harness, plan};
use spandrel_tests::spans::{BEGIN, HOUR, MINUTE, Sent, decoded, sent, text, trace_id};

fn on(engine: &MemoryEngine) -> Harness {
    Harness::new(Ground::Memory(engine.clone()))
}

/// Parts of traces 1 to 5 in one block and parts of 4 to 8 in another; long enough for several body
/// chunks in each. Returns the key of the first block.
fn two_blocks(engine: &MemoryEngine, sealed: bool) -> (Harness, BlockKey) {
    let harness = on(engine);
    let spans = |traces: std::ops::RangeInclusive<u64>, from: u64| -> Vec<Sent> {
        let each = |n| (from..from + 100).map(move |m| sent(n, m).at(m, m).with("k", text(&"x".repeat(500))));
        traces.flat_map(each).collect()
    };
    harness.append(&spans(1..=5, 1));
    if sealed {
        harness.store().seal_all();
        harness.maintain(1);
    }
    let first = engine.block_keys().pop().unwrap();
    harness.clock.advance(HOUR);
    harness.append(&spans(4..=8, 1001));
    if sealed {
        harness.store().seal_all();
        harness.maintain(1);
    }
    (harness, first)
}

/// One place in each section of a block, the header first.
fn places(engine: &MemoryEngine, key: &BlockKey) -> Vec<(String, usize)> {
    let row = engine.read().unwrap().into_iter().find(|(known, _)| known == key).unwrap().1;
    let row = spandrel_block::CatalogRow::decode(&row).unwrap();
    let bytes = engine.get_ranges(key, std::slice::from_ref(&(0..row.bytes))).unwrap().remove(0);
    let header = Header::parse(&bytes).unwrap();
    use SectionKind::*;
    let kinds = [Dictionary, Traces, Start, Duration, Flags, Operation, Sequence, Filter, Rollups];
    let mut places: Vec<(String, usize)> =
        [0, 8, 12, 16, 30, 40, 60].map(|at| (format!("header byte {at}"), at)).into();
    for kind in kinds {
        let range = header.section(kind).unwrap().range();
        places.push((format!("{kind:?}"), (range.start + range.end) as usize / 2));
    }
    assert!(header.chunks().len() > 2, "the block has too few chunks to tell them apart");
    for (n, chunk) in header.chunks().iter().enumerate() {
        places.push((format!("chunk {n}"), chunk.range().start as usize + 20));
    }
    places
}

/// Asks everything; nothing may panic or fail, and the undamaged block has to be served. Returns
/// whether some answer said that it is partial.
fn ask_everything(harness: &Harness, what: &str) -> bool {
    let tenant = TenantId::default();
    let mut said = false;
    for n in 1..=8 {
        let found = harness.store().trace(&tenant, trace_id(n)).unwrap();
        let Some(spans) = found else { continue };
        let damage = spans.damage();
        let ids: Vec<u64> = spans
            .map(|span| u64::from_be_bytes(*Sent::from_stored(&span.unwrap()).id().as_bytes()))
            .collect();
        said |= damage.blocks() > 0;
        let intact = ids.iter().filter(|id| **id > 1000).count();
        assert_eq!(intact, if n >= 4 { 100 } else { 0 }, "{what}: trace {n}");
        assert!(
            damage.blocks() > 0 || n > 5 || ids.len() - intact == 100,
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
    for predicate in predicates {
        for order in [Order::Newest, Order::Longest, Order::MostSpans] {
            let answer = harness.search(&SearchPlan { order, ..plan(predicate.clone()) });
            said |= answer.partial;
            let intact = answer.traces.iter().filter(|trace| trace.id >= trace_id(6)).count();
            let none = matches!(predicate, Predicate::Compare(Field::Kind, _));
            assert_eq!(intact, if none { 0 } else { 3 }, "{what}: {predicate:?} {order:?}");
            let whole = answer.traces.iter().filter(|trace| trace.span_count >= 100).count();
            assert!(answer.partial || none || whole == 8, "{what}: silent loss in {predicate:?} {order:?}");
        }
    }
    for step in [MINUTE, 1] {
        let plan = spandrel_storage::plan::AggregatePlan { step, ..aggregate::plan() };
        let answer = harness.store().aggregate(&tenant, &plan).unwrap();
        let partial = answer.partial;
        said |= partial;
        let counted: u64 = aggregate::points(answer).values().map(|point| point.0).sum();
        assert!(counted == 1000 || partial && counted == 500, "{what}: {counted} spans in steps of {step}");
    }
    harness.store().services(&tenant);
    harness.store().status();
    said
}

#[test]
fn damage_costs_one_block_and_is_told() {
    for sealed in [false, true] {
        let (_, key) = two_blocks(&MemoryEngine::default(), sealed);
        let engine = MemoryEngine::default();
        let (harness, key) = (two_blocks(&engine, sealed).0, key);
        let places = places(&engine, &key);
        drop(harness);
        for (name, at) in places {
            let what = format!("{name}, {}", if sealed { "sealed" } else { "fresh" });
            let engine = MemoryEngine::default();
            let (mut harness, key) = two_blocks(&engine, sealed);
            engine.damage(&key, at);
            // Open stores have parts in their cache; new ones meet the damage at once.
            ask_everything(&harness, &what);
            harness.restart();
            let said = ask_everything(&harness, &what);
            // What rollups say, columns say too: nothing is missing without them.
            assert!(said || name == "Rollups", "{what}: no answer said that it is partial");
            assert!(harness.store().status().damaged_blocks > 0, "{what}: damage is not counted");
            // Nothing is lost by a merge that cannot read everything, and the rest is merged.
            harness.store().seal_all();
            ask_everything(&harness, &what);
            assert!(engine.block_keys().contains(&key), "{what}: a merge dropped a damaged block");
            let fresh = harness.store().status().fresh_block_count;
            assert!(fresh <= 1, "{what}: {fresh} blocks stay fresh");
            harness.append(&[sent(99, 1)]);
            let found = harness.store().trace(&TenantId::default(), trace_id(99)).unwrap().unwrap();
            assert_eq!(found.count(), 1, "{what}");
        }
    }
}

#[test]
fn a_damaged_catalog_row_is_named() {
    let engine = MemoryEngine::default();
    let harness = on(&engine);
    harness.append(&[sent(1, 1)]);
    let (key, mut row) = engine.read().unwrap().pop().unwrap();
    let change = |row: Vec<u8>| {
        let block =
            NewBlock { id: key.block, bytes: b"".as_slice().into(), row, short_lived: true, index: vec![] };
        Change { tenant: key.tenant.clone(), hour: key.hour, adds: vec![block], removes: vec![] }
    };
    row[20] ^= 1;
    engine.commit(&change(row.clone())).unwrap();
    let open = |engine: &MemoryEngine| {
        let engine = std::sync::Arc::new(engine.clone());
        spandrel_storage::BlockTraceStore::open(engine, harness.clock.clone(), harness.config.clone())
    };
    let error = open(&engine).err().unwrap().to_string();
    assert!(error.contains("checksum") && error.contains(&key.block.0.to_string()), "{error}");
    row[0] = 9;
    engine.commit(&change(row)).unwrap();
    let error = open(&engine).err().unwrap().to_string();
    assert!(error.contains("record version 9") && error.contains("newer"), "{error}");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let engine = MemoryEngine::default();
    let mut harness = on(&engine);
    harness.append(&[sent(1, 1)]);
    engine.fail_commits(Some(EngineError::NoSpace("No space left on device".to_owned())));
    for _ in 0..3 {
        let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(2, 1)])]);
        assert!(matches!(refused, Err(AppendError::DiskFull { .. })), "{refused:?}");
        // Reads go on, and nothing of the refused batch is there.
        assert_eq!((harness.trace(trace_id(1)).len(), harness.trace(trace_id(2)).len()), (1, 0));
        assert_eq!(harness.find(Predicate::All).len(), 1);
        // Merging needs room: it waits.
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
    engine.fail_commits(Some(EngineError::Io("fsync: input/output error".to_owned())));
    let refused = harness.store().append(&TenantId::default(), &[decoded(&[sent(2, 1)])]);
    assert!(matches!(&refused, Err(AppendError::Poisoned(why)) if why.contains("fsync")), "{refused:?}");
    engine.fail_commits(None);
    // A lost sync is never tried again: also not when the disk seems to work.
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
    engine.fail_commits(Some(EngineError::Io("fsync: input/output error".to_owned())));
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
    // Somebody else takes a block out of the catalog that this store is about to merge.
    let (key, _) = engine.read().unwrap().remove(1);
    let gone = Change { tenant: key.tenant.clone(), hour: key.hour, adds: vec![], removes: vec![key.block] };
    engine.commit(&gone).unwrap();
    harness.store().seal_all();
    assert_eq!(engine.read().unwrap().len(), 2, "a merge that met a conflict changed the catalog");
    harness.append(&[sent(4, 1)]);
    assert_eq!(harness.trace(trace_id(1)).len(), 1);
}

/// Rows of the index outlive their block. A later block that had its number would show one trace's
/// spans as another's, and a clock that always starts at the same time would give it that number.
#[test]
fn a_clock_that_stands_still_gives_no_number_twice() {
    let mut harness = Harness::new(Ground::quick_rocks());
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
