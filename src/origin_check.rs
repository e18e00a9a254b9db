//! Protects a server on loopback from pages of other web sites: a request whose `Host` or `Origin` is neither loopback
//! nor listed gets 403, so that DNS rebinding reaches nothing. Listed origins may send requests (CORS).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::web;

/// Origins beyond loopback that are allowed, also as hosts.
struct Allowed {
    origins: Vec<String>,
}

/// While `address` is on loopback, refuses requests with another host or origin that is not listed.
pub(crate) fn require_loopback(router: Router, address: SocketAddr, cors_origins: &[String]) -> Router {
    if !address.ip().is_loopback() {
        return router;
    }
    let allowed = Arc::new(Allowed { origins: cors_origins.to_vec() });
    router.layer(middleware::from_fn_with_state(allowed, check))
}

/// Lets pages of the listed origins send requests, by CORS headers.
pub(crate) fn cors(router: Router, cors_origins: &[String]) -> Router {
    if cors_origins.is_empty() {
        return router;
    }
    let origins = if cors_origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let methods = [Method::GET, Method::HEAD];
    router.layer(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers(AllowHeaders::mirror_request()),
    )
}

async fn check(State(allowed): State<Arc<Allowed>>, request: Request, next: Next) -> Response {
    match allowed.disallowed_origin(&request) {
        None => next.run(request).await,
        Some(name) => {
            let detail = format!(
                "{name} is neither loopback nor listed; ask under localhost, list the origin with \
                 --cors-origin, or bind to another address than loopback"
            );
            web::problem(StatusCode::FORBIDDEN, "Forbidden", &detail)
        }
    }
}

// === impl Allowed ===

impl Allowed {
    /// The host or origin of a request that is not allowed.
    fn disallowed_origin(&self, request: &Request) -> Option<String> {
        let headers = request.headers();
        let host =
            text(headers, header::HOST).or(request.uri().authority().map(|authority| authority.as_str()));
        let host = host.filter(|_| !is_grpc(request));
        if let Some(host) = host.filter(|host| !is_loopback(host) && !self.lists_host(host)) {
            return Some(format!("Host `{host}`"));
        }
        let origin = text(headers, header::ORIGIN)?;
        let known = self.lists(origin) || origin.split_once("://").is_some_and(|(_, host)| is_loopback(host));
        (!known).then(|| format!("Origin `{origin}`"))
    }

    fn lists(&self, origin: &str) -> bool {
        self.origins.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin))
    }

    /// A `*` opens origins, not hosts: it must not undo the protection from rebinding.
    fn lists_host(&self, host: &str) -> bool {
        let hosts = self.origins.iter().filter_map(|origin| origin.split_once("://"));
        hosts.into_iter().any(|(_, listed)| listed.eq_ignore_ascii_case(host))
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    // A header that is not text becomes `?`, which no allowed host or origin equals.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Proxies for gRPC send the name of their cluster as the host. No page of another site can send such a request: without
/// TLS browsers speak HTTP/1 only, and with TLS they refuse a certificate that does not have the site's name.
fn is_grpc(request: &Request) -> bool {
    let content_type = text(request.headers(), header::CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && content_type.is_some_and(|kind| kind.starts_with("application/grpc"))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn is_refused(host: &str, origin: Option<&str>, listed: &[&str]) -> bool {
        let allowed = Allowed { origins: listed.iter().map(|origin| (*origin).to_owned()).collect() };
        let mut request = Request::builder().header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        allowed.disallowed_origin(&request.body(Body::empty()).unwrap()).is_some()
    }

    #[test]
    fn loopback_in_all_its_spellings_passes() {
        for host in [
            "localhost",
            "localhost:16686",
            "LOCALHOST:1",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
            "shop.localhost",
        ] {
            assert!(!is_refused(host, Some("http://localhost:5173"), &[]), "{host}");
        }
    }

    #[test]
    fn other_hosts_and_origins_are_refused() {
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", ""]
        {
            assert!(is_refused(host, None, &[]), "{host}");
        }
        for origin in ["http://evil.example", "null", "https://localhost.evil.example"] {
            assert!(is_refused("localhost", Some(origin), &[]), "{origin}");
        }
    }

    #[test]
    fn grpc_may_name_any_host_where_browsers_cannot() {
        let refused = |version, origin: Option<&str>| {
            let request = Request::builder().version(version).uri("http://otel_cluster/");
            let mut request = request.header(header::CONTENT_TYPE, "application/grpc+proto");
            if let Some(origin) = origin {
                request = request.header(header::ORIGIN, origin);
            }
            let allowed = Allowed { origins: Vec::new() };
            allowed.disallowed_origin(&request.body(Body::empty()).unwrap()).is_some()
        };
        assert!(!refused(Version::HTTP_2, None));
        assert!(refused(Version::HTTP_2, Some("http://otel_cluster")));
        assert!(refused(Version::HTTP_11, None));
    }

    #[test]
    fn what_is_listed_passes_but_a_star_opens_no_host() {
        let listed = ["https://shop.example:8443"];
        assert!(!is_refused("shop.example:8443", Some("https://shop.example:8443"), &listed));
        assert!(is_refused("shop.example:8443", Some("http://shop.example:8443"), &listed));
        assert!(!is_refused("localhost", Some("https://any.example"), &["*"]));
        assert!(is_refused("any.example", None, &["*"]));
    }
}
