//! Questions in TraceQL to a running server: pipelines, series, attributes, live tails, and the commands that ask them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue;
use opentelemetry_proto::tonic::trace::v1::Status;
use prost::Message as _;
use serde_json::{Value, json};
use spandrel_tests::http::{self, percent_encoded};
use spandrel_tests::otlp::{self, attribute, hex, text};
use spandrel_tests::server::{self, Server, Settings};

const MILLISECOND: u64 = 1_000_000;
/// The year 2100, in seconds: without an end, series end now, and spans begin a few milliseconds later.
const LATER: &str = "4102444800";

/// Sends a trace: a shop whose server calls a payment service three times; the last call fails. Returns its ID.
fn send_order(server: &Server) -> String {
    let id = otlp::trace_id();
    let mut root = otlp::span(&id, "POST /order");
    (root.kind, root.end_time_unix_nano) = (2, root.start_time_unix_nano + 100 * MILLISECOND);
    root.attributes = vec![text("http.method", "POST")];
    let charge = |n: u64| {
        let mut span = otlp::span(&id, "charge");
        span.kind = 2;
        span.parent_span_id.clone_from(&root.span_id);
        span.start_time_unix_nano = root.start_time_unix_nano + n * MILLISECOND;
        span.end_time_unix_nano = span.start_time_unix_nano + n * 10 * MILLISECOND;
        let status = if n == 3 { "503" } else { "200" };
        span.attributes = vec![text("http.status_code", status), attribute("amount", IntValue(n as i64))];
        span.status = (n == 3).then(|| Status { code: 2, message: "declined".to_owned() });
        span
    };
    let charges = vec![charge(1), charge(2), charge(3)];
    let mut request = otlp::request("shop", vec![root]);
    request.resource_spans.extend(otlp::request("payment", charges).resource_spans);
    let reply = http::post_traces(server.otlp_http(), &request.encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
    hex(&id)
}

fn started() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::on(&folder.path().join("data")).start();
    (folder, server)
}

#[test]
fn pipelines_find_traces_and_show_their_span_sets() {
    let (_folder, server) = started();
    let id = send_order(&server);
    let mut api = server.api();
    let mut found = |query: &str| api.search(query);
    for query in [
        "{ resource.service.name = \"shop\" } > { failed }",
        "{ root } >> { span.http.response.status_code >= 500 }",
        "{ failed } ~ { span.amount = 1 }",
        "{ name = \"charge\" } | count() = 3",
        "{ entry } | count_distinct(resource.service.name) = 2 | max(duration) > 2 * avg(duration)",
        "{ parent.span.http.request.method = \"POST\" && name startsWith \"char\" }",
        "{ name = \"charge\" } && none({ name = \"refund\" })",
    ] {
        let traces = found(query);
        assert_eq!(traces.len(), 1, "{query}");
        assert_eq!((&traces[0]["id"], &traces[0]["spanCount"]), (&json!(id), &json!(4)), "{query}");
    }
    for query in [
        "{ failed } >> { root }",
        "{ name = \"charge\" } | count() > 3",
        "{ span.\"http.method\" = \"GET\" }",
    ] {
        assert!(found(query).is_empty(), "{query}");
    }
    let sets =
        found("{ kind = server } | by(resource.service.name) | avg(span.amount) >= 2 | select(span.amount)");
    let set = &sets[0]["spanSets"][0];
    assert_eq!(set["by"], json!({ "resource.service.name": "payment" }));
    assert_eq!(set["values"], json!({ "avg(span.amount)": 2 }));
    assert_eq!(
        (&set["matchedSpanCount"], &set["spans"][0]["attributes"]["span.amount"]),
        (&json!(3), &json!(1))
    );
    server.stop();
}

/// The values of the only point of each series, by a label.
fn last_values(answer: &Value, label: &str) -> Vec<(Value, f64)> {
    let series = answer["series"].as_array().unwrap();
    let value = |series: &Value| series["points"][0]["value"].as_f64().unwrap();
    let mut values: Vec<_> = series.iter().map(|one| (one["labels"][label].clone(), value(one))).collect();
    values.sort_by_key(|(label, _)| label.to_string());
    values
}

