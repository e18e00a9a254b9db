//! What goes wrong in the mesh, and when.

use std::time::Duration;

use super::MeshConfig;
use super::pod::Pod;
use super::topology::{PodSpec, Topology};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing.
    Steady,
    /// An instance of payment dies with its proxy and comes back, again and again.
    InstanceDies,
    /// An instance of payment takes longer.
    SlowInstance,
    /// One in five payments goes to version v2.
    Canary,
    /// Checkout may have one request to payment at a time.
    CircuitBreaker,
    /// Payments stay in the zone of checkout until its instance there dies.
    ZoneFailover,
    /// Some payments are delayed, and some are aborted.
    FaultInjection,
}

/// What a slow instance takes longer.
const SLOW: Duration = Duration::from_millis(150);

// === impl Scenario ===

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Steady,
        Self::InstanceDies,
        Self::SlowInstance,
        Self::Canary,
        Self::CircuitBreaker,
        Self::ZoneFailover,
        Self::FaultInjection,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::InstanceDies => "instance-dies",
            Self::SlowInstance => "slow-instance",
            Self::Canary => "canary",
            Self::CircuitBreaker => "circuit-breaker",
            Self::ZoneFailover => "zone-failover",
            Self::FaultInjection => "fault-injection",
        }
    }

    /// What the mesh page will show.
    pub(crate) fn what_to_see(self) -> &'static str {
        match self {
            Self::Steady => "payments are shared out by turns",
            Self::InstanceDies => {
                "an instance of payment dies and comes back by turns; payments are tried again at the other one"
            }
            Self::SlowInstance => {
                "one instance of payment takes 150 ms longer, and gets its equal share all the same"
            }
            Self::Canary => "one in five payments goes to the subset v2",
            Self::CircuitBreaker => "payments beyond one at a time are refused with the flag UO",
            Self::ZoneFailover => {
                "payments stay in eu-1a until the instance there dies, and go to eu-1b until it is back"
            }
            Self::FaultInjection => {
                "every tenth payment is aborted (FI), every tenth is delayed by 200 ms (DI)"
            }
        }
    }

    /// How many requests customers have under way at once.
    pub(crate) fn concurrency(self) -> usize {
        if self == Self::CircuitBreaker { 16 } else { 4 }
    }

    /// How much longer an application takes for each request.
    pub(crate) fn delay_of(self, pod: &PodSpec) -> Duration {
        let is_slow = self == Self::SlowInstance && self.is_victim(pod);
        if is_slow { SLOW } else { Duration::ZERO }
    }

    /// The instance with which something is wrong.
    fn is_victim(self, pod: &PodSpec) -> bool {
        let zone = if self == Self::ZoneFailover { "eu-1a" } else { "eu-1b" };
        pod.workload == "payment" && pod.version == "v1" && pod.zone == zone
    }
}

/// Ends and starts an instance again and again, if the scenario wants that. Never returns otherwise.
pub(crate) async fn play(config: &MeshConfig, topology: &Topology, pods: &mut [Pod], deaths: &mut u64) {
    if !matches!(config.scenario, Scenario::InstanceDies | Scenario::ZoneFailover) {
        return std::future::pending().await;
    }
    let Some(victim) = pods.iter_mut().find(|pod| config.scenario.is_victim(&pod.spec)) else {
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
