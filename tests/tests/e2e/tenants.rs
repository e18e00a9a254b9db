//! Tenants from outside: whose data a credential reaches, on every API; quotas; and that nothing that one tenant does
//! changes what another one sees.

use std::collections::BTreeMap;
use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{self, Body, Connection, Reply};
use spandrel_tests::otlp;
use spandrel_tests::server::{Server, Settings, command, eventually};
use tempfile::TempDir;
use tonic::Code;

/// A server with tenants, and keys by name.
struct Shared {
    server: Server,
    keys: BTreeMap<&'static str, String>,
    /// The end of every range: an hour from now.
    end: String,
    folder: TempDir,
}

/// Name, role and tenants of the keys.
const KEYS: [(&str, &str, &str); 8] = [
    ("acme-in", "ingest", "acme"),
    ("acme", "edit", "acme"),
    ("shop-in", "ingest", "shop"),
    ("shop", "edit", "shop"),
    ("both", "read", "acme|shop"),
    ("void", "read", "acme|void"),
    ("root", "admin", "*"),
    ("lead", "admin", "shop"),
];

/// Every way to ask that has an answer of its own; `TRACE` stands for a trace of the tenant, `END` for a time.
const QUESTIONS: [&str; 18] = [
    "/api/v1/traces?start=0&end=END",
    "/api/v1/traces?start=0&end=END&q=%7B%20.secret%20!%3D%20nil%20%7D%20%7C%20select(.secret)",
    "/api/v1/traces/TRACE",
    "/api/v1/traces/TRACE?format=otlp",
    "/api/v1/export?format=otlp&start=0&end=END",
    "/api/v1/services",
    "/api/v1/services/cart/operations",
    "/api/v1/operations?start=0&end=END&kind=any",
    "/api/v1/aggregates?start=0&end=END&kind=any&groupBy=service,operation",
    "/api/v1/metrics?start=0&end=END&step=200000&q=%7B%7D%7Ccount_over_time()by(resource.service.name,.secret)",
    "/api/v1/histogram?start=0&end=END&q=%7B%7D",
    "/api/v1/attributes?start=0&end=END",
    "/api/v1/attributes/compare?start=0&end=END&selection=%7Bstatus%3Derror%7D",
    "/api/v1/attributes/secret/values?start=0&end=END",
    "/api/v1/dependencies?start=0&end=END",
    "/api/v1/noise?start=0&end=END",
    "/api/v1/pins",
    "/api/v1/deletions",
];

