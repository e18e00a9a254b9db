//! Executes deletions: removes spans from their blocks, and then from every file.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use spandrel_block::{BlockId, Hour, RowRange};

use super::Job;
use crate::api::Damage;
use crate::engine::PurgeProgress;
use crate::failpoint::{self, Failpoint};
use crate::ids::DeletionId;
use crate::records::{deletions, encryption};
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::lifecycle::Lifecycle;
use crate::store::read::trace_reader::each_row;
use crate::store::write::inputs::InputRow;
use crate::store::write::replace::RewriteError;
use crate::store::write::rewrite::{BlockDisposition, RewriteBatch};

/// Whether files are purged of plain bytes, because everything is encrypted by now that was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainFiles {
    Purge,
    /// Damaged blocks stay plain, because they cannot be rewritten; their files hold plain bytes until they leave.
    PurgeButDamaged,
    Leave,
}

/// The last phase of some deletions, whose spans are in no block any more.
pub(super) struct Purge {
    jobs: Vec<Arc<Job>>,
    plain_files: PlainFiles,
    /// Replaced blocks that have to be deleted before the purge begins.
    waits_for: HashSet<BlockId>,
    begun: bool,
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Does one step of the deletions in progress. Returns whether the next step can be done immediately.
    pub(crate) fn continue_deletions(&self, plain_files: PlainFiles) -> Result<bool, RewriteError> {
        let jobs = self.deletions.jobs.lock().clone();
        let mut purge = self.deletions.purge.lock();
        let ending = |job: &Arc<Job>| {
            purge.as_ref().is_some_and(|purge| purge.jobs.iter().any(|known| Arc::ptr_eq(known, job)))
        };
        let waiting: Vec<Arc<Job>> = jobs.iter().filter(|job| !ending(job)).cloned().collect();
        for job in &waiting {
            if self.delete_from_one_window(job)? {
                return Ok(true);
            }
        }
        let garbage = &self.core.garbage;
        if purge.is_none() && (!waiting.is_empty() || plain_files != PlainFiles::Leave) {
            // Blocks that merges have replaced may contain the deleted spans, too.
            garbage.end_grace();
            *purge = Some(Purge { jobs: waiting, plain_files, waits_for: garbage.blocks(), begun: false });
        }
        let Some(ending) = purge.as_mut() else { return Ok(false) };
        if !garbage.blocks().is_disjoint(&ending.waits_for) {
            // Readers hold some of them, or held them in the last round.
            return Ok(false);
        }
        if !ending.begun {
            failpoint::reach(Failpoint::DeletionUnread);
            self.core.engine.begin_purge()?;
            ending.begun = true;
        }
        if self.core.engine.continue_purge()? == PurgeProgress::Pending {
            return Ok(false);
        }
        failpoint::reach(Failpoint::DeletionPurged);
        for job in &ending.jobs {
            self.finish_deletion(job)?;
        }
        match ending.plain_files {
            PlainFiles::Leave => {}
            PlainFiles::Purge => {
                encryption::note_all_encrypted(&*self.core.engine)?;
                tracing::info!(
                    "everything from before encryption was switched on is encrypted, and no file holds it any more"
                );
            }
            // The note stays, so that the files are purged again after the next start.
            PlainFiles::PurgeButDamaged => tracing::warn!(
                "everything from before encryption was switched on is encrypted but for damaged blocks, which stay as \
                 they are until they expire, or until `spandrel repair`"
            ),
        }
        let is_purged = ending.plain_files != PlainFiles::Leave;
        self.deletions.plain_files_purged.fetch_or(is_purged, Ordering::Relaxed);
        *purge = None;
        Ok(true)
    }

    /// Whether files were purged of plain bytes since this was last asked.
    pub(crate) fn take_plain_files_purged(&self) -> bool {
        self.deletions.plain_files_purged.swap(false, Ordering::Relaxed)
    }

