//! `spandrel backup`, `restore` and `check` as a user runs them: on a server that ingests, killed in the middle, and
//! over damaged files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode, Options};
use serde_json::Value;
use spandrel_tests::command_output::{CommandOutput, run};
use spandrel_tests::http::{get, post_traces};
use spandrel_tests::otlp::{hex, request, span, spans_by_id, text, trace_id};
use spandrel_tests::server::{Server, Settings, command, eventually};
use tempfile::TempDir;

/// An acknowledged request with one trace.
#[derive(Clone)]
struct Sent {
    trace: String,
    spans: Vec<Span>,
}

fn url(server: &Server) -> String {
    format!("http://{}", server.http())
}

fn backup(server: &Server, set: &Path, more: &[&str]) -> CommandOutput {
    let (url, set) = (url(server), set.display().to_string());
    run(&[&["backup", &set, "--server", &url], more].concat())
}

fn restore(set: &Path, data: &Path, more: &[&str]) -> CommandOutput {
    let (set, data) = (set.display().to_string(), data.display().to_string());
    run(&[&["restore", &set, "--data-dir", &data], more].concat())
}

fn check(data: &Path) -> CommandOutput {
    run(&["check", "--data-dir", &data.display().to_string(), "--format", "json"])
}

fn verify(set: &Path) -> CommandOutput {
    run(&["backup", "verify", &set.display().to_string()])
}

/// Sends one trace. Text that hardly compresses makes its block as large as one of many spans.
fn send(server: &Server) -> Sent {
    send_to(server.otlp_http())
}

fn send_to(otlp: SocketAddr) -> Sent {
    let trace = trace_id();
    let noise: String = (0..60).map(|_| format!("{:016x}", fastrand::u64(..))).collect();
    let spans: Vec<Span> = (0..3)
        .map(|place| {
            let mut one = span(&trace, &format!("step {place}"));
            one.attributes = vec![text("noise", &noise), text("place", &place.to_string())];
            one
        })
        .collect();
    let reply = post_traces(otlp, &request("backup-test", spans.clone()).encode_to_vec());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut spans = spans;
    spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
    Sent { trace: hex(&trace), spans }
}

fn check_all_there(server: &Server, sent: &[Sent]) {
    let mut api = server.api();
    for one in sent {
        let stored = api.otlp(&one.trace).unwrap_or_else(|| panic!("trace {} is lost", one.trace));
        assert_eq!(spans_by_id(&stored), one.spans, "trace {} came back different", one.trace);
    }
}

/// The block files of a set by name, with their size and time of modification.
fn files(set: &Path) -> BTreeMap<PathBuf, (u64, i64)> {
    let directories = fs::read_dir(set.join("blocks")).unwrap().map(|entry| entry.unwrap().path());
    let entries = directories.flat_map(|directory| fs::read_dir(directory).unwrap());
    let entry = |entry: fs::DirEntry| {
        let meta = entry.metadata().unwrap();
        (entry.path(), (meta.ino(), meta.mtime_nsec()))
    };
    entries.map(|found| entry(found.unwrap())).collect()
}

