//! Repairs: a store with a damaged table does not open. After a repair it has everything that could be read, accepts
//! spans, merges and collects garbage. Deleted and replaced blocks stay away, and no interruption loses a store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spandrel_proto::TenantId;
use spandrel_rocks::{DataDir, Durability, RepairStart, RocksEngine, RocksRepair};
use spandrel_storage::check::{FindingKind, check};
use spandrel_storage::engine::PurgeProgress;
use spandrel_storage::plan::Predicate;
use spandrel_storage::repair::{RepairReport, repair};
use spandrel_storage::{
    AppendError, Backups as _, Deletions as _, Engine as _, Pins as _, RetentionRule, StoreConfig,
    TraceStore as _,
};
use spandrel_tests::contract::aggregate;
use spandrel_tests::contract::deletion::with;
use spandrel_tests::corruption::{self, damage, flip, tables};
use spandrel_tests::harness::{Backend, Harness, config, copy, plan};
use spandrel_tests::memory_backup::MemoryBackup;
use spandrel_tests::server::{eventually, number};
use spandrel_tests::spans::{BEGIN, HOUR, Sent, decoded, sent, text, trace_id};
use tempfile::TempDir;

/// Traces of the store that most tests begin with. A third of them is in one sealed block, a third in another one in
/// another file, and a third in fresh blocks in two files.
const TRACES: u64 = 30;
const NEW: u64 = 1_000;

fn open(folder: &Path) -> Result<Harness, String> {
    Harness::at(Backend::Folder(folder.to_owned(), Durability::Sync), config(), BEGIN)
}

/// Runs a purge, which rewrites files until no deleted or replaced data is left.
fn purge(harness: &Harness) {
    harness.engine().begin_purge().unwrap();
    eventually("the end of a purge", || {
        (harness.engine().continue_purge().unwrap() == PurgeProgress::Done).then_some(())
    });
}

fn trace(n: u64) -> Vec<Sent> {
    (1..=4).map(|span| sent(n, span).at(n * 1_000 + span, 50).with("n", text(&n.to_string()))).collect()
}

fn append(harness: &Harness, traces: std::ops::RangeInclusive<u64>) {
    traces.for_each(|n| harness.append(&trace(n)));
}

/// A store with rows of each column family in files, also of replaced blocks that wait for garbage collection.
fn filled() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let harness = open(folder.path()).unwrap();
    let third = TRACES / 3;
    append(&harness, 1..=third);
    harness.store().seal_all();
    harness.engine().flush().unwrap();
    append(&harness, third + 1..=2 * third);
    // Readers hold the fresh blocks while they are merged.
    let held: Vec<_> = (third + 1..=2 * third)
        .map(|n| harness.store().trace(&TenantId::default(), trace_id(n)).unwrap().unwrap())
        .collect();
    harness.store().seal_all();
    harness.engine().flush().unwrap();
    append(&harness, 2 * third + 1..=TRACES - 5);
    harness.engine().flush().unwrap();
    append(&harness, TRACES - 4..=TRACES);
    harness.store().close().unwrap();
    assert_eq!(harness.engine().unreferenced().unwrap().len() as u64, third, "they wait");
    drop(held);
    folder
}

fn store(folder: &Path) -> PathBuf {
    folder.join("store")
}

/// Flips a bit in the middle of the largest file of a kind.
fn flip_largest(folder: &Path, kind: &str) {
    let files = fs::read_dir(store(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == kind));
    let length = |path: &PathBuf| path.metadata().unwrap().len();
    let largest = files.max_by_key(length).unwrap();
    flip(&largest, length(&largest) as usize / 2);
}

fn lock(folder: &Path) -> DataDir {
    eventually("the lock of a directory that was let go", || DataDir::lock(folder, 1 << 20).ok())
}

fn begin(folder: &Path) -> Result<Box<RocksRepair>, String> {
    match RocksRepair::begin(lock(folder)).map_err(|error| error.to_string())? {
        RepairStart::Repair(repair) => Ok(repair),
        RepairStart::Finished(_) => panic!("it was only to be finished"),
    }
}

