//! The small records that a store keeps beside its blocks, and whether each of them can be read, and is not missing
//! where another one needs it. For whoever checks a store; what they mean is decided where they are written.

use spandrel_block::record;

use super::{counts, notes, numbers, pins};
use crate::engine::{EngineError, Records};

/// Reads a record of a kind, given its name.
type Read = fn(&str, &[u8]) -> Result<(), EngineError>;

/// Whether a newer Spandrel has written one, which it should read then: for damage it must not be taken.
pub(crate) fn newer(engine: &dyn Records) -> Result<Option<String>, EngineError> {
    let kinds = [
        (pins::RECORD, pins::VERSION),
        (notes::RECORD, notes::VERSION),
        (notes::TRACES_RECORD, notes::VERSION),
        (numbers::RECORD, numbers::VERSION),
        (counts::RECORD, counts::VERSION),
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
        (numbers::RECORD, |_, bytes| numbers::read(bytes).map(drop)),
    ];
    let mut found = Vec::new();
    for (kind, read) in kinds {
        let all = engine.records(kind)?;
        found.extend(all.iter().filter_map(|(name, bytes)| read(name, bytes).err()));
    }
    found.extend(notes::without_traces(engine)?);
    found.extend(counts::unreadable(engine)?);
    Ok(found.iter().map(ToString::to_string).collect())
}
