//! Keys and the block format: bytes in, bytes out.
//!
//! A block is an immutable, self-contained, versioned value (see [`format`](mod@format) for its
//! layout). This crate encodes and decodes it and everything else that is stored, and says what
//! single spans mean ([`semantics`]). It does no I/O and links no engine, so that fuzzing and most
//! tests build in seconds.

mod columns;
mod dictionary;
pub mod edges;
mod filter;
pub mod format;
mod keys;
mod meta;
pub mod record;
mod rollup;
pub mod semantics;
mod sketch;
mod token;
mod traces;
mod verify;
mod writer;

pub use columns::{Columns, RowFlags, decode_column};
pub use dictionary::Dictionary;
pub use edges::{BlockEdges, EdgeBuilder, EdgeKind, EdgeTotals, PeerCandidates};
pub use filter::TokenFilter;
pub use format::{ChunkRow, ChunkRows, FormatError, Header, Section, SectionKind};
pub use keys::{BlockId, BlockKey, Hour, KeyError, RowRange, TraceKey};
pub use meta::{BlockMeta, CatalogRow, OperationMeta, ServiceMeta};
pub use rollup::{MINUTE, RollupRow};
pub use sketch::LatencySketch;
pub use token::{Number, Token};
pub use traces::TraceTable;
pub use verify::{BlockReport, verify};
pub use writer::{BlockWriter, FinishedBlock, WriteError};
