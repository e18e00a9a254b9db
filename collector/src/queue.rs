//! The bounded queue between the connections and the batcher.
//!
//! The queue counts the requests that are still arriving and the senders that just got a response, so that a batch
//! waits only if more requests are likely. Otherwise few senders, each waiting for its response, would cause one block
//! for every request: twice the work to write, and again to merge.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashMap;
use spandrel_proto::TenantId;
use spandrel_proto::otlp::Decoded;
use tokio::sync::{Notify, oneshot};

use crate::budget::{Reservation, SHARE};
use crate::config::CollectorConfig;
use crate::dedup::{Outcome, Ticket};
use crate::metrics::IngestMetrics;
use crate::refusal::Refusal;
use crate::route::Route;

/// The queue, with counts of the requests around it.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Requests that were admitted and are not queued yet.
    arriving: AtomicUsize,
    all_arrived: Notify,
    limits: QueueLimits,
    metrics: Arc<IngestMetrics>,
}

struct QueueLimits {
    max_requests: usize,
    max_bytes: usize,
    batch_bytes: usize,
    batch_spans: usize,
    is_shared: bool,
    linger: Duration,
    /// Senders that got a response send again within this time, or not soon.
    return_time: Duration,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    /// Bytes that wait of each tenant; empty where they are not told apart.
    tenants: FxHashMap<TenantId, usize>,
    bytes: usize,
    spans: usize,
    /// Batchers that wait for a first request.
    idle: usize,
    /// Batchers that wait for a larger batch.
    lingering: usize,
    /// Requests that batchers have taken and that have no response yet.
    under_way: usize,
    returning: Returning,
    closed: bool,
}

/// Senders that just got a response and may send again at once.
#[derive(Default)]
struct Returning {
    /// The time of the last responses, and the number of requests expected since, those in the queue included.
    expected: Option<(Instant, usize)>,
    /// How often in a row fewer requests came than expected, and after how many responses the next ones are expected.
    failures: u32,
    skip: u32,
}

/// Smaller batches wait for requests that are likely to come. A larger batch gains little by waiting.
const SMALL_BATCH: usize = 2_000;
const RETURN_TIME: Duration = Duration::from_millis(5);

/// A request in the queue.
pub(crate) struct Pending {
    pub tenant: TenantId,
    pub request: Decoded,
    pub waiter: Waiter,
    queued_at: Instant,
    bytes: usize,
}

/// The request's sender, and the memory that the request holds until it is answered.
pub(crate) struct Waiter {
    pub route: Route,
    pub spans: usize,
    /// Absent if resends are not recognised.
    pub ticket: Option<Ticket>,
    pub reply: oneshot::Sender<Outcome>,
    pub held: Reservation,
}

/// A request that was admitted; batches may wait for it briefly.
pub(crate) struct Arrival {
    queue: Arc<Queue>,
    is_over: bool,
}

// === impl Queue ===

