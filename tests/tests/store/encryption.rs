//! Encryption at rest, over memory and RocksDB: what is readable below it, what tampering does, how a store from before
//! is taken over, how keys are rotated and deleted, and backups and repairs of an encrypted store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spandrel_block::BlockKey;
use spandrel_proto::TenantId;
use spandrel_storage::check::{FindingKind, check};
use spandrel_storage::encryption::{
    EncryptedEngine, EncryptedSalvage, KeyError, KeyFile as _, MasterKey, MemoryKeys, begin_data_keys,
    block_bytes, end_data_keys, is_encrypted_block, is_encrypted_value, rewrap,
};
use spandrel_storage::engine::{Catalog as _, Engine, Inspect as _, MemoryEngine, Records as _};
use spandrel_storage::plan::{Predicate, ScanPlan};
use spandrel_storage::repair::repair;
use spandrel_storage::{
    AppendError, BlockTraceStore, Deletions as _, Pins as _, RetentionRule, StoreConfig, TenantBatch,
    TraceStore,
};
use spandrel_tests::contract::aggregate;
use spandrel_tests::crashing_engine::{CrashPlan, CrashingEngine, LastChange};
use spandrel_tests::engines::{HookedEngine, Moment};
use spandrel_tests::forensics::files_with;
use spandrel_tests::harness::{self, Backend, Harness};
use spandrel_tests::memory_backup::MemoryBackup;
use spandrel_tests::spans::{HOUR, Sent, decoded, sent, text, trace_id};

/// A text in every span, and in nothing else.
const MARKER: &str = "mallory-9Xv4tQ";

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn spans(trace: u64) -> Vec<Sent> {
    (1..=30)
        .map(|n| {
            let span = sent(trace, n).service(&format!("service-{MARKER}-{}", n % 3)).at(n, 1);
            span.with("user", text(MARKER))
        })
        .collect()
}

/// An encrypted store in memory, with what lies below the encryption.
fn in_memory() -> (Harness, MemoryEngine, MemoryKeys) {
    let (below, keys) = (MemoryEngine::default(), MemoryKeys::random().unwrap());
    let backend = Backend::Encrypted(Box::new(Backend::Memory(below.clone())), keys.clone());
    (Harness::new(backend), below, keys)
}

/// The blocks below the encryption that are not encrypted.
fn plain_blocks(below: &MemoryEngine) -> Vec<BlockKey> {
    let is_plain = |key: &BlockKey| !is_encrypted_block(&below.read_prefix(key).unwrap());
    below.block_keys().into_iter().filter(is_plain).collect()
}

/// Deletes the data keys of a tenant, as the command does.
fn end_keys(keys: &MemoryKeys, of: &TenantId) {
    keys.change(&mut |entries| {
        end_data_keys(entries, of, 1);
        Ok(())
    })
    .unwrap();
}

/// Whether the files may hold plain bytes, as it is noted.
fn is_plain_noted(below: &MemoryEngine) -> bool {
    !below.records("encryption").unwrap().is_empty()
}

fn rows(engine: &dyn Engine) -> Vec<(BlockKey, Vec<u8>)> {
    engine.catalog_rows().unwrap()
}

fn is_sound(harness: &Harness) {
    let report = check(&**harness.engine(), &mut |_| true).unwrap();
    assert!(report.is_fine(), "{report:?}");
}

#[test]
fn blocks_rows_and_records_are_encrypted() {
    let (mut harness, below, _) = in_memory();
    harness.config.retention_rules =
        vec![RetentionRule { predicate: Predicate::All, keep: Duration::from_secs(7_200) }];
    harness.restart();
    harness.append(&spans(1));
    harness.store().pin(&TenantId::default(), trace_id(1)).unwrap();
    harness.clock.advance(HOUR);
    harness.append(&spans(2));
    for round in 0..3 {
        assert_eq!(plain_blocks(&below), [], "round {round}");
        for (key, row) in rows(&below) {
            assert!(is_encrypted_value(&row), "round {round}: row of {key:?}");
            assert_eq!(block_bytes(&row), Some(below.read_prefix(&key).unwrap().len() as u64));
        }
        for kind in ["pin", "numbers", "counted", "deletion"] {
            for (name, value) in below.records(kind).unwrap() {
                assert!(is_encrypted_value(&value), "round {round}: {kind} {name}");
            }
        }
        is_sound(&harness);
        harness.store().seal_all();
        harness.restart();
    }
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(2))), (spans(1), spans(2)));
}

