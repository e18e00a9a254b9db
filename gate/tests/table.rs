//! Sends every line of the table through the gate, with each kind of credential, and compares who passes.
//!
//! The router behind the gate answers every path, so whatever is refused here was refused by the gate. That the table
//! has every route of the server is the matter of the end-to-end test `gate`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may stop at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Request, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use spandrel_gate::keys::NewKey;
use spandrel_gate::routes::{Needs, ROUTES, Rule};
use spandrel_gate::tls::{Authority, Peer, PeerCertificate};
use spandrel_gate::users::{UserFile, Users};
use spandrel_gate::{
    Access, Gate, GateConfig, Identity, KeyFile, Keys, Method, ProxyHeaders, Role, TrustedProxies, guard,
};
use tower::ServiceExt as _;

/// A gate over a router that answers everything.
struct Server {
    router: Router,
    keys: Arc<Keys>,
    now: Arc<AtomicU64>,
    _directory: tempfile::TempDir,
}

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);
const BEGIN: u64 = 1_000;

fn server(config: GateConfig) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(BEGIN));
    let shown = now.clone();
    let clock = Arc::new(move || UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::Relaxed)));
    let keys = Arc::new(Keys::open(KeyFile::of(directory.path()), config.roles.clone(), clock).unwrap());
    let users = Users::open(
        UserFile::of(directory.path()),
        config.roles.clone(),
        config.sessions.clone(),
        3,
        Duration::from_secs(3),
    );
    let users = Arc::new(users.unwrap());
    let gate = Arc::new(Gate::new(config.clone(), keys.clone(), users, None).unwrap());
    let router = Router::new().fallback(|request: Request<Body>| async move {
        let identity = request.extensions().get::<Arc<Identity>>();
        identity.map_or("nobody".to_owned(), |identity| format!("{} {}", identity.name, identity.role.name))
    });
    Server { router: guard(router, gate), keys, now, _directory: directory }
}

fn proxy_headers() -> ProxyHeaders {
    let [user, role, tenant] = ["x-user", "x-role", "x-tenant"].map(HeaderName::from_static);
    ProxyHeaders { user, role, tenant }
}

// === impl Server ===

impl Server {
    fn key(&self, role: Role, tenant: &str, lasts: Option<Duration>) -> String {
        let new = NewKey { role: role.into(), tenants: tenant.parse().unwrap(), name: "t".to_owned(), lasts };
        self.keys.create(new).unwrap().1.text().reveal().to_owned()
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let peer = Peer { address: PEER, encrypted: false, certificate: None };
        self.send_as(peer, method, path, headers).await
    }

    async fn send_as(
        &self,
        peer: Peer,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).extension(peer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn status(&self, rule: &Rule, headers: &[(&str, &str)]) -> u16 {
        let path = rule.path.replace("{*file}", "app.js").replace(['{', '}'], "");
        self.send(rule.method, &path, headers).await.status().as_u16()
    }
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn each_role_passes_exactly_where_the_table_says() {
    let server = server(GateConfig { max_failed_attempts: 1_000_000, ..GateConfig::default() });
    let keys = Role::ALL.map(|role| (role, format!("Bearer {}", server.key(role, "default", None))));
    let expired = format!("Bearer {}", server.key(Role::Admin, "default", Some(Duration::from_secs(1))));
    let of_tenant = format!("Bearer {}", server.key(Role::Admin, "acme", None));
    server.now.fetch_add(1, Ordering::Relaxed);
    for rule in ROUTES {
        let what = format!("{} {}", rule.method, rule.path);
        let is_open = rule.needs == Needs::Nothing;
        let unknown = if is_open { 200 } else { 401 };
        assert_eq!(server.status(rule, &[]).await, unknown, "{what} without a credential");
        let (rest, last) = keys[3].1.split_at(keys[3].1.len() - 1);
        let wrong = format!("{rest}{}", if last == "x" { "y" } else { "x" });
        for bad in [wrong.as_str(), expired.as_str(), "Bearer ", "Negotiate x", "Basic !"] {
            assert_eq!(
                server.status(rule, &[("authorization", bad)]).await,
                unknown,
                "{what} with {bad:.12}"
            );
        }
        for (role, key) in &keys {
            let may = match rule.needs {
                Needs::Nothing | Needs::Identity => true,
                Needs::Permission(permission) => role.may(permission),
            };
            let status = server.status(rule, &[("authorization", key)]).await;
            assert_eq!(status, if may { 200 } else { 403 }, "{what} as {role}");
        }
        let other = server.status(rule, &[("authorization", &of_tenant)]).await;
        assert_eq!(other, if is_open { 200 } else { 403 }, "{what} of another tenant");
    }
}

#[tokio::test]
async fn a_path_or_method_outside_the_table_reaches_no_handler() {
    let server = server(GateConfig::default());
    let key = format!("Bearer {}", server.key(Role::Admin, "default", None));
    for (method, path, status) in [
        ("GET", "/api/v1/new", 404),
        ("GET", "/debug/pprof", 404),
        ("POST", "/new.Service/Call", 404),
        ("TRACE", "/healthz", 405),
        ("POST", "/api/v1/traces", 405),
        ("PATCH", "/api/v1/pins/aa", 405),
    ] {
        assert_eq!(server.send(method, path, &[]).await.status(), 401, "{method} {path}");
        let answer = server.send(method, path, &[("authorization", &key)]).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_ne!(text(answer).await, "t admin");
    }
}

#[tokio::test]
async fn a_key_comes_in_three_ways_and_the_handler_learns_whose_it_is() {
    let server = server(GateConfig::default());
    let key = server.key(Role::Read, "default", None);
    let basic = {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("grafana:{key}")))
    };
    let bearer = format!("Bearer {key}");
    for header in
        [("authorization", bearer.as_str()), ("authorization", basic.as_str()), ("x-api-key", key.as_str())]
    {
        let answer = server.send("GET", "/api/v1/services", &[header]).await;
        assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "t read"));
    }
}

