//! Who may do what, from outside: every route of every port with each kind of credential, keys by the command line and
//! by HTTP, and what a server refuses at start.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use spandrel_gate::Permission;
use spandrel_gate::Role;
use spandrel_gate::routes::{Needs, ROUTES};
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{self, Body, Connection, JSON, Reply};
use spandrel_tests::otlp;
use spandrel_tests::server::{Server, Settings, command, eventually, workspace_root};
use tempfile::TempDir;
use tonic::Code;

/// A server that asks who is there, with a key for each role.
struct Guarded {
    server: Server,
    keys: Vec<(Role, String)>,
    folder: TempDir,
}

const INGEST: Needs = Needs::Permission(Permission::Ingest);
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Makes a key in a data directory, also while a server uses it.
fn create(data: &Path, arguments: &[&str]) -> String {
    let output = keys(&[&["create", "--data-dir", data.to_str().unwrap()], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.lines().last().unwrap().to_owned()
}

fn keys(arguments: &[&str]) -> Output {
    command(&[&["keys"], arguments].concat()).output().unwrap()
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

// === impl Guarded ===

impl Guarded {
    fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Role::ALL.map(|role| (role, create(folder.path(), &["--role", role.name()])));
        let server = Settings::on(folder.path()).with(&["--require-auth"]).with(arguments).start();
        Self { server, keys: keys.into(), folder }
    }

    fn key(&self, wanted: Role) -> &str {
        &self.keys.iter().find(|(role, _)| *role == wanted).unwrap().1
    }

    fn ask(&self, method: &str, path: &str, key: &str) -> Reply {
        self.send(method, path, key, None)
    }

    fn send(&self, method: &str, path: &str, key: &str, body: Option<Value>) -> Reply {
        let authorization = format!("Bearer {key}");
        let headers = [JSON[0], ("authorization", authorization.as_str())];
        let text = body.map(|body| body.to_string());
        let body = text.as_ref().map_or(Body::None, |text| Body::Sized(text.as_bytes()));
        http::request(self.server.http(), method, path, &headers, body)
    }
}

fn status(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    Connection::open(address).unwrap().status_of(method, path, headers).unwrap()
}

/// On every port each line of the table is refused or not exactly as the table says. What an allowed request gets is
/// the matter of other tests, so that any status but 401 and 403 counts as allowed.
#[test]
fn every_route_of_every_port_is_refused_or_not_as_the_table_says() {
    let more = ["--datadog-addr", "127.0.0.1:0", "--skywalking-addr", "127.0.0.1:0"];
    let guarded = Guarded::new(&[&["--limits", "maxFailedAttempts=1000000"], &more[..]].concat());
    let data = guarded.folder.path();
    let expired = create(data, &["--role", "admin", "--expires", "0s"]);
    let of_tenant = create(data, &["--role", "admin", "--tenant", "acme"]);
    let wrong = "spdr_0000000000_0000000000000000000000000000000000000000000000000";
    for (port, address) in guarded.server.listening() {
        for rule in ROUTES.iter().filter(|rule| rule.path != EXPORT) {
            let path =
                rule.path.replace("{*file}", "x.js").replace("{traceId}", "aa").replace(['{', '}'], "");
            let what = format!("{port}: {} {path}", rule.method);
            let is_refused = |headers: &[(&str, &str)]| match status(*address, rule.method, &path, headers) {
                refused @ (401 | 403) => Some(refused),
                _ => None,
            };
            let unknown = (rule.needs != Needs::Nothing).then_some(401);
            assert_eq!(is_refused(&[]), unknown, "{what} without a credential");
            for bad in [wrong, expired.as_str()] {
                assert_eq!(is_refused(&[("x-api-key", bad)]), unknown, "{what} with a bad key");
            }
            for (role, key) in &guarded.keys {
                let may = match rule.needs {
                    Needs::Nothing | Needs::Identity => true,
                    Needs::Permission(permission) => role.may(permission),
                };
                let expected = if may { None } else { Some(403) };
                assert_eq!(is_refused(&[("x-api-key", key)]), expected, "{what} as {role}");
            }
            let expected = unknown.map(|_| 403);
            assert_eq!(is_refused(&[("x-api-key", &of_tenant)]), expected, "{what} of another tenant");
        }
        for (method, path) in [("GET", "/api/v1/nothing"), ("POST", "/api/nothing"), ("GET", "/x")] {
            assert_eq!(status(*address, method, path, &[]), 401, "{port}: {method} {path}");
            let admin = [("x-api-key", guarded.key(Role::Admin))];
            assert_eq!(status(*address, method, path, &admin), 404, "{port}: {method} {path}");
        }
    }
}

#[test]
fn every_rpc_is_refused_or_not_as_the_table_says() {
    let guarded = Guarded::new(&[]);
    let address = guarded.server.otlp_grpc();
    let code = |key: Option<&str>, path| {
        let grpc = Grpc::connect(address).unwrap();
        let mut grpc = key.into_iter().fold(grpc, Grpc::with_key);
        grpc.call(path, &[]).err().map(|status| status.code())
    };
    assert_eq!(code(None, EXPORT), Some(Code::Unauthenticated));
    assert_eq!(code(Some("wrong"), EXPORT), Some(Code::Unauthenticated));
    for (role, key) in &guarded.keys {
        let may = matches!(role, Role::Ingest | Role::Admin);
        let expected = if may { None } else { Some(Code::PermissionDenied) };
        assert_eq!(code(Some(key), EXPORT), expected, "{role}");
    }
    assert_eq!(code(None, "/some.Service/Call"), Some(Code::Unauthenticated));
    assert_eq!(code(Some(guarded.key(Role::Admin)), "/some.Service/Call"), Some(Code::Unimplemented));
}

/// The table has every route: those of the API's document, and those that the sources of the routers name.
#[test]
fn the_table_has_every_route_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::on(folder.path()).start();
    let document = http::get(server.http(), "/api/v1/openapi.json").json();
    let listed =
        |method: &str, path: &str| ROUTES.iter().any(|rule| (rule.method, rule.path) == (method, path));
    let mut described = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            assert!(listed(&method, path), "{method} {path} is not in gate/src/routes.rs");
            described.push((method, path.clone()));
        }
    }
    // Protocols of others are described by their own documents, and by ours in words.
    let words = fs::read_to_string(workspace_root().join("docs/receivers.md")).unwrap();
    for rule in ROUTES.iter().filter(|rule| rule.path.starts_with("/api/")) {
        let ingests = ROUTES.iter().any(|other| other.path == rule.path && other.needs == INGEST);
        if ingests {
            assert!(
                words.contains(&format!("`{} {}`", "POST", rule.path)),
                "{} is not in docs/receivers.md",
                rule.path
            );
            continue;
        }
        let is_described = described.contains(&(rule.method.to_owned(), rule.path.to_owned()));
        assert!(is_described, "{} {} is in no OpenAPI document", rule.method, rule.path);
    }
    let route = regex::Regex::new(r#"\.route\(\s*"(/[^"]*)""#).unwrap();
    let service = regex::Regex::new(r#"const NAME: &'static str = "([a-z0-9_.]+\.[A-Za-z]+)""#).unwrap();
    let mut seen = 0;
    for folder in ["src", "collector/src", "query/src", "gate/src"] {
        for text in sources(&workspace_root().join(folder)) {
            for (_, [path]) in route.captures_iter(&text).map(|found| found.extract()) {
                seen += 1;
                // Problems for what does not exist, which the gate answers itself.
                let is_catch_all = path == "/api" || path == "/api/" || path == "/api/{*rest}";
                let is_listed = ROUTES.iter().any(|rule| rule.path == path);
                assert!(is_listed || is_catch_all, "{path} is not in gate/src/routes.rs");
            }
            for (_, [name]) in service.captures_iter(&text).map(|found| found.extract()) {
                seen += 1;
                let is_listed = ROUTES.iter().any(|rule| rule.path.starts_with(&format!("/{name}/")));
                assert!(is_listed, "no RPC of {name} is in gate/src/routes.rs");
            }
        }
    }
    assert!(seen > 8, "the patterns no longer find the routes: {seen}");
}

/// The sources of a folder, without their tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            texts.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
        }
    }
    texts
}

