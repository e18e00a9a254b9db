//! Backups, restores and checks of a working store, on every engine.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use spandrel_block::{BlockKey, CatalogRow};
use spandrel_proto::{TenantId, UnixNanos};
use spandrel_storage::backup::{
    BackupBlock, BackupId, BackupSet, Blob, ContentHash, LostBlock, Manifest, SetError, StreamWriter, receive,
};
use spandrel_storage::check::{CheckReport, FindingKind, check};
use spandrel_storage::engine::{BlockStore, Catalog, Inspect, MemoryEngine};
use spandrel_storage::plan::Predicate;
use spandrel_storage::restore::{Existing, Restore, RestoreError, admit};
use spandrel_storage::{
    BackupError, BackupReceiver, Backups, BlockTraceStore, Check, Engine, OpenError, ReceiverGone,
    RetentionRule, StoreConfig, TraceStore,
};
use spandrel_tests::contract::aggregate;
use spandrel_tests::contract::deletion::with;
use spandrel_tests::crashing_engine::{CrashPlan, CrashingEngine, LastChange};
use spandrel_tests::files::{Disk, Ending};
use spandrel_tests::harness::{Backend, Harness};
use spandrel_tests::memory_backup::MemoryBackup;
use spandrel_tests::spans::{HOUR, Sent, decoded, sent, text, trace_id};

fn backends() -> Vec<Backend> {
    vec![Backend::memory(), Backend::quick_rocks()]
}

fn trace(n: u64) -> Vec<Sent> {
    (1..=4).map(|span| sent(n, span).at(n * 1_000 + span, 50).with("n", text(&n.to_string()))).collect()
}

/// Traces 1 to `count`, in two sealed blocks and fresh ones.
fn filled(backend: Backend, count: u64) -> Harness {
    let harness = Harness::new(backend);
    for n in 1..=count {
        harness.append(&trace(n));
        if n == count / 3 || n == count * 2 / 3 {
            harness.store().seal_all();
        }
    }
    harness
}

fn check_all_there(harness: &Harness, count: u64) {
    for n in 1..=count {
        assert_eq!(harness.trace(trace_id(n)), trace(n), "trace {n}");
    }
    assert_eq!(harness.find(Predicate::All).len() as u64, count);
    assert_eq!(harness.store().status().span_count, count * 4);
}

fn report(harness: &Harness) -> CheckReport {
    harness.store().check(&mut |_| true).unwrap()
}

fn kinds(report: &CheckReport) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

// === backups and restores ===

#[test]
fn a_backup_restored_is_the_store_that_it_was_taken_of() {
    for backend in backends() {
        let harness = filled(backend, 30);
        let kept = MemoryBackup::of(harness.store());
        let manifest = &harness.store().backups().unwrap()[0];
        assert_eq!((manifest.spans(), manifest.blocks.len()), (120, kept.blocks.len()));
        assert_eq!(manifest.blocks, kept.blocks);
        // Later spans are not in the backup.
        harness.append(&trace(31));

        for target in backends() {
            kept.restore(&*target.engine().unwrap()).unwrap();
            let mut restored = Harness::new(target);
            check_all_there(&restored, 30);
            assert!(report(&restored).is_fine(), "{:?}", report(&restored));
            // The restored store accepts spans, merges, and opens again.
            restored.append(&trace(31));
            restored.store().seal_all();
            restored.restart();
            check_all_there(&restored, 31);
            assert!(report(&restored).is_fine());
        }
    }
}

