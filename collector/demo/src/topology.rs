//! The plan of the shop: its services, their instances, and the resource that describes each.
//!
//! `scenario` has the work of the services; `fleet` sends their spans.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// The semantic conventions that resources and spans follow.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// A service of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    /// The entry point: terminates the user's connection.
    Gateway,
    /// Renders pages.
    Frontend,
    /// Has the products.
    Catalogue,
    /// Suggests products, sometimes too late.
    Recommendation,
    /// Keeps carts in Redis.
    Cart,
    /// Turns carts into orders.
    Checkout,
    /// Calls the bank; one of its instances fails now and then.
    Payment,
    /// Keeps the stock.
    Inventory,
    /// Packs and ships orders.
    Shipping,
    /// Notifies customers about their orders.
    Notification,
    /// Reads orders in batches.
    Analytics,
    /// Settles payments, once a minute.
    Settlement,
}

/// One running copy of a service.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) service: Service,
    /// Counts the instances of a service from 0.
    pub(crate) index: usize,
}

impl Service {
    /// Every service.
    pub(crate) const ALL: [Service; 12] = [
        Service::Gateway,
        Service::Frontend,
        Service::Catalogue,
        Service::Recommendation,
        Service::Cart,
        Service::Checkout,
        Service::Payment,
        Service::Inventory,
        Service::Shipping,
        Service::Notification,
        Service::Analytics,
        Service::Settlement,
    ];

    /// The value of `service.name`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Gateway => "gateway",
            Service::Frontend => "frontend",
            Service::Catalogue => "catalogue",
            Service::Recommendation => "recommendation",
            Service::Cart => "cart",
            Service::Checkout => "checkout",
            Service::Payment => "payment",
            Service::Inventory => "inventory",
            Service::Shipping => "shipping",
            Service::Notification => "notification",
            Service::Analytics => "analytics",
            Service::Settlement => "settlement",
        }
    }

    /// How many instances run.
    pub(crate) fn instance_count(self) -> usize {
        match self {
            Service::Payment => 4,
            Service::Frontend | Service::Catalogue => 3,
            Service::Notification | Service::Analytics | Service::Settlement => 1,
            _ => 2,
        }
    }

    /// The name under which other services reach this one.
    pub(crate) fn address(self) -> String {
        format!("{}.shop.svc.cluster.local", self.name())
    }

    fn version(self) -> &'static str {
        match self {
            Service::Gateway => "1.9.2",
            Service::Frontend => "4.12.0",
            Service::Payment => "2.7.3",
            Service::Recommendation => "0.9.5",
            _ => "3.1.0",
        }
    }
}

impl Instance {
    /// Every instance of every service.
    pub(crate) fn all() -> Vec<Instance> {
        Service::ALL
            .into_iter()
            .flat_map(|service| (0..service.instance_count()).map(move |index| Instance { service, index }))
            .collect()
    }

    /// The address inside the cluster.
    pub(crate) fn ip(&self) -> String {
        format!("10.42.{}.{}", self.node(), 10 + 8 * self.service as usize + self.index)
    }

    /// The name of the pod; a function of the instance, so the same in every run.
    pub(crate) fn pod(&self) -> String {
        let service = self.service.name();
        let replica_set = suffix(&format!("{service} {}", self.version()), 9);
        let pod = suffix(&format!("{service} {}", self.index), 5);
        format!("{service}-{replica_set}-{pod}")
    }

    /// The attributes of this instance; the SDK adds its own `telemetry.sdk.*`.
    pub(crate) fn resource(&self) -> Resource {
        let node = format!("shop-node-{}", self.node());
        let zone = ["eu-central-1a", "eu-central-1b", "eu-central-1c"][self.node() % 3];
        let attributes = [
            KeyValue::new("service.name", self.service.name()),
            KeyValue::new("service.namespace", "shop"),
            KeyValue::new("service.instance.id", self.pod()),
            KeyValue::new("service.version", self.version()),
            KeyValue::new("deployment.environment.name", "demo"),
            KeyValue::new("host.name", node.clone()),
            KeyValue::new("cloud.region", "eu-central-1"),
            KeyValue::new("cloud.availability_zone", zone),
            KeyValue::new("k8s.namespace.name", "shop"),
            KeyValue::new("k8s.deployment.name", self.service.name()),
            KeyValue::new("k8s.pod.name", self.pod()),
            KeyValue::new("k8s.node.name", node),
        ];
        // In this order, because attributes given along with the URL have lower precedence than those that the SDK
        // detects.
        Resource::builder().with_attributes(attributes).with_schema_url([], SCHEMA_URL).build()
    }

    /// The newest payment instance runs a release candidate.
    fn version(&self) -> &'static str {
        let newest = self.index + 1 == self.service.instance_count();
        if self.service == Service::Payment && newest { "2.8.0-rc.1" } else { self.service.version() }
    }

    fn node(&self) -> usize {
        1 + (self.service as usize + self.index) % 4
    }
}

/// A suffix in the style of Kubernetes; the same text gives the same suffix.
fn suffix(text: &str, length: usize) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // FNV-1a.
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut suffix = String::with_capacity(length);
    for _ in 0..length {
        suffix.push(char::from(LETTERS[(hash % 27) as usize]));
        hash /= 27;
    }
    suffix
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::Key;
    use std::collections::HashSet;

    #[test]
    fn instances_have_pods_and_addresses_of_their_own() {
        let instances = Instance::all();
        let pods: HashSet<_> = instances.iter().map(Instance::pod).collect();
        let addresses: HashSet<_> = instances.iter().map(Instance::ip).collect();
        assert_eq!((pods.len(), addresses.len()), (instances.len(), instances.len()));
        assert!(instances.iter().filter(|instance| instance.service == Service::Payment).count() >= 3);
    }

    #[test]
    fn the_resource_tells_the_instance_and_the_sdk() {
        let resource = Instance { service: Service::Payment, index: 3 }.resource();
        let value = |key| resource.get(&Key::new(key)).map(|value| value.to_string()).unwrap_or_default();
        assert_eq!(value("service.name"), "payment");
        assert_eq!(value("service.namespace"), "shop");
        assert_eq!(value("service.version"), "2.8.0-rc.1");
        assert_eq!(value("service.instance.id"), value("k8s.pod.name"));
        assert!(value("service.instance.id").starts_with("payment-"));
        assert_eq!(value("telemetry.sdk.name"), "opentelemetry");
        assert_eq!(resource.schema_url(), Some(SCHEMA_URL));
    }
}
