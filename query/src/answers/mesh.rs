//! What the proxies of a mesh saw.

use serde::{Deserialize, Serialize};

use super::Word;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshEdgesAnswer {
    pub edges: Vec<MeshEdge>,
    pub proxy_span_count: u64,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshEdge {
    pub caller: MeshParty,
    pub callee: MeshParty,
    pub client: MeshSide,
    pub server: MeshSide,
    pub attempts: MeshAttempts,
    pub subsets: Vec<MeshSubset>,
    pub instances: Vec<MeshInstance>,
    pub versions: Vec<MeshGroup>,
    pub zones: Vec<MeshGroup>,
    pub balance: MeshBalance,
    pub retries: MeshRetries,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<MeshTimeline>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshTimeline {
    pub step_nano: u64,
    pub points: Vec<MeshPoint>,
    pub shifts: Vec<MeshShift>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshPoint {
    pub start_unix_nano: String,
    pub instances: Vec<MeshShare>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshShare {
    pub instance: String,
    pub zone: Option<String>,
    pub attempt_count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshShift {
    pub change: Word,
    pub instance: String,
    pub start_unix_nano: String,
    pub attempt_count: u64,
    pub attempt_count_of_all: u64,
    pub attempts_without: u64,
    pub settled: bool,
    pub others: Vec<MeshShare>,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshParty {
    pub kind: Word,
    pub name: String,
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshSide {
    pub request_count: u64,
    pub error_count: u64,
    pub client_error_count: u64,
    pub injected_count: u64,
    pub abandoned_count: u64,
    pub p50_nano: u64,
    pub p95_nano: u64,
    pub p99_nano: u64,
    pub codes: Vec<MeshCode>,
    pub flags: Vec<MeshFlags>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshCode {
    pub code: u16,
    pub request_count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshFlags {
    pub flags: String,
    pub request_count: u64,
    pub meanings: Vec<MeshMeaning>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshMeaning {
    pub flag: String,
    pub meaning: Word,
    pub caused_by: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshAttempts {
    pub count: u64,
    pub most_of_one_request: u64,
    pub retried_request_count: u64,
    pub failed_over_request_count: u64,
    pub unseen_count: u64,
    pub requests_without_caller: u64,
    pub known_zones_count: u64,
    pub cross_zone_count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshSubset {
    pub subset: String,
    pub request_count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshInstance {
    pub instance: String,
    pub zone: Option<String>,
    pub revision: Option<String>,
    pub first_attempt_count: u64,
    pub retry_count: u64,
    pub unordered_count: u64,
    pub seen: MeshSide,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshGroup {
    pub name: String,
    pub seen: MeshSide,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshBalance {
    pub verdict: Word,
    pub policy: Option<Word>,
    pub text: String,
    pub policies: Vec<MeshPolicy>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshPolicy {
    pub policy: Word,
    pub fit: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_count: Option<u64>,
    pub expected: Vec<MeshExpected>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshExpected {
    pub instance: String,
    pub expected_first_attempt_count: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshRetries {
    pub extra_attempt_count: u64,
    pub extra_nano: u64,
    pub rescued_request_count: u64,
    pub failed_request_count: u64,
    pub storms: Vec<MeshStorm>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshStorm {
    pub start_unix_nano: String,
    pub end_unix_nano: String,
    pub request_count: u64,
    pub attempt_count: u64,
    pub extra_nano: u64,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshHopsAnswer {
    pub trace_id: String,
    pub proxy_span_count: u64,
    pub hops: Vec<MeshHop>,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshHop {
    pub caller: MeshParty,
    pub callee: MeshParty,
    pub inside: Option<u64>,
    pub start_unix_nano: String,
    pub duration_nano: u64,
    pub outcome: MeshOutcome,
    pub told_by: Word,
    pub attempt_count: u64,
    pub unseen_attempt_count: u64,
    pub attempts: Vec<MeshAttempt>,
    pub times: Vec<MeshPart>,
    pub story: String,
    pub span_ids: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshOutcome {
    pub code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_code: Option<u16>,
    pub class: Word,
    pub flags: String,
    pub meanings: Vec<MeshMeaning>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshAttempt {
    pub made_span_id: Option<String>,
    pub reached_span_id: Option<String>,
    pub instance: Option<String>,
    pub zone: Option<String>,
    pub start_unix_nano: String,
    pub duration_nano: u64,
    pub outcome: MeshOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshPart {
    pub part: Word,
    pub duration_nano: u64,
}
