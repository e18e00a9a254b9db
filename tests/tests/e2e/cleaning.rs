//! Rules that clean spans: they change without a restart, by file and by the API, are tried on stored spans, and are made from
//! what a report calls noise.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::forensics::files_with;
use spandrel_tests::http::{self, Body, JSON, Reply};
use spandrel_tests::otlp::{hex, request, span, text, trace_id};
use spandrel_tests::server::{Server, Settings, command, eventually};

const NOTHING: [PathBuf; 0] = [];
const RULES: &str = "
clean:
  - name: pings
    match: '{ name = \"ping\" }'
    drop: true
";

/// A server with the rules in a configuration file.
fn start(folder: &Path, rules: &str, flags: &[&str]) -> Server {
    let file = folder.join("spandrel.yaml");
    fs::write(&file, rules).unwrap();
    let mut all = vec!["--config", file.to_str().unwrap(), "--limits", "certificateInterval=100ms"];
    all.extend(flags);
    Settings::on(&folder.join("data")).with(&all).start()
}

fn send(server: &Server, names: &[&str]) -> Vec<u8> {
    let trace = trace_id();
    let spans = names.iter().map(|name| span(&trace, name)).collect();
    let reply = http::post_traces(server.otlp_http(), &request("shop", spans).encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
    trace
}

#[test]
fn what_is_dropped_is_acknowledged_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), RULES, &[]);
    let mut api = server.api();
    let both = send(&server, &["ping", "pong"]);
    send(&server, &["ping"]);
    let tree = api.tree(&hex(&both));
    assert_eq!((tree["spanCount"].as_u64(), api.status("spanCount")), (Some(1), 1), "{tree}");
    let dropped = r#"spandrel_clean_dropped_spans_total{rule="pings"}"#;
    assert_eq!(server.metric(dropped), Some(2.0));
    server.stop();
}

#[test]
fn a_changed_file_holds_without_a_restart_and_a_bad_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), RULES, &[]);
    let file = folder.path().join("spandrel.yaml");
    fs::write(&file, "clean:\n  - name: pings\n    match: '{ root }'\n    drop: true\n").unwrap();
    eventually("the mistake is in the log", || server.stderr().contains("line 3, column 15").then_some(()));
    send(&server, &["ping"]);
    assert_eq!(server.api().status("spanCount"), 0);
    fs::write(&file, "clean: []\n").unwrap();
    eventually("the rules are gone", || {
        send(&server, &["ping"]);
        (server.api().status("spanCount") > 0).then_some(())
    });
    server.stop();
}

#[test]
fn mistakes_refuse_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spandrel.yaml");
    fs::write(&file, "retention: 2d\nclean:\n  - name: x\n    drop: maybe\n").unwrap();
    let refused = Settings::on(folder.path()).with(&["--config", file.to_str().unwrap()]).try_start();
    let stderr = refused.err().expect("a refusal").stderr;
    assert!(stderr.contains("line 4, column 11: drop is true or false"), "{stderr}");
}

#[test]
fn keys_of_hashes_are_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spandrel.yaml");
    fs::write(&file, "clean: [{name: x, hash: span.user}]\n").unwrap();
    let key = "5Hn8cZ-a-key-of-hashes";
    let settings = Settings::on(&folder.path().join("data")).with(&["--config", file.to_str().unwrap()]);
    let server = settings.env("SPANDREL_CLEAN_KEY", key).start();
    let trace = trace_id();
    let mut one = span(&trace, "a");
    one.attributes = vec![text("user", "mallory-5Hn8cZ")];
    let body = request("shop", vec![one]).encode_to_vec();
    assert_eq!(http::post_traces(server.otlp_http(), &body).status, 200);
    let answer = server.api().get(&format!("traces/{}?format=otlp", hex(&trace))).text();
    assert!(answer.contains("\"user\"") && !answer.contains("mallory"), "{answer}");
    let said = answer + &server.stderr() + &http::get(server.http(), "/metrics").text();
    assert!(!said.contains(key));
    server.stop();
    for secret in [key, "mallory-5Hn8cZ"] {
        assert_eq!(files_with(&folder.path().join("data"), secret), NOTHING);
    }
}

// === by API ===

fn rules_of(server: &Server) -> Value {
    http::get(server.http(), "/api/v1/clean/rules").json()
}

fn change(server: &Server, method: &str, rules: &str) -> Reply {
    http::request(server.http(), method, "/api/v1/clean/rules", JSON, Body::Sized(rules.as_bytes()))
}