fn repaired(folder: &Path) -> Result<RepairReport, String> {
    let begun = begin(folder)?;
    let filled = repair(&begun.source, &begun.target, begun.reserve_bytes(), &mut |_| {});
    match filled {
        Ok(report) => {
            assert_eq!(begun.finish().map_err(|error| error.to_string())?, folder.join("store.damaged"));
            Ok(report)
        }
        Err(error) => {
            begun.give_up();
            assert!(!folder.join("store.repaired").exists(), "nothing is left of it");
            Err(error.to_string())
        }
    }
}

/// The traces that are found, all of them complete. Others must not be found at all.
fn found(harness: &Harness, traces: std::ops::RangeInclusive<u64>) -> BTreeSet<u64> {
    let is_there = |n: &u64| match harness.trace(trace_id(*n)) {
        spans if spans.is_empty() => false,
        spans => {
            assert_eq!(spans, trace(*n), "trace {n}");
            true
        }
    };
    traces.filter(is_there).collect()
}

/// Asserts that exactly these traces are found, by ID and by search, without duplicates.
fn check_serves(harness: &Harness, there: &BTreeSet<u64>) {
    assert_eq!(found(harness, 1..=TRACES), *there);
    let by_search: BTreeSet<_> = harness.find(Predicate::All).iter().map(|trace| trace.id).collect();
    assert_eq!(by_search, there.iter().map(|n| trace_id(*n)).collect());
    assert_eq!(harness.store().status().span_count, 4 * there.len() as u64);
}

/// Runs every operation of a store's life, and asserts that it works.
fn check_works(folder: &Path, there: &BTreeSet<u64>) {
    let harness = open(folder).unwrap();
    check_serves(&harness, there);
    append(&harness, NEW + 1..=NEW + 3);
    harness.store().seal_all();
    harness.engine().flush().unwrap();
    purge(&harness);
    append(&harness, NEW + 4..=NEW + 4);
    assert_eq!(found(&harness, NEW + 1..=NEW + 4).len(), 4);
    harness.store().close().unwrap();
    assert_eq!(check(&**harness.engine(), &mut |_| true).unwrap().findings, []);
    drop(harness);
    assert_eq!(found(&open(folder).unwrap(), 1..=TRACES), *there, "after another start");
}

/// The error of a damaged store when it is used. It must not work on silently.
fn complaint(folder: &Path) -> String {
    let harness = match open(folder) {
        Ok(harness) => harness,
        Err(why) => return why,
    };
    append(&harness, NEW + 1..=NEW + 1);
    harness.store().seal_all();
    let _ = harness.engine().flush();
    let _ = harness.engine().begin_purge();
    match harness.store().append(&TenantId::default(), &[decoded(&trace(NEW + 2))]) {
        Err(AppendError::Poisoned(why)) => {
            let refused = harness.store().refusal();
            assert!(matches!(refused, Some(AppendError::Poisoned(again)) if again == why), "it stays so");
            why
        }
        other => panic!("it goes on: {other:?}"),
    }
}

fn all() -> BTreeSet<u64> {
    (1..=TRACES).collect()
}

// === a damaged table ===

