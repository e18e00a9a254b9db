//! Rebuilds catalog rows that cannot be read from their blocks.
//!
//! Not for damaged blocks: those keep their rows, and are quarantined when they are read.

use spandrel_block::{BlockKey, CatalogRow, FormatError, catalog_row};

use super::OpenError;
use crate::engine::EngineError;
use crate::store::core::Core;

/// Returns the stored catalog row of a block; a damaged one is rebuilt from the block and replaced. If the block is
/// damaged as well, it is unknown which spans answers would lack, and which spans deletions have to remove.
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
    core.quarantine.records.report(&damage, "it is rebuilt from its block, and nothing is missing");
    let encoded = row.encode().map_err(EngineError::Encode)?;
    match core.engine.put_catalog_row(key, &encoded) {
        // A store on a full disk must still open; the row is rebuilt again the next time.
        Ok(()) | Err(EngineError::NoSpace(_)) => Ok(row),
        Err(error) => Err(error.into()),
    }
}
