//! The record of each backup that was taken: its manifest.

use crate::backup::Manifest;
use crate::engine::{EngineError, Records};
use crate::ids::BackupId;

/// The kind of the engine's records of backups.
pub(super) const RECORD: &str = "backup";

/// All remembered backups, oldest first; an unreadable one is an error.
pub(crate) fn remembered(engine: &dyn Records) -> Result<Vec<Manifest>, EngineError> {
    let decode = |(name, bytes): (String, Vec<u8>)| {
        let text = String::from_utf8_lossy(&bytes);
        Manifest::decode(&text).map_err(|error| EngineError::damaged_record(RECORD, name, error))
    };
    engine.records(RECORD)?.into_iter().map(decode).collect()
}

/// Records a backup, or its new state.
pub(crate) fn remember(engine: &dyn Records, backup: &Manifest) -> Result<(), EngineError> {
    engine.put_record(RECORD, &backup.id.to_string(), Some(backup.encode().as_bytes()))
}

/// Removes the record of a backup. Returns whether there was one.
pub(crate) fn forget(engine: &dyn Records, id: BackupId) -> Result<bool, EngineError> {
    let name = id.to_string();
    let known = engine.records(RECORD)?.iter().any(|(known, _)| *known == name);
    if known {
        engine.put_record(RECORD, &name, None)?;
    }
    Ok(known)
}

/// Clears `without` in all remembered manifests, because deletion IDs may be reused after a restore. Unreadable
/// manifests are skipped, as they exclude no deletion.
pub(crate) fn clear_deletion_claims(engine: &dyn Records) -> Result<(), EngineError> {
    for (_, bytes) in engine.records(RECORD)? {
        match Manifest::decode(&String::from_utf8_lossy(&bytes)) {
            Ok(backup) if !backup.without.is_empty() => {
                remember(engine, &Manifest { without: Vec::new(), ..backup })?;
            }
            _ => {}
        }
    }
    Ok(())
}
