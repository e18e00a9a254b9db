//! Starts the parts of the collector, and shuts them down without losing accepted requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use parking_lot::Mutex;
use serde_json::Value;
use spandrel_clean::Cleaner;
use spandrel_proto::TenantId;
use spandrel_quota::Ledger;
use spandrel_storage::TraceStore;
use tokio::time::timeout_at;
use tower_http::cors::CorsLayer;

use crate::batch::{Batcher, ThreadExit};
use crate::budget::Budget;
use crate::config::CollectorConfig;
use crate::dedup::{Clock, RequestDedup};
use crate::delay::{Delays, RecentDelay, wall_clock};
use crate::intake::Intake;
use crate::metrics::IngestMetrics;
use crate::queue::Queue;
use crate::receive::jaeger::{Agent, AgentProtocol};
use crate::receive::kafka::{MessageEncoding, MessageSink};
use crate::receive::{cors, datadog, jaeger, otlp, skywalking, zipkin};
use crate::refusal::Refusal;

/// Receives traces and responds when they are durable.
pub struct Collector {
    intake: Arc<Intake>,
    delays: Arc<Delays>,
    cors: Option<CorsLayer>,
    batchers: Mutex<Vec<ThreadExit>>,
}

/// The work in progress at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Requests that are being received or decoded.
    pub arriving_requests: usize,
    /// Requests that wait for a batch.
    pub queued_requests: usize,
    /// Bytes that count towards `max_inflight_bytes`.
    pub inflight_bytes: usize,
    /// New requests are refused, because the collector is shutting down.
    pub is_draining: bool,
}

/// Why a collector does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A configured origin is not valid.
    #[error("{0:?} is not an origin; write it as in https://shop.example, or * for any")]
    Origin(String),
    /// The operating system could not start a thread.
    #[error("starting the batcher's thread failed: {0}")]
    Thread(#[from] io::Error),
}

/// Shutting down took too long. The requests that were not stored were refused, not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time was up before everything was stored; {refused} requests were told to send again")]
pub struct DrainError {
    /// Requests that waited in the queue and were refused.
    pub refused: usize,
}

// === impl Collector ===

impl Collector {
    /// Starts the batchers. Install a metrics recorder before.
    pub fn start(config: CollectorConfig, store: Arc<dyn TraceStore>) -> Result<Self, StartError> {
        Self::begin(config, store, Arc::new(Instant::now), None)
    }

    /// The same for several tenants, which share memory and the queue, and whose quotas a ledger keeps.
    pub fn start_shared(
        config: CollectorConfig,
        store: Arc<dyn TraceStore>,
        ledger: Arc<Ledger>,
    ) -> Result<Self, StartError> {
        Self::begin(config, store, Arc::new(Instant::now), Some(ledger))
    }

    /// The same, with a clock for the resend window.
    pub fn start_with_clock(
        config: CollectorConfig,
        store: Arc<dyn TraceStore>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        Self::begin(config, store, clock, None)
    }

    fn begin(
        config: CollectorConfig,
        store: Arc<dyn TraceStore>,
        clock: Clock,
        ledger: Option<Arc<Ledger>>,
    ) -> Result<Self, StartError> {
        let cors = cors(&config.cors_origins).map_err(StartError::Origin)?;
        let metrics = Arc::new(IngestMetrics::new());
        let queue = Queue::new(&config, ledger.is_some(), metrics.clone());
        let failing = Arc::new(AtomicBool::new(false));
        let delays = Arc::new(Delays::new(wall_clock));
        let start_batcher = || {
            let (queue, store, metrics) = (queue.clone(), store.clone(), metrics.clone());
            let delays = delays.clone();
            Batcher { queue, store, metrics, delays, failing: failing.clone() }.spawn()
        };
        let batchers =
            (0..config.ingest_threads.max(1)).map(|_| start_batcher()).collect::<io::Result<Vec<_>>>();
        let batchers = batchers.inspect_err(|_| queue.close())?;
        let intake = Arc::new(Intake {
            budget: match ledger {
                None => Budget::new(config.limits.max_inflight_bytes),
                Some(_) => Budget::shared(config.limits.max_inflight_bytes),
            },
            dedup: RequestDedup::new(config.resend_window, config.limits.max_resend_entries, clock),
            limits: config.limits,
            other_signals: config.other_signals,
            queue,
            metrics,
            draining: AtomicBool::new(false),
            cleaner: Arc::default(),
            ledger,
        });
        Ok(Self { intake, delays, cors, batchers: Mutex::new(batchers) })
    }

