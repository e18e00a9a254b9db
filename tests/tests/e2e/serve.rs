//! `spandrel serve` for users, scripts and dashboards: ports, settings, refusals at start, the guard on loopback,
//! health, metrics, logs, and the demo.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Output, Stdio};

use prost::Message as _;
use serde_json::Value;
use spandrel_tests::http::{Body, PROTOBUF, get, post_traces, request as ask};
use spandrel_tests::otlp::{hex, request, span, trace_id};
use spandrel_tests::server::{Settings, command, eventually};

/// Runs a command to its end.
fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Asserts a failure with every one of these words on standard error.
fn refuses(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} is taken");
    for word in words {
        assert!(said.contains(word), "{arguments:?} is refused without naming {word:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn says_where_it_listens_and_answers_there() {
    let data = tempfile::tempdir().unwrap();
    let nested = data.path().join("made/if/missing");
    let server = Settings::on(&nested).start();
    let names: BTreeSet<&str> = server.listening().keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["http", "otlp-grpc", "otlp-http", "zipkin"]));
    assert!(server.listening().values().all(|address| address.ip().is_loopback() && address.port() != 0));
    assert!(nested.is_dir());
    assert_eq!(get(server.http(), "/healthz").status, 200);
    assert_eq!(get(server.http(), "/readyz").status, 200);
    let page = get(server.http(), "/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"), "{:?}", page.headers);
    server.stop();
}

#[test]
fn a_data_directory_has_one_master() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let refused = Settings::on(data.path()).try_start().err().expect("a second process on the same data");
    assert!(!refused.status.success());
    let directory = data.path().display().to_string();
    for word in [&*directory, "another process", "--data-dir"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    assert!(!refused.stdout.contains("ready"), "{}", refused.stdout);
    // The first server works on, and leaves the directory usable.
    assert_eq!(get(server.http(), "/readyz").status, 200);
    server.stop();
    Settings::on(data.path()).start().stop();

    let file = data.path().join("a file");
    fs::write(&file, "").unwrap();
    refuses(&["serve", "--data-dir", file.to_str().unwrap()], &["a file"]);
}