#[test]
fn an_address_beyond_loopback_is_refused_unless_somebody_decided() {
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--http-addr", "--otlp-grpc-addr", "--otlp-http-addr"] {
        for beyond in ["0.0.0.0:0", "[::]:0"] {
            let settings = Settings::on(folder.path()).with(&[flag, beyond]);
            let Err(refused) = settings.try_start() else { panic!("{flag} {beyond} is served to everybody") };
            for words in [flag, beyond, "--require-auth", "--allow-anonymous"] {
                assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
            }
        }
    }
    let beyond = ["--http-addr", "0.0.0.0:0"];
    let open = Settings::on(folder.path()).with(&beyond).with(&["--allow-anonymous"]).start();
    let local = SocketAddr::from(([127, 0, 0, 1], open.http().port()));
    assert_eq!(http::get(local, "/api/v1/services").status, 200);
    open.stop();
    let asking = Settings::on(folder.path()).with(&beyond).env("SPANDREL_REQUIRE_AUTH", "true").start();
    let local = SocketAddr::from(([127, 0, 0, 1], asking.http().port()));
    assert_eq!(http::get(local, "/api/v1/services").status, 401);
    assert_eq!((http::get(local, "/healthz").status, http::get(local, "/readyz").status), (200, 200));
}

#[test]
fn a_refusal_says_how_to_authenticate_in_the_form_that_the_sender_knows() {
    let guarded = Guarded::new(&[]);
    let reply = http::get(guarded.server.http(), "/api/v1/services");
    assert_eq!(reply.status, 401);
    assert!(reply.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")));
    assert!(reply.problem().contains("Authorization: Bearer"));
    let lacking = guarded.ask("POST", "/api/v1/delete", guarded.key(Role::Read));
    assert_eq!(lacking.status, 403);
    let problem = lacking.problem();
    assert!(problem.contains("role read") && problem.contains("permission edit"), "{problem}");

    let body = otlp::request("shop", vec![otlp::span(&otlp::trace_id(), "x")]);
    let body = prost::Message::encode_to_vec(&body);
    let protobuf = http::post_traces(guarded.server.otlp_http(), &body);
    assert_eq!((protobuf.status, protobuf.header("content-type")), (401, Some("application/x-protobuf")));
    assert_eq!(protobuf.body.first_chunk(), Some(&[8, 16]), "google.rpc.Status with code 16");
    let json = http::request(guarded.server.otlp_http(), "POST", "/v1/traces", JSON, Body::Sized(b"{}"));
    assert_eq!((json.status, &json.json()["code"]), (401, &json!(16)));
}

#[test]
fn a_large_body_is_not_read_before_the_check() {
    let guarded = Guarded::new(&[]);
    let mut sender = Connection::open(guarded.server.otlp_http()).unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 60000000\r\nexpect: 100-continue\r\n\r\n";
    sender.write(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    sender.read_exact(&mut first).unwrap();
    assert_eq!(
        &first, b"HTTP/1.1 401",
        "answered without a byte of the body, which nobody asked for by a 100"
    );
}

#[test]
fn keys_of_the_command_line_work_at_once_and_end_when_revoked() {
    let guarded = Guarded::new(&[]);
    let data = guarded.folder.path().to_str().unwrap();
    let output =
        keys(&["create", "--role", "read", "--name", "grafana", "--expires", "30d", "--data-dir", data]);
    let printed = stdout(output);
    let key = printed.strip_suffix('\n').unwrap();
    assert!(key.starts_with("spdr_") && !key.contains('\n'), "the key alone");
    let id = &key[5..15];
    assert_eq!(guarded.ask("GET", "/api/v1/services", key).status, 200);
    let me = guarded.ask("GET", "/api/v1/me", key).json();
    assert_eq!(
        me,
        json!({ "name": "grafana", "role": "read", "tenant": "default", "via": "key", "multitenancy": false })
    );

    let listed = stdout(keys(&["list", "--data-dir", data]));
    let line = listed.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line.contains("read") && line.contains("grafana") && !line.contains("expires never"), "{line}");
    assert!(!listed.contains(&key[16..]), "a list shows no secret");

    assert_eq!(stdout(keys(&["revoke", id, "--data-dir", data])), format!("revoked key {id}\n"));
    eventually("the revoked key is refused", || {
        (guarded.ask("GET", "/api/v1/services", key).status == 401).then_some(())
    });
    let again = keys(&["revoke", id, "--data-dir", data]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains(id));
}

#[test]
fn an_admin_manages_keys_over_http() {
    let guarded = Guarded::new(&[]);
    let server = format!("http://{}", guarded.server.http());
    let as_admin = |arguments: &[&str]| {
        let mut command = command(&[&["keys"], arguments, &["--server", &server]].concat());
        command.env("SPANDREL_KEY", guarded.key(Role::Admin)).output().unwrap()
    };
    let key = stdout(as_admin(&["create", "--role", "ingest", "--name", "collector"]));
    let key = key.trim_end();
    let mut grpc = Grpc::connect(guarded.server.otlp_grpc()).unwrap().with_key(key);
    assert!(grpc.export(&[]).is_ok());
    let listed = stdout(as_admin(&["list"]));
    let line = listed.lines().find(|line| line.contains("collector")).unwrap();
    assert!(line.starts_with(&key[5..15]) && !line.contains("used never"), "{line}");
    stdout(as_admin(&["revoke", &key[5..15]]));
    assert_eq!(grpc.export(&[]).unwrap_err().code(), Code::Unauthenticated, "at once");
    assert_eq!(guarded.ask("DELETE", "/api/v1/keys/0000000000", guarded.key(Role::Admin)).status, 404);

    for bad in [
        json!({}),
        json!({ "role": "root" }),
        json!({ "role": "read", "x": 1 }),
        json!({ "role": "read", "tenant": "a/b" }),
    ] {
        let reply = guarded.send("POST", "/api/v1/keys", guarded.key(Role::Admin), Some(bad));
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    let refused = as_admin(&["create", "--role", "ingest", "--name", "two\nlines"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("control character"));
}

#[test]
fn keys_are_not_changed_over_http_while_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::on(folder.path()).start();
    let reply =
        http::request(server.http(), "POST", "/api/v1/keys", JSON, Body::Sized(br#"{"role":"admin"}"#));
    assert_eq!(reply.status, 403);
    assert!(reply.problem().contains("--require-auth"));
    assert!(!folder.path().join("keys.json").exists());
    let me = http::get(server.http(), "/api/v1/me").json();
    assert_eq!(me, json!({ "name": null, "role": null, "tenant": null, "via": null, "multitenancy": false }));
}

#[test]
fn commands_send_the_key_of_a_file_or_of_the_environment() {
    let guarded = Guarded::new(&[]);
    let server = format!("http://{}", guarded.server.http());
    let file = guarded.folder.path().join("reader.key");
    fs::write(&file, format!("{}\n", guarded.key(Role::Read))).unwrap();
    let services = |more: &[&str], key: Option<&str>| {
        let mut command = command(&[&["services", "--server", &server], more].concat());
        key.into_iter().fold(&mut command, |command, key| command.env("SPANDREL_KEY", key)).output().unwrap()
    };
    let refused = services(&[], None);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("spandrel keys create"));
    assert!(services(&["--key-file", file.to_str().unwrap()], None).status.success());
    assert!(services(&[], Some(guarded.key(Role::Edit))).status.success());
    let wrong = services(&[], Some(guarded.key(Role::Ingest)));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("permission read"));

    let endpoint = format!("http://{}", guarded.server.otlp_grpc());
    let demo = ["demo", "--endpoint", &endpoint, "--duration", "1s", "--seed", "7"];
    let output = command(&demo).env("SPANDREL_KEY", guarded.key(Role::Ingest)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!said.contains(guarded.key(Role::Ingest)));
    let found = guarded.ask("GET", "/api/v1/services", guarded.key(Role::Read)).json();
    assert!(!found["services"].as_array().unwrap().is_empty());
}

#[test]
fn no_secret_is_printed_or_logged() {
    let guarded = Guarded::new(&[]);
    let key = guarded.key(Role::Admin).to_owned();
    guarded.ask("GET", "/api/v1/services", &key);
    guarded.ask("GET", "/api/v1/services", &key[..40]);
    guarded.ask("POST", "/api/v1/keys", &key);
    let secret = &key[16..40];
    let config =
        command(&["serve", "--require-auth", "--print-config"]).env("SPANDREL_KEY", &key).output().unwrap();
    assert!(config.status.success());
    for said in [&config.stdout, &config.stderr] {
        assert!(!String::from_utf8_lossy(said).contains(secret));
    }
    assert!(String::from_utf8_lossy(&config.stdout).contains("require-auth: true"));
    for path in ["/api/v1/status", "/api/v1/keys", "/metrics"] {
        assert!(!guarded.ask("GET", path, &key).text().contains(secret), "{path}");
    }
    assert!(!guarded.server.stderr().contains(secret));
    let folder = guarded.folder.path().to_owned();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let bytes = fs::read(entry.path()).unwrap();
        let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds, "{}", entry.path().display());
    }
}

