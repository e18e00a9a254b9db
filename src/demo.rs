//! `spandrel demo`: flags for the workload of `spandrel-demo`.

use std::error::Error;
use std::time::Duration;

use clap::Args;
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
}

/// Runs the workload until its time is up or the process is asked to stop.
pub(crate) fn run(flags: DemoFlags) -> Result<(), Box<dyn Error>> {
    logs::start(LogFormat::Text)?;
    let DemoFlags { endpoint, tls, rate, duration, seed, key } = flags;
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