#[test]
fn series_attributes_and_heatmaps_count_what_was_sent() {
    let (_folder, server) = started();
    (0..5).for_each(|_| drop(send_order(&server)));
    let mut api = server.api();
    let mut series = |query: &str, step: &str| {
        api.json(&format!("metrics?q={}&start=now-1h&end={LATER}&step={step}", percent_encoded(query)))
    };
    // One point for all time. A step of whole minutes is answered from sums, another one from columns.
    for step in ["100000d", "8640000001s"] {
        let counts = series("{ } | count_over_time() by(resource.service.name)", step);
        assert_eq!(
            last_values(&counts, "resource.service.name"),
            [(json!("payment"), 15.0), (json!("shop"), 5.0)]
        );
        let latest = series("{ name = \"charge\" } | max_over_time(duration)", step);
        assert_eq!(last_values(&latest, "x"), [(Value::Null, 30.0 * MILLISECOND as f64)]);
    }
    let counts =
        series("{ name = \"charge\" } | count_over_time() by(span.http.response.status_code)", "100000d");
    let name = "span.http.response.status_code";
    assert_eq!(last_values(&counts, name), [(json!("200"), 10.0), (json!("503"), 5.0)]);
    let ratio = "({ failed } | count_over_time() by(name)) / ({ } | count_over_time() by(name))";
    assert_eq!(last_values(&series(ratio, "100000d"), "name")[0].1, 1.0 / 3.0);
    assert_eq!(
        last_values(&series("{ } >> { failed } | sum_over_time(span.amount)", "100000d"), "x")[0].1,
        15.0
    );

    let attributes = api.json("attributes?scope=span")["attributes"].take();
    assert!(
        attributes.to_string().contains(r#"{"name":"amount","scope":"span","types":["int"]}"#),
        "{attributes}"
    );
    let values = api.json("attributes/span.amount/values?q=%7Bfailed%7D");
    assert_eq!(values["values"], json!([{ "type": "int", "value": 3, "spanCount": 5 }]));
    let compared = api.json("attributes/compare?selection=%7Bfailed%7D&baseline=%7Bname%3D%22charge%22%7D");
    let amount = compared["attributes"].as_array().unwrap().iter().find(|one| one["name"] == "span.amount");
    let three = json!({ "value": 3, "selectionCount": 5, "baselineCount": 0 });
    assert!(amount.unwrap()["values"].as_array().unwrap().contains(&three), "{compared}");
    let operations = api.json("operations?kind=any");
    let charges = &operations["operations"][1];
    assert_eq!((&charges["name"], &charges["errorShare"]), (&json!("charge"), &json!(1.0)), "{operations}");
    assert!(operations["operations"][0]["timeShare"].as_f64().unwrap() > 0.6, "{operations}");
    let slowest =
        api.json(&format!("traces?q={}&limit=1", percent_encoded("{ failed }")))["traces"][0].take();
    let (trace, span) = (slowest["id"].as_str().unwrap(), slowest["matchedSpanIds"][0].as_str().unwrap());
    let percentile = api.json(&format!("traces/{trace}/spans/{span}/percentile"));
    assert_eq!(
        (&percentile["name"], &percentile["spanCount"]),
        (&json!("charge"), &json!(15)),
        "{percentile}"
    );
    assert!((percentile["slowerThan"].as_f64().unwrap() - 2.0 / 3.0).abs() < 0.01, "{percentile}");
    let heatmap = api.json("histogram?q=%7Bname%3D%22charge%22%7D&step=100000d&end=4102444800");
    let buckets = heatmap["buckets"].as_array().unwrap();
    let count: u64 = buckets.iter().map(|bucket| bucket["counts"][0].as_u64().unwrap()).sum();
    assert_eq!(count, 15, "{heatmap}");
    server.stop();
}

#[test]
fn limits_make_an_answer_partial_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::on(&folder.path().join("data")).with(&["--limits", "maxMetricsSeries=1"]);
    let server = settings.start();
    send_order(&server);
    let query = percent_encoded("{ } | rate() by(span.amount)");
    let answer = server.api().json(&format!("metrics?q={query}&start=now-1h"));
    assert_eq!((&answer["partial"], &answer["partialReason"]), (&json!(true), &json!("maxMetricsSeries")));
    let query = percent_encoded("{ } | rate()");
    let whole = server.api().json(&format!("metrics?q={query}&start=now-1h"));
    assert_eq!((&whole["partial"], &whole["partialReason"]), (&json!(false), &Value::Null));
    server.stop();
}

#[test]
fn a_tail_shows_what_arrives_and_nothing_that_was_there() {
    let (_folder, server) = started();
    let before = send_order(&server);
    let url = format!("http://{}", server.http());
    let mut tail = server::command(&["tail", "{ failed }", "--format", "json", "--server", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let reader = std::thread::spawn(move || {
        if let Some(Ok(line)) = lines.next() {
            let _ = send.send(line);
        }
    });
    // The tail begins when its request arrives, so traces are sent until it shows one.
    let mut sent = Vec::new();
    let line = server::eventually("a line of the tail", || {
        sent.push(send_order(&server));
        receive.recv_timeout(std::time::Duration::from_millis(100)).ok()
    });
    let shown: Value = serde_json::from_str(&line).unwrap();
    let id = shown["id"].as_str().unwrap().to_owned();
    assert!(id != before && sent.contains(&id), "{shown}");
    assert_eq!((&shown["matchedSpanCount"], &shown["spanCount"]), (&json!(1), &json!(4)));
    tail.kill().unwrap();
    tail.wait().unwrap();
    reader.join().unwrap();
    server.stop();
}

#[test]
fn commands_ask_the_same() {
    let (_folder, server) = started();
    let id = send_order(&server);
    let url = format!("http://{}", server.http());
    let print = |arguments: &[&str]| {
        let output = server::command(arguments).args(["--server", &url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let found = print(&["search", "{ name = \"charge\" } | by(failed) | count() > 1"]);
    assert!(found.contains(&id) && found.contains("2 spans  failed=false  count()=2"), "{found}");
    let rows = print(&["metrics", "{ } | count_over_time() by(name)", "--step", "100000d", "--end", LATER]);
    let mut rows: Vec<&str> = rows.lines().map(|line| line.split_once('\t').unwrap().1).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["1\tname=POST /order", "3\tname=charge"]);
    let refused = server::command(&["metrics", "{ }", "--server", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has no metrics stage"));
    server.stop();
}
