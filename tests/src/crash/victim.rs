//! The life of a victim: it does what its story says and notes what it is promised, until it ends.

use std::path::Path;
use std::thread;

use bytes::Bytes;
use spandrel_proto::TenantId;
use spandrel_rocks::Durability;
use spandrel_storage::backup::{BackupBlock, ContentHash, LostBlock, Manifest, Piece};
use spandrel_storage::{BackupReceiver, Clock as _, ReceiverGone, Safekeeping as _, TraceStore as _};

use super::{Act, Diary, Story, config};
use crate::harness::{Ground, Harness};
use crate::spans::{BEGIN, SECOND, decoded};

/// Takes a backup and keeps nothing.
struct Nobody;

/// Lives through the first acts of a story, on RocksDB in this folder.
pub fn live(folder: &Path, story: &Story, acts: usize, durability: Durability) {
    let diary = Diary::open(&super::diary(folder));
    let ground = Ground::Folder(super::data(folder), durability);
    let mut harness = match Harness::at(ground, config(), BEGIN) {
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
