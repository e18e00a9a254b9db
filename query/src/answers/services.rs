//! The names of services, and of their operations.

use serde::{Deserialize, Serialize};

use super::Word;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesAnswer {
    pub services: Vec<Service>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationsAnswer {
    pub operations: Vec<Operation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub name: String,
    pub kind: Word,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationTable {
    pub operations: Vec<OperationStats>,
    pub estimated: bool,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationStats {
    pub service: String,
    pub name: String,
    pub kind: Word,
    pub request_count: u64,
    pub error_count: u64,
    pub error_rate: f64,
    pub time_share: f64,
    pub error_share: f64,
    pub total_nano: u64,
    pub p50_nano: u64,
    pub p95_nano: u64,
    pub p99_nano: u64,
    pub max_nano: u64,
    pub exemplar_trace_ids: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpanPercentile {
    pub service: String,
    pub name: String,
    pub kind: Word,
    pub duration_nano: u64,
    pub slower_than: f64,
    pub span_count: u64,
    pub p50_nano: u64,
    pub p95_nano: u64,
    pub p99_nano: u64,
    pub max_nano: u64,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}
