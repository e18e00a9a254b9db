//! The backups that a deletion names: all that may hold deleted spans, and none that began after the deletion was done,
//! although later merges span the same commits and the store is closed, merged or restored in between.

use bytes::Bytes;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_storage::backup::{BackupBlock, BackupId, Blob, ContentHash, LostBlock, Manifest};
use spandrel_storage::engine::MemoryEngine;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::restore::{Existing, Restore};
use spandrel_storage::{BackupReceiver, Backups, Deletion, Deletions, Engine, ReceiverGone, TraceStore};
use spandrel_tests::contract::deletion::{finish, with};
use spandrel_tests::harness::{Backend, Harness};
use spandrel_tests::memory_backup::MemoryBackup;
use spandrel_tests::spans::{BEGIN, HOUR, Sent, sent, text, trace_id};

fn backends() -> Vec<Backend> {
    vec![Backend::memory(), Backend::quick_rocks()]
}

fn marked(trace: u64, span: u64) -> Sent {
    sent(trace, span).with("user", text("mallory"))
}

fn delete(harness: &Harness) -> Deletion {
    let plan = ScanPlan { predicate: with("user", "mallory"), range: TimeRange::ALL };
    harness.store().delete(&TenantId::default(), &plan).unwrap()
}

fn back_up(harness: &Harness) -> BackupId {
    MemoryBackup::of(harness.store()).id()
}

/// The backups that a deletion names.
fn named(harness: &Harness, deletion: &Deletion) -> Vec<BackupId> {
    let now = harness.store().deletion(&TenantId::default(), deletion.id).unwrap().unwrap();
    now.backups.iter().map(|(id, _)| *id).collect()
}

/// Merges all blocks of a window into one, merged ones included.
fn merge_all(harness: &Harness) {
    for n in 0..16 {
        harness.append(&[sent(1_000 + n, 1)]);
        harness.store().seal_all();
    }
}

/// A store of one window with commits before and after that of the deleted spans.
fn filled(backend: Backend) -> Harness {
    let harness = Harness::new(backend);
    harness.append(&[sent(1, 1)]);
    harness.append(&[marked(2, 1), sent(3, 1)]);
    harness.store().seal_all();
    harness.append(&[sent(4, 1)]);
    harness
}

#[test]
fn what_began_when_it_was_done_is_not_named() {
    for backend in backends() {
        let mut harness = filled(backend);
        let before = [back_up(&harness), back_up(&harness)];
        let deletion = delete(&harness);
        assert_eq!(finish(&harness, &deletion).backups.len(), 2);
        // The rewritten block, and the blocks it is merged into, span the commits of the deleted spans.
        back_up(&harness);
        merge_all(&harness);
        back_up(&harness);
        assert_eq!(named(&harness, &deletion), before);
        harness.restart();
        back_up(&harness);
        // The next backup has a higher ID, but an earlier time than all others.
        harness.clock.set(BEGIN - 20 * HOUR);
        harness.restart();
        merge_all(&harness);
        back_up(&harness);
        assert_eq!(named(&harness, &deletion), before);
        harness.restart();
        assert_eq!(named(&harness, &deletion), before);
        // A later deletion names its own backups, and the first deletion still names those that are not forgotten.
        harness.append(&[marked(5, 1)]);
        back_up(&harness);
        harness.store().forget_backup(before[0]).unwrap();
        let next = delete(&harness);
        finish(&harness, &next);
        assert!(!named(&harness, &next).is_empty());
        assert_eq!(named(&harness, &deletion), before[1..]);
    }
}

/// A reader of the deleted traces makes the deletion wait.
#[test]
fn what_began_before_it_was_done_is_named() {
    for backend in backends() {
        let mut harness = filled(backend);
        let deletion = delete(&harness);
        let reading = harness.store().scan(&TenantId::default(), &everything()).unwrap();
        harness.maintain(3);
        let during = back_up(&harness);
        harness.maintain(3);
        assert_eq!(named(&harness, &deletion), [during], "nobody can tell yet what it holds");
        drop(reading);
        finish(&harness, &deletion);
        let after = back_up(&harness);
        assert!(after > during);
        harness.restart();
        assert_eq!(named(&harness, &deletion), [during]);
    }
}