#[tokio::test]
async fn nobody_is_asked_while_the_server_is_open() {
    let server = server(GateConfig { access: Access::Anonymous, ..GateConfig::default() });
    for path in ["/api/v1/services", "/anything"] {
        let answer = server.send("GET", path, &[("authorization", "Bearer wrong")]).await;
        assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "nobody"));
    }
}

#[tokio::test]
async fn failed_attempts_are_bounded_by_address_and_a_valid_key_passes_all_the_same() {
    let server = server(GateConfig {
        max_failed_attempts: 3,
        failed_attempt_interval: Duration::from_secs(3_600),
        ..GateConfig::default()
    });
    let key = format!("Bearer {}", server.key(Role::Read, "default", None));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = server.send("GET", "/api/v1/services", &[("x-api-key", "wrong")]).await;
        statuses.push((answer.status().as_u16(), answer.headers().contains_key("retry-after")));
    }
    assert_eq!(statuses, [(401, false), (401, false), (429, true), (429, true)]);
    let good = server.send("GET", "/api/v1/services", &[("authorization", &key)]).await;
    assert_eq!(good.status(), 200);
    assert_eq!(server.send("GET", "/api/v1/services", &[]).await.status(), 401, "no attempt, no bound");
}

#[tokio::test]
async fn headers_name_a_user_only_if_a_listed_proxy_sends_them() {
    let proxies = |network: &str| GateConfig {
        proxies: Some(TrustedProxies::new(vec![network.parse().unwrap()], proxy_headers())),
        ..GateConfig::default()
    };
    let named = [("x-user", "ada"), ("x-role", "edit"), ("authorization", "Basic bm90OmFrZXk=")];
    let listed = server(proxies("192.0.2.0/24"));
    let answer = listed.send("GET", "/api/v1/services", &named).await;
    assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "ada edit"));
    for stranger in [server(proxies("198.51.100.0/24")), server(GateConfig::default())] {
        assert_eq!(stranger.send("GET", "/api/v1/services", &named[..2]).await.status(), 401);
    }
}

/// A proxy that ends TLS has a certificate of its own, which must not count as that of a user behind it.
#[tokio::test]
async fn the_certificate_of_a_proxy_is_no_credential_of_those_behind_it() {
    let (authority, _) = Authority::create(SystemTime::now()).unwrap();
    let issued = authority.client("gateway", None, SystemTime::now()).unwrap().certificate;
    let chain = [CertificateDer::from_pem_slice(issued.as_bytes()).unwrap()];
    let certificate = Some(Arc::new(PeerCertificate::parse(&chain).unwrap()));
    let peer = || Peer { address: PEER, encrypted: true, certificate: certificate.clone() };
    let rule = json!([{ "match": "cn:gateway", "role": "read" }]);
    let config = || GateConfig {
        methods: vec![Method::Keys, Method::Certificates],
        certificates: serde_json::from_value(rule.clone()).unwrap(),
        ..GateConfig::default()
    };
    let unlisted = server(config());
    let answer = unlisted.send_as(peer(), "GET", "/api/v1/services", &[]).await;
    assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "gateway read"));

    let proxies = TrustedProxies::new(vec!["192.0.2.0/24".parse().unwrap()], proxy_headers());
    let listed = server(GateConfig { proxies: Some(proxies), ..config() });
    assert_eq!(listed.send_as(peer(), "GET", "/api/v1/services", &[]).await.status(), 401);
    let named = [("x-user", "ada"), ("x-role", "edit")];
    let answer = listed.send_as(peer(), "GET", "/api/v1/services", &named).await;
    assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "ada edit"));
    let key = format!("Bearer {}", listed.key(Role::Read, "default", None));
    let answer = listed.send_as(peer(), "GET", "/api/v1/services", &[("authorization", &key)]).await;
    assert_eq!(answer.status(), 200, "a key that the proxy passes on counts");
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_with_what_the_browser_adds_by_itself() {
    let server = server(GateConfig::default());
    let key = server.key(Role::Edit, "default", None);
    let basic = {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!(":{key}")))
    };
    let bearer = format!("Bearer {key}");
    let host = ("host", "traces.example:16686");
    for (credential, headers, status) in [
        (&basic, vec![("sec-fetch-site", "cross-site")], 403),
        (&basic, vec![("sec-fetch-site", "same-site")], 403),
        (&basic, vec![("origin", "https://evil.example")], 403),
        (&basic, vec![("origin", "null")], 403),
        (&basic, vec![("sec-fetch-site", "same-origin")], 200),
        (&basic, vec![("origin", "https://traces.example:16686")], 200),
        (&basic, vec![], 200),
        (&bearer, vec![("sec-fetch-site", "cross-site")], 200),
    ] {
        let headers = [vec![host, ("authorization", credential.as_str())], headers].concat();
        assert_eq!(server.send("POST", "/api/v1/delete", &headers).await.status(), status, "{headers:?}");
        let read = server.send("GET", "/api/v1/services", &headers).await;
        assert_eq!(read.status(), 200, "reading changes nothing, and CORS keeps the answer from other pages");
    }
}
