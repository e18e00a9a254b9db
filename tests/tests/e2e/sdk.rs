//! SDKs of other languages over real sockets: the sent spans are compared with the spans that the API returns.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use spandrel_tests::normalize::{self, assert_same};
use spandrel_tests::server::{Server, Settings, workspace_root};

/// The least number of spans that a script sends.
const STORY: usize = 200;

fn script(path: &str) -> PathBuf {
    workspace_root().join("tests/sdk").join(path)
}

/// Runs a script and returns the spans that it printed.
fn run(command: &mut Command) -> Value {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}\n{stderr}"))
}

/// Compares all sent spans with each of the API's formats.
fn compare(server: &Server, what: &str, printed: &Value) {
    let traces = normalize::of_sdk(printed);
    assert!(traces.values().map(|spans| spans.len()).sum::<usize>() >= STORY, "{what} sent too little");
    let mut api = server.api();
    for (id, expected) in &traces {
        let otlp = api.json(&format!("traces/{id}?format=otlp"));
        assert_same(&format!("{what}, format=otlp"), &normalize::of_otlp_json(&otlp), expected);
        let proto = serde_json::to_value(api.otlp(id).unwrap()).unwrap();
        assert_same(&format!("{what}, format=otlp-proto"), &normalize::of_otlp_json(&proto), expected);
        let tree = api.tree(id);
        assert_same(
            &format!("{what}, tree"),
            &normalize::of_tree(&tree),
            &normalize::without_dropped(expected),
        );
        check_summary(&mut api, what, &tree, expected);
    }
}

/// Compares the fields of the whole trace in tree and search.
fn check_summary(api: &mut spandrel_tests::api::Api, what: &str, tree: &Value, expected: &normalize::Spans) {
    let failed = expected.values().filter(|span| span["status"]["code"] == "ERROR").count();
    assert_eq!((&tree["spanCount"], &tree["errorCount"]), (&expected.len().into(), &failed.into()), "{what}");
    let any = expected.values().next().unwrap();
    let attribute = |key: &str| {
        let all = any["resource"]["attributes"].as_array().unwrap();
        all.iter().find(|one| one[0] == key).unwrap()[1]["stringValue"].as_str().unwrap().to_owned()
    };
    let (service, instance) = (attribute("service.name"), attribute("service.instance.id"));
    for segment in tree["segments"].as_array().unwrap() {
        assert_eq!(
            (segment["service"].as_str(), segment["instance"].as_str()),
            (Some(&*service), Some(&*instance))
        );
    }
    let query = format!(
        "{{ resource.service.instance.id = \"{instance}\" && resource.service.name = \"{service}\" }}"
    );
    let found = api.search(&query);
    let trace = found
        .iter()
        .find(|trace| trace["id"] == tree["id"])
        .unwrap_or_else(|| panic!("{what}: not found by {query}"));
    assert_eq!(trace["matchedSpanCount"], expected.len(), "{what}");
    for field in [
        "spanCount",
        "errorCount",
        "rootService",
        "rootName",
        "startUnixNano",
        "durationNano",
        "status",
        "errorCode",
    ] {
        assert_eq!(trace[field], tree[field], "{what}: {field}");
    }
}

/// The rules of the contract's section 4, on spans of the script.
fn check_story(server: &Server, printed: &Value, exception: &str) {
    let named = |name: &str| {
        let spans = printed.as_array().unwrap();
        spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no span {name}"))
    };
    let mut api = server.api();
    let root = named("GET /checkout/{id}");
    let tree = api.tree(root["traceId"].as_str().unwrap());
    assert_eq!((&tree["rootName"], &tree["status"]), (&root["name"], &"ERROR".into()));
    assert_eq!(tree["errorCode"], "500", "http.response.status_code of the root");
    assert_eq!(tree["segments"][0]["id"], root["spanId"]);
    assert_eq!(tree["segments"][0]["spans"][0]["id"], root["spanId"]);
    let warnings = tree["warnings"].to_string();
    assert!(!warnings.contains("orphan"), "the only orphan is an external parent, no warning: {warnings}");
    let spans =
        tree["segments"].as_array().unwrap().iter().flat_map(|segment| segment["spans"].as_array().unwrap());
    let charge = spans.into_iter().find(|span| span["name"] == "charge").unwrap();
    assert_eq!(charge["errorCode"], exception, "exception.type of the last exception");
    for (query, name) in [
        ("{ .text = \"plain\" && kind = server }", "GET /checkout/{id}"),
        ("{ span.int = 42 }", "GET /checkout/{id}"),
        ("{ span.bool.true = true && span.double = 0.1 }", "GET /checkout/{id}"),
        ("{ name = \"charge\" && status = error && failed = true }", "charge"),
        ("{ resource.replicas = 3 && kind = consumer }", "orders process"),
    ] {
        let found = api.search(query);
        let wanted = named(name);
        let trace = found.iter().find(|trace| trace["id"] == wanted["traceId"]);
        let trace = trace.unwrap_or_else(|| panic!("{query} does not find the trace of {name}"));
        let ids = trace["matchedSpanIds"].as_array().unwrap();
        assert!(ids.contains(&wanted["spanId"]), "{query} finds {ids:?}, not {name}");
    }
}

#[test]
fn python() {
    let interpreter = std::env::var("SPANDREL_PYTHON").expect(
        "SPANDREL_PYTHON names a Python that has the OpenTelemetry SDK; try: eval \"$(make -s env)\"",
    );
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    for (protocol, compression) in [("grpc", "none"), ("grpc", "gzip"), ("http", "none"), ("http", "gzip")] {
        let address = if protocol == "grpc" { server.otlp_grpc() } else { server.otlp_http() };
        let what = format!("Python, {protocol}, {compression}");
        let mut command = Command::new(&interpreter);
        command.arg(script("python/emit.py")).args([protocol, &address.to_string(), compression]);
        let printed = run(&mut command);
        compare(&server, &what, &printed);
        check_story(&server, &printed, "ValueError");
    }
    server.stop();
}

#[test]
fn node() {
    let packages = script("node/node_modules");
    assert!(
        packages.is_dir(),
        "the packages of tests/sdk/node are missing; try: scripts/ui.sh packages tests/sdk/node"
    );
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    for (protocol, compression) in [
        ("grpc", "none"),
        ("grpc", "gzip"),
        ("http-proto", "none"),
        ("http-proto", "gzip"),
        ("http-json", "none"),
        ("http-json", "gzip"),
    ] {
        let address = if protocol == "grpc" { server.otlp_grpc() } else { server.otlp_http() };
        let what = format!("Node.js, {protocol}, {compression}");
        let mut command = Command::new("node");
        command.arg(script("node/emit.mjs")).args([protocol, &address.to_string(), compression]);
        let printed = run(&mut command);
        compare(&server, &what, &printed);
        check_story(&server, &printed, "TypeError");
    }
    server.stop();
}
