//! What one span says of a request in a mesh: what made it, whose it is, where the request went, and how it ended.

use crate::cluster::{Cluster, Side};
use crate::names;
use crate::node::{Node, ProxyKind};
use crate::outcome::Outcome;
use crate::texts::Texts;
use crate::workload::{Workload, host_of, service_of, workload_of_host};

/// What made a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A listener of a proxy: one request, with all its attempts.
    Listener(ProxyKind, Side),
    /// One attempt of a proxy to reach an instance.
    Attempt(Side),
    /// An application, or a library in it.
    App,
}

/// What a span stands for among those of one request, so that the request can be counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The proxy of a callee: an attempt that reached it is one request for it.
    Inbound,
    /// A gateway, of which requests come from outside.
    Gateway,
    /// An attempt of a callee's proxy to reach its application.
    InboundAttempt,
    /// The proxy of a caller, or one attempt of it: it is no request of its own workload.
    Outbound,
    /// A waypoint, which speaks for other workloads.
    Between,
    /// An application.
    App,
}

/// What a span says of a request in a mesh, apart from its place in a trace.
#[derive(Debug, Clone)]
pub struct Facts {
    pub role: Role,
    pub workload: Workload,
    /// The name of the service under which the span is stored.
    pub service: Option<String>,
    /// The version of the workload.
    pub revision: Option<String>,
    /// The pod of the proxy.
    pub pod: Option<String>,
    pub ip: Option<String>,
    pub zone: Option<String>,
    /// Where a caller's listener or attempt sends the request.
    pub callee: Option<Workload>,
    /// The host that a proxy names, as a client wrote it.
    pub host: Option<String>,
    pub subset: Option<String>,
    pub request_bytes: Option<u64>,
    pub response_bytes: Option<u64>,
    pub outcome: Outcome,
    /// The address of the direct peer, without a port.
    pub peer_ip: Option<String>,
    /// The pod that a waypoint's request or attempt went to.
    pub upstream_pod: Option<String>,
    /// The address that an attempt went to, without a port.
    pub upstream_ip: Option<String>,
    /// How many attempts the proxy counts.
    pub attempts: Option<u32>,
}

// === impl Facts ===

impl Facts {
    /// Of a span's name and attributes.
    pub fn of(name: &str, texts: &Texts<'_>) -> Self {
        let node = texts.node_id.and_then(Node::parse);
        let cluster = texts.cluster.and_then(Cluster::parse);
        let workload = workload(texts, node.as_ref());
        let named = service_of(name);
        let is_proxy = texts.component == Some(names::PROXY);
        let side = match &node {
            Some(node) if node.kind == ProxyKind::Waypoint => Side::Caller,
            _ => cluster.as_ref().map_or_else(|| side_by_name(named.as_ref(), &workload), |known| known.side),
        };
        let role = match &node {
            _ if !is_proxy => Role::App,
            Some(node) => Role::Listener(node.kind, side),
            None => Role::Attempt(side),
        };
        let told = party(texts.destination_service, texts.destination_namespace);
        let to = told.or(cluster.as_ref().and_then(|cluster| cluster.host.as_deref()).map(workload_of_host));
        let host = cluster.as_ref().and_then(|cluster| cluster.host.as_deref()).or_else(|| host_of(name));
        let ip = |text: Option<&str>| text.map(without_port).map(str::to_owned);
        Self {
            role,
            revision: texts.canonical_revision.map(str::to_owned),
            pod: node.as_ref().map(|node| node.pod.clone()),
            // A waypoint speaks for its callers, but none of them is at its address.
            ip: node.filter(|node| node.kind != ProxyKind::Waypoint).map(|node| node.ip),
            zone: texts.zone.map(str::to_owned),
            host: host.filter(|_| is_proxy).map(str::to_owned),
            request_bytes: texts.request_size,
            response_bytes: texts.response_size,
            callee: to.or(named).filter(|_| is_proxy && side == Side::Caller),
            workload,
            service: texts.service_name.map(str::to_owned),
            subset: cluster.and_then(|cluster| cluster.subset),
            outcome: outcome(texts),
            peer_ip: ip(texts.peer_address),
            upstream_pod: texts.destination_instance.filter(|_| is_proxy).map(str::to_owned),
            upstream_ip: ip(texts.upstream_address.or(texts.upstream_host)),
            attempts: texts.upstream_attempts,
        }
    }
}

// === impl Role ===

