//! The tenants of a server: what they have stored, and what they have taken.

use serde::{Deserialize, Serialize};

use super::DeletionDto;

/// `GET /api/v1/tenants`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantList {
    /// By name.
    pub tenants: Vec<TenantSize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantSize {
    pub tenant: String,
    pub span_count: u64,
    pub trace_count: u64,
    /// Bytes of its blocks.
    pub store_bytes: u64,
    pub oldest_unix_nano: Option<String>,
    pub newest_unix_nano: Option<String>,
}

/// `DELETE /api/v1/tenants/{tenant}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantDeletion {
    pub tenant: String,
    /// `GET /api/v1/deletions` of the tenant tells their progress.
    pub deletions: Vec<DeletionDto>,
}

/// `GET /api/v1/usage`: what was taken since the server was started, and what is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageAnswer {
    /// When counting began.
    pub since_unix_nano: String,
    /// By name.
    pub tenants: Vec<TenantUsage>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantUsage {
    pub tenant: String,
    pub received_spans: u64,
    /// Bytes of requests, decompressed.
    pub received_bytes: u64,
    pub refused_requests: u64,
    pub questions: u64,
    pub refused_questions: u64,
    pub scanned_spans: u64,
    pub stored_spans: u64,
    pub stored_bytes: u64,
    /// The most bytes first; those beyond `maxCountedServices` together under an empty name.
    pub services: Vec<ServiceUsage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceUsage {
    pub service: String,
    pub received_spans: u64,
    /// Bytes of the spans alone.
    pub received_bytes: u64,
}
