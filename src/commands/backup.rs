//! `spandrel backup`: fetches the blocks of a running server into a directory of backups.
//!
//! Backups are incremental: blocks that an earlier backup or an interrupted one has fetched are not fetched again. Each
//! block is verified when it arrives; the manifest that makes it a backup comes last. `spandrel_storage::backup`
//! decides which files it keeps, and writes them in an order that a kill cannot harm.

use std::error::Error;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use spandrel_query::answers::BackupRequest;
use spandrel_storage::backup::{self, Arrived, BackupId, ContentHash, Manifest};
use spandrel_storage::{Clock as _, SystemClock};
use ureq::http::Method;

use super::client::{Client, ClientError, ServerFlag};
use super::output;
use super::progress::Progress;
use super::{backup_dir, backup_inspect};

/// The arguments of `spandrel backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupFlags {
    #[command(subcommand)]
    action: Option<Action>,
    /// The directory of backups; created if it is missing
    #[arg(value_name = "DIR", required = true)]
    directory: Option<PathBuf>,
    #[command(flatten)]
    server: ServerFlag,
    /// Number of backups to keep; older ones are removed once this one is complete
    #[arg(long, value_name = "N", default_value = "7")]
    keep: NonZeroUsize,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the backups in a directory
    List {
        /// The directory of backups
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Read every block of every backup in a directory, and report what is damaged or missing
    Verify {
        /// The directory of backups
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Blocks that the directory did not have yet.
#[derive(Default)]
struct Fetched {
    blocks: usize,
    bytes: u64,
}

/// The buffer of the stream from the server.
const READ_BYTES: usize = 1 << 20;

pub(crate) fn run(flags: BackupFlags) -> Result<(), Box<dyn Error>> {
    match (flags.action, flags.directory) {
        (Some(Action::List { directory }), _) => backup_inspect::list(&directory),
        (Some(Action::Verify { directory }), _) => backup_inspect::verify(&directory),
        (None, Some(directory)) => take(&directory, &flags.server, flags.keep.get()),
        (None, None) => Err("which directory?".into()),
    }
}

// === taking a backup ===

fn take(directory: &Path, server: &ServerFlag, keep: usize) -> Result<(), Box<dyn Error>> {
    let client = Client::new(server)?;
    let mut set = backup_dir::open_to_write(directory)?;
    let begun = set.begin(SystemClock.now())?;
    let have = begun.have.iter().map(ContentHash::to_string).collect();
    let body = serde_json::to_vec(&BackupRequest { id: Some(begun.id.to_string()), have })?;
    let answer = client.send(Method::POST, "/api/v1/backups", &[], Some(body))?;

    let (mut progress, mut fetched) = (Progress::hidden(), Fetched::default());
    let stream = BufReader::with_capacity(READ_BYTES, answer.reader());
    let backup = backup::receive(&mut set, begun.id, stream, &mut |arrived| match arrived {
        Arrived::Begin(bytes) => progress = Progress::of_bytes("backup", bytes),
        Arrived::Kept(bytes) => progress.advance(bytes),
        Arrived::Fetched(bytes) => {
            fetched.blocks += 1;
            fetched.bytes += bytes;
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
    report(&backup, &fetched, removed)
}

/// Tells the server that a backup is removed, so that deletions do not report it any more.
fn forget(client: &Client, id: BackupId) {
    match client.send(Method::DELETE, &format!("/api/v1/backups/{id}"), &[], None) {
        Ok(_) | Err(ClientError::Refused { status: 404, .. }) => {}
        Err(error) => eprintln!("spandrel: the server still lists backup {id}, which is gone: {error}"),
    }
}

fn report(backup: &Manifest, fetched: &Fetched, removed: usize) -> Result<(), Box<dyn Error>> {
    let Fetched { blocks, bytes } = *fetched;
    output::print_line(&format!(
        "backup {}: {} spans in {} blocks, {}; fetched {blocks} blocks, {}, removed {removed} older backups",
        backup.id,
        backup.spans(),
        backup.blocks.len(),
        output::bytes(backup.bytes()),
        output::bytes(bytes),
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
