//! Power loss at any moment: whatever the disk makes of what was not synced, every span that was
//! acknowledged is there, and the store works on.
//!
//! SPANDREL_POWER_RUNS sets how many stories are recorded (2 unless said), SPANDREL_POWER_POINTS how
//! often the power goes in each (25 unless said), SPANDREL_POWER_SEED where they begin. Threads make
//! each recording a little different: a failing one is kept, and SPANDREL_POWER_JOURNAL with the seed
//! repeats it exactly. `tests/src/disk` says how it is done.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use spandrel_tests::crash::{self, Notes, Story};
use spandrel_tests::disk::{Event, Journal, Loss, Platter, Shim};
use spandrel_tests::server::number;

const ACTS: usize = 60;
const LOSSES: [Loss; 5] = [Loss::Everything, Loss::Bytes, Loss::Ends, Loss::Pages, Loss::Nothing];

/// One story on one disk.
struct Run {
    story: Story,
    journal: Journal,
    path: PathBuf,
}

// === impl Run ===

impl Run {
    fn record(shim: &Shim, story: Story, durability: &str, folder: &Path) -> Self {
        let path = folder.join("journal");
        let root = folder.join("disk");
        std::fs::create_dir(&root).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
        command.arg(&root).args([&story.seed, &story.senders].map(u64::to_string));
        command.args([&ACTS.to_string(), durability]);
        shim.record(&mut command, &root, &path);
        let output = crash::end_of(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { story, journal: Journal::read(&path), path }
    }

    /// Lets the power go at random moments; what was found wrong, and where.
    fn lose_power(&self, mut platter: Platter<'_>, points: usize, losses: &[Loss]) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(self.story.seed);
        // Half of them just before a sync, when most is on its way.
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
            platter.play_to(moment);
            let loss = *random.choice(losses).unwrap();
            let folder = crash::scratch();
            platter.lose_power(loss, &mut random, "data", &crash::data(folder.path()));
            let notes = Notes::parse(&platter.text("diary"));
            let verdict = match random.u8(..4) {
                0 => crash::still_works(folder.path(), &self.story, &notes),
                _ => crash::verdict(folder.path(), &self.story, &notes),
            };
            if let Err(why) = verdict {
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
        // In every other story several senders share a sync, and the background works meanwhile.
        let story = Story { seed, senders: 1 + seed % 2 * 3 };
        let folder = crash::scratch();
        let run = match std::env::var_os("SPANDREL_POWER_JOURNAL").map(PathBuf::from) {
            Some(path) => Run { story, journal: Journal::read(&path), path },
            None => Run::record(&shim, story, "sync", folder.path()),
        };
        let _ = writeln!(std::io::stderr(), "{points} power losses, SPANDREL_POWER_SEED={seed}");
        let wrong = run.lose_power(Platter::new(&run.journal), points, &LOSSES);
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

/// The simulation has teeth: who does not sync loses, and so does who trusts a disk that lies.
#[test]
fn without_syncs_power_loss_is_noticed() {
    let shim = Shim::compile();
    for durability in ["os", "none", "sync"] {
        let folder = crash::scratch();
        let run = Run::record(&shim, Story { seed: 5, senders: 1 }, durability, folder.path());
        let platter = match durability {
            "sync" => Platter::new(&run.journal).that_lies(),
            _ => Platter::new(&run.journal),
        };
        let wrong = run.lose_power(platter, 12, &[Loss::Everything]);
        assert!(
            wrong.iter().any(|why| why.contains("are lost")),
            "nothing is lost with durability {durability}: {wrong:?}"
        );
    }
}
