//! Rows of the catalog that cannot be read: what a row says follows from its block, and it is made anew from it.
//!
//! Not for blocks that are damaged: those keep their rows and are set aside by whoever reads them.

use spandrel_block::{BlockKey, CatalogRow, FormatError, catalog_row};

use crate::engine::EngineError;
use crate::store::BlockTraceStore;
use crate::store::OpenError;

impl BlockTraceStore {
    /// The catalog row of a block, as it is stored or else made anew and stored in its place. If the block does not
    /// say it either, nobody knows which spans are missing from which answers, and what would have to be deleted.
    pub(crate) fn readable_row(&self, key: &BlockKey, stored: &[u8]) -> Result<CatalogRow, OpenError> {
        let damage = match CatalogRow::decode(stored) {
            Ok(row) => return Ok(row),
            Err(_) if CatalogRow::is_newer(stored) => return Err(OpenError::NewerRow(key.block.0)),
            Err(damage) => EngineError::Io(format!("catalog row of block {}: {damage}", key.block.0)),
        };
        let bytes = self.engine.beginning(key)?;
        let row = match catalog_row(&bytes) {
            Err(error @ FormatError::Version(_)) => return Err(OpenError::newer_block(key, error)),
            Err(error) => return Err(OpenError::Lost { damage, error }),
            Ok(row) => row,
        };
        self.damaged_records.report(&damage, "it is made anew from its block, and nothing is missing");
        let encoded = row.encode().map_err(|error| EngineError::Io(error.to_string()))?;
        match self.engine.mend(key, &encoded) {
            // A store on a full disk can be read and cleaned: the row is made anew once more the next time.
            Ok(()) | Err(EngineError::NoSpace(_)) => Ok(row),
            Err(error) => Err(error.into()),
        }
    }
}
