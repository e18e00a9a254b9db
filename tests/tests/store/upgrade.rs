//! Blocks of older formats: they answer every query, and background work rewrites them in today's format.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use spandrel_block::{BlockId, BlockKey, CatalogRow, FORMAT_VERSION, Hour, verify};
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};
use spandrel_storage::engine::{Change, NewBlock};
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Order, Predicate, SearchPlan};
use spandrel_storage::{Engine, StoredSpan, TraceStore};
use spandrel_tests::contract::aggregate;
use spandrel_tests::frozen::levels_and_formats;
use spandrel_tests::harness::{Backend, Harness, config, plan};
use spandrel_tests::spans::{HOUR, MINUTE, sent, trace_id};

/// Spans of the frozen block of format 1: see `storage/block/tests/frozen/version_1.rs`.
const SPANS: u64 = 402;
const START: u64 = 1_700_000_000_000_000_000;
/// The hour of their arrival.
const ARRIVED: u64 = START / HOUR * HOUR;

fn fixture(name: &str) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../storage/block/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// Puts the frozen block of format 1 into an engine. `level` is that of its catalog row: 0 for a block that was never
/// merged.
fn put_old_block(engine: &dyn Engine, id: u64, level: u8) -> BlockKey {
    put_frozen(engine, "v1", id, level)
}

/// Puts a frozen block into an engine with the catalog row of its time.
fn put_frozen(engine: &dyn Engine, version: &str, id: u64, level: u8) -> BlockKey {
    let bytes = fixture(&format!("block-{version}.bin"));
    let mut row = CatalogRow::decode(&fixture(&format!("row-{version}.bin"))).unwrap();
    row.meta.level = level;
    let index = verify(bytes.clone()).unwrap().traces.entries().to_vec();
    let key =
        BlockKey { tenant: TenantId::default(), hour: Hour::of(UnixNanos(ARRIVED)), block: BlockId(id) };
    let add = NewBlock { id: key.block, row: row.encode().unwrap(), bytes, short_lived: level == 0, index };
    let change = Change { tenant: key.tenant.clone(), hour: key.hour, adds: vec![add], removes: vec![] };
    engine.commit(&change).unwrap();
    key
}

/// A store that opens over frozen blocks of format 1 with these levels.
fn store_with(backend: Backend, levels: &[u8]) -> Harness {
    let engine = backend.engine().unwrap();
    for (id, level) in levels.iter().enumerate() {
        put_old_block(&*engine, 1 + id as u64, *level);
    }
    drop(engine);
    Harness::at(backend, config(), ARRIVED + MINUTE).unwrap()
}

/// The formats of the blocks of the catalog.
fn formats(harness: &Harness) -> Vec<u16> {
    levels_and_formats(&**harness.engine()).into_iter().map(|(_, format)| format).collect()
}

fn id(n: u8) -> TraceId {
    TraceId::from_bytes([n; 16])
}

/// Answers to queries of every kind, for comparison.
#[derive(Debug, PartialEq)]
struct Answers {
    traces: Vec<Vec<(Bytes, Bytes, Bytes)>>,
    searches: Vec<String>,
    counts: BTreeMap<String, (u64, u64, u64)>,
    edges: Vec<String>,
    names: Vec<String>,
    spans: u64,
}