/// Every file of the directory, also inside of compressed parts, fresh and merged, after a kill and with pins, deletions
/// and rollups of expired spans beside the blocks.
#[test]
fn no_file_of_rocksdb_holds_a_marker() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), MemoryKeys::random().unwrap());
    let plain = Backend::Folder(folder.path().to_owned(), spandrel_rocks::Durability::Sync);
    let backend = Backend::Encrypted(Box::new(plain.clone()), keys);
    let config = StoreConfig {
        retention: Duration::from_secs(30 * 86_400),
        retention_rules: vec![RetentionRule { predicate: Predicate::All, keep: Duration::from_secs(3_600) }],
        ..harness::config()
    };
    let mut harness = Harness::at(backend, config, spandrel_tests::spans::BEGIN).unwrap();
    let nothing: [PathBuf; 0] = [];
    let looked = |what: &str| assert_eq!(files_with(folder.path(), MARKER), nothing, "{what}");
    harness.append(&spans(1));
    looked("fresh");
    harness.store().seal_all();
    looked("merged");
    harness.append(&spans(2));
    harness.store().pin(&TenantId::default(), trace_id(2)).unwrap();
    harness.restart();
    looked("after a restart");
    harness.clock.advance(3 * HOUR);
    harness.maintain(3);
    assert_eq!(harness.trace(trace_id(1)), [], "it has expired and is counted");
    looked("with rollups");
    let plan = ScanPlan { predicate: Predicate::All, range: spandrel_proto::TimeRange::ALL };
    harness.store().delete(&TenantId::default(), &plan).unwrap();
    looked("while it is deleted");
    drop(harness);
    // The same without encryption is found, so that this test would notice.
    let folder = tempfile::tempdir().unwrap();
    let harness = Harness::new(Backend::Folder(folder.path().to_owned(), spandrel_rocks::Durability::Sync));
    harness.append(&spans(1));
    assert!(!files_with(folder.path(), MARKER).is_empty());
}

#[test]
fn a_flipped_bit_is_damage_of_that_block_alone() {
    let (mut harness, below, _) = in_memory();
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.append(&spans(2));
    harness.store().seal_all();
    harness.clock.advance(HOUR);
    harness.maintain(2);
    let keys: Vec<BlockKey> = rows(&below).into_iter().map(|(key, _)| key).collect();
    for offset in [0, 9, 20, 30, 45, 48, 500] {
        below.damage(&keys[0], offset);
        harness.restart();
        let found = harness.search(&harness::plan(Predicate::All));
        assert_eq!((found.partial, found.traces.len()), (true, 1), "byte {offset}");
        assert_eq!(harness.trace(trace_id(2)), spans(2));
        let report = check(&**harness.engine(), &mut |_| true).unwrap();
        let of_blocks = report.findings.iter().filter(|finding| finding.kind == FindingKind::Block).count();
        assert_eq!(of_blocks, 1, "byte {offset}: {report:?}");
        below.damage(&keys[0], offset);
    }
    harness.restart();
    is_sound(&harness);
}

#[test]
fn rows_and_blocks_do_not_decrypt_elsewhere() {
    let (mut harness, below, _) = in_memory();
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.append(&spans(2));
    let stored = rows(&below);
    let [(one, of_one), (other, of_other)] = &stored[..] else { panic!("{stored:?}") };
    let replay = |key: &BlockKey, row: &[u8]| {
        below.put_catalog_row(key, row).unwrap();
    };
    replay(one, of_other);
    replay(other, of_one);
    harness.restart();
    assert_eq!(harness.store().status().damaged_records, 2, "both are made anew from their blocks");
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(2))), (spans(1), spans(2)));
    is_sound(&harness);
}

