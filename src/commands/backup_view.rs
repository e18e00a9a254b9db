//! `spandrel backup list` and `spandrel backup verify`: what is in a directory of backups, and whether
//! it is what was put there.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use spandrel_storage::backup::{self, BackupSet, ContentHash, Files, Manifest, SetError, StoreRecord};

use super::progress::{self, Progress};
use super::{Exit, backup_files};

/// What bytes have to be, beside being those that were put there.
#[derive(Debug, Clone, Copy)]
enum Content {
    Block,
    Records,
}

/// Shows the backups.
pub(super) fn list(directory: &Path) -> Result<(), Box<dyn Error>> {
    let set = backup_files::open_to_read(directory)?;
    let ids = set.ids()?;
    if ids.is_empty() {
        return Err(SetError::Empty(set.place()).into());
    }
    let mut unreadable = 0;
    progress::say(&format!(
        "{:<16}  {:<20}  {:>8}  {:>12}  {:>10}",
        "ID", "TAKEN", "BLOCKS", "SPANS", "SIZE"
    ))?;
    for id in ids {
        match set.manifest(Some(id)) {
            Ok(backup) => {
                let lost = if backup.lost.is_empty() { "" } else { "  (without damaged blocks)" };
                progress::say(&format!(
                    "{id}  {:<20}  {:>8}  {:>12}  {:>10}{lost}",
                    time(backup.taken.0),
                    backup.blocks.len(),
                    backup.spans(),
                    progress::bytes(backup.bytes()),
                ))?;
            }
            Err(error) => {
                unreadable += 1;
                progress::say(&format!("{id}  {error}"))?;
            }
        }
    }
    if unreadable > 0 { Err(format!("{unreadable} backups cannot be read").into()) } else { Ok(()) }
}

/// A point in time as people read it.
pub(super) fn time(nanos: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Reads everything, and says what is damaged or missing.
pub(super) fn verify(directory: &Path) -> Result<(), Box<dyn Error>> {
    let set = backup_files::open_to_read(directory)?;
    let (mut wrong, mut backups) = (0, Vec::new());
    for id in set.ids()? {
        match set.manifest(Some(id)) {
            Ok(backup) => backups.push(backup),
            Err(error) => {
                wrong += 1;
                progress::say(&format!("backup {id}: {error}"))?;
            }
        }
    }
    if backups.is_empty() && wrong == 0 {
        return Err(SetError::Empty(set.place()).into());
    }
    let damaged = damaged(&set, &backups);
    for (hash, reason) in &damaged {
        let concerned = backups.iter().filter(|backup| backup.hashes().any(|needed| needed == *hash));
        let ids: Vec<String> = concerned.map(|backup| backup.id.to_string()).collect();
        progress::say(&format!("{reason} (needed by {})", ids.join(", ")))?;
    }
    wrong += damaged.len();
    progress::say(&format!("{} backups verified: {wrong} files damaged or missing", backups.len()))?;
    if wrong == 0 {
        return Ok(());
    }
    let message = "the backups are damaged; remove the files that are named, and the next `spandrel backup` \
                   brings those blocks again that the server still has";
    Err(Exit { code: 1, message: message.to_owned() }.into())
}

/// What backups need and what is missing or is not what it was, with the reason.
pub(super) fn damaged(set: &BackupSet<impl Files>, backups: &[Manifest]) -> Vec<(ContentHash, String)> {
    let mut needed: HashMap<ContentHash, (u64, Content)> = HashMap::new();
    for backup in backups {
        needed.extend(backup.records.map(|piece| (piece.hash, (piece.bytes, Content::Records))));
        let blocks = backup.blocks.iter();
        needed.extend(blocks.filter_map(|block| Some((block.hash?, (block.bytes, Content::Block)))));
    }
    let progress = Progress::of_bytes("verify", needed.values().map(|(bytes, _)| bytes).sum());
    let mut damaged = Vec::new();
    for (hash, (bytes, content)) in needed {
        if let Err(reason) = verified(set, hash, content) {
            damaged.push((hash, reason));
        }
        progress.advance(bytes);
    }
    progress.finish();
    damaged
}

fn verified(set: &BackupSet<impl Files>, hash: ContentHash, content: Content) -> Result<(), String> {
    let bytes = set.read(hash).map_err(|error| error.to_string())?;
    let place = |error: String| format!("{}: {error}", set.place_of(hash));
    match content {
        Content::Block => backup::verify(bytes.into()).map(drop).map_err(|error| place(error.to_string())),
        Content::Records => {
            StoreRecord::decode_all(&bytes).map(drop).map_err(|error| place(error.to_string()))
        }
    }
}