fn ask(harness: &Harness) -> Answers {
    let (store, tenant) = (harness.store(), TenantId::default());
    let wire = |span: StoredSpan| (span.resource, span.scope, span.span);
    let traces = [id(1), id(2)].map(|id| {
        let spans = store.trace(&tenant, id).unwrap().unwrap();
        let damage = spans.damage();
        let spans: Vec<_> = spans.map(|span| wire(span.unwrap())).collect();
        assert_eq!(damage.blocks(), 0);
        spans
    });
    let key = |key: &str| Field::Attribute(AttributeScope::Any, key.to_owned());
    let text = |text: &str| Comparison::Eq(Literal::String(text.to_owned()));
    let predicates = [
        Predicate::All,
        Predicate::Compare(Field::Name, text("read")),
        Predicate::Compare(key("service.name"), text("shop")),
        Predicate::Compare(key("cache.hit"), Comparison::Eq(Literal::Bool(true))),
        Predicate::Compare(key("http.response.status_code"), Comparison::Ge(Literal::Int(404))),
        Predicate::Compare(key("noise"), text("no such text")),
        Predicate::Exists(key("noise")),
        Predicate::Compare(Field::Failed, Comparison::Eq(Literal::Bool(true))),
        Predicate::Compare(Field::Duration, Comparison::Gt(Literal::Int(399))),
    ];
    let mut searches = Vec::new();
    for predicate in predicates {
        for order in [Order::Newest, Order::Longest, Order::MostSpans] {
            let answer = harness.search(&SearchPlan { order, ..plan(predicate.clone()) });
            assert!(!answer.partial, "{predicate:?}");
            searches.push(format!("{predicate:?} {order:?}: {:?}", answer.traces));
        }
    }
    let counts = aggregate::answer(harness, &aggregate::plan()).into_iter();
    let counts = counts
        .map(|(key, (requests, errors, latency))| (format!("{key:?}"), (requests, errors, latency.max())));
    let dependencies = store.dependencies(&tenant, TimeRange::ALL).unwrap();
    assert!(!dependencies.partial);
    let mut names = store.services(&tenant);
    names.extend(
        ["shop", "cart"]
            .iter()
            .flat_map(|service| store.operations(&tenant, service))
            .map(|operation| format!("{operation:?}")),
    );
    Answers {
        traces: traces.into(),
        searches,
        counts: counts.collect(),
        edges: dependencies.edges.iter().map(|edge| format!("{edge:?}")).collect(),
        names,
        spans: store.status().span_count,
    }
}

/// Asserts that the answers come from the fixture's spans.
fn check(answers: &Answers) {
    assert_eq!(answers.traces.iter().map(Vec::len).collect::<Vec<_>>(), [2, SPANS as usize - 2]);
    let found = |at: usize| answers.searches[3 * at].matches("TraceSummary").count();
    assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(found), [2, 1, 1, 1, 1, 0, 1, 1], "{:#?}", answers.searches);
    assert_eq!(answers.counts.values().map(|counts| counts.0).sum::<u64>(), SPANS, "{:?}", answers.counts);
    assert!(
        answers.edges.iter().any(|edge| edge.contains("shop") && edge.contains("cart")),
        "{:?}",
        answers.edges
    );
    assert!(answers.names.starts_with(&["cart".to_owned(), "shop".to_owned()]), "{:?}", answers.names);
    assert_eq!(answers.spans, SPANS);
}

/// An upgraded block has a grace period like a merged one.
#[test]
fn a_block_that_was_taken_over_stays_for_its_grace() {
    let mut harness = store_with(Backend::memory(), &[1]);
    harness.config.replaced_grace = Duration::from_secs(60);
    harness.restart();
    harness.maintain(2);
    assert_eq!(formats(&harness), [FORMAT_VERSION]);
    assert_eq!(harness.engine().unreferenced().unwrap().len(), 1);
    harness.clock.advance(MINUTE);
    harness.maintain(1);
    assert_eq!(harness.engine().unreferenced().unwrap(), []);
}

