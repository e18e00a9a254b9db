//! A log on disk: what is found when it was tampered with, and what happens to it over time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::files::{HEAD, list};
use super::*;

const CONFIG: FilesConfig = FilesConfig { max_file_bytes: 600, retention: Duration::from_secs(1 << 40) };

/// A log of so many lines in several files, closed.
fn log(lines: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut files = AuditFiles::open(folder.path(), CONFIG, SystemTime::now()).unwrap();
    for line in 0..lines {
        let target = Some(format!("/api/v1/traces?q={line}"));
        files.append(&[Record { target, ..Record::new(Event::Question) }], SystemTime::now()).unwrap();
    }
    folder
}

fn findings(folder: &Path) -> Vec<String> {
    verify(folder, None).unwrap().findings
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    list(folder).unwrap().into_iter().map(|file| file.path).collect()
}

fn lines(folder: &Path) -> Vec<String> {
    let texts = paths(folder).into_iter().map(|path| fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn an_untouched_log_is_whole_across_files_and_restarts() {
    let folder = log(20);
    assert!(paths(folder.path()).len() > 3);
    let before = verify(folder.path(), None).unwrap();
    assert_eq!((before.lines, before.first, before.head.seq), (20, 1, 20));
    let mut files = AuditFiles::open(folder.path(), CONFIG, SystemTime::now()).unwrap();
    files.append(&[Record::new(Event::Start)], SystemTime::now()).unwrap();
    let after = verify(folder.path(), Some(before.head)).unwrap();
    assert_eq!((after.lines, after.findings, after.notes), (21, vec![], vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_byte_is_found(at in any::<prop::sample::Index>(), to in any::<u8>(), file in any::<prop::sample::Index>()) {
        let folder = log(9);
        let mut all = paths(folder.path());
        all.push(folder.path().join(HEAD));
        let path = &all[file.index(all.len())];
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        // The line end of HEAD says nothing.
        prop_assume!(!(path.ends_with(HEAD) && at + 1 == bytes.len()));
        fs::write(path, bytes).unwrap();
        prop_assert!(!findings(folder.path()).is_empty());
    }

    #[test]
    fn a_removed_or_moved_or_repeated_line_is_found(one in 0..9usize, other in 0..9usize, how in 0..3) {
        let folder = log(9);
        // All lines in one file, so that lines move across what were files.
        let mut text = lines(folder.path());
        match how {
            0 => drop(text.remove(one)),
            1 => {
                prop_assume!(one != other);
                text.swap(one, other);
            }
            _ => text.insert(other, text[one].clone()),
        }
        let all = paths(folder.path());
        all.iter().for_each(|path| fs::remove_file(path).unwrap());
        fs::write(&all[0], text.join("\n") + "\n").unwrap();
        prop_assert!(!findings(folder.path()).is_empty());
    }

    #[test]
    fn a_missing_end_is_found(at in any::<prop::sample::Index>()) {
        let folder = log(9);
        let last = paths(folder.path()).pop().unwrap();
        let bytes = fs::read(&last).unwrap();
        fs::write(&last, &bytes[..at.index(bytes.len())]).unwrap();
        prop_assert!(!findings(folder.path()).is_empty());
    }

    #[test]
    fn a_missing_file_is_found(which in any::<prop::sample::Index>()) {
        let folder = log(20);
        let all = paths(folder.path());
        fs::remove_file(&all[which.index(all.len())]).unwrap();
        prop_assert!(!findings(folder.path()).is_empty());
    }
}

/// What the chain alone cannot show, and a head that was noted elsewhere does.
#[test]
fn a_log_that_was_written_anew_is_found_by_a_noted_head_alone() {
    let (folder, forged) = (log(9), log(5));
    let noted = verify(folder.path(), None).unwrap().head;
    assert_eq!(findings(forged.path()), Vec::<String>::new());
    let report = verify(forged.path(), Some(noted)).unwrap();
    assert!(report.findings[0].contains(&noted.hash.to_string()), "{report:?}");
}

#[test]
fn lines_cut_off_while_the_server_was_down_leave_a_gap_for_ever() {
    let folder = log(9);
    let last = paths(folder.path()).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(&last, lines[..lines.len() - 1].concat()).unwrap();
    drop(AuditFiles::open(folder.path(), CONFIG, SystemTime::now()).unwrap());
    let found = findings(folder.path());
    assert!(found.len() == 1 && found[0].contains("once ended at 9:"), "{found:?}");
}

#[test]
fn a_head_that_vanished_while_the_server_was_down_leaves_a_gap() {
    let folder = log(3);
    fs::remove_file(folder.path().join(HEAD)).unwrap();
    assert!(findings(folder.path())[0].contains("HEAD is missing"));
    drop(AuditFiles::open(folder.path(), CONFIG, SystemTime::now()).unwrap());
    assert_eq!(findings(folder.path()).len(), 1);
}

#[test]
fn a_line_that_was_never_finished_is_no_damage() {
    let folder = log(9);
    let last = paths(folder.path()).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(b"{\"seq\":10,\"ti");
    fs::write(&last, bytes).unwrap();
    let report = verify(folder.path(), None).unwrap();
    assert!(report.is_whole() && report.notes[0].contains("unfinished"), "{report:?}");
    let mut files = AuditFiles::open(folder.path(), CONFIG, SystemTime::now()).unwrap();
    files.append(&[Record::new(Event::Start)], SystemTime::now()).unwrap();
    let report = verify(folder.path(), None).unwrap();
    assert_eq!((report.lines, report.findings.len(), report.notes.len()), (10, 0, 0));
}

#[test]
fn old_files_go_and_the_log_says_so() {
    let folder = log(20);
    let config = FilesConfig { retention: Duration::from_secs(3600), ..CONFIG };
    let mut files = AuditFiles::open(folder.path(), config, SystemTime::now()).unwrap();
    let later = SystemTime::now() + Duration::from_secs(7200);
    files.append(&[Record::new(Event::Start)], later).unwrap();
    let report = verify(folder.path(), None).unwrap();
    assert!(report.is_whole() && report.first > 1 && report.lines < 20, "{report:?}");
    assert!(report.notes[0].contains("removed for their age"), "{report:?}");
    // The same without the line that says so is found.
    let gone = paths(folder.path());
    fs::remove_file(&gone[0]).unwrap();
    assert!(gone.len() == 1 || !findings(folder.path()).is_empty());
}

#[test]
fn lines_are_read_in_pages_across_files() {
    let folder = log(20);
    let all = lines_after(folder.path(), 0, 100).unwrap();
    assert_eq!(all, (lines(folder.path()).join("\n") + "\n").into_bytes());
    let mut pages = Vec::new();
    for after in (0..20).step_by(3) {
        pages.extend(lines_after(folder.path(), after, 3).unwrap());
    }
    assert_eq!(pages, all);
    assert_eq!(lines_after(folder.path(), 20, 3).unwrap(), b"");
    let head = last_head(folder.path()).unwrap().unwrap();
    assert_eq!(head.seq, 20);
    let newest = lines_after(folder.path(), head.seq - 3, 100).unwrap();
    assert!(all.ends_with(&newest) && newest.iter().filter(|byte| **byte == b'\n').count() == 3);
}

#[test]
fn a_second_writer_is_refused() {
    let folder = log(1);
    let _first = AuditFiles::open(folder.path(), CONFIG, SystemTime::now()).unwrap();
    let second = AuditFiles::open(folder.path(), CONFIG, SystemTime::now());
    assert_eq!(second.err().map(|error| error.kind()), Some(std::io::ErrorKind::WouldBlock));
}

#[tokio::test]
async fn lines_of_many_requests_are_all_there_when_they_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::to_files(folder.path(), AuditConfig { files: CONFIG, required: true }).unwrap();
    let log = std::sync::Arc::new(log);
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let log = log.clone();
            tokio::spawn(async move {
                let target = format!("/{number}");
                log.write(Record { target: Some(target.clone()), ..Record::new(Event::Question) })
                    .await
                    .unwrap();
                target
            })
        })
        .collect();
    for task in tasks {
        let target = task.await.unwrap();
        let needle = format!("\"target\":\"{target}\"");
        assert!(lines(folder.path()).iter().any(|line| line.contains(&needle)), "{target}");
    }
    log.close().await;
    let report = verify(folder.path(), None).unwrap();
    assert_eq!((report.lines, report.findings), (202, vec![]));
}

#[tokio::test]
async fn refusals_of_one_address_are_bounded_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::to_files(folder.path(), AuditConfig { files: CONFIG, required: true }).unwrap();
    let (flood, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
    for _ in 0..100 {
        log.refusal(flood, Record::new(Event::Refusal)).await.unwrap();
    }
    log.refusal(other, Record::new(Event::Refusal)).await.unwrap();
    let lines = lines(folder.path());
    let written = lines.iter().filter(|line| line.contains("\"refusal\"")).count();
    // A slow disk lets a few more in; the sum is exact.
    assert!((20..100).contains(&written), "{written}");
    let last = lines.last().unwrap();
    assert!(last.contains(&format!("\"suppressed\":{}", 101 - written)), "{last}");
}
