//! Rows of the catalog that cannot be read: what a row says follows from its block, and it is made anew from it.
//!
//! Not for blocks that are damaged: those keep their rows and are set aside by whoever reads them.

use spandrel_block::{BlockKey, CatalogRow, FormatError, catalog_row};

use super::{BlockTraceStore, OpenError};
use crate::engine::EngineError;

impl BlockTraceStore {
    /// The catalog row of a block, as it is stored or else made anew and stored in its place. `None` if the block
    /// does not say it either: nobody can find its spans then, and it stays for whoever can mend it.
    pub(super) fn readable_row(
        &self,
        key: &BlockKey,
        stored: &[u8],
    ) -> Result<Option<CatalogRow>, OpenError> {
        let damage = match CatalogRow::decode(stored) {
            Ok(row) => return Ok(Some(row)),
            Err(_) if CatalogRow::is_newer(stored) => return Err(OpenError::NewerRow(key.block.0)),
            Err(damage) => EngineError::Io(format!("catalog row of block {}: {damage}", key.block.0)),
        };
        let bytes = self.engine.beginning(key)?;
        let row = match catalog_row(&bytes) {
            Err(error @ FormatError::Version(_)) => return Err(OpenError::newer_block(key, error)),
            Err(error) => {
                let follows =
                    format!("its block tells no more ({error}): its spans are missing until both are mended");
                self.damaged_records.report(&damage, &follows);
                return Ok(None);
            }
            Ok(row) => row,
        };
        self.damaged_records.report(&damage, "it is made anew from its block, and nothing is missing");
        let encoded = row.encode().map_err(|error| EngineError::Io(error.to_string()))?;
        self.engine.mend(key, &encoded)?;
        Ok(Some(row))
    }
}