fn create_key(data: &Path, role: &str, tenant: &str) -> String {
    let data = data.to_str().unwrap();
    let arguments = ["keys", "create", "--data-dir", data, "--role", role, "--tenant", tenant];
    let output = command(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned()
}

/// A trace of a tenant: each of its texts has the name of the tenant in it.
fn trace_of(tenant: &str, id: &[u8], spans: usize) -> Vec<u8> {
    let span = |at: usize| {
        let mut span: Span = otlp::span(id, &format!("GET /{tenant}/{at}"));
        span.attributes.push(otlp::text("secret", &format!("of {tenant} {at}")));
        span.attributes.push(otlp::text(&format!("key.{tenant}"), "1"));
        span.status = Some(opentelemetry_proto::tonic::trace::v1::Status {
            code: if at == 1 { StatusCode::Error } else { StatusCode::Unset } as i32,
            message: format!("status of {tenant}"),
        });
        span
    };
    otlp::request(&format!("{tenant}-cart"), (0..spans).map(span).collect()).encode_to_vec()
}

// === impl Shared ===

impl Shared {
    fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = KEYS.map(|(name, role, tenant)| (name, create_key(folder.path(), role, tenant)));
        let always = ["--require-auth", "--multitenancy"];
        let server = Settings::on(folder.path()).with(&always).with(arguments).start();
        let end = (otlp::now() + 3_600_000_000_000).to_string();
        Self { server, keys: keys.into(), end, folder }
    }

    fn ask(&self, method: &str, path: &str, key: &str, tenant: Option<&str>, body: Option<Value>) -> Reply {
        let authorization = format!("Bearer {}", self.keys[key]);
        let mut headers =
            vec![("content-type", "application/json"), ("authorization", authorization.as_str())];
        headers.extend(tenant.map(|tenant| ("x-scope-orgid", tenant)));
        let text = body.map(|body| body.to_string());
        let body = text.as_ref().map_or(Body::None, |text| Body::Sized(text.as_bytes()));
        http::request(self.server.http(), method, path, &headers, body)
    }

    fn get(&self, path: &str, key: &str) -> Reply {
        self.ask("GET", path, key, None, None)
    }

    fn send(&self, key: &str, tenant: Option<&str>, body: &[u8]) -> Reply {
        let authorization = format!("Bearer {}", self.keys[key]);
        let mut headers =
            vec![("content-type", "application/x-protobuf"), ("authorization", authorization.as_str())];
        headers.extend(tenant.map(|tenant| ("x-scope-orgid", tenant)));
        http::request(self.server.otlp_http(), "POST", "/v1/traces", &headers, Body::Sized(body))
    }

    fn path(&self, question: &str, trace: &[u8]) -> String {
        question.replace("TRACE", &otlp::hex(trace)).replace("END", &self.end)
    }

    /// The counts and bytes that a key is told of its tenant; what counts its own questions is left out.
    fn sizes(&self, key: &str) -> Value {
        let mut sizes = json!({});
        let status = self.get("/api/v1/status", key).json();
        for name in
            ["spanCount", "traceCount", "storeBytes", "freshBlockCount", "oldestUnixNano", "newestUnixNano"]
        {
            sizes[name] = status[name].clone();
        }
        let usage = self.get("/api/v1/usage", key).json()["tenants"][0].clone();
        for name in ["tenant", "receivedSpans", "receivedBytes", "storedSpans", "storedBytes", "services"] {
            sizes[format!("usage {name}")] = usage[name].clone();
        }
        sizes
    }

    /// All that a key sees, as text.
    fn everything(&self, key: &str, trace: &[u8]) -> Vec<(String, String)> {
        let ask = |question: &str| {
            let path = self.path(question, trace);
            let text = self.get(&path, key).text();
            // What a query has read depends on how blocks happen to be merged; all else does not.
            let text = match serde_json::from_str::<Value>(&text) {
                Ok(Value::Object(mut members)) => {
                    members.remove("scanned");
                    Value::Object(members).to_string()
                }
                // An export gives its traces in no particular order.
                _ if path.starts_with("/api/v1/export") => {
                    let mut lines: Vec<&str> = text.lines().collect();
                    lines.sort_unstable();
                    lines.join("\n")
                }
                _ => text,
            };
            (path, text)
        };
        QUESTIONS.iter().map(|question| ask(question)).collect()
    }
}

fn traces(reply: &Reply) -> usize {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["traces"].as_array().unwrap().len()
}

#[test]
fn a_credential_reaches_its_tenants_by_every_api_and_no_other() {
    let shared = Shared::new(&[]);
    let (acme, shop) = (otlp::trace_id(), otlp::trace_id());
    assert_eq!(shared.send("acme-in", None, &trace_of("acme", &acme, 3)).status, 200);
    let mut grpc = Grpc::connect(shared.server.otlp_grpc()).unwrap().with_key(&shared.keys["shop-in"]);
    grpc.export(&trace_of("shop", &shop, 2)).unwrap();
    // The tenant is the credential's, whatever the header says.
    assert_eq!(shared.send("acme-in", Some("shop"), &trace_of("acme", &acme, 1)).status, 403);
    assert_eq!(shared.send("root", Some("acme|shop"), &trace_of("acme", &acme, 1)).status, 400);
    assert_eq!(shared.send("root", Some("a/b"), &trace_of("acme", &acme, 1)).status, 400);
    assert_eq!(shared.send("root", Some("third"), &trace_of("third", &otlp::trace_id(), 1)).status, 200);

    for (key, own, other) in [("acme", "acme", "shop"), ("shop", "shop", "acme")] {
        for (path, text) in shared.everything(key, if key == "acme" { &acme } else { &shop }) {
            assert!(!text.contains(other) && !text.contains("third"), "{key} {path}: {text}");
            let says_nothing = ["/pins", "/deletions", "/histogram", "/dependencies", "/cart/"];
            assert!(
                says_nothing.iter().any(|quiet| path.contains(quiet)) || text.contains(own),
                "{path}: {text}"
            );
        }
        assert_eq!(shared.ask("GET", "/api/v1/services", key, Some(other), None).status, 403);
        let both = format!("{own}|{other}");
        assert_eq!(shared.ask("GET", "/api/v1/services", key, Some(&both), None).status, 403);
    }
    // The same trace ID of another tenant does not exist.
    assert_eq!(shared.get(&format!("/api/v1/traces/{}", otlp::hex(&shop)), "acme").status, 404);
    let search = "/api/v1/traces?start=0";
    assert_eq!(traces(&shared.get(search, "both")), 2);
    assert_eq!(traces(&shared.ask("GET", search, "both", Some("shop"), None)), 1);
    assert_eq!(shared.ask("GET", search, "both", Some("third"), None).status, 403);
    assert_eq!(traces(&shared.ask("GET", search, "root", Some("acme|shop|third"), None)), 3);
    assert_eq!(traces(&shared.get(search, "root")), 0, "the tenant default");
    let services = shared.get("/api/v1/services", "both").text();
    assert!(services.contains("acme-cart") && services.contains("shop-cart"), "{services}");
    for trace in [&acme, &shop] {
        assert_eq!(shared.get(&format!("/api/v1/traces/{}", otlp::hex(trace)), "both").status, 200);
    }
    let counted = "/api/v1/metrics?start=0&step=200000&q=%7B%7D%7Ccount_over_time()";
    let points = shared.get(counted, "both").json()["series"][0]["points"].clone();
    assert_eq!(
        points.as_array().unwrap().iter().map(|point| point["value"].as_f64().unwrap()).sum::<f64>(),
        5.0
    );
}

