//! Every attribute and value by which proxies tell what they saw, and what each response flag means.

/// Attributes of spans. All values are texts, numbers and booleans too.
pub mod keys {
    /// `proxy` on every span of a proxy.
    pub const COMPONENT: &str = "component";
    /// `sidecar~IP~POD.NAMESPACE~DOMAIN`; spans of single attempts lack it.
    pub const NODE_ID: &str = "node_id";
    /// The locality of the node.
    pub const ZONE: &str = "zone";
    /// `outbound|PORT|SUBSET|HOST` or `inbound|PORT||`.
    pub const UPSTREAM_CLUSTER: &str = "upstream_cluster";
    /// Address of the instance that an attempt went to.
    pub const UPSTREAM_ADDRESS: &str = "upstream_address";
    /// The direct peer.
    pub const PEER_ADDRESS: &str = "peer.address";
    /// `0` where no response began.
    pub const STATUS_CODE: &str = "http.status_code";
    /// The newer name of the same.
    pub const RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    pub const GRPC_STATUS_CODE: &str = "grpc.status_code";
    /// `-`, or flags with commas between them.
    pub const RESPONSE_FLAGS: &str = "response_flags";
    /// Bytes of the bodies of a request and its response.
    pub const REQUEST_SIZE: &str = "request_size";
    pub const RESPONSE_SIZE: &str = "response_size";
    pub const ERROR: &str = "error";
    pub const CANONICAL_SERVICE: &str = "istio.canonical_service";
    pub const CANONICAL_REVISION: &str = "istio.canonical_revision";
    pub const NAMESPACE: &str = "istio.namespace";
    /// Recommended custom tag: how many attempts a request took.
    pub const UPSTREAM_ATTEMPTS: &str = "upstream_attempts";
    /// Recommended custom tag: the address of the last attempt.
    pub const UPSTREAM_HOST: &str = "upstream_host";
    /// Whom a waypoint sits between. It is the only proxy that knows both sides.
    pub const SOURCE_SERVICE: &str = "istio.source_canonical_service";
    pub const SOURCE_NAMESPACE: &str = "istio.source_namespace";
    pub const DESTINATION_SERVICE: &str = "istio.destination_canonical_service";
    pub const DESTINATION_NAMESPACE: &str = "istio.destination_namespace";
    /// The pod that a waypoint chose.
    pub const DESTINATION_INSTANCE: &str = "istio.destination_instance_name";
    pub const SERVICE_NAME: &str = "service.name";
    pub const SERVICE_NAMESPACE: &str = "service.namespace";
    /// The pod of an application.
    pub const POD_NAME: &str = "k8s.pod.name";
    pub const INSTANCE_ID: &str = "service.instance.id";
    pub const AVAILABILITY_ZONE: &str = "cloud.availability_zone";
}

/// The value of [`keys::COMPONENT`] on spans of proxies.
pub const PROXY: &str = "proxy";
/// What a proxy says of a side that it does not know.
pub const UNKNOWN: &str = "unknown";
/// What stands before the address of an attempt that a waypoint sends through a tunnel.
pub const TUNNEL: &str = "envoy://connect_originate/";
/// The kind of a proxy that stands between workloads, in answers.
pub const WAYPOINT: &str = "waypoint";
/// The value of [`keys::RESPONSE_FLAGS`] without a flag.
pub const NO_FLAGS: &str = "-";

/// The names of gRPC's statuses, by number.
pub const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Who caused what a response flag tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The side that called: it left, or sent too much.
    Caller,
    /// The instance that was called.
    Callee,
    /// What lies between them, or its configuration.
    Mesh,
    /// An injected fault.
    Injected,
}

/// What a response flag means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    pub name: &'static str,
    pub meaning: &'static str,
    pub cause: Cause,
}

/// The response flags of Envoy (`envoyproxy.io`, access log, `RESPONSE_FLAGS`), in plain words.
const FLAGS: [Flag; 29] = [
    flag("DC", Cause::Caller, "the caller closed the connection before the response was complete"),
    flag("DF", Cause::Mesh, "the name of the service could not be resolved"),
    flag("DI", Cause::Injected, "the request was delayed by an injected fault"),
    flag("DO", Cause::Mesh, "the overload manager dropped the request"),
    flag("DPE", Cause::Caller, "the caller broke the protocol"),
    flag("DR", Cause::Caller, "the caller reset the stream"),
    flag("DT", Cause::Mesh, "the connection or stream lasted longer than it may"),
    flag("FI", Cause::Injected, "the request was aborted by an injected fault"),
    flag("IH", Cause::Caller, "a header had a value that is not allowed"),
    flag("LH", Cause::Callee, "the instance failed its health check"),
    flag("LR", Cause::Mesh, "the proxy reset the connection to the instance"),
    flag("NC", Cause::Mesh, "the route leads to a cluster that does not exist"),
    flag("NFCF", Cause::Mesh, "the configuration of a filter is missing"),
    flag("NR", Cause::Mesh, "no route fits the request"),
    flag("OM", Cause::Mesh, "the proxy ran short of memory and refused the request"),
    flag("RL", Cause::Caller, "the rate limit was reached"),
    flag("RLSE", Cause::Mesh, "the rate limit service failed"),
    flag("SI", Cause::Caller, "the stream was idle for too long"),
    flag("UAEX", Cause::Mesh, "the authorization service refused the request"),
    flag("UC", Cause::Callee, "the instance closed the connection without a complete response"),
    flag("UF", Cause::Callee, "no connection to the instance could be made"),
    flag("UH", Cause::Callee, "the service has no healthy instance"),
    flag("UMSDR", Cause::Mesh, "the request took longer than the maximum duration of a stream"),
    flag("UO", Cause::Callee, "the circuit breaker was open: too many requests or connections at once"),
    flag("UPE", Cause::Callee, "the instance broke the protocol"),
    flag("UR", Cause::Callee, "the instance reset the stream"),
    flag("URX", Cause::Callee, "the last retry failed, too"),
    flag("UT", Cause::Callee, "the instance did not answer in the time that the route allows"),
    flag("UDO", Cause::Mesh, "the overload manager dropped the request to the instance"),
];

const fn flag(name: &'static str, cause: Cause, meaning: &'static str) -> Flag {
    Flag { name, meaning, cause }
}

/// What a flag means; `None` for flags that are not known.
pub fn flag_named(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

// === impl Cause ===

impl Cause {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
            Self::Mesh => "mesh",
            Self::Injected => "injected",
        }
    }
}
