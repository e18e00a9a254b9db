//! What is durable about deletions: a note of each, and beside it a list of the traces that go, for as long as it
//! is under way. What is done about them is decided in `deletion/mod.rs`.
//!
//! The list is written before the note and removed after the note says that all is done. So whoever finds a note of
//! a deletion under way without a list has lost what must not come back.

use std::collections::{BTreeMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spandrel_block::{Hour, record};
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::cleaning::DeletionId;
use crate::engine::{EngineError, Records};
use crate::store::BlockTraceStore;

/// What is durable about a deletion. Of the deleted traces it says nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) id: u64,
    pub(crate) tenant: TenantId,
    pub(crate) accepted: UnixNanos,
    pub(crate) finished: Option<UnixNanos>,
    /// The last commit whose spans go.
    pub(crate) snapshot: u64,
    pub(crate) traces: u64,
    pub(crate) spans: u64,
    pub(crate) damaged_blocks: u64,
    /// The commits that stored what was deleted, by window: backups are told by them.
    pub(crate) commits: BTreeMap<Hour, (u64, u64)>,
}

/// The kinds of the engine's records: deletions, and the traces of those that are under way.
pub(crate) const RECORD: &str = "deletion";
pub(crate) const TRACES_RECORD: &str = "deletion-traces";
/// What follows where one that is done cannot be read.
pub(crate) const MISSING: &str = "it is missing among the deletions";
pub(crate) const VERSION: u8 = 1;
/// Finished deletions that are remembered.
const REMEMBERED: usize = 100;

/// Reads a note, or a list of traces.
pub(crate) fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, EngineError> {
    record::decode(VERSION, bytes)
        .map_err(|error| EngineError::Io(format!("the record of deletion {name}: {error}")))
}

/// Whether a deletion can be read.
pub(crate) fn check_note(name: &str, bytes: &[u8]) -> Result<(), EngineError> {
    read::<Note>(name, bytes).map(drop)
}

/// Whether the traces of one can be read.
pub(crate) fn check_traces(name: &str, bytes: &[u8]) -> Result<(), EngineError> {
    read::<Vec<TraceId>>(name, bytes).map(drop)
}

/// What is wrong where a deletion is under way that has no list.
pub(crate) fn no_traces(name: &str) -> EngineError {
    EngineError::Io(format!("the record of deletion {name}: the list of its traces is missing"))
}

/// The deletions of which that is so, also while others begin and end.
pub(crate) fn without_traces(engine: &dyn Records) -> Result<Vec<EngineError>, EngineError> {
    let mut without = under_way(engine)?;
    for (name, _) in engine.records(TRACES_RECORD)? {
        without.remove(&name);
    }
    // What has ended meanwhile has no list any more, either.
    let still = under_way(engine)?;
    Ok(without.intersection(&still).map(|name| no_traces(name)).collect())
}

fn under_way(engine: &dyn Records) -> Result<HashSet<String>, EngineError> {
    let all = engine.records(RECORD)?.into_iter();
    let is_under_way =
        |name: &str, bytes: &[u8]| read::<Note>(name, bytes).is_ok_and(|note| note.finished.is_none());
    Ok(all.filter(|(name, bytes)| is_under_way(name, bytes)).map(|(name, _)| name).collect())
}

// === impl Note ===

impl Note {
    /// Whether no block holds a span any more that it took, for sure: none but those that can be read were seen to.
    fn is_clean(&self) -> bool {
        self.finished.is_some() && self.damaged_blocks == 0
    }
}

// === impl BlockTraceStore ===

impl BlockTraceStore {
    /// Behind all that were noted, whatever the clock says: another one's note is not written over.
    pub(crate) fn next_deletion(&self) -> Result<u64, EngineError> {
        let noted = self.engine.records(RECORD)?.into_iter();
        let last = noted.filter_map(|(name, _)| name.parse::<DeletionId>().ok()).map(|id| id.0).max();
        Ok(self.clock.now().0.max(last.map_or(0, |last| last.saturating_add(1))))
    }

    /// All that can be read, first begun first.
    pub(crate) fn deletion_notes(&self) -> Result<Vec<Note>, EngineError> {
        let mut notes = Vec::new();
        for (name, bytes) in self.engine.records(RECORD)? {
            match read(&name, &bytes) {
                Ok(note) => notes.push(note),
                // Over one that is not done no store opens.
                Err(error) => self.damaged_records.report(&error, MISSING),
            }
        }
        Ok(notes)
    }

    /// The deletions of which nothing is left in any block, nor will be in one that is written from now on.
    pub(crate) fn clean_deletions(&self) -> Result<Vec<DeletionId>, EngineError> {
        let clean = self.deletion_notes()?.into_iter().filter(Note::is_clean);
        Ok(clean.map(|note| DeletionId(note.id)).collect())
    }

    pub(crate) fn forget_old_deletions(&self) -> Result<(), EngineError> {
        let finished: Vec<Note> =
            self.deletion_notes()?.into_iter().filter(|note| note.finished.is_some()).collect();
        for note in finished.iter().rev().skip(REMEMBERED) {
            self.engine.put_record(RECORD, &DeletionId(note.id).to_string(), None)?;
        }
        Ok(())
    }

    /// Writes a note, or a list of traces.
    pub(crate) fn put_deletion(
        &self,
        kind: &str,
        id: u64,
        value: &impl Serialize,
    ) -> Result<(), EngineError> {
        let value = record::encode(VERSION, value).map_err(|error| EngineError::Io(error.to_string()))?;
        self.engine.put_record(kind, &DeletionId(id).to_string(), Some(&value))
    }
}
