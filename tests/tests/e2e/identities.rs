//! Who sends, by client certificate and by key, with the real senders: an SDK, the OpenTelemetry Collector and Envoy, over
//! TLS and mTLS.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use prost::Message as _;
use serde_json::{Value, json};
use spandrel_gate::tls::Issued;
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{Body, Connection, Reply};
use spandrel_tests::otlp::{self, hex};
use spandrel_tests::server::{Server, Settings, command, eventually, skipped, workspace_root};
use spandrel_tests::tls::Pki;
use tempfile::TempDir;
use tonic::Code;

/// A server with TLS that knows workloads of the namespace `shop` by their certificates.
struct Fixture {
    pki: Pki,
    server: Server,
    data: TempDir,
}

/// A process that ends with the test.
struct Running(Child);

const WORKLOAD: &str = "spiffe://cluster.local/ns/shop/sa/pay";

impl Fixture {
    fn new(more: &[&str]) -> Self {
        let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
        let rules = json!([
            { "match": "spiffe://cluster.local/ns/*/sa/*", "role": "ingest" },
            { "match": "cn:reader", "role": "read" },
        ]);
        let (flags, ca, rules) = (pki.flags(), pki.file("ca.crt"), rules.to_string());
        let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
        arguments.extend(["--require-auth", "--tls-client-ca", &ca, "--client-identities", &rules]);
        arguments.extend(more);
        let server = Settings::on(data.path()).with(&arguments).start();
        Self { pki, server, data }
    }

    fn client(&self, name: &str, uri: Option<&str>) -> Issued {
        let issued = self.pki.authority.client(name, uri, SystemTime::now()).unwrap();
        self.pki.write(&format!("{name}.crt"), &issued.certificate);
        self.pki.write(&format!("{name}.key"), &issued.key);
        issued
    }

