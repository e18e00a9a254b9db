//! The configuration of an Envoy, as Istio writes it for a sidecar or a gateway. Sources: the API reference of Envoy
//! v1.40 (`envoyproxy.io/docs/envoy/latest/api-v3`) and the configuration that Istio's proxies show
//! (`istioctl proxy-config`).

use serde_json::{Value, json};

use super::MeshError;
use super::scenario::Scenario;
use super::topology::{APP_PORT, OUTBOUND_PORT, PodSpec, SERVICE_PORT, Topology, host};

const TYPES: &str = "type.googleapis.com";
/// The cluster of the server that takes the spans.
const COLLECTOR: &str = "spandrel";

/// The configuration of the proxy of a pod.
pub(crate) fn of(topology: &Topology, pod: &PodSpec, collector: &str) -> Result<Value, MeshError> {
    let invalid = || MeshError::InvalidCollector(collector.to_owned());
    let (name, port) = collector.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    let mut clusters: Vec<Value> =
        pod.calls.iter().flat_map(|callee| outbound_clusters(topology, pod, callee)).collect();
    clusters.push(collector_cluster(name, port));
    let mut listeners = Vec::new();
    if pod.is_gateway() {
        listeners.push(listener(
            pod,
            SERVICE_PORT,
            outbound_routes(topology, pod, Domains::All),
            Side::Gateway,
        ));
    } else {
        clusters.push(inbound_cluster(pod));
        listeners.push(listener(pod, SERVICE_PORT, inbound_routes(pod), Side::Inbound));
        let routes = outbound_routes(topology, pod, Domains::OfCallees);
        listeners.push(listener(pod, OUTBOUND_PORT, routes, Side::Outbound(topology.scenario)));
    }
    Ok(json!({
        "node": {
            "id": pod.node_id(),
            "cluster": format!("{}.{}", pod.workload, pod.namespace),
            "locality": { "region": "eu-1", "zone": pod.zone },
        },
        "static_resources": { "listeners": listeners, "clusters": clusters },
        // Spans leave soon, so that a page shows what has just happened.
        "layered_runtime": { "layers": [{ "name": "demo", "static_layer": {
            "tracing.opentelemetry.flush_interval_ms": 500,
        } }] },
    }))
}

/// The side of a listener.
#[derive(Clone, Copy)]
enum Side {
    Gateway,
    Inbound,
    Outbound(Scenario),
}

/// The hosts that routes are for.
#[derive(Clone, Copy)]
enum Domains {
    All,
    OfCallees,
}

fn socket(address: impl ToString, port: u16) -> Value {
    json!({ "socket_address": { "address": address.to_string(), "port_value": port } })
}

fn typed(name: &str, r#type: &str, mut config: Value) -> Value {
    config["@type"] = format!("{TYPES}/{type}").into();
    json!({ "name": name, "typed_config": config })
}

// === listeners ===

fn listener(pod: &PodSpec, port: u16, routes: Value, side: Side) -> Value {
    let mut filters = Vec::new();
    if let Side::Outbound(Scenario::FaultInjection) = side {
        filters.push(typed(
            "envoy.filters.http.fault",
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            json!({}),
        ));
    }
    filters.push(typed(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({}),
    ));
    let manager = json!({
        "stat_prefix": "http",
        "use_remote_address": matches!(side, Side::Gateway),
        "generate_request_id": true,
        "tracing": tracing(pod, side),
        "http_filters": filters,
        "route_config": { "virtual_hosts": routes },
    });
    json!({
        "address": socket(pod.ip, port),
        "traffic_direction": if matches!(side, Side::Inbound) { "INBOUND" } else { "OUTBOUND" },
        "filter_chains": [{ "filters": [typed(
            "envoy.filters.network.http_connection_manager",
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            manager,
        )] }],
    })
}

fn tracing(pod: &PodSpec, side: Side) -> Value {
    let literal = |tag: &str, value: &str| json!({ "tag": tag, "literal": { "value": value } });
    let formatted = |tag: &str, value: &str| json!({ "tag": tag, "value": value });
    let mut tags = vec![
        literal("istio.canonical_service", pod.workload),
        literal("istio.canonical_revision", pod.version),
        literal("istio.namespace", pod.namespace),
        literal("istio.mesh_id", "cluster.local"),
        literal("istio.cluster_id", "Kubernetes"),
    ];
    if !matches!(side, Side::Inbound) {
        // The tags that docs/mesh.md recommends: the caller alone tells how many attempts there were.
        tags.push(formatted("upstream_host", "%UPSTREAM_HOST%"));
        tags.push(formatted("upstream_attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"));
    }
    json!({
        "random_sampling": { "value": 100 },
        "spawn_upstream_span": matches!(side, Side::Gateway),
        "custom_tags": tags,
        "provider": typed(
            "envoy.tracers.opentelemetry",
            "envoy.config.trace.v3.OpenTelemetryConfig",
            json!({
                "service_name": format!("{}.{}", pod.workload, pod.namespace),
                "grpc_service": { "envoy_grpc": { "cluster_name": COLLECTOR }, "timeout": "5s" },
            }),
        ),
    })
}

// === routes ===