#[test]
fn what_is_not_known_is_refused() {
    refuses(&["nonsense"], &["nonsense"]);
    refuses(&[], &["serve", "demo"]);
    refuses(&["serve", "--nonsense", "1"], &["--nonsense"]);
    refuses(&["serve", "--retention", "yesterday"], &["--retention", "yesterday"]);
    refuses(&["serve", "--retention", "1s"], &["--retention", "1s", "1h"]);
    refuses(&["serve", "--durability", "maybe"], &["--durability", "maybe", "sync", "os", "none"]);
    refuses(&["serve", "--log-format", "xml"], &["--log-format", "xml", "text", "json"]);
    refuses(&["serve", "--http-addr", "nowhere"], &["--http-addr", "nowhere"]);
    refuses(&["serve", "--http-addr", "127.0.0.1:99999"], &["--http-addr", "127.0.0.1:99999"]);
    refuses(&["serve", "--max-tree-spans", "many"], &["--max-tree-spans", "many"]);
    refuses(&["serve", "--max-tree-spans", "0"], &["--max-tree-spans", "0"]);
    refuses(&["serve", "--shutdown-grace", "soon"], &["--shutdown-grace", "soon"]);
    refuses(&["serve", "--cors-origin", "not an origin"], &["--cors-origin", "not an origin"]);
    // Flags of later issues are unknown, not stubs.
    for flag in ["--query-grpc-addr", "--remote-storage-addr", "--max-disk", "--base-path"] {
        refuses(&["serve", flag, "x"], &[flag]);
    }
    refuses(&["load"], &["load"]);
    let stdout = |flag: &str| {
        let output = run(&[flag]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let version = format!("spandrel {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout("-V"), version);
    // The long version has the commit, its date, and the profile.
    let long = stdout("--version");
    assert!(long.starts_with(&format!("{version} (commit ")) && long.ends_with(" build)"), "{long}");
}

#[test]
fn bad_files_and_environments_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spandrel.yaml");
    let path = file.to_str().unwrap();
    for (text, words) in [
        ("retentoin: 7d\n", &["retentoin", "retention"][..]),
        ("retention: soon\n", &["retention", "soon"]),
        ("durability: maybe\n", &["durability", "maybe", "sync"]),
        ("http-addr: {a: b}\n", &["http-addr"]),
        ("- a\n- b\n", &["spandrel.yaml"]),
        ("a: [\n", &["spandrel.yaml"]),
    ] {
        fs::write(&file, text).unwrap();
        refuses(&["serve", "--config", path], words);
    }
    refuses(&["serve", "--config", "/nowhere/spandrel.yaml"], &["/nowhere/spandrel.yaml"]);
    let output = command(&["serve"]).env("SPANDREL_DURABILITY", "maybe").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("maybe") && said.contains("sync"), "{said}");
}

#[test]
fn ports_that_cannot_be_had_are_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    for flag in ["--http-addr", "--otlp-grpc-addr", "--otlp-http-addr"] {
        let refused =
            Settings::on(data.path()).with(&[flag, &address]).try_start().err().expect("a taken port");
        assert!(!refused.status.success());
        for word in [flag, &*address, "port 0"] {
            assert!(refused.stderr.contains(word), "{flag}: {}", refused.stderr);
        }
    }
    let same = [
        "serve",
        "--data-dir",
        directory,
        "--http-addr",
        "127.0.0.1:17000",
        "--otlp-http-addr",
        "127.0.0.1:17000",
    ];
    refuses(&same, &["--http-addr", "--otlp-http-addr", "17000"]);
    let wide = [
        "serve",
        "--data-dir",
        directory,
        "--http-addr",
        "0.0.0.0:17000",
        "--otlp-http-addr",
        "127.0.0.1:17000",
    ];
    refuses(&wide, &["--http-addr", "--otlp-http-addr", "17000"]);
}

#[test]
fn flags_stand_above_environment_above_file_above_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spandrel.yaml");
    fs::write(&file, "retention: 2d\ndurability: none\nlog-format: json\nshutdown-grace: 3s\nlimits: {mergeAge: 3s, cacheBytes: 1MiB}\n").unwrap();
    let mut asked = command(&["serve", "--print-config", "--retention", "3d"]);
    asked.args(["--config", file.to_str().unwrap()]);
    let output = asked.env("SPANDREL_RETENTION", "4d").env("SPANDREL_DURABILITY", "os").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let values: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(values["retention"], "3days", "the flag");
    assert_eq!(values["durability"], "os", "the environment");
    assert_eq!(values["log-format"], "json", "the file");
    assert_eq!(values["shutdown-grace"], "3s", "the file");
    assert_eq!(values["limits"], "{\"mergeAge\":\"3s\",\"cacheBytes\":\"1048576\"}", "the file");
    assert_eq!(values["http-addr"], "127.0.0.1:16686", "the default");
    assert_eq!(values["otlp-grpc-addr"], "127.0.0.1:4317");
    assert_eq!(values["otlp-http-addr"], "127.0.0.1:4318");
    assert_eq!(values["zipkin-addr"], "127.0.0.1:9411");
    assert_eq!(values["max-tree-spans"], "200000");

    // The printed settings are a valid file with the same settings.
    let again = folder.path().join("again.yaml");
    fs::write(&again, &printed).unwrap();
    let output = run(&["serve", "--print-config", "--config", again.to_str().unwrap()]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), printed);
    assert!(!folder.path().join("data").exists(), "printing starts nothing");
}

