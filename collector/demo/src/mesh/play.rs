//! Makes instances of the mesh die and come back, where the scenario wants that.

use super::MeshConfig;
use super::pod::Pod;
use super::scenario::Scenario;
use super::topology::Topology;

/// Ends and starts an instance again and again, if the scenario wants that. Never returns otherwise.
pub(crate) async fn play(config: &MeshConfig, topology: &Topology, pods: &mut [Pod], deaths: &mut u64) {
    if !matches!(config.scenario, Scenario::InstanceDies | Scenario::ZoneFailover) {
        return std::future::pending().await;
    }
    let Some(victim) = pods.iter_mut().find(|pod| pod.spec.is_victim(config.scenario)) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(config.turn).await;
        victim.kill().await;
        *deaths += 1;
        tracing::info!(pod = victim.spec.name, "the instance has died");
        tokio::time::sleep(config.turn).await;
        match victim.revive(config, topology).await {
            Ok(()) => tracing::info!(pod = victim.spec.name, "the instance is back"),
            Err(error) => tracing::warn!(%error, "the instance does not come back"),
        }
    }
}
