//! Keys and the block format: bytes in, bytes out.
//!
//! A block is an immutable, self-contained, versioned value (see [`format`](mod@format) for its layout). This crate
//! encodes and decodes blocks and everything else that is stored, and defines the meaning of single spans
//! ([`semantics`]). It does no I/O and links no engine, so fuzz targets and most tests build in seconds.
#![warn(missing_docs)]

mod compression;
pub mod derive;
mod dictionary;
pub mod edges;
mod equality;
mod error;
mod exemplar;
mod filter;
mod flags;
pub mod format;
mod gather;
mod interner;
mod keys;
mod merge;
mod meta;
mod page;
pub mod record;
mod resources;
mod rollup;
mod row_key;
pub mod semantics;
mod shape;
mod sketch;
mod tables;
mod token;
mod traces;
mod v1;
mod verify;
mod writer;
mod zone_map;

pub use dictionary::Dictionary;
pub use edges::{BlockEdges, EdgeBuilder, EdgeKind, EdgeSpan, EdgeTotals, PeerCandidates, names_peer};
pub use equality::{Deduplicator, SpanParts};
pub use error::WriteError;
pub use exemplar::Exemplar;
pub use filter::{BloomFilter, FilterPart};
pub use flags::{RowFlags, shown_duration};
pub use format::{FORMAT_VERSION, FormatError, Header, Section, SectionKind};
pub use gather::{CopyError, SourceBlock};
pub use keys::{BlockId, BlockKey, Hour, KeyError, RowRange, TraceKey};
pub use merge::{PageRows, RowSummary};
pub use meta::{BlockMeta, CatalogRow, OperationMeta, ServiceMeta};
pub use page::{
    Access, Column, CorePage, FieldPlaces, FieldPlan, FieldReader, FieldValue, IdsPage, MessageField,
    OpenPage, OpenValues, PackedColumn, Rebuilder, StoredColumn, StoredValue, TextTable, ValuesPage,
};
pub use rollup::{MINUTE, RollupRow};
pub use row_key::RowKey;
pub use shape::{Class, FieldEncoding, Level, Shape, Slot, ValueKind};
pub use sketch::LatencySketch;
pub use token::{Number, Token};
pub use traces::TraceTable;
pub use v1::{UpgradeError, upgrade};
pub use verify::{BlockReport, catalog_row, trace_table, verify};
pub use writer::{BlockWriter, FinishedBlock};
pub use zone_map::ZoneMap;
