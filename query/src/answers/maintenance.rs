//! Backups and checks.

use serde::{Deserialize, Serialize};
use spandrel_storage::check::CheckReport;

/// The body of a request for a backup; every member may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupRequest {
    /// The ID that the backup gets; the server chooses one if there is none.
    pub id: Option<String>,
    /// Content hashes of the blocks that the client has already: the server names them and does not send them.
    pub have: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupList {
    pub backups: Vec<BackupSummary>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupSummary {
    pub id: String,
    pub taken_unix_nano: String,
    pub block_count: u64,
    pub span_count: u64,
    pub byte_count: u64,
    pub lost_block_count: u64,
}

/// A line of the response to a check: progress, and at last the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckLine {
    Progress(CheckProgress),
    Report(CheckReport),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckProgress {
    pub byte_count: u64,
    pub of_byte_count: u64,
}
