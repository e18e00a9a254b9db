//! Reads one span: what made it, whose it is, and how the request ended that it describes.

use spandrel_proto::SpanId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, Attributes, ResourceView, SpanView};

use crate::cluster::{Cluster, Side};
use crate::names::{self, keys};
use crate::node::{Node, ProxyKind};

/// A service in a namespace, however its spans write its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Workload {
    pub name: String,
    /// Empty where it is not known.
    pub namespace: String,
}

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

/// What a span says about a request in a mesh.
#[derive(Debug, Clone)]
pub struct MeshSpan {
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub start: u64,
    pub duration: u64,
    pub role: Role,
    pub workload: Workload,
    /// The version of the workload.
    pub revision: Option<String>,
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

/// How a request ended for the proxy that reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The status; 0 where no response began.
    pub code: Option<u16>,
    /// Response flags as they were sent; `-` for none.
    pub flags: String,
    pub is_error: bool,
}

/// A request falls in one of these classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Ok,
    /// A status of 400 to 499.
    ClientError,
    /// Aborted by an injected fault.
    Injected,
    /// The caller left before the response was complete.
    Abandoned,
    Error,
}

/// The texts of a span or resource that matter here.
#[derive(Default)]
struct Texts<'a> {
    component: Option<&'a str>,
    node_id: Option<&'a str>,
    zone: Option<&'a str>,
    cluster: Option<&'a str>,
    upstream_address: Option<&'a str>,
    upstream_host: Option<&'a str>,
    upstream_attempts: Option<u32>,
    peer_address: Option<&'a str>,
    code: Option<u16>,
    grpc_code: Option<u16>,
    flags: Option<&'a str>,
    has_error: bool,
    canonical_service: Option<&'a str>,
    canonical_revision: Option<&'a str>,
    namespace: Option<&'a str>,
    service_name: Option<&'a str>,
    service_namespace: Option<&'a str>,
}

/// The part of a host name that says that a service of the cluster follows: `NAME.NAMESPACE.svc...`.
const SERVICE_LABEL: &str = "svc";
/// The prefix of the names of spans without a route.
const NO_ROUTE: &str = "egress ";

// === impl MeshSpan ===

impl MeshSpan {
    /// Reads a `Span` message and its resource.
    pub fn read(resource: &[u8], span: &[u8]) -> Result<Self, WireError> {
        let view = SpanView::parse(span)?;
        let mut texts = Texts::default();
        texts.see(ResourceView::parse(resource)?.attributes())?;
        texts.see(view.attributes())?;
        Ok(Self::of(&view, &texts))
    }

    fn of(view: &SpanView<'_>, texts: &Texts<'_>) -> Self {
        let node = texts.node_id.and_then(Node::parse);
        let cluster = texts.cluster.and_then(Cluster::parse);
        let workload = texts.workload(node.as_ref());
        let named = service_of(view.name);
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
            id: SpanId::from_wire(view.span_id).unwrap_or_default(),
            parent: SpanId::from_wire(view.parent_span_id),
            start: view.start,
            duration: view.duration(),
            role,
            revision: texts.canonical_revision.map(str::to_owned),
            pod: node.as_ref().map(|node| node.pod.clone()),
            ip: node.map(|node| node.ip),
            zone: texts.zone.map(str::to_owned),
            callee: to.or(named).filter(|_| is_proxy && side == Side::Caller),
            workload,
            subset: cluster.and_then(|cluster| cluster.subset),
            outcome: texts.outcome(),
            peer_ip: ip(texts.peer_address),
            upstream_ip: ip(texts.upstream_address.or(texts.upstream_host)),
            attempts: texts.upstream_attempts,
        }
    }
}

// === impl Texts ===

