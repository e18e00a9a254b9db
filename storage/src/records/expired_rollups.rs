//! Rollups of expired spans, which aggregates still add up.
//!
//! A record names the blocks that contained the spans, and counts only in views without any of them. So record and
//! commit need not be one step, and no reader counts a span twice or never. Each rollup has two records of the engine:
//! one that lists it, and one with its rows.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spandrel_block::{BlockId, Hour, LatencySketch, MINUTE, RowFlags, record};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};

use crate::engine::{Encryption, EngineError, Records};
use crate::failpoint::{self, Failpoint};

/// Spans of one minute, operation, kind and parenthood.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExpiredRollupRow {
    pub(crate) minute: u32,
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) flags: u8,
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) latency: LatencySketch,
}

/// The listed part of a rollup: its tenant, window and minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpiredRollup {
    id: u64,
    tenant: TenantId,
    hour: Hour,
    /// The blocks that contained the spans.
    instead_of: Vec<u64>,
    first_minute: u32,
    last_minute: u32,
}

/// A rollup, or why it cannot be read.
type ReadRollup = Result<ExpiredRollup, EngineError>;

/// The kinds of the engine's records: the list of rollups, and (followed by the rollup's name) its rows.
pub(crate) const RECORD: &str = "counted";
const ROWS_RECORD: &str = "counts-";
pub(crate) const VERSION: u8 = 1;

// === impl ExpiredRollupRow ===

impl ExpiredRollupRow {
    /// The first nanosecond of its minute.
    pub(crate) fn start(&self) -> u64 {
        u64::from(self.minute).saturating_mul(MINUTE)
    }

    /// The kind and parenthood of its spans.
    pub(crate) fn flags(&self) -> RowFlags {
        RowFlags(self.flags)
    }

    /// Whether some of its spans may have started in the range.
    pub(crate) fn touches(&self, range: &TimeRange) -> bool {
        range.touches(UnixNanos(self.start()), UnixNanos(self.start().saturating_add(MINUTE - 1)))
    }
}

// === impl ExpiredRollup ===

impl ExpiredRollup {
    /// Creates the rollup of some rows; `None` without rows.
    pub(crate) fn new(
        id: BlockId,
        tenant: &TenantId,
        hour: Hour,
        blocks: &HashSet<BlockId>,
        rows: &[ExpiredRollupRow],
    ) -> Option<Self> {
        let minutes = || rows.iter().map(|row| row.minute);
        Some(Self {
            id: id.0,
            tenant: tenant.clone(),
            hour,
            instead_of: blocks.iter().map(|block| block.0).collect(),
            first_minute: minutes().min()?,
            last_minute: minutes().max()?,
        })
    }

    /// The rollup's number, which is taken from the block IDs and so differs from that of every block.
    pub(crate) fn id(&self) -> BlockId {
        BlockId(self.id)
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The window that contained its spans.
    pub(crate) fn hour(&self) -> Hour {
        self.hour
    }

    /// The blocks that contained its spans.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = BlockId> {
        self.instead_of.iter().map(|block| BlockId(*block))
    }

    /// Whether some of its spans may have started in the range.
    pub(crate) fn touches(&self, range: &TimeRange) -> bool {
        let begin = u64::from(self.first_minute).saturating_mul(MINUTE);
        let end = u64::from(self.last_minute).saturating_mul(MINUTE).saturating_add(MINUTE - 1);
        range.touches(UnixNanos(begin), UnixNanos(end))
    }

    fn name(&self) -> String {
        format!("{:016x}", self.id)
    }

    /// Writes the rollup and its rows durably.
    pub(crate) fn write(&self, engine: &dyn Records, rows: &[ExpiredRollupRow]) -> Result<(), EngineError> {
        let listed = record::encode(VERSION, self)?;
        let rows = record::encode(VERSION, &rows)?;
        // The list is written first: a listed rollup is removed with its rows, even if a kill prevented writing these.
        engine.put_record(RECORD, &self.name(), Some(&listed))?;
        failpoint::reach(Failpoint::CountsListed);
        // The rows have names of services and operations; the list has nothing of the tenant's spans.
        engine.put_record_of(&self.tenant, &rows_kind(&self.name()), "", &rows)?;
        failpoint::reach(Failpoint::CountsWritten);
        Ok(())
    }