/// A tenant that sent nothing takes nothing from the pages of the others; a trace that two of them have is one.
#[test]
fn pages_of_several_tenants_are_one_sequence() {
    let shared = Shared::new(&[]);
    let mut sent: Vec<String> = Vec::new();
    for n in 0..7 {
        let (id, tenant) = (otlp::trace_id(), ["acme", "shop"][n % 2]);
        shared.send(&format!("{tenant}-in"), None, &trace_of(tenant, &id, 2));
        sent.insert(0, otlp::hex(&id));
    }
    let both = otlp::trace_id();
    shared.send("acme-in", None, &trace_of("acme", &both, 2));
    shared.send("shop-in", None, &trace_of("shop", &both, 3));
    sent.insert(0, otlp::hex(&both));
    let pages = |key: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = shared.get(&format!("/api/v1/traces?start=0&limit=2{cursor}"), key).json();
            let ids = page["traces"].as_array().unwrap().iter().map(|trace| trace["id"].clone());
            found.extend(ids.map(|id| id.as_str().unwrap().to_owned()));
            assert!(found.len() <= 2 * sent.len(), "paging does not end: {found:?}");
            // What arrives between two pages is on neither.
            shared.send("acme-in", None, &trace_of("acme", &otlp::trace_id(), 1));
            let Some(next) = page["nextCursor"].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    };
    let found = shared.get("/api/v1/traces?start=0&spss=10&limit=1&q=%7B%20%7D", "both").json();
    let first = &found["traces"][0];
    assert_eq!((&first["id"], &first["spanCount"]), (&json!(otlp::hex(&both)), &json!(5)), "{found}");
    let spans =
        first["spanSets"].as_array().unwrap().iter().map(|set| set["matchedSpanCount"].as_u64().unwrap());
    assert_eq!(spans.sum::<u64>(), 5, "the span sets of both: {found}");
    assert_eq!(pages("both"), sent);
    let acme = shared.get("/api/v1/traces?start=0&limit=100", "acme").json();
    let acme: Vec<String> = acme["traces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trace| trace["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pages("void"), acme);
}

/// What a question reads is charged to the tenants whose spans they are.
#[test]
fn a_question_about_several_tenants_is_charged_to_each_for_its_own_spans() {
    let shared = Shared::new(&[]);
    shared.send("acme-in", None, &trace_of("acme", &otlp::trace_id(), 40));
    shared.send("shop-in", None, &trace_of("shop", &otlp::trace_id(), 3));
    let counted = "/api/v1/metrics?start=0&step=200000&q=%7B.secret!%3Dnil%7D%7Ccount_over_time()";
    assert_eq!(shared.get(counted, "both").status, 200);
    let scanned = |tenant: &str| {
        let usage = shared.get("/api/v1/usage", "both").json()["tenants"].clone();
        let of = usage.as_array().unwrap().iter().find(|of| of["tenant"] == tenant).unwrap();
        of["scannedSpans"].clone()
    };
    assert_eq!((scanned("acme"), scanned("shop")), (json!(40), json!(3)));
    assert_eq!(shared.get("/api/v1/export?start=0", "both").status, 200);
    assert_eq!((scanned("acme"), scanned("shop")), (json!(80), json!(6)), "an export, too");
}