#[test]
fn a_plain_store_stays_readable_and_is_taken_over() {
    let below = MemoryEngine::default();
    let mut plain = Harness::new(Backend::Memory(below.clone()));
    plain.append(&spans(1));
    plain.store().seal_all();
    plain.clock.advance(HOUR);
    plain.append(&spans(2));
    plain.store().pin(&TenantId::default(), trace_id(1)).unwrap();
    let now = plain.clock.clone();
    plain.restart();
    let keys = MemoryKeys::random().unwrap();
    let backend = Backend::Encrypted(Box::new(Backend::Memory(below.clone())), keys);
    let now = spandrel_storage::Clock::now(&*now).0;
    let harness = Harness::at(backend, harness::config(), now).unwrap();
    let both = (spans(1), spans(2));
    assert!(!plain_blocks(&below).is_empty());
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(2))), both);
    for kind in ["pin", "numbers"] {
        for (_, value) in below.records(kind).unwrap() {
            assert!(is_encrypted_value(&value), "{kind} is taken over at once");
        }
    }
    assert!(is_plain_noted(&below));
    let count = || check(&**harness.engine(), &mut |_| true).unwrap().plain_block_count;
    assert_eq!(count(), 2);
    harness.store().seal_all();
    harness.clock.advance(HOUR / 60);
    harness.maintain(5);
    assert_eq!((plain_blocks(&below), is_plain_noted(&below), count()), (vec![], false, 0));
    assert!(rows(&below).iter().all(|(_, row)| is_encrypted_value(row)));
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(2))), both);
    assert_eq!(harness.store().pins(&TenantId::default()).len(), 1);
    is_sound(&harness);
}

#[test]
fn files_of_a_plain_store_hold_nothing_once_it_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Backend::Folder(folder.path().to_owned(), spandrel_rocks::Durability::Sync);
    let harness = Harness::new(plain.clone());
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.append(&spans(2));
    drop(harness);
    assert!(!files_with(folder.path(), MARKER).is_empty());
    let harness = Harness::new(plain.encrypted());
    harness.store().seal_all();
    spandrel_tests::server::eventually("no file holds the marker", || {
        harness.clock.advance(HOUR / 60);
        harness.maintain(1);
        files_with(folder.path(), MARKER).is_empty().then_some(())
    });
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(2))), (spans(1), spans(2)));
}

#[test]
fn without_keys_the_store_stays_closed_and_unchanged() {
    let (harness, below, keys) = in_memory();
    harness.append(&spans(1));
    let before = rows(&below);
    drop(harness);
    let open = |backend: Backend| Harness::at(backend, harness::config(), 0).map(drop);
    let error = open(Backend::Memory(below.clone())).unwrap_err();
    assert!(error.contains("keyring.json") && error.contains("--encryption-key-file"), "{error}");
    let report = check(&below, &mut |_| true).unwrap();
    assert!(report.findings[0].detail.contains("keyring.json"), "{report:?}");
    let error = open(Backend::Memory(below.clone()).encrypted()).unwrap_err();
    assert!(error.contains("data key") && error.contains("put back"), "{error}");
    let master = keys.master();
    keys.exchange_master(MasterKey::random().unwrap());
    let backend = Backend::Encrypted(Box::new(Backend::Memory(below.clone())), keys.clone());
    let error = open(backend.clone()).unwrap_err();
    assert!(error.contains(master.fingerprint()) && error.contains("master key"), "{error}");
    assert_eq!(rows(&below), before);
    keys.exchange_master(master);
    assert_eq!(open(backend), Ok(()));
}

#[test]
fn keys_are_rotated_while_the_store_is_in_use() {
    let (harness, below, keys) = in_memory();
    harness.append(&spans(1));
    let (old, new) = (keys.master(), MasterKey::random().unwrap());
    keys.change(&mut |entries| rewrap(entries, &old, &new).map(drop)).unwrap();
    harness.maintain(1);
    harness.append(&spans(2));
    let refused =
        harness.store().append(&tenant("new"), &[spandrel_tests::spans::decoded(&spans(3))]).unwrap_err();
    assert!(refused.to_string().contains("send again later"), "{refused}");
    keys.exchange_master(new.clone());
    harness.append_for(&tenant("new"), &spans(3));
    keys.change(&mut |entries| begin_data_keys(entries, &new, 1).map(drop)).unwrap();
    harness.maintain(1);
    harness.append(&spans(4));
    let mut harness = harness;
    harness.whatever_happens(|harness| {
        for trace in [1, 2, 4] {
            assert_eq!(harness.trace(trace_id(trace)), spans(trace));
        }
        assert_eq!(harness.trace_for(&tenant("new"), trace_id(3)), spans(3));
        is_sound(harness);
    });
    assert!(rows(&below).len() >= 2);
}

