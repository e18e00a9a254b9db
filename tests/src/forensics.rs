//! Looks for a text in files as somebody would who must not find it: in the bytes as they are, and in
//! everything among them that zstd can inflate, whatever wrote it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The magic number that every zstd frame begins with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What one frame may hold.
const MOST_DECODED: u64 = 64 << 20;

/// The files below a directory that hold a text.
pub fn files_with(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = files(directory);
    found.retain(|path| {
        // Files come and go under a running store.
        let bytes = fs::read(path).unwrap_or_default();
        holds(&bytes, text) || holds_compressed(&bytes, text)
    });
    found
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(of).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Whether any zstd frame holds the text: inflated as it is, or with the content of the last large
/// frame before it as its dictionary.
fn holds_compressed(bytes: &[u8], text: &str) -> bool {
    let frames = (0..bytes.len().saturating_sub(ZSTD.len())).filter(|at| bytes[*at..].starts_with(&ZSTD));
    let mut dictionary: Vec<u8> = Vec::new();
    for at in frames {
        let plain = inflated(&bytes[at..], &[]);
        if holds(&plain, text) || holds(&inflated(&bytes[at..], &dictionary), text) {
            return true;
        }
        if plain.len() > 1000 {
            dictionary = plain;
        }
    }
    false
}

/// What can be inflated of a frame; what comes behind it does not matter.
fn inflated(bytes: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(decoder) = zstd::stream::read::Decoder::with_dictionary(bytes, dictionary) {
        let _ = decoder.single_frame().take(MOST_DECODED).read_to_end(&mut out);
    }
    out
}