/// The manifests of a set, oldest first.
fn manifests(set: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> =
        fs::read_dir(set.join("backups")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// The hashes in the lines of a manifest that begin with `word`.
fn hashes(manifest: &Path, word: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(word));
    lines.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

fn id(manifest: &Path) -> String {
    manifest.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn hash(block: &Path) -> String {
    block.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    fs::write(path, bytes).unwrap();
}

fn listed(server: &Server) -> BTreeSet<String> {
    let answer: Value = get(server.http(), "/api/v1/backups").json();
    let backups = answer["backups"].as_array().unwrap();
    backups.iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

/// The findings of a check, each with its kind.
fn findings(report: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"));
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap();
    all.iter().map(|finding| (word(finding, "kind"), word(finding, "detail"))).collect()
}

/// A data directory with sealed and fresh blocks and without a server; built once and copied.
fn stored() -> (TempDir, Vec<Sent>) {
    static MADE: OnceLock<(TempDir, Vec<Sent>)> = OnceLock::new();
    let (made, sent) = MADE.get_or_init(|| {
        let data = tempfile::tempdir().unwrap();
        // Without a grace period, so that no replaced blocks are left.
        let server = Settings::on(data.path()).with(&["--limits", "replacedGrace=0s"]).start();
        let mut sent: Vec<Sent> = (0..100).map(|_| send(&server)).collect();
        eventually("a merge", || (server.api().status("unsealedSpanCount") == 0).then_some(()));
        sent.extend((0..3).map(|_| send(&server)));
        server.stop();
        (data, sent)
    });
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-a", &format!("{}/.", made.path().display()), &copy.path().display().to_string()])
        .status();
    assert!(copied.unwrap().success());
    (copy, sent.clone())
}

// === backups of a server that works ===

#[test]
fn what_was_acknowledged_before_a_backup_is_restored_whatever_came_meanwhile() {
    let (data, set, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).start();
    let otlp = server.otlp_http();
    let (acknowledged, stop) = (Mutex::new(Vec::<Sent>::new()), AtomicBool::new(false));
    let known = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let sent = send_to(otlp);
                    acknowledged.lock().unwrap().push(sent);
                }
            });
        }
        let mut known = Vec::new();
        for round in 1..=3 {
            eventually("more spans", || (acknowledged.lock().unwrap().len() >= round * 60).then_some(()));
            known.push(acknowledged.lock().unwrap().clone());
            backup(&server, set.path(), &[]).assert_ok();
        }
        stop.store(true, Ordering::Relaxed);
        known
    });
    verify(set.path()).assert_ok();
    // Each backup is restored, although the server and its data are gone.
    server.stop();
    drop(data);
    for (backup, known) in manifests(set.path()).iter().zip(known) {
        restore(set.path(), target.path(), &["--backup", &id(backup), "--replace"]).assert_ok();
        assert!(findings(&check(target.path()).assert_ok()).is_empty());
        let restored = Settings::on(target.path()).start();
        check_all_there(&restored, &known);
        // The restored store works like any other.
        let more = send(&restored);
        check_all_there(&restored, &[more]);
        assert!(run(&["check", "--server", &url(&restored)]).assert_ok().contains("nothing is wrong"));
        restored.stop();
    }
}

#[test]
fn only_new_blocks_are_fetched_and_old_backups_go() {
    let (data, set) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Settings::on(data.path()).start();
    let mut sent: Vec<Sent> = (0..5).map(|_| send(&server)).collect();
    backup(&server, set.path(), &[]).assert_ok();
    for round in 1..=4 {
        let before = files(set.path());
        sent.push(send(&server));
        if round == 2 {
            // The server remembers earlier backups after a restart.
            server.stop();
            server = Settings::on(data.path()).start();
        }
        let said = backup(&server, set.path(), &["--keep", "2"]).assert_ok();
        let after = files(set.path());
        let newest = manifests(set.path()).pop().unwrap();
        let known: BTreeSet<String> = before.keys().map(|path| hash(path)).collect();
        let fetched = hashes(&newest, "block").difference(&known).count();
        assert!(fetched >= 1 && said.contains(&format!("fetched {fetched} blocks")), "{said}");
        for (path, left_alone) in before.iter().filter(|(path, _)| after.contains_key(*path)) {
            assert!(after[path] == *left_alone || hashes(&newest, "records").contains(&hash(path)));
        }
        // Two backups are kept, with the blocks that they need and no others.
        let kept = manifests(set.path());
        assert_eq!(kept.len(), 2);
        let needed: BTreeSet<String> =
            kept.iter().flat_map(|kept| [hashes(kept, "block"), hashes(kept, "records")]).flatten().collect();
        assert_eq!(after.keys().map(|path| hash(path)).collect::<BTreeSet<_>>(), needed);
        assert_eq!(listed(&server), kept.iter().map(|kept| id(kept)).collect());
    }
    let list = run(&["backup", "list", &set.path().display().to_string()]).assert_ok();
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(manifests(set.path()).iter().all(|kept| list.contains(&id(kept))), "{list}");
    server.stop();

    let target = tempfile::tempdir().unwrap();
    restore(set.path(), target.path(), &[]).assert_ok();
    let restored = Settings::on(target.path()).start();
    check_all_there(&restored, &sent);
    // The next backup of the restored store fetches no block that the set has.
    let before = files(set.path());
    backup(&restored, set.path(), &[]).assert_ok();
    let newest = manifests(set.path()).pop().unwrap();
    let known: BTreeSet<String> = before.keys().map(|path| hash(path)).collect();
    assert!(hashes(&newest, "block").is_subset(&known) || restored.api().status("freshBlockCount") == 0);
    restored.stop();
}