#[test]
fn deleting_the_key_of_a_tenant_ends_its_data_and_no_other() {
    for restarts in [false, true] {
        let (mut harness, below, keys) = in_memory();
        let (gone, stays) = (tenant("gone"), tenant("stays"));
        for who in [&gone, &stays] {
            harness.append_for(who, &spans(1));
            harness.store().seal_all();
            harness.append_for(who, &spans(2));
        }
        let backup = MemoryBackup::of(harness.store());
        keys.change(&mut |entries| {
            assert_eq!(end_data_keys(entries, &gone, 1), 1);
            Ok(())
        })
        .unwrap();
        if restarts {
            harness.restart();
        } else {
            harness.store().drop_ended_keys();
        }
        for round in 0..2 {
            let what = format!("restarts: {restarts}, round {round}");
            assert_eq!(harness.trace_for(&gone, trace_id(1)), [], "{what}");
            assert_eq!(harness.trace_for(&gone, trace_id(2)), [], "{what}");
            assert_eq!(harness.store().services(&gone), [""; 0], "{what}");
            for trace in [1, 2] {
                assert_eq!(harness.trace_for(&stays, trace_id(trace)), spans(trace), "{what}");
            }
            assert_eq!(harness.store().status().damaged_blocks, 0, "{what}");
            is_sound(&harness);
            harness.clock.advance(HOUR / 60);
            harness.maintain(2);
            assert!(below.block_keys().iter().all(|key| key.tenant == stays), "{what}: garbage is collected");
            harness.restart();
        }
        harness.append_for(&gone, &spans(3));
        harness.store().seal_all();
        assert_eq!(harness.trace_for(&gone, trace_id(3)), spans(3), "the tenant may go on with a new key");
        assert_eq!(harness.trace_for(&gone, trace_id(1)), []);
        // A backup from before, restored beside this keyring, does not bring the data back.
        let target = Backend::Encrypted(Box::new(Backend::memory()), keys.clone());
        backup.restore(&*target.engine().unwrap()).unwrap();
        let restored = Harness::new(target);
        assert_eq!(restored.trace_for(&gone, trace_id(1)), []);
        assert_eq!(restored.trace_for(&stays, trace_id(1)), spans(1));
        is_sound(&restored);
    }
}

#[test]
fn plain_data_of_a_tenant_end_with_its_key() {
    let below = MemoryEngine::default();
    let plain = Harness::new(Backend::Memory(below.clone()));
    plain.append(&spans(1));
    drop(plain);
    let keys = MemoryKeys::random().unwrap();
    let backend = Backend::Encrypted(Box::new(Backend::Memory(below.clone())), keys.clone());
    let harness = Harness::new(backend);
    harness.append(&spans(2));
    keys.change(&mut |entries| {
        end_data_keys(entries, &TenantId::default(), 1);
        Ok(())
    })
    .unwrap();
    harness.store().drop_ended_keys();
    harness.clock.advance(HOUR / 60);
    harness.maintain(2);
    assert_eq!((harness.trace(trace_id(1)), below.block_keys()), (vec![], vec![]));
}

/// Its key is deleted while an append is on its way: after the block was encrypted, or before anybody can find it.
#[test]
fn an_append_whose_key_ends_on_the_way_neither_survives_nor_breaks_the_store() {
    let of = TenantId::default();
    for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
        let (below, keys) = (MemoryEngine::default(), MemoryKeys::random().unwrap());
        let hooked = HookedEngine::new(Arc::new(below.clone()));
        let backend = Backend::Encrypted(Box::new(Backend::Own(hooked.clone())), keys.clone());
        let mut harness = Harness::new(backend);
        harness.append(&spans(1));
        let store = harness.store().clone();
        let (ended, dropped) = (keys.clone(), store.clone());
        hooked.at_next_commit(moment, move || {
            end_keys(&ended, &TenantId::default());
            dropped.drop_ended_keys();
        });
        harness.append(&spans(2));
        drop(store);
        // Before anything else has run, nothing is found and nothing looks damaged.
        for trace in [1, 2] {
            assert_eq!(harness.trace(trace_id(trace)), [], "{moment:?}");
        }
        let found = harness.search(&harness::plan(Predicate::All));
        assert_eq!((found.partial, found.traces.len()), (false, 0), "{moment:?}");
        harness.clock.advance(HOUR / 60);
        harness.maintain(2);
        assert_eq!((harness.store().status().span_count, below.block_keys()), (0, vec![]), "{moment:?}");
        harness.append(&spans(3));
        harness.store().seal_all();
        harness.whatever_happens(|harness| {
            assert_eq!(harness.store().status().damaged_blocks, 0, "{moment:?}");
            assert_eq!(harness.trace(trace_id(2)), [], "{moment:?}");
            assert_eq!(harness.trace_for(&of, trace_id(3)), spans(3), "{moment:?}");
            is_sound(harness);
        });
    }
}

