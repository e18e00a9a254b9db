//! The settings of the collector, and the limits that refusals name.
//!
//! Every bound of this crate is a field here. Errors, documents, settings and the status endpoint use the same name in
//! camelCase. The binary reads flags and files.

use std::time::Duration;

use serde_json::{Value, json};
use spandrel_proto::otlp::DecodeLimits;

/// Settings of a collector. The defaults fit one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectorConfig {
    /// Bounds on time and memory.
    pub limits: IngestLimits,
    /// Origins that may send from a browser, as in `https://shop.example`; `*` means any.
    pub cors_origins: Vec<String>,
    /// What becomes of metrics, logs and profiles.
    pub other_signals: OtherSignals,
    /// How long a resent request is recognised; zero switches that off.
    pub resend_window: Duration,
    /// How long a batch waits, after its first request, for requests that are still arriving and for senders that just
    /// got a response and are likely to send again.
    pub batch_linger: Duration,
    /// Threads that append batches to the store.
    pub ingest_threads: usize,
}

/// What becomes of the signals that agents send beside traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtherSignals {
    /// They are refused, with the setting that ends them.
    #[default]
    Refuse,
    /// They are taken, dropped and counted.
    Discard,
}

/// Bounds on time and memory. Together they make memory independent of load.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestLimits {
    /// Bytes of a body as it comes over the wire.
    pub max_request_bytes: usize,
    /// Bytes of a body after decompression.
    pub max_decompressed_bytes: usize,
    /// Bytes of all requests that are being received, decoded, or wait to be durable.
    pub max_inflight_bytes: usize,
    /// Time within which a body has to arrive.
    pub body_timeout: Duration,
    /// Requests that wait for a batch.
    pub max_queue_requests: usize,
    /// Bytes of the requests that wait for a batch.
    pub max_queue_bytes: usize,
    /// Bytes at which a batch is closed.
    pub max_batch_bytes: usize,
    /// Spans at which a batch is closed.
    pub max_batch_spans: usize,
    /// Stored requests that are remembered to recognise resends. At 2,000 requests a second the default reaches back 50
    /// s, which is longer than exporters keep resending.
    pub max_resend_entries: usize,
    /// Bounds on the parts of one request.
    pub decode: DecodeLimits,
}

// === impl CollectorConfig ===

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            limits: IngestLimits::default(),
            cors_origins: Vec::new(),
            other_signals: OtherSignals::default(),
            resend_window: Duration::from_secs(300),
            batch_linger: Duration::from_millis(5),
            ingest_threads: 1,
        }
    }
}

// === impl IngestLimits ===

impl IngestLimits {
    /// Every limit by its name: counts and sizes as numbers, durations as in `30s`.
    pub fn list(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("maxRequestBytes", json!(self.max_request_bytes)),
            ("maxDecompressedBytes", json!(self.max_decompressed_bytes)),
            ("maxInflightBytes", json!(self.max_inflight_bytes)),
            ("bodyTimeout", json!(format!("{:?}", self.body_timeout))),
            ("maxQueueRequests", json!(self.max_queue_requests)),
            ("maxQueueBytes", json!(self.max_queue_bytes)),
            ("maxBatchBytes", json!(self.max_batch_bytes)),
            ("maxBatchSpans", json!(self.max_batch_spans)),
            ("maxResendEntries", json!(self.max_resend_entries)),
            ("maxSpanBytes", json!(self.decode.max_span_bytes)),
            ("maxResourceBytes", json!(self.decode.max_resource_bytes)),
            ("maxNesting", json!(self.decode.max_nesting)),
        ]
    }
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            max_decompressed_bytes: 64 << 20,
            max_inflight_bytes: 256 << 20,
            body_timeout: Duration::from_secs(30),
            max_queue_requests: 50_000,
            max_queue_bytes: 128 << 20,
            max_batch_bytes: 8 << 20,
            max_batch_spans: 20_000,
            max_resend_entries: 100_000,
            decode: DecodeLimits::default(),
        }
    }
}
