//! Services of a mesh under one name, however spans write it.

/// A service in a namespace, however its spans write its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Workload {
    pub name: String,
    /// Empty where it is not known.
    pub namespace: String,
}

/// The part of a host name that says that a service of the cluster follows: `NAME.NAMESPACE.svc...`.
const SERVICE_LABEL: &str = "svc";
/// The prefix of the names of spans without a route.
const NO_ROUTE: &str = "egress ";

/// The service that the name of a span of a proxy tells: `HOST:PORT/*`, or `egress AUTHORITY` without a route.
pub(crate) fn service_of(name: &str) -> Option<Workload> {
    let host = name.strip_prefix(NO_ROUTE).unwrap_or(name).split([':', '/', ' ']).next()?;
    (!host.is_empty()).then(|| workload_of_host(host))
}

/// `payment.shop.svc.cluster.local` is `payment` in `shop`; other hosts are as they are.
pub(crate) fn workload_of_host(host: &str) -> Workload {
    let mut labels = host.split('.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(name), Some(namespace), Some(SERVICE_LABEL)) => {
            Workload { name: name.to_owned(), namespace: namespace.to_owned() }
        }
        _ => Workload { name: host.to_owned(), namespace: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_services_of_the_cluster_or_themselves() {
        let workload =
            |name: &str, namespace: &str| Workload { name: name.to_owned(), namespace: namespace.to_owned() };
        assert_eq!(workload_of_host("payment.shop.svc.cluster.local"), workload("payment", "shop"));
        assert_eq!(workload_of_host("api.example.com"), workload("api.example.com", ""));
        assert_eq!(service_of("payment.shop.svc.cluster.local:8080/*"), Some(workload("payment", "shop")));
        assert_eq!(service_of("egress nosuch.example.com"), Some(workload("nosuch.example.com", "")));
    }
}