impl<'a> Texts<'a> {
    /// Takes what it knows of some attributes. Those of a span come after those of its resource, and win.
    fn see(&mut self, attributes: Attributes<'a>) -> Result<(), WireError> {
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.value {
                Some(AnyValue::String(text)) => self.text(attribute.key, text),
                // Newer names are sent as numbers and booleans.
                Some(AnyValue::Int(number)) => self.number(attribute.key, number),
                Some(AnyValue::Bool(value)) if attribute.key == keys::ERROR => self.has_error = value,
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&mut self, key: &str, text: &'a str) {
        let slot = match key {
            keys::COMPONENT => &mut self.component,
            keys::NODE_ID => &mut self.node_id,
            keys::ZONE => &mut self.zone,
            keys::UPSTREAM_CLUSTER => &mut self.cluster,
            keys::UPSTREAM_ADDRESS => &mut self.upstream_address,
            keys::UPSTREAM_HOST => &mut self.upstream_host,
            keys::PEER_ADDRESS => &mut self.peer_address,
            keys::RESPONSE_FLAGS => &mut self.flags,
            keys::CANONICAL_SERVICE => &mut self.canonical_service,
            keys::CANONICAL_REVISION => &mut self.canonical_revision,
            keys::NAMESPACE => &mut self.namespace,
            keys::SERVICE_NAME => &mut self.service_name,
            keys::SERVICE_NAMESPACE => &mut self.service_namespace,
            keys::ERROR => {
                self.has_error = text == "true";
                return;
            }
            _ => {
                if let Ok(number) = text.parse() {
                    self.number(key, number);
                }
                return;
            }
        };
        *slot = Some(text).filter(|text| !text.is_empty());
    }

    fn number(&mut self, key: &str, number: i64) {
        match key {
            keys::STATUS_CODE | keys::RESPONSE_STATUS_CODE => self.code = u16::try_from(number).ok(),
            keys::GRPC_STATUS_CODE => self.grpc_code = u16::try_from(number).ok(),
            keys::UPSTREAM_ATTEMPTS => self.upstream_attempts = u32::try_from(number).ok(),
            _ => {}
        }
    }

    fn workload(&self, node: Option<&Node>) -> Workload {
        let namespace = self.namespace.or(node.map(|node| &*node.namespace)).or(self.service_namespace);
        let namespace = namespace.unwrap_or_default();
        let name = self.canonical_service.unwrap_or_else(|| {
            let name = self.service_name.unwrap_or_default();
            name.strip_suffix(namespace).and_then(|name| name.strip_suffix('.')).unwrap_or(name)
        });
        Workload { name: name.to_owned(), namespace: namespace.to_owned() }
    }

    fn outcome(&self) -> Outcome {
        let is_bad_code = self.code.is_some_and(|code| code == 0 || code >= 500);
        Outcome {
            code: self.code,
            flags: self.flags.unwrap_or(names::NO_FLAGS).to_owned(),
            is_error: self.has_error || is_bad_code || self.grpc_code.is_some_and(|code| code != 0),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    pub fn has_flag(&self, flag: &str) -> bool {
        self.each_flag().any(|known| known == flag)
    }

    /// The flags, one by one.
    pub fn each_flag(&self) -> impl Iterator<Item = &str> {
        self.flags.split(',').filter(|flag| *flag != names::NO_FLAGS && !flag.is_empty())
    }

    pub fn class(&self) -> Class {
        match self.code {
            _ if self.has_flag("FI") => Class::Injected,
            Some(0) if self.has_flag("DC") => Class::Abandoned,
            _ if self.is_error => Class::Error,
            Some(400..500) => Class::ClientError,
            _ => Class::Ok,
        }
    }
}

/// A proxy that names no cluster has its own service in the name of its span if it is the callee's.
fn side_by_name(named: Option<&Workload>, own: &Workload) -> Side {
    if named.is_some_and(|named| named == own) { Side::Callee } else { Side::Caller }
}

/// The service that the name of a span of a proxy tells: `HOST:PORT/*`, or `egress AUTHORITY` without a route.
fn service_of(name: &str) -> Option<Workload> {
    let host = name.strip_prefix(NO_ROUTE).unwrap_or(name).split([':', '/', ' ']).next()?;
    (!host.is_empty()).then(|| workload_of_host(host))
}

/// `payment.shop.svc.cluster.local` is `payment` in `shop`; other hosts are as they are.
fn workload_of_host(host: &str) -> Workload {
    let mut labels = host.split('.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(name), Some(namespace), Some(SERVICE_LABEL)) => {
            Workload { name: name.to_owned(), namespace: namespace.to_owned() }
        }
        _ => Workload { name: host.to_owned(), namespace: String::new() },
    }
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

    fn outcome(code: u16, flags: &str, is_error: bool) -> Outcome {
        Outcome { code: Some(code), flags: flags.to_owned(), is_error }
    }

    #[test]
    fn a_request_is_in_one_class() {
        assert_eq!(outcome(200, "-", false).class(), Class::Ok);
        assert_eq!(outcome(200, "DI", false).class(), Class::Ok);
        assert_eq!(outcome(402, "-", false).class(), Class::ClientError);
        assert_eq!(outcome(503, "-", true).class(), Class::Error);
        assert_eq!(outcome(503, "DC", true).class(), Class::Error);
        assert_eq!(outcome(0, "DC", true).class(), Class::Abandoned);
        assert_eq!(outcome(0, "UF", true).class(), Class::Error);
        assert_eq!(outcome(503, "DI,FI", true).class(), Class::Injected);
        assert_eq!(Outcome::default().class(), Class::Ok);
    }

    #[test]
    fn hosts_are_services_of_the_cluster_or_themselves() {
        let workload =
            |name: &str, namespace: &str| Workload { name: name.to_owned(), namespace: namespace.to_owned() };
        assert_eq!(workload_of_host("payment.shop.svc.cluster.local"), workload("payment", "shop"));
        assert_eq!(workload_of_host("api.example.com"), workload("api.example.com", ""));
        assert_eq!(service_of("payment.shop.svc.cluster.local:8080/*"), Some(workload("payment", "shop")));
        assert_eq!(service_of("egress nosuch.example.com"), Some(workload("nosuch.example.com", "")));
    }

    #[test]
    fn addresses_lose_their_ports() {
        assert_eq!(without_port("10.0.0.1:8080"), "10.0.0.1");
        assert_eq!(without_port("10.0.0.1"), "10.0.0.1");
        assert_eq!(without_port("[fd00::1]:8080"), "fd00::1");
        assert_eq!(without_port("fd00::1"), "fd00::1");
    }
}
