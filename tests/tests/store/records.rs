//! The small records beside the blocks: pins, deletions, rollups, numbers. Records of earlier versions stay readable,
//! and a check reads all of them.
//!
//! `fixtures/records-v1.txt` was written once and does not change. To see what this program would write, run
//! `SPANDREL_PROPOSE_FIXTURES=1 cargo test -p spandrel-tests --test store records::`; it writes `*.proposed` beside it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use spandrel_block::record;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};
use spandrel_storage::check::check;
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate, ScanPlan};
use spandrel_storage::{Deletions, Engine, Pins, RetentionRule, StoreConfig, TraceStore};
use spandrel_tests::contract::aggregate;
use spandrel_tests::harness::{Backend, Harness, config};
use spandrel_tests::spans::{BEGIN, HOUR, MINUTE, sent, trace_id};

const DAY: u64 = 24 * HOUR;
/// Kind, name and bytes in hex, one record a line.
type Record = (String, String, Vec<u8>);

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn frozen() -> Vec<Record> {
    let text = std::fs::read_to_string(path("records-v1.txt")).unwrap();
    let record = |line: &str| {
        let [kind, name, hex] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (kind.to_owned(), name.to_owned(), (0..hex.len()).step_by(2).map(byte).collect())
    };
    text.lines().map(record).collect()
}

fn of_service(name: &str) -> Predicate {
    let field = Field::Attribute(AttributeScope::Any, "service.name".to_owned());
    Predicate::Compare(field, Comparison::Eq(Literal::String(name.to_owned())))
}

fn with_a_rule() -> StoreConfig {
    let rule = RetentionRule { predicate: of_service("chatty"), keep: Duration::from_nanos(DAY) };
    StoreConfig { retention_rules: vec![rule], ..config() }
}

/// A store with every kind of record: counts of expired spans, a pin, a finished deletion and an unfinished one.
fn write() -> Harness {
    let harness = Harness::with(Backend::memory(), with_a_rule());
    let chatty = |trace, span| sent(trace, span).service("chatty").at(MINUTE * span, 1_000 * span);
    harness.append(&[
        chatty(1, 1),
        chatty(1, 2).status(2),
        sent(2, 1),
        sent(3, 1).service("gone"),
        sent(4, 1).service("later"),
    ]);
    harness.store().seal_all();
    harness.clock.advance(DAY + HOUR);
    harness.maintain(2);
    let tenant = TenantId::default();
    harness.store().pin(&tenant, trace_id(2)).unwrap();
    let delete = |predicate| {
        let plan = ScanPlan { predicate, range: TimeRange::ALL };
        harness.store().delete(&tenant, &plan).unwrap()
    };
    let done = delete(of_service("gone"));
    while harness.store().deletion(&tenant, done.id).unwrap().unwrap().finished.is_none() {
        harness.maintain(1);
    }
    delete(of_service("later"));
    harness
}

/// All records of an engine.
fn records(engine: &dyn Engine) -> Vec<Record> {
    let of = |kind: &str| -> Vec<Record> {
        let all = engine.records(kind).unwrap().into_iter();
        all.map(|(name, bytes)| (kind.to_owned(), name, bytes)).collect()
    };
    let counted = of("counted");
    let rows: Vec<Record> = counted.iter().flat_map(|(_, name, _)| of(&format!("counts-{name}"))).collect();
    let others = ["pin", "deletion", "deletion-traces", "numbers"].into_iter().flat_map(of);
    others.chain(counted).chain(rows).collect()
}

/// The kinds of the records, without the window in the name of counts.
fn kinds(records: &[Record]) -> BTreeSet<&str> {
    records
        .iter()
        .map(|(kind, ..)| if kind.starts_with("counts-") { "counts-" } else { kind.as_str() })
        .collect()
}

/// An engine with these records alone.
fn engine_with(records: &[Record]) -> (Backend, std::sync::Arc<dyn Engine>) {
    let backend = Backend::memory();
    let engine = backend.engine().unwrap();
    for (kind, name, bytes) in records {
        engine.put_record(kind, name, Some(bytes)).unwrap();
    }
    (backend, engine)
}