#[test]
fn a_killed_backup_harms_nothing_and_the_next_goes_on() {
    let (data, set) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).start();
    // Backups that end before the kill count, too, and must not remove the first one.
    let keep_all = ["--keep", "20"];
    let first: Vec<Sent> = (0..20).map(|_| send(&server)).collect();
    backup(&server, set.path(), &keep_all).assert_ok();
    let complete = manifests(set.path());
    let mut sent = first.clone();
    let mut random = fastrand::Rng::new();
    for _ in 0..8 {
        sent.extend((0..25).map(|_| send(&server)));
        let (url, path) = (url(&server), set.path().display().to_string());
        let mut killed = command(&["backup", &path, "--server", &url, "--keep", "20"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(random.u64(0..80_000)));
        let _ = killed.kill();
        killed.wait().unwrap();
        // The earlier backups are still complete.
        assert!(manifests(set.path()).starts_with(&complete));
        verify(set.path()).assert_ok();
    }
    let before: BTreeSet<String> = files(set.path()).keys().map(|path| hash(path)).collect();
    backup(&server, set.path(), &keep_all).assert_ok();
    let newest = manifests(set.path()).pop().unwrap();
    let unfinished = |path: &PathBuf| path.extension().is_some_and(|end| end == "unfinished");
    assert!(!files(set.path()).keys().any(unfinished));
    assert!(!hashes(&newest, "block").is_disjoint(&before));
    // The server does not list backups that were not completed.
    assert_eq!(listed(&server), manifests(set.path()).iter().map(|kept| id(kept)).collect());
    server.stop();

    let target = tempfile::tempdir().unwrap();
    for (backup, sent) in [(&complete[0], &first), (&newest, &sent)] {
        restore(set.path(), target.path(), &["--backup", &id(backup), "--replace"]).assert_ok();
        let restored = Settings::on(target.path()).start();
        check_all_there(&restored, sent);
        restored.stop();
    }
}

#[test]
fn two_at_once_and_foreign_directories_are_refused() {
    let (data, set) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).start();
    fs::write(set.path().join("letter.txt"), "dear").unwrap();
    backup(&server, set.path(), &[]).assert_err(1, "no directory of backups");
    restore(set.path(), data.path(), &[]).assert_err(1, "no directory of backups");
    verify(set.path()).assert_err(1, "no directory of backups");
    fs::remove_file(set.path().join("letter.txt")).unwrap();
    backup(&server, set.path(), &[]).assert_ok();
    let held = fs::File::open(set.path().join("SPANDREL-BACKUPS")).unwrap();
    held.lock().unwrap();
    backup(&server, set.path(), &[]).assert_err(1, "in use");
    restore(set.path(), data.path(), &[]).assert_err(1, "in use");
    drop(held);
    // A restore into the data directory of a running server is refused.
    restore(set.path(), data.path(), &[]).assert_err(1, "used by another process");
    restore(set.path(), data.path(), &["--backup", "0000000000000001"])
        .assert_err(1, "no backup 0000000000000001");
    fs::write(set.path().join("SPANDREL-BACKUPS"), "spandrel-backups 2\n").unwrap();
    backup(&server, set.path(), &[]).assert_err(1, "newer Spandrel");
    server.stop();
    run(&["backup", &set.path().display().to_string(), "--server", "http://127.0.0.1:1"])
        .assert_err(1, "newer Spandrel");
}

