//! The trace store: append, find, search, aggregate, merge and retain, over any engine.
//!
//! [`TraceStore`] is what collector and query see. [`BlockTraceStore`] is its one implementation;
//! it keeps immutable blocks in an [`Engine`] (made of [`engine::BlockStore`], [`engine::Catalog`] and
//! [`engine::TraceIndex`]), so
//! that semantics cannot differ between engines. Nothing here knows of HTTP, gRPC or RocksDB, and
//! clock, threads and disk are reached only through what was injected.
#![warn(missing_docs)]

mod api;
pub mod backup;
pub mod check;
mod cleaning;
pub mod engine;
pub mod failpoint;
pub mod plan;
mod rebuild;
mod records;
pub mod repair;
pub mod restore;
mod safekeeping;
mod store;

pub use api::{
    AggregateAnswer, AppendError, Damage, Dependency, DependencyAnswer, Operation, Point, ReadError, Scanned,
    ScannedTrace, SearchAnswer, Series, ServiceCount, StoreStatus, StoredSpan, TraceScan, TraceSpans,
    TraceStore, TraceSummary,
};
pub use cleaning::{Cleaning, CleaningError, Deletion, DeletionId};
pub use engine::{Engine, EngineError};
pub use safekeeping::{BackupError, BackupReceiver, ReceiverGone, Safekeeping};
pub use spandrel_block::edges::Exemplar;
pub use spandrel_block::{EdgeKind, EdgeTotals, LatencySketch, semantics};
pub use store::{BlockTraceStore, Clock, LimitValue, OpenError, RetentionRule, StoreConfig, SystemClock};