/// A tail whose quota is taken waits until there is some again.
#[test]
fn a_live_tail_outlives_a_quota_that_is_reached() {
    let limits = r#"{"acme": {"max-questions": 1}}"#;
    let shared = Shared::new(&["--tenants", limits]);
    let mut tail = Connection::open(shared.server.http()).unwrap();
    let authorization = format!("Bearer {}", shared.keys["acme"]);
    let headers = [("authorization", authorization.as_str())];
    let live = "/api/v1/traces/live?q=%7B%20%7D";
    assert_eq!(tail.status_of("GET", live, &headers).unwrap(), 200);
    // An export that is not read holds the only question of the tenant, so the rounds of the tail are refused.
    let spans = trace_of("acme", &otlp::trace_id(), 20_000);
    assert_eq!(shared.send("acme-in", None, &spans).status, 200);
    let mut slow = Connection::open(shared.server.http()).unwrap();
    eventually("an export that begins", || {
        let path = "/api/v1/export?start=0";
        (slow.status_of("GET", path, &headers).ok()? == 200).then_some(()).or_else(|| {
            slow = Connection::open(shared.server.http()).unwrap();
            None
        })
    });
    let refused = || {
        let usage = shared.get("/api/v1/usage", "root").json();
        let tenants = usage["tenants"].as_array().unwrap();
        tenants.iter().find(|of| of["tenant"] == "acme").unwrap()["refusedQuestions"].as_u64()
    };
    let before = refused();
    eventually("a round that is refused", || (refused() > before).then_some(()));
    drop(slow);
    let last = otlp::trace_id();
    eventually("room for a question", || {
        (shared.get("/api/v1/services", "acme").status == 200).then_some(())
    });
    assert_eq!(shared.send("acme-in", None, &trace_of("acme", &last, 1)).status, 200);
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains(&otlp::hex(&last)) {
        let mut byte = [0];
        tail.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
}

#[test]
fn what_belongs_to_the_server_is_for_those_who_reach_all_tenants() {
    let shared = Shared::new(&[]);
    shared.send("shop-in", None, &trace_of("shop", &otlp::trace_id(), 2));
    shared.send("acme-in", None, &trace_of("acme", &otlp::trace_id(), 4));
    for path in ["/metrics", "/api/v1/tenants", "/api/v1/backups", "/api/v1/clean/rules"] {
        assert_eq!(shared.get(path, "lead").status, 403, "{path}");
        assert_eq!(shared.get(path, "root").status, 200, "{path}");
    }
    let status = |key: &str| shared.get("/api/v1/status", key).json()["spanCount"].clone();
    assert_eq!((status("shop"), status("both"), status("root")), (json!(2), json!(6), json!(6)));
    let usage = |key: &str| shared.get("/api/v1/usage", key).json()["tenants"].clone();
    let shop = usage("shop");
    assert_eq!((&shop[0]["tenant"], &shop[0]["receivedSpans"]), (&json!("shop"), &json!(2)));
    assert_eq!(
        (&shop[0]["services"][0]["service"], shop.as_array().unwrap().len()),
        (&json!("shop-cart"), 1)
    );
    assert!(usage("root").as_array().unwrap().len() >= 2);
    // An admin of one tenant makes and sees keys for it alone.
    let new = |tenant: &str| json!({ "role": "read", "tenant": tenant });
    let make = |tenant: &str| shared.ask("POST", "/api/v1/keys", "lead", None, Some(new(tenant))).status;
    assert_eq!((make("shop"), make("acme"), make("shop|acme"), make("*")), (201, 403, 403, 403));
    let keys = shared.get("/api/v1/keys", "lead").json();
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["tenant"] == "shop"), "{keys}");
    let of_acme = &shared.keys["acme"][5..15];
    assert_eq!(shared.ask("DELETE", &format!("/api/v1/keys/{of_acme}"), "lead", None, None).status, 404);
    assert_eq!(shared.get("/api/v1/services", "acme").status, 200);
}

fn same(now: &[(String, String)], before: &[(String, String)], seed: u64) {
    for ((path, now), (_, before)) in now.iter().zip(before) {
        assert_eq!(now, before, "seed {seed}: {path}");
    }
}