#[test]
fn catalog_and_index_rows_are_made_anew_as_they_were() {
    let (source, target) = (MemoryEngine::default(), MemoryEngine::default());
    let harness = filled(Backend::Memory(source.clone()), 12);
    harness.store().seal_all();
    MemoryBackup::of(harness.store()).restore(&target).unwrap();
    let rows = |engine: &MemoryEngine| {
        let mut rows = Vec::new();
        Inspect::each_index_row(engine, &mut |row| rows.push(row.unwrap())).unwrap();
        (Catalog::catalog_rows(engine).unwrap(), rows)
    };
    // Rows of blocks that are gone do not matter: the index removes them later.
    let (catalog, index) = rows(&source);
    let alive: HashSet<BlockKey> = catalog.iter().map(|(key, _)| key.clone()).collect();
    let index = index.into_iter().filter(|(key, _)| {
        alive.contains(&BlockKey { tenant: key.tenant.clone(), hour: key.hour, block: key.block })
    });
    assert_eq!(rows(&target), (catalog, index.collect()));
}

#[test]
fn pins_and_deletions_go_with_the_blocks() {
    let tenant = TenantId::default();
    for backend in backends() {
        let harness = filled(backend, 6);
        harness.store().as_pins().unwrap().pin(&tenant, trace_id(2)).unwrap().unwrap();
        let kept = MemoryBackup::of(harness.store());
        let target = Backend::memory();
        kept.restore(&*target.engine().unwrap()).unwrap();
        let restored = Harness::new(target);
        assert_eq!(restored.store().as_pins().unwrap().pins(&tenant).len(), 1);
        restored.clock.advance(200 * HOUR);
        restored.maintain(3);
        assert_eq!(restored.trace(trace_id(2)), trace(2));
        assert!(restored.trace(trace_id(1)).is_empty());
    }
}

#[test]
fn counts_of_what_a_rule_has_let_go_go_with_the_blocks() {
    let rule = |config: &mut StoreConfig| {
        let predicate = with("service.name", "chatty");
        config.retention_rules = vec![RetentionRule { predicate, keep: Duration::from_secs(3600) }];
    };
    for backend in backends() {
        let mut harness = Harness::new(backend);
        rule(&mut harness.config);
        harness.restart();
        harness.append(&[sent(1, 1).service("chatty"), sent(1, 2).service("chatty").status(2), sent(2, 1)]);
        harness.store().seal_all();
        let plan = aggregate::plan();
        let before = aggregate::answer(&harness, &plan);
        harness.clock.advance(3 * HOUR);
        harness.maintain(2);
        assert!(harness.trace(trace_id(1)).is_empty());
        let target = Backend::memory();
        let kept = MemoryBackup::of(harness.store());
        kept.restore(&*target.engine().unwrap()).unwrap();
        let mut restored = Harness::new(target);
        rule(&mut restored.config);
        restored.restart();
        assert_eq!(aggregate::answer(&restored, &plan), before);
        // Another restore replaces the spans that were added.
        let engine = restored.engine().clone();
        drop(restored);
        let again = Restore::begin(&*engine, kept.id(), Existing::Replace).unwrap();
        assert!(engine.records("counted").unwrap().is_empty());
        again.put_records(&kept.records).unwrap();
        assert_eq!(engine.records("counted").unwrap().len(), 1);
    }
}

#[test]
fn only_what_is_new_is_sent_and_read() {
    for backend in backends() {
        let mut harness = filled(backend, 9);
        let first = MemoryBackup::of(harness.store());
        assert_eq!(first.fetched, first.blocks.len());
        harness.append(&trace(10));
        // The store remembers the hashes of earlier backups after a restart.
        harness.restart();
        let second = first.again(harness.store());
        assert_eq!(
            (second.fetched, second.blocks.len()),
            (1, harness.engine().catalog_rows().unwrap().len())
        );
        let third = second.again(harness.store());
        assert_eq!(third.fetched, 0);
        let named = harness.store().back_up(Some(third.id()), &mut MemoryBackup::default());
        assert!(matches!(named, Err(BackupError::Known(id)) if id == third.id()), "{named:?}");
        let ids: Vec<BackupId> = harness.store().backups().unwrap().iter().map(|backup| backup.id).collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.is_sorted() && ids[2] == third.id());

        assert!(harness.store().forget_backup(ids[0]).unwrap());
        assert!(!harness.store().forget_backup(ids[0]).unwrap());
        harness.restart();
        assert_eq!(harness.store().backups().unwrap().len(), 2);
    }
}

