//! Deletion for privacy: whole traces leave every block, and then every file.
//!
//! What goes is a list of trace IDs, durable before anything else happens: the question is not kept,
//! and a trace whose matching span is gone already still goes to its end after a kill. From then on
//! background work does one step at a time: it rewrites blocks until none holds a span of the list;
//! waits until nobody reads the replaced ones and they are deleted, which get no grace now; lets the engine
//! purge its files; and notes that all is done. A restart begins at the first step again, which finds
//! nothing that is done already.
//!
//! Spans that were stored later than the list have larger sequence numbers, and stay.

pub(crate) mod record;

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use spandrel_block::{BlockId, Hour, RowRange, TraceTable};
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::api::{Damage, ReadError, TraceStore};
use crate::backup::{BackupId, Manifest};
use crate::cleaning::{Cleaning, CleaningError, Deletion, DeletionId};
use crate::engine::EngineError;
use crate::failpoint::{self, Failpoint};
use crate::plan::ScanPlan;
use crate::store::BlockTraceStore;
use crate::store::OpenError;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::view::{TenantState, View};
use crate::store::lifecycle::deletion::record::{self as notes, MISSING, Note, RECORD, TRACES_RECORD};
use crate::store::read::merge_iter::SpanRow;
use crate::store::remembered_backups;
use crate::store::write::rewrite::{Fate, RewriteError, Step};

/// Deletions that are under way.
#[derive(Default)]
pub(crate) struct Deletions {
    jobs: Mutex<Vec<Arc<Job>>>,
    purge: Mutex<Option<Purge>>,
}

/// One of them.
struct Job {
    tenant: TenantId,
    traces: HashSet<TraceId>,
    note: Mutex<Note>,
}

/// The end of some deletions: no block holds their spans any more.
struct Purge {
    jobs: Vec<Arc<Job>>,
    /// Replaced blocks that have to be deleted first.
    waits_for: HashSet<BlockId>,
    begun: bool,
}

/// Traces of one deletion: 64 MB in memory.
const MAX_TRACES: usize = 2_000_000;

// === what users ask for ===

impl BlockTraceStore {
    pub(crate) fn begin_deletion(
        &self,
        tenant: &TenantId,
        plan: &ScanPlan,
    ) -> Result<Deletion, CleaningError> {
        let (mut traces, mut damage) = (HashSet::new(), Damage::default());
        // What a rule lets go between the scan and the note is in the view of before.
        let before = self.tenant(tenant).map(|state| state.view());
        // Traces that go already are hidden from this scan: their spans are the other deletion's.
        if before.is_some() {
            let scan = self.scan(tenant, plan)?;
            damage = scan.damage();
            for found in scan {
                traces.insert(found?.0);
                if traces.len() > MAX_TRACES {
                    return Err(CleaningError::TooMany { limit: MAX_TRACES });
                }
            }
        }
        let job = self.accept(tenant, traces, damage.blocks(), before.as_deref())?;
        failpoint::reach(Failpoint::ErasureHidden);
        self.described(&job.note.lock())
    }

    /// Makes it durable which traces go, and hides them.
    fn accept(
        &self,
        tenant: &TenantId,
        traces: HashSet<TraceId>,
        damaged_blocks: u64,
        before: Option<&View>,
    ) -> Result<Arc<Job>, CleaningError> {
        // Whoever lets spans go by a rule meanwhile would count what is deleted.
        let _turn = self.turn()?;
        let note = Note {
            id: self.next_deletion()?,
            tenant: tenant.clone(),
            accepted: self.clock.now(),
            finished: None,
            snapshot: self.sequences.visible(),
            traces: traces.len() as u64,
            spans: 0,
            damaged_blocks,
            commits: BTreeMap::new(),
        };
        let list: Vec<TraceId> = traces.iter().copied().collect();
        let job = Arc::new(Job { tenant: tenant.clone(), traces, note: Mutex::new(note) });
        let left = before.map(|before| self.left_since(&job, before)).unwrap_or_default();
        let note = {
            let mut note = job.note.lock();
            note.commits = left;
            note.clone()
        };
        // The list first: a deletion that is noted has one.
        self.put_deletion(TRACES_RECORD, note.id, &list)?;
        failpoint::reach(Failpoint::ErasureListed);
        self.put_deletion(RECORD, note.id, &note)?;
        failpoint::reach(Failpoint::ErasureNoted);
        self.adopt_deletion(&job);
        self.unpin_soon(&job);
        Ok(job)
    }