fn everything() -> ScanPlan {
    ScanPlan { predicate: spandrel_storage::plan::Predicate::All, range: TimeRange::ALL }
}

/// Runs a function at each block that the backup sends.
struct Meddler<F> {
    kept: MemoryBackup,
    meddle: F,
}

impl<F: FnMut(&BackupBlock)> BackupReceiver for Meddler<F> {
    fn begin(&mut self, backup: &Manifest) -> Result<(), ReceiverGone> {
        self.kept.begin(backup)
    }

    fn records(&mut self, piece: Blob, bytes: Bytes) -> Result<(), ReceiverGone> {
        self.kept.records(piece, bytes)
    }

    fn has(&self, hash: ContentHash) -> bool {
        self.kept.has(hash)
    }

    fn block(&mut self, block: &BackupBlock, bytes: Option<Bytes>) -> Result<(), ReceiverGone> {
        self.kept.block(block, bytes)?;
        (self.meddle)(block);
        Ok(())
    }

    fn lost(&mut self, block: &LostBlock) -> Result<(), ReceiverGone> {
        self.kept.lost(block)
    }
}

/// A deletion runs from beginning to end while a backup is between its first block, which has the deleted spans, and
/// its last.
#[test]
fn what_began_before_and_ended_after_is_named() {
    for backend in backends() {
        let mut harness = filled(backend);
        harness.store().seal_all();
        harness.clock.advance(HOUR);
        harness.append(&[sent(6, 1)]);
        let first =
            harness.engine().catalog_rows().unwrap().into_iter().map(|(key, _)| key.hour).min().unwrap();
        let mut deletion = None;
        let meddle = |block: &BackupBlock| {
            if block.key.hour > first && deletion.is_none() {
                let begun = delete(&harness);
                assert!(finish(&harness, &begun).finished.is_some());
                assert_eq!(named(&harness, &begun).len(), 1, "it is remembered before it ends");
                deletion = Some(begun);
            }
        };
        let mut meddler = Meddler { kept: MemoryBackup::default(), meddle };
        harness.store().back_up(None, &mut meddler).unwrap();
        let kept = meddler.kept;
        let (id, deletion) = (kept.id(), deletion.expect("two windows"));
        let target = Backend::memory();
        kept.restore(&*target.engine().unwrap()).unwrap();
        assert_eq!(Harness::new(target).trace(trace_id(2)).len(), 1, "it holds what was deleted");
        back_up(&harness);
        harness.restart();
        assert_eq!(named(&harness, &deletion), [id]);
    }
}

/// A damaged block may hold deleted spans. A later backup has it if an earlier one in the same set had it whole.
#[test]
fn where_a_block_was_damaged_all_are_named() {
    let engine = MemoryEngine::default();
    let mut harness = Harness::new(Backend::Memory(engine.clone()));
    for n in [1, 3] {
        harness.append(&[marked(n, 1), marked(5, n), sent(n + 1, 1)]);
        harness.store().seal_all();
    }
    let first = MemoryBackup::of(harness.store());
    let BackupBlock { key, bytes, .. } = first.blocks[1].clone();
    (0..bytes as usize).for_each(|at| engine.damage(&key, at));
    harness.restart();
    let deletion = delete(&harness);
    assert_eq!(finish(&harness, &deletion).damaged_blocks, 1);
    let before = first.id();
    let second = first.again(harness.store());
    assert!(second.blocks.iter().any(|block| block.key == key), "it has what could not be read");
    assert_eq!(named(&harness, &deletion), [before, second.id()]);
}