    fn key(&self, role: &str) -> String {
        let data = self.data.path().to_str().unwrap();
        let output = command(&["keys", "create", "--role", role, "--data-dir", data]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn get(&self, path: &str, client: Option<&Issued>, headers: &[(&str, &str)]) -> Reply {
        let stream = self.pki.connect(self.server.http(), &["http/1.1"], client).unwrap();
        Connection::over(self.server.http(), stream).request("GET", path, headers, Body::None).unwrap()
    }

    fn grpc(&self, client: Option<&Issued>) -> Grpc {
        let address = self.server.otlp_grpc();
        let pair = client.map(|Issued { certificate, key }| (certificate.as_str(), key.as_str()));
        Grpc::connect_encrypted(address, self.pki.authority.certificate(), pair).unwrap()
    }

    /// Waits until the reader finds a trace.
    fn arrives(&self, what: &str, id: &str) {
        let reader = self.client("reader", None);
        eventually(what, || {
            let reply = self.get(&format!("/api/v1/traces/{id}"), Some(&reader), &[]);
            (reply.status == 200).then_some(())
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A request of one span, and its trace ID in hex.
fn one_span() -> (Vec<u8>, String) {
    let id = otlp::trace_id();
    (otlp::request("shop", vec![otlp::span(&id, "GET /")]).encode_to_vec(), hex(&id))
}

#[test]
fn a_verified_certificate_is_an_identity_and_a_key_stands_above_it() {
    let fixture = Fixture::new(&[]);
    let (pay, reader) = (fixture.client("pay", Some(WORKLOAD)), fixture.client("reader", None));
    let unknown = fixture.client("unknown", None);
    let (span, id) = one_span();
    fixture.grpc(Some(&pay)).export(&span).unwrap();
    fixture.arrives("the span of a workload", &id);
    let me = fixture.get("/api/v1/me", Some(&pay), &[]).json();
    assert_eq!(
        (&me["name"], &me["role"], &me["via"]),
        (&json!(WORKLOAD), &json!("ingest"), &json!("certificate"))
    );

    assert_eq!(fixture.get("/api/v1/services", Some(&pay), &[]).status, 403, "the role counts");
    assert_eq!(fixture.grpc(Some(&reader)).export(&span).unwrap_err().code(), Code::PermissionDenied);
    for stranger in [None, Some(&unknown)] {
        assert_eq!(fixture.get("/api/v1/services", stranger, &[]).status, 401);
        assert_eq!(fixture.grpc(stranger).export(&span).unwrap_err().code(), Code::Unauthenticated);
    }
    let other = Pki::new();
    let forged = other.authority.client("pay", Some(WORKLOAD), SystemTime::now()).unwrap();
    let address = fixture.server.http();
    let refused = fixture
        .pki
        .connect(address, &["http/1.1"], Some(&forged))
        .and_then(|stream| Connection::over(address, stream).request("GET", "/api/v1/me", &[], Body::None));
    assert!(refused.is_err(), "a certificate of another authority is refused at the handshake");

    let key = format!("Bearer {}", fixture.key("edit"));
    let me = fixture.get("/api/v1/me", Some(&pay), &[("authorization", &key)]).json();
    assert_eq!((&me["role"], &me["via"]), (&json!("edit"), &json!("key")));
    let wrong = fixture.get("/api/v1/me", Some(&pay), &[("authorization", "Bearer wrong")]);
    assert_eq!(wrong.status, 401, "a wrong key is not made up for by a certificate");
}

#[test]
fn each_way_can_be_on_alone() {
    let fixture = Fixture::new(&["--auth-methods", "certificates"]);
    let (pay, key) = (fixture.client("pay", Some(WORKLOAD)), format!("Bearer {}", fixture.key("admin")));
    assert_eq!(fixture.get("/api/v1/me", Some(&pay), &[]).status, 200);
    assert_eq!(fixture.get("/api/v1/me", None, &[("authorization", &key)]).status, 401);
    let fixture = Fixture::new(&["--auth-methods", "keys"]);
    let (pay, key) = (fixture.client("pay", Some(WORKLOAD)), format!("Bearer {}", fixture.key("admin")));
    assert_eq!(fixture.get("/api/v1/me", Some(&pay), &[]).status, 401);
    assert_eq!(fixture.get("/api/v1/me", Some(&pay), &[("authorization", &key)]).status, 200);
    let refused = command(&["serve", "--print-config", "--auth-methods", "jwt"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--jwt-issuers"));
}

#[test]
fn an_sdk_sends_over_tls_with_a_key_and_over_mtls_without() {
    let interpreter =
        std::env::var("SPANDREL_PYTHON").expect("SPANDREL_PYTHON; try: eval \"$(make -s env)\"");
    let fixture = Fixture::new(&[]);
    fixture.client("pay", Some(WORKLOAD));
    let key = fixture.key("ingest");
    let send = |protocol: &str, variables: &[(&str, String)]| {
        let address =
            if protocol == "grpc" { fixture.server.otlp_grpc() } else { fixture.server.otlp_http() };
        let mut command = Command::new(&interpreter);
        command.arg(workspace_root().join("tests/sdk/python/one_span.py")).arg(protocol).stdin(Stdio::null());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}", address.port()));
        command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", fixture.pki.file("ca.crt"));
        // It would stand above the authority of the test.
        command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
        command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "10").env("NO_PROXY", "localhost");
        command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
        command.output().unwrap()
    };
    for protocol in ["grpc", "http"] {
        let with_key = [("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{key}"))];
        let with_certificate = [
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", fixture.pki.file("pay.crt")),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", fixture.pki.file("pay.key")),
        ];
        for (what, variables) in [("a key", &with_key[..]), ("a certificate", &with_certificate[..])] {
            let output = send(protocol, variables);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{protocol} with {what}: {stderr}");
            fixture.arrives(what, String::from_utf8(output.stdout).unwrap().trim());
        }
        assert!(!send(protocol, &[]).status.success(), "{protocol} without either is refused");
    }
}

#[test]
fn a_collector_sends_with_a_key_and_by_its_certificate() {
    let Ok(binary) = std::env::var("SPANDREL_COLLECTOR") else {
        return skipped(
            "a_collector_sends_with_a_key_and_by_its_certificate",
            "there is no SPANDREL_COLLECTOR",
        );
    };
    let fixture = Fixture::new(&[]);
    fixture.client("pay", Some(WORKLOAD));
    let folder = tempfile::tempdir().unwrap();
    let key = format!("Bearer {}", fixture.key("ingest"));
    let ca = fixture.pki.file("ca.crt");
    let (certificate, private) = (fixture.pki.file("pay.crt"), fixture.pki.file("pay.key"));
    let endpoint = |address: SocketAddr| format!("localhost:{}", address.port());
    for (exporter, settings) in [
        (
            "otlp",
            json!({
                "endpoint": endpoint(fixture.server.otlp_grpc()), "headers": { "authorization": key }, "tls": { "ca_file": ca }
            }),
        ),
        (
            "otlp",
            json!({
                "endpoint": endpoint(fixture.server.otlp_grpc()),
                "tls": { "ca_file": ca, "cert_file": certificate, "key_file": private }
            }),
        ),
        (
            "otlphttp",
            json!({
                "endpoint": format!("https://{}", endpoint(fixture.server.otlp_http())),
                "headers": { "authorization": key }, "tls": { "ca_file": ca }
            }),
        ),
        (
            "otlphttp",
            json!({
                "endpoint": format!("https://{}", endpoint(fixture.server.otlp_http())),
                "tls": { "ca_file": ca, "cert_file": certificate, "key_file": private }
            }),
        ),
    ] {
        let socket = folder.path().join("otlp.sock");
        let _ = fs::remove_file(&socket);
        let config = json!({
            "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": socket, "transport": "unix" } } } },
            "exporters": { exporter: settings },
            "service": {
                "pipelines": { "traces": { "receivers": ["otlp"], "exporters": [exporter] } },
                "telemetry": { "metrics": { "level": "none" } },
            },
        });
        let file = folder.path().join("collector.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(&binary);
        command.arg("--config").arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
        let _collector = Running(command.spawn().unwrap());
        let (span, id) = one_span();
        eventually("the Collector takes a span", || {
            Grpc::connect_unix(&socket).and_then(|mut grpc| grpc.export(&span)).ok()
        });
        fixture.arrives(&format!("a span through {exporter}"), &id);
    }
}

#[test]
fn envoy_sends_its_spans_over_mtls() {
    let Ok(binary) = std::env::var("SPANDREL_ENVOY") else {
        return skipped("envoy_sends_its_spans_over_mtls", "there is no SPANDREL_ENVOY");
    };
    let fixture = Fixture::new(&[]);
    fixture.client("pay", Some(WORKLOAD));
    let folder = tempfile::tempdir().unwrap();
    let (config, admin) = (folder.path().join("envoy.json"), folder.path().join("admin"));
    fs::write(&config, envoy(&fixture).to_string()).unwrap();
    let mut command = Command::new(&binary);
    command.arg("-c").arg(&config).arg("--admin-address-path").arg(&admin);
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]);
    let _envoy = Running(command.stdin(Stdio::null()).spawn().unwrap());
    let admin: SocketAddr =
        eventually("Envoy starts", || fs::read_to_string(&admin).ok()?.trim().parse().ok());
    let listener: SocketAddr = eventually("Envoy listens", || {
        let reply =
            Connection::open(admin).ok()?.request("GET", "/listeners?format=json", &[], Body::None).ok()?;
        let port =
            reply.json()["listener_statuses"][0]["local_address"]["socket_address"]["port_value"].as_u64()?;
        Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?)))
    });
    let reader = fixture.client("reader", None);
    let found = eventually("a span of Envoy", || {
        let mut connection = Connection::open(listener).ok()?;
        assert_eq!(connection.request("GET", "/", &[], Body::None).ok()?.status, 200);
        let found = fixture.get("/api/v1/services", Some(&reader), &[]).json();
        found["services"].to_string().contains("envoy-of-shop").then_some(found)
    });
    assert!(found["services"].is_array());
}