#[test]
fn whatever_can_be_read_beside_a_damaged_table_is_in_the_new_store() {
    for family in ["index", "catalog", "replaced", "fresh", "sealed"] {
        let folder = filled();
        let harmed = tables(&store(folder.path()), family);
        let pages = ["fresh", "sealed"].contains(&family);
        // Some pages are undamaged: of sealed blocks those in the later file, of fresh blocks those in the earlier
        // files.
        damage(match family {
            "sealed" => &harmed[..1],
            "fresh" => &harmed[harmed.len() - 1..],
            _ => &harmed,
        });
        let used = tempfile::tempdir().unwrap();
        copy(folder.path(), used.path());
        let said = complaint(used.path());
        assert!(said.contains("Corruption") && said.contains("`spandrel repair`"), "{family}: {said}");

        let report = repaired(folder.path()).unwrap();
        assert_eq!(report.damaged_blocks, [], "{family}");
        assert!(!report.more_may_be_lost, "{family}");
        let there = found(&open(folder.path()).unwrap(), 1..=TRACES);
        let lost: u64 = report.lost_blocks.iter().map(|block| u64::from(block.span_count.unwrap())).sum();
        assert_eq!(lost, 4 * (TRACES - there.len() as u64), "{family}: the lost ones are named: {report:?}");
        if pages {
            assert!(
                there.len() < TRACES as usize && there.len() > TRACES as usize / 3,
                "{family}: {there:?}"
            );
            assert!(report.lost_blocks[0].detail.contains("Corruption"), "{report:?}");
        } else {
            assert_eq!((&there, report.is_whole()), (&all(), true), "{family}: {report:?}");
        }
        assert_eq!(report.span_count, 4 * there.len() as u64, "{family}");
        check_works(folder.path(), &there);

        let again = repaired(folder.path()).unwrap_err();
        assert!(again.contains("store.damaged") && again.contains("remove it"), "{again}");
        fs::remove_dir_all(folder.path().join("store.damaged")).unwrap();
        assert!(repaired(folder.path()).unwrap().is_whole(), "{family}");
        assert_eq!(found(&open(folder.path()).unwrap(), 1..=TRACES), there);
    }
}

/// The damaged store has accepted spans before the repair; the new one has them.
#[test]
fn a_store_that_met_its_damage_is_repaired_with_what_it_took_until_then() {
    let folder = filled();
    damage(&tables(&store(folder.path()), "index"));
    complaint(folder.path());
    repaired(folder.path()).unwrap();
    let harness = open(folder.path()).unwrap();
    assert_eq!(found(&harness, 1..=TRACES), all());
    assert_eq!(found(&harness, NEW + 1..=NEW + 2), BTreeSet::from([NEW + 1]), "the second one was refused");
}

#[test]
fn a_damaged_table_of_records_is_not_repaired() {
    let folder = filled();
    damage(&tables(&store(folder.path()), "default"));
    let said = open(folder.path()).err().expect("it opens");
    assert!(said.contains("`spandrel repair`"), "{said}");
    let refused = repaired(folder.path()).unwrap_err();
    assert!(refused.contains("must not come back") && refused.contains("`spandrel restore`"), "{refused}");
    assert!(store(folder.path()).exists() && !folder.path().join("store.damaged").exists());
}

/// If neither names a block, it may be live or replaced.
#[test]
fn without_catalog_and_list_of_replaced_blocks_nothing_is_repaired() {
    let folder = filled();
    for family in ["catalog", "replaced"] {
        damage(&tables(&store(folder.path()), family));
    }
    let refused = repaired(folder.path()).unwrap_err();
    assert!(refused.contains("would come back") && refused.contains("`spandrel restore`"), "{refused}");
    assert!(store(folder.path()).exists());
}

/// Blocks whose catalog rows and pages are both unreadable cannot be named.
#[test]
fn blocks_that_nobody_can_name_are_told() {
    let folder = filled();
    let path = store(folder.path());
    damage(&tables(&path, "catalog"));
    damage(&tables(&path, "sealed")[..1]);
    let report = repaired(folder.path()).unwrap();
    assert!(report.more_may_be_lost && !report.is_whole(), "{report:?}");
    let there = found(&open(folder.path()).unwrap(), 1..=TRACES);
    assert_eq!(there.len() as u64, TRACES * 2 / 3);
    check_works(folder.path(), &there);
}

