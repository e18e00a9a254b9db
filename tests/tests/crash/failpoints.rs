//! Crashes at every failpoint: a child process ends at each of them, and the checker finds every acknowledged span, no
//! span twice, no deleted span, every pin, the counts of expired spans, and a store that works on.
//!
//! SPANDREL_FAILPOINT_SEEDS is the number of workloads (1 by default), SPANDREL_FAILPOINT_SEED the seed of the first;
//! the same seed ends the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use spandrel_rocks::Durability;
use spandrel_storage::failpoint::Failpoint;
use spandrel_tests::crash::{self, Workload};
use spandrel_tests::harness::Backend;
use spandrel_tests::server::number;

/// Operations of a workload: enough to pass every failpoint.
const OPS: usize = 120;
/// The default seed of the first workload. Any other works as well.
const SEED: u64 = 3;
/// Further workloads for failpoints that no earlier one passes.
const MORE: u64 = 8;

/// Runs a workload in a child process and returns its output, or `None` if it ended at the failpoint. Only the child is
/// killed, not the system, so its writes need no sync.
fn run(folder: &Path, workload: &Workload, failpoint: Option<(Failpoint, u64)>) -> Option<String> {
    run_with("os", folder, workload, failpoint)
}

fn run_with(
    durability: &str,
    folder: &Path,
    workload: &Workload,
    failpoint: Option<(Failpoint, u64)>,
) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash_child"));
    command.arg(folder).args([&workload.seed, &workload.senders].map(u64::to_string));
    command.args([&OPS.to_string(), durability]);
    if let Some((point, nth)) = failpoint {
        command.args([point.name(), &nth.to_string()]);
    }
    let output = crash::wait_for_exit(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "the child panicked: {said}");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// How often the workload passes each failpoint.
fn passed(workload: &Workload) -> BTreeMap<String, u64> {
    let folder = crash::scratch();
    let said = run(folder.path(), workload, None).expect("nothing was armed");
    let history = crash::read_history(folder.path());
    assert!(history.refusals.is_empty(), "{:?}", history.refusals);
    crash::check_still_works(folder.path(), workload, &history).unwrap();
    let lines = said.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
}

/// Whether the number of passes depends on the timing of RocksDB's compactions. They decide how often a purge is
/// checked, how many purges come before a restart, how many deletions share one, and whether a pin finds its trace
/// while the trace is being deleted.
fn depends_on_compactions(point: Failpoint) -> bool {
    use Failpoint::{DeletionPurged, DeletionUnread, PinWritten, PurgeBegun, PurgeMoved, UnpinWritten};
    matches!(point, PurgeBegun | PurgeMoved | DeletionUnread | DeletionPurged | PinWritten | UnpinWritten)
}

/// Ends the workload of a seed at each of these failpoints that it passes, and returns those.
fn walk(seed: u64, places: &BTreeSet<Failpoint>) -> BTreeSet<Failpoint> {
    let workload = Workload { seed, senders: 1 };
    let passed = passed(&workload);
    let mut random = fastrand::Rng::with_seed(seed);
    let is_passed = |point: &&Failpoint| passed[point.name()] > 0;
    for point in places.iter().filter(is_passed) {
        let (name, most) = (point.name(), passed[point.name()]);
        // The first pass, with little data, and a random one.
        let mut times = vec![1, random.u64(1..=most)];
        times.dedup();
        for nth in times {
            let folder = crash::scratch();
            let ended = run(folder.path(), &workload, Some((*point, nth)));
            assert!(
                ended.is_none() || (nth > 1 && depends_on_compactions(*point)),
                "{name} was not reached {nth} times of {most}"
            );
            let history = crash::read_history(folder.path());
            crash::check(folder.path(), &workload, &history)
                .and_then(|()| crash::check_still_works(folder.path(), &workload, &history))
                .unwrap_or_else(|why| panic!("seed {seed}, killed at {name}, time {nth} of {most}: {why}"));
        }
    }
    places.iter().filter(is_passed).copied().collect()
}

#[test]
fn a_kill_at_every_step_loses_nothing_acknowledged() {
    let seeds = number("SPANDREL_FAILPOINT_SEEDS").unwrap_or(1);
    let first = number("SPANDREL_FAILPOINT_SEED").unwrap_or(SEED);
    let mut missed: BTreeSet<Failpoint> = Failpoint::ALL.iter().copied().collect();
    // Later seeds try only the failpoints that no workload has passed, such as expiring rollups.
    for seed in first..first + seeds + MORE {
        let places =
            if seed < first + seeds { Failpoint::ALL.iter().copied().collect() } else { missed.clone() };
        if places.is_empty() {
            break;
        }
        let _ = writeln!(std::io::stderr(), "{} failpoints, SPANDREL_FAILPOINT_SEED={seed}", places.len());
        let walked = walk(seed, &places);
        missed.retain(|point| !walked.contains(point));
    }
    assert!(missed.is_empty(), "no workload passes {missed:?}: these failpoints are not tested");
}

/// Proves that the checker finds losses: without a log, a kill loses the memtables.
#[test]
fn the_checker_finds_a_store_without_a_log() {
    let workload = Workload { seed: SEED, senders: 1 };
    let is_found = |nth: u64| {
        let folder = crash::scratch();
        assert!(run_with("none", folder.path(), &workload, Some((Failpoint::AppendVisible, nth))).is_none());
        let checked = crash::check(folder.path(), &workload, &crash::read_history(folder.path()));
        checked.is_err_and(|why| why.contains("are lost"))
    };
    assert!((2..12).any(is_found), "spans that were not written are not missed");
}

/// Ends the workload at the first passes of a failpoint, removes records of these kinds each time, and returns whether
/// the checker's complaint contains this text.
fn checker_finds(point: Failpoint, removed: &[&str], complaint: &str) -> bool {
    let workload = Workload { seed: SEED, senders: 1 };
    let is_found = |nth: u64| {
        let folder = crash::scratch();
        assert!(run(folder.path(), &workload, Some((point, nth))).is_none(), "{point:?} was not reached");
        let engine = Backend::Folder(crash::data(folder.path()), Durability::Os).engine().unwrap();
        for kind in removed {
            for (name, _) in engine.records(kind).unwrap() {
                engine.put_record(kind, &name, None).unwrap();
            }
        }
        drop(engine);
        let found = crash::check(folder.path(), &workload, &crash::read_history(folder.path()));
        found.is_err_and(|why| why.contains(complaint))
    };
    (1..6).any(is_found)
}

/// Proves that the checker finds every kind of record that is missing.
#[test]
fn the_checker_finds_missing_records() {
    assert!(checker_finds(Failpoint::UnpinWritten, &["pin"], "pins of"), "pins are never missed");
    assert!(
        checker_finds(Failpoint::DeletionNamed, &["deletion-traces", "deletion"], "must be gone"),
        "what was deleted may come back"
    );
    // The record of the deletion says that there was a list.
    assert!(
        checker_finds(Failpoint::DeletionNamed, &["deletion-traces"], "the list of its traces is missing"),
        "a list is never missed"
    );
    assert!(checker_finds(Failpoint::RetentionReplaced, &["counted"], "count"), "counts are never missed");
}