    /// The kind of the record with its rows.
    pub(super) fn rows_kind(&self) -> String {
        rows_kind(&self.name())
    }

    /// Its rows; unreadable ones are errors.
    pub(crate) fn rows(
        &self,
        engine: &dyn Records,
    ) -> Result<Vec<Result<Vec<ExpiredRollupRow>, EngineError>>, EngineError> {
        let rows = engine.records(&rows_kind(&self.name()))?.into_iter();
        Ok(rows.map(|(_, bytes)| read(&self.name(), &bytes)).collect())
    }

    /// Removes it with its rows.
    pub(crate) fn remove(&self, engine: &dyn Records) -> Result<(), EngineError> {
        remove(engine, &self.name())
    }
}

/// All listed rollups by name; unreadable ones are errors.
pub(crate) fn listed(engine: &dyn Records) -> Result<Vec<(String, ReadRollup)>, EngineError> {
    let listed = engine.records(RECORD)?.into_iter();
    Ok(listed
        .map(|(name, bytes)| {
            let rollup = read(&name, &bytes);
            (name, rollup)
        })
        .collect())
}

/// For an unreadable rollup: the block ID in its name, and the start of the latest minute of its rows.
pub(crate) fn what_is_left(
    engine: &dyn Records,
    name: &str,
) -> Result<(Option<BlockId>, Option<UnixNanos>), EngineError> {
    let rows = engine.records(&rows_kind(name))?;
    let rows = rows.iter().filter_map(|(_, bytes)| read::<Vec<ExpiredRollupRow>>(name, bytes).ok()).flatten();
    Ok((id_of(name), rows.map(|row| UnixNanos(row.start())).max()))
}

/// Removes a rollup by its name.
pub(crate) fn remove(engine: &dyn Records, name: &str) -> Result<(), EngineError> {
    engine.put_record(&rows_kind(name), "", None)?;
    failpoint::reach(Failpoint::CountsDropped);
    engine.put_record(RECORD, name, None)
}

/// Removes the rollups whose rows cannot be read any more, because their data key was deleted. Returns their numbers.
pub(crate) fn remove_ended(
    engine: &dyn Records,
    encryption: &dyn Encryption,
) -> Result<HashSet<BlockId>, EngineError> {
    let mut ended = HashSet::new();
    for (name, _) in engine.records(RECORD)? {
        for (_, stored) in encryption.stored_records(&rows_kind(&name))? {
            if encryption.is_ended_record(&stored)? {
                remove(engine, &name)?;
                ended.extend(id_of(&name));
            }
        }
    }
    Ok(ended)
}

fn id_of(name: &str) -> Option<BlockId> {
    u64::from_str_radix(name, 16).ok().map(BlockId)
}

/// The errors of rollups that cannot be read. A list without rows is no error, because a kill may leave one.
pub(super) fn unreadable(engine: &dyn Records) -> Result<Vec<EngineError>, EngineError> {
    let mut found = Vec::new();
    for (name, listed) in listed(engine)? {
        found.extend(listed.err());
        let rows = engine.records(&rows_kind(&name))?;
        found.extend(rows.iter().filter_map(|(_, bytes)| read::<Vec<ExpiredRollupRow>>(&name, bytes).err()));
    }
    Ok(found)
}

/// The kinds of all records of rollups, beginning with the list.
pub(super) fn kinds(engine: &dyn Records) -> Result<Vec<String>, EngineError> {
    let listed = engine.records(RECORD)?.into_iter();
    let rows = listed.map(|(name, _)| rows_kind(&name));
    Ok(std::iter::once(RECORD.to_owned()).chain(rows).collect())
}

/// Whether records of this kind are rows of a rollup.
pub(super) fn is_rows_kind(kind: &str) -> bool {
    kind.starts_with(ROWS_RECORD)
}

fn rows_kind(name: &str) -> String {
    format!("{ROWS_RECORD}{name}")
}

fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, EngineError> {
    record::decode(VERSION, bytes).map_err(|error| EngineError::damaged_record("counts", name, error))
}