/// RocksDB does not open a store if a table is missing, or damaged outside its data.
#[test]
fn wherever_a_table_is_damaged_the_rest_is_in_the_new_store() {
    let folder = filled();
    let seed = number("SPANDREL_REPAIR_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    eprintln!("SPANDREL_REPAIR_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for family in ["index", "catalog", "replaced", "fresh", "sealed", "default"] {
        for table in tables(&store(folder.path()), family) {
            let length = table.metadata().unwrap().len() as usize;
            let anywhere = std::iter::repeat_with(|| Some(random.usize(..length))).take(4);
            for at in anywhere.chain([None]).collect::<Vec<_>>() {
                let copied = tempfile::tempdir().unwrap();
                copy(folder.path(), copied.path());
                let harmed = store(copied.path()).join(table.file_name().unwrap());
                match at {
                    Some(at) => flip(&harmed, at),
                    None => fs::remove_file(&harmed).unwrap(),
                }
                let what = format!("{family}, at {at:?} of {length}");
                let report = match repaired(copied.path()) {
                    Ok(report) => report,
                    Err(refused) if family == "default" => {
                        assert!(refused.contains("must not come back"), "{what}: {refused}");
                        continue;
                    }
                    Err(refused) => panic!("{what}: {refused}"),
                };
                let there = found(&open(copied.path()).unwrap(), 1..=TRACES);
                check_serves(&open(copied.path()).unwrap(), &there);
                let lost: u64 =
                    report.lost_blocks.iter().map(|block| u64::from(block.span_count.unwrap())).sum();
                assert_eq!(
                    (report.span_count, report.span_count + lost),
                    (4 * there.len() as u64, 4 * TRACES),
                    "{what}"
                );
                let sealed: BTreeSet<u64> = (1..=TRACES * 2 / 3).collect();
                let untouched = match family {
                    "fresh" => sealed,
                    "sealed" => &all() - &sealed,
                    _ => all(),
                };
                assert!(there.is_superset(&untouched), "{what}: {there:?} of {untouched:?}");
            }
        }
    }
}

/// RocksDB skips damaged log records if it opens a store that lacks a table.
#[test]
fn the_log_is_read_whole_beside_a_table_that_is_gone_or_nothing_is_done() {
    let folder = filled();
    append(&open(folder.path()).unwrap(), NEW + 1..=NEW + 20);
    fs::remove_file(&tables(&store(folder.path()), "index")[0]).unwrap();
    let sound = tempfile::tempdir().unwrap();
    copy(folder.path(), sound.path());
    let said = open(sound.path()).err().expect("it opens");
    assert!(said.contains("No such file") && said.contains("`spandrel repair`"), "{said}");
    assert!(repaired(sound.path()).unwrap().is_whole());
    let harness = open(sound.path()).unwrap();
    assert_eq!((found(&harness, 1..=TRACES), found(&harness, NEW + 1..=NEW + 20).len()), (all(), 20));

    flip_largest(folder.path(), "log");
    let refused = repaired(folder.path()).unwrap_err();
    assert!(
        refused.contains("so is its write-ahead log") && refused.contains("restore a backup"),
        "{refused}"
    );
}

/// If nothing else is damaged, a repair cuts the log like a normal start.
#[test]
fn a_log_that_is_cut_is_told() {
    let folder = filled();
    append(&open(folder.path()).unwrap(), NEW + 1..=NEW + 20);
    flip_largest(folder.path(), "log");
    let report = repaired(folder.path()).unwrap();
    assert!(report.wal_truncated && !report.is_whole());
    let harness = open(folder.path()).unwrap();
    let kept = found(&harness, NEW + 1..=NEW + 20);
    assert!(
        (1..20).contains(&kept.len()) && kept == (NEW + 1..=NEW + kept.len() as u64).collect(),
        "{kept:?}"
    );
}

// === a damaged block ===

/// Traces of some kilobytes each in one sealed block of many pages.
fn large_block() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let harness = open(folder.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut noise = || -> String { std::iter::repeat_with(|| random.alphanumeric()).take(300).collect() };
    for n in 1..=40 {
        harness.append(&(1..=200).map(|m| sent(n, m).with("noise", text(&noise()))).collect::<Vec<_>>());
    }
    harness.store().seal_all();
    harness.store().close().unwrap();
    folder
}

/// The spans read of each trace, and whether some are reported missing.
fn readable(harness: &Harness) -> Vec<(u64, usize, u64)> {
    let read = |n: u64| {
        let Some(spans) = harness.store().trace(&TenantId::default(), trace_id(n)).unwrap() else {
            return (n, 0, 0);
        };
        let damage = spans.damage();
        let count = spans.filter(Result::is_ok).count();
        (n, count, damage.blocks())
    };
    (1..=40).map(read).collect()
}

#[test]
fn what_can_be_read_of_a_damaged_block_is_served_as_before() {
    let folder = large_block();
    flip_largest(folder.path(), "blob");
    let searched = |harness: &Harness| {
        let answer = harness.search(&plan(Predicate::All));
        (answer.traces, answer.partial)
    };
    let (before, answer) = {
        let harness = open(folder.path()).unwrap();
        (readable(&harness), searched(&harness))
    };
    let read: usize = before.iter().map(|(_, spans, _)| spans).sum();
    assert!(0 < read && read < 8_000 && before.iter().any(|(.., damage)| *damage > 0), "{before:?}");

    let report = repaired(folder.path()).unwrap();
    assert_eq!((report.block_count, report.span_count, report.lost_block_count), (1, 8_000, 0));
    assert_eq!(report.damaged_blocks.len(), 1);
    assert!(report.damaged_blocks[0].detail.contains("Corruption"), "{report:?}");
    let harness = open(folder.path()).unwrap();
    assert_eq!((readable(&harness), searched(&harness)), (before, answer));
    // The rest of the store works, and a check finds that block alone.
    harness.append(&trace(NEW));
    harness.store().seal_all();
    purge(&harness);
    harness.append(&trace(NEW + 1));
    assert_eq!(found(&harness, NEW..=NEW + 1).len(), 2);
    let checked = check(&**harness.engine(), &mut |_| true).unwrap();
    let kinds: Vec<FindingKind> = checked.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Block], "{checked:?}");
}