/// The lines of the audit log, as JSON.
fn audit_lines(data: &Path) -> Vec<Value> {
    let mut files: Vec<_> =
        fs::read_dir(data.join("audit")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let text: String = files.into_iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verify(data: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = command(&[&["audit", "verify", data.to_str().unwrap()], more].concat()).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn the_audit_log_says_who_asked_changed_and_was_refused() {
    let guarded = Guarded::new(&[]);
    let data = guarded.folder.path();
    guarded.ask("GET", "/api/v1/traces?q=%7B%20.secret%20%3D%201%20%7D", guarded.key(Role::Read));
    guarded.ask("GET", "/api/v1/export?format=otlp", guarded.key(Role::Read));
    guarded.send("POST", "/api/v1/delete", guarded.key(Role::Edit), Some(json!({ "q": "{ .user = 7 }" })));
    guarded.ask("PUT", "/api/v1/pins/aa", guarded.key(Role::Read));
    guarded.ask("GET", "/api/v1/services", "wrong");
    let body = Some(json!({ "role": "read", "name": "made" }));
    let made = guarded.send("POST", "/api/v1/keys", guarded.key(Role::Admin), body).json();
    let by_command = create(data, &["--role", "audit"]);
    assert_eq!(guarded.ask("GET", "/api/v1/me", &by_command).status, 200);
    http::post_traces(guarded.server.otlp_http(), &[]);
    let found = |wanted: Value| {
        let matches = |line: &Value| {
            wanted.as_object().unwrap().iter().all(|(name, value)| line.get(name) == Some(value))
        };
        eventually(&format!("a line with {wanted}"), || audit_lines(data).into_iter().find(matches))
    };
    let question = found(
        json!({ "event": "question", "role": "read", "via": "key", "tenant": "default", "status": 200 }),
    );
    assert_eq!(question["target"], "/api/v1/traces?q=%7B%20.secret%20%3D%201%20%7D");
    assert_eq!(question["address"], "127.0.0.1");
    assert_eq!(question["traces"], 0, "none was found");
    found(json!({ "event": "export", "status": 200 }));
    let deletion = json!({ "event": "deletion", "phase": "begin", "body": "{\"q\":\"{ .user = 7 }\"}" });
    assert_eq!(found(deletion)["role"], "edit");
    found(json!({ "event": "deletion", "phase": "end", "role": "edit" }));
    let lacking = found(json!({ "event": "refusal", "reason": "permission", "role": "read", "status": 403 }));
    assert_eq!(lacking["target"], "/api/v1/pins/aa");
    found(json!({ "event": "refusal", "reason": "bad-credential", "status": 401 }));
    found(json!({ "event": "refusal", "reason": "unauthenticated", "target": "/v1/traces" }));
    found(json!({ "event": "keys", "phase": "end", "status": 201, "subject": made["id"] }));
    found(
        json!({ "event": "keys", "subject": &by_command[5..15], "reason": "created on the data directory" }),
    );
    let text = audit_lines(data).iter().map(Value::to_string).collect::<String>();
    for (_, key) in &guarded.keys {
        assert!(!text.contains(&key[16..40]), "no secret in the log");
    }

    let by_api = guarded.ask("GET", "/api/v1/audit?limit=2", guarded.key(Role::Audit));
    let head = by_api.header("x-audit-head").unwrap().to_owned();
    let two: Vec<Value> = by_api.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(two, audit_lines(data)[..2]);
    assert_eq!(guarded.ask("GET", "/api/v1/audit?before=2", guarded.key(Role::Audit)).status, 400);
    assert_eq!(
        verify(data, &["--head", &head]).0,
        Some(0),
        "the log contains the line that the answer named"
    );

    let (code, said) = verify(data, &[]);
    assert_eq!(code, Some(0), "{said}");
    let head = said.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned();
    let Guarded { server, folder, .. } = guarded;
    server.stop();
    let data = folder.path();
    assert_eq!(audit_lines(data).last().unwrap()["event"], "stop");
    assert_eq!(verify(data, &["--head", &head]).0, Some(0));
    // Without a server the command writes the line itself.
    create(data, &["--role", "read"]);
    assert_eq!(audit_lines(data).last().unwrap()["event"], "keys");
    assert_eq!(verify(data, &[]).0, Some(0));
    let file = fs::read_dir(data.join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let file =
        file.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "jsonl")).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("user = 7", "user = 8", 1)).unwrap();
    let (code, said) = verify(data, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("which was changed"), "{said}");
}

#[test]
fn a_killed_server_loses_no_line_of_what_was_answered() {
    let mut guarded = Guarded::new(&[]);
    let asked = 50;
    for number in 0..asked {
        let path = format!("/api/v1/services/number-{number}/operations");
        assert_eq!(guarded.ask("GET", &path, guarded.key(Role::Read)).status, 200);
    }
    guarded.server.kill();
    let data = guarded.folder.path();
    let lines = audit_lines(data);
    for number in 0..asked {
        let target = format!("/api/v1/services/number-{number}/operations");
        assert!(lines.iter().any(|line| line["target"] == target), "{target} was answered and is not there");
    }
    assert_eq!(verify(data, &[]).0, Some(0));
    let again = Settings::on(data).with(&["--require-auth"]).start();
    again.stop();
    assert_eq!(verify(data, &[]).0, Some(0));
}

#[test]
fn what_cannot_be_written_down_is_refused_if_it_has_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let key = create(folder.path(), &["--role", "edit"]);
    let bearer = format!("Bearer {key}");
    let settings =
        Settings::on(folder.path()).with(&["--require-auth", "--limits", "maxAuditFileBytes=1KiB"]);
    for (required, status) in [(true, 503), (false, 200)] {
        let more: &[&str] = if required { &["--audit-required"] } else { &[] };
        let server = settings.clone().with(more).start();
        let services = || {
            http::request(server.http(), "GET", "/api/v1/services", &[("authorization", &bearer)], Body::None)
        };
        // A folder in the place of the next file: the log cannot go on there.
        let block =
            |number: usize| fs::create_dir(folder.path().join(format!("audit/audit-{number:020}.jsonl")));
        assert_eq!(services().status, 200);
        let written = audit_lines_of_files(folder.path());
        (written..written + 20).for_each(|number| drop(block(number)));
        let statuses: Vec<u16> = (0..20).map(|_| services().status).collect();
        assert_eq!(statuses.last(), Some(&status), "{statuses:?}");
        drop(server);
        for number in 0..100 {
            let _ = fs::remove_dir(folder.path().join(format!("audit/audit-{number:020}.jsonl")));
        }
    }
}

