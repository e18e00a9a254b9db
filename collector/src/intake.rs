//! Takes one request through the collector, the same way for every transport: decompress, decode, clean, deduplicate,
//! queue, wait.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use spandrel_clean::{Cleaner, Tally};
use spandrel_proto::otlp::{Decoded, Rejections, ResourceView, decode_logs_request, decode_request};
use spandrel_proto::{Caller, TenantId};
use spandrel_quota::{Ledger, ServiceUsage};
use spandrel_storage::semantics;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::budget::{Budget, Reservation};
use crate::config::{IngestLimits, OtherSignals};
use crate::decompress::{Decompressed, Progress};
use crate::dedup::{Fingerprint, Lookup, Outcome, RequestDedup};
use crate::encoding::Encoding;
use crate::metrics::IngestMetrics;
use crate::queue::{Arrival, Queue, Waiter, size_of_decoded};
use crate::refusal::Refusal;
use crate::route::{Decoder, Labels, Route};
use crate::text_body::{DecodedText, TextBody, decode_bytes};

/// State that all connections share.
pub(crate) struct Intake {
    pub limits: IngestLimits,
    pub other_signals: OtherSignals,
    pub budget: Arc<Budget>,
    pub queue: Arc<Queue>,
    /// Absent when resends are not recognised.
    pub dedup: Option<Arc<RequestDedup>>,
    pub metrics: Arc<IngestMetrics>,
    pub draining: AtomicBool,
    pub cleaner: Arc<Cleaner>,
    /// Absent where tenants are not told apart.
    pub ledger: Option<Arc<Ledger>>,
}

/// A body as received, with the share of memory that it holds.
pub(crate) struct Payload {
    pub bytes: Bytes,
    pub encoding: Encoding,
    pub route: Route,
    pub caller: Caller,
    pub held: Reservation,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Spans that are durable, or that a rule has dropped.
    pub spans: usize,
    /// The others.
    pub rejected: Rejections,
}

/// A decoded request, with the share of memory that it holds.
struct Request {
    decoded: Decoded,
    fingerprint: Fingerprint,
    route: Route,
    held: Reservation,
}

/// The thread that works on a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    /// The thread that serves the connection.
    Connection,
    /// A thread that may block for a while.
    Blocking,
}

/// Larger bodies (some milliseconds of work) move to a blocking thread, so that other connections do not wait.
const INLINE_BYTES: usize = 1 << 20;
/// The same for JSON, which takes about four times as long a byte.
const INLINE_JSON_BYTES: usize = INLINE_BYTES / 4;

// === impl Intake ===

impl Intake {
    /// Admits a request before its body is read.
    pub(crate) fn admit(&self, caller: &Caller) -> Result<Arrival, Refusal> {
        if let Some(ledger) = &self.ledger {
            ledger.check_ingest(caller)?;
        }
        // The arrival is counted before the flag is read: a shutdown that does not wait for this request has set the
        // flag.
        let arrival = self.queue.arrive();
        if self.draining.load(Ordering::SeqCst) { Err(Refusal::Draining) } else { Ok(arrival) }
    }

    /// Returns when the request is durable, with what was refused of it; or the reason for refusing it as a whole.
    pub(crate) async fn export(&self, arrival: Arrival, payload: Payload) -> Result<Accepted, Refusal> {
        let (caller, route) = (payload.caller.clone(), payload.route);
        let mut request = match payload.route.decoder() {
            Decoder::OtlpJson | Decoder::OtlpLogsJson | Decoder::Text(_) => self.decode_text(payload).await?,
            Decoder::Otlp | Decoder::OtlpLogs | Decoder::Bytes(_) => {
                self.decode_whole(self.decompress(payload).await?).await?
            }
        };
        self.leave_out_without_span(&mut request.decoded)?;
        let rejected = std::mem::take(&mut request.decoded.rejected);
        // A request has spans or log records, never both.
        let spans = request.decoded.spans.len() + request.decoded.log_records as usize;
        let sent = (spans as u64, request.decoded.body.len() as u64);
        if let Some(ledger) = &self.ledger {
            ledger.charge_ingest(&caller, sent.0, sent.1);
        }
        // The gate lets a sender through for one tenant alone.
        let tenant = caller.tenants.first().clone();
        let (request, tally) = self.clean(&tenant, request).await?;
        let received = |ledger| (ledger, Received::new(sent.0, sent.1, &request.decoded));
        let counted = self.ledger.as_ref().map(received);
        if request.decoded.spans.is_empty() && request.decoded.logs.is_empty() {
            tally.count();
        } else {
            self.store(arrival, tenant, request, &tally).await?;
        }
        if let Some((ledger, received)) = counted {
            received.count(ledger, &caller);
        }
        self.metrics.spans_refused(route, &rejected);
        Ok(Accepted { spans, rejected })
    }

