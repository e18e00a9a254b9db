//! Series over time, heatmaps, and attributes with their values.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Word;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsAnswer {
    pub step_nano: u64,
    pub series: Vec<MetricsSeries>,
    pub estimated: bool,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsSeries {
    pub labels: Map<String, Value>,
    pub points: Vec<MetricsPoint>,
    pub exemplars: Vec<MetricsExemplar>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsPoint {
    pub time_unix_nano: String,
    pub value: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsExemplar {
    pub trace_id: String,
    pub span_id: String,
    pub time_unix_nano: String,
    pub value: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistogramAnswer {
    pub step_nano: u64,
    pub times_unix_nano: Vec<String>,
    pub buckets: Vec<HistogramBucket>,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistogramBucket {
    pub up_to_nano: f64,
    pub counts: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributesAnswer {
    pub attributes: Vec<AttributeEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeEntry {
    pub name: String,
    pub scope: Word,
    pub types: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributeValuesAnswer {
    pub values: Vec<AttributeValue>,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributeValue {
    pub r#type: Word,
    pub value: Value,
    pub span_count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparisonAnswer {
    pub attributes: Vec<ComparedAttribute>,
    pub partial: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_reason: Option<Word>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparedAttribute {
    pub name: String,
    pub difference: f64,
    pub selection_count: u64,
    pub baseline_count: u64,
    pub too_many_values: bool,
    pub values: Vec<ComparedValue>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparedValue {
    pub value: Value,
    pub selection_count: u64,
    pub baseline_count: u64,
}
