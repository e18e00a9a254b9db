//! The shop compiled for walking: every operation and every client side of a call with the constant part of its spans,
//! and every instance with its resource.

use std::collections::HashMap;

use fastrand::Rng;
use spandrel_proto::otlp::wire::{put_bytes, put_uint};

use super::encode::{self, Kind, Value};
use super::operations::{Call, ENTRIES, EXPORT, EXPORT_SHARE, Operation, REPRICE, REPRICE_CHUNK, Via};
use super::recipe::{self, Recipe};
use super::services::{SERVICES, Service};

pub(super) struct Shop {
    sides: Vec<Side>,
    /// The operations of shoppers with cumulative weights, each by the side that handles it first.
    entries: Vec<(f64, SideId)>,
    pub(super) export: SideId,
    pub(super) reprice: SideId,
    pub(super) reprice_chunk: SideId,
    /// The `Resource` message of each instance.
    resources: Vec<Vec<u8>>,
    /// The number of the first instance of each service.
    first_instance: Vec<u16>,
    scopes: Vec<Vec<u8>>,
}

/// Index of a [`Side`].
pub(super) type SideId = usize;

/// One kind of span: an operation on the side of its service, or of one of its callers.
pub(super) struct Side {
    pub(super) service: Service,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) scope: u16,
    /// Name and kind, encoded.
    pub(super) head: Vec<u8>,
    pub(super) recipe: Recipe,
    pub(super) event: &'static str,
    pub(super) nanos: f64,
    pub(super) failure: f64,
    pub(super) calls: Vec<SideCall>,
    /// A checkout leads through it, so the trace has an order.
    pub(super) has_order: bool,
}

/// A [`Call`], with both of its sides.
#[derive(Clone, Copy)]
pub(super) struct SideCall {
    pub(super) target: SideId,
    /// The client's side, unless the service is the same.
    pub(super) client: Option<SideId>,
    pub(super) chance: f64,
    pub(super) times: (u32, u32),
    pub(super) parallel: bool,
}

/// Collects all operations by following the calls.
#[derive(Default)]
struct Compiler {
    sides: Vec<Side>,
    scopes: Vec<(String, String)>,
    /// By address: operations are statics.
    servers: HashMap<*const Operation, SideId>,
    clients: HashMap<(usize, *const Operation), SideId>,
}

// === impl Shop ===

impl Shop {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut compiler = Compiler::default();
        let mut sum = 0.0;
        let mut entries = Vec::new();
        for (share, operation) in &ENTRIES {
            sum += share;
            entries.push((sum, compiler.ingress(operation)));
        }
        let export = compiler.server(&EXPORT);
        entries.push((sum + EXPORT_SHARE, export));
        let reprice = compiler.server(&REPRICE);
        let reprice_chunk = compiler.server(&REPRICE_CHUNK);
        let (resources, first_instance) = instances(rng);
        Self {
            entries,
            export,
            reprice,
            reprice_chunk,
            resources,
            first_instance,
            scopes: compiler.scopes.iter().map(|(name, version)| encode::scope(name, version)).collect(),
            sides: compiler.sides,
        }
    }

    pub(super) fn sides(&self) -> &[Side] {
        &self.sides
    }

    pub(super) fn side(&self, id: SideId) -> &Side {
        &self.sides[id]
    }

    /// The operation of the next shopper.
    pub(super) fn entry(&self, rng: &mut Rng) -> SideId {
        let total = self.entries.last().map_or(0.0, |(sum, _)| *sum);
        let place = rng.f64() * total;
        self.entries[self.entries.partition_point(|(sum, _)| *sum < place)].1
    }

    /// Some instance of a service.
    pub(super) fn instance(&self, service: Service, rng: &mut Rng) -> u16 {
        rng.u16(self.first_instance[service as usize]..self.first_instance[service as usize + 1])
    }

    pub(super) fn resource(&self, instance: u16) -> &[u8] {
        &self.resources[usize::from(instance)]
    }

    pub(super) fn scope(&self, scope: u16) -> &[u8] {
        &self.scopes[usize::from(scope)]
    }
}

// === impl Compiler ===

impl Compiler {
    /// A request from outside, which the edge forwards.
    fn ingress(&mut self, target: &'static Operation) -> SideId {
        let call = Call { operation: target, chance: 1.0, times: (1, 1), parallel: false };
        let call = self.call(Service::Edge, &call);
        let scope = self.scope_of(Service::Edge, &target.via);
        self.add(Side {
            service: Service::Edge,
            name: "ingress".to_owned(),
            kind: Kind::Server,
            scope,
            head: head("ingress", Kind::Server),
            recipe: Recipe::of_ingress(target),
            event: "message",
            nanos: 300_000.0,
            failure: 0.0135,
            has_order: self.sides[call.target].has_order,
            calls: vec![call],
        })
    }

    fn server(&mut self, operation: &'static Operation) -> SideId {
        if let Some(known) = self.servers.get(&std::ptr::from_ref(operation)) {
            return *known;
        }
        let calls: Vec<_> = operation.calls.iter().map(|call| self.call(operation.service, call)).collect();
        let (kind, event) = match operation.via {
            Via::Http { .. } | Via::Rpc => (Kind::Server, "message"),
            Via::Message { .. } => (Kind::Consumer, "message.deserialized"),
            Via::Statement { .. } => (Kind::Client, "db.rows.fetched"),
            Via::Cache { .. } => (Kind::Client, "cache.miss"),
            Via::Outside { .. } => (Kind::Client, "message"),
            Via::Step { .. } => (Kind::Internal, "log"),
        };
        let places_order = operation.name.contains("checkout");
        let scope = self.scope_of(operation.service, &operation.via);
        let id = self.add(Side {
            service: operation.service,
            name: operation.name.to_owned(),
            kind,
            scope,
            head: head(operation.name, kind),
            recipe: Recipe::of(operation),
            event,
            nanos: f64::from(operation.micros) * 1_000.0,
            failure: operation.failure,
            has_order: places_order || calls.iter().any(|call| self.sides[call.target].has_order),
            calls,
        });
        self.servers.insert(operation, id);
        id
    }