#[test]
fn damage_in_a_backup_is_found_named_and_healed() {
    let (data, set, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).start();
    let sent: Vec<Sent> = (0..6).map(|_| send(&server)).collect();
    backup(&server, set.path(), &[]).assert_ok();
    let manifest = manifests(set.path()).pop().unwrap();
    let blocks: Vec<PathBuf> = files(set.path())
        .into_keys()
        .filter(|path| hashes(&manifest, "block").contains(&hash(path)))
        .collect();
    let (flipped, gone) = (&blocks[0], &blocks[1]);
    flip(flipped);
    fs::remove_file(gone).unwrap();

    let said = verify(set.path()).assert_err(1, &flipped.display().to_string()).said();
    assert!(said.contains(&gone.display().to_string()) && said.contains(&id(&manifest)), "{said}");
    let said = restore(set.path(), target.path(), &[]).assert_err(1, &flipped.display().to_string()).said();
    assert!(said.contains("--skip-damaged") && said.contains("nothing was restored"), "{said}");
    // Nothing was restored, so the directory is still empty and takes the undamaged part.
    restore(set.path(), target.path(), &["--skip-damaged"]).assert_err(1, "2 files that were damaged");
    let restored = Settings::on(target.path()).start();
    let there = sent.iter().filter(|one| restored.api().otlp(&one.trace).is_some()).count();
    assert_eq!(there as u64 * 3, restored.api().status("spanCount"));
    assert_eq!(there, 4);
    restored.stop();

    // The server still has the block, so the next backup fetches it again.
    fs::remove_file(flipped).unwrap();
    backup(&server, set.path(), &[]).assert_ok();
    flip(&manifest);
    verify(set.path()).assert_err(1, &manifest.display().to_string());
    run(&["backup", "list", &set.path().display().to_string()]).assert_err(1, "checksum");
    fs::remove_file(&manifest).unwrap();
    verify(set.path()).assert_ok();
    server.stop();
}

