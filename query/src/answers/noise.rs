//! `GET /api/v1/noise`.

use serde::{Deserialize, Serialize};

use super::Word;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoiseAnswer {
    pub trace_count: u64,
    pub span_count: u64,
    pub bytes: u64,
    /// There were more spans than were asked for.
    pub sampled: bool,
    pub services: Vec<NoiseService>,
    pub operations: Vec<NoiseOperation>,
    pub attributes: Vec<NoiseAttribute>,
    pub findings: Vec<NoiseFinding>,
    /// Findings that are left out because there are so many.
    pub more_findings: u64,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoiseService {
    pub service: String,
    pub span_count: u64,
    pub bytes: u64,
    pub byte_share: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoiseOperation {
    pub service: String,
    pub name: String,
    pub kind: Word,
    pub span_count: u64,
    pub error_count: u64,
    pub bytes: u64,
    pub byte_share: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoiseAttribute {
    /// As rules name it, like `span.url.full`.
    pub name: String,
    pub span_count: u64,
    pub bytes: u64,
    pub byte_share: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoiseFinding {
    pub kind: Word,
    pub service: String,
    /// The operation, attribute or shape of names that it is about.
    pub subject: String,
    /// Why it is one, for people.
    pub reason: String,
    /// Spans, or values, that it is about.
    pub count: u64,
    pub saved_spans: u64,
    pub saved_bytes: u64,
    pub byte_share: f64,
    /// A rule in YAML that removes it: an item of a list.
    pub rule: String,
}
