//! Bearer tokens through the gate: whose are believed, and everything that is wrong with those that are not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may stop at the first surprise")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use spandrel_gate::idp::{IssuerSettings, ProviderLimits};
use spandrel_gate::users::{UserFile, Users};
use spandrel_gate::{Gate, GateConfig, Identity, KeyFile, Keys, Method, guard};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

/// The key of an issuer.
struct Signer {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

/// An identity provider that serves these keys, and counts how often it was asked. While its gate has no place it is
/// silent.
struct Idp {
    address: SocketAddr,
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

const ISSUER: &str = "https://id.example/realm";

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are all right.
fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": ["other", "spandrel"], "exp": now() + 600, "sub": "ada", "groups": ["dev"] })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

// === impl Signer ===

impl Signer {
    fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self { kid, pair: pair.unwrap() }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": x, "y": y })
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid }), claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

// === impl Idp ===

impl Idp {
    async fn start(keys: Value) -> Self {
        let keys = Arc::new(Mutex::new(Some(json!({ "keys": keys }))));
        let asked = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(1));
        let (shown, counted, opened) = (keys.clone(), asked.clone(), gate.clone());
        let answer = move || async move {
            counted.fetch_add(1, Ordering::Relaxed);
            let _place = opened.acquire().await;
            let keys = shown.lock().clone();
            keys.map(|keys| keys.to_string()).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", get(answer))).await });
        Self { address, keys, asked, gate }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn settings(&self) -> IssuerSettings {
        settings(json!({ "jwks-url": format!("http://{}/keys", self.address) }))
    }
}

/// Tasks of this test that have not ended.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn settings(more: Value) -> IssuerSettings {
    let mut settings = json!({
        "issuer": ISSUER, "audience": "spandrel", "identity": { "roles": { "ops": "admin", "dev": "read" } }
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(settings).unwrap()
}

fn config(issuer: IssuerSettings, interval: Duration) -> GateConfig {
    GateConfig {
        methods: vec![Method::Keys, Method::Jwt],
        issuers: vec![issuer],
        providers: ProviderLimits { interval, ..ProviderLimits::default() },
        max_failed_attempts: 1_000,
        ..GateConfig::default()
    }
}

fn server(config: GateConfig) -> Router {
    let folder = tempfile::tempdir().unwrap();
    let roles = config.roles.clone();
    let keys = Keys::open(KeyFile::of(folder.path()), roles.clone(), spandrel_gate::keys::system_clock());
    let users = UserFile::of(folder.path());
    let users = Users::open(users, roles, config.sessions.clone(), 3, Duration::from_secs(3));
    let gate = Gate::new(config, Arc::new(keys.unwrap()), Arc::new(users.unwrap()), None).unwrap();
    let router = Router::new().fallback(|request: Request<Body>| async move {
        let identity = request.extensions().get::<Arc<Identity>>().unwrap();
        format!("{} {} {}", identity.name, identity.role.name, identity.account())
    });
    guard(router, Arc::new(gate))
}

/// Status and body of a question with this token.
async fn ask(router: &Router, token: &str) -> (u16, String) {
    let request = Request::get("/api/v1/services").header("authorization", format!("Bearer {token}"));
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn refused(router: &Router, token: &str, word: &str) {
    let (status, said) = ask(router, token).await;
    assert!(status == 401 && said.contains(word), "{word}: {status} {said}");
}

#[tokio::test]
async fn a_token_of_the_issuer_is_an_identity() {
    let signer = Signer::new("k1");
    let idp = Idp::start(json!([signer.jwk()])).await;
    let router = server(config(idp.settings(), Duration::ZERO));
    let answer = ask(&router, &signer.sign(&claims())).await;
    assert_eq!(answer, (200, format!("ada read jwt:{ISSUER}:ada")));
    assert_eq!(ask(&router, &signer.sign(&with("groups", json!(["dev", "ops"])))).await.0, 200);
    for _ in 0..3 {
        ask(&router, &signer.sign(&claims())).await;
    }
    assert_eq!(idp.asked(), 1, "the keys are kept");
}

#[tokio::test]
async fn every_claim_that_is_wrong_refuses_a_token() {
    let signer = Signer::new("k1");
    let idp = Idp::start(json!([signer.jwk()])).await;
    let router = server(config(idp.settings(), Duration::ZERO));
    for (claims, word) in [
        (with("exp", json!(now() - 61)), "expired"),
        (without("exp"), "`exp`"),
        (with("exp", json!("soon")), "`exp`"),
        (with("nbf", json!(now() + 120)), "not valid yet"),
        (with("aud", json!("another")), "another audience"),
        (with("aud", json!([])), "audience"),
        (without("aud"), "`aud`"),
        (with("iss", json!("https://evil.example")), "no issuer of this server"),
        (with("iss", json!(format!("{ISSUER}/"))), "no issuer of this server"),
        (without("iss"), "no signed JWT"),
    ] {
        refused(&router, &signer.sign(&claims), word).await;
    }
    let (status, said) = ask(&router, &signer.sign(&with("groups", json!(["strangers"])))).await;
    assert!(status == 403 && said.contains("ada is known, and has no role here"), "{said}");
    let (status, said) = ask(&router, &signer.sign(&without("sub"))).await;
    assert!(status == 403 && said.contains("`sub`"), "{said}");
    assert_eq!(ask(&router, &signer.sign(&with("exp", json!(now() - 30)))).await.0, 200, "within the skew");
    assert_eq!(ask(&router, &signer.sign(&with("nbf", json!(now() + 30)))).await.0, 200, "within the skew");
}

#[tokio::test]
async fn signatures_of_others_and_other_algorithms_are_refused() {
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k1"));
    let shared = json!({ "kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode("everybody reads this") });
    let idp = Idp::start(json!([signer.jwk(), shared])).await;
    let router = server(config(idp.settings(), Duration::ZERO));
    refused(&router, &stranger.sign(&claims()), "signature").await;
    let good = signer.sign(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let raised = encoded(&with("groups", json!(["ops"])));
    refused(&router, &format!("{head}.{raised}.{signature}"), "signature").await;
    refused(&router, &format!("{message}."), "signature").await;

    for algorithm in ["none", "None", "nOnE", "", "HS256", "HS384", "HS512", "ES512", "X"] {
        let header = json!({ "alg": algorithm, "kid": "k1" });
        for signature in ["", signature] {
            let token = format!("{}.{}.{signature}", encoded(&header), encoded(&claims()));
            refused(&router, &token, "algorithm").await;
        }
    }
    // The public key as the secret of an HMAC: the classic confusion.
    for kid in ["k1", "s"] {
        let message = format!("{}.{}", encoded(&json!({ "alg": "HS256", "kid": kid })), encoded(&claims()));
        let secret = if kid == "s" { b"everybody reads this" } else { signer.pair.public_key().as_ref() };
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let tag = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
        refused(&router, &format!("{message}.{tag}"), "algorithm").await;
    }
    // A family that the key does not have, an algorithm that it is not for, and a key that the token brings along.
    refused(&router, &signer.sign_as(&json!({ "alg": "RS256", "kid": "k1" }), &claims()), "does not have")
        .await;
    refused(&router, &signer.sign_as(&json!({ "alg": "ES384", "kid": "k1" }), &claims()), "does not have")
        .await;
    let brought =
        json!({ "alg": "ES256", "kid": "k1", "jwk": stranger.jwk(), "jku": "https://evil.example" });
    refused(&router, &stranger.sign_as(&brought, &claims()), "signature").await;
    let critical = json!({ "alg": "ES256", "kid": "k1", "crit": ["exp"] });
    refused(&router, &signer.sign_as(&critical, &claims()), "no signed JWT").await;
    for text in ["..", "a.b.c", "e30.e30.e30", "e30.e30.", "😀.😀.😀"] {
        assert_eq!(ask(&router, text).await.0, 401, "{text}");
    }
    refused(&router, &format!("{good}.x"), "no key of this server").await;
}

#[tokio::test]
async fn only_the_algorithms_of_the_configuration_are_taken() {
    let signer = Signer::new("k1");
    let idp = Idp::start(json!([signer.jwk()])).await;
    let settings =
        IssuerSettings { algorithms: vec![spandrel_gate::idp::Algorithm::RS256], ..idp.settings() };
    let router = server(config(settings, Duration::ZERO));
    refused(&router, &signer.sign(&claims()), "algorithm").await;
    assert_eq!(idp.asked(), 0, "nothing is fetched for it");
}

#[tokio::test]
async fn an_exchanged_key_is_fetched_and_a_failed_fetch_keeps_the_old_ones() {
    let (first, second, third) = (Signer::new("k1"), Signer::new("k2"), Signer::new("k3"));
    let idp = Idp::start(json!([first.jwk()])).await;
    let router = server(config(idp.settings(), Duration::ZERO));
    assert_eq!(ask(&router, &first.sign(&claims())).await.0, 200);
    *idp.keys.lock() = Some(json!({ "keys": [first.jwk(), second.jwk()] }));
    assert_eq!(ask(&router, &second.sign(&claims())).await.0, 200, "an unknown kid fetches");
    *idp.keys.lock() = None;
    let (status, said) = ask(&router, &third.sign(&claims())).await;
    assert!(status == 503 && said.contains("cannot be fetched"), "{said}");
    assert_eq!(ask(&router, &second.sign(&claims())).await.0, 200, "the old keys stay");
    for broken in [json!({}), json!({ "keys": [] }), json!({ "keys": [{ "kty": "EC" }] })] {
        *idp.keys.lock() = Some(broken);
        assert_eq!(ask(&router, &third.sign(&claims())).await.0, 503);
        assert_eq!(ask(&router, &first.sign(&claims())).await.0, 200);
    }
    *idp.keys.lock() = Some(json!({ "keys": [third.jwk()] }));
    assert_eq!(ask(&router, &third.sign(&claims())).await.0, 200);
    refused(&router, &first.sign(&claims()), "its issuer does not have").await;
}

#[tokio::test]
async fn invented_keys_fetch_once_in_an_interval() {
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k9"));
    let idp = Idp::start(json!([signer.jwk()])).await;
    let router = server(config(idp.settings(), Duration::from_secs(3_600)));
    assert_eq!(ask(&router, &signer.sign(&claims())).await.0, 200);
    let token = stranger.sign(&claims());
    let flood = (0..50).map(|_| refused(&router, &token, "its issuer does not have"));
    for one in flood {
        one.await;
    }
    assert_eq!(idp.asked(), 1);
}

#[tokio::test]
async fn a_silent_issuer_holds_up_no_token_whose_key_is_known() {
    let signer = Signer::new("k1");
    let idp = Idp::start(json!([signer.jwk()])).await;
    let mut config = config(idp.settings(), Duration::ZERO);
    config.providers.max_age = Duration::ZERO;
    let router = server(config);
    let token = signer.sign(&claims());
    assert_eq!(ask(&router, &token).await.0, 200);
    let silent = idp.gate.clone().acquire_owned().await.unwrap();
    let before = tasks();
    for _ in 0..50 {
        assert_eq!(ask(&router, &token).await.0, 200);
    }
    // The fetch, its connection here and there, and nothing for each request.
    assert!(tasks() < before + 10, "{} tasks, and {before} before", tasks());
    drop(silent);
    let asked = idp.asked();
    assert!(asked <= 2, "{asked} fetches at once");
}

#[tokio::test]
async fn the_requests_that_wait_for_one_fetch_are_bounded() {
    const WAITING: usize = 100;
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k9"));
    let idp = Idp::start(json!([signer.jwk()])).await;
    let router = server(config(idp.settings(), Duration::from_secs(3_600)));
    let silent = idp.gate.clone().acquire_owned().await.unwrap();
    let token = stranger.sign(&claims());
    let mut asking = JoinSet::new();
    for _ in 0..WAITING + 20 {
        let (router, token) = (router.clone(), token.clone());
        asking.spawn(async move { ask(&router, &token).await.0 });
    }
    for _ in 0..20 {
        assert_eq!(asking.join_next().await.unwrap().unwrap(), 503, "there is no place to wait");
    }
    drop(silent);
    let statuses = asking.join_all().await;
    assert_eq!(statuses, [401; WAITING], "all others have waited for the one fetch");
    assert_eq!(idp.asked(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_taken() {
    let signer = Signer::new("k1");
    let idp = Idp::start(json!([signer.jwk(), { "kty": "x", "filler": "x".repeat(5_000) }])).await;
    let mut config = config(idp.settings(), Duration::ZERO);
    config.providers.max_bytes = 4_000;
    assert_eq!(ask(&server(config), &signer.sign(&claims())).await.0, 503);
}

#[tokio::test]
async fn keys_may_come_from_a_file_and_tokens_without_a_kid_need_a_single_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let write = |keys: Value| std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let (signer, other) = (Signer::new("k1"), Signer::new("k2"));
    let nameless = signer.sign_as(&json!({ "alg": "ES256" }), &claims());
    let of = |path: &Path| server(config(settings(json!({ "jwks-file": path })), Duration::ZERO));
    write(json!([signer.jwk()]));
    assert_eq!(ask(&of(&path), &nameless).await.0, 200);
    write(json!([signer.jwk(), other.jwk()]));
    refused(&of(&path), &nameless, "does not have").await;
    assert_eq!(ask(&of(&folder.path().join("missing")), &nameless).await.0, 503);
}

#[tokio::test]
async fn edwards_keys_verify() {
    let random = SystemRandom::new();
    let pair = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": x });
    let idp = Idp::start(json!([jwk])).await;
    let router = server(config(idp.settings(), Duration::ZERO));
    let message = format!("{}.{}", encoded(&json!({ "alg": "EdDSA", "kid": "e" })), encoded(&claims()));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())));
    assert_eq!(ask(&router, &token).await.0, 200);
}

#[tokio::test]
async fn a_jwt_is_no_credential_where_the_way_is_off() {
    let signer = Signer::new("k1");
    let idp = Idp::start(json!([signer.jwk()])).await;
    let off = GateConfig { methods: vec![Method::Keys], ..config(idp.settings(), Duration::ZERO) };
    refused(&server(off), &signer.sign(&claims()), "no key of this server").await;
    let alone = GateConfig { methods: vec![Method::Jwt], ..config(idp.settings(), Duration::ZERO) };
    let router = server(alone);
    assert_eq!(ask(&router, &signer.sign(&claims())).await.0, 200);
    refused(&router, "spdr_0000000000_0000000000000000000000000000000000000000000000000", "switched off")
        .await;
}
