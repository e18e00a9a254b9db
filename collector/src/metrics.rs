//! The collector's own metrics, with handles that are looked up once.

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::refusal::Refusal;

/// Handles to every metric of this crate; the crate's documentation lists them.
pub(crate) struct IngestMetrics {
    grpc_spans: Counter,
    http_protobuf_spans: Counter,
    http_json_spans: Counter,
    refused: Vec<(&'static str, Counter)>,
    pub refused_spans: Counter,
    pub request_bytes: Histogram,
    pub queue_requests: Gauge,
    pub queue_bytes: Gauge,
    pub batch_spans: Histogram,
    pub append_seconds: Histogram,
    pub resends: Counter,
}

/// The transport and format of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

// === impl IngestMetrics ===

impl IngestMetrics {
    pub(crate) fn new() -> Self {
        let spans = |transport: &'static str, format: &'static str| counter!("spandrel_ingest_spans_total", "transport" => transport, "format" => format);
        let refused =
            |reason: &'static str| (reason, counter!("spandrel_ingest_refused_total", "reason" => reason));
        Self {
            grpc_spans: spans("grpc", "protobuf"),
            http_protobuf_spans: spans("http", "protobuf"),
            http_json_spans: spans("http", "json"),
            refused: Refusal::REASONS.into_iter().map(refused).collect(),
            refused_spans: counter!("spandrel_ingest_refused_spans_total"),
            request_bytes: histogram!("spandrel_ingest_request_bytes"),
            queue_requests: gauge!("spandrel_ingest_queue_requests"),
            queue_bytes: gauge!("spandrel_ingest_queue_bytes"),
            batch_spans: histogram!("spandrel_ingest_batch_spans"),
            append_seconds: histogram!("spandrel_ingest_append_seconds"),
            resends: counter!("spandrel_ingest_resends_total"),
        }
    }

    /// Counts durable spans.
    pub(crate) fn stored(&self, route: Route, spans: usize) {
        let counter = match route {
            Route::Grpc => &self.grpc_spans,
            Route::HttpProtobuf => &self.http_protobuf_spans,
            Route::HttpJson => &self.http_json_spans,
        };
        counter.increment(spans as u64);
    }

    /// Counts a request that is refused as a whole.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        let reason = refusal.mapping().reason;
        if let Some((_, counter)) = self.refused.iter().find(|(known, _)| *known == reason) {
            counter.increment(1);
        }
    }
}