    /// A turn among all who let spans go, or keep them. Whoever asks for one over the network holds a place for
    /// questions, and does not wait for a whole window.
    pub(crate) fn turn(&self) -> Result<MutexGuard<'_, ()>, CleaningError> {
        self.cleaning.try_lock_for(self.config.cleaning_patience).ok_or(CleaningError::Busy)
    }

    pub(crate) fn all_deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, CleaningError> {
        let mut notes = self.deletion_notes()?;
        notes.retain(|note| note.tenant == *tenant);
        notes.iter().rev().map(|note| self.described(note)).collect()
    }

    fn described(&self, note: &Note) -> Result<Deletion, CleaningError> {
        Ok(Deletion {
            id: DeletionId(note.id),
            accepted: note.accepted,
            finished: note.finished,
            traces: note.traces,
            spans: note.spans,
            damaged_blocks: note.damaged_blocks,
            backups: self.backups_with(note)?,
            damaged_store: self.engine.keeps_damaged_store(),
        })
    }

    /// Backups that may hold what was deleted: by their windows and commits, unless they know that they began
    /// when it was done. Blocks alone do not tell, since those that were merged later span the same commits.
    fn backups_with(&self, note: &Note) -> Result<Vec<(BackupId, UnixNanos)>, EngineError> {
        if note.commits.is_empty() {
            return Ok(Vec::new());
        }
        let holds = |backup: &Manifest| {
            let began_later = backup.without.contains(&DeletionId(note.id));
            !began_later
                && note.commits.iter().any(|(hour, (first, last))| {
                    backup.may_hold(&note.tenant, *hour, &RangeInclusive::new(*first, *last))
                })
        };
        let backups = remembered_backups(&*self.engine)?;
        Ok(backups.into_iter().filter(holds).map(|backup| (backup.id, backup.taken)).collect())
    }
}

// === what is done about it ===

impl BlockTraceStore {
    /// Goes on with the deletions that a store was closed over.
    pub(crate) fn resume_deletions(&self) -> Result<(), OpenError> {
        let mut lists: BTreeMap<String, Vec<u8>> = self.engine.records(TRACES_RECORD)?.into_iter().collect();
        for (name, bytes) in self.engine.records(RECORD)? {
            match (notes::read::<Note>(&name, &bytes), lists.contains_key(&name)) {
                (Ok(note), _) if note.finished.is_some() => {}
                (Ok(note), _) => {
                    let list = lists.remove(&name).ok_or_else(|| notes::no_traces(&name));
                    let traces = list.and_then(|list| notes::read(&name, &list));
                    self.resume_deletion(note, traces.map_err(OpenError::Deletion)?);
                }
                (Err(error), true) => return Err(OpenError::Deletion(error)),
                // One that is done: told at once, and missing among the deletions.
                (Err(error), false) => self.damaged_records.report(&error, MISSING),
            }
        }
        // A kill came between the list and the note, in either order.
        lists.keys().try_for_each(|name| Ok(self.engine.put_record(TRACES_RECORD, name, None)?))
    }

    fn resume_deletion(&self, note: Note, traces: Vec<TraceId>) {
        // What arrives from now on must not look as if it had been there before.
        self.sequences.see(note.snapshot);
        tracing::info!(deletion = %DeletionId(note.id), traces = traces.len(), "a deletion goes on");
        let tenant = note.tenant.clone();
        let job = Arc::new(Job { tenant, traces: traces.into_iter().collect(), note: Mutex::new(note) });
        self.adopt_deletion(&job);
        self.unpin_soon(&job);
    }

    fn adopt_deletion(&self, job: &Arc<Job>) {
        let snapshot = job.note.lock().snapshot;
        self.tenant_or_new(&job.tenant).hide(job.traces.iter().copied(), snapshot);
        self.deletions.jobs.lock().push(job.clone());
    }

    fn unpin_soon(&self, job: &Job) {
        if let Err(error) = self.unpin_deleted(job) {
            tracing::warn!(%error, "pins of deleted traces stay until the deletion is done");
        }
    }

    /// Whether a trace is on its way out.
    pub(crate) fn is_being_deleted(&self, tenant: &TenantId, trace: TraceId) -> bool {
        let jobs = self.deletions.jobs.lock();
        jobs.iter().any(|job| job.tenant == *tenant && job.traces.contains(&trace))
    }

