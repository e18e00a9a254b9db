//! The shapes of the JSON API: what it is sent and what it answers.
//!
//! The server writes these types and the command line reads them, so that both agree. `query/openapi.json`
//! describes the same shapes to everybody else, and tests validate real answers against it. Finding an answer is the
//! part of `crate::api`.
#![allow(missing_docs, reason = "query/openapi.json describes each member")]

mod aggregates;
mod deletions;
mod dependencies;
mod maintenance;
mod problem;
mod search;
mod services;
mod status;
mod trace;

use std::borrow::Cow;

pub use aggregates::{AggregatesAnswer, Labels, Point, Series};
pub use deletions::{
    DeleteRequest, DeletionBackup, DeletionDto, DeletionList, DeletionResponse, DeletionState, Pin,
    PinAnswer, PinList,
};
pub use dependencies::{DependenciesAnswer, DependencyEdge};
pub use maintenance::{BackupList, BackupRequest, BackupSummary, CheckLine, CheckProgress};
pub use problem::ProblemDocument;
pub use search::{Scanned, SearchAnswer, ServiceCount, TraceSummary};
pub use services::{Operation, OperationsAnswer, Service, ServicesAnswer};
pub use status::Status;
pub use trace::{Segment, Span, Trace, TraceAnswer};

/// One of a few words, such as `SERVER` or `ERROR`: borrowed where it is written, owned where it is read.
pub type Word = Cow<'static, str>;
