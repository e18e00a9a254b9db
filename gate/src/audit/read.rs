//! Reads lines of the log as they are, for the API.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::chain::{Head, Link};
use super::files::{HEAD, MAX_LINE, list, read_head};

/// Lines stop before their bytes pass this, but one is always given.
const MAX_BYTES: usize = 8 << 20;

/// The last line of the log that is on disk; `None` before the first.
pub fn last_head(folder: &Path) -> io::Result<Option<Head>> {
    read_head(&folder.join(HEAD))
}

/// The whole lines after the one with this number, at most `limit` of them, each with its line end.
pub fn lines_after(folder: &Path, after: u64, limit: usize) -> io::Result<Vec<u8>> {
    let files = list(folder)?;
    // The first file that can hold the line is the last that begins at it or before.
    let begin = files.iter().rposition(|file| file.first <= after.saturating_add(1)).unwrap_or(0);
    let (mut lines, mut count) = (Vec::new(), 0);
    for file in &files[begin..] {
        let mut reader = BufReader::new(File::open(&file.path)?);
        let mut line = Vec::new();
        while count < limit {
            line.clear();
            (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)?;
            // The end, or a line that is being written.
            if !line.ends_with(b"\n") {
                break;
            }
            let is_later = serde_json::from_slice::<Link>(&line).is_ok_and(|link| link.seq > after);
            if !is_later {
                continue;
            }
            if count > 0 && lines.len() + line.len() > MAX_BYTES {
                return Ok(lines);
            }
            lines.extend_from_slice(&line);
            count += 1;
        }
    }
    Ok(lines)
}
