//! `spandrel demo`: a live e-commerce workload, sent over OTLP/gRPC by the real OpenTelemetry SDK.
//!
//! A dozen services in two dozen instances (gateway, frontend, catalogue, checkout, payment, ...), each with a tracer
//! provider, a resource and a batch exporter of its own, serve simulated customers: pages with parallel calls, N+1
//! queries, retries at another instance, late recommendations, searches that the customer does not wait for, orders
//! whose messages are consumed later, and a batch job. Once every two minutes a payment instance fails for 20 seconds,
//! and the database is slow for a while.
//!
//! The demo first sends the last minute at once, so that the UI has data to show. After that every span is sent when it
//! ends. A seed repeats all decisions; IDs and times still differ.
//!
//! [`mesh`] is another demo: a shop in a service mesh, whose spans are those of real Envoys.
//!
//! The demo is made for looking at traces, not for load tests.

mod export;
mod failure;
mod fleet;
mod incidents;
mod live;
pub mod mesh;
mod message;
mod protocol;
mod rng;
mod scenario;
mod schedule;
mod services;
mod shopper;
mod stage;
#[cfg(test)]
mod tests;
mod topology;

pub use export::Authorization;
use export::Destination;
use opentelemetry_otlp::ExporterBuildError;
use std::time::Duration;

/// How long `run` waits for a server at the endpoint.
const PATIENCE: Duration = Duration::from_secs(10);
/// At higher rates the SDK's queue of one process would overflow.
const HIGHEST_RATE: f64 = 200.0;

/// Not `Debug`, because it may hold a private key.
#[derive(Clone)]
pub struct DemoConfig {
    /// The OTLP/gRPC endpoint, as `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoint: String,
    /// Authorities of an encrypted endpoint, as PEM; without it, those of the operating system.
    pub ca: Option<Vec<u8>>,
    /// A client certificate and its key for it, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Visits (each a trace or a few) per second on average: above 0, at most 200.
    pub rate: f64,
    /// When to stop; without it, the workload flows until it is shut down.
    pub duration: Option<Duration>,
    /// Repeats the decisions of another run with the same seed.
    pub seed: Option<u64>,
    /// Sent with each export, to a server that asks who is there.
    pub authorization: Option<Authorization>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DemoReport {
    /// Traces that were started.
    pub traces: u64,
    /// Spans that were started.
    pub spans: u64,
    /// Spans that the server accepted. It may have refused some of them one by one (OTLP's partial success), which the
    /// SDK only logs, as a warning.
    pub exported: u64,
    /// Spans in exports that failed.
    pub failed: u64,
    /// Spans that never reached an exporter, because a queue was full or the last flush took too long.
    pub dropped: u64,
    /// Exports that failed, after retries.
    pub failed_exports: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The rate is not a number, not above 0, or too high.
    #[error("a rate of {0} traces per second is not possible; give one above 0 and up to {HIGHEST_RATE}")]
    InvalidRate(f64),
    /// The endpoint is not a URL that the demo can send to.
    #[error(
        "`{endpoint}` is not an endpoint: {reason}; give the server's OTLP/gRPC address as http://HOST:PORT or https://HOST:PORT"
    )]
    InvalidEndpoint {
        /// The endpoint as it was given.
        endpoint: String,
        /// The mistake in it.
        reason: String,
    },
    /// No server has responded in time.
    #[error(
        "no OTLP/gRPC server answered at {endpoint} within {waited:?} ({reason}); start one with \
         `spandrel serve`, and give the HOST:PORT of its `listening otlp-grpc` line if it is not the default"
    )]
    NothingListens {
        /// The address of the attempts.
        endpoint: String,
        /// The time of all attempts.
        waited: Duration,
        /// The error of the last attempt.
        reason: String,
    },
    /// The key cannot be sent.
    #[error("the key has characters that a header cannot carry")]
    InvalidKey,
    /// The SDK refused to build an exporter.
    #[error("no exporter could be built; check the OTEL_EXPORTER_OTLP_* variables of the environment")]
    Exporter(#[from] ExporterBuildError),
}

impl Default for DemoConfig {
    fn default() -> Self {
        let endpoint = "http://127.0.0.1:4317".to_owned();
        Self {
            endpoint,
            ca: None,
            identity: None,
            rate: 10.0,
            duration: None,
            seed: None,
            authorization: None,
        }
    }
}

/// Sends the workload until the duration is over or `shutdown` completes, then flushes.
///
/// Waits up to ten seconds for a server at the endpoint. After that, failed exports are counted and logged but do not
/// end the run: the server may come back. Needs a Tokio runtime.
pub async fn run(config: DemoConfig, shutdown: impl Future<Output = ()>) -> Result<DemoReport, DemoError> {
    run_with_patience(config, PATIENCE, shutdown).await
}

async fn run_with_patience(
    config: DemoConfig,
    patience: Duration,
    shutdown: impl Future<Output = ()>,
) -> Result<DemoReport, DemoError> {
    if !(config.rate > 0.0 && config.rate <= HIGHEST_RATE) {
        return Err(DemoError::InvalidRate(config.rate));
    }
    let mut shutdown = std::pin::pin!(shutdown);
    let destination = tokio::select! {
        () = &mut shutdown => return Ok(DemoReport::default()),
        destination = Destination::connect(&config, patience) => destination?,
    };
    tracing::info!(endpoint = config.endpoint, rate = config.rate, "the demo has begun");
    live::flow(&config, destination, shutdown).await
}
