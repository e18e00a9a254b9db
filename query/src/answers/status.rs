//! How much is stored, how fast it grows, and the limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How long spans of a receiver took from their end until they could be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestDelay {
    pub receiver: String,
    pub span_count: u64,
    pub p50_nano: u64,
    pub p99_nano: u64,
}

/// What reads topics of Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicReader {
    pub group: String,
    pub topics: Vec<String>,
    pub encoding: String,
    /// `connecting`, `reading`, `waiting` or `stopped`.
    pub state: String,
    /// What keeps it from reading.
    pub reason: Option<String>,
    pub partition_count: u64,
    /// Messages that are not stored yet.
    pub lag: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub version: String,
    pub span_count: u64,
    pub trace_count: u64,
    /// Rows of logs of spans.
    #[serde(default)]
    pub log_row_count: u64,
    pub store_bytes: u64,
    pub fresh_block_count: u64,
    pub damaged_block_count: u64,
    pub damaged_record_count: u64,
    pub log_was_cut: bool,
    pub unsealed_span_count: u64,
    pub oldest_unix_nano: Option<String>,
    pub newest_unix_nano: Option<String>,
    pub ingest_spans_per_second: f64,
    /// Of receivers that have stored spans of late; empty if the server is of a version that does not send them.
    #[serde(default)]
    pub ingest_delays: Vec<IngestDelay>,
    /// Empty if the server is of a version that does not send them.
    #[serde(default)]
    pub topic_readers: Vec<TopicReader>,
    /// Addresses by the names of their ports; empty if the server is of a version that does not send them.
    #[serde(default)]
    pub listen: BTreeMap<String, SocketAddr>,
    /// The names of those ports that speak TLS.
    #[serde(default)]
    pub encrypted: Vec<String>,
    /// Counts and sizes are numbers; durations are strings such as `30s`.
    pub limits: Map<String, Value>,
}
