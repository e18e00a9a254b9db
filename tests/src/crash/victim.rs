//! The life of a victim: it does what its story says and notes what it is promised, until it ends.

use std::path::Path;
use std::thread;

use bytes::Bytes;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_rocks::Durability;
use spandrel_storage::backup::{BackupBlock, ContentHash, LostBlock, Manifest, Piece};
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{
    BackupReceiver, Cleaning as _, Clock as _, ReceiverGone, Safekeeping as _, TraceStore as _,
};

use super::story::{marked, number_of};
use super::{Act, Diary, Story};
use crate::harness::{self, Ground, Harness};
use crate::spans::{BEGIN, SECOND, decoded, trace_id};

/// Takes a backup and keeps nothing.
struct Nobody;

/// Lives through the first acts of a story, on RocksDB in this folder.
pub fn live(folder: &Path, story: &Story, acts: usize, durability: Durability) {
    let diary = Diary::open(&super::diary(folder));
    let ground = Ground::Folder(super::data(folder), durability);
    let mut harness = match Harness::at(ground, story.config(), BEGIN) {
        Ok(harness) => harness,
        Err(error) => return diary.not_opened(&error),
    };
    diary.opened();
    for act in story.acts(acts) {
        match act {
            Act::Append(batches) => append(&harness, story, &diary, &batches),
            Act::BackUp => {
                // Where the disk fails there is none, and that is no harm.
                let _ = harness.store().back_up(None, &mut Nobody);
            }
            Act::Pin(trace) => pin(&harness, &diary, trace),
            Act::Unpin(trace) => unpin(&harness, &diary, pinned(&harness, trace)),
            Act::Delete(mark) => delete(&harness, &diary, mark),
            Act::Maintain => harness.maintain(1),
            Act::Seal => harness.store().seal_all(),
            Act::Clock(now) => {
                diary.clock(now);
                harness.clock.set(now);
            }
            Act::Reopen | Act::Drop => {
                if act == Act::Reopen {
                    // A store whose disk fails says so; that must not keep it from being opened again.
                    let _ = harness.store().close();
                }
                if !reopen(&mut harness, &diary) {
                    return;
                }
            }
        }
    }
}

impl BackupReceiver for Nobody {
    fn begin(&mut self, _: &Manifest) -> Result<(), ReceiverGone> {
        Ok(())
    }

    fn records(&mut self, _: Piece, _: Bytes) -> Result<(), ReceiverGone> {
        Ok(())
    }

    fn has(&self, _: ContentHash) -> bool {
        false
    }

    fn block(&mut self, _: &BackupBlock, _: Option<Bytes>) -> Result<(), ReceiverGone> {
        Ok(())
    }

    fn lost(&mut self, _: &LostBlock) -> Result<(), ReceiverGone> {
        Ok(())
    }
}

// Where the disk fails, whoever pins or deletes has no answer: it may have happened or not.

fn pin(harness: &Harness, diary: &Diary, trace: u64) {
    diary.pin(trace);
    if let Ok(pinned) = harness.store().pin(&TenantId::default(), trace_id(trace)) {
        diary.pinned(trace, pinned.is_some());
    }
}

/// A trace that is pinned, or this one: most stories pin less than they take away.
fn pinned(harness: &Harness, trace: u64) -> u64 {
    let pins = harness.store().pins(&TenantId::default());
    let chosen = pins.get(trace as usize % pins.len().max(1));
    chosen.map_or(trace, |(pinned, _)| number_of(*pinned))
}

fn unpin(harness: &Harness, diary: &Diary, trace: u64) {
    diary.unpin(trace);
    if let Ok(was_pinned) = harness.store().unpin(&TenantId::default(), trace_id(trace)) {
        diary.unpinned(trace, was_pinned);
    }
}

fn delete(harness: &Harness, diary: &Diary, mark: u64) {
    let (tenant, predicate) = (TenantId::default(), marked(mark));
    let Ok(found) = harness.store().search(&tenant, &harness::plan(predicate.clone())) else { return };
    diary.delete(mark, &found.traces.iter().map(|trace| number_of(trace.id)).collect());
    let plan = ScanPlan { predicate, range: TimeRange::ALL };
    if let Ok(deletion) = harness.store().delete(&tenant, &plan) {
        diary.deleted(mark, deletion.traces);
    }
}

/// Whether the store opens again; what does not ends the story.
fn reopen(harness: &mut Harness, diary: &Diary) -> bool {
    diary.clock(harness.clock.now().0 + SECOND);
    harness.clock.advance(SECOND);
    let opened = harness.try_restart();
    match &opened {
        Ok(()) => diary.opened(),
        Err(error) => diary.not_opened(error),
    }
    opened.is_ok()
}

fn append(harness: &Harness, story: &Story, diary: &Diary, batches: &[u64]) {
    let store = harness.store();
    let one = |number: u64| {
        diary.begin(number);
        match store.append(&TenantId::default(), &[decoded(&story.batch(number))]) {
            Ok(()) => diary.acknowledged(number),
            Err(error) => diary.refused(number, &error.to_string()),
        }
    };
    match batches {
        [number] => one(*number),
        several => thread::scope(|scope| {
            let one = &one;
            several.iter().for_each(|number| drop(scope.spawn(move || one(*number))));
            scope.spawn(|| store.maintain());
        }),
    }
}
