//! The work of a query, which answers tell.

/// The amount of data that a query read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Blocks of the tenant in the catalog.
    pub blocks: u64,
    /// Blocks whose columns were read.
    pub blocks_read: u64,
    /// Spans whose columns or bytes were read.
    pub spans: u64,
}
