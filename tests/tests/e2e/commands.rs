//! The commands that query a running server, with their output for people and for scripts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Output;
use std::thread;

use opentelemetry_proto::tonic::trace::v1::{Status, TracesData};
use prost::Message as _;
use serde_json::Value;
use spandrel_tests::http;
use spandrel_tests::otlp::{self, hex, text};
use spandrel_tests::server::{self, Server, Settings};
use tempfile::TempDir;

/// A server with one trace of two services.
struct Shop {
    server: Server,
    trace: String,
    _folder: TempDir,
}

/// The result of a command.
struct CommandOutput {
    code: i32,
    stdout: String,
    stderr: String,
}

// === impl Shop, CommandOutput ===

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Settings::on(&folder.path().join("data")).start();
        let id = otlp::trace_id();
        let mut root = otlp::span(&id, "GET /checkout");
        (root.kind, root.end_time_unix_nano) = (2, root.start_time_unix_nano + 12_345_678);
        let mut child = otlp::span(&id, "charge \u{1b}[31m card");
        child.parent_span_id.clone_from(&root.span_id);
        child.start_time_unix_nano = root.start_time_unix_nano + 1_000_000;
        child.end_time_unix_nano = root.start_time_unix_nano + 2_500_000;
        child.status = Some(Status { code: 2, message: String::new() });
        child.attributes = vec![text("error.type", "declined")];
        let mut request = otlp::request("shop", vec![root]);
        request.resource_spans.extend(otlp::request("payment", vec![child]).resource_spans);
        let reply = http::post_traces(server.otlp_http(), &request.encode_to_vec());
        assert_eq!(reply.status, 200, "{}", reply.text());
        Self { server, trace: hex(&id), _folder: folder }
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        run(arguments, &format!("http://{}", self.server.http()))
    }

    /// The output of a command that succeeds.
    fn print(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
        output.stdout
    }
}

fn run(arguments: &[&str], server: &str) -> CommandOutput {
    CommandOutput::of(server::command(arguments).args(["--server", server]).output().unwrap())
}

impl CommandOutput {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

// === answers ===

#[test]
fn a_trace_is_a_tree_for_people_and_json_for_scripts() {
    let shop = Shop::new();
    let tree = shop.print(&["trace", &shop.trace]);
    let line = |part: &str| {
        let found = tree.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no {part:?} in:\n{tree}")).to_owned()
    };
    assert!(line(&shop.trace).ends_with("shop: GET /checkout"));
    assert!(line("2 spans").ends_with("12.3ms, 2 spans, 1 failed"));
    assert_eq!(line("  server"), "     +0ns    12.3ms  GET /checkout  server");
    // Control characters are escaped, so that the terminal does not obey them.
    assert_eq!(line("charge"), "  +1.00ms    1.50ms    charge \\u{1b}[31m card  ERROR declined");
    let json: Value = serde_json::from_str(&shop.print(&["trace", &shop.trace, "--format", "json"])).unwrap();
    assert_eq!(json, shop.server.api().json(&format!("traces/{}", shop.trace)));
    let otlp: TracesData =
        serde_json::from_str(&shop.print(&["trace", &shop.trace, "--format", "otlp"])).unwrap();
    assert_eq!(otlp::flat(&otlp.resource_spans).len(), 2);
}

#[test]
fn searches_find_and_say_when_there_is_more() {
    let shop = Shop::new();
    let found = shop.print(&["search", "{ resource.service.name = \"payment\" && failed }"]);
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(lines[1].contains(&shop.trace) && lines[1].ends_with("shop: GET /checkout"), "{found}");
    let json: Value = serde_json::from_str(&shop.print(&["search", "--format", "json"])).unwrap();
    assert_eq!(json["traces"][0]["id"], *shop.trace);
    let nothing = shop.run(&["search", "{ name = \"nobody\" }"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, ""));
    assert!(nothing.stderr.contains("--start"), "{}", nothing.stderr);
    let refused = shop.run(&["search", "{ nonsense"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("the server refused: q: "), "{}", refused.stderr);
}

#[test]
fn names_and_numbers_are_listed() {
    let shop = Shop::new();
    assert_eq!(shop.print(&["services"]), "payment\nshop\n");
    assert_eq!(shop.print(&["services", "shop"]), "SERVER      GET /checkout\n");
    let json: Value = serde_json::from_str(&shop.print(&["services", "--format", "json"])).unwrap();
    assert_eq!(json["services"][1]["name"], "shop");
    let stats = shop.print(&["stats"]);
    assert!(stats.lines().any(|line| line == "spans         2"), "{stats}");
    let json: Value = serde_json::from_str(&shop.print(&["stats", "--format", "json"])).unwrap();
    assert_eq!(json["spanCount"], 2);
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = CommandOutput::of(server::command(&["completions", shell]).output().unwrap());
        assert_eq!(output.code, 0, "{}", output.stderr);
        for word in ["serve", "repair", "trace", "search", "export", "parquet", "completions", "manual"] {
            assert!(output.stdout.contains(word), "{shell}: no {word}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let output = CommandOutput::of(server::command(&["manual"]).output().unwrap());
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains(".TH spandrel 1"), "{}", output.stdout);
    assert!(!output.stdout.contains("commit"), "a page does not change with every commit");
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let output = CommandOutput::of(
        server::command(&["manual", "--output-dir", pages.to_str().unwrap()]).output().unwrap(),
    );
    assert_eq!(output.code, 0, "{}", output.stderr);
    for page in ["spandrel.1", "spandrel-serve.1", "spandrel-backup-verify.1"] {
        assert!(pages.join(page).is_file(), "no {page}");
    }
}

// === errors ===

#[test]
fn errors_say_what_to_do() {
    let shop = Shop::new();
    let unknown = shop.run(&["trace", "abc"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("no trace 00000000000000000000000000000abc is stored"));
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nowhere.local_addr().unwrap());
    drop(nowhere);
    for command in [&["stats"][..], &["export"], &["trace", "1"]] {
        let output = run(command, &address);
        assert_eq!(output.code, 1);
        assert!(
            output.stderr.contains(&address) && output.stderr.contains("spandrel serve"),
            "{}",
            output.stderr
        );
    }
    assert_eq!(shop.run(&["search", "--limit", "many"]).code, 2);
    assert_eq!(shop.run(&["export", "--format", "csv"]).code, 2);
}

/// An interrupted export is not taken for a complete one, and leaves an earlier file as it is.
#[test]
fn a_broken_export_leaves_the_file_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answers = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while !lines.next().unwrap().unwrap().is_empty() {}
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{}\n{\r\n").unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traces.jsonl");
    std::fs::write(&file, "earlier").unwrap();
    let output = run(&["export", "--output", file.to_str().unwrap()], &address);
    answers.join().unwrap();
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.contains("broke off") && output.stderr.contains("traces.jsonl.partial"),
        "{}",
        output.stderr
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "earlier");
    assert_eq!(std::fs::read_to_string(folder.path().join("traces.jsonl.partial")).unwrap(), "{}\n{");
}
