//! A pod: an application and its Envoy, which live and die together.

use std::process::Stdio;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::app::{self, Calls, Counts};
use super::topology::{PodSpec, Topology};
use super::{MeshConfig, MeshError, bootstrap};

/// A pod, which may be dead for a while. Ends its processes when it is dropped.
pub(crate) struct Pod {
    pub(crate) spec: PodSpec,
    counts: Arc<Counts>,
    folder: TempDir,
    running: Option<Running>,
}

struct Running {
    envoy: Child,
    /// The gateway has none.
    app: Option<JoinHandle<()>>,
}

// === impl Pod ===

impl Pod {
    pub(crate) async fn start(
        config: &MeshConfig,
        topology: &Topology,
        spec: &PodSpec,
    ) -> Result<Self, MeshError> {
        let folder = TempDir::with_prefix("spandrel-mesh-")
            .map_err(|source| MeshError::NoFolder { pod: spec.name.clone(), source })?;
        let mut pod = Self { spec: spec.clone(), counts: Arc::default(), folder, running: None };
        pod.revive(config, topology).await?;
        Ok(pod)
    }

    /// Starts the application and its proxy.
    pub(crate) async fn revive(&mut self, config: &MeshConfig, topology: &Topology) -> Result<(), MeshError> {
        let spec = &self.spec;
        let delay = spec.delay(topology.scenario);
        let app = match spec.is_gateway() {
            true => None,
            false => Some(app::start(spec, delay, self.counts.clone()).await?),
        };
        let file = self.folder.path().join("envoy.json");
        let text = bootstrap::of(topology, spec, &config.collector)?.to_string();
        std::fs::write(&file, text)
            .map_err(|source| MeshError::NoFolder { pod: spec.name.clone(), source })?;
        let mut command = Command::new(&config.envoy);
        command.arg("-c").arg(&file).args(["--disable-hot-restart", "--concurrency", "1"]);
        command.args(["--log-level", "error"]).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let envoy =
            command.spawn().map_err(|source| MeshError::NoEnvoy { path: config.envoy.clone(), source })?;
        self.running = Some(Running { envoy, app });
        Ok(())
    }

    /// Ends both at once, as the loss of a machine does: the proxy sends nothing more.
    pub(crate) async fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if let Some(app) = running.app.take() {
            app.abort();
            // Its address is free once the task is gone.
            let _ = app.await;
        }
        if let Err(error) = running.envoy.kill().await {
            tracing::warn!(%error, pod = self.spec.name, "the proxy does not end");
        }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.counts.answered()
    }

    pub(crate) fn calls_of(&self, workload: &str) -> Calls {
        self.counts.calls_of(workload)
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(app) = &self.app {
            app.abort();
        }
    }
}
