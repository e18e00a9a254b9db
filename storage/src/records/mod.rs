//! The small records that a store keeps beside its blocks: how each kind is encoded, and whether each record can be
//! read and exists where another one needs it.
//!
//! Store, check, restore and repair read them through this module, and decide about the consequences.

pub(crate) mod backups;
pub(crate) mod block_ids;
pub(crate) mod deletions;
pub(crate) mod encryption;
pub(crate) mod expired_rollups;
pub(crate) mod pins;

use spandrel_block::record;

use crate::engine::{EngineError, Records};

/// Reads a record of a kind, given its name.
type Read = fn(&str, &[u8]) -> Result<(), EngineError>;

/// The name of a record that a newer Spandrel wrote; such a record is not damaged, but needs that version.
pub(crate) fn newer(engine: &dyn Records) -> Result<Option<String>, EngineError> {
    let kinds = [
        (pins::RECORD, pins::VERSION),
        (deletions::RECORD, deletions::VERSION),
        (deletions::TRACES_RECORD, deletions::VERSION),
        (block_ids::RECORD, block_ids::VERSION),
        (expired_rollups::RECORD, expired_rollups::VERSION),
    ];
    for (kind, version) in kinds {
        let found = engine.records(kind)?.into_iter().find(|(_, bytes)| record::is_newer(version, bytes));
        if let Some((name, _)) = found {
            return Ok(Some(format!("{kind} {name}")));
        }
    }
    Ok(None)
}

/// The errors of all records that cannot be read or are missing.
pub(crate) fn unreadable(engine: &dyn Records) -> Result<Vec<String>, EngineError> {
    let kinds: [(&str, Read); 4] = [
        (pins::RECORD, |name, bytes| pins::read(name, bytes).map(drop)),
        (deletions::RECORD, deletions::check_record),
        (deletions::TRACES_RECORD, deletions::check_traces),
        (block_ids::RECORD, |_, bytes| block_ids::read(bytes).map(drop)),
    ];
    let mut found = Vec::new();
    for (kind, read) in kinds {
        let all = engine.records(kind)?;
        found.extend(all.iter().filter_map(|(name, bytes)| read(name, bytes).err()));
    }
    found.extend(deletions::without_traces(engine)?);
    found.extend(expired_rollups::unreadable(engine)?);
    Ok(found.iter().map(ToString::to_string).collect())
}

/// The kinds of records that a backup contains beside the blocks: without them, pinned traces would expire after a
/// restore, deletions in progress would be lost, and aggregates would lack expired spans.
///
/// Lists of traces come before deletions, because a deletion that finishes meanwhile removes its list last.
pub(crate) fn carried_kinds(engine: &dyn Records) -> Result<Vec<String>, EngineError> {
    let mut kinds = [pins::RECORD, deletions::TRACES_RECORD, deletions::RECORD].map(str::to_owned).to_vec();
    kinds.extend(expired_rollups::kinds(engine)?);
    Ok(kinds)
}
