//! The record that files of an encrypted store may still hold plain bytes, from before encryption was switched on; and
//! the encryption of records that are not.

use spandrel_block::record;

use super::{backups, block_ids, carried_kinds, expired_rollups};
use crate::engine::{Engine, EngineError};

/// The kind of the engine's record.
const RECORD: &str = "encryption";
const NAME: &str = "plain-files";
const VERSION: u8 = 1;

/// Encrypts the records that are not encrypted; does nothing for an engine that does not encrypt. Returns how many there
/// were.
pub(crate) fn encrypt_plain(engine: &dyn Engine) -> Result<usize, EngineError> {
    let Some(encryption) = engine.encryption() else { return Ok(0) };
    let mut count = 0;
    // Rollups know their tenant. An unreadable one stays as it is; it leaves with its retention.
    for (_, rollup) in expired_rollups::listed(engine)? {
        if let Ok(rollup) = rollup {
            count += usize::from(rollup.encrypt_rows(engine, encryption)?);
        }
    }
    let mut kinds = carried_kinds(engine)?;
    kinds.retain(|kind| !expired_rollups::is_rows_kind(kind));
    kinds.extend([block_ids::RECORD, backups::RECORD].map(str::to_owned));
    for kind in kinds {
        for (name, stored) in encryption.stored_records(&kind)? {
            if encryption.is_plain_record(&stored) {
                engine.put_record(&kind, &name, Some(&stored))?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Notes that files may hold plain bytes.
pub(crate) fn note_plain(engine: &dyn Engine) -> Result<(), EngineError> {
    engine.put_record(RECORD, NAME, Some(&record::encode(VERSION, &())?))
}

/// Whether files may hold plain bytes. A damaged record says so, too.
pub(crate) fn is_plain_noted(engine: &dyn Engine) -> Result<bool, EngineError> {
    Ok(engine.encryption().is_some() && !engine.records(RECORD)?.is_empty())
}

/// Notes that no file holds plain bytes.
pub(crate) fn note_all_encrypted(engine: &dyn Engine) -> Result<(), EngineError> {
    engine.put_record(RECORD, NAME, None)
}