#[test]
fn strangers_are_kept_out_on_loopback() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).with(&["--cors-origin", "https://shop.example"]).start();
    let status = |address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]| {
        ask(address, method, path, headers, Body::None)
    };
    for path in ["/api/v1/services", "/", "/api/v1/traces"] {
        for header in [
            ("host", "evil.example"),
            ("host", "127.0.0.1.evil.example"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let reply = status(server.http(), "GET", path, &[header]);
            assert_eq!(reply.status, 403, "{header:?} {path}");
            assert!(reply.problem().contains("--cors-origin"));
        }
        for header in [
            ("host", "localhost:1"),
            ("host", "[::1]"),
            ("origin", "http://localhost:5173"),
            ("origin", "https://shop.example"),
        ] {
            assert_eq!(status(server.http(), "GET", path, &[header]).status, 200, "{header:?} {path}");
        }
    }
    let body = request("x", vec![span(&trace_id(), "x")]).encode_to_vec();
    for (headers, expected) in [
        ([("host", "evil.example"), PROTOBUF[0]], 403),
        ([("origin", "https://evil.example"), PROTOBUF[0]], 403),
        ([("origin", "https://shop.example"), PROTOBUF[0]], 200),
    ] {
        let reply = ask(server.otlp_http(), "POST", "/v1/traces", &headers, Body::Sized(&body));
        assert_eq!(reply.status, expected, "{headers:?}: {}", reply.text());
    }
    // A browser can reach the gRPC port by HTTP/1.
    let headers = [("host", "evil.example"), ("content-type", "application/grpc")];
    let export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let reply = ask(server.otlp_grpc(), "POST", export, &headers, Body::Sized(&[0; 5]));
    assert_eq!(reply.status, 403, "{}", reply.text());
    server.stop();
}

#[test]
fn what_is_not_built_yet_is_not_there() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    for path in [
        "/api/traces",
        "/api/v2/spans",
        "/api/v3/services",
        "/api/mcp",
        "/api/v1/traces/compare?a=1&b=2",
        "/jaeger/api/traces",
        "/tempo/api/search",
    ] {
        assert_eq!(get(server.http(), path).status, 404, "{path}");
    }
    server.stop();
}

#[test]
fn browsers_of_other_origins_come_in_when_listed() {
    let data = tempfile::tempdir().unwrap();
    let listed =
        Settings::on(&data.path().join("a")).with(&["--cors-origin", "https://shop.example"]).start();
    let closed = Settings::on(&data.path().join("b")).start();
    let preflight = |address: SocketAddr, path: &str, method: &str, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "content-type"),
        ];
        let reply = ask(address, "OPTIONS", path, &headers, Body::None);
        reply.header("access-control-allow-origin").map(str::to_owned)
    };
    let shop = "https://shop.example";
    assert_eq!(preflight(listed.otlp_http(), "/v1/traces", "POST", shop).as_deref(), Some(shop), "sending");
    assert_eq!(preflight(listed.http(), "/api/v1/services", "GET", shop).as_deref(), Some(shop), "asking");
    let reply = ask(listed.http(), "GET", "/api/v1/services", &[("origin", shop)], Body::None);
    assert_eq!(reply.header("access-control-allow-origin"), Some(shop));
    for origin in ["https://evil.example", "http://localhost:5173"] {
        assert_eq!(preflight(listed.otlp_http(), "/v1/traces", "POST", origin), None, "{origin}");
        assert_eq!(preflight(closed.otlp_http(), "/v1/traces", "POST", origin), None, "{origin}");
        assert_eq!(preflight(closed.http(), "/api/v1/services", "GET", origin), None, "{origin}");
    }
    listed.stop();
    closed.stop();
}

