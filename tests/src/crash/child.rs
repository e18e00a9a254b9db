//! The child process: applies the operations of a workload to a store and records each with its answer.

use std::path::Path;
use std::thread;

use bytes::Bytes;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_rocks::Durability;
use spandrel_storage::backup::{BackupBlock, Blob, ContentHash, LostBlock, Manifest};
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{
    BackupReceiver, Backups as _, Clock as _, Deletions as _, Pins as _, ReceiverGone, TraceStore as _,
};

use super::workload::{marked, number_of};
use super::{HistoryWriter, Op, Workload};
use crate::harness::{self, Backend, Harness};
use crate::spans::{BEGIN, SECOND, decoded, trace_id};

/// Takes a backup and keeps nothing.
struct DiscardedBackup;

/// Applies the first operations of a workload to a store in this folder.
pub fn run(folder: &Path, workload: &Workload, ops: usize, durability: Durability) {
    let history = HistoryWriter::open(&super::history_file(folder));
    let backend = Backend::Folder(super::data(folder), durability);
    let mut harness = match Harness::at(backend, workload.config(), BEGIN) {
        Ok(harness) => harness,
        Err(error) => return history.not_opened(&error),
    };
    history.opened();
    for op in workload.ops(ops) {
        match op {
            Op::Append(batches) => append(&harness, workload, &history, &batches),
            Op::BackUp => {
                // On a failing disk there is no backup; the checker does not ask for one.
                let _ = harness.store().back_up(None, &mut DiscardedBackup);
            }
            Op::Pin(trace) => pin(&harness, &history, trace),
            Op::Unpin(trace) => unpin(&harness, &history, pinned(&harness, trace)),
            Op::Delete(mark) => delete(&harness, &history, mark),
            Op::Maintain => harness.maintain(1),
            Op::Seal => harness.store().seal_all(),
            Op::Clock(now) => {
                history.clock(now);
                harness.clock.set(now);
            }
            Op::Reopen | Op::Drop => {
                if op == Op::Reopen {
                    // Closing fails on a failing disk; the store has to open again all the same.
                    let _ = harness.store().close();
                }
                if !reopen(&mut harness, &history) {
                    return;
                }
            }
        }
    }
}

impl BackupReceiver for DiscardedBackup {
    fn begin(&mut self, _: &Manifest) -> Result<(), ReceiverGone> {
        Ok(())
    }

    fn records(&mut self, _: Blob, _: Bytes) -> Result<(), ReceiverGone> {
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

// On a failing disk a pin or a deletion has no answer: the operation may have taken place or not.

fn pin(harness: &Harness, history: &HistoryWriter, trace: u64) {
    history.pin(trace);
    if let Ok(pinned) = harness.store().pin(&TenantId::default(), trace_id(trace)) {
        history.pinned(trace, pinned.is_some());
    }
}

/// A pinned trace, chosen by `trace`, or `trace` itself if none is pinned: workloads unpin more than they pin.
fn pinned(harness: &Harness, trace: u64) -> u64 {
    let pins = harness.store().pins(&TenantId::default());
    let chosen = pins.get(trace as usize % pins.len().max(1));
    chosen.map_or(trace, |(pinned, _)| number_of(*pinned))
}

fn unpin(harness: &Harness, history: &HistoryWriter, trace: u64) {
    history.unpin(trace);
    if let Ok(was_pinned) = harness.store().unpin(&TenantId::default(), trace_id(trace)) {
        history.unpinned(trace, was_pinned);
    }
}

fn delete(harness: &Harness, history: &HistoryWriter, mark: u64) {
    let (tenant, predicate) = (TenantId::default(), marked(mark));
    let Ok(found) = harness.store().search(&tenant, &harness::plan(predicate.clone())) else { return };
    history.delete(mark, &found.traces.iter().map(|trace| number_of(trace.id)).collect());
    let plan = ScanPlan { predicate, range: TimeRange::ALL };
    if let Ok(deletion) = harness.store().delete(&tenant, &plan) {
        history.deleted(mark, deletion.traces);
    }
}

/// Whether the store opens again; the workload ends if it does not.
fn reopen(harness: &mut Harness, history: &HistoryWriter) -> bool {
    history.clock(harness.clock.now().0 + SECOND);
    harness.clock.advance(SECOND);
    let opened = harness.try_restart();
    match &opened {
        Ok(()) => history.opened(),
        Err(error) => history.not_opened(error),
    }
    opened.is_ok()
}

fn append(harness: &Harness, workload: &Workload, history: &HistoryWriter, batches: &[u64]) {
    let store = harness.store();
    let one = |number: u64| {
        history.begin(number);
        match store.append(&TenantId::default(), &[decoded(&workload.batch(number))]) {
            Ok(()) => history.acknowledged(number),
            Err(error) => history.refused(number, &error.to_string()),
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
