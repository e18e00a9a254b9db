//! Services of a mesh under one name, however spans write it.

use std::collections::BTreeMap;

/// A service in a namespace, however its spans write its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Workload {
    pub name: String,
    /// Empty where it is not known.
    pub namespace: String,
}

/// Namespaces of workloads whose spans do not all tell it: an application often says only its name.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// By name, the only namespace in which there is such a workload; `None` where there are several.
    by_name: BTreeMap<String, Option<String>>,
}

/// The part of a host name that says that a service of the cluster follows: `NAME.NAMESPACE.svc...`.
const SERVICE_LABEL: &str = "svc";
/// The prefix of the names of spans without a route.
const NO_ROUTE: &str = "egress ";

/// The service that the name of a span of a proxy tells: `HOST:PORT/*`, or `egress AUTHORITY` without a route.
pub(crate) fn service_of(name: &str) -> Option<Workload> {
    host_of(name).map(workload_of_host)
}

/// The host that the name of a span of a proxy tells.
pub(crate) fn host_of(name: &str) -> Option<&str> {
    let host = name.strip_prefix(NO_ROUTE).unwrap_or(name).split([':', '/', ' ']).next()?;
    (!host.is_empty()).then_some(host)
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

// === impl Namespaces ===

impl Namespaces {
    /// Of workloads that were seen.
    pub fn of(workloads: impl Iterator<Item = Workload>) -> Self {
        let mut by_name: BTreeMap<String, Option<String>> = BTreeMap::new();
        for Workload { name, namespace } in workloads.filter(|workload| !workload.namespace.is_empty()) {
            let known = by_name.entry(name).or_insert_with(|| Some(namespace.clone()));
            *known = known.take().filter(|known| *known == namespace);
        }
        Self { by_name }
    }

    /// The name of a workload, with its namespace behind a dot where workloads of several have the name.
    pub fn label(&self, workload: Workload) -> String {
        match self.by_name.get(&workload.name) {
            Some(None) if !workload.namespace.is_empty() => {
                format!("{}.{}", workload.name, workload.namespace)
            }
            _ => workload.name,
        }
    }

    /// The workload in its namespace, if only one can be meant.
    pub fn complete(&self, workload: Workload) -> Workload {
        match self.by_name.get(&workload.name) {
            Some(Some(namespace)) if workload.namespace.is_empty() => {
                Workload { namespace: namespace.clone(), ..workload }
            }
            _ => workload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_without_a_namespace_is_in_the_only_one_of_its_name() {
        let workload =
            |name: &str, namespace: &str| Workload { name: name.to_owned(), namespace: namespace.to_owned() };
        let seen = [("payment", "shop"), ("payment", ""), ("cart", "shop"), ("cart", "test"), ("user", "")];
        let namespaces = Namespaces::of(seen.into_iter().map(|(name, namespace)| workload(name, namespace)));
        let complete = |name| namespaces.complete(workload(name, "")).namespace;
        assert_eq!([complete("payment"), complete("cart"), complete("user")], ["shop", "", ""]);
        let label = |name, namespace| namespaces.label(workload(name, namespace));
        assert_eq!(
            [label("payment", "shop"), label("cart", "test"), label("cart", "")],
            ["payment", "cart.test", "cart"]
        );
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
}
