//! Deletions that users ask for, and pins, which keep traces from retention.

use serde::{Deserialize, Serialize};

/// A request to delete every trace of which a span matches `q`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    pub q: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    #[serde(default)]
    pub wait: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionResponse {
    pub deletion: DeletionDto,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionList {
    pub deletions: Vec<DeletionDto>,
}

/// A deletion, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionDto {
    pub id: String,
    pub state: DeletionState,
    pub accepted_unix_nano: String,
    pub finished_unix_nano: Option<String>,
    pub trace_count: u64,
    pub span_count: u64,
    pub damaged_block_count: u64,
    pub backups: Vec<DeletionBackup>,
    /// Servers of earlier versions do not send it.
    #[serde(default)]
    pub damaged_store_kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeletionState {
    Running,
    Done,
}

/// A backup that may still hold what was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionBackup {
    pub id: String,
    pub taken_unix_nano: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinList {
    pub pins: Vec<Pin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinAnswer {
    pub pin: Pin,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    pub trace_id: String,
    pub since_unix_nano: String,
}
