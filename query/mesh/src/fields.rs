//! What questions may ask of a span: each field's name, the attributes that it follows from, and its values.
//!
//! A field follows from the attributes of its span and resource alone, so that it can be asked of any span.

use crate::cluster::Side;
use crate::facts::{Facts, Role};
use crate::names::keys;
use crate::texts::Texts;

/// A field of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeshField {
    Role,
    Proxy,
    Direction,
    Workload,
    Namespace,
    Instance,
    Zone,
    Callee,
    Subset,
    Upstream,
    Flags,
    Outcome,
    /// What the span stands for among those of one request ([`crate::facts::Part`]); not asked for by name.
    Part,
}

/// The attributes of a workload's name.
const WORKLOAD: [&str; 8] = [
    keys::SOURCE_SERVICE,
    keys::SOURCE_NAMESPACE,
    keys::COMPONENT,
    keys::NODE_ID,
    keys::CANONICAL_SERVICE,
    keys::NAMESPACE,
    keys::SERVICE_NAME,
    keys::SERVICE_NAMESPACE,
];
/// Those of a direction, which the name of the span tells where no cluster does.
const DIRECTION: [&str; 11] = [
    keys::DESTINATION_SERVICE,
    keys::DESTINATION_NAMESPACE,
    keys::SOURCE_SERVICE,
    keys::SOURCE_NAMESPACE,
    keys::UPSTREAM_CLUSTER,
    keys::COMPONENT,
    keys::NODE_ID,
    keys::CANONICAL_SERVICE,
    keys::NAMESPACE,
    keys::SERVICE_NAME,
    keys::SERVICE_NAMESPACE,
];
const OUTCOME: [&str; 5] = [
    keys::STATUS_CODE,
    keys::RESPONSE_STATUS_CODE,
    keys::GRPC_STATUS_CODE,
    keys::RESPONSE_FLAGS,
    keys::ERROR,
];

// === impl MeshField ===

impl MeshField {
    /// The attributes, of span and resource, that the field follows from.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Role | Self::Proxy => &[keys::COMPONENT, keys::NODE_ID],
            Self::Direction | Self::Callee | Self::Part => &DIRECTION,
            Self::Workload | Self::Namespace => &WORKLOAD,
            Self::Instance => &[keys::NODE_ID, keys::POD_NAME, keys::INSTANCE_ID],
            Self::Zone => &[keys::ZONE, keys::AVAILABILITY_ZONE],
            Self::Subset => &[keys::UPSTREAM_CLUSTER],
            Self::Upstream => &[keys::UPSTREAM_ADDRESS, keys::UPSTREAM_HOST],
            Self::Flags => &[keys::RESPONSE_FLAGS],
            Self::Outcome => &OUTCOME,
        }
    }

    /// Whether the name of the span tells of the field, too.
    pub fn follows_from_name(self) -> bool {
        matches!(self, Self::Direction | Self::Callee | Self::Part)
    }

    /// The values, of [`Self::keys`] and perhaps the name of a span. None where the span does not tell.
    pub fn values(self, name: &str, texts: &Texts<'_>) -> Vec<String> {
        let facts = Facts::of(name, texts);
        let one = |text: Option<String>| text.filter(|text| !text.is_empty()).into_iter().collect();
        match self {
            Self::Role => vec![facts.role.name().to_owned()],
            Self::Part => vec![facts.role.part().name().to_owned()],
            Self::Proxy => match facts.role {
                Role::Listener(kind, _) => vec![kind.name().to_owned()],
                Role::Attempt(_) | Role::App => Vec::new(),
            },
            Self::Direction => match facts.role {
                Role::Listener(_, side) | Role::Attempt(side) => vec![direction(side).to_owned()],
                Role::App => Vec::new(),
            },
            Self::Workload => one(Some(facts.workload.name)),
            Self::Namespace => one(Some(facts.workload.namespace)),
            Self::Instance => {
                let of_app = texts.pod_name.or(texts.instance_id).map(str::to_owned);
                one(facts.pod.or(of_app))
            }
            Self::Zone => one(facts.zone.or(texts.availability_zone.map(str::to_owned))),
            Self::Callee => one(facts.callee.map(|callee| callee.name)),
            Self::Subset => one(facts.subset),
            Self::Upstream => one(facts.upstream_ip),
            Self::Flags => facts.outcome.each_flag().map(str::to_owned).collect(),
            Self::Outcome => one(texts.tell_an_outcome().then(|| facts.outcome.class().name().to_owned())),
        }
    }
}