#[test]
fn what_would_be_written_today() {
    let written = records(&**write().engine());
    if std::env::var_os("SPANDREL_PROPOSE_FIXTURES").is_some() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let lines = written.iter().map(|(kind, name, bytes)| format!("{kind}\t{name}\t{}\n", hex(bytes)));
        std::fs::create_dir_all(path("")).unwrap();
        std::fs::write(path("records-v1.txt.proposed"), lines.collect::<String>()).unwrap();
    }
    assert_eq!(kinds(&written), kinds(&frozen()), "a kind of records without a frozen one");
}

#[test]
fn frozen_records_mean_what_they_meant() {
    let (backend, _) = engine_with(&frozen());
    let harness = Harness::at(backend, with_a_rule(), BEGIN + DAY + 2 * HOUR).unwrap();
    let tenant = TenantId::default();
    let pins = harness.store().pins(&tenant);
    assert_eq!(pins, [(trace_id(2), UnixNanos(BEGIN + DAY + HOUR))]);
    let deletions = harness.store().deletions(&tenant).unwrap();
    let said: Vec<_> =
        deletions.iter().map(|deletion| (deletion.traces, deletion.spans, deletion.finished)).collect();
    // The second deletion ends at once, because the engine has no blocks.
    assert_eq!(said.iter().map(|(traces, spans, _)| (*traces, *spans)).collect::<Vec<_>>(), [(1, 0), (1, 1)]);
    assert_eq!((said[0].2.is_some(), said[1].2.is_some()), (false, true));
    let counts = aggregate::answer(&harness, &aggregate::plan());
    let requests: u64 = counts.values().map(|(requests, ..)| requests).sum();
    let errors: u64 = counts.values().map(|(_, errors, _)| errors).sum();
    assert_eq!((requests, errors), (2, 1), "{counts:?}");
}

#[test]
fn a_check_reads_every_record() {
    let all = frozen();
    let findings = |records: &[Record]| check(&*engine_with(records).1, &mut |_| true).unwrap().findings;
    assert_eq!(findings(&all), []);
    for at in 0..all.len() {
        for byte in 0..all[at].2.len() {
            let mut damaged = all.clone();
            damaged[at].2[byte] ^= 1 << (byte % 8);
            let found = findings(&damaged);
            assert_eq!(found.len(), 1, "byte {byte} of {} {}", all[at].0, all[at].1);
            assert!(found[0].detail.starts_with("the record of "), "{found:?}");
        }
    }
}

/// Flips a bit of each byte of each record. Pins hold. Damaged counts are set aside and answers are partial. A damaged
/// record of a finished deletion is forgotten. With one of an unfinished deletion the store does not open.
#[test]
fn a_damaged_record_costs_nothing_but_itself() {
    let all = frozen();
    for at in 0..all.len() {
        for byte in 0..all[at].2.len() {
            let mut damaged = all.clone();
            damaged[at].2[byte] ^= 1 << (byte % 8);
            let (backend, _) = engine_with(&damaged);
            let what = format!("byte {byte} of {} {}", all[at].0, all[at].1);
            let opened = Harness::at(backend, with_a_rule(), BEGIN + DAY + 2 * HOUR);
            let is_under_way =
                all.iter().any(|(kind, name, _)| kind == "deletion-traces" && *name == all[at].1);
            if all[at].0.starts_with("deletion") && is_under_way {
                let why = opened.err().unwrap_or_else(|| panic!("{what}: what is deleted may come back"));
                assert!(why.contains("the record of deletion") && why.contains("spandrel restore"), "{why}");
                continue;
            }
            let harness = opened.unwrap_or_else(|why| panic!("{what}: {why}"));
            check_the_rest(&harness, &all[at].0, &what);
        }
    }
}