#[test]
fn old_blocks_answer_everything_and_are_taken_over() {
    for backend in [Backend::memory(), Backend::quick_rocks()] {
        let mut harness = store_with(backend, &[1]);
        let before = ask(&harness);
        check(&before);
        assert_eq!(formats(&harness), [1], "a question rewrote a block");
        assert!(harness.store().refusal().is_none());
        harness.maintain(1);
        assert_eq!(formats(&harness), [FORMAT_VERSION]);
        assert_eq!(ask(&harness), before);
        // Nothing is left to upgrade.
        let block = harness.engine().catalog_rows().unwrap();
        harness.maintain(2);
        assert_eq!(harness.engine().catalog_rows().unwrap(), block);
        harness.whatever_happens(|harness| assert_eq!(ask(harness), before));
        // The old block is deleted, and the level of the new one did not rise.
        assert_eq!(harness.engine().stored_blocks().unwrap().len(), 1);
        let row = CatalogRow::decode(&harness.engine().catalog_rows().unwrap()[0].1).unwrap();
        assert_eq!((row.meta.level, row.meta.spans), (1, SPANS as u32));
        assert_eq!(harness.store().status().damaged_blocks, 0);
    }
}

/// Blocks of all columnar formats with the same spans need no upgrade and give the same answers.
#[test]
fn columnar_blocks_are_read_as_they_are() {
    let text_literal = |value: &str| Literal::String(value.to_owned());
    let text = |value: &str| Comparison::Eq(text_literal(value));
    let key = |key: &str| Field::Attribute(AttributeScope::Span, key.to_owned());
    let number = Comparison::Ge(Literal::Int(404));
    let predicates = [
        Predicate::All,
        Predicate::Compare(key("text"), text("täxt")),
        Predicate::Compare(key("text"), text("no such text")),
        Predicate::Compare(key("int"), number),
        Predicate::Exists(key("flag")),
        Predicate::Compare(key("array"), text("a")),
        Predicate::Compare(key("array"), Comparison::Gt(Literal::Int(1))),
        Predicate::Compare(key("array"), Comparison::Ne(text_literal("b"))),
        Predicate::Exists(key("array")),
        Predicate::Compare(key("array"), text("b")),
        Predicate::Compare(key("array"), Comparison::Ne(text_literal("a"))),
        Predicate::Compare(key("map"), text("a")),
    ];
    let answers = |version: &str, level: u8| {
        let backend = Backend::memory();
        put_frozen(&*backend.engine().unwrap(), version, 1, level);
        let mut harness = Harness::at(backend, config(), ARRIVED + MINUTE).unwrap();
        let ask = |harness: &Harness| {
            let found = predicates.clone().map(|predicate| harness.search(&plan(predicate)));
            assert!(found.iter().all(|answer| !answer.partial), "{version}");
            found.map(|answer| format!("{:?}", answer.traces))
        };
        let before = ask(&harness);
        harness.maintain(2);
        if level > 0 {
            assert_eq!(formats(&harness), [version[1..2].parse::<u16>().unwrap()], "rewritten");
        }
        harness.store().seal_all();
        assert_eq!(ask(&harness), before);
        assert_eq!(harness.store().status().unsealed_span_count, 0);
        harness.whatever_happens(|harness| assert_eq!(ask(harness), before));
        before
    };
    let first = answers("v2", 1);
    assert_eq!([0, 1, 2].map(|at| first[at].contains("TraceSummary")), [true, true, false], "{first:#?}");
    // Elements of arrays are found, although filters of earlier programs lack them.
    let found = [true, true, true, true, false, false, false];
    assert_eq!([5, 6, 7, 8, 9, 10, 11].map(|at| first[at].contains("TraceSummary")), found, "{first:#?}");
    let fresh = ["v2-fresh", "v3-fresh", "v4-fresh", "v5-fresh"].map(|version| (version, 0));
    let merged = ["v3", "v4", "v5", "v5-elements"].map(|version| (version, 1));
    for (version, level) in merged.into_iter().chain(fresh) {
        assert_eq!(answers(version, level), first, "{version}");
    }
}