#[test]
fn rules_of_the_api_win_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), RULES, &[]);
    let before = rules_of(&server);
    assert_eq!((&before["origin"], &before["rules"][0]["name"]), (&json!("configuration"), &json!("pings")));
    send(&server, &["ping"]);
    assert_eq!(rules_of(&server)["done"][0]["droppedSpans"], 1);
    // A mistake changes nothing.
    let refused = change(
        &server,
        "PUT",
        "- name: fine\n  drop: true\n- name: pongs\n  match: '{ name = }'\n  drop: true",
    );
    assert_eq!((refused.status, rules_of(&server)["origin"].clone()), (400, json!("configuration")));
    let problem = refused.json();
    let place = (&problem["line"], &problem["column"], &problem["field"]);
    assert_eq!(place, (&json!(4), &json!(20), &json!("rules[1].match")), "{problem}");
    let pongs = json!([{ "name": "pongs", "match": "{ name = \"pong\" }", "drop": true }]);
    let changed = change(&server, "PUT", &pongs.to_string());
    assert_eq!((changed.status, &changed.json()["rules"]), (200, &pongs), "{}", changed.text());
    send(&server, &["ping", "pong"]);
    assert_eq!(server.api().status("spanCount"), 1);
    // Killed, not stopped: the answer was durable.
    let mut server = server;
    server.kill();
    drop(server);
    let server = start(folder.path(), RULES, &[]);
    let now = rules_of(&server);
    assert_eq!((&now["origin"], &now["rules"]), (&json!("api"), &pongs));
    assert_eq!(change(&server, "DELETE", "").json()["origin"], "configuration");
    send(&server, &["ping"]);
    assert_eq!(server.api().status("spanCount"), 1);
    server.stop();
}

#[test]
fn rules_that_are_too_long_or_cannot_be_kept_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), RULES, &[]);
    let long = format!("[] # {}", "x".repeat(1 << 20));
    assert_eq!(change(&server, "PUT", &long).status, 413);
    // A directory stands where the file would be written.
    fs::create_dir(folder.path().join("data/clean.json.new")).unwrap();
    let refused = change(&server, "PUT", "[]");
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert_eq!(rules_of(&server)["origin"], "configuration");
    server.stop();
}

