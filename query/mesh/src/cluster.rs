//! Reads `upstream_cluster`: where a proxy sent a request.
//!
//! A waypoint's clusters are `inbound-vip|PORT|PROTOCOL/SUBSET|HOST`, and go to the callee all the same.

/// Which side of a call a listener is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It takes requests of its own workload to others.
    Caller,
    /// It takes requests of others to its own workload.
    Callee,
}

/// A cluster of Envoy, as Istio names them: `DIRECTION|PORT|SUBSET|HOST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub side: Side,
    pub subset: Option<String>,
    /// The name of the called service, as `payment.shop.svc.cluster.local`; absent for inbound clusters.
    pub host: Option<String>,
}

/// Clusters to which Istio sends requests to hosts that the mesh does not know: passed through, or dropped.
const OUTSIDE: [&str; 2] = ["PassthroughCluster", "BlackHoleCluster"];
const INBOUND_OUTSIDE: &str = "InboundPassthroughCluster";

/// The direction in the names of a waypoint's clusters.
const WAYPOINT: &str = "inbound-vip";

// === impl Cluster ===

impl Cluster {
    /// `None` for names of other make, whose side is not known.
    pub fn parse(name: &str) -> Option<Self> {
        if name == INBOUND_OUTSIDE || name.starts_with("InboundPassthroughCluster") {
            return Some(Self { side: Side::Callee, subset: None, host: None });
        }
        if OUTSIDE.contains(&name) {
            return Some(Self { side: Side::Caller, subset: None, host: None });
        }
        let mut parts = name.split('|');
        let direction = parts.next()?;
        let side = match direction {
            "outbound" | WAYPOINT => Side::Caller,
            "inbound" => Side::Callee,
            _ => return None,
        };
        let (_port, mut subset, host) = (parts.next()?, parts.next()?, parts.next()?);
        if direction == WAYPOINT {
            subset = subset.split_once('/').map_or("", |(_protocol, subset)| subset);
        }
        let given = |text: &str| (!text.is_empty()).then(|| text.trim_end_matches(';').to_owned());
        Some(Self { side, subset: given(subset), host: given(host) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_tell_side_subset_and_host() {
        let host = Some("payment.shop.svc.cluster.local".to_owned());
        let subset = Some("v1".to_owned());
        assert_eq!(
            Cluster::parse("outbound|8080|v1|payment.shop.svc.cluster.local"),
            Some(Cluster { side: Side::Caller, subset, host: host.clone() })
        );
        assert_eq!(
            Cluster::parse("outbound|8080||payment.shop.svc.cluster.local;"),
            Some(Cluster { side: Side::Caller, subset: None, host })
        );
        assert_eq!(
            Cluster::parse("inbound|8080||"),
            Some(Cluster { side: Side::Callee, subset: None, host: None })
        );
        assert_eq!(Cluster::parse("PassthroughCluster").map(|cluster| cluster.side), Some(Side::Caller));
        for (name, subset) in [
            ("inbound-vip|8080|http|cart.shop.svc.cluster.local;", None),
            ("inbound-vip|8080|http/v2|cart.shop.svc.cluster.local", Some("v2".to_owned())),
        ] {
            let host = Some("cart.shop.svc.cluster.local".to_owned());
            assert_eq!(Cluster::parse(name), Some(Cluster { side: Side::Caller, subset, host }));
        }
        for other in ["", "xds-grpc", "outbound|8080", "sideways|1||x"] {
            assert_eq!(Cluster::parse(other), None, "{other}");
        }
    }
}
