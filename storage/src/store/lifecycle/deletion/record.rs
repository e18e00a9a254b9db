//! The record of a deletion: read when the store is opened, and updated while spans are removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use spandrel_block::Hour;
use spandrel_proto::{TenantId, TraceId};

use super::Job;
use crate::engine::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::ids::DeletionId;
use crate::records::deletions::{self, DeletionRecord};
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::View;
use crate::store::lifecycle::Lifecycle;
use crate::store::write::rewrite::{BlockDisposition, RewriteBatch};

/// Why deletions cannot be resumed when a store is opened.
pub(crate) enum ResumeError {
    Engine(EngineError),
    /// The record of a deletion in progress is damaged.
    Damaged(EngineError),
}

/// The consequence of an unreadable record of a finished deletion, for the log.
const MISSING: &str = "it is missing among the deletions";
/// Number of finished deletions that are remembered.
const REMEMBERED: usize = 100;

// === impl Lifecycle ===

impl Lifecycle {
    /// Resumes the deletions that were in progress when the store was closed.
    pub(crate) fn resume_deletions(&self) -> Result<(), ResumeError> {
        let engine = &*self.core.engine;
        let mut lists: BTreeMap<String, Vec<u8>> =
            engine.records(deletions::TRACES_RECORD)?.into_iter().collect();
        for (name, bytes) in engine.records(deletions::RECORD)? {
            match (deletions::read::<DeletionRecord>(&name, &bytes), lists.contains_key(&name)) {
                (Ok(record), _) if record.finished.is_some() => {}
                (Ok(record), _) => {
                    let list = lists.remove(&name).ok_or_else(|| deletions::no_traces(&name));
                    let traces = list.and_then(|list| deletions::read(&name, &list));
                    self.resume_deletion(record, traces.map_err(ResumeError::Damaged)?);
                }
                (Err(error), true) => return Err(ResumeError::Damaged(error)),
                // A finished deletion: its damage is logged, and it is missing in the list of deletions.
                (Err(error), false) => self.core.quarantine.records.report(&error, MISSING),
            }
        }
        // A kill between writing or removing the list and the record left these lists.
        for name in lists.keys() {
            engine.put_record(deletions::TRACES_RECORD, name, None)?;
        }
        Ok(())
    }

    fn resume_deletion(&self, record: DeletionRecord, traces: Vec<TraceId>) {
        // Spans that arrive from now on must have larger numbers than the deletion's last commit.
        self.core.committer.sequences.observe(record.snapshot);
        tracing::info!(deletion = %DeletionId(record.id), traces = traces.len(), "a deletion goes on");
        let tenant = record.tenant.clone();
        let traces = traces.into_iter().collect();
        let job = Arc::new(Job { tenant, traces, record: Mutex::new(record) });
        self.adopt_deletion(&job);
        self.unpin_soon(&job);
    }

    /// All readable records, oldest deletion first.
    pub(super) fn deletion_records(&self) -> Result<Vec<DeletionRecord>, EngineError> {
        let mut records = Vec::new();
        for (name, bytes) in self.core.engine.records(deletions::RECORD)? {
            match deletions::read(&name, &bytes) {
                Ok(record) => records.push(record),
                // This deletion is finished: a damaged record of one in progress would have kept the store from
                // opening.
                Err(error) => self.core.quarantine.records.report(&error, MISSING),
            }
        }
        Ok(records)
    }

    /// The finished deletions whose spans are in no block, and in none that will be written.
    pub(crate) fn clean_deletions(&self) -> Result<Vec<DeletionId>, EngineError> {
        let clean = self.deletion_records()?.into_iter().filter(DeletionRecord::is_clean);
        Ok(clean.map(|record| DeletionId(record.id)).collect())
    }

    /// Removes the records of finished deletions except for the latest ones.
    pub(super) fn forget_old_deletions(&self) -> Result<(), EngineError> {
        let mut finished = self.deletion_records()?;
        finished.retain(|record| record.finished.is_some());
        for record in finished.iter().rev().skip(REMEMBERED) {
            deletions::remove(&*self.core.engine, record.id)?;
        }
        Ok(())
    }

    /// The commits of blocks that retention removed since a view was taken, and that a deletion would have rewritten.
    pub(super) fn left_since(&self, job: &Job, before: &View) -> BTreeMap<Hour, (u64, u64)> {
        let Some(state) = self.core.tenants.get(&job.tenant) else { return BTreeMap::new() };
        let (now, snapshot) = (state.view(), job.record.lock().snapshot);
        let mut left = BTreeMap::new();
        for entry in before.iter().filter(|entry| now.get(entry.key.block).is_none()) {
            if self.disposition(job, entry) != Some(BlockDisposition::Stays) {
                let known = left.get(&entry.key.hour).copied();
                left.insert(entry.key.hour, widened(known, commits(entry), snapshot));
            }
        }
        left
    }

    /// Records the commits of blocks that retention removes while deletions that include their spans are in progress:
    /// the spans count as deleted, and backups may contain them.
    pub(in crate::store::lifecycle) fn note_leaving(
        &self,
        tenant: &TenantId,
        hour: Hour,
        batch: &RewriteBatch,
    ) -> Result<(), EngineError> {
        let jobs = self.deletions.jobs.lock().clone();
        for job in jobs.iter().filter(|job| job.tenant == *tenant) {
            let goes =
                |entry: &&Arc<BlockEntry>| self.disposition(job, entry) != Some(BlockDisposition::Stays);
            self.note_commits(job, hour, batch.blocks().filter(goes))?;
        }
        Ok(())
    }

    /// Records the commits of blocks. The record is durable before the spans are removed, since it cannot be made
    /// afterwards.
    pub(super) fn note_commits<'b>(
        &self,
        job: &Job,
        hour: Hour,
        blocks: impl Iterator<Item = &'b Arc<BlockEntry>>,
    ) -> Result<(), EngineError> {
        // Done before the record is locked, because looking into blocks locks it, too.
        let leaving: Vec<(u64, u64)> = blocks.map(|entry| commits(entry)).collect();
        let mut record = job.record.lock();
        let (before, snapshot) = (record.commits.get(&hour).copied(), record.snapshot);
        let after = leaving.into_iter().fold(before, |known, more| Some(widened(known, more, snapshot)));
        if let Some(range) = after.filter(|_| after != before) {
            record.commits.insert(hour, range);
            deletions::write(&*self.core.engine, &record)?;
            failpoint::reach(Failpoint::DeletionNamed);
        }
        Ok(())
    }
}

// === impl ResumeError ===

impl From<EngineError> for ResumeError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// The smallest and the largest sequence number of a block.
fn commits(entry: &BlockEntry) -> (u64, u64) {
    (entry.row.meta.min_sequence, entry.row.meta.max_sequence)
}

/// Extends a range of commits by another one, up to `most`.
fn widened(known: Option<(u64, u64)>, (first, last): (u64, u64), most: u64) -> (u64, u64) {
    let (known_first, known_last) = known.unwrap_or((first, 0));
    (first.min(known_first), last.max(known_last).min(most))
}
