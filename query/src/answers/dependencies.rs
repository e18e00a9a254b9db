//! Calls between services.

use serde::{Deserialize, Serialize};

use super::Word;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependenciesAnswer {
    pub edges: Vec<DependencyEdge>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Vec<DependencyWorkload>>,
    pub partial: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyWorkload {
    pub name: String,
    pub namespace: String,
    pub services: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DependencyEdge {
    pub caller: String,
    pub callee: String,
    pub kind: Word,
    pub call_count: u64,
    pub error_count: u64,
    pub p50_nano: u64,
    pub p95_nano: u64,
    pub p99_nano: u64,
    pub exemplar_trace_ids: Vec<String>,
}
