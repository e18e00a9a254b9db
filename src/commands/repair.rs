//! `spandrel repair`: puts all that can be read of a damaged store into a new one, which takes its place.
//!
//! Exit code 0: everything was read. 1: something is damaged or lost, and is named. 2: nothing was done.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use spandrel_rocks::{DataDir, RepairStart, RocksEngine, RocksRepair, RocksRepairError};
use spandrel_storage::encryption::{EncryptedEngine, EncryptedSalvage};
use spandrel_storage::repair::{self, DamagedBlock, RepairProgress, RepairReport};
use spandrel_storage::{Engine, StoreConfig};

use super::Exit;
use super::check::{Format, place};
use super::output;
use super::progress::Progress;
use crate::encryption::{EncryptionFlags, open_keyring};

/// The arguments of `spandrel repair`.
#[derive(Debug, Args)]
pub(crate) struct RepairFlags {
    /// The directory of the store; no server may be using it
    #[arg(long, env = "SPANDREL_DATA_DIR", value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    #[command(flatten)]
    encryption: EncryptionFlags,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    /// `None` if an earlier repair was interrupted and only its last step was left.
    #[serde(flatten)]
    report: Option<RepairReport>,
    damaged_store: PathBuf,
}

const NOT_WHOLE: u8 = 1;
const NOT_REPAIRED: u8 = 2;

pub(crate) fn run(flags: &RepairFlags) -> Result<(), Box<dyn Error>> {
    let done = of_directory(&flags.data_dir, &flags.encryption)
        .map_err(|error| Exit { code: NOT_REPAIRED, message: format!("nothing was repaired: {error}") })?;
    match flags.format {
        Format::Text => tell(&done)?,
        Format::Json => output::print_line(&serde_json::to_string_pretty(&done)?)?,
    }
    match done.report {
        Some(report) if report.is_whole() => Ok(()),
        Some(_) => Err(not_whole(
            "not everything of the damaged store is in the new one; `spandrel restore` brings back what a backup has",
        )),
        None => Err(not_whole(
            "what the repair could not read was not told; `spandrel check` says what is damaged",
        )),
    }
}

fn not_whole(message: &str) -> Box<dyn Error> {
    Exit { code: NOT_WHOLE, message: message.to_owned() }.into()
}

fn of_directory(directory: &Path, encryption: &EncryptionFlags) -> Result<Done, Box<dyn Error>> {
    if !RocksEngine::exists(directory) {
        return Err(RocksRepairError::NoStore(directory.to_owned()).into());
    }
    let disk = DataDir::lock(directory, StoreConfig::default().reserve_bytes)?;
    let keyring = open_keyring(directory, encryption.settings().source()?)?;
    let repair = match RocksRepair::begin(disk)? {
        RepairStart::Repair(repair) => repair,
        RepairStart::Finished(damaged_store) => return Ok(Done { report: None, damaged_store }),
    };
    let mut bar = None;
    let mut watch = |now: &RepairProgress| {
        bar.get_or_insert_with(|| Progress::of_bytes("repair", now.of_bytes)).set(now.bytes);
    };
    let (source, target, reserve) = (&repair.source, &repair.target, repair.reserve_bytes());
    let filled = match keyring {
        None => repair::repair(source, target, reserve, &mut watch),
        Some(keyring) => {
            let source = EncryptedSalvage::new(source, keyring.clone());
            let target: &dyn Engine = target;
            repair::repair(&source, &EncryptedEngine::new(target, keyring), reserve, &mut watch)
        }
    };
    bar.iter().for_each(Progress::finish);
    match filled {
        Ok(report) => Ok(Done { report: Some(report), damaged_store: repair.finish()? }),
        Err(error) => {
            repair.give_up();
            Err(error.into())
        }
    }
}

fn tell(done: &Done) -> std::io::Result<()> {
    match &done.report {
        Some(report) => tell_report(report)?,
        None => output::print_line(
            "a repair was interrupted when the new store was complete, and is finished now",
        )?,
    }
    output::print_line(&format!(
        "the new store is in use; the old one is kept in {}: remove it once it is no longer needed, since it \
         takes room, and holds also what is deleted from now on",
        done.damaged_store.display()
    ))
}

fn tell_report(report: &RepairReport) -> std::io::Result<()> {
    output::print_line(&format!(
        "the new store has {} spans in {} blocks, {}; catalog and index are rebuilt",
        report.span_count,
        report.block_count,
        output::bytes(report.byte_count),
    ))?;
    let follows = "what can be read of it is served, and answers say that they are partial";
    tell_blocks("damaged", report.damaged_block_count, &report.damaged_blocks, follows)?;
    tell_blocks("lost", report.lost_block_count, &report.lost_blocks, "it is not in the new store")?;
    if report.more_may_be_lost {
        output::print_line("lost: perhaps more blocks, of which not even the names can be read")?;
    }
    if report.wal_truncated {
        output::print_line(
            "log: its end was damaged, and is cut off; after a power loss that is harmless, otherwise acknowledged \
             spans may be missing",
        )?;
    }
    if report.is_whole() { output::print_line("everything was read, and nothing is lost") } else { Ok(()) }
}

fn tell_blocks(kind: &str, count: u64, blocks: &[DamagedBlock], follows: &str) -> std::io::Result<()> {
    for DamagedBlock { tenant, hour, block, span_count, detail } in blocks {
        let spans = span_count.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        let place = place(block, tenant, *hour);
        output::print_line(&format!("{kind}: a block of {spans} spans{place}: {detail}; {follows}"))?;
    }
    match count - blocks.len() as u64 {
        0 => Ok(()),
        more => output::print_line(&format!("{kind}: and {more} more")),
    }
}
