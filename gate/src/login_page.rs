//! The page with which a browser is answered that has no session: a form, without any script.
//!
//! It stands in one answer of its own, so that no other file of the server has to be open to everybody. Its policy
//! allows its own style and nothing else.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;margin:0;background:light-dark(#f4f5f7,#16181d);color:light-dark(#1b1e24,#e8eaee)}\
main{max-width:20rem;margin:15vh auto;padding:2rem;background:light-dark(#fff,#20232a);border-radius:8px}\
h1{font-size:1.25rem;margin:0 0 1rem}\
label{display:block;margin-top:1rem}\
input,button{font:inherit;box-sizing:border-box;width:100%;padding:.5rem;border:1px solid #767c88;border-radius:4px;background:light-dark(#fff,#16181d);color:inherit}\
button,.button{margin-top:1.5rem;background:#1d4ed8;border-color:#1d4ed8;color:#fff;cursor:pointer}\
.button{display:block;box-sizing:border-box;padding:.5rem;border-radius:4px;text-align:center;text-decoration:none}\
:focus-visible{outline:3px solid light-dark(#1d4ed8,#8ab4ff);outline-offset:2px}\
[role=alert]{color:light-dark(#a1180c,#ff9d94);margin:0}";

/// Bytes of the longest path that a login leads to. It travels in a cookie, and browsers keep 4,096 bytes of one.
const MAX_NEXT: usize = 2_000;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The ways to log in that there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offers<'s> {
    /// A name and a password.
    pub(crate) passwords: bool,
    /// What the identity provider is called, where there is one.
    pub(crate) provider: Option<&'s str>,
}

/// The page. `problem` is shown above the ways to log in, and `next` is the path that was asked for.
pub(crate) fn page(
    status: StatusCode,
    problem: Option<&str>,
    next: &str,
    request: &HeaderMap,
    offers: Offers<'_>,
) -> Response {
    let problem = problem.map(|text| format!("<p role=\"alert\">{}</p>", escape(text))).unwrap_or_default();
    let next = local(next);
    let provider = offers.provider.map(|name| provider_link(name, next)).unwrap_or_default();
    let next = escape(next);
    let form = if offers.passwords { password_form(&next) } else { String::new() };
    let go_on = match came_by_a_link(request) {
        true => format!("<p>Signed in already? <a href=\"{next}\">Go on</a>.</p>"),
        false => String::new(),
    };
    respond(status, &format!("<h1>Sign in to Spandrel</h1>{problem}{provider}{form}{go_on}"), "")
}

fn provider_link(name: &str, next: &str) -> String {
    let query = serde_urlencoded::to_string([("next", next)]).unwrap_or_default();
    let (query, name) = (escape(&query), escape(name));
    format!("<p><a class=\"button\" href=\"/api/v1/oidc/login?{query}\">Sign in with {name}</a></p>")
}

fn password_form(next: &str) -> String {
    format!(
        "<form method=\"post\" action=\"/api/v1/login\">\
         <input type=\"hidden\" name=\"next\" value=\"{next}\">\
         <label for=\"name\">Name</label>\
         <input id=\"name\" name=\"name\" autocomplete=\"username\" required autofocus>\
         <label for=\"password\">Password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\
         <button type=\"submit\">Sign in</button></form>"
    )
}

/// A page that leads to a path of this server at once. A redirect would still be the request of the identity provider,
/// which carries no session (SameSite=Strict); this page is of this server, and so is the request that it makes.
pub(crate) fn go_on(next: &str) -> Response {
    let next = escape(local(next));
    respond(
        StatusCode::OK,
        &format!("<h1>You are signed in</h1><p><a href=\"{next}\">Go on</a></p>"),
        &format!("<meta http-equiv=\"refresh\" content=\"0;url={next}\">"),
    )
}

/// Whether a link of another site led here: then the browser has kept back the cookie of a session that there may be
/// (SameSite=Strict), and sends it with the next request.
fn came_by_a_link(request: &HeaderMap) -> bool {
    let site = request.get(FETCH_SITE).map(HeaderValue::as_bytes);
    site.is_some_and(|site| site == b"cross-site" || site == b"same-site")
}

/// A path of this server, `/` for anything else: a login must not lead to another site. Browsers leave tabs and newlines
/// out of an address and read a backslash as a slash, so that `/<tab>/evil.example` would lead there.
pub(crate) fn local(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && next.len() <= MAX_NEXT;
    let is_local = is_path && !next.contains(|c: char| c == '\\' || c.is_control());
    if is_local { next } else { "/" }
}

fn respond(status: StatusCode, main: &str, head: &str) -> Response {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Sign in - Spandrel</title>{head}\
         <style>{STYLE}</style></head><body><main>{main}</main></body></html>"
    );
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    const OFFERS: Offers<'static> = Offers { passwords: true, provider: None };

    #[tokio::test]
    async fn nothing_of_the_address_becomes_markup() {
        let page = page(
            StatusCode::UNAUTHORIZED,
            Some("<b>"),
            "/trace/\"><script>",
            &HeaderMap::new(),
            Offers { passwords: true, provider: Some("<b>&") },
        );
        assert!(page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
        let body = to_bytes(page.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!text.contains("<b>") && !text.contains("<script>"), "{text}");
        assert!(text.contains("value=\"/trace/&quot;&gt;&lt;script&gt;\""), "{text}");
    }

    #[tokio::test]
    async fn a_link_from_elsewhere_can_go_on_with_a_session_that_there_is() {
        let elsewhere: HeaderMap =
            [(FETCH_SITE, HeaderValue::from_static("cross-site"))].into_iter().collect();
        for (request, offers) in [(elsewhere, true), (HeaderMap::new(), false)] {
            let page = page(StatusCode::UNAUTHORIZED, None, "/trace/aa", &request, OFFERS);
            let body = to_bytes(page.into_body(), usize::MAX).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&body).contains("href=\"/trace/aa\""), offers);
        }
    }

    #[test]
    fn a_login_leads_to_this_server_alone() {
        for next in ["/", "/trace/aa?x=1", "/services"] {
            assert_eq!(local(next), next);
        }
        for next in ["", "x", "//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb"] {
            assert_eq!(local(next), "/");
        }
        for next in ["/\t/evil.example", "/\n/evil.example", "/\u{0}", "/\u{7f}", "/\u{85}/evil.example"] {
            assert_eq!(local(next), "/", "{next:?}");
        }
        let longest = format!("/{}", "x".repeat(1_999));
        assert_eq!(local(&longest), longest);
        assert_eq!(local(&format!("{longest}x")), "/");
    }
}
