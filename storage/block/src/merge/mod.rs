//! Copies rows of blocks into a block that is being written, as columns, without rebuilding spans.
//!
//! Rows are chosen one by one, in the order of their keys; their values follow when the page that is being written is
//! full ([`gather`]): then one column after the other is gathered from all pages that the rows come from, so that what
//! is touched at a time fits into a processor's cache. What a row has follows from its shape: it is worked out once for
//! each shape of a source block ([`source`], [`maps`]).

mod gather;
mod maps;
mod page_rows;
mod source;

pub(crate) use gather::Gather;
pub use page_rows::{PageRows, RowSummary};
pub use source::SourceBlock;

use crate::error::WriteError;
use crate::format::FormatError;

/// Why a row cannot be copied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// The block that it is copied from is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The block that it is copied to cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

const DAMAGED: FormatError = FormatError::Damaged("values of a page");