    /// For whoever has his turn.
    fn unpin_deleted(&self, job: &Job) -> Result<(), EngineError> {
        for trace in self.pins.of(&job.tenant).keys().filter(|trace| job.traces.contains(trace)) {
            self.take_pin(&job.tenant, *trace)?;
        }
        Ok(())
    }

    /// Does one step of the deletions that are under way. Returns whether there is more to do at once.
    pub(crate) fn continue_deletions(&self) -> Result<bool, RewriteError> {
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
        if purge.is_none() && !waiting.is_empty() {
            // What merges have replaced meanwhile may hold what goes, too.
            self.doomed.hurry();
            let waits_for = self.doomed.blocks();
            *purge = Some(Purge { jobs: waiting, waits_for, begun: false });
        }
        let Some(ending) = purge.as_mut() else { return Ok(false) };
        if !self.doomed.blocks().is_disjoint(&ending.waits_for) {
            // They are still read, or were there when the last round looked.
            return Ok(false);
        }
        if !ending.begun {
            failpoint::reach(Failpoint::ErasureUnread);
        }
        let done = self.engine.purge(!ending.begun)?;
        ending.begun = true;
        if !done {
            return Ok(false);
        }
        failpoint::reach(Failpoint::ErasurePurged);
        for job in &ending.jobs {
            self.finish_deletion(job)?;
        }
        *purge = None;
        Ok(true)
    }

    /// Rewrites some of the blocks of a window that hold what goes. Returns whether there were any.
    fn delete_from_one_window(&self, job: &Job) -> Result<bool, RewriteError> {
        let Some(state) = self.tenant(&job.tenant) else { return Ok(false) };
        let _one_by_one = self.cleaning.lock();
        let mut unreadable: BTreeMap<Hour, Vec<Arc<BlockEntry>>> = BTreeMap::new();
        let mut windows: BTreeMap<Hour, Vec<(Arc<BlockEntry>, Fate)>> = BTreeMap::new();
        for entry in state.view().iter() {
            match self.fate(job, entry) {
                None => unreadable.entry(entry.key.hour).or_default().push(entry.clone()),
                Some(Fate::Stays) => {}
                Some(fate) => windows.entry(entry.key.hour).or_default().push((entry.clone(), fate)),
            }
        }
        job.note.lock().damaged_blocks = unreadable.values().map(|blocks| blocks.len() as u64).sum();
        // A backup from before the damage has them whole.
        for (hour, blocks) in &unreadable {
            self.note_commits(job, *hour, blocks.iter())?;
        }
        let Some((hour, blocks)) = windows.into_iter().next() else { return Ok(false) };
        let Some(step) = Step::cut(blocks).into_iter().next() else { return Ok(false) };
        self.note_commits(job, hour, step.blocks())?;
        let snapshot = job.note.lock().snapshot;
        let goes = |row: &SpanRow| row.sequence <= snapshot && job.traces.contains(&row.key.trace());
        let prepared = step.prepare(self, |row| !goes(row))?;
        let dropped = prepared.dropped;
        prepared.commit(self)?;
        failpoint::reach(Failpoint::ErasureRewritten);
        job.note.lock().spans += dropped;
        metrics::counter!("spandrel_store_deleted_spans_total").increment(dropped);
        self.recount_traces(&state);
        Ok(true)
    }

    /// `None` when the block cannot be read.
    fn fate(&self, job: &Job, entry: &Arc<BlockEntry>) -> Option<Fate> {
        let look = || {
            let (meta, snapshot) = (&entry.row.meta, job.note.lock().snapshot);
            if meta.min_sequence > snapshot {
                return Ok(Some(Fate::Stays));
            }
            if self.is_damaged(entry) {
                return Ok(None);
            }
            let traces = self.reader.traces(entry)?;
            if meta.max_sequence <= snapshot {
                return Ok(Some(Fate::of(&traces, |trace| !job.traces.contains(&trace))));
            }
            let goes = |rows: RowRange| {
                let mut any = false;
                let looked = self.each_row(entry, rows, |core, row| {
                    any |= core.sequence[row] <= snapshot;
                    !any
                });
                // What cannot be read has to be looked at when it is rewritten.
                any || looked.is_err()
            };
            let any = |traces: &TraceTable| {
                traces.entries().iter().any(|(trace, rows)| job.traces.contains(trace) && goes(*rows))
            };
            Ok(Some(if any(&traces) { Fate::Shrinks } else { Fate::Stays }))
        };
        look()
            .inspect_err(|error: &BlockError| self.report_damage(entry, error, &Damage::default()))
            .unwrap_or_default()
    }

