//! Events of `GET /api/v1/traces/live`.

use serde::{Deserialize, Serialize};

use super::search::FoundSpan;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveTrace {
    pub id: String,
    pub root_service: String,
    pub root_name: String,
    pub start_unix_nano: String,
    pub duration_nano: u64,
    pub span_count: u64,
    pub error_count: u64,
    pub matched_span_count: u64,
    pub spans: Vec<FoundSpan>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveNotice {
    pub detail: String,
}