fn inbound_routes(pod: &PodSpec) -> Value {
    json!([{
        "name": format!("inbound|http|{SERVICE_PORT}"),
        "domains": ["*"],
        "routes": [{
            "match": { "prefix": "/" },
            "decorator": { "operation": format!("{}:{SERVICE_PORT}/*", host(pod.workload)) },
            "route": { "cluster": format!("inbound|{SERVICE_PORT}||"), "timeout": "0s" },
        }],
    }])
}

fn outbound_routes(topology: &Topology, pod: &PodSpec, domains: Domains) -> Value {
    let routes = pod.calls.iter().map(|callee| {
        let name = format!("{}:{SERVICE_PORT}", host(callee));
        let domains = match domains {
            Domains::All => json!(["*"]),
            Domains::OfCallees => json!([name, host(callee)]),
        };
        let mut route = json!({
            "match": { "prefix": "/" },
            "decorator": { "operation": format!("{name}/*") },
            "route": route(topology.scenario, callee),
        });
        if *callee == "payment" && topology.scenario == Scenario::FaultInjection {
            route["typed_per_filter_config"] = json!({ "envoy.filters.http.fault": faults() });
        }
        json!({ "name": name, "domains": domains, "routes": [route] })
    });
    routes.collect()
}

/// Retries are those that Istio sets unless it is told otherwise.
fn route(scenario: Scenario, callee: &str) -> Value {
    let mut route = json!({
        "timeout": "2s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
            "num_retries": 2,
            "retry_host_predicate": [typed(
                "envoy.retry_host_predicates.previous_hosts",
                "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                json!({}),
            )],
            "host_selection_retry_max_attempts": 5,
        },
    });
    if callee == "payment" && scenario == Scenario::Canary {
        let subset =
            |version: &str, weight: u32| json!({ "name": cluster_name(callee, version), "weight": weight });
        route["weighted_clusters"] = json!({ "clusters": [subset("v1", 80), subset("v2", 20)] });
    } else {
        route["cluster"] = cluster_name(callee, "").into();
    }
    route
}

fn faults() -> Value {
    let tenth = json!({ "numerator": 10, "denominator": "HUNDRED" });
    json!({
        "@type": format!("{TYPES}/envoy.extensions.filters.http.fault.v3.HTTPFault"),
        "abort": { "http_status": 503, "percentage": tenth },
        "delay": { "fixed_delay": "0.2s", "percentage": tenth },
    })
}

// === clusters ===

/// `outbound|PORT|SUBSET|HOST`
fn cluster_name(callee: &str, subset: &str) -> String {
    format!("outbound|{SERVICE_PORT}|{subset}|{}", host(callee))
}

/// The clusters of a callee: one for each subset that routes choose from.
fn outbound_clusters(topology: &Topology, caller: &PodSpec, callee: &str) -> Vec<Value> {
    let is_canary = callee == "payment" && topology.scenario == Scenario::Canary;
    let subsets: &[&str] = if is_canary { &["v1", "v2"] } else { &[""] };
    subsets.iter().map(|subset| outbound_cluster(topology, caller, callee, subset)).collect()
}

fn outbound_cluster(topology: &Topology, caller: &PodSpec, callee: &str, subset: &str) -> Value {
    let name = cluster_name(callee, subset);
    let pods = topology.of(callee).filter(|pod| subset.is_empty() || pod.version == subset);
    let by_zone = callee == "payment" && topology.scenario == Scenario::ZoneFailover;
    let endpoints: Vec<Value> = pods
        .map(|pod| {
            // Istio's locality failover: the zone of the caller first.
            let priority = u32::from(by_zone && pod.zone != caller.zone);
            json!({
                "priority": priority,
                "locality": { "region": "eu-1", "zone": pod.zone },
                "lb_endpoints": [{ "endpoint": { "address": socket(pod.ip, SERVICE_PORT) } }],
            })
        })
        .collect();
    let most = if callee == "payment" && topology.scenario == Scenario::CircuitBreaker { 1 } else { 1_024 };
    json!({
        "name": name,
        "alt_stat_name": format!("{name};"),
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": { "cluster_name": name, "endpoints": endpoints },
        // The callee sees the address of the caller's pod.
        "upstream_bind_config": { "source_address": { "address": caller.ip.to_string(), "port_value": 0 } },
        "circuit_breakers": { "thresholds": [{ "max_requests": most, "max_pending_requests": most }] },
        "outlier_detection": {
            "consecutive_5xx": 3,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_percent": 100,
        },
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 } },
    })
}

fn inbound_cluster(pod: &PodSpec) -> Value {
    let name = format!("inbound|{SERVICE_PORT}||");
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": [{
            "lb_endpoints": [{ "endpoint": { "address": socket(pod.ip, APP_PORT) } }],
        }] },
    })
}

fn collector_cluster(name: &str, port: u16) -> Value {
    let http2 = json!({
        "@type": format!("{TYPES}/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": { "http2_protocol_options": {} },
    });
    json!({
        "name": COLLECTOR,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2 },
        "load_assignment": { "cluster_name": COLLECTOR, "endpoints": [{
            "lb_endpoints": [{ "endpoint": { "address": socket(name, port) } }],
        }] },
    })
}