// === a sound store ===

#[test]
fn a_sound_store_stays_the_same() {
    let tenant = TenantId::default();
    let rule = RetentionRule { predicate: with("service.name", "chatty"), keep: Duration::from_secs(3600) };
    let config = StoreConfig { retention_rules: vec![rule], ..config() };
    let folder = tempfile::tempdir().unwrap();
    let at = |now: u64| {
        Harness::at(Backend::Folder(folder.path().to_owned(), Durability::Sync), config.clone(), now).unwrap()
    };
    let counted = {
        let harness = at(BEGIN);
        harness.append(&[sent(500, 1).service("chatty"), sent(500, 2).service("chatty").status(2)]);
        append(&harness, 1..=TRACES);
        harness.store().seal_all();
        let counted = aggregate::answer(&harness, &aggregate::plan());
        harness.clock.advance(3 * HOUR);
        // The store keeps counts of the spans that the rule expires.
        harness.maintain(3);
        assert_eq!(harness.engine().records("counted").unwrap().len(), 1);
        append(&harness, NEW..=NEW);
        let store = harness.store();
        store.pin(&tenant, trace_id(2)).unwrap().unwrap();
        MemoryBackup::of(harness.store());
        // No background work runs before the store is closed.
        let scan = spandrel_storage::plan::ScanPlan {
            predicate: with("n", "3"),
            range: spandrel_proto::TimeRange::ALL,
        };
        assert_eq!(store.delete(&tenant, &scan).unwrap().finished, None);
        harness.store().close().unwrap();
        counted
    };
    let stored = |name: &str| {
        let store = folder.path().join(name);
        (corruption::rows(&store, "default"), corruption::rows(&store, "catalog"))
    };
    let before = stored("store");
    let report = repaired(folder.path()).unwrap();
    assert!(report.is_whole());
    assert_eq!((stored("store.damaged"), stored("store")), (before.clone(), before.clone()));
    assert!(before.0.len() >= 7, "records of all kinds: {before:?}");

    let harness = at(BEGIN + 3 * HOUR);
    let bytes = harness.store().status().store_bytes;
    fs::write(folder.path().join("store.damaged/more"), vec![0; 1 << 20]).unwrap();
    assert!(
        harness.store().status().store_bytes.abs_diff(bytes) < 1 << 20,
        "retention does not make up for it"
    );
    assert!(harness.trace(trace_id(3)).is_empty(), "it is being deleted");
    let store = harness.store();
    assert_eq!(store.pins(&tenant).len(), 1);
    assert_eq!(harness.store().backups().unwrap().len(), 1);
    eventually("the end of the deletion", || {
        harness.maintain(1);
        store.deletions(&tenant).unwrap()[0].finished
    });
    let mut there = all();
    there.remove(&3);
    assert_eq!(found(&harness, 1..=TRACES), there);
    // Counts of expired spans are unchanged; four spans were deleted, and four equal ones were added later.
    assert_eq!(aggregate::answer(&harness, &aggregate::plan()), counted);
}

