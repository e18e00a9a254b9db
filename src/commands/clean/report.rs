//! What rules would do to stored spans, as `--format json` prints it.

use serde::Serialize;

use super::samples::Sample;

/// What rules would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    /// There were more spans than were asked for.
    pub(super) cut: bool,
    /// Traces that are too long to be looked at here.
    pub(super) skipped_traces: u64,
    pub(super) traces: u64,
    pub(super) spans: u64,
    /// Bytes of the spans in OTLP; what is around them, they share with others.
    pub(super) bytes: u64,
    pub(super) dropped_spans: u64,
    pub(super) saved_bytes: i64,
    /// Hashes here are made with another key than those of the server.
    pub(super) other_key: bool,
    pub(super) rules: Vec<RuleAttempt>,
}

/// What one rule would do, after the rules before it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleAttempt {
    pub(super) name: String,
    pub(super) matched_spans: u64,
    pub(super) dropped_spans: u64,
    pub(super) changed_spans: u64,
    pub(super) saved_bytes: i64,
    pub(super) samples: Vec<Sample>,
}

// === impl RuleAttempt ===

impl RuleAttempt {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            matched_spans: 0,
            dropped_spans: 0,
            changed_spans: 0,
            saved_bytes: 0,
            samples: Vec::new(),
        }
    }
}