/// The backup has the whole trace, although no readable block covers its commits.
#[test]
fn a_backup_from_before_the_damage_is_named() {
    let engine = MemoryEngine::default();
    let mut harness = Harness::new(Backend::Memory(engine.clone()));
    harness.append(&[marked(1, 1), sent(2, 1)]);
    harness.store().seal_all();
    let first = MemoryBackup::of(harness.store());
    let BackupBlock { key, bytes, .. } = first.blocks[0].clone();
    harness.clock.advance(HOUR);
    harness.append(&[marked(1, 2)]);
    harness.store().seal_all();
    (0..bytes as usize).for_each(|at| engine.damage(&key, at));
    harness.restart();
    let deletion = delete(&harness);
    assert_eq!(finish(&harness, &deletion).damaged_blocks, 1);
    assert_eq!(named(&harness, &deletion), [first.id()]);
}

/// Manifests of earlier programs do not record the deletions that were done when they began.
#[test]
fn what_does_not_say_when_it_began_is_named() {
    let mut harness = filled(Backend::memory());
    let deletion = delete(&harness);
    finish(&harness, &deletion);
    let id = back_up(&harness);
    assert_eq!(named(&harness, &deletion), []);
    let known = harness.store().backups().unwrap().remove(0);
    assert_eq!(known.without, [deletion.id]);
    let earlier = Manifest { without: Vec::new(), ..known }.encode();
    assert!(earlier.starts_with("spandrel-backup 1\n"));
    harness.engine().put_record("backup", &id.to_string(), Some(earlier.as_bytes())).unwrap();
    harness.restart();
    assert_eq!(named(&harness, &deletion), [id]);
}

/// Spans that expire during their deletion count as deleted.
#[test]
fn what_has_expired_meanwhile_is_named() {
    for backend in backends() {
        let mut harness = filled(backend);
        let before = back_up(&harness);
        let deletion = delete(&harness);
        harness.clock.advance(200 * HOUR);
        assert_eq!(finish(&harness, &deletion).spans, 0);
        assert_eq!(harness.store().status().span_count, 0);
        harness.restart();
        assert_eq!(named(&harness, &deletion), [before]);
    }
}

/// The restore did not compare the backups of the set with the deletion, so they are named; later backups are not.
#[test]
fn a_restored_store_takes_no_other_backup_for_a_later_one() {
    for target in backends() {
        let harness = filled(Backend::memory());
        let before = back_up(&harness);
        let deletion = delete(&harness);
        finish(&harness, &deletion);
        let kept = MemoryBackup::of(harness.store());
        let after = back_up(&harness);
        let known = harness.store().backups().unwrap();
        let restore = |engine: &dyn Engine, replace| {
            let restore = Restore::begin(engine, kept.id(), replace).unwrap();
            restore.put_records(&kept.records).unwrap();
            for block in &kept.blocks {
                restore.put(&block.key, kept.bytes[&block.hash.unwrap()].clone()).unwrap();
            }
            restore.finish(&known[..2]).unwrap();
        };
        restore(&*target.engine().unwrap(), Existing::Keep);
        let restored = Harness::new(target);
        back_up(&restored);
        assert_eq!(named(&restored, &deletion), [before, kept.id()]);
        // This also holds if the store already knew them.
        let engine = harness.engine().clone();
        drop(harness);
        restore(&*engine, Existing::Replace);
        let replaced = Harness::new(Backend::Own(engine));
        assert_eq!(named(&replaced, &deletion), [before, kept.id(), after]);
    }
}

/// A deletion removes its list last, so a backup that reads lists first has the list for every unfinished deletion.
#[test]
fn a_backup_reads_lists_of_traces_before_deletions() {
    for backend in backends() {
        let harness = filled(backend);
        finish(&harness, &delete(&harness));
        harness.append(&[marked(7, 1)]);
        let deletion = delete(&harness);
        let kept = MemoryBackup::of(harness.store());
        let records = spandrel_storage::backup::decode_records(&kept.records).unwrap();
        let kinds: Vec<&str> = records.iter().map(|record| record.kind.as_str()).collect();
        assert_eq!(kinds, ["deletion-traces", "deletion", "deletion"]);
        let target = Backend::memory();
        kept.restore(&*target.engine().unwrap()).unwrap();
        assert_eq!(finish(&Harness::new(target), &deletion).spans, 1, "it goes on in a restored store");
    }
}