/// Old blocks that were never merged are merged with new ones.
#[test]
fn old_fresh_blocks_are_merged_with_new_ones() {
    for backend in [Backend::memory(), Backend::quick_rocks()] {
        let mut harness = store_with(backend, &[0]);
        let before = ask(&harness);
        check(&before);
        harness.append(&[sent(7, 1), sent(7, 2)]);
        assert_eq!(ask(&harness).traces, before.traces);
        harness.restart();
        assert_eq!(harness.trace(trace_id(7)).len(), 2);
        harness.store().seal_all();
        assert_eq!(formats(&harness), [FORMAT_VERSION], "not merged into one block");
        harness.whatever_happens(|harness| {
            assert_eq!(ask(harness).traces, before.traces);
            assert_eq!(harness.trace(trace_id(7)).len(), 2);
            assert_eq!(harness.store().status().span_count, SPANS + 2);
        });
    }
}

/// Three old blocks have the same spans. Each span is shown once while they are upgraded, and levels stay.
#[test]
fn several_old_blocks_are_taken_over_one_by_one() {
    let mut harness = store_with(Backend::memory(), &[1, 1, 2]);
    let traces = ask(&harness).traces;
    assert_eq!(traces.iter().map(Vec::len).collect::<Vec<_>>(), [2, SPANS as usize - 2]);
    for done in 1..=3 {
        harness.maintain(1);
        let taken_over = formats(&harness).iter().filter(|format| **format == FORMAT_VERSION).count();
        assert_eq!(taken_over, done);
        assert_eq!(ask(&harness).traces, traces);
        harness.restart();
    }
    let levels: Vec<u8> = harness
        .engine()
        .catalog_rows()
        .unwrap()
        .iter()
        .map(|(_, row)| CatalogRow::decode(row).unwrap().meta.level)
        .collect();
    assert_eq!(levels, [1, 1, 2]);
}

/// A newer program may have written such a block. The store does not open and says why: a block that is taken for
/// damage would be dropped in the end.
#[test]
fn a_store_with_a_newer_block_does_not_open() {
    for level in [0, 1] {
        for backend in [Backend::memory(), Backend::quick_rocks()] {
            let engine = backend.engine().unwrap();
            let bytes = fixture("block-newer.bin");
            let mut row = CatalogRow::decode(&fixture("row-v5.bin")).unwrap();
            row.meta.level = level;
            let row = row.encode().unwrap();
            let add = NewBlock { id: BlockId(7), row, bytes, short_lived: level == 0, index: vec![] };
            let (tenant, hour) = (TenantId::default(), Hour::of(UnixNanos(ARRIVED)));
            engine.commit(&Change { tenant, hour, adds: vec![add], removes: vec![] }).unwrap();
            let before = engine.catalog_rows().unwrap();
            drop(engine);
            let Err(error) = Harness::at(backend.clone(), config(), ARRIVED + MINUTE) else {
                panic!("it opened")
            };
            assert_eq!(
                error,
                "block 7 of tenant default: block format 65535 is newer than this program (format 5); use a newer Spandrel"
            );
            let engine = backend.engine().unwrap();
            assert_eq!(engine.catalog_rows().unwrap(), before);
            let report = spandrel_storage::check::check(&*engine, &mut |_| true).unwrap();
            assert!(
                report.findings.iter().any(|finding| finding.detail.contains("use a newer Spandrel")),
                "{report:?}"
            );
        }
    }
}

/// A damaged block of format 1 is reported, missing in answers, and never rewritten.
#[test]
fn a_damaged_old_block_stays() {
    let Backend::Memory(engine) = Backend::memory() else { panic!("memory") };
    let key = put_old_block(&engine, 1, 1);
    engine.damage(&key, 60_000);
    let harness = Harness::at(Backend::Memory(engine.clone()), config(), ARRIVED + MINUTE).unwrap();
    harness.append(&[sent(7, 1)]);
    let answer = harness.search(&plan(Predicate::All));
    assert!(answer.partial);
    assert_eq!(answer.traces.len(), 1);
    assert!(harness.store().status().damaged_blocks > 0);
    harness.maintain(3);
    harness.store().seal_all();
    assert!(engine.block_keys().contains(&key), "a block that cannot be read was dropped");
}