impl Role {
    /// What a span of this role stands for.
    pub fn part(self) -> Part {
        match self {
            Self::Listener(_, Side::Callee) => Part::Inbound,
            Self::Listener(ProxyKind::Gateway, Side::Caller) => Part::Gateway,
            Self::Listener(ProxyKind::Waypoint, _) => Part::Between,
            Self::Attempt(Side::Callee) => Part::InboundAttempt,
            Self::Listener(..) | Self::Attempt(Side::Caller) => Part::Outbound,
            Self::App => Part::App,
        }
    }
}

// === impl Part ===

impl Part {
    /// Whether a span counts as a request where spans for the same request are counted once: what the span above it
    /// stands for, and whether it would count by its kind alone, or has no parent, decide that for an application.
    pub fn is_request(self, above: Option<Self>, by_kind: bool, has_parent: bool) -> bool {
        match self {
            Self::Inbound | Self::Gateway => true,
            Self::InboundAttempt | Self::Between => false,
            // A job that only calls begins its trace with its proxy.
            Self::Outbound => !has_parent,
            Self::App => by_kind && !matches!(above, Some(Self::Inbound | Self::InboundAttempt)),
        }
    }

    /// The name in columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Gateway => "gateway",
            Self::InboundAttempt => "inbound-attempt",
            Self::Outbound => "outbound",
            Self::Between => "between",
            Self::App => "app",
        }
    }

    /// The part of this name; every other is an application.
    pub fn named(name: &str) -> Self {
        let proxies = [Self::Inbound, Self::Gateway, Self::InboundAttempt, Self::Outbound, Self::Between];
        let known = proxies.into_iter().find(|part| part.name() == name);
        known.unwrap_or(Self::App)
    }
}

// === impl Facts, of where a request went ===
impl Facts {
    /// The instance that an attempt went to, as its maker tells it: its pod, else its address.
    pub fn upstream(&self) -> Option<&str> {
        self.upstream_pod.as_deref().or(self.upstream_ip.as_deref())
    }
}

fn workload(texts: &Texts<'_>, node: Option<&Node>) -> Workload {
    if node.is_none_or(|node| node.kind == ProxyKind::Waypoint)
        && let Some(source) = party(texts.source_service, texts.source_namespace)
    {
        return source;
    }
    let namespace = texts.namespace.or(node.map(|node| &*node.namespace)).or(texts.service_namespace);
    let namespace = namespace.unwrap_or_default();
    let name = texts.canonical_service.unwrap_or_else(|| {
        let name = texts.service_name.unwrap_or_default();
        name.strip_suffix(namespace).and_then(|name| name.strip_suffix('.')).unwrap_or(name)
    });
    Workload { name: name.to_owned(), namespace: namespace.to_owned() }
}

/// One of the sides that a waypoint tells.
fn party(name: Option<&str>, namespace: Option<&str>) -> Option<Workload> {
    let name = name.filter(|name| *name != names::UNKNOWN)?.to_owned();
    Some(Workload { name, namespace: namespace.unwrap_or_default().to_owned() })
}

fn outcome(texts: &Texts<'_>) -> Outcome {
    let is_bad_code = texts.code.is_some_and(|code| code == 0 || code >= 500);
    Outcome {
        code: texts.code,
        grpc_code: texts.grpc_code,
        flags: texts.flags.unwrap_or(names::NO_FLAGS).to_owned(),
        is_error: texts.has_error || is_bad_code || texts.grpc_code.is_some_and(|code| code != 0),
    }
}

/// A proxy that names no cluster has its own service in the name of its span if it is the callee's.
fn side_by_name(named: Option<&Workload>, own: &Workload) -> Side {
    if named.is_some_and(|named| named == own) { Side::Callee } else { Side::Caller }
}

fn without_port(address: &str) -> &str {
    let address = address.strip_prefix(names::TUNNEL).unwrap_or(address);
    match address.rsplit_once(':') {
        // An IPv6 address without brackets has no port.
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => {
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_ports() {
        assert_eq!(without_port("10.0.0.1:8080"), "10.0.0.1");
        assert_eq!(without_port("10.0.0.1"), "10.0.0.1");
        assert_eq!(without_port("[fd00::1]:8080"), "fd00::1");
        assert_eq!(without_port("fd00::1"), "fd00::1");
        assert_eq!(without_port("envoy://connect_originate/10.0.0.1:8080"), "10.0.0.1");
    }
}
