//! Frozen directories and backups of older formats: today's binary opens them, answers every query from them, upgrades
//! them, and restores the backups.
//!
//! `tests/fixtures/frozen/README.md` describes how a test of this file makes an archive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde_json::Value;
use spandrel_block::FORMAT_VERSION;
use spandrel_tests::api::{Api, EVER};
use spandrel_tests::frozen::workload::{CHATTY, FOR_EVER, GONE, Written};
use spandrel_tests::frozen::{Frozen, archive, of_directory};
use spandrel_tests::server::{Server, Settings, command, eventually};
use spandrel_tests::spans::Sent;

/// Formats with a frozen directory.
const FORMATS: std::ops::RangeInclusive<u16> = 1..=FORMAT_VERSION;

/// Merged blocks since this format need no upgrade.
const COLUMNAR: u16 = 2;

/// A range in whole hours around the starts of all spans.
const RANGE: &str = "start=2023-11-14T22:00:00Z&end=2023-11-15T00:00:00Z";

/// A query, and a function that says whether a span matches it.
type Question = (&'static str, fn(&Sent) -> bool);

/// Answers that must stay the same while blocks are upgraded.
#[derive(Debug, PartialEq)]
struct Answers {
    searches: BTreeMap<&'static str, BTreeSet<String>>,
    others: BTreeMap<String, Value>,
}

fn serve(data: &Path) -> Settings {
    Settings::on(data).with(&["--retention", FOR_EVER])
}

fn run(arguments: &[&str]) -> String {
    let output: Output = command(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn check(data: &Path) {
    let said = run(&["check", "--data-dir", &data.display().to_string()]);
    assert!(said.contains("nothing is wrong"), "{said}");
}

/// An attribute of a span or of its resource.
fn value<'s>(sent: &'s Sent, key: &str) -> Option<&'s Any> {
    let resource = sent.resource.resource.iter().flat_map(|resource| &resource.attributes);
    let found = resource.chain(&sent.span.attributes).find(|pair| pair.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn is_text(sent: &Sent, key: &str, text: &str) -> bool {
    matches!(value(sent, key), Some(Any::StringValue(found)) if found == text)
}

/// Queries, each with its condition in plain code, as the oracle.
fn questions() -> Vec<Question> {
    vec![
        ("{ }", |_| true),
        ("{ resource.service.name = \"payment\" }", |sent| is_text(sent, "service.name", "payment")),
        ("{ .user = \"user-3\" }", |sent| is_text(sent, "user", "user-3")),
        ("{ resource.host.name = \"host-2\" }", |sent| is_text(sent, "host.name", "host-2")),
        ("{ .user = \"gone\" }", |sent| is_text(sent, "user", GONE)),
        ("{ .user = \"nobody\" }", |_| false),
        ("{ .items > 40 }", |sent| matches!(value(sent, "items"), Some(Any::IntValue(items)) if *items > 40)),
        ("{ span.list = \"täxt\" }", |sent| value(sent, "list").is_some()),
        (
            "{ .list >= 90 }",
            |sent| matches!(value(sent, "items"), Some(Any::IntValue(items)) if *items >= 40),
        ),
        ("{ .list = \"elsewhere\" }", |_| false),
        ("{ .member = true }", |sent| value(sent, "member") == Some(&Any::BoolValue(true))),
        ("{ name = \"GET /cart/4\" }", |sent| sent.span.name == "GET /cart/4"),
        ("{ name = \"odd\" }", |sent| sent.span.name == "odd"),
        ("{ failed }", |sent| sent.span.status.as_ref().is_some_and(|status| status.code == 2)),
        ("{ duration > 4ms }", |sent| sent.duration() > 4_000_000),
    ]
}

/// Asserts that a server has exactly the sent spans of some traces; returns its answers.
fn answers(frozen: &Frozen, server: &Server, traces: &BTreeSet<String>) -> Answers {
    let mut api: Api = server.api();
    frozen.assert_spans(&mut api, traces);
    let sent = frozen.sent(|trace| traces.contains(trace));
    let mut searches = BTreeMap::new();
    for (question, is_match) in questions() {
        let found = api.search(question);
        let found: BTreeSet<String> =
            found.iter().map(|trace| trace["id"].as_str().unwrap().to_owned()).collect();
        let expected: BTreeSet<String> =
            sent.iter().filter(|sent| is_match(sent)).map(|sent| sent.trace().to_string()).collect();
        assert_eq!(found, expected, "{question}");
        searches.insert(question, found);
    }
    let paths = [
        "services".to_owned(),
        "services/shop/operations".to_owned(),
        format!("aggregates?{RANGE}&step=1h&groupBy=service"),
        format!("dependencies?{RANGE}"),
        format!("traces?q=%7B%7D&start={EVER}&order=longest&limit=5"),
    ];
    let mut others: BTreeMap<String, Value> = paths.map(|path| (path.clone(), api.json(&path))).into();
    // The cost of a query may change.
    others.values_mut().filter_map(Value::as_object_mut).for_each(|answer| _ = answer.remove("scanned"));
    assert!(others.values().all(|answer| answer["partial"] != true), "{others:#?}");
    Answers { searches, others }
}

/// The requests of each service in the aggregates.
fn requests(answers: &Answers) -> BTreeMap<String, u64> {
    let (_, answer) = answers.others.iter().find(|(path, _)| path.starts_with("aggregates")).unwrap();
    let count = |series: &Value| {
        let points = series["points"].as_array().unwrap().iter();
        let service = series["labels"]["service"].as_str().unwrap().to_owned();
        (service, points.map(|point| point["requestCount"].as_u64().unwrap()).sum())
    };
    answer["series"].as_array().unwrap().iter().map(count).collect()
}

/// The calls between services in the dependencies.
fn calls(answers: &Answers) -> Vec<(String, String, u64)> {
    let (_, answer) = answers.others.iter().find(|(path, _)| path.starts_with("dependencies")).unwrap();
    let word = |edge: &Value, name: &str| edge[name].as_str().unwrap().to_owned();
    let edges = answer["edges"].as_array().unwrap().iter();
    edges
        .map(|edge| (word(edge, "caller"), word(edge, "callee"), edge["callCount"].as_u64().unwrap()))
        .collect()
}

/// Asserts that aggregates and dependencies count the sent spans; `let_go` of them expired by a rule.
fn assert_counts(answers: &Answers, frozen: &Frozen, traces: &BTreeSet<String>, let_go: usize) {
    let sent = frozen.sent(|trace| traces.contains(trace));
    let ids: BTreeSet<_> = sent.iter().map(|sent| (sent.trace(), sent.id(), &sent.span.name)).collect();
    let named = |name: &str| ids.iter().filter(|(.., of)| of.starts_with(name)).count() as u64;
    let mut expected = BTreeMap::from([
        ("shop".to_owned(), named("GET ") + named("odd")),
        ("payment".to_owned(), named("charge")),
    ]);
    if let_go > 0 {
        expected.insert(CHATTY.to_owned(), let_go as u64);
    }
    assert_eq!(requests(answers), expected);
    let call = |caller: &str, callee: &str, count: u64| (caller.to_owned(), callee.to_owned(), count);
    let roots = named("GET ") + named("odd");
    assert_eq!(calls(answers), [call("shop", "payment", named("charge")), call("user", "shop", roots)]);
}

/// Asserts that the records beside the blocks are read as before.
fn assert_records(frozen: &Frozen, server: &Server) {
    let mut api = server.api();
    assert_eq!(api.json("pins")["pins"], *frozen.fact("pins"));
    assert_eq!(frozen.fact("pins").as_array().unwrap().len(), 2);
    let [mut now, mut then] = [api.json("deletions")["deletions"].take(), frozen.fact("deletions").clone()]
        .map(|mut all| all[0].take());
    // The first backup was taken before the deletion, so it has the deleted traces. Later backups may be named or not.
    let first = &frozen.each_backup()[0].0;
    for said in [&mut now, &mut then] {
        let named = said["backups"].take();
        assert!(named.as_array().unwrap().iter().any(|backup| backup["id"] == **first), "{named}");
    }
    // A field that deletions got later.
    then["damagedStoreKept"] = false.into();
    assert_eq!(now, then);
    assert_eq!((&now["state"], &now["traceCount"]), (&"done".into(), &frozen.traces("deleted").len().into()));
    let listed = api.json("backups")["backups"].take();
    let listed = listed.as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap().to_owned());
    let taken = frozen.each_backup().into_iter().map(|(id, _)| id);
    assert_eq!(listed.collect::<BTreeSet<_>>(), taken.collect::<BTreeSet<_>>());
}

#[test]
fn frozen_directories_answer_and_are_taken_over() {
    for format in FORMATS {
        let frozen = Frozen::unpack(format);
        let (data, kept) = (frozen.data(), frozen.traces("kept"));
        let let_go = frozen.traces("letGo").len();
        let server = serve(&data).start();
        let first = answers(&frozen, &server, &kept);
        assert_counts(&first, &frozen, &kept, let_go);
        assert_records(&frozen, &server);
        for gone in frozen.traces("deleted").iter().chain(&frozen.traces("letGo")) {
            assert!(server.api().otlp(gone).is_none(), "{gone} is back");
        }
        server.stop();
        // Merged blocks are readable as they are since format 2, so only fresh blocks have to be merged.
        let is_settled = |(level, of): &(u8, u16)| *level > 0 && *of >= COLUMNAR;
        eventually("everything is taken over", || {
            let server = serve(&data).with(&["--limits", "mergeAge=0s"]).start();
            assert_eq!(answers(&frozen, &server, &kept), first, "format {format}");
            assert_records(&frozen, &server);
            server.stop();
            of_directory(&data).iter().all(is_settled).then_some(())
        });
        let formats: BTreeSet<u16> = of_directory(&data).into_iter().map(|(_, of)| of).collect();
        assert!(formats.contains(&FORMAT_VERSION), "fresh blocks were not merged into today's format");
        assert!(format >= COLUMNAR || formats == BTreeSet::from([FORMAT_VERSION]), "{formats:?}");
        check(&data);
        let server = serve(&data).start();
        assert_eq!(answers(&frozen, &server, &kept), first, "format {format}");
        server.stop();
    }
}

/// The directory is checked before any upgrade, and has the format of its name.
#[test]
fn frozen_directories_are_sound_and_of_their_format() {
    for format in FORMATS {
        check(&Frozen::unpack(format).data());
        let blocks = of_directory(&Frozen::unpack(format).data());
        assert!(blocks.iter().all(|(_, of)| *of == format), "{blocks:?}");
        for is_fresh in [true, false] {
            assert!(blocks.iter().any(|(level, _)| (*level == 0) == is_fresh), "{blocks:?}");
        }
    }
}

#[test]
fn frozen_backups_are_restored() {
    for format in FORMATS {
        let frozen = Frozen::unpack(format);
        let set = frozen.backups().display().to_string();
        let listed = run(&["backup", "list", &set]);
        assert!(run(&["backup", "verify", &set]).contains("2 backups verified: 0 files"), "format {format}");
        for (backup, traces) in frozen.each_backup() {
            assert!(listed.contains(&backup), "{listed}");
            let data = tempfile::tempdir().unwrap();
            let target = data.path().display().to_string();
            run(&["restore", &set, "--backup", &backup, "--data-dir", &target]);
            check(data.path());
            let server = serve(data.path()).start();
            let restored = answers(&frozen, &server, &traces);
            // Backups of format 1 had no counts of expired spans yet.
            let let_go = if format == 1 { 0 } else { frozen.traces("letGo").len() };
            assert_counts(&restored, &frozen, &traces, let_go);
            server.stop();
        }
    }
}

/// A new format needs a frozen directory before its release.
#[test]
fn the_format_of_today_is_frozen() {
    let path = archive(FORMAT_VERSION);
    assert!(path.is_file(), "{} is missing; the README beside it tells how it is made", path.display());
}

/// Writes a new archive beside the others, if the environment variable is set.
#[test]
fn what_the_binary_would_freeze() {
    if std::env::var_os("SPANDREL_PROPOSE_FIXTURES").is_some() {
        let written = Written::by_the_binary();
        written.pack(&archive(written.format()).with_extension("gz.proposed"));
    }
}
