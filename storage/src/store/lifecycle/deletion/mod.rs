//! Deletion for privacy: whole traces leave every block, and then every file.
//!
//! A deletion is a list of trace IDs, durable before anything else happens: the query is not kept, and a trace whose
//! matching span is already removed is still deleted as a whole after a kill. From then on background work does one
//! step at a time (`purge.rs`): it rewrites blocks until none contains a span of the list; waits until no reader holds
//! the replaced ones and they are deleted, now without a grace period; lets the engine purge its files; and records
//! that the deletion is finished. A restart begins at the first step again, which skips blocks that are already
//! rewritten.
//!
//! Spans that were stored later than the list have larger sequence numbers, and stay.

mod purge;
mod record;

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use spandrel_proto::{TenantId, TimeRange, TraceId, UnixNanos};

use self::purge::Purge;
use super::Lifecycle;
use crate::api::Damage;
use crate::backup::{BackupId, Manifest};
use crate::deletion::Deletion;
use crate::engine::EngineError;
use crate::error::LifecycleError;
use crate::failpoint::{self, Failpoint};
use crate::ids::DeletionId;
use crate::plan::{Predicate, ScanPlan};
use crate::records::backups;
use crate::records::deletions::{self, DeletionRecord};
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::View;
use crate::store::query::scan::scan;

pub(crate) use self::purge::PlainFiles;
pub(crate) use self::record::ResumeError;

/// Deletions in progress.
#[derive(Default)]
pub(crate) struct Deletions {
    jobs: Mutex<Vec<Arc<Job>>>,
    purge: Mutex<Option<Purge>>,
    plain_files_purged: AtomicBool,
}

/// A deletion in progress.
struct Job {
    tenant: TenantId,
    traces: HashSet<TraceId>,
    record: Mutex<DeletionRecord>,
}

/// The most traces of one deletion, which take 64 MB in memory.
const MAX_TRACES: usize = 2_000_000;

