//! Requests, errors and latencies over time.

use serde::{Deserialize, Serialize};

use super::Word;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AggregatesAnswer {
    pub step_nano: u64,
    pub series: Vec<Series>,
    pub estimated: bool,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub labels: Labels,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labels {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    pub time_unix_nano: String,
    pub request_count: u64,
    pub error_count: u64,
    pub error_rate: f64,
    pub success_rate: f64,
    pub p50_nano: u64,
    pub p75_nano: u64,
    pub p90_nano: u64,
    pub p95_nano: u64,
    pub p99_nano: u64,
    pub max_nano: u64,
    pub exemplar_trace_ids: Vec<String>,
}
