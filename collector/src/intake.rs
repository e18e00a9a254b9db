//! The way of one request, the same for every transport: inflate, decode, recognise, queue, wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use spandrel_proto::TenantId;
use spandrel_proto::otlp::{Decoded, Rejections, decode_request, request_from_json};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::budget::{Budget, Reservation};
use crate::config::IngestLimits;
use crate::inflate::{Encoding, Inflater};
use crate::meters::{Meters, Route};
use crate::queue::{Arrival, Queue, Waiter, size_of_decoded};
use crate::refusal::Refusal;
use crate::resend::{Outcome, Resends, Sighting};

/// What all connections share.
pub(crate) struct Intake {
    pub limits: IngestLimits,
    pub budget: Arc<Budget>,
    pub queue: Arc<Queue>,
    pub resends: Option<Arc<Resends>>,
    pub meters: Arc<Meters>,
    pub draining: AtomicBool,
    pub tenant: TenantId,
}

/// A body as it came in, with the share of memory that it holds.
pub(crate) struct Payload {
    pub bytes: Bytes,
    pub encoding: Encoding,
    pub route: Route,
    pub held: Reservation,
}

/// Work above this many bytes (some milliseconds) leaves the threads that serve connections.
const INLINE_BYTES: usize = 1 << 20;
/// A parsed JSON document takes about this many times its text.
const JSON_FACTOR: usize = 8;

// === impl Intake ===

impl Intake {
    /// Lets a request in, before its body is read.
    pub(crate) fn admit(&self) -> Result<Arrival, Refusal> {
        // Announced first: a shutdown that does not see this request is seen by it.
        let arrival = self.queue.arrive();
        if self.draining.load(Ordering::SeqCst) { Err(Refusal::Draining) } else { Ok(arrival) }
    }

    /// Returns when the request is durable, with the spans that were left out; or why it never will be.
    pub(crate) async fn export(&self, arrival: Arrival, payload: Payload) -> Result<Rejections, Refusal> {
        let mut payload = self.inflate(payload).await?;
        self.meters.request_bytes.record(payload.bytes.len() as f64);
        if payload.route == Route::HttpJson {
            payload = translate(payload).await?;
        }
        let (mut request, route, held) = self.decode(payload).await?;
        let rejected = std::mem::take(&mut request.rejected);
        if !request.spans.is_empty() {
            self.store(arrival, request, route, held).await?;
        }
        self.meters.refused_spans.increment(rejected.count);
        Ok(rejected)
    }

    async fn store(&self, arrival: Arrival, request: Decoded, route: Route, held: Reservation) -> Outcome {
        let ticket = match self.resends.as_ref().map(|resends| resends.sight(&self.tenant, &request.body)) {
            None => None,
            Some(Sighting::First(ticket)) => Some(ticket),
            Some(Sighting::Stored) => {
                self.meters.resends.increment(1);
                return Ok(());
            }
            Some(Sighting::Pending(outcome)) => {
                self.meters.resends.increment(1);
                drop((arrival, request, held));
                return outcome.await.unwrap_or(Err(Refusal::Broken));
            }
        };
        let (reply, outcome) = oneshot::channel();
        let waiter = Waiter { route, spans: request.spans.len(), ticket, reply, held };
        arrival.submit(self.tenant.clone(), request, waiter);
        outcome.await.unwrap_or(Err(Refusal::Broken))
    }

    async fn inflate(&self, payload: Payload) -> Result<Payload, Refusal> {
        let Payload { bytes, encoding, route, mut held } = payload;
        let max = self.limits.max_decompressed_bytes;
        let Some(mut inflater) = Inflater::new(&bytes, encoding, max)? else {
            if bytes.len() > max {
                return Err(Refusal::TooLarge { limit: "max_decompressed_bytes", max });
            }
            return Ok(Payload { bytes, encoding, route, held });
        };
        if !inflater.run(INLINE_BYTES, &mut held)? {
            let rest = move || inflater.run(usize::MAX, &mut held).map(|_| (inflater, held));
            (inflater, held) = run(rest, true).await?;
        }
        held.shrink(bytes.len());
        Ok(Payload { bytes: inflater.finish(), encoding: Encoding::Identity, route, held })
    }

    async fn decode(&self, payload: Payload) -> Result<(Decoded, Route, Reservation), Refusal> {
        let Payload { bytes, route, mut held, .. } = payload;
        let (limits, is_large) = (self.limits.decode, bytes.len() > INLINE_BYTES);
        let decode =
            move || decode_request(bytes, &limits).map_err(|error| Refusal::Malformed(error.to_string()));
        let request = run(decode, is_large).await?;
        held.grow(size_of_decoded(&request))?;
        Ok((request, route, held))
    }
}

/// JSON to protobuf, after which a request is like any other.
async fn translate(payload: Payload) -> Result<Payload, Refusal> {
    let Payload { bytes, encoding, route, mut held } = payload;
    // A document too large for its share of memory still passes when it is alone.
    let document = bytes.len().saturating_mul(JSON_FACTOR).min(held.max() - held.bytes());
    held.grow(document)?;
    let translate = {
        let bytes = bytes.clone();
        move || request_from_json(&bytes).map_err(|error| Refusal::Malformed(error.to_string()))
    };
    let is_large = bytes.len() > INLINE_BYTES / JSON_FACTOR;
    let request = run(translate, is_large).await?;
    held.shrink(document + bytes.len());
    held.grow(request.len())?;
    Ok(Payload { bytes: request.into(), encoding, route, held })
}

/// Runs work on a body. A panic is its sender's loss alone, not that of all who share the connection.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    is_large: bool,
) -> Result<T, Refusal> {
    if is_large {
        spawn_blocking(work).await.unwrap_or(Err(Refusal::Broken))
    } else {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Refusal::Broken))
    }
}
