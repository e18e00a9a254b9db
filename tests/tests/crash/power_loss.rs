//! Power loss at random moments: whatever part of the unsynced writes survives, every acknowledged span is there, and
//! the store works on.
//!
//! SPANDREL_POWER_RUNS is the number of recorded workloads (2 by default), SPANDREL_POWER_POINTS the number of power
//! losses in each (25 by default), SPANDREL_POWER_SEED the first seed. Threads make each recording a little different:
//! a failing one is kept, and SPANDREL_POWER_JOURNAL with the seed repeats it exactly. `tests/src/disk` describes the
//! simulation.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use spandrel_tests::crash::{self, History, Workload};
use spandrel_tests::disk::{Event, Journal, Loss, Shim, SimulatedDisk};
use spandrel_tests::server::number;

const OPS: usize = 60;
const LOSSES: [Loss; 5] = [Loss::Everything, Loss::Bytes, Loss::Ends, Loss::Pages, Loss::Nothing];

/// A workload whose disk was recorded.
struct Run {
    workload: Workload,
    journal: Journal,
    path: PathBuf,
}

// === impl Run ===

impl Run {
    fn record(shim: &Shim, workload: Workload, durability: &str, folder: &Path) -> Self {
        let path = folder.join("journal");
        let root = folder.join("disk");
        std::fs::create_dir(&root).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash_child"));
        command.arg(&root).args([&workload.seed, &workload.senders].map(u64::to_string));
        command.args([&OPS.to_string(), durability]);
        shim.record(&mut command, &root, &path);
        let output = crash::wait_for_exit(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { workload, journal: Journal::read(&path), path }
    }

    /// Loses power at random moments, and returns the complaints of the checker with their moments.
    fn lose_power(&self, mut disk: SimulatedDisk<'_>, points: usize, losses: &[Loss]) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(self.workload.seed);
        // Half of the moments are just before a sync, when most writes are pending.
        let events = &self.journal.events;
        let syncs: Vec<usize> =
            (0..events.len()).filter(|at| matches!(events[*at], Event::Sync { .. })).collect();
        let mut moment = || match random.bool() {
            true => random.usize(..=events.len()),
            false => *random.choice(&syncs).unwrap(),
        };
        let mut moments: Vec<usize> = std::iter::repeat_with(&mut moment).take(points).collect();
        moments.sort_unstable();
        let mut wrong = Vec::new();
        for moment in moments {
            disk.play_to(moment);
            let loss = *random.choice(losses).unwrap();
            let folder = crash::scratch();
            disk.lose_power(loss, &mut random, "data", &crash::data(folder.path()));
            let history = History::parse(&disk.text("history"));
            let checked = match random.u8(..4) {
                0 => crash::check_still_works(folder.path(), &self.workload, &history),
                _ => crash::check(folder.path(), &self.workload, &history),
            };
            if let Err(why) = checked {
                wrong.push(format!("event {moment} of {}, {loss:?}: {why}", self.journal.events.len()));
            }
        }
        wrong
    }
}

#[test]
fn power_loss_takes_nothing_that_was_acknowledged() {
    let runs = number("SPANDREL_POWER_RUNS").unwrap_or(2);
    let points = number("SPANDREL_POWER_POINTS").unwrap_or(25) as usize;
    let first = number("SPANDREL_POWER_SEED").unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let shim = Shim::compile();
    for seed in first..first + runs {
        // In every other workload several senders share a sync, and background work runs as well.
        let workload = Workload { seed, senders: 1 + seed % 2 * 3 };
        let folder = crash::scratch();
        let run = match std::env::var_os("SPANDREL_POWER_JOURNAL").map(PathBuf::from) {
            Some(path) => Run { workload, journal: Journal::read(&path), path },
            None => Run::record(&shim, workload, "sync", folder.path()),
        };
        let _ = writeln!(std::io::stderr(), "{points} power losses, SPANDREL_POWER_SEED={seed}");
        let wrong = run.lose_power(SimulatedDisk::new(&run.journal), points, &LOSSES);
        if !wrong.is_empty() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-loss-{seed}.journal"));
            std::fs::copy(&run.path, &kept).unwrap();
            let again = format!(
                "SPANDREL_POWER_RUNS=1 SPANDREL_POWER_POINTS={points} SPANDREL_POWER_SEED={seed} SPANDREL_POWER_JOURNAL={}",
                kept.display()
            );
            panic!("{}\nrepeat it with {again}", wrong.join("\n"));
        }
    }
}

/// Proves that the simulation finds losses: of a store that does not sync, and of a disk that ignores syncs.
#[test]
fn without_syncs_power_loss_is_noticed() {
    let shim = Shim::compile();
    for durability in ["os", "none", "sync"] {
        let folder = crash::scratch();
        let run = Run::record(&shim, Workload { seed: 5, senders: 1 }, durability, folder.path());
        let disk = match durability {
            "sync" => SimulatedDisk::new(&run.journal).that_ignores_syncs(),
            _ => SimulatedDisk::new(&run.journal),
        };
        let wrong = run.lose_power(disk, 12, &[Loss::Everything]);
        assert!(
            wrong.iter().any(|why| why.contains("are lost")),
            "nothing is lost with durability {durability}: {wrong:?}"
        );
    }
}