fn is_everything(plan: &ScanPlan) -> bool {
    matches!(plan.predicate, Predicate::All) && plan.range == TimeRange::ALL
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Begins to delete every trace that has a span that satisfies the plan.
    pub(crate) fn delete(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<Deletion, LifecycleError> {
        let (mut traces, mut damage) = (HashSet::new(), Damage::default());
        // Spans that expire between the scan and the record are in this view.
        let before = self.core.tenants.get(tenant).map(|state| state.view());
        // Traces of other deletions are hidden from this scan, because their spans belong to those deletions.
        if before.is_some() {
            let scan = scan(&self.core, tenant, plan);
            damage = scan.damage();
            for found in scan {
                traces.insert(found?.0);
                if traces.len() > MAX_TRACES {
                    return Err(LifecycleError::TooMany { limit: MAX_TRACES });
                }
            }
            if is_everything(plan) {
                self.add_traces_of_logs(tenant, &mut traces);
            }
        }
        let job = self.accept(tenant, traces, damage.blocks(), before.as_deref())?;
        failpoint::reach(Failpoint::DeletionHidden);
        self.described(&job.record.lock())
    }

    /// Begins to delete everything that is stored of a tenant, in as many deletions as its traces need. In a store that
    /// encrypts, the data end at once with the tenant's keys; the deletions then tell which backups hold them.
    pub(crate) fn delete_tenant(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        let plan = ScanPlan { predicate: Predicate::All, range: TimeRange::ALL };
        let mut jobs = Vec::new();
        while let Some(before) = self.core.tenants.get(tenant).map(|state| state.view()) {
            // What earlier rounds have found is hidden from this scan.
            let scan = scan(&self.core, tenant, &plan);
            let damage = scan.damage();
            let traces = scan.take(MAX_TRACES).map(|found| found.map(|(trace, _)| trace));
            let mut traces: HashSet<TraceId> = traces.collect::<Result<_, _>>()?;
            self.add_traces_of_logs(tenant, &mut traces);
            if traces.is_empty() {
                break;
            }
            jobs.push((self.accept(tenant, traces, damage.blocks(), Some(&before))?, before));
        }
        if let Some(state) = self.core.tenants.get(tenant) {
            let _lock = self.try_lock()?;
            let rollups = state.expired_rollups.read().clone();
            rollups.iter().try_for_each(|rollup| self.core.drop_expired_rollup(&state, rollup))?;
        }
        if let Some(encryption) = self.core.engine.encryption() {
            // Once the keys have ended, nothing tells any more which commits the blocks held. That includes deletions
            // of an earlier request that did not come so far.
            let view = self.core.tenants.get(tenant).map(|state| state.view());
            let unfinished: Vec<Arc<Job>> = self.deletions.jobs.lock().clone();
            for job in unfinished.iter().filter(|job| job.tenant == *tenant) {
                view.iter().try_for_each(|view| self.note_all(job, view))?;
            }
            jobs.iter().try_for_each(|(job, before)| self.note_all(job, before))?;
            encryption.end_keys(tenant)?;
            jobs.last().map(|(job, _)| self.count_ended(job)).transpose()?;
        }
        jobs.iter().map(|(job, _)| self.described(&job.record.lock())).collect()
    }

    /// Adds the traces that have logs, because some have no span by which they would be found.
    fn add_traces_of_logs(&self, tenant: &TenantId, traces: &mut HashSet<TraceId>) {
        let Some(state) = self.core.tenants.get(tenant) else { return };
        for entry in state.view().logs() {
            match self.core.reader.traces(entry) {
                Ok(table) => {
                    let known = table.entries().iter().map(|(trace, _)| *trace);
                    let seen = known.filter(|trace| !state.deleted.hides(*trace, entry));
                    traces.extend(seen.take(MAX_TRACES.saturating_sub(traces.len())));
                }
                Err(error) => self.core.report_damage(entry, &error, &Damage::default()),
            }
        }
    }

    /// Counts what is left of a tenant whose keys have ended as deleted. No rewrite will count it.
    fn count_ended(&self, job: &Job) -> Result<(), EngineError> {
        let Some(state) = self.core.tenants.get(&job.tenant) else { return Ok(()) };
        let mut record = job.record.lock();
        record.spans += state.view().spans().map(|entry| u64::from(entry.row.meta.spans)).sum::<u64>();
        deletions::write(&*self.core.engine, &record)
    }

    /// Records the commits of all blocks that a deletion may find spans in.
    fn note_all(&self, job: &Job, view: &View) -> Result<(), EngineError> {
        let snapshot = job.record.lock().snapshot;
        for hour in view.hours() {
            let of_hour =
                |entry: &&Arc<BlockEntry>| entry.key.hour == hour && entry.row.meta.min_sequence <= snapshot;
            self.note_commits(job, hour, view.iter().filter(of_hour))?;
        }
        Ok(())
    }

    /// Makes the list of traces durable, and hides the traces.
    fn accept(
        &self,
        tenant: &TenantId,
        traces: HashSet<TraceId>,
        damaged_blocks: u64,
        before: Option<&View>,
    ) -> Result<Arc<Job>, LifecycleError> {
        // Otherwise retention by a rule could roll up deleted spans meanwhile.
        let _lock = self.try_lock()?;
        let engine = &*self.core.engine;
        let record = DeletionRecord {
            id: deletions::next_id(engine, self.core.clock.now())?,
            tenant: tenant.clone(),
            accepted: self.core.clock.now(),
            finished: None,
            snapshot: self.core.committer.sequences.visible(),
            traces: traces.len() as u64,
            spans: 0,
            damaged_blocks,
            commits: BTreeMap::new(),
        };
        let list: Vec<TraceId> = traces.iter().copied().collect();
        let job = Arc::new(Job { tenant: tenant.clone(), traces, record: Mutex::new(record) });
        let left = before.map(|before| self.left_since(&job, before)).unwrap_or_default();
        let record = {
            let mut record = job.record.lock();
            record.commits = left;
            record.clone()
        };
        // The list is written first, so that every recorded deletion has one.
        deletions::write_traces(engine, record.id, &list)?;
        failpoint::reach(Failpoint::DeletionListed);
        deletions::write(engine, &record)?;
        failpoint::reach(Failpoint::DeletionNoted);
        self.adopt_deletion(&job);
        self.unpin_soon(&job);
        Ok(job)
    }

    /// The remembered deletions of a tenant, latest first.
    pub(crate) fn deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, LifecycleError> {
        let mut records = self.deletion_records()?;
        records.retain(|record| record.tenant == *tenant);
        records.iter().rev().map(|record| self.described(record)).collect()
    }

    fn described(&self, record: &DeletionRecord) -> Result<Deletion, LifecycleError> {
        Ok(Deletion {
            id: DeletionId(record.id),
            accepted: record.accepted,
            finished: record.finished,
            traces: record.traces,
            spans: record.spans,
            damaged_blocks: record.damaged_blocks,
            backups: self.backups_with(record)?,
            damaged_store: self.core.engine.keeps_damaged_store(),
        })
    }

    /// Backups that may contain deleted spans, by their windows and commits, unless they began after the deletion was
    /// finished. Blocks alone do not show that, since blocks that were merged later cover the same commits.
    fn backups_with(&self, record: &DeletionRecord) -> Result<Vec<(BackupId, UnixNanos)>, EngineError> {
        if record.commits.is_empty() {
            return Ok(Vec::new());
        }
        let holds = |backup: &Manifest| {
            let began_later = backup.without.contains(&DeletionId(record.id));
            !began_later
                && record.commits.iter().any(|(hour, (first, last))| {
                    backup.may_hold(&record.tenant, *hour, &RangeInclusive::new(*first, *last))
                })
        };
        let backups = backups::remembered(&*self.core.engine)?;
        Ok(backups.into_iter().filter(holds).map(|backup| (backup.id, backup.taken)).collect())
    }

    fn adopt_deletion(&self, job: &Arc<Job>) {
        let snapshot = job.record.lock().snapshot;
        let state = self.core.tenants.get_or_new(&job.tenant);
        state.deleted.hide(job.traces.iter().copied(), snapshot);
        self.deletions.jobs.lock().push(job.clone());
    }

    fn unpin_soon(&self, job: &Job) {
        if let Err(error) = self.unpin_deleted(job) {
            tracing::warn!(%error, "pins of deleted traces stay until the deletion is done");
        }
    }

    /// Removes the pins of a deletion's traces. The caller has to hold the lifecycle lock.
    fn unpin_deleted(&self, job: &Job) -> Result<(), EngineError> {
        for trace in self.pins.of(&job.tenant).keys().filter(|trace| job.traces.contains(trace)) {
            self.unpin_locked(&job.tenant, *trace)?;
        }
        Ok(())
    }

    /// Whether a deletion in progress includes a trace.
    pub(super) fn is_being_deleted(&self, tenant: &TenantId, trace: TraceId) -> bool {
        let jobs = self.deletions.jobs.lock();
        jobs.iter().any(|job| job.tenant == *tenant && job.traces.contains(&trace))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::TraceStore;
    use crate::deletion::Deletions;
    use crate::engine::MemoryEngine;
    use crate::pins::Pins;
    use crate::store::testing::{TestClock, request};
    use crate::store::{BlockTraceStore, StoreConfig, SystemClock};

    #[test]
    fn requests_do_not_wait_for_a_whole_window() {
        let config = StoreConfig { cleaning_patience: Duration::ZERO, ..StoreConfig::default() };
        let store =
            BlockTraceStore::open(Arc::new(MemoryEngine::default()), Arc::new(SystemClock), config).unwrap();
        let (tenant, trace) = (TenantId::default(), TraceId::from_bytes([1; 16]));
        let plan = ScanPlan { predicate: Predicate::All, range: TimeRange::ALL };
        let ask = || {
            let deletion = store.delete(&tenant, &plan).map(drop);
            [deletion, store.pin(&tenant, trace).map(drop), store.unpin(&tenant, trace).map(drop)]
        };
        let retention = store.lifecycle.lock();
        for refused in ask() {
            assert!(matches!(refused, Err(LifecycleError::Busy)), "{refused:?}");
        }
        drop(retention);
        assert!(ask().iter().all(Result::is_ok));
    }

    /// A rule removes a trace after the search found it and before the deletion is recorded: the trace is deleted all
    /// the same, and the deletion names the commits that earlier backups may contain.
    #[test]
    fn what_leaves_between_the_search_and_the_note_is_noted() {
        let clock = Arc::<TestClock>::default();
        let engine = Arc::new(MemoryEngine::default());
        let config = StoreConfig { retention: 2 * HOUR, ..StoreConfig::default() };
        let store = BlockTraceStore::open(engine, clock.clone(), config).unwrap();
        let (tenant, trace) = (TenantId::default(), TraceId::from_bytes([1; 16]));
        let append = |trace| store.append(&tenant, &[request(trace)]).unwrap();
        append(trace);
        clock.advance(HOUR);
        append(TraceId::from_bytes([2; 16]));
        let state = store.core.tenants.get(&tenant).unwrap();
        let before = state.view();
        let hours = before.hours();
        clock.advance(2 * HOUR);
        store.maintain();
        assert_eq!(state.view().hours().len(), 1, "the first window went");
        let commits = |traces: &[TraceId]| {
            let traces = traces.iter().copied().collect();
            let job = store.lifecycle.accept(&tenant, traces, 0, Some(&before)).unwrap();
            job.record.lock().commits.clone()
        };
        assert_eq!(commits(&[trace]), BTreeMap::from([(*hours.first().unwrap(), (1, 1))]));
        // The trace still exists, and its commits are recorded when it is removed; the other trace belongs to no
        // deletion.
        assert_eq!(commits(&[TraceId::from_bytes([2; 16])]), BTreeMap::new());
    }

    const HOUR: Duration = Duration::from_secs(3_600);
}
