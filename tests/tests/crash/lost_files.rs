//! Files of RocksDB that are missing, one of each kind, and a log damaged in its middle, with the exact report of each.
//! `damage` damages any file and only checks that the store reports it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use prost::Message as _;
use spandrel_proto::TenantId;
use spandrel_rocks::Durability;
use spandrel_storage::TraceStore as _;
use spandrel_storage::plan::Predicate;
use spandrel_tests::harness::{Backend, Harness, config, plan};
use spandrel_tests::http::post_traces;
use spandrel_tests::otlp;
use spandrel_tests::server::{Server, Settings, command};
use spandrel_tests::spans::{BEGIN, Sent, sent, text, trace_id};

/// Traces of one span each, in tables and blob files.
const OLD: u64 = 30;
/// Traces of one span each, in the log alone.
const NEW: u64 = 20;

fn open(folder: &Path) -> Result<Harness, String> {
    Harness::at(Backend::Folder(folder.to_owned(), Durability::Sync), config(), BEGIN)
}

/// A span with some kilobytes of incompressible text.
fn span(random: &mut fastrand::Rng, n: u64, bytes: usize) -> Sent {
    let filling: String = std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect();
    sent(n, 1).with("filling", text(&filling))
}

fn append(harness: &Harness, traces: std::ops::RangeInclusive<u64>, bytes: usize) {
    let mut random = fastrand::Rng::with_seed(*traces.start());
    traces.for_each(|n| harness.append(&[span(&mut random, n, bytes)]));
}

/// A store with traces in files and in the log, as a killed process leaves it.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = open(folder.path()).unwrap();
    append(&harness, 1..=OLD, 2_000);
    harness.store().seal_all();
    harness.store().close().unwrap();
    harness.restart();
    append(&harness, OLD + 1..=OLD + NEW, 2_000);
    folder
}

fn files(folder: &Path, begin: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("store")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(begin) && name.ends_with(end)
    });
    files.sort();
    files
}

fn remove(files: &[PathBuf]) {
    assert!(!files.is_empty(), "there is nothing to lose");
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
}

/// Why the store does not open. Asserts that `spandrel check` fails as well.
fn refusal(folder: &Path) -> String {
    let Err(why) = open(folder) else { panic!("it opens") };
    let checked = command(&["check", "--data-dir", folder.to_str().unwrap()]).output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!checked.status.success() && said.contains("backup"), "check: {said}");
    assert!(why.contains("put") && why.contains("restore a backup"), "it says what to do: {why}");
    why
}

fn found(harness: &Harness, traces: std::ops::RangeInclusive<u64>) -> usize {
    traces.filter(|n| harness.trace(trace_id(*n)).len() == 1).count()
}

#[test]
fn without_its_log_a_store_does_not_open() {
    let folder = filled();
    remove(&files(folder.path(), "", ".log"));
    let why = refusal(folder.path());
    assert!(why.contains("has lost its write-ahead log"), "{why}");
    // An operator gives the log up by creating this file.
    File::create(folder.path().join("store/000000.log")).unwrap();
    let harness = open(folder.path()).unwrap();
    assert_eq!((found(&harness, 1..=OLD), found(&harness, OLD + 1..=OLD + NEW)), (OLD as usize, 0));
    append(&harness, OLD + 1..=OLD + 1, 10);
    drop(harness);
    assert_eq!(found(&open(folder.path()).unwrap(), 1..=OLD + 1), OLD as usize + 1);
}

/// RocksDB lists the older logs, and misses them when it opens.
#[test]
fn without_any_of_several_logs_a_store_goes_on_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    append(&open(folder.path()).unwrap(), 1..=40, 100_000);
    let logs = files(folder.path(), "", ".log");
    assert!(logs.len() > 2, "{logs:?}");
    remove(&logs);
    assert!(refusal(folder.path()).contains("has lost its write-ahead log"));
    let given_up = folder.path().join("store/000000.log");
    File::create(&given_up).unwrap();
    let harness = open(folder.path()).unwrap();
    assert!(harness.store().status().wal_truncated, "it is told");
    assert!(!given_up.exists(), "it was said for that time");
    append(&harness, 41..=41, 10);
    drop(harness);
    let harness = open(folder.path()).unwrap();
    assert_eq!((found(&harness, 41..=41), harness.store().status().wal_truncated), (1, false));
}

/// A young store has all its data in the log.
#[test]
fn without_its_log_a_young_store_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    append(&open(folder.path()).unwrap(), 1..=1, 10);
    assert_eq!(files(folder.path(), "", ".sst"), [] as [PathBuf; 0]);
    remove(&files(folder.path(), "", ".log"));
    let why = refusal(folder.path());
    assert!(why.contains("has lost its write-ahead log"), "{why}");
}

