//! Rows of the catalog that cannot be read: a row follows from its block, and is rebuilt from it.
//!
//! Not for blocks that are damaged: those keep their rows, and are set aside when they are read.

use spandrel_block::{BlockKey, CatalogRow, FormatError, catalog_row};

use super::OpenError;
use crate::engine::EngineError;
use crate::store::core::Core;

/// The catalog row of a block, as it is stored or else rebuilt and stored in its place. If the block does not say it
/// either, it is unknown which spans are missing from which answers, and which would have to be deleted.
pub(super) fn readable_row(core: &Core, key: &BlockKey, stored: &[u8]) -> Result<CatalogRow, OpenError> {
    let damage = match CatalogRow::decode(stored) {
        Ok(row) => return Ok(row),
        Err(_) if CatalogRow::is_newer(stored) => return Err(OpenError::NewerRow(key.block.0)),
        Err(damage) => EngineError::damaged_row("catalog", format!("block {}", key.block.0), damage),
    };
    let bytes = core.engine.read_prefix(key)?;
    let row = match catalog_row(&bytes) {
        Err(error @ FormatError::Version(_)) => return Err(OpenError::newer_block(key, error)),
        Err(error) => return Err(OpenError::CatalogRowLost { damage, error }),
        Ok(row) => row,
    };
    core.quarantine.records.report(&damage, "it is made anew from its block, and nothing is missing");
    let encoded = row.encode().map_err(EngineError::Encode)?;
    match core.engine.put_catalog_row(key, &encoded) {
        // A store on a full disk can be read and cleaned: the row is rebuilt again the next time.
        Ok(()) | Err(EngineError::NoSpace(_)) => Ok(row),
        Err(error) => Err(error.into()),
    }
}
