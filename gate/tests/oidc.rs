//! The login at an identity provider, step by step, with a provider that can be made to lie. The login with a real
//! provider and a real browser is the end-to-end test `oidc`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may stop at the first surprise")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use spandrel_gate::users::{UserFile, Users};
use spandrel_gate::{Gate, GateConfig, KeyFile, Keys, Method, Secret, api, guard};
use tower::ServiceExt as _;

/// Where a browser goes after it has logged out at the provider.
const AFTER: &str = "https://traces.example/";

/// What the provider puts into its next token, and what it was sent.
#[derive(Default)]
struct State {
    /// Members that differ from those of a good token.
    changed: Value,
    error: Option<&'static str>,
    /// The token endpoint fails.
    is_broken: bool,
    /// Forms of the token endpoint, and their `Authorization`.
    forms: Vec<(BTreeMap<String, String>, String)>,
    nonce: String,
}

struct Idp {
    issuer: String,
    state: Arc<Mutex<State>>,
}

/// A login that was begun: what the browser was sent with.
struct Begun {
    query: BTreeMap<String, String>,
    cookie: String,
}

fn query_of(url: &str) -> BTreeMap<String, String> {
    serde_urlencoded::from_str(url.split_once('?').unwrap().1).unwrap()
}

async fn idp() -> Idp {
    idp_with(|_| json!({})).await
}

/// A provider with other members in its metadata, which may depend on its issuer.
async fn idp_with(more: impl Fn(&str) -> Value) -> Idp {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    let [x, y] = [1..33, 33..65].map(|part| URL_SAFE_NO_PAD.encode(&pair.public_key().as_ref()[part]));
    let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y }] });
    let mut metadata = json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/keys"),
        "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
    });
    metadata.as_object_mut().unwrap().extend(more(&issuer).as_object().unwrap().clone());
    let state = Arc::new(Mutex::new(State::default()));
    let (shared, name) = (state.clone(), issuer.clone());
    let pair = Arc::new(pair);
    let token = move |headers: HeaderMap, body: Bytes| async move {
        let mut state = shared.lock();
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        state.forms.push((serde_urlencoded::from_bytes(&body).unwrap(), authorization.unwrap_or_default()));
        if state.is_broken {
            return (StatusCode::BAD_GATEWAY, Json(json!({ "error": "server_error" })));
        }
        if let Some(error) = state.error {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": error })));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": name, "aud": "spandrel", "exp": now + 60, "sub": "ada", "groups": ["dev"], "nonce": state.nonce
        });
        if let Value::Object(changed) = &state.changed {
            claims.as_object_mut().unwrap().extend(changed.clone());
        }
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encoded(&json!({ "alg": "ES256", "kid": "k" })), encoded(&claims));
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        (StatusCode::OK, Json(json!({ "id_token": token, "access_token": "unused", "token_type": "Bearer" })))
    };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(|| async move { Json(metadata) }))
        .route("/keys", get(|| async move { Json(keys) }))
        .route("/token", post(token));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Idp { issuer, state }
}