#[test]
fn nothing_that_one_tenant_does_changes_what_another_one_sees() {
    let shared = Shared::new(&["--limits", "mergeAge=1ms"]);
    let acme = otlp::trace_id();
    // One request makes one block, whose bytes do not change once it is sealed.
    let sent = [trace_of("acme", &acme, 3), trace_of("acme", &otlp::trace_id(), 2)].concat();
    shared.send("acme-in", None, &sent);
    shared.ask("PUT", &format!("/api/v1/pins/{}", otlp::hex(&acme)), "acme", None, None);
    eventually("a sealed block", || (shared.sizes("acme")["freshBlockCount"] == 0).then_some(()));
    let (before, sizes) = (shared.everything("acme", &acme), shared.sizes("acme"));
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut own = vec![acme.clone()];
    for round in 0..24 {
        match random.usize(0..7) {
            // The same ID and the same names as those of the other tenant, too.
            0 => {
                shared.send("shop-in", None, &trace_of("acme", &acme, random.usize(1..40)));
            }
            1 | 2 => {
                own.push(otlp::trace_id());
                shared.send("shop-in", None, &trace_of("shop", own.last().unwrap(), random.usize(1..40)));
            }
            3 => {
                let trace = &own[random.usize(0..own.len())];
                shared.ask("PUT", &format!("/api/v1/pins/{}", otlp::hex(trace)), "shop", None, None);
            }
            4 | 5 => {
                let trace = &own[random.usize(0..own.len())];
                let question = QUESTIONS[random.usize(0..QUESTIONS.len())];
                let asked = shared.get(&shared.path(question, trace), "shop");
                assert!([200, 404].contains(&asked.status), "seed {seed}: {question}: {}", asked.text());
            }
            _ => {
                let query = ["{ }", "{ status = error }", "{ .secret = \"of acme 1\" }"][random.usize(0..3)];
                let body = json!({ "q": query, "wait": true });
                let deleted = shared.ask("POST", "/api/v1/delete", "shop", None, Some(body));
                assert!([200, 503].contains(&deleted.status), "{}", deleted.text());
            }
        }
        if round % 4 == 3 {
            same(&shared.everything("acme", &acme), &before, seed);
            assert_eq!(shared.sizes("acme"), sizes, "seed {seed}, round {round}");
        }
    }
    let deleted = shared.ask("DELETE", "/api/v1/tenants/shop", "root", None, None);
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    assert_eq!(traces(&shared.get("/api/v1/traces?start=0", "shop")), 0);
    same(&shared.everything("acme", &acme), &before, seed);
    eventually("the end of the deletions", || {
        let deletions = shared.get("/api/v1/deletions", "shop").json();
        deletions["deletions"].as_array().unwrap().iter().all(|one| one["state"] == "done").then_some(())
    });
    same(&shared.everything("acme", &acme), &before, seed);
    assert_eq!(shared.sizes("acme"), sizes, "seed {seed}");
    assert!(shared.folder.path().exists());
}

#[test]
fn quotas_refuse_with_the_time_to_wait_and_hold_for_one_tenant_alone() {
    let limits = r#"{"shop": {"max-spans-per-second": 10, "max-questions": 0}, "*": {"each-key": {"max-bytes-per-second": 100000}}}"#;
    let shared = Shared::new(&["--tenants", limits]);
    let large = trace_of("shop", &otlp::trace_id(), 600);
    assert_eq!(shared.send("shop-in", None, &large).status, 200, "what a second has is there");
    let refused = shared.send("shop-in", None, &large);
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 50);
    let mut grpc = Grpc::connect(shared.server.otlp_grpc()).unwrap().with_key(&shared.keys["shop-in"]);
    let status = grpc.export(&large).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("tenant shop") && status.message().contains("max-spans-per-second"));
    assert!(!status.details().is_empty(), "RetryInfo");
    let asked = shared.get("/api/v1/services", "shop");
    assert_eq!(asked.status, 429, "{}", asked.text());
    assert!(asked.header("retry-after").is_some() && asked.text().contains("max-questions"));
    assert_eq!(shared.get("/api/v1/services", "acme").status, 200);
    assert_eq!(shared.send("acme-in", None, &trace_of("acme", &otlp::trace_id(), 1_500)).status, 200);
    let by_key = shared.send("acme-in", None, &trace_of("acme", &otlp::trace_id(), 1));
    assert_eq!(by_key.status, 429);
    assert!(by_key.text().contains("max-bytes-per-second"), "{}", by_key.text());
    assert_eq!(shared.send("root", Some("acme"), &trace_of("acme", &otlp::trace_id(), 1)).status, 200);
    let usage = shared.get("/api/v1/usage", "root").json();
    let of = |name: &str| {
        let tenants = usage["tenants"].as_array().unwrap();
        tenants.iter().find(|tenant| tenant["tenant"] == name).unwrap().clone()
    };
    assert_eq!((&of("shop")["refusedRequests"], &of("shop")["receivedSpans"]), (&json!(2), &json!(600)));
    assert_eq!(of("acme")["refusedRequests"], json!(1));
    let metrics = shared.get("/metrics", "root").text();
    assert!(metrics.contains("spandrel_quota_refused_total{tenant=\"shop\""), "{metrics}");
}
