//! The trace store: append, find, search, aggregate, merge and retain, over any engine.
//!
//! [`TraceStore`] is the API for collector and query. [`BlockTraceStore`] is its one implementation; it keeps immutable
//! blocks in an [`Engine`] (which consists of [`engine::BlockStore`], [`engine::Catalog`] and [`engine::TraceIndex`]),
//! so that semantics cannot differ between engines. Nothing here knows of HTTP, gRPC or RocksDB, and clock, threads and
//! disk are injected.
#![warn(missing_docs)]

mod api;
pub mod backup;
mod backups;
pub mod check;
mod deletion;
pub mod encryption;
pub mod engine;
mod error;
mod evaluate;
pub mod failpoint;
mod ids;
mod joined;
mod pins;
pub mod plan;
mod rebuild;
mod records;
pub mod repair;
pub mod restore;
mod scanned;
mod store;
pub mod table;

pub use api::{
    AggregateAnswer, Damage, Dependency, DependencyAnswer, Operation, Point, ScannedTrace, SearchAnswer,
    Series, ServiceCount, StoreStatus, StoredSpan, TenantBatch, TraceScan, TraceSpans, TraceStore,
    TraceSummary,
};
pub use backup::{BackupReceiver, ReceiverGone};
pub use backups::{BackupError, Backups};
pub use check::Check;
pub use deletion::{Deletion, Deletions};
pub use engine::{Engine, EngineError};
pub use error::{AppendError, LifecycleError, ReadError};
pub use ids::DeletionId;
pub use pins::Pins;
pub use scanned::Scanned;
pub use spandrel_block::Exemplar;
pub use spandrel_block::{EdgeKind, EdgeTotals, LatencySketch, RowFlags, names_peer, semantics};
pub use store::{
    BlockTraceStore, Clock, LimitValue, OpenError, RetentionRule, StoreConfig, SystemClock, TenantRetention,
};