    fn call(&mut self, caller: Service, call: &Call) -> SideCall {
        let target = self.server(call.operation);
        let client = self.client(caller, call.operation);
        SideCall { target, client, chance: call.chance, times: call.times, parallel: call.parallel }
    }

    /// The caller's side, if there is one: statements and steps have a span of the caller alone.
    fn client(&mut self, caller: Service, target: &'static Operation) -> Option<SideId> {
        let (kind, name) = match target.via {
            Via::Http { .. } if caller == Service::Edge => {
                (Kind::Client, format!("router {} egress", target.service.facts().name))
            }
            Via::Http { .. } => (Kind::Client, format!("HTTP {}", recipe::method(target.name))),
            Via::Rpc => (Kind::Client, target.name.to_owned()),
            Via::Message { topic, .. } => (Kind::Producer, format!("{topic} publish")),
            Via::Statement { .. } | Via::Cache { .. } | Via::Outside { .. } | Via::Step { .. } => {
                return None;
            }
        };
        let key = (caller as usize, std::ptr::from_ref(target));
        if let Some(known) = self.clients.get(&key) {
            return Some(*known);
        }
        let scope = match target.via {
            Via::Http { .. } if caller != Service::Edge => self.client_scope(caller, "http.client"),
            _ => self.scope_of(caller, &Via::Rpc),
        };
        let id = self.add(Side {
            service: caller,
            head: head(&name, kind),
            name,
            kind,
            scope,
            recipe: Recipe::of_call(caller, target),
            event: "message",
            nanos: 0.0,
            failure: 0.0,
            calls: Vec::new(),
            has_order: false,
        });
        self.clients.insert(key, id);
        Some(id)
    }

    fn add(&mut self, side: Side) -> SideId {
        self.sides.push(side);
        self.sides.len() - 1
    }

    fn scope_of(&mut self, service: Service, via: &Via) -> u16 {
        let facts = service.facts();
        match via {
            Via::Statement { .. } => self.client_scope(service, "db.instrumentation"),
            Via::Cache { .. } => self.client_scope(service, "redis.instrumentation"),
            Via::Outside { .. } => self.client_scope(service, "http.client"),
            Via::Step { .. } => self.scope(&format!("{}.app", facts.name), "1.0.0"),
            Via::Http { .. } | Via::Rpc | Via::Message { .. } => self.scope(facts.scope.0, facts.scope.1),
        }
    }

    fn client_scope(&mut self, service: Service, what: &str) -> u16 {
        let facts = service.facts();
        self.scope(&format!("{}.{what}", facts.language.name()), facts.scope.1)
    }

    fn scope(&mut self, name: &str, version: &str) -> u16 {
        let scope = (name.to_owned(), version.to_owned());
        let known = self.scopes.iter().position(|other| *other == scope);
        let at = known.unwrap_or_else(|| {
            self.scopes.push(scope);
            self.scopes.len() - 1
        });
        at as u16
    }
}

/// `Span.name` and `Span.kind`.
fn head(name: &str, kind: Kind) -> Vec<u8> {
    let mut head = Vec::new();
    put_bytes(&mut head, 5, name.as_bytes());
    put_uint(&mut head, 6, kind as u64);
    head
}

fn instances(rng: &mut Rng) -> (Vec<Vec<u8>>, Vec<u16>) {
    let (mut resources, mut first) = (Vec::new(), vec![0]);
    for facts in &SERVICES {
        let version = format!("{}.{}.{}", rng.u8(1..5), rng.u8(0..31), rng.u8(0..10));
        let replica_set = format!("{:010x}", rng.u64(..) >> 24);
        for _ in 0..facts.instances {
            let pod = format!("{}-{replica_set}-{:05x}", facts.name, rng.u32(..) >> 12);
            let node = format!("ip-10-2-{}-{}.eu-west-1.compute.internal", rng.u8(0..8), rng.u8(4..251));
            resources.push(encode::resource(&[
                ("service.name", Value::Text(facts.name)),
                ("service.version", Value::Text(&version)),
                ("service.instance.id", Value::Text(&uuid(rng))),
                ("telemetry.sdk.language", Value::Text(facts.language.name())),
                ("deployment.environment.name", Value::Text("production")),
                ("k8s.namespace.name", Value::Text(facts.namespace)),
                ("k8s.pod.name", Value::Text(&pod)),
                ("k8s.node.name", Value::Text(&node)),
            ]));
        }
        first.push(resources.len() as u16);
    }
    (resources, first)
}

fn uuid(rng: &mut Rng) -> String {
    let (a, b) = (rng.u64(..), rng.u64(..));
    let (high, mid, low) = (a >> 32, a >> 16 & 0xffff, a & 0xfff);
    format!("{high:08x}-{mid:04x}-4{low:03x}-a{:03x}-{:012x}", b >> 52, b & 0xffff_ffff_ffff)
}
