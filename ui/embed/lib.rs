//! The web UI's files inside the binary: look one up by its path, get bytes and a content type.
//!
//! With the feature `app` these are what npm built into `ui/dist`; without it there is one start page
//! that says how to get them. Not here: HTTP. Routes, ETags and cache headers are the server's.

#[cfg(feature = "app")]
mod app;

use std::borrow::Cow;

/// Served where the UI was not built in.
const START_PAGE: &str = include_str!("start.html");

const HTML: &str = "text/html; charset=utf-8";

/// Where the build puts files whose names carry a hash of their content.
const HASHED: &str = "assets/";

/// One file of the UI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The file's content, uncompressed.
    pub bytes: Cow<'static, [u8]>,
    /// What to send as `Content-Type`.
    pub content_type: &'static str,
    /// Whether this path will never have other content, so that browsers may keep it for good.
    pub immutable: bool,
}

/// The file at a URL path, with or without its leading slash; `None` when there is none.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    let path = path.trim_start_matches('/');
    let bytes = file(path)?;
    Some(Asset { bytes, content_type: content_type(path), immutable: path.starts_with(HASHED) })
}

/// The page to answer every path with that is the app's own, like `/trace/...`.
#[must_use]
pub fn index() -> Asset {
    let bytes = file("index.html").unwrap_or(Cow::Borrowed(START_PAGE.as_bytes()));
    Asset { bytes, content_type: HTML, immutable: false }
}

/// What to answer a browser's path with: the file, or the app for the pages that it has.
/// `None` for everything else: a script answered with HTML would take it for what it asked for.
#[must_use]
pub fn page(path: &str) -> Option<Asset> {
    asset(path).or_else(|| is_page(path).then(index))
}

/// Whether the app (`ui/src/address/routes.ts`) has a page at a path.
fn is_page(path: &str) -> bool {
    let mut parts = path.trim_matches('/').split('/');
    let parts = (parts.next(), parts.next(), parts.next());
    matches!(
        parts,
        (Some("" | "services" | "mesh" | "keys" | "usage" | "audit"), None, _)
            | (Some("trace" | "services"), Some(_), None)
    )
}

#[cfg(feature = "app")]
fn file(path: &str) -> Option<Cow<'static, [u8]>> {
    app::file(path)
}

#[cfg(not(feature = "app"))]
fn file(_path: &str) -> Option<Cow<'static, [u8]>> {
    None
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => HTML,
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_page_names_what_a_headless_server_answers() {
        for needed in
            ["make build", "/api/v1/traces", "/api/v1/openapi.json", "--otlp-grpc-addr", "/v1/traces"]
        {
            assert!(START_PAGE.contains(needed), "{needed} is missing");
        }
    }

    #[test]
    fn every_page_of_the_app_leads_to_the_index() {
        let source = include_str!("../src/address/routes.ts");
        let listed = source.split_once("ROUTES = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
        let routes: Vec<_> = listed.split('"').skip(1).step_by(2).collect();
        assert!(routes.contains(&"/trace/:id"), "{routes:?}");
        for route in routes {
            assert_eq!(page(route), Some(index()), "{route}");
        }
        assert_eq!(page("/services/"), Some(index()));
        assert_eq!(page("/services/gate%2Fway"), Some(index()));
        assert_eq!(page("/services/100%25"), Some(index()));
    }

    #[test]
    fn other_paths_lead_to_nothing() {
        for path in [
            "/assets/gone-0123.js",
            "/jaeger/",
            "/tempo/api/search",
            "/trace",
            "/trace/a/b",
            "/keys/a",
            "/x.js",
        ] {
            assert_eq!(page(path), None, "{path}");
        }
        assert_eq!(asset("/no/such/file.js"), None);
    }

    #[test]
    fn the_index_is_html_and_is_asked_for_anew() {
        let index = index();
        assert_eq!(index.content_type, HTML);
        assert!(!index.immutable);
        assert!(!index.bytes.is_empty());
    }

    #[cfg(not(feature = "app"))]
    #[test]
    fn a_headless_build_serves_the_start_page() {
        assert_eq!(index().bytes, START_PAGE.as_bytes());
        assert_eq!(asset("/index.html"), None);
    }

    #[cfg(feature = "app")]
    #[test]
    fn every_file_that_the_index_names_is_there() {
        let html = String::from_utf8(index().bytes.into_owned()).unwrap();
        let named: Vec<_> = html.split('"').filter_map(|part| part.strip_prefix("./")).collect();
        assert!(named.iter().any(|path| path.ends_with(".js")), "the index names no script: {html}");
        for path in named {
            let found = asset(path).unwrap_or_else(|| panic!("{path} is missing"));
            assert_eq!(found.immutable, path.starts_with(HASHED), "{path}");
            assert_ne!(found.content_type, "application/octet-stream", "{path}");
        }
    }
}