impl Queue {
    /// Where tenants share a server, they take turns, and each waits with at most [`SHARE`] times the free bytes.
    pub(crate) fn new(config: &CollectorConfig, is_shared: bool, metrics: Arc<IngestMetrics>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            arriving: AtomicUsize::new(0),
            all_arrived: Notify::new(),
            limits: QueueLimits {
                max_requests: config.limits.max_queue_requests,
                max_bytes: config.limits.max_queue_bytes,
                batch_bytes: config.limits.max_batch_bytes,
                batch_spans: config.limits.max_batch_spans,
                is_shared,
                linger: config.batch_linger,
                return_time: config.batch_linger.min(RETURN_TIME),
            },
            metrics,
        })
    }

    /// Counts a request as arriving.
    pub(crate) fn arrive(self: &Arc<Self>) -> Arrival {
        self.arriving.fetch_add(1, Ordering::SeqCst);
        Arrival { queue: self.clone(), is_over: false }
    }

    /// Waits for the next batch, in the order of arrival. `None` once the queue is closed and empty.
    pub(crate) fn next_batch(&self) -> Option<Vec<Pending>> {
        let mut state = self.state.lock();
        loop {
            let Some(first) = state.waiting.front() else {
                if state.closed {
                    return None;
                }
                state.idle += 1;
                self.changed.wait(&mut state);
                state.idle -= 1;
                continue;
            };
            let until = self.deadline(&state, first.queued_at);
            if self.is_ready(&state) || Instant::now() >= until {
                let batch = self.take(&mut state);
                if !batch.is_empty() {
                    state.under_way += batch.len();
                    return Some(batch);
                }
            } else {
                state.lingering += 1;
                self.changed.wait_until(&mut state, until);
                state.lingering -= 1;
            }
        }
    }

    /// Reports that so many requests of a batch are about to get their response; their senders may send again.
    pub(crate) fn answering(&self, requests: usize) {
        let mut state = self.state.lock();
        state.under_way -= requests;
        let expected = requests + state.waiting.len();
        state.returning.expect(expected);
        if state.lingering > 0 {
            self.changed.notify_one();
        }
    }

    /// Refuses further requests; batchers still take the waiting ones.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Closes the queue and returns the waiting requests, for the caller to refuse.
    pub(crate) fn abandon(&self) -> Vec<Pending> {
        let mut state = self.state.lock();
        state.closed = true;
        (state.bytes, state.spans) = (0, 0);
        state.tenants.clear();
        self.show(&state);
        self.changed.notify_all();
        std::mem::take(&mut state.waiting).into()
    }

    /// Requests that were admitted and are not queued yet.
    pub(crate) fn arriving(&self) -> usize {
        self.arriving.load(Ordering::SeqCst)
    }

    /// Requests that wait for a batch.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Waits until every admitted request is queued or refused.
    pub(crate) async fn all_arrived(&self) {
        loop {
            let notified = self.all_arrived.notified();
            if self.arriving() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Queues a request or refuses it through its waiter. In both cases it has arrived.
    fn push(&self, pending: Pending) {
        let mut state = self.state.lock();
        let refused = match self.no_room(&state, &pending) {
            Some(refusal) => Some((pending.waiter, refusal)),
            None => {
                state.bytes += pending.bytes;
                state.spans += pending.waiter.spans;
                if self.limits.is_shared {
                    *state.tenants.entry(pending.tenant.clone()).or_default() += pending.bytes;
                }
                state.waiting.push_back(pending);
                self.show(&state);
                None
            }
        };
        // Only the last arrival wakes a lingering batcher: a wake-up for each would cost a context switch each.
        let was_last = self.has_arrived();
        if was_last && self.is_ready(&state) || state.lingering == 0 && state.idle > 0 || self.is_full(&state)
        {
            self.changed.notify_one();
        }
        drop(state);
        if let Some((waiter, refusal)) = refused {
            waiter.settle(&Err(refusal));
        }
    }

    fn no_room(&self, state: &State, pending: &Pending) -> Option<Refusal> {
        let QueueLimits { max_requests, max_bytes, .. } = self.limits;
        let bytes = pending.bytes;
        let is_above_share = state.tenants.get(&pending.tenant).is_some_and(|waiting| {
            waiting + bytes > max_bytes.saturating_sub(state.bytes).saturating_mul(SHARE)
        });
        if state.closed {
            Some(Refusal::Draining)
        } else if state.waiting.len() >= max_requests {
            Some(Refusal::Busy { limit: "maxQueueRequests", max: max_requests })
        } else if !state.waiting.is_empty() && state.bytes + bytes > max_bytes || is_above_share {
            Some(Refusal::Busy { limit: "maxQueueBytes", max: max_bytes })
        } else {
            None
        }
    }

    /// Counts a request as arrived. Returns true if no other is still arriving.
    fn has_arrived(&self) -> bool {
        let last = self.arriving.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.all_arrived.notify_waiters();
        }
        last
    }

    fn take(&self, state: &mut State) -> Vec<Pending> {
        state.returning.observe(state.waiting.len(), state.spans);
        if state.tenants.len() > 1 {
            take_turns(&mut state.waiting);
        }
        let (mut bytes, mut spans, mut count) = (0, 0, 0);
        for pending in &state.waiting {
            bytes += pending.bytes;
            spans += pending.waiter.spans;
            if count > 0 && (bytes > self.limits.batch_bytes || spans > self.limits.batch_spans) {
                bytes -= pending.bytes;
                spans -= pending.waiter.spans;
                break;
            }
            count += 1;
        }
        state.bytes -= bytes;
        state.spans -= spans;
        let batch: Vec<Pending> = state.waiting.drain(..count).collect();
        for pending in batch.iter().filter(|_| self.limits.is_shared) {
            if let Some(waiting) = state.tenants.get_mut(&pending.tenant) {
                *waiting -= pending.bytes;
                if *waiting == 0 {
                    state.tenants.remove(&pending.tenant);
                }
            }
        }
        if !state.waiting.is_empty() && state.idle > 0 {
            self.changed.notify_one();
        }
        self.show(state);
        batch
    }

    fn is_ready(&self, state: &State) -> bool {
        state.closed || self.is_full(state) || self.arriving() == 0 && !self.is_awaited(state)
    }

    /// When a batch is taken at the latest, if its first request was queued at `queued_at`.
    fn deadline(&self, state: &State, queued_at: Instant) -> Instant {
        let until = queued_at + self.limits.linger;
        let waits_for_others = self.arriving() > 0 || state.waiting.len() < state.under_way;
        match state.returning.expected {
            Some((since, _)) if !waits_for_others => until.min(since + self.limits.return_time),
            _ => until,
        }
    }

    /// Whether a small batch should wait for further requests.
    fn is_awaited(&self, state: &State) -> bool {
        let (waiting, return_time) = (state.waiting.len(), self.limits.return_time);
        state.spans < SMALL_BATCH
            && (waiting < state.under_way || state.returning.should_wait(waiting, return_time))
    }

    fn is_full(&self, state: &State) -> bool {
        state.bytes >= self.limits.batch_bytes || state.spans >= self.limits.batch_spans
    }

    fn show(&self, state: &State) {
        self.metrics.queue_requests.set(state.waiting.len() as f64);
        self.metrics.queue_bytes.set(state.bytes as f64);
    }
}

