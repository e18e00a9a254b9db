//! The small records that a store keeps beside its blocks, and whether each of them can be read, and is not missing
//! where another one needs it. For whoever checks a store; what they mean is decided where they are written.

use spandrel_block::record;

use crate::engine::{EngineError, Records};
use crate::store::core::block_ids;
use crate::store::lifecycle::deletion::record as notes;
use crate::store::lifecycle::expired_rollups;
use crate::store::lifecycle::pins;

/// Reads a record of a kind, given its name.
type Read = fn(&str, &[u8]) -> Result<(), EngineError>;

/// Whether a newer Spandrel has written one, which it should read then: for damage it must not be taken.
pub(crate) fn newer(engine: &dyn Records) -> Result<Option<String>, EngineError> {
    let kinds = [
        (pins::RECORD, pins::VERSION),
        (notes::RECORD, notes::VERSION),
        (notes::TRACES_RECORD, notes::VERSION),
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

/// What is wrong with those that cannot be read or are missing, one by one.
pub(crate) fn unreadable(engine: &dyn Records) -> Result<Vec<String>, EngineError> {
    let kinds: [(&str, Read); 4] = [
        (pins::RECORD, |name, bytes| pins::read(name, bytes).map(drop)),
        (notes::RECORD, notes::check_note),
        (notes::TRACES_RECORD, notes::check_traces),
        (block_ids::RECORD, |_, bytes| block_ids::read(bytes).map(drop)),
    ];
    let mut found = Vec::new();
    for (kind, read) in kinds {
        let all = engine.records(kind)?;
        found.extend(all.iter().filter_map(|(name, bytes)| read(name, bytes).err()));
    }
    found.extend(notes::without_traces(engine)?);
    found.extend(expired_rollups::unreadable(engine)?);
    Ok(found.iter().map(ToString::to_string).collect())
}