fn server(idp: &Idp) -> Router {
    let oidc = json!({
        "issuer": idp.issuer, "name": "Keys & Co", "client-id": "spandrel",
        "redirect-url": "https://traces.example/api/v1/oidc/callback", "post-logout-url": AFTER, "identity": { "roles": { "dev": "edit" } }
    });
    let config = GateConfig {
        methods: vec![Method::Oidc],
        oidc: Some((serde_json::from_value(oidc).unwrap(), Some(Secret::new("s:ecret")))),
        max_failed_attempts: 5,
        failed_attempt_interval: Duration::from_secs(3_600),
        ..GateConfig::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let roles = config.roles.clone();
    let keys = Keys::open(KeyFile::of(folder.path()), roles.clone(), spandrel_gate::keys::system_clock());
    let users = UserFile::of(folder.path());
    let users = Users::open(users, roles, config.sessions.clone(), 3, Duration::from_secs(3)).unwrap();
    let gate = Arc::new(Gate::new(config, Arc::new(keys.unwrap()), Arc::new(users), None).unwrap());
    guard(api::router(gate.clone()), gate)
}

async fn send(router: &Router, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let address: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let peer = spandrel_gate::tls::Peer { address, encrypted: false, certificate: None };
    let mut request = Request::get(path).extension(peer);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The cookie that an answer sets, as `NAME=VALUE`, and the attributes after it.
fn cookie(response: &Response<Body>, name: &str) -> Option<(String, String)> {
    let all = response.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let found = all.into_iter().find(|text| text.starts_with(&format!("{name}=")))?;
    let (pair, attributes) = found.split_once(';').unwrap();
    Some((pair.to_owned(), attributes.to_owned()))
}

async fn begin(router: &Router, idp: &Idp, next: &str) -> Begun {
    let answer = send(router, &format!("/api/v1/oidc/login?next={next}"), &[]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(&format!("{}/authorize?", idp.issuer)), "{location}");
    let (cookie, attributes) = cookie(&answer, "spandrel_login").unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/api/v1/oidc/callback", "Max-Age=600"] {
        assert!(attributes.contains(attribute), "{attribute}: {attributes}");
    }
    let query = query_of(&location);
    idp.state.lock().nonce = query["nonce"].clone();
    Begun { query, cookie }
}

async fn finish(router: &Router, begun: &Begun, state: &str, more: &str) -> Response<Body> {
    let path = format!("/api/v1/oidc/callback?state={state}{more}");
    send(router, &path, &[("cookie", &begun.cookie)]).await
}

async fn refused(answer: Response<Body>, status: u16, word: &str) {
    assert!(cookie(&answer, "spandrel_session").is_none(), "{word}: no session begins");
    let spent = cookie(&answer, "spandrel_login").unwrap();
    assert!(spent.0 == "spandrel_login=" && spent.1.contains("Max-Age=0"), "a ticket is for one attempt");
    assert_eq!(answer.status().as_u16(), status, "{word}");
    let page = text(answer).await;
    assert!(page.contains(word) && page.contains("Sign in with Keys &amp; Co"), "{word}: {page}");
}

#[tokio::test]
async fn a_login_begins_a_session_and_leads_to_the_page_that_was_asked_for() {
    let idp = idp().await;
    let router = server(&idp);
    let begun = begin(&router, &idp, "/trace/aa%3Fx%3D1").await;
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "spandrel"),
        ("scope", "openid profile"),
        ("redirect_uri", "https://traces.example/api/v1/oidc/callback"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(begun.query[name], value);
    }
    let answer = finish(&router, &begun, &begun.query["state"], "&code=c0de").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let (session, attributes) = cookie(&answer, "spandrel_session").unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Secure"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert!(text(answer).await.contains("content=\"0;url=/trace/aa?x=1\""));
    {
        let state = idp.state.lock();
        let (form, authorization) = &state.forms[0];
        assert_eq!((form["code"].as_str(), form["grant_type"].as_str()), ("c0de", "authorization_code"));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
        assert_eq!(challenge, begun.query["code_challenge"]);
        assert_eq!(*authorization, format!("Basic {}", STANDARD.encode("spandrel:s%3Aecret")));
    }
    let me = send(&router, "/api/v1/me", &[("cookie", &session)]).await;
    let me: Value = serde_json::from_str(&text(me).await).unwrap();
    assert_eq!((&me["name"], &me["role"], &me["via"]), (&json!("ada"), &json!("edit"), &json!("oidc")));
}

#[tokio::test]
async fn a_login_leads_to_no_other_site() {
    let idp = idp().await;
    let router = server(&idp);
    for next in
        ["//evil.example", "https://evil.example", "%2F%5Cevil.example", "/a%0d%0ab", "/%09/evil.example"]
    {
        let begun = begin(&router, &idp, next).await;
        let answer = finish(&router, &begun, &begun.query["state"], "&code=c").await;
        assert!(text(answer).await.contains("content=\"0;url=/\""), "{next}");
    }
    assert_eq!(send(&router, "/api/v1/oidc/login?next=/&x=1", &[]).await.status(), 400);
}

#[tokio::test]
async fn a_callback_without_its_login_begins_no_session() {
    let idp = idp().await;
    let router = server(&idp);
    let begun = begin(&router, &idp, "/").await;
    let state = begun.query["state"].clone();
    refused(finish(&router, &begun, "another", "&code=c").await, 401, "not begun in this browser").await;
    let foreign = begin(&server(&idp), &idp, "/").await;
    let answer = finish(&router, &foreign, &foreign.query["state"], "&code=c").await;
    refused(answer, 401, "not begun in this browser").await;
    let bare = send(&router, &format!("/api/v1/oidc/callback?state={state}&code=c"), &[]).await;
    refused(bare, 401, "not begun in this browser").await;
    assert!(idp.state.lock().forms.is_empty(), "no code was exchanged");
}

#[tokio::test]
async fn what_the_provider_refuses_or_another_one_says_begins_no_session() {
    let idp = idp().await;
    let router = server(&idp);
    let begun = begin(&router, &idp, "/").await;
    let state = begun.query["state"].clone();
    let answer = finish(&router, &begun, &state, "&error=access_denied").await;
    refused(answer, 401, "did not let you in (access_denied)").await;
    let answer = finish(&router, &begun, &state, "&code=c&iss=https://evil.example").await;
    refused(answer, 401, "another identity provider").await;
    // As a real one answers to a code that was used before.
    idp.state.lock().error = Some("invalid_grant");
    refused(finish(&router, &begun, &state, "&code=c").await, 401, "invalid_grant").await;
}