    /// The commits of what has left since a view was taken, by its age or by a rule, and would have been taken.
    fn left_since(&self, job: &Job, before: &View) -> BTreeMap<Hour, (u64, u64)> {
        let Some(state) = self.tenant(&job.tenant) else { return BTreeMap::new() };
        let (now, snapshot) = (state.view(), job.note.lock().snapshot);
        let mut left = BTreeMap::new();
        for entry in before.iter().filter(|entry| now.get(entry.key.block).is_none()) {
            if self.fate(job, entry) != Some(Fate::Stays) {
                let known = left.get(&entry.key.hour).copied();
                left.insert(entry.key.hour, widened(known, commits(entry), snapshot));
            }
        }
        left
    }

    /// Notes what leaves by its age, by a rule or for lack of room while deletions are under way that would have
    /// taken it: it is deleted all the same, and backups may hold it.
    pub(crate) fn note_leaving(&self, tenant: &TenantId, hour: Hour, step: &Step) -> Result<(), EngineError> {
        let jobs = self.deletions.jobs.lock().clone();
        for job in jobs.iter().filter(|job| job.tenant == *tenant) {
            let goes = |entry: &&Arc<BlockEntry>| self.fate(job, entry) != Some(Fate::Stays);
            self.note_commits(job, hour, step.blocks().filter(goes))?;
        }
        Ok(())
    }

    /// Durable before the spans go: afterwards nobody could tell any more.
    fn note_commits<'b>(
        &self,
        job: &Job,
        hour: Hour,
        blocks: impl Iterator<Item = &'b Arc<BlockEntry>>,
    ) -> Result<(), EngineError> {
        // Before the note is held: whoever looks into blocks on the way needs it.
        let leaving: Vec<(u64, u64)> = blocks.map(|entry| commits(entry)).collect();
        let mut note = job.note.lock();
        let (before, snapshot) = (note.commits.get(&hour).copied(), note.snapshot);
        let after = leaving.into_iter().fold(before, |known, more| Some(widened(known, more, snapshot)));
        if let Some(range) = after.filter(|_| after != before) {
            note.commits.insert(hour, range);
            self.put_deletion(RECORD, note.id, &*note)?;
            failpoint::reach(Failpoint::ErasureNamed);
        }
        Ok(())
    }

    fn finish_deletion(&self, job: &Arc<Job>) -> Result<(), RewriteError> {
        let turn = self.cleaning.lock();
        self.unpin_deleted(job)?;
        drop(turn);
        let note = {
            let mut note = job.note.lock();
            note.finished = Some(self.clock.now());
            // Held until it is written: what leaves meanwhile is noted in the same record.
            self.put_deletion(RECORD, note.id, &*note)?;
            note.clone()
        };
        failpoint::reach(Failpoint::ErasureDone);
        let name = DeletionId(note.id).to_string();
        self.engine.put_record(TRACES_RECORD, &name, None)?;
        failpoint::reach(Failpoint::ErasureForgotten);
        self.tenant_or_new(&job.tenant).show(&job.traces, note.snapshot);
        self.deletions.jobs.lock().retain(|known| !Arc::ptr_eq(known, job));
        let (traces, spans, damaged) = (note.traces, note.spans, note.damaged_blocks);
        tracing::info!(deletion = %name, traces, spans, damaged, "a deletion is done");
        Ok(self.forget_old_deletions()?)
    }
}

/// The first and the last commit of a block.
fn commits(entry: &BlockEntry) -> (u64, u64) {
    (entry.row.meta.min_sequence, entry.row.meta.max_sequence)
}

/// A range of commits that has more of them, up to a last one.
fn widened(known: Option<(u64, u64)>, (first, last): (u64, u64), most: u64) -> (u64, u64) {
    let (known_first, known_last) = known.unwrap_or((first, 0));
    (first.min(known_first), last.max(known_last).min(most))
}

// === impl TenantState: traces that nobody is to see any more ===

impl TenantState {
    fn hide(&self, traces: impl Iterator<Item = TraceId>, snapshot: u64) {
        let mut hidden = self.hidden.write();
        for trace in traces {
            // Another deletion may have promised more.
            let promised = hidden.entry(trace).or_default();
            *promised = snapshot.max(*promised);
        }
    }

