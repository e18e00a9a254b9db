//! Blocks with catalog and index rows that are made anew from their bytes, as restore and repair put them.

use bytes::Bytes;
use spandrel_block::record::RecordError;
use spandrel_block::{BlockKey, BlockReport, CatalogRow, FormatError, TraceTable, verify};

use crate::engine::{Change, NewBlock};

/// Why it cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnewError {
    /// The block is damaged.
    #[error(transparent)]
    Block(#[from] FormatError),
    /// Its catalog row cannot be written.
    #[error(transparent)]
    Row(#[from] RecordError),
}

/// What puts a block that is sound, and the row that it gets.
pub(crate) fn sound(key: &BlockKey, bytes: Bytes) -> Result<(Change, CatalogRow), AnewError> {
    let BlockReport { row, traces } = verify(bytes.clone())?;
    Ok((change(key, bytes, &row, &traces)?, row))
}

/// What puts a block of which this is known.
pub(crate) fn change(
    key: &BlockKey,
    bytes: Bytes,
    row: &CatalogRow,
    traces: &TraceTable,
) -> Result<Change, RecordError> {
    // Fresh blocks have no index rows: they are found through memory.
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
