//! The batcher: threads that combine the requests of all connections into few durable appends.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use spandrel_proto::TenantId;
use spandrel_proto::otlp::Decoded;
use spandrel_storage::{TenantBatch, TraceStore};
use tokio::sync::oneshot;

use crate::dedup::Outcome;
use crate::delay::{Delays, Sample};
use crate::metrics::IngestMetrics;
use crate::queue::{Pending, Queue, Waiter};
use crate::refusal::Refusal;
use crate::route::Route;

/// Appends batches until the queue is closed and empty.
pub(crate) struct Batcher {
    pub queue: Arc<Queue>,
    pub store: Arc<dyn TraceStore>,
    pub metrics: Arc<IngestMetrics>,
    pub delays: Arc<Delays>,
    /// The last append failed; shared by all batchers.
    pub failing: Arc<AtomicBool>,
}

/// The requests of one tenant in a batch.
struct Share {
    tenant: TenantId,
    requests: Vec<Decoded>,
    waiters: Vec<Waiter>,
}

/// Resolves (to an error, by being dropped) when a batcher's thread has ended.
pub(crate) type ThreadExit = oneshot::Receiver<()>;

// === impl Batcher ===

impl Batcher {
    /// Starts a thread: appends block, and must not hold up the connections.
    pub(crate) fn spawn(self) -> io::Result<ThreadExit> {
        let (guard, ended) = oneshot::channel();
        thread::Builder::new().name("batcher".to_owned()).spawn(move || {
            // Dropped in reverse: the thread has released the store when its end is seen. Else it could be the last
            // to hold the store, and close RocksDB while the process exits, which aborts it.
            let _guard = guard;
            let batcher = self;
            while let Some(batch) = batcher.queue.next_batch() {
                batcher.commit(batch);
            }
        })?;
        Ok(ended)
    }

    /// One append for all tenants. The requests of a tenant share the outcome.
    fn commit(&self, mut batch: Vec<Pending>) {
        batch.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        let mut shares: Vec<Share> = Vec::new();
        for Pending { tenant, request, waiter, .. } in batch {
            match shares.last_mut() {
                Some(share) if share.tenant == tenant => {
                    share.requests.push(request);
                    share.waiters.push(waiter);
                }
                _ => shares.push(Share { tenant, requests: vec![request], waiters: vec![waiter] }),
            }
        }
        let outcomes = self.append(&shares);
        for (share, outcome) in shares.into_iter().zip(outcomes) {
            let samples = self.measure(&share, &outcome);
            drop(share.requests);
            self.log_change(&outcome);
            self.queue.answering(share.waiters.len());
            self.settle(share.waiters, &outcome);
            for (route, sample) in samples {
                self.delays.count(route, &sample);
            }
        }
    }

    /// The delays of spans that can be found from now on, by receiver.
    fn measure(&self, share: &Share, outcome: &Outcome) -> Vec<(Route, Sample)> {
        let mut samples: Vec<(Route, Sample)> = Vec::new();
        if outcome.is_err() {
            return samples;
        }
        for (request, waiter) in share.requests.iter().zip(&share.waiters) {
            let receiver = waiter.route.labels().receiver;
            let is_it = |(route, _): &&mut (Route, Sample)| route.labels().receiver == receiver;
            match samples.iter_mut().find(is_it) {
                Some((_, sample)) => self.delays.measure(request, sample),
                None => {
                    let mut sample = Sample::default();
                    self.delays.measure(request, &mut sample);
                    samples.push((waiter.route, sample));
                }
            }
        }
        samples
    }

    fn append(&self, shares: &[Share]) -> Vec<Outcome> {
        let spans = |share: &Share| share.requests.iter().map(|request| request.spans.len()).sum::<usize>();
        self.metrics.batch_spans.record(shares.iter().map(spans).sum::<usize>() as f64);
        let batches: Vec<TenantBatch<'_>> = shares
            .iter()
            .map(|share| TenantBatch { tenant: &share.tenant, requests: &share.requests })
            .collect();
        let began = Instant::now();
        // A panic in the store must not end this thread, or later requests would wait for ever.
        let results = catch_unwind(AssertUnwindSafe(|| self.store.append_all(&batches)));
        self.metrics.append_seconds.record(began.elapsed());
        match results {
            Ok(results) => results.into_iter().map(|result| result.map_err(Refusal::Store)).collect(),
            Err(_) if shares.len() == 1 => vec![Err(Refusal::Broken)],
            // What breaks the store for one tenant is no reason to refuse the others. Spans that were stored before it
            // broke are equal to those that are stored now.
            Err(_) => shares.chunks(1).flat_map(|share| self.append(share)).collect(),
        }
    }

    /// Logs when appends begin to fail and when they work again, but not every failed batch in between.
    fn log_change(&self, outcome: &Outcome) {
        let failed_before = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(refusal) if !failed_before => tracing::warn!(%refusal, "batches are not stored"),
            Ok(()) if failed_before => tracing::info!("batches are stored again"),
            _ => {}
        }
    }

    fn settle(&self, waiters: Vec<Waiter>, outcome: &Outcome) {
        for waiter in waiters {
            if outcome.is_ok() {
                self.metrics.stored(waiter.route, waiter.spans);
            }
            waiter.settle(outcome);
        }
    }
}