/// Backups remember hashes of blocks by their IDs, so a lost block's ID must not be used again.
#[test]
fn numbers_of_blocks_do_not_come_again() {
    let folder = filled();
    let highest = |path: &Path| corruption::rows(path, "catalog").into_keys().max().unwrap();
    let before = highest(&store(folder.path()));
    damage(&tables(&store(folder.path()), "fresh"));
    let report = repaired(folder.path()).unwrap();
    assert_eq!(report.lost_block_count, TRACES / 3, "the newest ones");
    // Even if the clock is before all of them.
    let backend = Backend::Folder(folder.path().to_owned(), Durability::Sync);
    let harness = Harness::at(backend, config(), BEGIN - HOUR / 2).unwrap();
    append(&harness, NEW..=NEW);
    harness.store().close().unwrap();
    drop(harness);
    assert!(highest(&store(folder.path())) > before);
}

// === reasons to refuse a repair ===

#[test]
fn half_a_restore_is_not_repaired() {
    let folder = filled();
    let engine = RocksEngine::open(lock(folder.path()), Durability::Sync).unwrap();
    use spandrel_storage::engine::Records as _;
    engine.put_record("restore", "unfinished", Some(b"filling 0000000000000001")).unwrap();
    drop(engine);
    let refused = repaired(folder.path()).unwrap_err();
    assert!(refused.contains("restore of backup 0000000000000001 was not finished"), "{refused}");
}

/// The store cannot tell which rows of a damaged table the logs would have changed.
#[test]
fn a_log_that_was_given_up_is_no_ground_for_a_repair() {
    let folder = filled();
    let harness = open(folder.path()).unwrap();
    (NEW..NEW + 40).for_each(|n| harness.append(&[sent(n, 1).with("filling", text(&"x".repeat(100_000)))]));
    drop(harness);
    damage(&tables(&store(folder.path()), "index"));
    let logs = fs::read_dir(store(folder.path())).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = logs.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    logs.sort();
    fs::remove_file(logs.pop().unwrap()).unwrap();
    assert!(repaired(folder.path()).unwrap_err().contains("has lost its write-ahead log"));
    fs::write(store(folder.path()).join("000000.log"), "").unwrap();
    let refused = repaired(folder.path()).unwrap_err();
    assert!(refused.contains("were given up") && refused.contains("start the server once"), "{refused}");
    // The refusal asks to start the server once.
    drop(open(folder.path()).unwrap());
    assert!(repaired(folder.path()).unwrap().is_whole());
}

/// The shortened manifest names tables whose rows were rewritten, and some of them deleted, since then.
#[test]
fn a_manifest_that_has_lost_its_end_is_no_ground_for_a_repair() {
    let folder = filled();
    let harness = open(folder.path()).unwrap();
    let entries = fs::read_dir(store(folder.path())).unwrap().map(|entry| entry.unwrap().path());
    let manifest = entries
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST"))
        .max()
        .unwrap();
    let length = manifest.metadata().unwrap().len();
    harness.store().seal_all();
    purge(&harness);
    harness.store().close().unwrap();
    drop(harness);
    assert!(manifest.metadata().unwrap().len() > length);
    fs::File::options().write(true).open(&manifest).unwrap().set_len(length).unwrap();
    let why = open(folder.path()).err().expect("it opens");
    assert!(why.contains("No such file"), "{why}");
    let refused = repaired(folder.path()).unwrap_err();
    assert!(refused.contains("its manifest") && refused.contains("could come back"), "{refused}");
}

#[test]
fn without_room_for_a_second_copy_nothing_is_written() {
    let folder = filled();
    let begun = begin(folder.path()).unwrap();
    let refused = repair(&begun.source, &begun.target, u64::MAX / 2, &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("bytes beside the damaged one") && refused.contains("are free"), "{refused}");
    let written = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "blob"))
            .count()
    };
    assert_eq!(written(&folder.path().join("store.repaired")), 0);
    begun.give_up();
    check_works(folder.path(), &all());
}

