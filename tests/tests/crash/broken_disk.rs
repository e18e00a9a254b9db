//! Failing disks: syncs and writes return an error, once or for ever, or write less than they should. Acknowledged
//! spans survive a later power loss; a failed sync is never repeated, because the system may have dropped the pages
//! that it was to write; and a full disk is used again as soon as it has room.
//!
//! SPANDREL_FAULTS is the number of failing calls of each kind, one in each run (8 by default), SPANDREL_FAULTS_SEED
//! chooses them.

use std::io::Write as _;
use std::process::Command;

use spandrel_tests::crash::{self, History, Workload};
use spandrel_tests::disk::{Event, Journal, Loss, Shim, SimulatedDisk};
use spandrel_tests::server::number;

const OPS: usize = 40;

/// A workload on a failing disk.
struct Run {
    workload: Workload,
    journal: Journal,
    history: History,
}

// === impl Run ===

impl Run {
    fn new(shim: &Shim, seed: u64, fault: Option<&str>) -> Self {
        let workload = Workload { seed, senders: 1 };
        let (folder, journal) = (crash::scratch(), crash::scratch());
        let journal = journal.path().join("journal");
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash_child"));
        command.arg(folder.path()).args([&workload.seed, &workload.senders].map(u64::to_string));
        command.args([&OPS.to_string(), "sync"]);
        shim.record(&mut command, folder.path(), &journal);
        if let Some(fault) = fault {
            shim.fail(&mut command, fault);
        }
        let output = crash::wait_for_exit(&mut command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{fault:?}: {said}");
        Self { workload, journal: Journal::read(&journal), history: crash::read_history(folder.path()) }
    }

    /// Loses power at the end, with all unsynced changes.
    fn lose_power(&self) -> Result<(), String> {
        let mut disk = SimulatedDisk::new(&self.journal);
        disk.play_to(self.journal.events.len());
        let folder = crash::scratch();
        let mut random = fastrand::Rng::with_seed(self.workload.seed);
        disk.lose_power(Loss::Everything, &mut random, "data", &crash::data(folder.path()));
        crash::check_still_works(folder.path(), &self.workload, &self.history)
    }

    fn syncs(&self) -> u64 {
        self.journal.count(|event| matches!(event, Event::Sync { .. })) as u64
    }

    fn writes(&self) -> u64 {
        self.journal.count(|event| matches!(event, Event::Write { .. })) as u64
    }
}

/// Makes random calls fail, one in each run, and checks the remains.
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
    assert!(healthy.history.refusals.is_empty() && healthy.history.not_opened.is_none());
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut refused, mut gone) = (0, 0);
    for _ in 0..number("SPANDREL_FAULTS").unwrap_or(8) {
        let fault = format!("{what}:{}:{error}", random.u64(1..=calls(&healthy)));
        let run = Run::new(&shim, seed, Some(&fault));
        refused += u64::from(!run.history.refusals.is_empty());
        gone += u64::from(run.history.not_opened.is_some());
        let checked = check(&run).and_then(|()| run.lose_power());
        checked.unwrap_or_else(|why| panic!("{fault}, seed {seed}: {why}"));
    }
    let _ =
        writeln!(std::io::stderr(), "{what} that fail with {error}: {refused} runs refused, {gone} ended");
}

/// After a failure the store refuses everything until a restart, with a reason.
fn poisoned(run: &Run) -> Result<(), String> {
    let history = &run.history;
    if !history.after_refusal.is_empty() {
        return Err(format!(
            "{:?} were acknowledged after a failed write, without a restart",
            history.after_refusal
        ));
    }
    let clear = |told: &&String| told.contains("write failed") && told.contains("restart");
    match history.refusals.iter().find(|told| !clear(told)) {
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
    each_fails("write", "short", Run::writes, |run| match run.history.refusals.first() {
        Some(told) => Err(format!("a write that went on is refused: {told}")),
        None => Ok(()),
    });
}

#[test]
fn a_full_disk_refuses_and_is_used_again() {
    each_fails("write", "ENOSPC", Run::writes, |run| {
        let full = |told: &&String| told.contains("disk is full") && told.contains("free some space");
        match run.history.refusals.iter().find(|told| !full(told)) {
            Some(unclear) => Err(format!("a sender is told {unclear:?}")),
            None => Ok(()),
        }
    });
}
