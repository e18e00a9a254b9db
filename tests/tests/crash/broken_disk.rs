//! A disk that fails: syncs and writes that return an error, once or for ever, and writes that are cut
//! short. What was acknowledged stays, whatever happens to the power afterwards; a failed sync is never
//! tried again, because the system may have thrown away what it was about; and a disk that is only full
//! is used again as soon as it is not.
//!
//! SPANDREL_FAULTS sets how many calls fail of each kind, one in each run (8 unless said),
//! SPANDREL_FAULTS_SEED which ones.

use std::io::Write as _;
use std::process::Command;

use spandrel_tests::crash::{self, Notes, Story};
use spandrel_tests::disk::{Event, Journal, Loss, Platter, Shim};
use spandrel_tests::server::number;

const ACTS: usize = 40;

/// A story on a disk that fails.
struct Run {
    story: Story,
    journal: Journal,
    notes: Notes,
}

// === impl Run ===

impl Run {
    fn new(shim: &Shim, seed: u64, fault: Option<&str>) -> Self {
        let story = Story { seed, senders: 1 };
        let (folder, journal) = (crash::scratch(), crash::scratch());
        let journal = journal.path().join("journal");
        let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
        command.arg(folder.path()).args([&story.seed, &story.senders].map(u64::to_string));
        command.args([&ACTS.to_string(), "sync"]);
        shim.record(&mut command, folder.path(), &journal);
        if let Some(fault) = fault {
            shim.fail(&mut command, fault);
        }
        let output = crash::end_of(&mut command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{fault:?}: {said}");
        Self { story, journal: Journal::read(&journal), notes: crash::notes(folder.path()) }
    }

    /// The power goes in the end, with all that no sync made durable.
    fn lose_power(&self) -> Result<(), String> {
        let mut platter = Platter::new(&self.journal);
        platter.play_to(self.journal.events.len());
        let folder = crash::scratch();
        let mut random = fastrand::Rng::with_seed(self.story.seed);
        platter.lose_power(Loss::Everything, &mut random, "data", &crash::data(folder.path()));
        crash::still_works(folder.path(), &self.story, &self.notes)
    }

    fn syncs(&self) -> u64 {
        self.journal.count(|event| matches!(event, Event::Sync { .. })) as u64
    }

    fn writes(&self) -> u64 {
        self.journal.count(|event| matches!(event, Event::Write { .. })) as u64
    }
}

/// Lets this and that call fail, and looks at what came of it.
fn each_fails(
    what: &str,
    error: &str,
    calls: impl Fn(&Run) -> u64,
    check: impl Fn(&Run) -> Result<(), String>,
) {
    let shim = Shim::compile();
    let seed = number("SPANDREL_FAULTS_SEED").unwrap_or_else(|| u64::from(fastrand::u16(..)));
    let _ = writeln!(std::io::stderr(), "{what} that fail with {error}, SPANDREL_FAULTS_SEED={seed}");
    let healthy = Run::new(&shim, seed, None);
    assert!(healthy.notes.refusals.is_empty() && healthy.notes.not_opened.is_none());
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut refused, mut gone) = (0, 0);
    for _ in 0..number("SPANDREL_FAULTS").unwrap_or(8) {
        let fault = format!("{what}:{}:{error}", random.u64(1..=calls(&healthy)));
        let run = Run::new(&shim, seed, Some(&fault));
        refused += u64::from(!run.notes.refusals.is_empty());
        gone += u64::from(run.notes.not_opened.is_some());
        let verdict = check(&run).and_then(|()| run.lose_power());
        verdict.unwrap_or_else(|why| panic!("{fault}, seed {seed}: {why}"));
    }
    let _ =
        writeln!(std::io::stderr(), "{what} that fail with {error}: {refused} runs refused, {gone} ended");
}

/// After a failure nothing is taken until a restart, and everybody is told why.
fn poisoned(run: &Run) -> Result<(), String> {
    let notes = &run.notes;
    if !notes.after_refusal.is_empty() {
        return Err(format!(
            "{:?} were acknowledged after a failed write, without a restart",
            notes.after_refusal
        ));
    }
    let clear = |told: &&String| told.contains("write failed") && told.contains("restart");
    match notes.refusals.iter().find(|told| !clear(told)) {
        Some(unclear) => Err(format!("a sender is told {unclear:?}")),
        None => Ok(()),
    }
}

#[test]
fn a_failed_sync_poisons_until_restart() {
    each_fails("sync", "EIO", Run::syncs, poisoned);
}

#[test]
fn a_disk_that_never_syncs_again_takes_nothing() {
    each_fails("sync", "EIO:forever", Run::syncs, poisoned);
}

#[test]
fn a_failed_write_poisons_until_restart() {
    each_fails("write", "EIO", Run::writes, poisoned);
}

#[test]
fn a_short_write_is_made_whole() {
    each_fails("write", "short", Run::writes, |run| match run.notes.refusals.first() {
        Some(told) => Err(format!("a write that went on is refused: {told}")),
        None => Ok(()),
    });
}

#[test]
fn a_full_disk_refuses_and_is_used_again() {
    each_fails("write", "ENOSPC", Run::writes, |run| {
        let full = |told: &&String| told.contains("disk is full") && told.contains("free some space");
        match run.notes.refusals.iter().find(|told| !full(told)) {
            Some(unclear) => Err(format!("a sender is told {unclear:?}")),
            None => Ok(()),
        }
    });
}