/// A key is missing or deleted: that says nothing about the bytes of a block.
#[test]
fn a_block_without_its_key_is_not_taken_for_a_damaged_one() {
    let (harness, _, keys) = in_memory();
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.append(&spans(2));
    end_keys(&keys, &TenantId::default());
    harness.engine().encryption().unwrap().take_ended();
    let found = harness.search(&harness::plan(Predicate::All));
    assert_eq!((found.partial, found.traces.len()), (false, 0));
    assert_eq!(harness.trace(trace_id(1)), []);
    assert_eq!(harness.store().status().damaged_blocks, 0);
}

#[test]
fn counts_of_expired_spans_end_with_the_key_of_their_tenant() {
    for restarts in [false, true] {
        let (mut harness, below, keys) = in_memory();
        harness.config.retention_rules =
            vec![RetentionRule { predicate: Predicate::All, keep: Duration::from_secs(3_600) }];
        harness.restart();
        harness.append(&spans(1));
        harness.store().seal_all();
        harness.clock.advance(3 * HOUR);
        harness.maintain(3);
        let counted = |harness: &Harness| {
            let answer = harness.store().aggregate(&TenantId::default(), &aggregate::plan()).unwrap();
            let points = answer.series.iter().flat_map(|series| &series.points);
            (answer.partial, points.map(|point| point.request_count).sum::<u64>())
        };
        assert_eq!(counted(&harness), (false, 30), "they are counted");
        end_keys(&keys, &TenantId::default());
        match restarts {
            true => harness.restart(),
            false => harness.store().drop_ended_keys(),
        }
        assert_eq!(counted(&harness), (false, 0), "restarts: {restarts}");
        assert_eq!(below.records("counted").unwrap(), [], "restarts: {restarts}");
    }
}

#[test]
fn a_damaged_row_leaves_it_to_its_block_whether_it_has_ended() {
    let below = MemoryEngine::default();
    let plain = Harness::new(Backend::Memory(below.clone()));
    plain.append(&spans(1));
    plain.store().seal_all();
    drop(plain);
    let keys = MemoryKeys::random().unwrap();
    let backend = Backend::Encrypted(Box::new(Backend::Memory(below.clone())), keys.clone());
    let mut harness = Harness::new(backend);
    harness.append(&spans(2));
    end_keys(&keys, &TenantId::default());
    harness.engine().encryption().unwrap().take_ended();
    harness.append(&spans(3));
    assert_eq!(rows(&below).len(), 3);
    for (key, _) in rows(&below) {
        below.put_catalog_row(&key, b"\x01nothing").unwrap();
    }
    harness.restart();
    for ended in [1, 2] {
        assert_eq!(harness.trace(trace_id(ended)), [], "{ended}");
    }
    assert_eq!(harness.trace(trace_id(3)), spans(3), "it is encrypted with the tenant's next key");
    harness.clock.advance(HOUR / 60);
    harness.maintain(2);
    assert_eq!((below.block_keys().len(), harness.store().status().damaged_blocks), (1, 0));
}

/// Every change of taking a plain store over fails once, as a kill would end it there.
#[test]
fn a_kill_while_records_are_taken_over_forgets_no_plain_file() {
    let is_plain = |value: &[u8]| !is_encrypted_value(value);
    for changes in 0.. {
        let below = MemoryEngine::default();
        let plain = Harness::new(Backend::Memory(below.clone()));
        plain.append(&spans(1));
        plain.store().pin(&TenantId::default(), trace_id(1)).unwrap();
        drop(plain);
        let (keys, plan) = (MemoryKeys::random().unwrap(), CrashPlan::default());
        let crashing = CrashingEngine::new(Arc::new(below.clone()), plan.clone());
        plan.crash_after(changes, LastChange::Lost);
        let backend = Backend::Encrypted(Box::new(Backend::Own(Arc::new(crashing))), keys);
        let opened = Harness::at(backend, harness::config(), spandrel_tests::spans::BEGIN);
        let pins = below.records("pin").unwrap();
        if !pins.iter().any(|(_, pin)| is_plain(pin)) {
            assert!(is_plain_noted(&below), "after {changes} changes");
        }
        if opened.is_ok() {
            assert!(changes >= 2, "it noted, and encrypted the pin");
            return;
        }
    }
}

