//! `spandrel backup list` and `spandrel backup verify`: shows the backups in a directory, and verifies their files.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use spandrel_storage::backup::{self, BackupSet, BlockKey, Bytes, ContentHash, Files, Manifest, SetError};
use spandrel_storage::encryption::{KeyEntry, is_encrypted_block};
use spandrel_storage::engine::Encryption;

use super::progress::Progress;
use super::{Exit, backup_dir, output};

/// The format of a file, which is verified as well as its hash.
#[derive(Debug, Clone)]
enum Content {
    Block(BlockKey),
    Records,
}

pub(super) fn list(directory: &Path) -> Result<(), Box<dyn Error>> {
    let set = backup_dir::open_to_read(directory)?;
    let ids = set.ids()?;
    if ids.is_empty() {
        return Err(SetError::Empty(set.place()).into());
    }
    let mut unreadable = 0;
    output::print_line(&format!(
        "{:<16}  {:<20}  {:>8}  {:>12}  {:>10}",
        "ID", "TAKEN", "BLOCKS", "SPANS", "SIZE"
    ))?;
    for id in ids {
        match set.manifest(Some(id)) {
            Ok(backup) => {
                let lost = if backup.lost.is_empty() { "" } else { "  (without damaged blocks)" };
                output::print_line(&format!(
                    "{id}  {:<20}  {:>8}  {:>12}  {:>10}{lost}",
                    output::date_time(backup.taken.0),
                    backup.blocks.len(),
                    backup.spans(),
                    output::bytes(backup.bytes()),
                ))?;
            }
            Err(error) => {
                unreadable += 1;
                output::print_line(&format!("{id}  {error}"))?;
            }
        }
    }
    if unreadable > 0 { Err(format!("{unreadable} backups cannot be read").into()) } else { Ok(()) }
}

/// Reads every file and reports those that are damaged or missing.
pub(super) fn verify(directory: &Path) -> Result<(), Box<dyn Error>> {
    let set = backup_dir::open_to_read(directory)?;
    let (mut wrong, mut backups) = (0, Vec::new());
    for id in set.ids()? {
        match set.manifest(Some(id)) {
            Ok(backup) => backups.push(backup),
            Err(error) => {
                wrong += 1;
                output::print_line(&format!("backup {id}: {error}"))?;
            }
        }
    }
    if backups.is_empty() && wrong == 0 {
        return Err(SetError::Empty(set.place()).into());
    }
    let damaged = damaged(&set, &backups, None);
    for (hash, reason) in &damaged {
        let concerned = backups.iter().filter(|backup| backup.hashes().any(|needed| needed == *hash));
        let ids: Vec<String> = concerned.map(|backup| backup.id.to_string()).collect();
        output::print_line(&format!("{reason} (needed by {})", ids.join(", ")))?;
    }
    wrong += damaged.len();
    output::print_line(&format!("{} backups verified: {wrong} files damaged or missing", backups.len()))?;
    if wrong == 0 {
        return Ok(());
    }
    let message = "the backups are damaged; remove the files that are named, and the next `spandrel backup` \
                   brings those blocks again that the server still has";
    Err(Exit { code: 1, message: message.to_owned() }.into())
}

/// The files of backups that are missing or damaged, each with the reason. The content of encrypted ones is verified by
/// the store that is to get them; without one only their frame is.
pub(super) fn damaged(
    set: &BackupSet<impl Files>,
    backups: &[Manifest],
    encryption: Option<&dyn Encryption>,
) -> Vec<(ContentHash, String)> {
    let mut needed: HashMap<ContentHash, (u64, Content)> = HashMap::new();
    for backup in backups {
        needed.extend(backup.records.map(|piece| (piece.hash, (piece.bytes, Content::Records))));
        let blocks = backup.blocks.iter();
        needed.extend(
            blocks.filter_map(|block| Some((block.hash?, (block.bytes, Content::Block(block.key.clone()))))),
        );
    }
    let progress = Progress::of_bytes("verify", needed.values().map(|(bytes, _)| bytes).sum());
    let mut damaged = Vec::new();
    for (hash, (bytes, content)) in needed {
        if let Err(reason) = verified(set, hash, content, encryption) {
            damaged.push((hash, reason));
        }
        progress.advance(bytes);
    }
    progress.finish();
    damaged
}

fn verified(
    set: &BackupSet<impl Files>,
    hash: ContentHash,
    content: Content,
    encryption: Option<&dyn Encryption>,
) -> Result<(), String> {
    let bytes = set.read(hash).map_err(|error| error.to_string())?;
    let verified = match content {
        Content::Block(key) => verify_block(&key, bytes.into(), encryption),
        Content::Records => backup::decode_records(&bytes).map(drop).map_err(|error| error.to_string()),
    };
    verified.map_err(|error| format!("{}: {error}", set.place_of(hash)))
}

fn verify_block(key: &BlockKey, bytes: Bytes, encryption: Option<&dyn Encryption>) -> Result<(), String> {
    backup::verify(bytes.clone()).map_err(|error| error.to_string())?;
    match encryption {
        Some(encryption) if is_encrypted_block(&bytes) && !encryption.is_ended(&bytes) => {
            let plain = encryption.decrypt_block(key, &bytes).map_err(|error| error.to_string())?;
            backup::verify(plain).map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}

/// The encrypted data keys that a backup has; none if it is not encrypted, or if its records are damaged.
pub(super) fn wrapped_keys(set: &BackupSet<impl Files>, backup: &Manifest) -> Vec<KeyEntry> {
    let bytes = backup.records.and_then(|records| set.read(records.hash).ok());
    let records = bytes.and_then(|bytes| backup::decode_records(&bytes).ok()).unwrap_or_default();
    backup::wrapped_keys(&records).unwrap_or_default()
}
