//! The record that files of an encrypted store may still hold plain bytes, from before encryption was switched on; and
//! the encryption of records that are not.

use spandrel_block::record;
use spandrel_proto::TenantId;

use super::{backups, block_ids, carried_kinds, expired_rollups};
use crate::engine::{Engine, EngineError};

/// The kind of the engine's record.
const RECORD: &str = "encryption";
const NAME: &str = "plain-files";
const VERSION: u8 = 1;

/// A record that is not encrypted.
struct PlainRecord {
    /// The tenant whose key encrypts it; `None` for the store's own.
    tenant: Option<TenantId>,
    kind: String,
    name: String,
    value: Vec<u8>,
}

/// Whether there are records that are not encrypted, in a store that encrypts.
pub(crate) fn has_plain(engine: &dyn Engine) -> Result<bool, EngineError> {
    Ok(!plain(engine)?.is_empty())
}

/// Encrypts the records that are not encrypted; does nothing for an engine that does not encrypt.
pub(crate) fn encrypt_plain(engine: &dyn Engine) -> Result<(), EngineError> {
    for PlainRecord { tenant, kind, name, value } in plain(engine)? {
        match tenant {
            Some(tenant) => engine.put_record_of(&tenant, &kind, &name, &value)?,
            None => engine.put_record(&kind, &name, Some(&value))?,
        }
    }
    Ok(())
}

fn plain(engine: &dyn Engine) -> Result<Vec<PlainRecord>, EngineError> {
    let Some(encryption) = engine.encryption() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut look = |kind: &str, tenant: Option<&TenantId>| {
        for (name, value) in encryption.stored_records(kind)? {
            if encryption.is_plain_record(&value) {
                found.push(PlainRecord { tenant: tenant.cloned(), kind: kind.to_owned(), name, value });
            }
        }
        Ok::<_, EngineError>(())
    };
    // Rollups know their tenant. An unreadable one stays as it is; it leaves with its retention.
    for rollup in expired_rollups::listed(engine)?.into_iter().filter_map(|(_, rollup)| rollup.ok()) {
        look(&rollup.rows_kind(), Some(rollup.tenant()))?;
    }
    let mut kinds = carried_kinds(engine)?;
    kinds.retain(|kind| !expired_rollups::is_rows_kind(kind));
    kinds.extend([block_ids::RECORD, backups::RECORD].map(str::to_owned));
    kinds.iter().try_for_each(|kind| look(kind, None))?;
    Ok(found)
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