#[test]
fn a_damaged_plain_block_keeps_the_note_that_files_hold_plain_bytes() {
    let below = MemoryEngine::default();
    let plain = Harness::new(Backend::Memory(below.clone()));
    plain.append(&spans(1));
    plain.store().seal_all();
    plain.clock.advance(HOUR);
    plain.append(&spans(2));
    plain.store().seal_all();
    let now = spandrel_storage::Clock::now(&*plain.clock).0;
    drop(plain);
    let damaged = rows(&below)[0].0.clone();
    let length = below.read_prefix(&damaged).unwrap().len();
    (8..length).step_by(64).for_each(|offset| below.damage(&damaged, offset));
    let backend = Backend::Memory(below.clone()).encrypted();
    let harness = Harness::at(backend, harness::config(), now).unwrap();
    for _ in 0..5 {
        harness.clock.advance(HOUR / 60);
        harness.maintain(5);
    }
    assert_eq!(plain_blocks(&below), [damaged], "all others are encrypted");
    assert!(is_plain_noted(&below), "and this one is still in the files");
}

#[test]
fn deleting_a_tenant_deletes_its_keys() {
    let (mut harness, below, keys) = in_memory();
    let (gone, stays) = (tenant("gone"), tenant("stays"));
    for who in [&gone, &stays] {
        harness.append_for(who, &spans(1));
        harness.store().seal_all();
        harness.append_for(who, &spans(2));
    }
    let backup = MemoryBackup::of(harness.store());
    let deletions = harness.store().delete_tenant(&gone).unwrap();
    let live = |who: &TenantId| {
        let entries = keys.read().unwrap();
        entries.iter().any(|entry| entry.tenant.as_deref() == Some(who.as_str()) && entry.ended.is_none())
    };
    assert_eq!((live(&gone), live(&stays)), (false, true), "at once");
    let [deletion] = &deletions[..] else { panic!("{deletions:?}") };
    assert_eq!(deletion.backups.len(), 1, "the backup still holds its spans");
    harness.store().drop_ended_keys();
    assert_eq!(harness.trace_for(&gone, trace_id(1)), []);
    for _ in 0..3 {
        harness.clock.advance(HOUR / 60);
        harness.maintain(3);
    }
    assert!(below.block_keys().iter().all(|key| key.tenant == stays));
    let done = &harness.store().deletions(&gone).unwrap()[0];
    assert!(done.finished.is_some(), "{done:?}");
    assert_eq!((done.traces, done.spans, done.damaged_blocks, done.backups.len()), (2, 60, 0, 1));
    harness.append_for(&gone, &spans(3));
    harness.whatever_happens(|harness| {
        assert_eq!(harness.trace_for(&gone, trace_id(1)), []);
        assert_eq!(harness.trace_for(&gone, trace_id(3)), spans(3), "the tenant may go on");
        assert_eq!(harness.trace_for(&stays, trace_id(1)), spans(1));
        is_sound(harness);
    });
    let target = Backend::Encrypted(Box::new(Backend::memory()), keys);
    backup.restore(&*target.engine().unwrap()).unwrap();
    assert_eq!(Harness::new(target).trace_for(&gone, trace_id(1)), [], "no backup brings it back here");
}

#[test]
fn a_keyring_that_lacks_keys_in_use_is_refused_with_their_names() {
    let (harness, below, keys) = in_memory();
    for name in ["a", "b", "c"] {
        harness.append_for(&tenant(name), &spans(1));
    }
    drop(harness);
    let before = rows(&below);
    let whole = keys.read().unwrap();
    let (kept, lost): (Vec<_>, Vec<_>) =
        whole.into_iter().partition(|entry| matches!(entry.tenant.as_deref(), None | Some("c")));
    keys.change(&mut |entries| {
        *entries = kept.clone();
        Ok(())
    })
    .unwrap();
    let backend = Backend::Encrypted(Box::new(Backend::Memory(below.clone())), keys.clone());
    let error = Harness::at(backend.clone(), harness::config(), 0).map(drop).unwrap_err();
    assert!(lost.iter().all(|entry| error.contains(&entry.id)) && lost.len() == 2, "{error}");
    assert!(kept.iter().all(|entry| !error.contains(&entry.id)), "{error}");
    assert!(error.contains("put back"), "{error}");
    let report = check(&*backend.engine().unwrap(), &mut |_| true).unwrap();
    assert_eq!((report.findings.len(), report.block_count), (1, 0), "{report:?}");
    assert!(report.findings[0].detail.contains(&lost[0].id), "{report:?}");
    assert_eq!((rows(&below), keys.read().unwrap()), (before, kept), "nothing was changed");
}

