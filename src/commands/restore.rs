//! `spandrel restore`: puts a backup into a data directory, ready to be served.
//!
//! Every block is verified before the first one is written, and catalog and index are rebuilt from the blocks. A
//! restore that was killed goes on where it stopped when it is run again; until then no server opens the directory.

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use spandrel_rocks::{DataDir, Durability, RocksEngine};
use spandrel_storage::StoreConfig;
use spandrel_storage::backup::{BackupBlock, BackupId, ContentHash};
use spandrel_storage::encryption::{KeyEntry, KeyError, Keyring};
use spandrel_storage::restore::{self, Existing, Restore, Restored};

use super::backup_dir;
use super::backup_inspect::{self, damaged};
use super::output;
use super::progress::Progress;
use crate::encryption::{EncryptionFlags, open_engine, open_keyring};

/// The arguments of `spandrel restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreFlags {
    /// The directory of backups
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The directory of the store; no server may be using it
    #[arg(long, env = "SPANDREL_DATA_DIR", value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// ID of the backup [default: the newest]
    #[arg(long, value_name = "ID", value_parser = backup_id)]
    backup: Option<BackupId>,
    /// First remove the present content of the store
    #[arg(long)]
    replace: bool,
    /// Restore the undamaged part of a damaged backup
    #[arg(long)]
    skip_damaged: bool,
    #[command(flatten)]
    encryption: EncryptionFlags,
}

fn backup_id(text: &str) -> Result<BackupId, String> {
    text.parse().map_err(|()| "an ID is 16 hex digits; `spandrel backup list DIR` shows them".to_owned())
}

/// The keyring of the data directory. A backup that is encrypted needs one.
fn keyring_for(flags: &RestoreFlags, wrapped: &[KeyEntry]) -> Result<Option<Arc<Keyring>>, Box<dyn Error>> {
    let keyring = open_keyring(&flags.data_dir, flags.encryption.settings().source()?)?;
    match wrapped.iter().find(|entry| entry.ended.is_none()) {
        Some(entry) if keyring.is_none() => {
            Err(format!("backup: {}", KeyError::NoMasterKey { fingerprint: entry.master.clone() }).into())
        }
        _ => Ok(keyring),
    }
}

pub(crate) fn run(flags: RestoreFlags) -> Result<(), Box<dyn Error>> {
    let set = backup_dir::open_to_read(&flags.directory)?;
    let backup = set.manifest(flags.backup)?;
    let disk = DataDir::lock(&flags.data_dir, StoreConfig::default().reserve_bytes)?;
    let wrapped = backup_inspect::wrapped_keys(&set, &backup);
    let keyring = keyring_for(&flags, &wrapped)?;
    let engine = open_engine(Arc::new(RocksEngine::open(disk, Durability::Sync)?), keyring.clone());
    let existing = if flags.replace { Existing::Replace } else { Existing::Keep };
    restore::admit(&*engine, backup.id, existing)?;
    if let Some(keyring) = keyring {
        keyring.import(&wrapped)?;
    }

    let damaged = damaged(&set, std::slice::from_ref(&backup), engine.encryption());
    damaged.iter().for_each(|(_, reason)| eprintln!("spandrel: {reason}"));
    if !damaged.is_empty() && !flags.skip_damaged {
        return Err(format!(
            "backup {} is damaged, in {} of its {} files; nothing was restored: take another with --backup, \
             or say --skip-damaged to restore the rest",
            backup.id,
            damaged.len(),
            backup.hashes().count()
        )
        .into());
    }
    let skipped: HashSet<ContentHash> = damaged.into_iter().map(|(hash, _)| hash).collect();
    let sound = |block: &&BackupBlock| block.hash.is_some_and(|hash| !skipped.contains(&hash));
    let blocks: Vec<&BackupBlock> = backup.blocks.iter().filter(sound).collect();

    let progress = Progress::of_bytes("restore", blocks.iter().map(|block| block.bytes).sum());
    let restore = Restore::begin(&*engine, backup.id, existing)?;
    if let Some(records) = backup.records.filter(|records| !skipped.contains(&records.hash)) {
        restore.put_records(&set.read(records.hash)?)?;
    }
    let mut ended = 0;
    for block in &blocks {
        if let Some(hash) = block.hash.filter(|_| !restore.has(&block.key)) {
            let restored = restore.put(&block.key, set.read(hash)?.into())?;
            ended += usize::from(restored == Restored::Ended);
        }
        progress.advance(block.bytes);
    }
    let others: Result<Vec<_>, _> = set.ids()?.into_iter().map(|id| set.manifest(Some(id))).collect();
    restore.finish(&others.unwrap_or_else(|_| vec![backup.clone()]))?;
    progress.finish();

    let spans: u64 = blocks.iter().map(|block| u64::from(block.spans)).sum();
    let oldest = blocks.iter().map(|block| u64::from(block.key.hour.0)).min().unwrap_or(0);
    output::print_line(&format!(
        "restored backup {} of {}: {spans} spans in {} blocks; `spandrel serve --data-dir {}` serves them \
         (its --retention counts from their first arrival, {})",
        backup.id,
        output::date_time(backup.taken.0),
        blocks.len(),
        flags.data_dir.display(),
        output::date_time(oldest * 3_600_000_000_000),
    ))?;
    if ended > 0 {
        output::print_line(&format!("left out {ended} blocks, whose data key was deleted"))?;
    }
    let missing = skipped.len() + backup.lost.len();
    if missing > 0 {
        return Err(format!("{missing} files that were damaged are not in the store").into());
    }
    Ok(())
}