/// The receiver merges, drops and deletes during the backup.
#[test]
fn blocks_of_a_backup_outlive_merges_and_retention() {
    struct Meddler<'h>(&'h Harness, MemoryBackup);

    impl BackupReceiver for Meddler<'_> {
        fn begin(&mut self, backup: &Manifest) -> Result<(), ReceiverGone> {
            self.0.append(&trace(100));
            self.0.store().seal_all();
            self.0.clock.advance(200 * HOUR);
            self.0.maintain(3);
            assert_eq!(self.0.store().status().span_count, 0, "everything was dropped");
            self.1.begin(backup)
        }

        fn records(&mut self, piece: Blob, bytes: Bytes) -> Result<(), ReceiverGone> {
            self.1.records(piece, bytes)
        }

        fn has(&self, hash: ContentHash) -> bool {
            self.1.has(hash)
        }

        fn block(&mut self, block: &BackupBlock, bytes: Option<Bytes>) -> Result<(), ReceiverGone> {
            self.0.maintain(1);
            self.1.block(block, bytes)
        }

        fn lost(&mut self, block: &LostBlock) -> Result<(), ReceiverGone> {
            panic!("lost {block}");
        }
    }

    for backend in backends() {
        let harness = filled(backend, 20);
        let mut meddler = Meddler(&harness, MemoryBackup::default());
        harness.store().back_up(None, &mut meddler).unwrap();
        let target = Backend::memory();
        meddler.1.restore(&*target.engine().unwrap()).unwrap();
        check_all_there(&Harness::new(target), 20);
        // After the backup the blocks are no longer held.
        harness.maintain(2);
        assert!(harness.engine().stored_blocks().unwrap().is_empty());
    }
}

