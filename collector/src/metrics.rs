//! The collector's own metrics, with handles that are looked up once.

use std::time::{Duration, Instant};

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use parking_lot::Mutex;
use spandrel_proto::otlp::Rejections;

use crate::refusal::{Refusal, Signal};
use crate::route::{Labels, Route};

/// Handles to every metric of this crate; the crate's documentation lists them.
pub(crate) struct IngestMetrics {
    /// By route.
    spans: Vec<Counter>,
    refused: Vec<(&'static str, Counter)>,
    /// Requests and bytes, by signal.
    discarded: Vec<[Counter; 2]>,
    refused_spans: Counter,
    refused_log_records: Counter,
    pub discarded_log_records: Counter,
    told_of_refused_spans: Mutex<Option<Instant>>,
    pub request_bytes: Histogram,
    pub queue_requests: Gauge,
    pub queue_bytes: Gauge,
    pub batch_spans: Histogram,
    pub append_seconds: Histogram,
    pub resends: Counter,
}

/// How often the log tells why spans are refused: a sender that sends bad ones sends many.
const TELL_EVERY: Duration = Duration::from_secs(10);

// === impl IngestMetrics ===

impl IngestMetrics {
    pub(crate) fn new() -> Self {
        let spans = |route: Route| {
            let Labels { receiver, transport, format } = route.labels();
            let name = if route.is_of_logs() {
                "spandrel_ingest_log_records_total"
            } else {
                "spandrel_ingest_spans_total"
            };
            counter!(name, "receiver" => receiver, "transport" => transport, "format" => format)
        };
        let refused =
            |reason: &'static str| (reason, counter!("spandrel_ingest_refused_total", "reason" => reason));
        let discarded = |signal: Signal| {
            [
                counter!("spandrel_ingest_discarded_total", "signal" => signal.name()),
                counter!("spandrel_ingest_discarded_bytes_total", "signal" => signal.name()),
            ]
        };
        Self {
            spans: Route::ALL.into_iter().map(spans).collect(),
            refused: Refusal::REASONS.into_iter().map(refused).collect(),
            discarded: Signal::ALL.into_iter().map(discarded).collect(),
            refused_spans: counter!("spandrel_ingest_refused_spans_total"),
            refused_log_records: counter!("spandrel_ingest_refused_log_records_total"),
            discarded_log_records: counter!("spandrel_ingest_discarded_log_records_total"),
            told_of_refused_spans: Mutex::new(None),
            request_bytes: histogram!("spandrel_ingest_request_bytes"),
            queue_requests: gauge!("spandrel_ingest_queue_requests"),
            queue_bytes: gauge!("spandrel_ingest_queue_bytes"),
            batch_spans: histogram!("spandrel_ingest_batch_spans"),
            append_seconds: histogram!("spandrel_ingest_append_seconds"),
            resends: counter!("spandrel_ingest_resends_total"),
        }
    }

    /// Counts durable spans or log records.
    pub(crate) fn stored(&self, route: Route, spans: usize) {
        if let Some(counter) = self.spans.get(route as usize) {
            counter.increment(spans as u64);
        }
    }

    /// Counts spans that are refused one by one. Where their sender is not told why, the log is, now and then.
    pub(crate) fn spans_refused(&self, route: Route, rejected: &Rejections) {
        let counter = if route.is_of_logs() { &self.refused_log_records } else { &self.refused_spans };
        counter.increment(rejected.count);
        if rejected.count == 0 || route.tells_of_refused_spans() {
            return;
        }
        let mut told = self.told_of_refused_spans.lock();
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            let Labels { receiver, transport, format } = route.labels();
            let (count, reasons) = (rejected.count, rejected.message());
            tracing::warn!(receiver, transport, format, count, %reasons, "spans of a request are refused");
        }
    }

    /// Counts a request of another signal that is dropped.
    pub(crate) fn discarded(&self, signal: Signal, bytes: usize) {
        if let Some([requests, dropped]) = self.discarded.get(signal as usize) {
            requests.increment(1);
            dropped.increment(bytes as u64);
        }
    }

    /// Counts a request that is refused as a whole.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        let reason = refusal.mapping().reason;
        if let Some((_, counter)) = self.refused.iter().find(|(known, _)| *known == reason) {
            counter.increment(1);
        }
    }
}
