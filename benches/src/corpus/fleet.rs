//! The instances of the shop's services, and the resources and scopes that their spans come with.

use fastrand::Rng;

use super::encode::{self, Value};
use super::shop::{SERVICES, Service, Via};

/// Every instance of every service.
pub(super) struct Fleet {
    instances: Vec<Instance>,
    /// Where the instances of each service begin.
    first: Vec<u16>,
    scopes: [Vec<u8>; SCOPES.len()],
}

/// One process of a service.
pub(super) struct Instance {
    /// Its `Resource` message.
    pub(super) resource: Vec<u8>,
    /// Its host name.
    pub(super) host: String,
}

const SCOPES: [&str; 5] = [
    "io.opentelemetry.http",
    "io.opentelemetry.grpc",
    "io.opentelemetry.database",
    "io.opentelemetry.messaging",
    "shop.steps",
];

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let (mut instances, mut first) = (Vec::new(), Vec::new());
        for (service, facts) in SERVICES.iter().enumerate() {
            first.push(instances.len() as u16);
            let replica_set = format!("{:08x}", rng.u32(..));
            for _ in 0..facts.instances {
                instances.push(Instance::new(service, &replica_set, rng));
            }
        }
        first.push(instances.len() as u16);
        Self { instances, first, scopes: SCOPES.map(|name| encode::scope(name, "1.4.2")) }
    }

    pub(super) fn len(&self) -> usize {
        self.instances.len()
    }

    pub(super) fn instance(&self, index: u16) -> &Instance {
        &self.instances[usize::from(index)]
    }

    /// Some instance of a service.
    pub(super) fn pick(&self, service: Service, rng: &mut Rng) -> u16 {
        rng.u16(self.first[service as usize]..self.first[service as usize + 1])
    }

    /// An `InstrumentationScope` message.
    pub(super) fn scope(&self, index: u8) -> &[u8] {
        &self.scopes[usize::from(index)]
    }

    /// The scope that writes the spans of what is reached like this.
    pub(super) fn scope_of(via: &Via) -> u8 {
        match via {
            Via::Http => 0,
            Via::Rpc => 1,
            Via::Database { .. } => 2,
            Via::Queue { .. } => 3,
            Via::Local => 4,
        }
    }
}

// === impl Instance ===

impl Instance {
    fn new(service: usize, replica_set: &str, rng: &mut Rng) -> Self {
        let facts = &SERVICES[service];
        let pod = format!("{}-{replica_set}-{:05x}", facts.name, rng.u32(..) >> 12);
        let id = format!("{:016x}", rng.u64(..));
        let attributes = [
            ("service.namespace", Value::Text("shop")),
            ("service.name", Value::Text(facts.name)),
            ("service.version", Value::Text("2026.4.1")),
            ("service.instance.id", Value::Text(&id)),
            ("deployment.environment.name", Value::Text("production")),
            ("k8s.pod.name", Value::Text(&pod)),
            ("host.name", Value::Text(&pod)),
            ("process.pid", Value::Int(rng.i64(10..4_000))),
            ("telemetry.sdk.language", Value::Text(facts.language)),
            ("telemetry.sdk.name", Value::Text("opentelemetry")),
        ];
        Self { resource: encode::resource(&attributes), host: pod }
    }
}
