//! Killed at every step: for each failpoint there is, a real process ends there, and another one finds
//! everything that was acknowledged, nothing twice, nothing that was deleted, every pin, the counts of what a
//! rule let go, and a store that works on.
//!
//! SPANDREL_FAILPOINT_SEEDS sets how many stories are told (1 unless said), SPANDREL_FAILPOINT_SEED
//! where they begin; the same seed ends the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use spandrel_rocks::Durability;
use spandrel_storage::failpoint::Failpoint;
use spandrel_tests::crash::{self, Story};
use spandrel_tests::harness::Ground;
use spandrel_tests::server::number;

/// Long enough to pass every place.
const ACTS: usize = 120;
/// Where the walk begins unless said otherwise: any seed will do.
const SEED: u64 = 3;
/// Further stories, for places that none has passed.
const MORE: u64 = 8;

/// Runs the story in a process of its own; what it said, if it came to its end. SIGKILL is what these
/// processes meet, so that what they write has to be with the operating system, and no sync is needed.
fn run(folder: &Path, story: &Story, failpoint: Option<(Failpoint, u64)>) -> Option<String> {
    run_with("os", folder, story, failpoint)
}

fn run_with(
    durability: &str,
    folder: &Path,
    story: &Story,
    failpoint: Option<(Failpoint, u64)>,
) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
    command.arg(folder).args([&story.seed, &story.senders].map(u64::to_string));
    command.args([&ACTS.to_string(), durability]);
    if let Some((point, nth)) = failpoint {
        command.args([point.name(), &nth.to_string()]);
    }
    let output = crash::end_of(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "the victim panicked: {said}");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// How often the story passes each place.
fn passed(story: &Story) -> BTreeMap<String, u64> {
    let folder = crash::scratch();
    let said = run(folder.path(), story, None).expect("nothing was armed");
    let notes = crash::notes(folder.path());
    assert!(notes.refusals.is_empty(), "{:?}", notes.refusals);
    crash::still_works(folder.path(), story, &notes).unwrap();
    let lines = said.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
}

/// How often a purge is looked after is RocksDB's to say: so are how many of them come before a restart, how many
/// deletions share one, and whether a pin finds its trace still on its way out.
fn hangs_on_purges(point: Failpoint) -> bool {
    use Failpoint::{ErasurePurged, ErasureUnread, PinWritten, PurgeBegun, PurgeMoved, UnpinWritten};
    matches!(point, PurgeBegun | PurgeMoved | ErasureUnread | ErasurePurged | PinWritten | UnpinWritten)
}

/// Kills the story of a seed at each of these places that it passes, and returns which those are.
fn walk(seed: u64, places: &BTreeSet<Failpoint>) -> BTreeSet<Failpoint> {
    let story = Story { seed, senders: 1 };
    let passed = passed(&story);
    let mut random = fastrand::Rng::with_seed(seed);
    let is_passed = |point: &&Failpoint| passed[point.name()] > 0;
    for point in places.iter().filter(is_passed) {
        let (name, most) = (point.name(), passed[point.name()]);
        // The first time, when little is stored, and some other time.
        let mut times = vec![1, random.u64(1..=most)];
        times.dedup();
        for nth in times {
            let folder = crash::scratch();
            let ended = run(folder.path(), &story, Some((*point, nth)));
            assert!(
                ended.is_none() || (nth > 1 && hangs_on_purges(*point)),
                "{name} was not reached {nth} times of {most}"
            );
            let notes = crash::notes(folder.path());
            crash::verdict(folder.path(), &story, &notes)
                .and_then(|()| crash::still_works(folder.path(), &story, &notes))
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
    // What none of these stories comes to, such as counts that outlive their time, one of the next does.
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
    assert!(missed.is_empty(), "no story passes {missed:?}: what it is for is not tested");
}

/// The verdict can be a bad one: without a log, a kill loses what memory held.
#[test]
fn a_store_without_a_log_is_convicted() {
    let story = Story { seed: SEED, senders: 1 };
    let convicted = |nth: u64| {
        let folder = crash::scratch();
        assert!(run_with("none", folder.path(), &story, Some((Failpoint::AppendVisible, nth))).is_none());
        let verdict = crash::verdict(folder.path(), &story, &crash::notes(folder.path()));
        verdict.is_err_and(|why| why.contains("are lost"))
    };
    assert!((2..12).any(convicted), "whatever is not written is never missed");
}

/// Kills the story there for the first times, lets the disk forget some records each time, and looks for a
/// verdict that says so.
fn is_convicted(point: Failpoint, forgets: &[&str], verdict: &str) -> bool {
    let story = Story { seed: SEED, senders: 1 };
    let convicted = |nth: u64| {
        let folder = crash::scratch();
        assert!(run(folder.path(), &story, Some((point, nth))).is_none(), "{point:?} was not reached");
        let engine = Ground::Folder(crash::data(folder.path()), Durability::Os).engine().unwrap();
        for kind in forgets {
            for (name, _) in engine.records(kind).unwrap() {
                engine.put_record(kind, &name, None).unwrap();
            }
        }
        drop(engine);
        let found = crash::verdict(folder.path(), &story, &crash::notes(folder.path()));
        found.is_err_and(|why| why.contains(verdict))
    };
    (1..6).any(convicted)
}

/// The verdict can be a bad one about all that a store keeps beside its spans, too.
#[test]
fn a_store_that_forgets_is_convicted() {
    assert!(is_convicted(Failpoint::UnpinWritten, &["pin"], "pins of"), "pins are never missed");
    assert!(
        is_convicted(Failpoint::ErasureNamed, &["deletion-traces", "deletion"], "must be gone"),
        "what was deleted may come back"
    );
    // Without the list alone it is known that there was one.
    assert!(
        is_convicted(Failpoint::ErasureNamed, &["deletion-traces"], "the list of its traces is missing"),
        "a list is never missed"
    );
    assert!(is_convicted(Failpoint::RetentionReplaced, &["counted"], "count"), "counts are never missed");
}