    fn show(&self, traces: &HashSet<TraceId>, snapshot: u64) {
        self.hidden.write().retain(|trace, hidden| *hidden != snapshot || !traces.contains(trace));
    }

    /// Whether this block's part of a trace is on its way out.
    pub(crate) fn is_hidden(&self, trace: TraceId, entry: &BlockEntry) -> bool {
        let hidden = self.hidden.read();
        !hidden.is_empty()
            && hidden.get(&trace).is_some_and(|snapshot| entry.row.meta.min_sequence <= *snapshot)
    }

    /// Whether a span is on its way out.
    pub(crate) fn is_deleted(&self, trace: TraceId, sequence: u64) -> bool {
        let hidden = self.hidden.read();
        !hidden.is_empty() && hidden.get(&trace).is_some_and(|snapshot| sequence <= *snapshot)
    }

    /// Whether any span is.
    pub(crate) fn any_deleted(&self) -> bool {
        !self.hidden.read().is_empty()
    }
}

impl Cleaning for BlockTraceStore {
    fn delete(&self, tenant: &TenantId, plan: &ScanPlan) -> Result<Deletion, CleaningError> {
        self.begin_deletion(tenant, plan)
    }

    fn deletion(&self, tenant: &TenantId, id: DeletionId) -> Result<Option<Deletion>, CleaningError> {
        Ok(self.all_deletions(tenant)?.into_iter().find(|deletion| deletion.id == id))
    }

    fn deletions(&self, tenant: &TenantId) -> Result<Vec<Deletion>, CleaningError> {
        self.all_deletions(tenant)
    }

    fn pin(&self, tenant: &TenantId, trace: TraceId) -> Result<Option<UnixNanos>, CleaningError> {
        self.pin_trace(tenant, trace)
    }

    fn unpin(&self, tenant: &TenantId, trace: TraceId) -> Result<bool, CleaningError> {
        self.unpin_trace(tenant, trace)
    }

    fn pins(&self, tenant: &TenantId) -> Vec<(TraceId, UnixNanos)> {
        self.pins.of(tenant).iter().map(|(trace, since)| (*trace, *since)).collect()
    }
}

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        Self::Io(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spandrel_proto::TimeRange;

    use super::*;
    use crate::engine::MemoryEngine;
    use crate::plan::{Predicate, ScanPlan};
    use crate::store::testing::{TestClock, request};
    use crate::store::{StoreConfig, SystemClock};

    #[test]
    fn whoever_asks_does_not_wait_for_a_whole_window() {
        let config = StoreConfig { cleaning_patience: Duration::ZERO, ..StoreConfig::default() };
        let store =
            BlockTraceStore::open(Arc::new(MemoryEngine::default()), Arc::new(SystemClock), config).unwrap();
        let (tenant, trace) = (TenantId::default(), TraceId::from_bytes([1; 16]));
        let plan = ScanPlan { predicate: Predicate::All, range: TimeRange::ALL };
        let ask = || {
            let deletion = store.delete(&tenant, &plan).map(drop);
            [deletion, store.pin(&tenant, trace).map(drop), store.unpin(&tenant, trace).map(drop)]
        };
        let retention = store.cleaning.lock();
        for refused in ask() {
            assert!(matches!(refused, Err(CleaningError::Busy)), "{refused:?}");
        }
        drop(retention);
        assert!(ask().iter().all(Result::is_ok));
    }

    /// A rule lets a trace go after it was found and before that is noted: it is deleted all the same, and the
    /// deletion names the commits that backups of before may hold.
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
        let state = store.tenant(&tenant).unwrap();
        let before = state.view();
        let hours = before.hours();
        clock.advance(2 * HOUR);
        store.maintain();
        assert_eq!(state.view().hours().len(), 1, "the first window went");
        let commits = |traces: &[TraceId]| {
            let traces = traces.iter().copied().collect();
            let job = store.accept(&tenant, traces, 0, Some(&before)).unwrap();
            job.note.lock().commits.clone()
        };
        assert_eq!(commits(&[trace]), BTreeMap::from([(*hours.first().unwrap(), (1, 1))]));
        // What is still there is noted when it goes, and what is another's is not this one's.
        assert_eq!(commits(&[TraceId::from_bytes([2; 16])]), BTreeMap::new());
    }

    const HOUR: Duration = Duration::from_secs(3_600);
}
