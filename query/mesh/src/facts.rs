//! What one span says of a request in a mesh: what made it, whose it is, where the request went, and how it ended.

use crate::cluster::{Cluster, Side};
use crate::names;
use crate::node::{Node, ProxyKind};
use crate::outcome::Outcome;
use crate::texts::Texts;
use crate::workload::{Workload, service_of, workload_of_host};

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

/// What a span says of a request in a mesh, apart from its place in a trace.
#[derive(Debug, Clone)]
pub struct Facts {
    pub role: Role,
    pub workload: Workload,
    /// The version of the workload.
    pub revision: Option<String>,
    /// The pod of the proxy.
    pub pod: Option<String>,
    pub ip: Option<String>,
    pub zone: Option<String>,
    /// Where a caller's listener or attempt sends the request.
    pub callee: Option<Workload>,
    pub subset: Option<String>,
    pub outcome: Outcome,
    /// The address of the direct peer, without a port.
    pub peer_ip: Option<String>,
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
        let side =
            cluster.as_ref().map_or_else(|| side_by_name(named.as_ref(), &workload), |known| known.side);
        let role = match &node {
            _ if !is_proxy => Role::App,
            Some(node) => Role::Listener(node.kind, side),
            None => Role::Attempt(side),
        };
        let to = cluster.as_ref().and_then(|cluster| cluster.host.as_deref()).map(workload_of_host);
        let ip = |text: Option<&str>| text.map(without_port).map(str::to_owned);
        Self {
            role,
            revision: texts.canonical_revision.map(str::to_owned),
            pod: node.as_ref().map(|node| node.pod.clone()),
            ip: node.map(|node| node.ip),
            zone: texts.zone.map(str::to_owned),
            callee: to.or(named).filter(|_| is_proxy && side == Side::Caller),
            workload,
            subset: cluster.and_then(|cluster| cluster.subset),
            outcome: outcome(texts),
            peer_ip: ip(texts.peer_address),
            upstream_ip: ip(texts.upstream_address.or(texts.upstream_host)),
            attempts: texts.upstream_attempts,
        }
    }
}

fn workload(texts: &Texts<'_>, node: Option<&Node>) -> Workload {
    let namespace = texts.namespace.or(node.map(|node| &*node.namespace)).or(texts.service_namespace);
    let namespace = namespace.unwrap_or_default();
    let name = texts.canonical_service.unwrap_or_else(|| {
        let name = texts.service_name.unwrap_or_default();
        name.strip_suffix(namespace).and_then(|name| name.strip_suffix('.')).unwrap_or(name)
    });
    Workload { name: name.to_owned(), namespace: namespace.to_owned() }
}

fn outcome(texts: &Texts<'_>) -> Outcome {
    let is_bad_code = texts.code.is_some_and(|code| code == 0 || code >= 500);
    Outcome {
        code: texts.code,
        flags: texts.flags.unwrap_or(names::NO_FLAGS).to_owned(),
        is_error: texts.has_error || is_bad_code || texts.grpc_code.is_some_and(|code| code != 0),
    }
}

/// A proxy that names no cluster has its own service in the name of its span if it is the callee's.
fn side_by_name(named: Option<&Workload>, own: &Workload) -> Side {
    if named.is_some_and(|named| named == own) { Side::Callee } else { Side::Caller }
}

fn without_port(address: &str) -> &str {
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
    }
}
