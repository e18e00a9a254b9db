//! Searches files for bytes that must not be there: in the raw bytes, in everything among them that zstd can
//! decompress, and in the spans of every block that can be put together from live or dead data of RocksDB.

mod blocks;
mod frames;
mod rocks;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a match was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// In the raw bytes of a file.
    Plain,
    /// In a decompressed zstd frame.
    Inflated,
    /// In the spans of a block that was put together.
    Rebuilt,
}

/// The files below a directory that hold a text.
pub fn files_with(directory: &Path, text: &str) -> Vec<PathBuf> {
    sightings(directory, text.as_bytes()).into_keys().collect()
}

/// The files below a directory that hold some bytes, and where in each.
pub fn sightings(directory: &Path, sought: &[u8]) -> BTreeMap<PathBuf, BTreeSet<How>> {
    let mut seen: BTreeMap<PathBuf, BTreeSet<How>> = BTreeMap::new();
    let mut pieces = rocks::Pieces::default();
    for path in files(directory) {
        // A running store deletes files meanwhile.
        let bytes = fs::read(&path).unwrap_or_default();
        look(&bytes, sought, &path, &mut seen);
        pieces.collect(&path, &bytes);
    }
    // Values that a file splits, with headers between, are searched once more as a whole.
    for (path, whole) in pieces.wholes() {
        look(&whole, sought, &path, &mut seen);
        if blocks::says(whole).is_some_and(|said| holds(&said, sought)) {
            seen.entry(path).or_default().insert(How::Rebuilt);
        }
    }
    seen
}

fn look(bytes: &[u8], sought: &[u8], path: &Path, seen: &mut BTreeMap<PathBuf, BTreeSet<How>>) {
    let plain = holds(bytes, sought).then_some(How::Plain);
    let inflated = frames::any(bytes, |frame| holds(frame, sought)).then_some(How::Inflated);
    for how in plain.into_iter().chain(inflated) {
        seen.entry(path.to_owned()).or_default().insert(how);
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(of).collect()
}

fn holds(bytes: &[u8], sought: &[u8]) -> bool {
    bytes.windows(sought.len()).any(|window| window == sought)
}