// === impl Role ===

impl Role {
    /// The name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listener(..) => "proxy-listener",
            Self::Attempt(_) => "proxy-attempt",
            Self::App => "app",
        }
    }
}

fn direction(side: Side) -> &'static str {
    match side {
        Side::Caller => "outbound",
        Side::Callee => "inbound",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [MeshField; 12] = [
        MeshField::Role,
        MeshField::Proxy,
        MeshField::Direction,
        MeshField::Workload,
        MeshField::Namespace,
        MeshField::Instance,
        MeshField::Zone,
        MeshField::Callee,
        MeshField::Subset,
        MeshField::Upstream,
        MeshField::Flags,
        MeshField::Outcome,
    ];

    /// Every field of a span with these attributes, each of which is handed over only if the field names its key.
    fn fields(name: &str, attributes: &[(&'static str, &'static str)]) -> Vec<String> {
        let values = |field: MeshField| {
            let mut texts = Texts::default();
            for (key, value) in attributes.iter().filter(|(key, _)| field.keys().contains(key)) {
                texts.text(key, value);
            }
            field.values(name, &texts).join("+")
        };
        ALL.into_iter().map(values).collect()
    }

    #[test]
    fn a_listener_tells_who_sends_what_where() {
        let listener = [
            (keys::COMPONENT, "proxy"),
            (keys::NODE_ID, "sidecar~10.0.0.7~checkout-5d.shop~shop.svc.cluster.local"),
            (keys::UPSTREAM_CLUSTER, "outbound|8080|v2|payment.shop.svc.cluster.local"),
            (keys::ZONE, "eu-1a"),
            (keys::CANONICAL_SERVICE, "checkout"),
            (keys::STATUS_CODE, "503"),
            (keys::RESPONSE_FLAGS, "URX,UF"),
        ];
        assert_eq!(
            fields("payment.shop.svc.cluster.local:8080/*", &listener),
            [
                "proxy-listener",
                "sidecar",
                "outbound",
                "checkout",
                "shop",
                "checkout-5d",
                "eu-1a",
                "payment",
                "v2",
                "",
                "URX+UF",
                "error",
            ]
        );
    }

    #[test]
    fn an_attempt_tells_the_address_it_went_to() {
        let attempt = [
            (keys::COMPONENT, "proxy"),
            (keys::UPSTREAM_CLUSTER, "outbound|8080||payment.shop.svc.cluster.local"),
            (keys::UPSTREAM_ADDRESS, "10.0.0.9:8080"),
            (keys::NAMESPACE, "shop"),
            (keys::SERVICE_NAME, "gateway.shop"),
            (keys::STATUS_CODE, "0"),
            (keys::RESPONSE_FLAGS, "DC"),
        ];
        assert_eq!(
            fields("router outbound|8080||payment.shop.svc.cluster.local; egress", &attempt),
            [
                "proxy-attempt",
                "",
                "outbound",
                "gateway",
                "shop",
                "",
                "",
                "payment",
                "",
                "10.0.0.9",
                "DC",
                "abandoned",
            ]
        );
    }

    #[test]
    fn an_application_tells_what_its_resource_says() {
        let app = [
            (keys::SERVICE_NAME, "payment"),
            (keys::SERVICE_NAMESPACE, "shop"),
            (keys::POD_NAME, "payment-7f"),
            (keys::AVAILABILITY_ZONE, "eu-1b"),
        ];
        let told = ["app", "", "", "payment", "shop", "payment-7f", "eu-1b", "", "", "", "", ""];
        assert_eq!(fields("POST /pay", &app), told);
    }

    #[test]
    fn the_side_follows_from_the_name_where_no_cluster_tells_it() {
        let fault = [
            (keys::COMPONENT, "proxy"),
            (keys::NODE_ID, "sidecar~10.0.0.7~payment-5d.shop~x"),
            (keys::CANONICAL_SERVICE, "payment"),
        ];
        let direction = |name: &str| fields(name, &fault)[2].clone();
        assert_eq!(direction("payment.shop.svc.cluster.local:8080/*"), "inbound");
        assert_eq!(direction("cart.shop.svc.cluster.local:8080/*"), "outbound");
    }
}
