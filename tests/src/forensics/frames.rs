//! Zstd frames at any offset.

use std::io::Read as _;

/// The magic number that every zstd frame begins with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The largest content of a frame.
const MOST_DECODED: u64 = 64 << 20;

/// Whether a condition holds for any frame, decompressed alone or with the content of the last large frame before it as
/// its dictionary.
pub(super) fn any(bytes: &[u8], is_true: impl Fn(&[u8]) -> bool) -> bool {
    let frames = (0..bytes.len().saturating_sub(ZSTD.len())).filter(|at| bytes[*at..].starts_with(&ZSTD));
    let mut dictionary: Vec<u8> = Vec::new();
    for at in frames {
        let plain = inflated(&bytes[at..], &[]);
        if is_true(&plain) || is_true(&inflated(&bytes[at..], &dictionary)) {
            return true;
        }
        if plain.len() > 1000 {
            dictionary = plain;
        }
    }
    false
}

/// The part of a frame that can be decompressed; bytes after it are ignored.
fn inflated(bytes: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(decoder) = zstd::stream::read::Decoder::with_dictionary(bytes, dictionary) {
        let _ = decoder.single_frame().take(MOST_DECODED).read_to_end(&mut out);
    }
    out
}
