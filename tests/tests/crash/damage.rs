//! Damage to RocksDB's files and values: files that are missing, cut short or changed by a bit, and values that
//! changed before RocksDB computed their checksums. The store refuses to open and says why, or serves the rest and
//! reports that something is missing. It never panics, returns a span that was not sent, or stays silent.
//!
//! One kind of damage cannot be detected: a newest log without its end. A power loss leaves the same, except that it
//! takes nothing acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocksdb::{DB, IteratorMode, Options};
use spandrel_storage::failpoint::Failpoint;
use spandrel_tests::crash::{self, DamageReport, History, Workload};
use spandrel_tests::harness::copy;

const WORKLOAD: Workload = Workload { seed: 11, senders: 1 };
const OPS: usize = 90;
/// Values of each column family that are damaged, one in each run.
const VALUES: usize = 10;

/// The same for small records, of which there are several kinds.
const RECORDS: usize = 30;

/// A store whose process was killed while replaced blocks waited for garbage collection, so that it holds a value of
/// every kind.
fn killed() -> (tempfile::TempDir, History) {
    let folder = crash::scratch();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash_child"));
    command.arg(folder.path()).args([&WORKLOAD.seed, &WORKLOAD.senders].map(u64::to_string));
    command.args([&OPS.to_string(), "os", Failpoint::GarbageChosen.name(), "4"]);
    assert!(!crash::wait_for_exit(&mut command).status.success(), "it has to be killed");
    let history = crash::read_history(folder.path());
    (folder, history)
}

/// The report of the store after a copy of its directory was damaged.
fn after(folder: &Path, history: &History, what: &str, damage: impl FnOnce(&Path)) -> DamageReport {
    let copied = crash::scratch();
    copy(&crash::data(folder), &crash::data(copied.path()));
    damage(&crash::data(copied.path()).join("store"));
    crash::check_damaged(copied.path(), &WORKLOAD, history).unwrap_or_else(|why| panic!("{what}: {why}"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(crash::data(folder).join("store")).unwrap().map(|entry| entry.unwrap().path()).collect();
    // RocksDB's text logs and its lock file.
    files.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with("LO"));
    files.sort();
    files
}

#[test]
fn a_file_that_is_gone_cut_or_changed_is_told() {
    let (folder, history) = killed();
    let mut random = fastrand::Rng::with_seed(1);
    let mut said = Vec::new();
    for path in files(folder.path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let length = fs::metadata(&path).unwrap().len();
        let is_log = name.ends_with(".log");
        if !is_log {
            let gone = after(folder.path(), &history, &format!("{name} is gone"), |store| {
                fs::remove_file(store.join(&name)).unwrap();
            });
            said.push((name.clone(), gone));
            let cut = after(folder.path(), &history, &format!("{name} is cut"), |store| {
                fs::File::options().write(true).open(store.join(&name)).unwrap().set_len(length / 2).unwrap();
            });
            said.push((name.clone(), cut));
        }
        for _ in 0..4 {
            let at = random.u64(..length.max(1)) as usize;
            let flip = |store: &Path| {
                let mut bytes = fs::read(store.join(&name)).unwrap();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
                fs::write(store.join(&name), bytes).unwrap();
            };
            if is_log {
                // The log is cut at the damage and the loss is reported: no panic, and no span that was not sent.
                let copied = crash::scratch();
                copy(&crash::data(folder.path()), &crash::data(copied.path()));
                let mut flip = flip;
                flip(&crash::data(copied.path()).join("store"));
                let checked = crash::check_damaged(copied.path(), &WORKLOAD, &history);
                assert!(checked.is_ok() || checked.is_err_and(|why| why.contains("are missing")), "{name}");
            } else {
                said.push((
                    name.clone(),
                    after(folder.path(), &history, &format!("byte {at} of {name}"), flip),
                ));
            }
        }
    }
    let kinds = |kind: fn(&DamageReport) -> bool| said.iter().filter(|(_, said)| kind(said)).count();
    let damaged = kinds(|said| *said == DamageReport::Damaged);
    let refused = kinds(|said| matches!(said, DamageReport::Refused(_)));
    assert!(damaged > 0 && refused > 0, "damage is not met: {said:?}");
}

#[test]
fn a_value_of_any_kind_that_is_changed_is_told() {
    let (folder, history) = killed();
    let store = crash::data(folder.path()).join("store");
    let families = DB::list_cf(&Options::default(), &store).unwrap();
    for kind in ["fresh", "sealed", "catalog", "index", "replaced"] {
        assert!(families.iter().any(|known| known == kind), "{kind} is not among {families:?}");
    }
    let mut random = fastrand::Rng::with_seed(2);
    for family in &families {
        let rows = rows(&store, &families, family);
        assert!(!rows.is_empty(), "there is no {family} value to damage");
        let values = if family == "default" { RECORDS } else { VALUES };
        for _ in 0..values.min(rows.len()) {
            let (key, mut value) = random.choice(&rows).unwrap().clone();
            let at = random.usize(..value.len());
            value[at] ^= 1 << random.u8(..8);
            let what = format!("byte {at} of {} in a value of {family}", value.len());
            let said = after(folder.path(), &history, &what, |store| {
                let db = DB::open_cf(&Options::default(), store, &families).unwrap();
                db.put_cf(db.cf_handle(family).unwrap(), &key, &value).unwrap();
            });
            match (family.as_str(), said) {
                // The row is rebuilt from its block and the damage is reported; nothing is missing.
                ("catalog", said) => assert_eq!(said, DamageReport::Damaged, "{what}"),
                // Index rows and the list of replaced blocks are hints: nothing is missing without them.
                ("index" | "replaced", said) => assert_eq!(said, DamageReport::Nothing, "{what}"),
                // Spans under deletion must not come back, so a store that cannot read which they are does not open.
                ("default", DamageReport::Refused(why)) => {
                    assert!(
                        why.contains("the record of deletion") && why.contains("restore"),
                        "{what}: {why}"
                    );
                }
                (_, DamageReport::Refused(why)) => {
                    panic!("{what}: one block keeps the store from opening: {why}")
                }
                _ => {}
            }
        }
    }
}

type Row = (Vec<u8>, Vec<u8>);

fn rows(store: &Path, families: &[String], family: &str) -> Vec<Row> {
    let copied = crash::scratch();
    copy(store, copied.path());
    let db = DB::open_cf(&Options::default(), copied.path(), families).unwrap();
    let rows = db.iterator_cf(db.cf_handle(family).unwrap(), IteratorMode::Start);
    rows.map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())).unwrap()).collect()
}