#[test]
fn what_is_not_built_yet_is_not_found() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let id = "0123456789abcdef0123456789abcdef";
    for path in [
        format!("traces/{id}"),
        format!("traces/{id}/critical-path"),
        "traces/compare?a=1&b=2".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let reply = get(server.http(), &format!("/api/v1/{path}"));
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        assert!(path.starts_with("traces/") || reply.status == 404, "{path}: {}", reply.status);
        reply.problem();
    }
    for path in ["/api", "/api/", "/api/v2/spans", "/api/traces", "/api/v3/traces"] {
        let reply = get(server.http(), path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(!reply.body.is_empty(), "{path}: 404 without a word");
        reply.problem();
    }
    let reply = get(server.http(), "/api/v1/services?nonsense=1");
    assert_eq!(reply.status, 400);
    assert!(reply.problem().contains("nonsense"), "{}", reply.text());
    for query in [
        "q=%7B+nonsense",
        "limit=0",
        "limit=1001",
        "start=12345678901234",
        "order=sideways",
        "cursor=nonsense",
        "start=now&end=now-1h",
    ] {
        let reply = get(server.http(), &format!("/api/v1/traces?{query}"));
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        reply.problem();
    }
    let reply = ask(server.http(), "POST", "/api/v1/services", &[], Body::Sized(b""));
    assert_eq!(reply.status, 405, "{}", reply.text());
    let reply = ask(server.http(), "POST", "/v1/traces", &[], Body::Sized(b""));
    assert_eq!((reply.status, reply.text().contains("OTLP/HTTP port")), (405, true), "{}", reply.text());
    let openapi = get(server.http(), "/api/v1/openapi.json").json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3."), "{}", openapi["openapi"]);
    assert!(openapi["paths"].as_object().unwrap().len() >= 7, "{}", openapi["paths"]);
    server.stop();
}

/// Reads the text format of Prometheus strictly, into samples.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line:?}"));
        let bare = name.split('{').next().unwrap();
        assert!(bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line:?}");
        assert!(name == bare || name.ends_with('}'), "{line:?}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("not a number: {line:?}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "{name} stands there twice");
    }
    samples
}

#[test]
fn metrics_tell_what_happened() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let read = || {
        let reply = get(server.http(), "/metrics");
        assert!(reply.header("content-type").unwrap().starts_with("text/plain"), "{:?}", reply.headers);
        samples(&reply.text())
    };
    let spans = (0..7).map(|_| span(&trace_id(), "counted")).collect();
    let body = request("metrics", spans).encode_to_vec();
    assert_eq!(post_traces(server.otlp_http(), &body).status, 200);
    assert_eq!(post_traces(server.otlp_http(), b"\xff").status, 400);
    assert_eq!(get(server.http(), "/api/v1/services").status, 200);
    let seen = read();
    let sum = |prefix: &str| -> f64 {
        seen.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value).sum()
    };
    assert_eq!(sum("spandrel_ingest_spans_total"), 7.0, "accepted: {seen:?}");
    assert_eq!(seen["spandrel_ingest_refused_total{reason=\"malformed\"}"], 1.0, "refused with reason");
    assert_eq!(sum("spandrel_ingest_batch_spans_count"), 1.0, "batch size");
    assert_eq!(sum("spandrel_ingest_batch_spans_sum"), 7.0);
    for name in [
        "spandrel_ingest_queue_requests",
        "spandrel_store_fsync_seconds_count",
        "spandrel_store_bytes",
        "spandrel_query_seconds_count",
    ] {
        assert!(seen.keys().any(|known| known.starts_with(name)), "no {name} in {:?}", seen.keys());
    }
    assert!(seen["spandrel_store_bytes"] > 0.0);
    assert_eq!(seen["spandrel_store_spans"], 7.0);
    server.stop();
}

/// The allocator starts this thread only if it has read its settings.
#[test]
fn what_is_free_goes_back_in_the_background() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let threads = threads(server.pid());
    assert!(threads.iter().any(|(name, _)| name == "jemalloc_bg_thd"), "{threads:?}");
    server.stop();
}

/// Low-priority merges run at a lower priority than all other threads; urgent ones do not.
#[test]
fn background_work_gives_way() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    eventually("each thread's own priority", || {
        let threads = threads(server.pid());
        let nice = |of: &str| threads.iter().find(|(name, _)| name == of).map(|(_, nice)| *nice);
        let usual = nice("spandrel")?;
        let others = threads.iter().filter(|(name, _)| name != "maintenance");
        let is_so = nice("maintenance")? == (usual + 10).min(19) && nice("catching-up")? == usual;
        (is_so && others.into_iter().all(|(_, nice)| *nice == usual)).then_some(())
    });
    server.stop();
}