/// The record says that the deletion is unfinished. Without its list the store cannot tell which spans must not come
/// back.
#[test]
fn a_deletion_without_its_list_keeps_a_store_closed() {
    let mut left = frozen();
    left.retain(|(kind, ..)| kind != "deletion-traces");
    let (backend, engine) = engine_with(&left);
    let found = check(&*engine, &mut |_| true).unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    let why = Harness::at(backend, with_a_rule(), BEGIN + DAY + 2 * HOUR).err().expect("it opened");
    for why in [&found[0].detail, &why] {
        assert!(why.contains("the record of deletion 1797ee1eb47a6001: the list of its traces"), "{why}");
    }
    assert!(why.contains("spandrel restore"), "{why}");
    // Finished deletions need no list.
    left.retain(|(kind, name, _)| kind != "deletion" || name == "1797ee1eb47a6000");
    let (backend, engine) = engine_with(&left);
    assert_eq!(check(&*engine, &mut |_| true).unwrap().findings, []);
    assert!(Harness::at(backend, with_a_rule(), BEGIN + DAY + 2 * HOUR).is_ok());
}

/// Asserts that everything but a damaged record of this kind is served.
fn check_the_rest(harness: &Harness, kind: &str, what: &str) {
    let (store, tenant) = (harness.store(), TenantId::default());
    let pins = store.pins(&tenant);
    assert_eq!(pins.iter().map(|(trace, _)| *trace).collect::<Vec<_>>(), [trace_id(2)], "{what}");
    let counts = store.aggregate(&tenant, &aggregate::plan()).unwrap();
    let counted: u64 =
        counts.series.iter().flat_map(|series| &series.points).map(|point| point.request_count).sum();
    let are_counts = kind.starts_with("count");
    assert_eq!((counts.partial, counted), (are_counts, if are_counts { 0 } else { 2 }), "{what}");
    let deletions = store.deletions(&tenant).unwrap().len();
    assert_eq!(deletions, if kind == "deletion" { 1 } else { 2 }, "{what}");
    assert_eq!(store.status().damaged_records, 1, "{what} is not told");
    harness.append(&[sent(9, 1)]);
    harness.maintain(2);
    assert_eq!(harness.trace(trace_id(9)).len(), 1, "{what}");
}

/// A newer record is not damage, which would be set aside and lost in the end.
#[test]
fn a_record_of_a_newer_version_keeps_a_store_closed() {
    for at in 0..frozen().len() {
        let mut newer = frozen();
        newer[at].2 = record::encode(2, &7u64).unwrap();
        let kind = newer[at].0.clone();
        if kind.starts_with("counts-") {
            continue; // It is read when somebody asks, and said to be newer then.
        }
        let (backend, _) = engine_with(&newer);
        let why = Harness::at(backend, with_a_rule(), BEGIN + DAY + 2 * HOUR).err().unwrap();
        assert!(why.contains(&kind) && why.contains("newer Spandrel"), "{why}");
    }
}

#[test]
fn damaged_counts_go_when_sound_ones_would_have() {
    let mut damaged = frozen();
    let counted = damaged.iter_mut().find(|(kind, ..)| kind == "counted").unwrap();
    counted.2[5] ^= 1;
    let (backend, _) = engine_with(&damaged);
    let harness = Harness::at(backend, with_a_rule(), BEGIN + DAY + 2 * HOUR).unwrap();
    harness.append(&[sent(9, 1)]);
    let is_partial = || harness.store().aggregate(&TenantId::default(), &aggregate::plan()).unwrap().partial;
    harness.maintain(2);
    assert!(is_partial());
    harness.clock.advance(8 * DAY);
    harness.maintain(2);
    assert!(!is_partial(), "until a restart nobody noticed");
    assert_eq!(harness.engine().records("counted").unwrap(), []);
}

/// A restore that was cut off leaves a mark that no program passes over.
#[test]
fn a_frozen_mark_of_a_restore_keeps_a_store_closed() {
    for mark in ["clearing 00000000000000a7", "filling 00000000000000a7"] {
        let mark = ("restore".to_owned(), "unfinished".to_owned(), mark.as_bytes().to_vec());
        let (backend, engine) = engine_with(&[mark]);
        let Err(error) = Harness::at(backend, config(), BEGIN) else { panic!("it opened") };
        assert!(error.contains("restore of backup 00000000000000a7 was not finished"), "{error}");
        assert_eq!(check(&*engine, &mut |_| true).unwrap().findings.len(), 1);
    }
}