/// A merge has read its blocks when their key is deleted: their spans must not go on under a new key.
#[test]
fn a_merge_does_not_carry_ended_data_to_a_new_key() {
    let (harness, below, keys) = in_memory();
    harness.append(&spans(1));
    let engine = harness.engine();
    let (key, row) = rows(&**engine).pop().unwrap();
    let bytes = engine.read_prefix(&key).unwrap();
    let add = spandrel_storage::engine::NewBlock {
        id: spandrel_block::BlockId(key.block.0 + 1),
        bytes,
        row,
        short_lived: false,
        index: Vec::new(),
    };
    let merged = spandrel_storage::engine::Change {
        tenant: key.tenant.clone(),
        hour: key.hour,
        adds: vec![add],
        removes: vec![key.block],
    };
    keys.change(&mut |entries| {
        end_data_keys(entries, &key.tenant, 1);
        Ok(())
    })
    .unwrap();
    keys.open().unwrap();
    engine.encryption().unwrap().take_ended();
    assert!(engine.commit(&merged).is_err());
    assert_eq!(below.block_keys(), [key]);
}

#[test]
fn a_backup_stays_encrypted_and_is_restored_with_its_master_key() {
    let (harness, _, keys) = in_memory();
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.append(&spans(2));
    harness.store().pin(&TenantId::default(), trace_id(2)).unwrap();
    let backup = MemoryBackup::of(harness.store());
    let holds = |bytes: &[u8]| bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes());
    assert!(backup.bytes.values().all(|bytes| is_encrypted_block(bytes) && !holds(bytes)));
    assert!(!holds(&backup.records));
    // The next backup fetches nothing again, here and after a restore.
    let next = next(&backup, harness.store());
    assert_eq!((next.fetched, next.blocks.len()), (0, backup.blocks.len()));
    let records = spandrel_storage::backup::decode_records(&backup.records).unwrap();
    let wrapped = spandrel_storage::backup::wrapped_keys(&records).unwrap();
    assert!(wrapped.len() >= 2);

    let elsewhere = MemoryKeys::random().unwrap();
    let refused = elsewhere.open().unwrap().import(&wrapped).unwrap_err();
    assert!(
        matches!(&refused, KeyError::WrongMasterKey { needed, .. } if needed == keys.master().fingerprint())
    );
    let elsewhere = MemoryKeys::random().unwrap();
    elsewhere.exchange_master(keys.master());
    elsewhere.open().unwrap().import(&wrapped).unwrap();
    let target = Backend::Encrypted(Box::new(Backend::memory()), elsewhere);
    backup.restore(&*target.engine().unwrap()).unwrap();
    let restored = Harness::new(target);
    assert_eq!((restored.trace(trace_id(1)), restored.trace(trace_id(2))), (spans(1), spans(2)));
    assert_eq!(restored.store().pins(&TenantId::default()).len(), 1);
    is_sound(&restored);
    let after = self::next(&backup, restored.store());
    assert_eq!((after.fetched, after.blocks.len()), (0, backup.blocks.len()), "blocks stayed as they were");

    let refused = backup.restore(&MemoryEngine::default()).unwrap_err().to_string();
    assert!(refused.contains("encrypted") && refused.contains("--encryption-key-file"), "{refused}");
}

#[test]
fn a_damaged_store_is_repaired_behind_its_encryption() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), MemoryKeys::random().unwrap());
    let plain = Backend::Folder(folder.path().to_owned(), spandrel_rocks::Durability::Sync);
    let backend = Backend::Encrypted(Box::new(plain), keys.clone());
    let mut harness = Harness::new(backend.clone());
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.append(&spans(2));
    harness.store().pin(&TenantId::default(), trace_id(2)).unwrap();
    harness.store().close().unwrap();
    drop(harness);
    let repaired = repair_folder(folder.path(), &keys).unwrap();
    assert!(repaired.is_whole(), "{repaired:?}");
    assert_eq!(repaired.span_count, 60);
    std::fs::remove_dir_all(folder.path().join("store.damaged")).unwrap();
    harness = Harness::new(backend);
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(2))), (spans(1), spans(2)));
    assert_eq!(harness.store().pins(&TenantId::default()).len(), 1);
    is_sound(&harness);
    let nothing: [PathBuf; 0] = [];
    assert_eq!(files_with(folder.path(), MARKER), nothing);
}