    /// Log records that belong to no span are refused one by one, or dropped and counted where other signals are. A
    /// request of nothing else is refused as a whole, so that its sender is told once.
    fn leave_out_without_span(&self, decoded: &mut Decoded) -> Result<(), Refusal> {
        let without = std::mem::take(&mut decoded.without_span);
        if without.count == 0 {
            return Ok(());
        }
        if self.other_signals == OtherSignals::Discard {
            self.metrics.discarded_log_records.increment(without.count);
            return Ok(());
        }
        if decoded.logs.is_empty() && decoded.rejected.is_empty() {
            return Err(Refusal::LogsWithoutSpan(without.reason()));
        }
        decoded.rejected.add_many(without.count, without.reason());
        Ok(())
    }

    /// Applies the rules of this moment. A request that is sent again is cleaned again, and counted once.
    async fn clean(&self, tenant: &TenantId, mut request: Request) -> Result<(Request, Tally), Refusal> {
        let rules = self.cleaner.rules();
        if rules.is_empty() {
            return Ok((request, Tally::default()));
        }
        let is_long = request.decoded.body.len() > INLINE_BYTES;
        let (thread, tenant) = (if is_long { Thread::Blocking } else { Thread::Connection }, tenant.clone());
        let clean = move || {
            let Request { decoded, held, .. } = &mut request;
            let tally = rules.apply(decoded, &tenant, |bytes| held.grow(bytes))?;
            held.resize(decoded.size() + size_of_decoded(decoded))?;
            Ok((request, tally))
        };
        run(thread, clean).await
    }

    async fn store(&self, arrival: Arrival, tenant: TenantId, request: Request, tally: &Tally) -> Outcome {
        let Request { decoded, fingerprint, route, held } = request;
        let Labels { receiver, format, .. } = route.labels();
        let fingerprint = fingerprint.in_format(receiver, format);
        let ticket = match self.dedup.as_ref().map(|dedup| dedup.check(&tenant, fingerprint)) {
            None => None,
            Some(Lookup::First(ticket)) => Some(ticket),
            Some(Lookup::Stored) => {
                self.metrics.resends.increment(1);
                return Ok(());
            }
            Some(Lookup::Pending(outcome)) => {
                self.metrics.resends.increment(1);
                drop((arrival, decoded, held));
                return outcome.await.unwrap_or(Err(Refusal::Broken));
            }
        };
        let (reply, outcome) = oneshot::channel();
        let waiter =
            Waiter { route, spans: decoded.spans.len() + decoded.log_records as usize, ticket, reply, held };
        arrival.submit(tenant, decoded, waiter);
        let outcome = outcome.await.unwrap_or(Err(Refusal::Broken));
        if outcome.is_ok() {
            tally.count();
        }
        outcome
    }

    async fn decompress(&self, payload: Payload) -> Result<Payload, Refusal> {
        let Payload { bytes, encoding, route, caller, mut held } = payload;
        let max = self.limits.max_decompressed_bytes;
        if encoding == Encoding::Identity {
            if bytes.len() > max {
                return Err(Refusal::TooLarge { limit: "maxDecompressedBytes", max });
            }
            return Ok(Payload { bytes, encoding, route, caller, held });
        }
        let mut body = Decompressed::new(&bytes, encoding, max)?;
        if body.run(INLINE_BYTES, &mut held)? == Progress::Paused {
            let rest = move || body.run(usize::MAX, &mut held).map(|_| (body, held));
            (body, held) = run(Thread::Blocking, rest).await?;
        }
        held.shrink(bytes.len());
        Ok(Payload { bytes: body.finish(), encoding: Encoding::Identity, route, caller, held })
    }

