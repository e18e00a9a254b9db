//! One trace as a tree. The server writes it span by span (`crate::tree`); these types read it, and tests hold the
//! two together.

use serde::{Deserialize, Serialize};

use super::{ServiceCount, Word};

/// `A` reads attributes, events, links, resources and scopes: `serde_json::Value` keeps them, and
/// `serde::de::IgnoredAny` passes over them without taking memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceAnswer<A> {
    pub trace: Trace<A>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace<A> {
    pub id: String,
    pub start_unix_nano: String,
    pub end_unix_nano: String,
    pub duration_nano: u64,
    pub status: Word,
    pub error_code: Option<String>,
    pub root_service: Option<String>,
    pub root_name: String,
    pub span_count: u64,
    #[serde(default)]
    pub log_count: u64,
    pub error_count: u64,
    pub segment_count: u64,
    pub services: Vec<ServiceCount>,
    pub warnings: Vec<String>,
    pub resources: A,
    pub scopes: A,
    pub segments: Vec<Segment<A>>,
    /// Log records of spans that are not in the trace.
    pub logs: A,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment<A> {
    pub id: String,
    pub parent_segment_id: Option<String>,
    pub parent_span_id: Option<String>,
    pub service: String,
    pub instance: Option<String>,
    pub start_unix_nano: String,
    pub end_unix_nano: String,
    pub duration_nano: u64,
    pub status: Word,
    pub error_code: Option<String>,
    pub span_count: u64,
    pub error_count: u64,
    pub spans: Vec<Span<A>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span<A> {
    pub id: String,
    pub parent_id: Option<String>,
    pub name: String,
    pub kind: Word,
    pub start_unix_nano: String,
    pub end_unix_nano: String,
    pub duration_nano: u64,
    pub self_nano: u64,
    pub status: Word,
    pub status_message: String,
    pub error_code: Option<String>,
    pub resource: u32,
    pub scope: u32,
    pub attributes: A,
    pub events: A,
    pub links: A,
    pub flags: u32,
    pub trace_state: String,
    pub warnings: Vec<String>,
}