    /// Rewrites some of the blocks with deleted spans in one window. Returns whether there were any.
    fn delete_from_one_window(&self, job: &Job) -> Result<bool, RewriteError> {
        let Some(state) = self.core.tenants.get(&job.tenant) else { return Ok(false) };
        let _lock = self.lock();
        let mut unreadable: BTreeMap<Hour, Vec<Arc<BlockEntry>>> = BTreeMap::new();
        let mut windows: BTreeMap<Hour, Vec<(Arc<BlockEntry>, BlockDisposition)>> = BTreeMap::new();
        for entry in state.view().iter() {
            match self.disposition(job, entry) {
                None => unreadable.entry(entry.key.hour).or_default().push(entry.clone()),
                Some(BlockDisposition::Stays) => {}
                Some(other) => windows.entry(entry.key.hour).or_default().push((entry.clone(), other)),
            }
        }
        job.record.lock().damaged_blocks = unreadable.values().map(|blocks| blocks.len() as u64).sum();
        // A backup from before the damage contains them undamaged.
        for (hour, blocks) in &unreadable {
            self.note_commits(job, *hour, blocks.iter())?;
        }
        let Some((hour, blocks)) = windows.into_iter().next() else { return Ok(false) };
        let Some(batch) = RewriteBatch::cut(blocks).into_iter().next() else { return Ok(false) };
        self.note_commits(job, hour, batch.blocks())?;
        let snapshot = job.record.lock().snapshot;
        let goes = |row: &InputRow<'_>| row.sequence <= snapshot && job.traces.contains(&row.key.trace());
        let prepared = batch.prepare(&self.core, |row| !goes(row))?;
        let dropped = prepared.dropped;
        prepared.commit(&self.core)?;
        failpoint::reach(Failpoint::DeletionRewritten);
        job.record.lock().spans += dropped;
        metrics::counter!("spandrel_store_deleted_spans_total").increment(dropped);
        self.core.recount_traces(&state);
        Ok(true)
    }

    /// What a deletion does with a block; `None` if the block cannot be read.
    pub(super) fn disposition(&self, job: &Job, entry: &Arc<BlockEntry>) -> Option<BlockDisposition> {
        self.try_disposition(job, entry)
            .inspect_err(|error| self.core.report_damage(entry, error, &Damage::default()))
            .unwrap_or_default()
    }

    fn try_disposition(
        &self,
        job: &Job,
        entry: &Arc<BlockEntry>,
    ) -> Result<Option<BlockDisposition>, BlockError> {
        let (core, meta, snapshot) = (&*self.core, &entry.row.meta, job.record.lock().snapshot);
        if meta.min_sequence > snapshot {
            return Ok(Some(BlockDisposition::Stays));
        }
        if core.is_damaged(entry) {
            return Ok(None);
        }
        let traces = core.reader.traces(entry)?;
        if meta.max_sequence <= snapshot {
            return Ok(Some(BlockDisposition::of(&traces, |trace| !job.traces.contains(&trace))));
        }
        let goes = |rows: RowRange| {
            let mut any = false;
            let looked = each_row(core, entry, rows, |columns, row| {
                any |= columns.sequence[row] <= snapshot;
                !any
            });
            // If rows cannot be read, the rewrite has to look at them.
            any || looked.is_err()
        };
        let any = traces.entries().iter().any(|(trace, rows)| job.traces.contains(trace) && goes(*rows));
        Ok(Some(if any { BlockDisposition::Shrinks } else { BlockDisposition::Stays }))
    }

    fn finish_deletion(&self, job: &Arc<Job>) -> Result<(), RewriteError> {
        let engine = &*self.core.engine;
        let lock = self.lock();
        self.unpin_deleted(job)?;
        drop(lock);
        let record = {
            let mut record = job.record.lock();
            record.finished = Some(self.core.clock.now());
            // The lock is held until the record is written, so that commits that are recorded meanwhile are not lost.
            deletions::write(engine, &record)?;
            record.clone()
        };
        failpoint::reach(Failpoint::DeletionDone);
        deletions::remove_traces(engine, record.id)?;
        failpoint::reach(Failpoint::DeletionForgotten);
        self.core.tenants.get_or_new(&job.tenant).deleted.show(&job.traces, record.snapshot);
        self.deletions.jobs.lock().retain(|known| !Arc::ptr_eq(known, job));
        let (traces, spans, damaged) = (record.traces, record.spans, record.damaged_blocks);
        tracing::info!(deletion = %DeletionId(record.id), traces, spans, damaged, "a deletion is done");
        Ok(self.forget_old_deletions()?)
    }
}