// === interruptions ===

/// Half of a new store is never used. The next repair begins again, because the store may have dropped some of its
/// blocks meanwhile.
#[test]
fn a_repair_that_is_interrupted_changes_nothing() {
    let folder = filled();
    let before = corruption::rows(&store(folder.path()), "catalog");
    let begun = begin(folder.path()).unwrap();
    let mut blocks = 0;
    let interrupted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        repair(&begun.source, &begun.target, 0, &mut |_| {
            blocks += 1;
            assert!(blocks < 8, "interrupted");
        })
    }));
    assert!(interrupted.is_err());
    // The blocks that it wrote are flushed to files.
    begun.target.flush().unwrap();
    drop(begun);
    assert!(folder.path().join("store.repaired/CURRENT").exists());
    assert!(RocksEngine::exists(folder.path()));
    assert_eq!(corruption::rows(&store(folder.path()), "catalog"), before);
    let harness = open(folder.path()).unwrap();
    check_serves(&harness, &all());
    harness.store().seal_all();
    harness.store().close().unwrap();
    drop(harness);
    damage(&tables(&store(folder.path()), "index"));
    assert!(repaired(folder.path()).unwrap().is_whole());
    assert!(!folder.path().join("store.repaired").exists());
    check_works(folder.path(), &all());
}

/// After the first of two renames, the next start or repair does the second.
#[test]
fn a_swap_that_is_interrupted_is_finished_by_whoever_opens_the_store() {
    type Finish = fn(&Path);
    let by_opening: Finish = |folder| drop(open(folder).unwrap());
    let by_repairing: Finish = |folder| {
        let RepairStart::Finished(kept) = RocksRepair::begin(lock(folder)).unwrap() else {
            panic!("it begins anew")
        };
        assert_eq!(kept, folder.join("store.damaged"));
    };
    for finish in [by_opening, by_repairing] {
        let folder = filled();
        damage(&tables(&store(folder.path()), "index"));
        repaired(folder.path()).unwrap();
        take_back(folder.path(), true);
        assert!(RocksEngine::exists(folder.path()));
        finish(folder.path());
        assert!(!folder.path().join("store.repaired").exists());
        check_works(folder.path(), &all());
        assert!(folder.path().join("store.damaged").exists(), "it is kept");
    }
}

/// Restores the state between the two renames; without the mark, that of a repair that was killed before and whose
/// folders were moved by hand.
fn take_back(folder: &Path, is_complete: bool) {
    let repaired = folder.join("store.repaired");
    fs::rename(store(folder), &repaired).unwrap();
    if is_complete {
        fs::write(repaired.join("COMPLETE"), "").unwrap();
    }
}

/// Half of a store is not taken for a complete one, whatever the folders are called, and no empty store is created.
#[test]
fn half_of_a_new_store_is_not_used() {
    for kept in ["store.damaged", "elsewhere"] {
        let folder = filled();
        repaired(folder.path()).unwrap();
        take_back(folder.path(), false);
        if kept != "store.damaged" {
            fs::rename(folder.path().join("store.damaged"), folder.path().join(kept)).unwrap();
        }
        assert!(RocksEngine::exists(folder.path()));
        let by_repair = repaired(folder.path()).unwrap_err();
        for refused in [open(folder.path()).err().expect("it opens"), by_repair] {
            let put_back = format!("put it back as {} and repair again", store(folder.path()).display());
            assert!(refused.contains("half of one") && refused.contains(&put_back), "{refused}");
        }
        assert!(!store(folder.path()).exists(), "nothing is made");
        fs::rename(folder.path().join(kept), store(folder.path())).unwrap();
        assert!(repaired(folder.path()).unwrap().is_whole());
        check_works(folder.path(), &all());
    }
}

/// A complete new store needs no file of the damaged one.
#[test]
fn a_complete_new_store_is_used_without_the_old_one() {
    let folder = filled();
    repaired(folder.path()).unwrap();
    take_back(folder.path(), true);
    fs::remove_dir_all(folder.path().join("store.damaged")).unwrap();
    check_works(folder.path(), &all());
    assert!(!store(folder.path()).join("COMPLETE").exists());
}