#[test]
fn a_repair_with_the_keyring_of_another_store_changes_nothing() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), MemoryKeys::random().unwrap());
    let plain = Backend::Folder(folder.path().to_owned(), spandrel_rocks::Durability::Sync);
    let harness = Harness::new(Backend::Encrypted(Box::new(plain.clone()), keys.clone()));
    harness.append(&spans(1));
    harness.store().seal_all();
    harness.append(&spans(2));
    harness.store().close().unwrap();
    drop(harness);
    let other = MemoryKeys::random().unwrap();
    Harness::new(Backend::Encrypted(Box::new(Backend::memory()), other.clone())).append(&spans(3));
    let before = other.read().unwrap();
    for wrong in [MemoryKeys::random().unwrap(), other.clone()] {
        let refused = repair_folder(folder.path(), &wrong).unwrap_err();
        assert!(refused.contains("data keys") && refused.contains("put back"), "{refused}");
    }
    assert_eq!(other.read().unwrap(), before);
    assert!(!folder.path().join("store.damaged").exists(), "the store stays where it is");
    let harness = Harness::new(Backend::Encrypted(Box::new(plain), keys));
    assert_eq!((harness.trace(trace_id(1)), harness.trace(trace_id(2))), (spans(1), spans(2)));
    is_sound(&harness);
}

/// The next backup of a store, which need not send the blocks of an earlier one.
fn next(backup: &MemoryBackup, store: &BlockTraceStore) -> MemoryBackup {
    MemoryBackup { bytes: backup.bytes.clone(), ..MemoryBackup::default() }.again(store)
}

/// Repairs a store as the command does; the error says why nothing was repaired.
fn repair_folder(folder: &Path, keys: &MemoryKeys) -> Result<spandrel_storage::repair::RepairReport, String> {
    use spandrel_rocks::{DataDir, RepairStart, RocksRepair};

    let RepairStart::Repair(begun) = RocksRepair::begin(DataDir::lock(folder, 1 << 20).unwrap()).unwrap()
    else {
        panic!("there was no repair before");
    };
    let keyring = keys.open().unwrap();
    let source = EncryptedSalvage::new(&begun.source, keyring.clone());
    let target: &dyn Engine = &begun.target;
    match repair(&source, &EncryptedEngine::new(target, keyring), 1 << 20, &mut |_| {}) {
        Ok(report) => {
            begun.finish().unwrap();
            Ok(report)
        }
        Err(error) => {
            begun.give_up();
            Err(error.to_string())
        }
    }
}

/// A store of several tenants is opened again at any time; the order of keys in the file does not matter.
#[test]
fn a_store_in_use_is_a_store_of_several_tenants() {
    let (mut harness, _, _) = in_memory();
    let tenants = ["a", "b", "c"].map(tenant);
    for (n, who) in tenants.iter().enumerate() {
        harness.append_for(who, &spans(n as u64 + 1));
    }
    harness.whatever_happens(|harness| {
        for (n, who) in tenants.iter().enumerate() {
            assert_eq!(harness.trace_for(who, trace_id(n as u64 + 1)), spans(n as u64 + 1));
        }
    });
}

/// A batch of a tenant that cannot get a key fails alone; those beside it are stored.
#[test]
fn a_batch_without_a_key_fails_alone() {
    let (harness, _, keys) = in_memory();
    let tenants = ["known", "new"].map(tenant);
    harness.append_for(&tenants[0], &spans(1));
    keys.make_read_only();
    let requests = [[decoded(&spans(2))], [decoded(&spans(3))]];
    let batches = [
        TenantBatch { tenant: &tenants[1], requests: &requests[0] },
        TenantBatch { tenant: &tenants[0], requests: &requests[1] },
    ];
    let results = harness.store().append_all(&batches);
    assert!(matches!(results[..], [Err(AppendError::NoKey(_)), Ok(())]), "{results:?}");
    assert_eq!(harness.trace_for(&tenants[0], trace_id(3)), spans(3));
    assert!(harness.trace_for(&tenants[1], trace_id(2)).is_empty());
}