/// Puts requests into the order in which their tenants take turns: the first one of each, then the second ones. Each
/// tenant's own stay in order.
fn take_turns(waiting: &mut VecDeque<Pending>) {
    let mut turns: FxHashMap<TenantId, usize> = FxHashMap::default();
    let mut ordered: Vec<(usize, Pending)> = Vec::with_capacity(waiting.len());
    for pending in waiting.drain(..) {
        let turn = turns.entry(pending.tenant.clone()).or_default();
        ordered.push((*turn, pending));
        *turn += 1;
    }
    ordered.sort_by_key(|(turn, _)| *turn);
    waiting.extend(ordered.into_iter().map(|(_, pending)| pending));
}

// === impl Returning ===

/// Bounds the pause after failures: expectations pause for two to the power of `failures` responses.
const MOST_FAILURES: u32 = 6;

impl Returning {
    fn expect(&mut self, count: usize) {
        self.expected = (self.skip == 0).then(|| (Instant::now(), count));
        self.skip = self.skip.saturating_sub(1);
    }

    /// Whether more requests are expected than wait.
    fn should_wait(&self, waiting: usize, time: Duration) -> bool {
        self.expected.is_some_and(|(since, count)| waiting < count && since.elapsed() < time)
    }

    /// Compares the requests and spans of a taken batch with the expectation. After each failure in a row batches wait
    /// more rarely, since these senders send only now and then.
    fn observe(&mut self, waiting: usize, spans: usize) {
        let Some((_, count)) = self.expected.take() else { return };
        if waiting >= count {
            self.failures = 0;
        } else if spans < SMALL_BATCH {
            self.failures = (self.failures + 1).min(MOST_FAILURES);
            self.skip = 1 << self.failures;
        }
    }
}

// === impl Arrival ===

impl Arrival {
    /// Queues the request. If the queue has no room, it refuses the request through the waiter.
    pub(crate) fn submit(mut self, tenant: TenantId, request: Decoded, waiter: Waiter) {
        let bytes = size_of_decoded(&request) + request.size();
        let pending = Pending { tenant, request, waiter, queued_at: Instant::now(), bytes };
        self.is_over = true;
        self.queue.push(pending);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if !self.is_over && self.queue.has_arrived() {
            // Taking the lock ensures that a batcher which has just checked the count is waiting, so the wake-up
            // reaches it.
            let _state = self.queue.state.lock();
            self.queue.changed.notify_one();
        }
    }
}

// === impl Waiter ===

impl Waiter {
    /// Reports the outcome to the sender.
    pub(crate) fn settle(self, outcome: &Outcome) {
        drop(self.held);
        if let Some(ticket) = self.ticket {
            ticket.settle(outcome);
        }
        // The connection may be closed; the spans are stored all the same.
        let _ = self.reply.send(outcome.clone());
    }
}

/// Bytes that a decoded request takes besides its body.
pub(crate) fn size_of_decoded(request: &Decoded) -> usize {
    std::mem::size_of_val(&*request.spans)
        + std::mem::size_of_val(&*request.logs)
        + std::mem::size_of_val(&*request.resources)
        + std::mem::size_of_val(&*request.scopes)
}