#[test]
fn a_killed_restore_is_no_store_and_is_gone_on_with() {
    let (data, sent) = stored();
    let (set, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Settings::on(data.path()).start();
    let more: Vec<Sent> = (0..60).map(|_| send(&server)).collect();
    backup(&server, set.path(), &[]).assert_ok();
    server.stop();
    let sent = [sent, more].concat();
    let mut random = fastrand::Rng::new();
    let mut refused = 0;
    for _ in 0..12 {
        let mut killed = command(&["restore"])
            .args([set.path(), Path::new("--data-dir"), target.path()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(random.u64(0..150_000)));
        let _ = killed.kill();
        if killed.wait().unwrap().success() {
            break;
        }
        match Settings::on(target.path()).try_start() {
            Err(unfinished) => {
                refused += 1;
                assert!(unfinished.stderr.contains("spandrel restore"), "{}", unfinished.stderr);
            }
            Ok(server) => {
                // The store is as before the restore, or completely restored.
                let spans = server.api().status("spanCount");
                assert!(spans == 0 || spans == 3 * sent.len() as u64, "{spans} spans of half a restore");
                server.stop();
                if spans > 0 {
                    break;
                }
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "{refused} restores were killed with half a store");
    let last = restore(set.path(), target.path(), &[]);
    if last.code != Some(0) {
        // The last killed restore had finished its work.
        last.assert_err(1, "not empty");
    }
    let restored = Settings::on(target.path()).start();
    check_all_there(&restored, &sent);
    restored.stop();
    restore(set.path(), target.path(), &[]).assert_err(1, "--replace");
}

// === checks ===

/// Opens the store with RocksDB itself, to remove rows behind the store's back.
fn rocks(data: &Path) -> DB {
    let path = data.join("store");
    let names = DB::list_cf(&Options::default(), &path).unwrap();
    let families = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
    DB::open_cf_descriptors(&Options::default(), &path, families).unwrap()
}

/// Removes the first row of a family.
fn remove_first(data: &Path, family: &str) {
    let db = rocks(data);
    let family = db.cf_handle(family).unwrap();
    let (key, _) = db.iterator_cf(family, IteratorMode::Start).next().expect("a row").unwrap();
    db.delete_cf(family, key).unwrap();
    db.flush_cf(family).unwrap();
}

#[test]
fn a_sound_store_is_found_sound() {
    let (data, sent) = stored();
    let report: Value = serde_json::from_str(&check(data.path()).assert_ok()).unwrap();
    assert_eq!(report["spanCount"], 3 * sent.len());
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert!(report["indexRowCount"].as_u64().unwrap() >= 100, "{report}");
    let text = run(&["check", "--data-dir", &data.path().display().to_string()]).assert_ok();
    assert!(text.contains("nothing is wrong"), "{text}");

    let server = Settings::on(data.path()).start();
    let said = run(&["check", "--server", &url(&server), "--format", "json"]).assert_ok();
    assert!(findings(&said).is_empty());
    check(data.path()).assert_err(2, "used by another process");
    server.stop();
    check(&data.path().join("nowhere")).assert_err(2, "no store");
    assert!(!data.path().join("nowhere").exists(), "a check makes nothing");
    run(&["check", "--server", "http://127.0.0.1:1"]).assert_err(2, "no server answers");
}

#[test]
fn a_flipped_bit_is_found() {
    let (data, _) = stored();
    let store = data.path().join("store");
    let blobs = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let blobs = blobs.filter(|path| path.extension().is_some_and(|end| end == "blob"));
    let largest = blobs.max_by_key(|path| path.metadata().unwrap().len()).expect("a file of blocks");
    flip(&largest);
    let found = findings(check(data.path()).assert_err(1, "").said().split("\nspandrel:").next().unwrap());
    assert!(found.iter().any(|(kind, _)| kind == "block"), "{found:?}");

    let server = Settings::on(data.path()).start();
    run(&["check", "--server", &url(&server)]).assert_err(1, "damage found");
    server.stop();
}

#[test]
fn a_missing_page_is_found() {
    let (data, _) = stored();
    remove_first(data.path(), "sealed");
    let said = check(data.path()).assert_err(1, "a page of the block is missing").said();
    let found = findings(said.split("\nspandrel:").next().unwrap());
    assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["block"]);
}

#[test]
fn a_missing_index_row_is_found() {
    let (data, _) = stored();
    remove_first(data.path(), "index");
    let said = check(data.path()).assert_err(1, "have no index row").said();
    let found = findings(said.split("\nspandrel:").next().unwrap());
    assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["index"]);
}

#[test]
fn a_missing_catalog_row_leaves_data_that_nothing_refers_to() {
    let (data, _) = stored();
    remove_first(data.path(), "catalog");
    let said = check(data.path()).assert_err(1, "nothing refers to this block").said();
    let found = findings(said.split("\nspandrel:").next().unwrap());
    assert_eq!(found.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["unreferenced"]);
}

#[test]
fn a_damaged_table_of_the_engine_is_damage() {
    let (data, _) = stored();
    let store = data.path().join("store");
    let mut tables: Vec<PathBuf> = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).collect();
    tables.retain(|path| path.extension().is_some_and(|end| end == "sst"));
    assert!(!tables.is_empty());
    for table in &tables {
        let whole = fs::read(table).unwrap();
        fs::remove_file(table).unwrap();
        check(data.path()).assert_err(1, "damage found");
        fs::write(table, whole).unwrap();
    }
    assert!(findings(&check(data.path()).assert_ok()).is_empty());
}