    async fn decode_whole(&self, payload: Payload) -> Result<Request, Refusal> {
        let Payload { bytes, route, mut held, .. } = payload;
        self.metrics.request_bytes.record(bytes.len() as f64);
        let limits = self.limits.decode;
        let thread = if bytes.len() > INLINE_BYTES { Thread::Blocking } else { Thread::Connection };
        let decode = move || {
            let fingerprint = Fingerprint::of(&bytes);
            if let Decoder::Bytes(decoder) = route.decoder() {
                let (decoded, mut held) = decode_bytes(&bytes, &limits, held, decoder)?;
                held.resize(decoded.body.len() + size_of_decoded(&decoded))?;
                return Ok((decoded, fingerprint, held));
            }
            let decode = if route.is_of_logs() { decode_logs_request } else { decode_request };
            let decoded = decode(bytes, &limits).map_err(|error| Refusal::Malformed(error.to_string()))?;
            held.resize(decoded.body.len() + size_of_decoded(&decoded))?;
            Ok((decoded, fingerprint, held))
        };
        let (decoded, fingerprint, held) = run(thread, decode).await?;
        Ok(Request { decoded, fingerprint, route, held })
    }

    /// Decodes a text while decompressing it, on a blocking thread: the compressed size does not tell how long it takes.
    async fn decode_text(&self, payload: Payload) -> Result<Request, Refusal> {
        let Payload { bytes, encoding, route, held, .. } = payload;
        let is_short = encoding == Encoding::Identity && bytes.len() <= INLINE_JSON_BYTES;
        let thread = if is_short { Thread::Connection } else { Thread::Blocking };
        let (limits, max) = (self.limits.decode, self.limits.max_decompressed_bytes);
        let decode = move || {
            let body = TextBody::new(bytes, encoding, max, held);
            match route.decoder() {
                Decoder::Text(decoder) => body.decode(&limits, decoder),
                Decoder::OtlpLogsJson => body.decode_otlp_logs(&limits),
                _ => body.decode_otlp(&limits),
            }
        };
        let DecodedText { request: decoded, fingerprint, mut held, text_bytes } = run(thread, decode).await?;
        self.metrics.request_bytes.record(text_bytes as f64);
        held.resize(decoded.body.len() + size_of_decoded(&decoded))?;
        Ok(Request { decoded, fingerprint, route, held })
    }
}

/// What a request holds, for the usage of its tenant.
struct Received {
    spans: u64,
    bytes: u64,
    services: BTreeMap<String, ServiceUsage>,
}

// === impl Received ===

impl Received {
    /// So much was received, and this is left of it: the names of services are those that rules have left.
    fn new(spans: u64, bytes: u64, decoded: &Decoded) -> Self {
        let mut by_resource = vec![ServiceUsage::default(); decoded.resources.len()];
        for span in &decoded.spans {
            let usage = &mut by_resource[span.resource as usize];
            usage.received_spans += 1;
            usage.received_bytes += span.at.len() as u64;
        }
        for row in &decoded.logs {
            by_resource[row.resource as usize].received_bytes += row.at.len() as u64;
        }
        let mut services: BTreeMap<String, ServiceUsage> = BTreeMap::new();
        // Rules leave resources without spans behind.
        let with_spans =
            decoded.resources.iter().zip(by_resource).filter(|(_, usage)| usage.received_bytes > 0);
        for (resource, usage) in with_spans {
            // The decoder has read it already.
            let Ok(resource) = ResourceView::parse(resource) else { continue };
            let known = services.entry(semantics::service_name(&resource).to_owned()).or_default();
            known.received_spans += usage.received_spans;
            known.received_bytes += usage.received_bytes;
        }
        Self { spans, bytes, services }
    }

    fn count(&self, ledger: &Ledger, caller: &Caller) {
        let services = self.services.iter().map(|(name, usage)| (name.as_str(), *usage));
        ledger.count_ingest(caller, self.spans, self.bytes, services);
    }
}

/// Runs work on a body. A panic refuses this request alone, and the connection keeps its others.
async fn run<T: Send + 'static>(
    thread: Thread,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match thread {
        Thread::Connection => catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Refusal::Broken)),
        Thread::Blocking => spawn_blocking(work).await.unwrap_or(Err(Refusal::Broken)),
    }
}
