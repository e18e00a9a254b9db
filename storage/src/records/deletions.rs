//! The durable state of deletions: a record of each, and while it is in progress a list of the traces to delete.
//!
//! The list is written before the record and removed after the record says that the deletion is finished. So a record
//! of a deletion in progress without a list means damage: it is unknown which traces must not come back.

use std::collections::{BTreeMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spandrel_block::{Hour, record};
use spandrel_proto::{TenantId, TraceId, UnixNanos};

use crate::engine::{EngineError, Records};
use crate::ids::DeletionId;

/// The durable state of a deletion. It contains nothing about the deleted traces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeletionRecord {
    pub(crate) id: u64,
    pub(crate) tenant: TenantId,
    pub(crate) accepted: UnixNanos,
    pub(crate) finished: Option<UnixNanos>,
    /// Spans of commits up to this one are deleted.
    pub(crate) snapshot: u64,
    pub(crate) traces: u64,
    pub(crate) spans: u64,
    pub(crate) damaged_blocks: u64,
    /// The commits that stored the deleted spans, by window; backups that contain such commits may contain the spans.
    pub(crate) commits: BTreeMap<Hour, (u64, u64)>,
}

/// The kinds of the engine's records: deletions, and the traces of those in progress.
pub(crate) const RECORD: &str = "deletion";
pub(crate) const TRACES_RECORD: &str = "deletion-traces";
pub(crate) const VERSION: u8 = 1;

/// Reads a deletion, or a list of traces.
pub(crate) fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, EngineError> {
    record::decode(VERSION, bytes).map_err(|error| EngineError::damaged_record(RECORD, name, error))
}

/// Checks that a deletion can be read.
pub(crate) fn check_record(name: &str, bytes: &[u8]) -> Result<(), EngineError> {
    read::<DeletionRecord>(name, bytes).map(drop)
}

/// Checks that the list of traces of a deletion can be read.
pub(crate) fn check_traces(name: &str, bytes: &[u8]) -> Result<(), EngineError> {
    read::<Vec<TraceId>>(name, bytes).map(drop)
}

/// The error about a deletion in progress that has no list.
pub(crate) fn no_traces(name: &str) -> EngineError {
    EngineError::damaged_record(RECORD, name, "the list of its traces is missing")
}

/// The deletions in progress that have no list; reliable also while others begin and end.
pub(crate) fn without_traces(engine: &dyn Records) -> Result<Vec<EngineError>, EngineError> {
    let mut without = under_way(engine)?;
    for (name, _) in engine.records(TRACES_RECORD)? {
        without.remove(&name);
    }
    // Reads the deletions again, because one that finished meanwhile has no list either.
    let still = under_way(engine)?;
    Ok(without.intersection(&still).map(|name| no_traces(name)).collect())
}

fn under_way(engine: &dyn Records) -> Result<HashSet<String>, EngineError> {
    let all = engine.records(RECORD)?.into_iter();
    let is_under_way = |name: &str, bytes: &[u8]| {
        read::<DeletionRecord>(name, bytes).is_ok_and(|record| record.finished.is_none())
    };
    Ok(all.filter(|(name, bytes)| is_under_way(name, bytes)).map(|(name, _)| name).collect())
}

// === impl DeletionRecord ===

impl DeletionRecord {
    /// Whether certainly no block contains a deleted span any more. Damaged blocks may.
    pub(crate) fn is_clean(&self) -> bool {
        self.finished.is_some() && self.damaged_blocks == 0
    }
}

/// A number larger than all recorded ones, even if the clock was set back, so that no record is overwritten.
pub(crate) fn next_id(engine: &dyn Records, now: UnixNanos) -> Result<u64, EngineError> {
    let recorded = engine.records(RECORD)?.into_iter();
    let last = recorded.filter_map(|(name, _)| name.parse::<DeletionId>().ok()).map(|id| id.0).max();
    Ok(now.0.max(last.map_or(0, |last| last.saturating_add(1))))
}

pub(crate) fn write(engine: &dyn Records, record: &DeletionRecord) -> Result<(), EngineError> {
    put(engine, RECORD, record.id, record)
}

pub(crate) fn write_traces(engine: &dyn Records, id: u64, traces: &[TraceId]) -> Result<(), EngineError> {
    put(engine, TRACES_RECORD, id, &traces)
}

fn put(engine: &dyn Records, kind: &str, id: u64, value: &impl Serialize) -> Result<(), EngineError> {
    let value = record::encode(VERSION, value)?;
    engine.put_record(kind, &DeletionId(id).to_string(), Some(&value))
}

/// Removes the record of a deletion that is finished.
pub(crate) fn remove(engine: &dyn Records, id: u64) -> Result<(), EngineError> {
    engine.put_record(RECORD, &DeletionId(id).to_string(), None)
}

/// Removes the list of traces of a deletion that is finished.
pub(crate) fn remove_traces(engine: &dyn Records, id: u64) -> Result<(), EngineError> {
    engine.put_record(TRACES_RECORD, &DeletionId(id).to_string(), None)
}