/// The configuration of an Envoy that answers by itself, and sends a span of each answer.
fn envoy(fixture: &Fixture) -> Value {
    let socket = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let pem = |name: &str| json!({ "filename": fixture.pki.file(name) });
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {
            "tls_certificates": [{ "certificate_chain": pem("pay.crt"), "private_key": pem("pay.key") }],
            "validation_context": { "trusted_ca": pem("ca.crt") },
        },
    });
    let tracing = json!({
        "random_sampling": { "value": 100 },
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": "envoy-of-shop",
                "grpc_service": { "envoy_grpc": { "cluster_name": "spandrel" }, "timeout": "5s" },
            },
        },
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "tracing": tracing,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }],
        }] },
    });
    json!({
        "admin": { "address": socket(0) },
        // Without it a first span waits for a second.
        "layered_runtime": { "layers": [{
            "name": "static", "static_layer": { "tracing.opentelemetry.min_flush_spans": 1 }
        }] },
        "static_resources": {
            "listeners": [{ "name": "in", "address": socket(0), "filter_chains": [{
                "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }],
            }] }],
            "clusters": [{
                "name": "spandrel", "type": "STATIC", "connect_timeout": "5s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
                "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls },
                "load_assignment": { "cluster_name": "spandrel", "endpoints": [{ "lb_endpoints": [{
                    "endpoint": { "address": socket(fixture.server.otlp_grpc().port()) },
                }] }] },
            }],
        },
    })
}
