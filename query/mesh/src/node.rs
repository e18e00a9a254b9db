//! Reads `node_id`: which proxy reported a span.

use crate::names;

/// What a proxy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    Sidecar,
    /// A gateway (`router`).
    Gateway,
    Waypoint,
}

/// A proxy of Istio: `KIND~IP~POD.NAMESPACE~DOMAIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: ProxyKind,
    pub ip: String,
    pub pod: String,
    pub namespace: String,
}

// === impl ProxyKind ===

impl ProxyKind {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Gateway => "gateway",
            Self::Waypoint => names::WAYPOINT,
        }
    }
}

// === impl Node ===

impl Node {
    pub fn parse(node_id: &str) -> Option<Self> {
        let mut parts = node_id.split('~');
        let kind = match parts.next()? {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Gateway,
            "waypoint" => ProxyKind::Waypoint,
            _ => return None,
        };
        let ip = parts.next()?.to_owned();
        let (pod, namespace) = parts.next()?.rsplit_once('.')?;
        let (pod, namespace) = (pod.to_owned(), namespace.to_owned());
        Some(Self { kind, ip, pod, namespace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_tell_kind_address_pod_and_namespace() {
        let node = "sidecar~10.0.0.7~payment-v2-7f8c6b5d94-x8w2m.shop~shop.svc.cluster.local";
        let (ip, pod, namespace) = ("10.0.0.7", "payment-v2-7f8c6b5d94-x8w2m", "shop");
        let expected = Node {
            kind: ProxyKind::Sidecar,
            ip: ip.to_owned(),
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
        };
        assert_eq!(Node::parse(node), Some(expected));
        let kind = |node| Node::parse(node).map(|node| node.kind);
        assert_eq!(kind("router~1.2.3.4~gw.istio-system~x"), Some(ProxyKind::Gateway));
        assert_eq!(kind("waypoint~1.2.3.4~wp.shop~x"), Some(ProxyKind::Waypoint));
        for other in ["", "sidecar", "sidecar~1.2.3.4", "sidecar~1.2.3.4~pod", "ztunnel~1~a.b~c"] {
            assert_eq!(Node::parse(other), None, "{other}");
        }
    }
}
