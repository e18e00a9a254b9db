//! Power loss at any moment of a repair: afterwards either the damaged store is still there to be repaired, or the
//! complete new one has taken its place.
//!
//! SPANDREL_POWER_POINTS is the number of power losses besides those around the swap of the two stores (15 by default),
//! SPANDREL_POWER_SEED chooses them. `tests/src/disk` describes the simulation.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use spandrel_rocks::{DataDir, Durability, RepairStart, RocksRepair, RocksRepairError};
use spandrel_storage::repair::repair;
use spandrel_tests::corruption::{damage, tables};
use spandrel_tests::crash;
use spandrel_tests::disk::{Event, Journal, Loss, Shim, SimulatedDisk};
use spandrel_tests::harness::{Backend, Harness, config, copy};
use spandrel_tests::server::{command, eventually, number};
use spandrel_tests::spans::{BEGIN, Sent, sent, trace_id};

const TRACES: u64 = 20;
const LOSSES: [Loss; 5] = [Loss::Everything, Loss::Bytes, Loss::Ends, Loss::Pages, Loss::Nothing];

fn open(data: &Path) -> Result<Harness, String> {
    Harness::at(Backend::Folder(data.to_owned(), Durability::Sync), config(), BEGIN)
}

fn trace(n: u64) -> Vec<Sent> {
    (1..=3).map(|span| sent(n, span).at(n * 1_000 + span, 50)).collect()
}

/// A store with merged blocks and fresh ones, and a damaged table.
fn damaged(data: &Path) {
    let harness = open(data).unwrap();
    for n in 1..=TRACES {
        harness.append(&trace(n));
        if n == TRACES / 2 {
            harness.store().seal_all();
        }
    }
    harness.engine().flush().unwrap();
    harness.store().close().unwrap();
    drop(harness);
    damage(&tables(&data.join("store"), "index"));
}

/// Goes on with an interrupted repair, as an operator would.
fn go_on(data: &Path) -> Result<(), String> {
    let disk = eventually("the lock of a directory that was let go", || DataDir::lock(data, 1 << 20).ok());
    let begun = match RocksRepair::begin(disk) {
        Ok(RepairStart::Repair(begun)) => begun,
        // The new store is in place already, or is moved there now.
        Ok(RepairStart::Finished(_)) | Err(RocksRepairError::Kept(_)) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    repair(&begun.source, &begun.target, begun.reserve_bytes(), &mut |_| {})
        .map_err(|error| error.to_string())?;
    begun.finish().map(drop).map_err(|error| error.to_string())
}

/// Checks what a power loss has left.
fn check(data: &Path, opens_first: bool) -> Result<(), String> {
    // Starting the server first must do no harm.
    let _ = opens_first.then(|| open(data).map(drop));
    go_on(data)?;
    if !data.join("store.damaged").is_dir() {
        return Err("the damaged store is gone".to_owned());
    }
    let harness = open(data)?;
    let found: BTreeSet<u64> = (1..=TRACES).filter(|n| harness.trace(trace_id(*n)) == trace(*n)).collect();
    match found.len() as u64 {
        TRACES => Ok(()),
        some => Err(format!("only {some} traces of {TRACES} are there")),
    }
}

/// The moments of power loss: random ones, and those around every sync and rename of the swap.
fn moments(events: &[Event], points: usize, random: &mut fastrand::Rng) -> Vec<usize> {
    let of_store = |event: &Event| matches!(event, Event::Rename { from, .. } if from.ends_with("/store"));
    let swap = events.iter().position(of_store).expect("the new store takes the place of the damaged one");
    let matters = |at: &usize| matches!(events[*at], Event::Rename { .. } | Event::Sync { .. });
    let of_the_end = (swap.saturating_sub(30)..events.len()).filter(matters).flat_map(|at| [at, at + 1]);
    let mut moments: Vec<usize> = of_the_end.collect();
    moments.extend(std::iter::repeat_with(|| random.usize(..=events.len())).take(points));
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// Records a repair; the folder also gets a copy of the disk before it.
fn recorded(folder: &Path) -> Journal {
    let shim = Shim::compile();
    let [before, disk, journal] = ["before", "disk", "journal"].map(|name| folder.join(name));
    damaged(&before.join("data"));
    copy(&before, &disk);
    let mut repair = command(&["repair", "--data-dir", &disk.join("data").display().to_string()]);
    shim.record(&mut repair, &disk, &journal);
    let output = crash::wait_for_exit(&mut repair);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check(&disk.join("data"), true).unwrap();
    Journal::read(&journal)
}

#[test]
fn power_loss_during_a_repair_leaves_a_store_that_is_repaired_or_can_be() {
    let points = number("SPANDREL_POWER_POINTS").unwrap_or(15) as usize;
    let seed = number("SPANDREL_POWER_SEED").unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let _ = writeln!(std::io::stderr(), "SPANDREL_POWER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = crash::scratch();
    let journal = recorded(folder.path());
    let mut disk = SimulatedDisk::over(&journal, &folder.path().join("before"));
    let mut wrong = Vec::new();
    for moment in moments(&journal.events, points, &mut random) {
        disk.play_to(moment);
        for loss in LOSSES {
            let folder = crash::scratch();
            disk.lose_power(loss, &mut random, "data", folder.path());
            if let Err(why) = check(folder.path(), random.bool()) {
                wrong.push(format!("event {moment} of {}, {loss:?}: {why}", journal.events.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Proves that the simulation finds losses: on a disk that ignores syncs, the new store is in place without its bytes.
#[test]
fn without_syncs_it_is_noticed() {
    let folder = crash::scratch();
    let journal = recorded(folder.path());
    let mut disk = SimulatedDisk::over(&journal, &folder.path().join("before")).that_ignores_syncs();
    disk.play_to(journal.events.len());
    let after = crash::scratch();
    disk.lose_power(Loss::Bytes, &mut fastrand::Rng::with_seed(1), "data", after.path());
    check(after.path(), false).unwrap_err();
}
