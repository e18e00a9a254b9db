//! `spandrel repair` from the side of a user: a server or a check reports damage and names the command, the repair
//! runs, and the server works on with everything readable. The same after the repair was killed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use prost::Message as _;
use serde_json::Value;
use spandrel_block::FORMAT_VERSION;
use spandrel_tests::command_output::{self, CommandOutput};
use spandrel_tests::corruption::{damage, rows, tables};
use spandrel_tests::frozen::{Frozen, of_directory};
use spandrel_tests::http::post_traces;
use spandrel_tests::otlp::{hex, request, span, text, trace_id};
use spandrel_tests::server::{Server, Settings, command, eventually};
use tempfile::TempDir;

const SEALED: usize = 60;
const FRESH: usize = 5;

fn run(name: &str, data: &Path, more: &[&str]) -> CommandOutput {
    let data = data.display().to_string();
    command_output::run(&[&[name, "--data-dir", &data], more].concat())
}

/// Sends a trace of one span.
fn send(server: &Server) -> String {
    let trace = trace_id();
    let mut one = span(&trace, "step");
    one.attributes = vec![text("noise", &format!("{:032x}", fastrand::u128(..)).repeat(50))];
    let reply = post_traces(server.otlp_http(), &request("shop", vec![one]).encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
    hex(&trace)
}

/// A data directory with sealed and fresh blocks and without a server, built once and copied, and its traces.
fn stored() -> (TempDir, Vec<String>) {
    static MADE: OnceLock<(TempDir, Vec<String>)> = OnceLock::new();
    let (made, sent) = MADE.get_or_init(|| {
        let data = tempfile::tempdir().unwrap();
        let server = Settings::on(data.path()).start();
        let mut sent: Vec<String> = (0..SEALED).map(|_| send(&server)).collect();
        eventually("a merge", || (server.api().status("unsealedSpanCount") == 0).then_some(()));
        sent.extend((0..FRESH).map(|_| send(&server)));
        server.stop();
        (data, sent)
    });
    let copy = tempfile::tempdir().unwrap();
    spandrel_tests::harness::copy(made.path(), copy.path());
    (copy, sent.clone())
}

fn store(data: &Path) -> PathBuf {
    data.join("store")
}

fn there(server: &Server, sent: &[String]) -> usize {
    let mut api = server.api();
    sent.iter().filter(|trace| api.otlp(trace).is_some()).count()
}

/// Asserts that a server opens the directory, finds so many of the traces, and accepts more.
fn check_serves(data: &Path, sent: &[String], expected: usize) {
    let server = Settings::on(data).with(&["--limits", "mergeAge=0s"]).start();
    assert_eq!(there(&server, sent), expected);
    let more = send(&server);
    eventually("a merge", || (server.api().status("unsealedSpanCount") == 0).then_some(()));
    assert_eq!(there(&server, &[more]), 1);
    server.stop();
}

/// Asserts whether a deletion warns that the damaged store may hold the deleted spans.
fn check_deletion_names_it(data: &Path, is_kept: bool) {
    let server = Settings::on(data).start();
    let address = format!("http://{}", server.http());
    let delete = |format: &str| {
        let query = r#"{ name = "never sent" }"#;
        command_output::run(&["delete", query, "--server", &address, "--format", format]).assert_ok()
    };
    assert_eq!(delete("text").contains("still in store.damaged"), is_kept);
    assert_eq!(json(&delete("json"))["deletion"]["damagedStoreKept"], is_kept);
    server.stop();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_store_that_does_not_open_says_what_to_do_and_is_whole_afterwards() {
    let (data, sent) = stored();
    damage(&tables(&store(data.path()), "catalog"));
    let Err(refused) = Settings::on(data.path()).try_start() else { panic!("it starts") };
    assert!(refused.stderr.contains("stop the server and run `spandrel repair`"), "{}", refused.stderr);
    run("check", data.path(), &[]).assert_err(1, "run `spandrel repair`");

    let said = run("repair", data.path(), &[]).assert_ok();
    let kept = data.path().join("store.damaged");
    for part in
        [&format!("{} spans", sent.len()), "nothing is lost", &kept.display().to_string(), "remove it"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(run("check", data.path(), &[]).assert_ok().contains("nothing is wrong"));
    check_serves(data.path(), &sent, sent.len());

    run("repair", data.path(), &[]).assert_err(2, "remove it");
    check_deletion_names_it(data.path(), true);
    fs::remove_dir_all(kept).unwrap();
    check_deletion_names_it(data.path(), false);
    let report = json(&run("repair", data.path(), &["--format", "json"]).assert_ok());
    assert_eq!((&report["spanCount"], &report["lostBlockCount"]), (&(sent.len() + 1).into(), &0.into()));
}

/// A check finds lost blocks; a server serves the rest until it has to merge.
#[test]
fn what_is_lost_is_named() {
    let (data, sent) = stored();
    damage(&tables(&store(data.path()), "sealed"));
    run("check", data.path(), &[]).assert_err(1, "run `spandrel repair`");
    let output =
        run("repair", data.path(), &["--format", "json"]).assert_err(1, "`spandrel restore` brings back");
    let report = json(&output.stdout);
    assert_eq!(report["spanCount"], FRESH);
    let lost = report["lostBlocks"].as_array().unwrap();
    let spans: u64 = lost.iter().map(|block| block["spanCount"].as_u64().unwrap()).sum();
    assert_eq!((spans, &report["lostBlockCount"]), (SEALED as u64, &lost.len().into()));
    assert!(lost[0]["detail"].as_str().unwrap().contains("Corruption"), "{report}");
    assert_eq!(report["damagedStore"], data.path().join("store.damaged").display().to_string());
    run("check", data.path(), &[]).assert_ok();
    check_serves(data.path(), &sent, FRESH);

    let (data, _) = stored();
    damage(&tables(&store(data.path()), "sealed"));
    let said = run("repair", data.path(), &[]).assert_err(1, "lost: a block of").stdout;
    assert!(said.contains("tenant default, arrived from") && said.contains("is kept in"), "{said}");
}

#[test]
fn where_nothing_can_be_done_nothing_is() {
    let (data, sent) = stored();
    let nowhere = data.path().join("nowhere");
    run("repair", &nowhere, &[]).assert_err(2, "there is no store in");
    assert!(!nowhere.exists(), "a repair makes no directory");
    let server = Settings::on(data.path()).start();
    run("repair", data.path(), &[]).assert_err(2, "used by another process");
    server.stop();
    let (damaged, _) = stored();
    damage(&tables(&store(damaged.path()), "default"));
    let said = run("repair", damaged.path(), &[]).assert_err(2, "nothing was repaired").stderr;
    assert!(said.contains("must not come back") && said.contains("`spandrel restore`"), "{said}");
    assert!(
        !damaged.path().join("store.damaged").exists() && !damaged.path().join("store.repaired").exists()
    );
    check_serves(data.path(), &sent, sent.len());
}

/// Blocks keep their format: the next open of the store upgrades them.
#[test]
fn directories_of_older_formats_are_repaired() {
    for format in 1..=FORMAT_VERSION {
        let frozen = Frozen::unpack(format);
        let data = frozen.data();
        let blocks = of_directory(&data);
        let keys = |store: PathBuf| rows(&store, "catalog").into_keys().collect::<Vec<_>>();
        let before = keys(store(&data));
        assert!(!before.is_empty());
        for family in ["index", "catalog"] {
            damage(&tables(&store(&data), family));
        }
        run("repair", &data, &[]).assert_ok();
        assert_eq!((of_directory(&data), keys(store(&data))), (blocks, before), "format {format}");
        assert!(run("check", &data, &[]).assert_ok().contains("nothing is wrong"));
    }
}

#[test]
fn a_swap_that_was_interrupted_is_finished() {
    let (made, sent) = stored();
    run("repair", made.path(), &[]).assert_ok();
    fs::rename(store(made.path()), made.path().join("store.repaired")).unwrap();
    fs::write(made.path().join("store.repaired/COMPLETE"), "").unwrap();
    let interrupted = || {
        let copy = tempfile::tempdir().unwrap();
        spandrel_tests::harness::copy(made.path(), copy.path());
        copy
    };
    let by_server = interrupted();
    check_serves(by_server.path(), &sent, sent.len());
    let by_check = interrupted();
    let report = json(&run("check", by_check.path(), &["--format", "json"]).assert_ok());
    assert_eq!(report["spanCount"], sent.len());
    let by_repair = interrupted();
    let said = run("repair", by_repair.path(), &[]).assert_err(1, "is finished now").stdout;
    assert!(said.contains("store.damaged"), "{said}");
    check_serves(by_repair.path(), &sent, sent.len());
}

#[test]
fn a_killed_repair_loses_nothing() {
    let (data, sent) = stored();
    damage(&tables(&store(data.path()), "index"));
    let (mut killed, mut half_made) = (0, 0);
    // Each kill comes a little later, until the repair is finished.
    for round in 0..200 {
        let mut repair = command(&["repair"])
            .args([Path::new("--data-dir"), data.path()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(round * 700));
        let _ = repair.kill();
        if repair.wait().unwrap().success() || data.path().join("store.damaged").exists() {
            break;
        }
        killed += 1;
        half_made += usize::from(data.path().join("store.repaired/CURRENT").exists());
        if round % 10 == 0 {
            let checked =
                run("check", data.path(), &[]).assert_err(1, &format!("checked {} spans", sent.len()));
            assert!(checked.stdout.contains("index"), "the damaged store is in use: {}", checked.stdout);
        }
    }
    let _ = writeln!(std::io::stderr(), "{killed} repairs were killed, {half_made} of them at their work");
    assert!(half_made > 0, "all of them were killed before they began");
    if !data.path().join("store.damaged").exists() {
        run("repair", data.path(), &[]).assert_ok();
    }
    check_serves(data.path(), &sent, sent.len());
    assert!(!data.path().join("store.repaired").exists());
    assert!(run("check", data.path(), &[]).assert_ok().contains("nothing is wrong"));
}