/// RocksDB begins a new log when a memtable is full; the older ones stay until their data is flushed.
#[test]
fn without_one_of_several_logs_a_store_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    append(&open(folder.path()).unwrap(), 1..=40, 100_000);
    let logs = files(folder.path(), "", ".log");
    assert!(logs.len() > 2, "{logs:?}");
    remove(&logs[1..2]);
    let why = refusal(folder.path());
    assert!(why.contains("Missing WAL"), "{why}");
}

/// RocksDB lists all logs but the newest.
#[test]
fn without_the_newest_of_several_logs_a_store_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    append(&open(folder.path()).unwrap(), 1..=40, 100_000);
    let logs = files(folder.path(), "", ".log");
    assert!(logs.len() > 2, "{logs:?}");
    let newest = &logs[logs.len() - 1..];
    let (kept, its_name) = (fs::read(&newest[0]).unwrap(), newest[0].file_name().unwrap().to_str().unwrap());
    remove(newest);
    let why = refusal(folder.path());
    assert!(why.contains("has lost its write-ahead log") && why.contains(its_name), "{why}");
    // An operator may put the log back,
    fs::write(&newest[0], kept).unwrap();
    assert_eq!(found(&open(folder.path()).unwrap(), 1..=40), 40);
    append(&open(folder.path()).unwrap(), 41..=80, 100_000);
    remove(&files(folder.path(), "", ".log").split_off(2));
    refusal(folder.path());
    // or give it up, with all logs after it. Their numbers may be used again.
    File::create(folder.path().join("store/000000.log")).unwrap();
    let harness = open(folder.path()).unwrap();
    assert!(harness.store().status().wal_truncated, "it is told");
    let after = found(&harness, 41..=80);
    assert_eq!((found(&harness, 1..=40), found(&harness, 41..=40 + after as u64)), (40, after));
    assert!(after < 40);
    append(&harness, 81..=81, 10);
    drop(harness);
    let harness = open(folder.path()).unwrap();
    assert_eq!((found(&harness, 81..=81), harness.store().status().wal_truncated), (1, false));
}

#[test]
fn without_a_table_or_its_manifest_a_store_does_not_open() {
    for (begin, end) in [("", ".sst"), ("MANIFEST", "")] {
        let folder = filled();
        remove(&files(folder.path(), begin, end)[..1]);
        let why = refusal(folder.path());
        assert!(why.contains("is damaged") && why.contains("No such file"), "{begin}{end}: {why}");
    }
}

/// Blob files are opened when they are read: the rest of the store is served, and the damage is reported.
#[test]
fn without_a_blob_file_the_rest_is_served() {
    let folder = filled();
    remove(&files(folder.path(), "", ".blob"));
    let harness = open(folder.path()).unwrap();
    assert_eq!(found(&harness, OLD + 1..=OLD + NEW), NEW as usize);
    let spans = harness.store().trace(&TenantId::default(), trace_id(1)).unwrap().unwrap();
    let damage = spans.damage();
    assert_eq!((spans.count(), damage.blocks()), (0, 1));
    assert!(harness.search(&plan(Predicate::All)).partial);
    assert!(harness.store().status().damaged_blocks > 0);
}

/// Records before the damage are served. Later ones are lost, which the store reports.
#[test]
fn a_log_that_is_damaged_in_its_middle_is_cut_aloud() {
    const CUT: &str = "spandrel_store_log_cut_total";
    let status = |server: &Server| server.api().json("status")["logWasCut"].as_bool().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::on(folder.path());
    let mut server = settings.start();
    let mut random = fastrand::Rng::with_seed(7);
    let traces: Vec<String> = (1..=NEW)
        .map(|n| {
            let Sent { span, .. } = span(&mut random, n, 5_000);
            let body = otlp::request("shop", vec![span.clone()]).encode_to_vec();
            assert_eq!(post_traces(server.otlp_http(), &body).status, 200);
            otlp::hex(&span.trace_id)
        })
        .collect();
    assert_eq!((server.metric(CUT).unwrap_or_default(), status(&server)), (0.0, false));
    server.kill();

    let logs = files(folder.path(), "", ".log");
    let largest = logs.iter().max_by_key(|log| fs::metadata(log).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest, bytes).unwrap();

    let mut server = settings.start();
    assert_eq!((server.metric(CUT), status(&server)), (Some(1.0), true));
    assert!(server.stderr().contains("the end of the write-ahead log was damaged"), "{}", server.stderr());
    let served = |server: &Server| -> Vec<bool> {
        let mut api = server.api();
        traces.iter().map(|trace| api.otlp(trace).is_some()).collect()
    };
    let before = served(&server);
    let kept = before.iter().filter(|is_there| **is_there).count();
    assert!((1..traces.len()).contains(&kept), "{kept} of {} are left", traces.len());
    assert!(before[..kept].iter().all(|is_there| *is_there), "nothing is skipped over: {before:?}");
    // The next start reports nothing: the log was cut only once.
    server.kill();
    let server = settings.start();
    assert_eq!((server.metric(CUT).unwrap_or_default(), status(&server)), (0.0, false));
    assert_eq!(served(&server), before);
}
