//! Rebuilds the catalog and index rows of a block from its bytes, for restore and repair.

use bytes::Bytes;
use spandrel_block::record::RecordError;
use spandrel_block::{BlockKey, BlockReport, CatalogRow, FormatError, TraceTable, verify};

use crate::engine::{Change, NewBlock};

/// Why a row cannot be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RebuildError {
    /// The block is damaged.
    #[error(transparent)]
    Block(#[from] FormatError),
    /// Its catalog row cannot be written.
    #[error(transparent)]
    Row(#[from] RecordError),
}

/// Returns the change that stores an undamaged block, and its catalog row.
pub(crate) fn from_bytes(key: &BlockKey, bytes: Bytes) -> Result<(Change, CatalogRow), RebuildError> {
    let BlockReport { row, traces } = verify(bytes.clone())?;
    Ok((change(key, bytes, &row, &traces)?, row))
}

/// Returns the change that stores a block whose catalog row and traces are known.
pub(crate) fn change(
    key: &BlockKey,
    bytes: Bytes,
    row: &CatalogRow,
    traces: &TraceTable,
) -> Result<Change, RecordError> {
    // Fresh blocks have no index rows, because memory knows their traces.
    let is_fresh = row.meta.level == 0;
    let block = NewBlock {
        id: key.block,
        bytes,
        row: row.encode()?,
        short_lived: is_fresh,
        index: if is_fresh { Vec::new() } else { traces.entries().to_vec() },
    };
    Ok(Change { tenant: key.tenant.clone(), hour: key.hour, adds: vec![block], removes: Vec::new() })
}