#[tokio::test]
async fn a_token_that_is_not_of_this_login_begins_no_session() {
    for (changed, status, word) in [
        (json!({ "nonce": "another" }), 401, "belongs to another login"),
        (json!({ "nonce": null }), 401, "belongs to another login"),
        (json!({ "aud": "another" }), 401, "another audience"),
        (json!({ "aud": ["spandrel", "x"], "azp": "x" }), 401, "another audience"),
        (json!({ "iss": "https://evil.example" }), 401, "no issuer"),
        (json!({ "exp": 1 }), 401, "expired"),
        (json!({ "groups": [] }), 403, "ada is known, and has no role here"),
    ] {
        let idp = idp().await;
        let router = server(&idp);
        idp.state.lock().changed = changed;
        let begun = begin(&router, &idp, "/").await;
        refused(finish(&router, &begun, &begun.query["state"], "&code=c").await, status, word).await;
    }
}

#[tokio::test]
async fn failed_logins_are_bounded_by_address() {
    let idp = idp().await;
    let router = server(&idp);
    let begun = begin(&router, &idp, "/").await;
    let state = begun.query["state"].clone();
    // Callbacks with an invented state, refusals by the provider and its failures are no failed attempts.
    for _ in 0..6 {
        assert_eq!(finish(&router, &begun, "guessed", "&code=c").await.status(), 401);
        assert_eq!(finish(&router, &begun, &state, "&error=access_denied").await.status(), 401);
    }
    idp.state.lock().is_broken = true;
    for _ in 0..6 {
        assert_eq!(finish(&router, &begun, &state, "&code=c").await.status(), 503);
    }
    idp.state.lock().is_broken = false;
    idp.state.lock().error = Some("invalid_grant");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(finish(&router, &begun, &state, "&code=guessed").await.status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
}

#[tokio::test]
async fn a_provider_with_an_endpoint_that_is_not_safe_is_not_used() {
    for endpoint in ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"] {
        let idp = idp_with(|_| json!({ endpoint: "http://id.example/x" })).await;
        let answer = send(&server(&idp), "/api/v1/oidc/login", &[]).await;
        assert_eq!(answer.status(), 503, "{endpoint}");
        assert!(!answer.headers().contains_key("location"), "{endpoint}");
    }
    let other = idp_with(|_| json!({ "issuer": "https://id.example" })).await;
    assert_eq!(send(&server(&other), "/api/v1/oidc/login", &[]).await.status(), 503, "another issuer");
}

#[tokio::test]
async fn a_logout_leads_to_the_provider_where_that_ends_sessions() {
    let ends = idp_with(|issuer| json!({ "end_session_endpoint": format!("{issuer}/end?a=b") })).await;
    let keeps = idp().await;
    let answer = log_out(&ends).await;
    assert_eq!(answer.status(), 200);
    let body: Value = serde_json::from_str(&text(answer).await).unwrap();
    let location = body["location"].as_str().unwrap();
    assert!(location.starts_with(&format!("{}/end?a=b&", ends.issuer)), "{location}");
    let query = query_of(location);
    assert_eq!(
        (query["client_id"].as_str(), query["post_logout_redirect_uri"].as_str()),
        ("spandrel", AFTER)
    );
    assert_eq!(log_out(&keeps).await.status(), 204);
}

/// Logs in and out. There is no session afterwards.
async fn log_out(idp: &Idp) -> Response<Body> {
    let router = server(idp);
    let begun = begin(&router, idp, "/").await;
    let answer = finish(&router, &begun, &begun.query["state"], "&code=c").await;
    let (session, _) = cookie(&answer, "spandrel_session").unwrap();
    let request = Request::post("/api/v1/logout").header("cookie", &session).body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    assert_eq!(cookie(&answer, "spandrel_session").unwrap().0, "spandrel_session=");
    assert_eq!(send(&router, "/api/v1/me", &[("cookie", &session)]).await.status(), 401);
    answer
}

#[tokio::test]
async fn an_idle_provider_gives_503_and_the_page_offers_no_password() {
    let idp = Idp { issuer: "http://127.0.0.1:1".to_owned(), state: Arc::default() };
    let router = server(&idp);
    let answer = send(&router, "/api/v1/oidc/login", &[]).await;
    assert_eq!(answer.status(), 503);
    let page = send(&router, "/api/v1/keys", &[("accept", "text/html")]).await;
    let page = text(page).await;
    assert!(
        page.contains("/api/v1/oidc/login?next=%2Fapi%2Fv1%2Fkeys") && !page.contains("password"),
        "{page}"
    );
}