#[test]
fn commands_show_set_and_reset_rules() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), RULES, &[]);
    send(&server, &["ping"]);
    let url = format!("http://{}", server.http());
    let run = |arguments: &[&str]| {
        let output = command(arguments).args(["--server", &url]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, shown, stderr) = run(&["clean", "show"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(shown.contains("# matched 1 span, dropped 1 ("), "{shown}");
    // What is shown can be set.
    let file = folder.path().join("rules.yaml");
    fs::write(&file, &shown).unwrap();
    let before = rules_of(&server)["rules"].clone();
    let (code, _, stderr) = run(&["clean", "set", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stderr}");
    let now = rules_of(&server);
    assert_eq!((&now["origin"], &now["rules"]), (&json!("api"), &before));
    fs::write(&file, "- name: x\n  dropp: true\n").unwrap();
    let (code, _, stderr) = run(&["clean", "set", file.to_str().unwrap()]);
    assert!(code == Some(1) && stderr.contains("line 2, column 3") && stderr.contains("dropp"), "{stderr}");
    let (code, said, _) = run(&["clean", "reset"]);
    assert!(code == Some(0) && said.contains("configuration"), "{said}");
    assert_eq!(rules_of(&server)["origin"], "configuration");
    server.stop();
}

/// The spelling with a flag, and that with a command.
#[test]
fn rules_are_tried_on_stored_spans_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "clean: []\n", &[]);
    let trace = send(&server, &["ping", "GET /user/4711", "pong"]);
    send(&server, &["ping"]);
    let file = folder.path().join("rules.yaml");
    let rules = "
- {name: pings, match: '{ name = \"ping\" }', drop: true}
- {name: names, fold-name: true, set: {resource.tier: gold}}
- {name: idle, match: '{ name = \"ping\" }', remove: [span.x]}
";
    fs::write(&file, rules).unwrap();
    let url = format!("http://{}", server.http());
    let run = |arguments: &[&str]| {
        let output = command(arguments).args(["--server", &url, "--start", "0"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let rules = file.to_str().unwrap();
    let text = run(&["clean", "--try", rules]);
    assert!(text.contains("looked at 4 spans of 2 traces") && text.contains("nothing was changed"), "{text}");
    assert!(text.contains("pings: matched 2, dropped 2, changed 0"), "{text}");
    assert!(text.contains("    name: GET /user/4711 -> GET /user/{id}\n"), "{text}");
    assert!(text.contains("    resource.tier: (none) -> gold\n"), "{text}");
    let json: Value = serde_json::from_str(&run(&["clean", "try", rules, "--format", "json"])).unwrap();
    let done = |rule: usize| {
        ["matchedSpans", "droppedSpans", "changedSpans"]
            .map(|member| json["rules"][rule][member].as_u64().unwrap())
    };
    assert_eq!([done(0), done(1), done(2)], [[2, 2, 0], [2, 0, 2], [0, 0, 0]], "{json}");
    assert!(json["rules"][0]["savedBytes"].as_i64() > Some(0) && json["cut"] == false, "{json}");
    assert_eq!(json["rules"][0]["samples"].as_array().unwrap().len(), 1);
    let cut: Value =
        serde_json::from_str(&run(&["clean", "try", rules, "--spans", "1", "--format", "json"])).unwrap();
    assert_eq!((&cut["cut"], &cut["spans"]), (&json!(true), &json!(1)));
    assert_eq!(server.api().tree(&hex(&trace))["spanCount"], 3);
    assert_eq!(rules_of(&server)["rules"], json!([]));
    server.stop();
}

// === noise ===

/// A service with everything that is noise, and some spans that are not.
fn send_noise(server: &Server) {
    let mut spans = Vec::new();
    for n in 0..30 {
        let trace = trace_id();
        let mut named = |name: &str, attributes: Vec<_>| {
            let mut span = span(&trace, name);
            span.attributes =
                [attributes, vec![text("build", "7 \"b\" \\ c"), text("service.name", "shop")]].concat();
            spans.push(span);
        };
        named("GET /healthz", vec![]);
        named("GET", vec![text("url.path", "/metrics")]);
        named(&format!("GET /user/{}", 1000 + n), vec![text("customer", &format!("c{n}"))]);
        named("checkout", vec![text("note", &format!("to ada{n}@example.org"))]);
    }
    let body = request("shop", spans).encode_to_vec();
    assert_eq!(http::post_traces(server.otlp_http(), &body).status, 200);
}

/// The rules of a report are taken by the server, and do what the report has said of them.
#[test]
fn rules_against_noise_save_what_the_report_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "clean: []\n", &[]);
    send_noise(&server);
    let report = http::get(server.http(), "/api/v1/noise?start=0").json();
    let findings = report["findings"].as_array().unwrap();
    let mut kinds: Vec<&str> = findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["constant", "healthChecks", "names", "personalData", "repeated", "scrapes"],
        "{report}"
    );
    let url = format!("http://{}", server.http());
    let run = |arguments: &[&str]| {
        let output = command(arguments).args(["--server", &url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = folder.path().join("rules.yaml");
    for finding in findings {
        fs::write(&file, finding["rule"].as_str().unwrap()).unwrap();
        let tried = run(&["clean", "--try", file.to_str().unwrap(), "--start", "0", "--format", "json"]);
        let tried: Value = serde_json::from_str(&tried).unwrap();
        let rule = &tried["rules"][0];
        let said = (&finding["savedSpans"], finding["savedBytes"].as_i64().unwrap());
        let saved = rule["savedBytes"].as_i64().unwrap();
        match finding["kind"].as_str() {
            Some("names" | "personalData") => {
                assert!(rule["changedSpans"].as_u64() > Some(0), "{finding} {rule}")
            }
            _ => assert_eq!((&rule["droppedSpans"], saved), said, "{finding} {rule}"),
        }
        assert_ne!(rule["matchedSpans"], 0, "{finding} {rule}");
    }
    // All of them together are a list that the server takes, after which there is nothing left to find.
    fs::write(&file, run(&["noise", "--start", "0", "--format", "yaml"])).unwrap();
    run(&["clean", "set", file.to_str().unwrap()]);
    server.stop();
    fs::remove_dir_all(folder.path().join("data/store")).unwrap();
    let server = start(folder.path(), "clean: []\n", &[]);
    send_noise(&server);
    let report = http::get(server.http(), "/api/v1/noise?start=0").json();
    assert_eq!((&report["findings"], &report["spanCount"]), (&json!([]), &json!(60)), "{report}");
    server.stop();
}

#[test]
fn the_report_on_noise_is_readable() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "clean: []\n", &[]);
    send_noise(&server);
    let url = format!("http://{}", server.http());
    let run = |arguments: &[&str]| {
        let output = command(arguments).args(["--server", &url, "--start", "0"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["noise"]);
    assert!(text.starts_with("looked at 120 spans of 30 traces"), "{text}");
    assert!(text.contains("100.0 %") && text.contains("healthChecks: shop / GET /healthz  (30)"), "{text}");
    assert!(text.contains("    - name: \"health checks of shop: GET /healthz\""), "{text}");
    assert!(!text.contains("ada1") && !text.contains('█'), "{text}");
    let cut: Value = serde_json::from_str(&run(&["noise", "--spans", "7", "--format", "json"])).unwrap();
    assert_eq!((&cut["spanCount"], &cut["sampled"]), (&json!(7), &json!(true)));
    server.stop();
}