#[cfg(test)]
mod tests {
    use spandrel_proto::otlp::DecodedSpan;
    use spandrel_proto::{SpanId, TraceId, UnixNanos};

    use super::*;
    use crate::budget::Budget;

    /// A queue whose batches wait practically for ever for the requests that they expect.
    fn queue() -> Arc<Queue> {
        let long = Duration::from_secs(3600);
        let config = CollectorConfig { batch_linger: long, ..CollectorConfig::default() };
        let mut queue = Queue::new(&config, true, Arc::new(IngestMetrics::new()));
        Arc::get_mut(&mut queue).unwrap().limits.return_time = long;
        queue
    }

    fn send(queue: &Arc<Queue>, requests: usize, spans: usize) {
        send_for(queue, "default", requests, spans);
    }

    fn send_for(queue: &Arc<Queue>, tenant: &str, requests: usize, spans: usize) {
        let tenant = TenantId::new(tenant).unwrap();
        let span = DecodedSpan {
            trace_id: TraceId::default(),
            span_id: SpanId::default(),
            start: UnixNanos(0),
            resource: 0,
            scope: 0,
            at: 0..0,
        };
        for _ in 0..requests {
            let request = Decoded { spans: vec![span.clone(); spans], ..Decoded::default() };
            let held = Budget::new(0).reserve(&tenant);
            let waiter =
                Waiter { route: Route::OtlpJson, spans, ticket: None, reply: oneshot::channel().0, held };
            queue.arrive().submit(tenant.clone(), request, waiter);
        }
    }

    /// The size of the next batch; `None` if it waits for more.
    fn taken(queue: &Arc<Queue>) -> Option<usize> {
        let is_ready = queue.is_ready(&queue.state.lock());
        is_ready.then(|| queue.next_batch().unwrap().len())
    }

    #[test]
    fn tenants_take_turns() {
        let queue = queue();
        let one_batch = CollectorConfig::default().limits.max_batch_spans;
        send_for(&queue, "flood", 9, one_batch / 4);
        send_for(&queue, "quiet", 1, 10);
        let tenants = |batch: Vec<Pending>| -> Vec<String> {
            batch.iter().map(|pending| pending.tenant.to_string()).collect()
        };
        assert_eq!(tenants(queue.next_batch().unwrap()), ["flood", "quiet", "flood", "flood"]);
        send_for(&queue, "quiet", 1, 10);
        assert_eq!(tenants(queue.next_batch().unwrap())[1], "quiet");
        assert_eq!(queue.state.lock().tenants.len(), 1);
    }

    #[test]
    fn a_batch_waits_for_those_that_arrive() {
        let queue = queue();
        let arriving = queue.arrive();
        send(&queue, 1, 1);
        assert_eq!(taken(&queue), None);
        drop(arriving);
        assert_eq!(taken(&queue), Some(1));
    }

    #[test]
    fn a_small_batch_waits_for_senders_that_were_just_answered() {
        let queue = queue();
        send(&queue, 1, 500);
        assert_eq!(taken(&queue), Some(1), "nobody else is known");
        send(&queue, 2, 500);
        assert_eq!(taken(&queue), Some(2), "more than are under way");
        send(&queue, 1, 500);
        assert_eq!(taken(&queue), None, "fewer");
        queue.answering(1);
        queue.answering(2);
        assert_eq!(taken(&queue), None, "two that were answered come again");
        send(&queue, 1, 500);
        assert_eq!(taken(&queue), None, "and one more");
        send(&queue, 1, 500);
        assert_eq!(taken(&queue), Some(3));
        queue.answering(3);
        send(&queue, 1, SMALL_BATCH);
        assert_eq!(taken(&queue), Some(1), "large enough");
    }

    #[test]
    fn who_does_not_come_is_waited_for_ever_more_rarely() {
        let mut returning = Returning::default();
        let waits = |returning: &Returning| returning.should_wait(1, Duration::from_secs(3600));
        let mut waited = Vec::new();
        for answer in 0..400 {
            returning.expect(2);
            if waits(&returning) {
                waited.push(answer);
            }
            returning.observe(1, 0);
        }
        assert_eq!(waited, [0, 3, 8, 17, 34, 67, 132, 197, 262, 327, 392]);
        while !waits(&returning) {
            returning.expect(2);
        }
        returning.observe(2, 0);
        returning.expect(2);
        assert!(waits(&returning), "once they came, they are waited for again");
        returning.observe(1, SMALL_BATCH);
        returning.expect(2);
        assert!(waits(&returning), "there was enough without them");
    }
}