/// The number of lines, where folders stand between the files.
fn audit_lines_of_files(data: &Path) -> usize {
    let files = fs::read_dir(data.join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file() && path.extension().is_some_and(|kind| kind == "jsonl"));
    files.map(|path| fs::read_to_string(path).unwrap().lines().count()).sum()
}

#[test]
fn a_user_logs_in_by_the_page_and_out_again() {
    let guarded = Guarded::new(&[]);
    let data = guarded.folder.path();
    let password = data.join("password");
    fs::write(&password, "correct horse\n").unwrap();
    let (data_text, password) = (data.to_str().unwrap(), password.to_str().unwrap());
    let add = ["users", "add", "ada", "--role", "edit", "--data-dir", data_text, "--password-file", password];
    assert_eq!(stdout(command(&add).output().unwrap()), "added user ada with role edit\n");

    let http = guarded.server.http();
    let page = http::request(http, "GET", "/trace/aa", &[("accept", "text/html")], Body::None);
    assert_eq!(page.status, 401);
    assert!(page.text().contains("value=\"/trace/aa\"") && page.text().contains("<label"), "{}", page.text());
    let offered = page.header("www-authenticate");
    assert_eq!(offered, Some("Bearer realm=\"spandrel\""), "for Basic a browser opens a window of its own");

    let form = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let wrong = b"name=ada&password=wrong+horse&next=%2Ftrace%2Faa";
    let refused = http::request(http, "POST", "/api/v1/login", &form, Body::Sized(wrong));
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("role=\"alert\"") && refused.header("set-cookie").is_none());
    let right = b"name=ada&password=correct+horse&next=%2Ftrace%2Faa";
    let foreign = [form[0], ("sec-fetch-site", "cross-site")];
    assert_eq!(http::request(http, "POST", "/api/v1/login", &foreign, Body::Sized(right)).status, 403);
    let reply = http::request(http, "POST", "/api/v1/login", &form, Body::Sized(right));
    assert_eq!((reply.status, reply.header("location")), (303, Some("/trace/aa")));
    let cookie = reply.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=86400"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap().to_owned();
    let with = |method: &str, path: &str, site: &str| {
        let headers = [("cookie", session.as_str()), ("sec-fetch-site", site), JSON[0]];
        http::request(http, method, path, &headers, Body::Sized(b"{\"q\":\"{ }\"}"))
    };
    let me = with("GET", "/api/v1/me", "same-origin").json();
    assert_eq!(
        me,
        json!({ "name": "ada", "role": "edit", "tenant": "default", "via": "session", "multitenancy": false })
    );
    assert_eq!(with("POST", "/api/v1/delete", "cross-site").status, 403);
    assert_eq!(with("POST", "/api/v1/delete", "same-origin").status, 202);
    assert_eq!(with("POST", "/api/v1/keys", "same-origin").status, 403, "an editor is no admin");
    let lines = audit_lines(data);
    let login = lines.iter().find(|line| line["event"] == "login").unwrap();
    assert_eq!((&login["who"], &login["via"]), (&json!("ada"), &json!("session")));
    let failed = lines.iter().find(|line| line["reason"] == "wrong-password").unwrap();
    assert_eq!(failed["who"], "ada");
    let text = lines.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("horse") && !text.contains(&session[20..]), "no secret in the log");

    assert_eq!(with("POST", "/api/v1/logout", "same-origin").status, 204);
    assert_eq!(with("GET", "/api/v1/me", "same-origin").status, 401);
    let removed = ["users", "remove", "ada", "--data-dir", data_text];
    assert_eq!(stdout(command(&removed).output().unwrap()), "removed user ada\n");
    let late = http::request(
        http,
        "POST",
        "/api/v1/login",
        JSON,
        Body::Sized(br#"{"name":"ada","password":"correct horse"}"#),
    );
    assert_eq!(late.status, 401);
}

#[test]
fn each_way_to_authenticate_can_be_the_only_one() {
    let guarded = Guarded::new(&["--auth-methods", "users"]);
    let refused = guarded.ask("GET", "/api/v1/services", guarded.key(Role::Read));
    assert!(refused.status == 401 && refused.problem().contains("auth-methods"));
    let guarded = Guarded::new(&["--auth-methods", "keys"]);
    assert_eq!(guarded.ask("GET", "/api/v1/services", guarded.key(Role::Read)).status, 200);
    let page = http::request(guarded.server.http(), "GET", "/", &[("accept", "text/html")], Body::None);
    assert!(page.status == 401 && !page.text().contains("<form"));
    let login = br#"{"name":"ada","password":"correct horse"}"#;
    let closed = http::request(guarded.server.http(), "POST", "/api/v1/login", JSON, Body::Sized(login));
    assert_eq!(closed.status, 404);
}