    /// OTLP/gRPC, for a listener of its own. [`crate::http2`] says how to set up its HTTP/2.
    pub fn grpc_router(&self) -> Router {
        otlp::grpc_router(self.intake.clone())
    }

    /// OTLP/HTTP, for a listener of its own.
    pub fn http_router(&self) -> Router {
        otlp::http_router(self.intake.clone(), self.cors.clone())
    }

    /// Zipkin over HTTP and gRPC, for a listener of its own.
    pub fn zipkin_router(&self) -> Router {
        zipkin::router(self.intake.clone(), self.cors.clone())
    }

    /// Jaeger's gRPC, for a listener of its own.
    pub fn jaeger_grpc_router(&self) -> Router {
        jaeger::grpc_router(self.intake.clone())
    }

    /// Jaeger's thrift over HTTP, for a listener of its own.
    pub fn jaeger_http_router(&self) -> Router {
        jaeger::http_router(self.intake.clone())
    }

    /// Jaeger's datagrams, for a port that belongs to the caller.
    pub fn jaeger_agent(&self, protocol: AgentProtocol) -> Agent {
        Agent::new(self.intake.clone(), protocol)
    }

    /// Datadog's agent, for a listener of its own.
    pub fn datadog_router(&self) -> Router {
        datadog::router(self.intake.clone())
    }

    /// SkyWalking's gRPC, for a listener of its own.
    pub fn skywalking_router(&self) -> Router {
        skywalking::router(self.intake.clone())
    }

    /// Messages of Kafka's topics, for a reader that belongs to the caller.
    pub fn messages(&self, encoding: MessageEncoding, tenant: TenantId) -> MessageSink {
        MessageSink::new(self.intake.clone(), encoding, tenant)
    }

    /// The rules by which spans are cleaned; none at first.
    pub fn cleaner(&self) -> &Arc<Cleaner> {
        &self.intake.cleaner
    }

    /// Every limit by its name.
    pub fn limits(&self) -> Vec<(&'static str, Value)> {
        self.intake.limits.list()
    }

    /// How long spans of late took from their end until they could be found.
    pub fn recent_delays(&self) -> Vec<RecentDelay> {
        self.delays.recent()
    }

    /// The same since the start, as a histogram in Prometheus' text format. The recorder of the other metrics has no
    /// place for counts that are made elsewhere.
    pub fn delay_metrics(&self) -> String {
        self.delays.render()
    }

    pub fn load(&self) -> Load {
        let Intake { queue, budget, draining, .. } = &*self.intake;
        Load {
            arriving_requests: queue.arriving(),
            queued_requests: queue.len(),
            inflight_bytes: budget.used(),
            is_draining: draining.load(Ordering::SeqCst),
        }
    }

    /// Refuses new requests, stores the accepted ones, and ends the batchers; stops after `within`.
    ///
    /// Requests whose body is still being read at that time are refused when it has arrived. Responses still have to be
    /// sent: close the listeners' connections gracefully, after this or meanwhile.
    pub async fn shutdown(&self, within: Duration) -> Result<(), DrainError> {
        let deadline = tokio::time::Instant::now() + within;
        let Intake { draining, queue, .. } = &*self.intake;
        draining.store(true, Ordering::SeqCst);
        let arrived = timeout_at(deadline, queue.all_arrived()).await;
        queue.close();
        let batchers = std::mem::take(&mut *self.batchers.lock());
        let stored = timeout_at(deadline, async {
            for ended in batchers {
                // The thread drops its sender when it ends, which is an error here.
                let _ = ended.await;
            }
        })
        .await;
        let left = queue.abandon();
        let refused = left.len();
        for pending in left {
            pending.waiter.settle(&Err(Refusal::Draining));
        }
        if arrived.is_ok() && stored.is_ok() { Ok(()) } else { Err(DrainError { refused }) }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.intake.draining.store(true, Ordering::SeqCst);
        self.intake.queue.close();
    }
}