#[test]
fn every_span_acknowledged_before_is_in_it_while_others_come() {
    for backend in backends() {
        let harness = Harness::new(backend);
        let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let (store, acknowledged, stop) = (harness.store(), &acknowledged, &stop);
            scope.spawn(move || {
                for n in 1.. {
                    store.append(&TenantId::default(), &[decoded(&trace(n))]).unwrap();
                    acknowledged.store(n, Ordering::SeqCst);
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    store.seal_all();
                }
            });
            let mut kept = MemoryBackup::default();
            for _ in 0..10 {
                let before = acknowledged.load(Ordering::SeqCst);
                kept = kept.again(store);
                let target = Backend::memory();
                kept.restore(&*target.engine().unwrap()).unwrap();
                let restored = Harness::new(target);
                for n in 1..=before {
                    assert_eq!(restored.trace(trace_id(n)), trace(n), "trace {n} of {before}");
                }
                assert!(store.check(&mut |_| true).unwrap().is_fine());
            }
            stop.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn a_damaged_block_costs_a_backup_that_block_alone() {
    let engine = MemoryEngine::default();
    let harness = filled(Backend::Memory(engine.clone()), 9);
    let first = MemoryBackup::of(harness.store());
    let key = first.blocks[1].key.clone();
    engine.damage(&key, 3_000.min(first.blocks[1].bytes as usize / 2));
    // A client that has the block keeps it; another gets the rest, and learns what is lost.
    assert!(first.again(harness.store()).lost.is_empty());
    let fresh = MemoryBackup::of(harness.store());
    assert_eq!(fresh.lost.len(), 1);
    assert_eq!(fresh.lost[0].key, key);
    assert_eq!(harness.store().backups().unwrap().last().unwrap().lost, fresh.lost);
}

#[test]
fn a_receiver_that_goes_ends_the_backup_which_stays_on_the_list() {
    let harness = filled(Backend::memory(), 9);
    let mut kept = MemoryBackup { patience: Some(2), ..MemoryBackup::default() };
    let ended = harness.store().back_up(None, &mut kept);
    assert!(matches!(ended, Err(BackupError::Gone(ReceiverGone))), "{ended:?}");
    // The store remembers the backup, because the client may have kept a part of it.
    let listed = harness.store().backups().unwrap();
    assert_eq!((listed.len(), listed[0].id), (1, kept.id()));
}

#[test]
fn half_a_restore_is_no_store_and_is_gone_on_with() {
    for target in backends() {
        let kept = MemoryBackup::of(filled(Backend::memory(), 12).store());
        let other = MemoryBackup::of(filled(Backend::memory(), 3).store());
        {
            let engine = target.engine().unwrap();
            let restore = Restore::begin(&*engine, kept.id(), Existing::Keep).unwrap();
            for block in &kept.blocks[..2] {
                restore.put(&block.key, kept.bytes[&block.hash.unwrap()].clone()).unwrap();
            }
        }
        let engine = target.engine().unwrap();
        let harness = Harness::new(Backend::memory());
        let opened = BlockTraceStore::open(engine.clone(), harness.clock.clone(), harness.config.clone());
        assert!(matches!(opened, Err(OpenError::RestoreInProgress(id)) if id == kept.id()));
        assert_eq!(kinds(&check(&*engine, &mut |_| true).unwrap()), [FindingKind::Store]);

        let another = BackupId(kept.id().0 + 1);
        let refused = admit(&*engine, another, Existing::Keep);
        assert!(matches!(refused, Err(RestoreError::Unfinished(id)) if id == kept.id()), "{refused:?}");
        let again = Restore::begin(&*engine, kept.id(), Existing::Keep).unwrap();
        let there = kept.blocks.iter().filter(|block| again.has(&block.key)).count();
        assert_eq!(there, 2, "what was put is still there");
        kept.restore(&*engine).unwrap();
        drop(engine);
        check_all_there(&Harness::new(target.clone()), 12);

        // A restore into a store with blocks is refused unless it shall replace them.
        let engine = target.engine().unwrap();
        let (refused, there) = (other.restore(&*engine), kept.blocks.len());
        assert!(matches!(refused, Err(RestoreError::NotEmpty { blocks }) if blocks == there), "{refused:?}");
        let restore = Restore::begin(&*engine, other.id(), Existing::Replace).unwrap();
        for block in &other.blocks {
            restore.put(&block.key, other.bytes[&block.hash.unwrap()].clone()).unwrap();
        }
        restore.finish(&[]).unwrap();
        drop(engine);
        let replaced = Harness::new(target);
        check_all_there(&replaced, 3);
        assert!(report(&replaced).is_fine());
    }
}

#[test]
fn a_block_that_is_damaged_is_not_restored() {
    let kept = MemoryBackup::of(filled(Backend::memory(), 3).store());
    let engine = MemoryEngine::default();
    let restore = Restore::begin(&engine, kept.id(), Existing::Keep).unwrap();
    let mut bytes = kept.bytes[&kept.blocks[0].hash.unwrap()].to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let refused = restore.put(&kept.blocks[0].key, bytes.into());
    assert!(matches!(refused, Err(RestoreError::Block(_))), "{refused:?}");
    assert!(engine.block_keys().is_empty());
}

// === checks ===

/// A store with two sealed blocks and a fresh one, and their keys in this order.
fn three_blocks() -> (MemoryEngine, Harness, Vec<BlockKey>) {
    let engine = MemoryEngine::default();
    let harness = Harness::new(Backend::Memory(engine.clone()));
    for n in [1, 3, 5] {
        harness.append(&trace(n));
        harness.append(&trace(n + 1));
        if n < 5 {
            harness.store().seal_all();
        }
    }
    harness.maintain(3);
    let mut rows: Vec<_> = harness.engine().catalog_rows().unwrap();
    let level = |row: &[u8]| CatalogRow::decode(row).unwrap().meta.level;
    rows.sort_by_key(|(key, row)| (level(row) == 0, key.block));
    assert_eq!(rows.iter().map(|(_, row)| level(row) > 0).collect::<Vec<_>>(), [true, true, false, false]);
    (engine, harness, rows.into_iter().map(|(key, _)| key).collect())
}

fn check_finds(
    engine: &MemoryEngine,
    harness: &Harness,
    kind: FindingKind,
    key: Option<&BlockKey>,
    part: &str,
) {
    // Both the running store and the engine alone are checked.
    for report in [report(harness), check(engine, &mut |_| true).unwrap()] {
        assert_eq!(kinds(&report), [kind], "{report:?}");
        let finding = &report.findings[0];
        assert_eq!(finding.block, key.map(|key| key.block.0.to_string()), "{finding:?}");
        assert!(finding.detail.contains(part), "{finding:?}");
    }
}

#[test]
fn a_sound_store_is_found_sound_and_counted() {
    for backend in backends() {
        let harness = filled(backend, 30);
        let report = report(&harness);
        assert_eq!(report.findings, []);
        assert_eq!(report.span_count, 120);
        assert_eq!(report.block_count as usize, harness.engine().catalog_rows().unwrap().len());
        assert_eq!(report.index_row_count - report.stale_index_row_count, 20);
        let offline = check(&**harness.engine(), &mut |_| true).unwrap();
        assert_eq!(offline, report);
    }
}

#[test]
fn every_flipped_bit_of_a_block_is_found() {
    let (engine, harness, keys) = three_blocks();
    for key in [&keys[0], &keys[3]] {
        let rows: BTreeMap<BlockKey, Vec<u8>> =
            harness.engine().catalog_rows().unwrap().into_iter().collect();
        let length = CatalogRow::decode(&rows[key]).unwrap().bytes as usize;
        for at in 0..length {
            engine.damage(key, at);
            let report = check(&engine, &mut |_| true).unwrap();
            assert_eq!(kinds(&report), [FindingKind::Block], "byte {at} of {length}: {report:?}");
            engine.damage(key, at);
        }
        engine.damage(key, length / 2);
        check_finds(&engine, &harness, FindingKind::Block, Some(key), "");
        engine.damage(key, length / 2);
    }
    assert!(report(&harness).is_fine());
}

#[test]
fn index_rows_that_are_missing_wrong_or_too_many_are_found() {
    let missing = three_blocks();
    missing.0.damage_index(|key, _| key.block != missing.2[1].block || key.trace != trace_id(3));
    let expected =
        "1 of its 2 traces have no index row, or a wrong one, such as 00000000000000000000000000000003";
    check_finds(&missing.0, &missing.1, FindingKind::Index, Some(&missing.2[1]), expected);

    let wrong = three_blocks();
    wrong.0.damage_index(|key, rows| {
        rows.rows += u32::from(key.block == wrong.2[0].block && key.trace == trace_id(2));
        true
    });
    check_finds(&wrong.0, &wrong.1, FindingKind::Index, Some(&wrong.2[0]), "1 of its 2 traces");

    let all = three_blocks();
    all.0.damage_index(|_, _| false);
    assert_eq!(kinds(&report(&all.1)), [FindingKind::Index, FindingKind::Index]);
}

#[test]
fn catalog_rows_that_do_not_fit_are_found() {
    let (engine, harness, keys) = three_blocks();
    let original: BTreeMap<BlockKey, Vec<u8>> =
        harness.engine().catalog_rows().unwrap().into_iter().collect();
    let change = |change: &dyn Fn(&mut CatalogRow)| {
        engine.damage_catalog(|key, row| {
            *row = original[key].clone();
            if *key == keys[0] {
                let mut decoded = CatalogRow::decode(row).unwrap();
                change(&mut decoded);
                *row = decoded.encode().unwrap();
            }
            true
        });
    };
    change(&|row| row.meta.max_start.0 += 1);
    check_finds(&engine, &harness, FindingKind::CatalogRow, Some(&keys[0]), "zone map");
    change(&|row| row.meta.services[0].name.push('x'));
    check_finds(&engine, &harness, FindingKind::CatalogRow, Some(&keys[0]), "zone map");
    change(&|row| row.meta.spans += 1);
    check_finds(
        &engine,
        &harness,
        FindingKind::CatalogRow,
        Some(&keys[0]),
        "it says 9 spans, the block has 8",
    );
    change(&|_| {});
    assert!(report(&harness).is_fine());
    engine.damage_catalog(|key, row| {
        if *key == keys[0] {
            row[12] ^= 1;
        }
        true
    });
    check_finds(&engine, &harness, FindingKind::CatalogRow, Some(&keys[0]), "checksum");
}

#[test]
fn a_block_that_is_gone_and_one_that_nobody_names_are_found() {
    let (engine, harness, keys) = three_blocks();
    BlockStore::delete_blocks(&engine, &keys[1..2]).unwrap();
    check_finds(&engine, &harness, FindingKind::Block, Some(&keys[1]), "missing");

    let (engine, harness, keys) = three_blocks();
    engine.damage_catalog(|key, _| *key != keys[1]);
    let found = check(&engine, &mut |_| true).unwrap();
    assert_eq!(kinds(&found), [FindingKind::Unreferenced]);
    assert_eq!(found.findings[0].block, Some(keys[1].block.0.to_string()));
    // Index rows of a block that is gone are no damage.
    assert_eq!(found.stale_index_row_count, 2);
    drop(harness);
}

#[test]
fn a_damaged_list_of_backups_is_found() {
    let harness = filled(Backend::memory(), 3);
    let kept = MemoryBackup::of(harness.store());
    harness.engine().put_record("backup", &kept.id().to_string(), Some(b"spandrel-backup 1\nid 00")).unwrap();
    assert_eq!(kinds(&report(&harness)), [FindingKind::Backups]);
}

#[test]
fn a_check_that_nobody_waits_for_ends() {
    let harness = filled(Backend::memory(), 9);
    let mut told = 0;
    let report = harness.store().check(&mut |_| {
        told += 1;
        told < 3
    });
    assert_eq!((report, told), (None, 3));
}

// === a directory of backups that is killed or loses its power at every step ===

/// One run of `spandrel backup`.
fn bring_in(disk: Disk, store: &BlockTraceStore, keep: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut set = BackupSet::open_to_write(disk)?;
    let begun = set.begin(UnixNanos(1))?;
    let have: HashSet<ContentHash> = begun.have.iter().copied().collect();
    let mut stream = Vec::new();
    let mut write = |bytes: &[u8]| {
        stream.extend_from_slice(bytes);
        Ok(())
    };
    let mut writer = StreamWriter::new(&mut write, |hash| have.contains(&hash));
    store.back_up(Some(begun.id), &mut writer)?;
    writer.end()?;
    let manifest = receive(&mut set, begun.id, stream.as_slice(), &mut |_| {})?;
    set.complete(&manifest)?;
    set.keep(keep)?;
    for id in set.forgettable()? {
        store.forget_backup(id)?;
    }
    Ok(set.end()?)
}

/// The backups of a set; asserts that each is complete.
fn whole_backups(disk: &Disk) -> Vec<Manifest> {
    let set = match BackupSet::open_to_read(disk.clone()) {
        Ok(set) => set,
        Err(SetError::Foreign(_)) => return Vec::new(),
        Err(error) => panic!("{error}"),
    };
    let ids = set.ids().unwrap_or_default();
    let backups: Vec<Manifest> = ids.iter().map(|id| set.manifest(Some(*id)).unwrap()).collect();
    for hash in backups.iter().flat_map(Manifest::hashes) {
        set.read(hash).unwrap_or_else(|error| panic!("a backup is not whole: {error}"));
    }
    backups
}

#[test]
fn a_backup_that_ends_at_any_step_harms_nothing_and_the_next_goes_on() {
    for ending in [Ending::Killed, Ending::PowerLost] {
        let mut steps = 0;
        loop {
            let harness = filled(Backend::memory(), 3);
            let disk = Disk::default();
            for n in [4, 5] {
                bring_in(disk.clone(), harness.store(), 2).unwrap();
                harness.append(&trace(n));
            }
            let before = whole_backups(&disk);
            assert_eq!(before.len(), 2);
            // The third backup makes the first one expire; it is cut off after so many steps.
            disk.end_after(Some(steps));
            let done = bring_in(disk.clone(), harness.store(), 2).is_ok();
            let left = disk.after(ending);
            let there = whole_backups(&left);
            let newest = |backups: &[Manifest]| backups.last().unwrap().clone();
            assert!(there.contains(&newest(&before)), "after {steps} steps the newest backup is gone");
            assert!(there.len() >= 2, "after {steps} steps there are fewer than were to be kept");

            // The next backup completes the set.
            harness.append(&trace(6));
            bring_in(left.clone(), harness.store(), 2).unwrap();
            let there = whole_backups(&left);
            assert_eq!(there.len(), 2);
            let needed: BTreeSet<ContentHash> = there.iter().flat_map(Manifest::hashes).collect();
            let names = left.names();
            assert_eq!(names.len(), 1 + there.len() + needed.len(), "{names:?}");
            let remembered: Vec<BackupId> =
                harness.store().backups().unwrap().iter().map(|backup| backup.id).collect();
            assert_eq!(remembered, there.iter().map(|backup| backup.id).collect::<Vec<_>>());

            let (target, set) = (Backend::memory(), BackupSet::open_to_read(left).unwrap());
            let engine = target.engine().unwrap();
            let restore = Restore::begin(&*engine, newest(&there).id, Existing::Keep).unwrap();
            for block in &newest(&there).blocks {
                restore.put(&block.key, set.read(block.hash.unwrap()).unwrap().into()).unwrap();
            }
            restore.finish(&[]).unwrap();
            check_all_there(&Harness::new(target), 6);
            if done {
                break;
            }
            steps += 1;
        }
        assert!(steps > 20, "a backup is more than {steps} steps");
    }
}

#[test]
fn a_restore_that_ends_at_any_step_is_no_store_and_is_gone_on_with() {
    let source = filled(Backend::memory(), 8);
    source.store().as_pins().unwrap().pin(&TenantId::default(), trace_id(2)).unwrap();
    let kept = MemoryBackup::of(source.store());
    let restore = |engine: &dyn Engine| -> Result<(), RestoreError> {
        let restore = Restore::begin(engine, kept.id(), Existing::Replace)?;
        restore.put_records(&kept.records)?;
        for block in kept.blocks.iter().filter(|block| !restore.has(&block.key)) {
            restore.put(&block.key, kept.bytes[&block.hash.unwrap()].clone())?;
        }
        restore.finish(&[])
    };
    let mut steps = 0u64;
    loop {
        // The engine has other blocks before, which the restore has to remove.
        let engine = MemoryEngine::default();
        drop(filled(Backend::Memory(engine.clone()), 3));
        let plan = CrashPlan::default();
        let crashing = CrashingEngine::new(Arc::new(engine.clone()), plan.clone());
        plan.crash_after(steps, LastChange::Lost);
        let done = restore(&crashing).is_ok();
        let harness = Harness::new(Backend::memory());
        let clock = harness.clock.clone();
        match BlockTraceStore::open(Arc::new(engine.clone()), clock, harness.config.clone()) {
            // The restore has not begun, or is complete.
            Ok(store) => assert_eq!(store.status().span_count, if done { 32 } else { 12 }, "{steps} steps"),
            Err(OpenError::RestoreInProgress(id)) => assert_eq!((id, done), (kept.id(), false)),
            Err(error) => panic!("after {steps} steps: {error}"),
        }
        restore(&engine).unwrap();
        let restored = Harness::new(Backend::Memory(engine));
        check_all_there(&restored, 8);
        assert_eq!(restored.store().as_pins().unwrap().pins(&TenantId::default()).len(), 1);
        assert!(report(&restored).is_fine());
        if done {
            break;
        }
        steps += 1;
    }
    assert!(steps > kept.blocks.len() as u64, "a restore is more than {steps} steps");
}
