//! One page of a search.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Word;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchAnswer {
    pub traces: Vec<TraceSummary>,
    pub next_cursor: Option<String>,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
    pub scanned: Scanned,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceSummary {
    pub id: String,
    pub root_service: Option<String>,
    pub root_name: String,
    pub start_unix_nano: String,
    pub duration_nano: u64,
    pub span_count: u64,
    pub error_count: u64,
    pub status: Word,
    pub error_code: Option<String>,
    pub services: Vec<ServiceCount>,
    pub matched_span_ids: Vec<String>,
    pub matched_span_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_sets: Option<Vec<SpanSet>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpanSet {
    pub by: Map<String, Value>,
    pub values: Map<String, Value>,
    pub matched_span_count: u64,
    pub spans: Vec<FoundSpan>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundSpan {
    pub id: String,
    pub name: String,
    pub start_unix_nano: String,
    pub duration_nano: u64,
    pub attributes: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceCount {
    pub name: String,
    pub span_count: u64,
    pub error_count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scanned {
    pub blocks: u64,
    pub blocks_read: u64,
    pub spans: u64,
}
