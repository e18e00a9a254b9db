//! The types of requests and responses of the JSON API.
//!
//! The server writes these types and the command line reads them, so that both agree. `query/openapi.json` describes
//! the same types to other clients, and tests validate real responses against it. `crate::api` computes the responses.
#![allow(missing_docs, reason = "query/openapi.json describes each member")]

mod aggregates;
mod deletions;
mod dependencies;
mod live;
mod maintenance;
mod mesh;
mod metrics;
mod noise;
mod problem;
mod search;
mod services;
mod status;
mod tenants;
mod trace;

use std::borrow::Cow;

pub use aggregates::{AggregatesAnswer, Labels, Point, Series};
pub use deletions::{
    DeleteRequest, DeletionBackup, DeletionDto, DeletionList, DeletionResponse, DeletionState, Pin,
    PinAnswer, PinList,
};
pub use dependencies::{DependenciesAnswer, DependencyEdge, DependencyWorkload};
pub use live::{LiveNotice, LiveTrace};
pub use maintenance::{BackupList, BackupRequest, BackupSummary, CheckLine, CheckProgress};
pub use mesh::{
    MeshAttempt, MeshAttempts, MeshBalance, MeshCode, MeshEdge, MeshEdgesAnswer, MeshExpected, MeshFlags,
    MeshGroup, MeshHop, MeshHopsAnswer, MeshInstance, MeshMeaning, MeshOutcome, MeshPart, MeshParty,
    MeshPoint, MeshPolicy, MeshRetries, MeshShare, MeshShift, MeshSide, MeshStorm, MeshSubset, MeshTimeline,
};
pub use metrics::{
    AttributeEntry, AttributeValue, AttributeValuesAnswer, AttributesAnswer, ComparedAttribute,
    ComparedValue, ComparisonAnswer, HistogramAnswer, HistogramBucket, MetricsAnswer, MetricsExemplar,
    MetricsPoint, MetricsSeries,
};
pub use noise::{NoiseAnswer, NoiseAttribute, NoiseFinding, NoiseOperation, NoiseService};
pub use problem::ProblemDocument;
pub use search::{FoundSpan, Scanned, SearchAnswer, ServiceCount, SpanSet, TraceSummary};
pub use services::{
    Operation, OperationStats, OperationTable, OperationsAnswer, Service, ServicesAnswer, SpanPercentile,
};
pub use status::{IngestDelay, Status, TopicReader};
pub use tenants::{ServiceUsage, TenantDeletion, TenantList, TenantSize, TenantUsage, UsageAnswer};
pub use trace::{Segment, Span, Trace, TraceAnswer};

/// One of a few fixed words, such as `SERVER` or `ERROR`: borrowed where it is written, owned where it is read.
pub type Word = Cow<'static, str>;