/// The threads of a process, with their nice values.
fn threads(pid: u32) -> Vec<(String, i32)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let about = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        let (before, behind) = stat.split_once('(')?.1.rsplit_once(')')?;
        // The 19th field of the line; two fields are before the split.
        Some((before.to_owned(), behind.split_whitespace().nth(16)?.parse().ok()?))
    };
    tasks.filter_map(|task| about(task.ok()?)).collect()
}

#[test]
fn logs_are_json_where_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let mut server =
        Settings::on(data.path()).with(&["--log-format", "json"]).env("SPANDREL_LOG", "debug").start();
    let body = request("logs", vec![span(&trace_id(), "x")]).encode_to_vec();
    assert_eq!(post_traces(server.otlp_http(), &body).status, 200);
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0), "SIGINT drains, too");
    let log = server.stderr();
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(entry["timestamp"].is_string() && entry["level"].is_string(), "{entry}");
    }
}

#[test]
fn status_counts_and_says_what_the_limits_are() {
    let data = tempfile::tempdir().unwrap();
    let limits = "cacheBytes=2MiB,merge-age=3s,max_batch_spans=77,maxConcurrentQueries=5";
    let server = Settings::on(data.path()).with(&["--limits", limits]).start();
    let trace = trace_id();
    let body = request("status", vec![span(&trace, "a"), span(&trace, "b")]).encode_to_vec();
    assert_eq!(post_traces(server.otlp_http(), &body).status, 200);
    // The resend is recognised, and acknowledged without being stored again.
    assert_eq!(post_traces(server.otlp_http(), &body).status, 200);
    let status = server.api().json("status");
    assert_eq!((&status["spanCount"], &status["traceCount"]), (&2.into(), &1.into()), "{status}");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    for field in ["storeBytes", "freshBlockCount", "unsealedSpanCount", "ingestSpansPerSecond"] {
        assert!(status[field].is_number(), "{field}: {status}");
    }
    for field in ["oldestUnixNano", "newestUnixNano"] {
        assert!(status[field].as_str().unwrap().parse::<u64>().unwrap() > 0, "{field}: {status}");
    }
    assert_eq!(status["listen"]["otlpHttp"], server.otlp_http().to_string());
    assert_eq!(status["listen"].as_object().unwrap().len(), 4, "{status}");
    let limits = &status["limits"];
    assert!(limits.as_object().unwrap().len() > 10, "{status}");
    assert_eq!((&limits["cacheBytes"], &limits["mergeAge"]), (&(2 << 20).into(), &"3s".into()), "{limits}");
    assert_eq!((&limits["maxBatchSpans"], &limits["maxConcurrentQueries"]), (&77.into(), &5.into()));
    assert_eq!(server.api().tree(&hex(&trace).to_uppercase())["id"], hex(&trace), "IDs in any case");
    server.stop();
}

#[test]
fn the_demo_is_worth_looking_at() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let endpoint = format!("http://{}", server.otlp_grpc());
    let mut demo = command(&["demo", "--endpoint", &endpoint, "--duration", "10s"]);
    let mut demo = demo.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut api = server.api();
    eventually("services, traces and errors", || {
        let services = api.json("services")["services"].as_array().unwrap().len();
        let failed = api.search("{ failed = true }");
        let across = |trace: &Value| trace["services"].as_array().unwrap().len();
        let widest = api.search("{ }").iter().map(across).max().unwrap_or(0);
        (services >= 8 && !failed.is_empty() && widest >= 5).then_some(())
    });
    assert_eq!(demo.try_wait().unwrap(), None, "visible before the demo's ten seconds were over");
    let output = demo.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for found in api.search("{ failed = true }").iter().take(20) {
        let tree = api.tree(found["id"].as_str().unwrap());
        assert!(
            tree["errorCount"].as_u64().unwrap() > 0 && tree["warnings"] == serde_json::json!([]),
            "{}",
            tree["warnings"]
        );
    }
    let rates = api.json("aggregates?groupBy=service&start=now-1h&end=now&step=1h");
    assert!(rates["series"].as_array().unwrap().len() >= 8, "{rates}");
    server.stop();
}
