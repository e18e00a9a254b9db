//! `spandrel backup`: brings the blocks of a running server into a directory of backups.
//!
//! Incremental: what an earlier backup, or one that was killed, has brought is not fetched again. Each
//! block is verified when it arrives; the manifest that makes it a backup comes last. What is kept and in
//! which order it is written is decided in `spandrel_storage::backup`.

use std::error::Error;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use spandrel_storage::backup::{self, Arrived, BackupId, ContentHash, Manifest};
use spandrel_storage::{Clock as _, SystemClock};
use ureq::http::Method;

use super::client::{Client, ClientError, ServerFlag};
use super::progress::{self, Progress};
use super::{backup_files, backup_view};

/// What `spandrel backup` can be given.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupFlags {
    #[command(subcommand)]
    action: Option<Action>,
    /// The directory of backups; made if it is missing
    #[arg(value_name = "DIR", required = true)]
    directory: Option<PathBuf>,
    #[command(flatten)]
    server: ServerFlag,
    /// Keep so many backups; older ones are removed once this one is complete
    #[arg(long, value_name = "N", default_value = "7")]
    keep: NonZeroUsize,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the backups in a directory
    List {
        /// The directory of backups
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Read every block of every backup in a directory, and say what is damaged or missing
    Verify {
        /// The directory of backups
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Bytes of a block that are read at once.
const PIECE: usize = 1 << 20;

/// Runs the command.
pub(crate) fn run(flags: BackupFlags) -> Result<(), Box<dyn Error>> {
    match (flags.action, flags.directory) {
        (Some(Action::List { directory }), _) => backup_view::list(&directory),
        (Some(Action::Verify { directory }), _) => backup_view::verify(&directory),
        (None, Some(directory)) => take(&directory, &flags.server, flags.keep.get()),
        (None, None) => Err("which directory?".into()),
    }
}

// === taking a backup ===

fn take(directory: &Path, server: &ServerFlag, keep: usize) -> Result<(), Box<dyn Error>> {
    let client = Client::new(server)?;
    let mut set = backup_files::open_to_write(directory)?;
    let begun = set.begin(SystemClock.now())?;
    let have: Vec<String> = begun.have.iter().map(ContentHash::to_string).collect();
    let body = serde_json::to_vec(&serde_json::json!({ "id": begun.id.to_string(), "have": have }))?;
    let answer = client.send(Method::POST, "/api/v1/backups", &[], Some(body))?;

    let (mut progress, mut fetched) = (Progress::hidden(), (0, 0));
    let stream = BufReader::with_capacity(PIECE, answer.reader());
    let backup = backup::receive(&mut set, begun.id, stream, &mut |arrived| match arrived {
        Arrived::Begin(bytes) => progress = Progress::of_bytes("backup", bytes),
        Arrived::Kept(bytes) => progress.advance(bytes),
        Arrived::Fetched(bytes) => {
            fetched = (fetched.0 + 1, fetched.1 + bytes);
            progress.advance(bytes);
        }
    })?;
    set.complete(&backup)?;
    progress.finish();
    let removed = set.keep(keep).unwrap_or_else(|error| {
        eprintln!("spandrel: the backup is complete; nothing old was removed: {error}");
        0
    });
    for id in set.forgettable()? {
        forget(&client, id);
    }
    set.end()?;
    report(&backup, fetched, removed)
}

/// Tells the server that a backup is no more: deletions need not report it.
fn forget(client: &Client, id: BackupId) {
    match client.send(Method::DELETE, &format!("/api/v1/backups/{id}"), &[], None) {
        Ok(_) | Err(ClientError::Refused { status: 404, .. }) => {}
        Err(error) => eprintln!("spandrel: the server still lists backup {id}, which is gone: {error}"),
    }
}

fn report(backup: &Manifest, fetched: (usize, u64), removed: usize) -> Result<(), Box<dyn Error>> {
    let (blocks, bytes) = fetched;
    progress::say(&format!(
        "backup {}: {} spans in {} blocks, {}; fetched {blocks} blocks, {}, removed {removed} older backups",
        backup.id,
        backup.spans(),
        backup.blocks.len(),
        progress::bytes(backup.bytes()),
        progress::bytes(bytes),
    ))?;
    if backup.lost.is_empty() {
        return Ok(());
    }
    for lost in &backup.lost {
        eprintln!(
            "spandrel: block {} of window {} is not in the backup: {}",
            lost.key.block.0, lost.key.hour.0, lost.reason
        );
    }
    let count = backup.lost.len();
    Err(format!(
        "{count} damaged blocks of the server are not in the backup; `spandrel check --server` says more"
    )
    .into())
}
