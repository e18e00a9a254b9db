//! Which pods there are, where they run and whom they call.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::scenario::Scenario;

/// The pods of a mesh.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pods: Vec<PodSpec>,
    pub(crate) scenario: Scenario,
}

/// One pod.
#[derive(Debug, Clone)]
pub(crate) struct PodSpec {
    pub(crate) name: String,
    pub(crate) workload: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) version: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) ip: Ipv4Addr,
    /// The workloads that it calls for each request, one after the other.
    pub(crate) calls: &'static [&'static str],
}

/// The port at which a pod is called, by its proxy or directly.
pub(crate) const SERVICE_PORT: u16 = 8_080;
/// The port of the application, which only its own proxy calls.
pub(crate) const APP_PORT: u16 = 18_080;
/// The port at which an application reaches others through its proxy.
pub(crate) const OUTBOUND_PORT: u16 = 15_001;

/// What a slow instance takes longer.
const SLOW: Duration = Duration::from_millis(150);

const GATEWAY: &str = "istio-ingressgateway";
/// Pods besides the gateway: workload, version, the tail of the pod's name, zone, and whom it calls.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);
const PODS: [Row; 7] = [
    ("frontend", "v1", "6c5f4-x2w8k", "eu-1a", &["cart", "checkout"]),
    ("cart", "v1", "5d9b7-q7zlm", "eu-1a", &[]),
    ("checkout", "v1", "7f8d6-h4n2p", "eu-1a", &["inventory", "payment"]),
    ("inventory", "v1", "84c6d-t9vbr", "eu-1b", &[]),
    ("payment", "v1", "59f7c-a6k3d", "eu-1a", &[]),
    ("payment", "v1", "59f7c-b8m5f", "eu-1b", &[]),
    ("payment", "v2", "6b4d8-c2r9s", "eu-1a", &[]),
];

// === impl Topology ===

impl Topology {
    /// Addresses of a block that depends on the process, so that two meshes on a machine do not meet.
    pub(crate) fn new(scenario: Scenario) -> Self {
        let process = std::process::id();
        let ip = |host: u8| Ipv4Addr::new(127, 64 + (process >> 8) as u8 % 128, process as u8, host);
        let gateway = PodSpec {
            name: format!("{GATEWAY}-7b9d5-g5t4w"),
            workload: GATEWAY,
            namespace: "istio-system",
            version: "v1",
            zone: "eu-1a",
            ip: ip(10),
            calls: &["frontend"],
        };
        let row = |(at, (workload, version, tail, zone, calls)): (u8, Row)| PodSpec {
            name: format!("{workload}-{version}-{tail}"),
            workload,
            namespace: "shop",
            version,
            zone,
            ip: ip(20 + at),
            calls,
        };
        let wanted = |(_, (_, version, ..)): &(u8, Row)| *version == "v1" || scenario == Scenario::Canary;
        let others = (0u8..).zip(PODS).filter(wanted).map(row);
        Self { pods: std::iter::once(gateway).chain(others).collect(), scenario }
    }

    pub(crate) fn pods(&self) -> &[PodSpec] {
        &self.pods
    }

    pub(crate) fn of(&self, workload: &str) -> impl Iterator<Item = &PodSpec> {
        self.pods.iter().filter(move |pod| pod.workload == workload)
    }

    /// `HOST:PORT` of the gateway.
    pub(crate) fn gateway(&self) -> String {
        format!("{}:{SERVICE_PORT}", self.pods[0].ip)
    }
}

// === impl PodSpec ===

impl PodSpec {
    pub(crate) fn is_gateway(&self) -> bool {
        self.workload == GATEWAY
    }

    /// Whether something is wrong with this instance.
    pub(crate) fn is_victim(&self, scenario: Scenario) -> bool {
        let zone = if scenario == Scenario::ZoneFailover { "eu-1a" } else { "eu-1b" };
        self.workload == "payment" && self.version == "v1" && self.zone == zone
    }

    /// How much longer its application takes for each request.
    pub(crate) fn delay(&self, scenario: Scenario) -> Duration {
        let is_slow = scenario == Scenario::SlowInstance && self.is_victim(scenario);
        if is_slow { SLOW } else { Duration::ZERO }
    }

    /// `kind~IP~POD.NAMESPACE~DOMAIN`, as Istio names a proxy.
    pub(crate) fn node_id(&self) -> String {
        let kind = if self.is_gateway() { "router" } else { "sidecar" };
        let Self { ip, name, namespace, .. } = self;
        format!("{kind}~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local")
    }
}

/// The host name of a workload of the shop.
pub(crate) fn host(workload: &str) -> String {
    format!("{workload}.shop.svc.cluster.local")
}
