//! `spandrel backup`: brings the blocks of a running server into a directory of backups.
//!
//! Incremental: what an earlier backup, or one that was killed, has brought is not fetched again. Each
//! block is verified when it arrives; the manifest that makes it a backup comes last.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use spandrel_storage::backup::{
    BackupBlock, BackupId, ContentHash, LostBlock, Manifest, Piece, StreamLine, verify,
};
use ureq::http::Method;

use super::backup_set::{BackupSet, SetError};
use super::backup_view;
use super::client::{Client, ClientError, ServerFlag};
use super::progress::{self, Progress};

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

/// A backup that is coming in.
struct Incoming<'s, R> {
    set: &'s mut BackupSet,
    stream: BufReader<R>,
    manifest: Manifest,
    /// Blocks fetched, and their bytes.
    fetched: (usize, u64),
    progress: Progress,
}

/// Why a backup did not become one. What has arrived is kept for the next run.
#[derive(Debug, thiserror::Error)]
enum IncomingError {
    #[error("the connection broke off ({0}); run the command again, it goes on from here")]
    CutShort(String),
    #[error("the server sent what is no backup ({0}); is it a spandrel of the same version?")]
    Nonsense(String),
    #[error("block {0} arrived with other bytes than were sent; run the command again")]
    Altered(ContentHash),
    #[error(transparent)]
    Set(#[from] SetError),
}

/// A line of the stream is not longer; what is would be no line.
const MAX_LINE: u64 = 64 << 10;
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
    let mut set = BackupSet::open_to_write(directory)?;
    let known = sizes(&set);
    let here = set.blocks()?;
    // A file of another length than a manifest says is damaged: it is fetched again.
    let have: Vec<String> = here
        .iter()
        .filter(|(hash, length)| known.get(*hash).is_none_or(|known| known == *length))
        .map(|(hash, _)| hash.to_string())
        .collect();
    let given_up = set.pending();
    // Named before anybody else knows of it: whenever this is killed, the server can be told.
    let id = next_id(&set, &given_up)?;
    set.set_pending(&[given_up.as_slice(), &[id]].concat())?;
    let body = serde_json::to_vec(&serde_json::json!({ "id": id.to_string(), "have": have }))?;
    let answer = match client.send(Method::POST, "/api/v1/backups", &[], Some(body)) {
        Ok(answer) => answer,
        Err(error) => {
            set.set_pending(&given_up)?;
            return Err(error.into());
        }
    };
    let mut incoming = Incoming {
        set: &mut set,
        stream: BufReader::with_capacity(PIECE, answer.reader()),
        manifest: Manifest::new(id, Default::default()),
        fetched: (0, 0),
        progress: Progress::hidden(),
    };
    incoming.receive()?;
    let Incoming { manifest, fetched, progress, .. } = incoming;
    progress.finish();
    set.put_manifest(&manifest)?;
    let removed = remove_old(&set, keep)?;
    // One may have been killed when it was complete but for a last step.
    let kept = set.ids()?;
    let given_up = given_up.into_iter().filter(|id| !kept.contains(id));
    for id in removed.iter().copied().chain(given_up) {
        forget(&client, id);
    }
    set.set_pending(&[])?;
    report(&manifest, fetched, removed.len())
}

/// Later than every backup that is here, or was to be.
fn next_id(set: &BackupSet, given_up: &[BackupId]) -> Result<BackupId, SetError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let latest = set.ids()?.iter().chain(given_up).max().map_or(0, |id| id.0);
    Ok(BackupId((now.as_nanos() as u64).max(latest.saturating_add(1))))
}

/// How long blocks are, as far as the manifests can be read.
fn sizes(set: &BackupSet) -> HashMap<ContentHash, u64> {
    let manifests = set.ids().unwrap_or_default().into_iter().filter_map(|id| set.manifest(Some(id)).ok());
    manifests.flat_map(|backup| backup.blocks).filter_map(|block| Some((block.hash?, block.bytes))).collect()
}

/// Removes all but the newest backups, and the blocks that none has any more.
fn remove_old(set: &BackupSet, keep: usize) -> Result<Vec<BackupId>, SetError> {
    let ids = set.ids()?;
    let (old, kept) = ids.split_at(ids.len().saturating_sub(keep));
    let mut blocks: HashSet<ContentHash> = HashSet::new();
    for id in kept {
        match set.manifest(Some(*id)) {
            Ok(backup) => blocks.extend(backup.hashes()),
            Err(error) => {
                // Nobody knows which blocks it has: none is removed.
                eprintln!("spandrel: nothing old is removed, since a backup cannot be read: {error}");
                return Ok(Vec::new());
            }
        }
    }
    for id in old {
        set.remove_manifest(*id)?;
    }
    set.remove_blocks_but(&blocks)?;
    Ok(old.to_vec())
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

// === impl Incoming ===

impl<R: Read> Incoming<'_, R> {
    fn receive(&mut self) -> Result<(), IncomingError> {
        match self.line()? {
            StreamLine::Begin => {}
            other => return Err(IncomingError::Nonsense(other.to_string())),
        }
        loop {
            match self.line()? {
                StreamLine::Id(id) if id == self.manifest.id => {}
                StreamLine::Id(id) => return Err(IncomingError::Nonsense(format!("another backup, {id}"))),
                StreamLine::Taken(at) => self.manifest.taken = at,
                StreamLine::Expect(_, bytes, _) => self.progress = Progress::of_bytes("backup", bytes),
                StreamLine::Records(piece) => self.fetch_records(piece)?,
                StreamLine::Have(block) => self.keep(block),
                StreamLine::Send(block) => self.fetch(block)?,
                StreamLine::Lost(block) => self.manifest.lost.push(block),
                StreamLine::End => return Ok(()),
                StreamLine::Begin => return Err(IncomingError::Nonsense("a second beginning".to_owned())),
            }
        }
    }

    fn line(&mut self) -> Result<StreamLine, IncomingError> {
        let mut line = String::new();
        let read = self.stream.by_ref().take(MAX_LINE).read_line(&mut line);
        read.map_err(|error| IncomingError::CutShort(error.to_string()))?;
        match line.strip_suffix('\n') {
            Some(line) => line.parse().map_err(|error| IncomingError::Nonsense(format!("{error}"))),
            None => Err(IncomingError::CutShort("the stream has no end".to_owned())),
        }
    }

    fn keep(&mut self, block: BackupBlock) {
        self.progress.advance(block.bytes);
        self.manifest.blocks.push(block);
    }

    fn fetch_records(&mut self, piece: Piece) -> Result<(), IncomingError> {
        let bytes = self.bytes(piece.bytes)?;
        if Piece::of(&bytes) != piece {
            return Err(IncomingError::Altered(piece.hash));
        }
        self.set.put(piece.hash, &bytes)?;
        self.manifest.records = Some(piece);
        Ok(())
    }

    fn fetch(&mut self, block: BackupBlock) -> Result<(), IncomingError> {
        let hash = block.hash.ok_or_else(|| IncomingError::Nonsense("a block without hash".to_owned()))?;
        let bytes = self.bytes(block.bytes)?;
        if ContentHash::of(&bytes) != hash {
            return Err(IncomingError::Altered(hash));
        }
        // The bytes are those that the server has; whether they are a block is another question.
        if let Err(error) = verify(bytes.clone().into()) {
            self.progress.advance(block.bytes);
            self.manifest.lost.push(LostBlock { key: block.key, reason: error.to_string() });
            return Ok(());
        }
        self.set.put(hash, &bytes)?;
        self.fetched = (self.fetched.0 + 1, self.fetched.1 + block.bytes);
        self.keep(block);
        Ok(())
    }

    /// Memory grows with what arrives, not with what was announced.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, IncomingError> {
        let mut bytes = Vec::new();
        let read = self.stream.by_ref().take(length).read_to_end(&mut bytes);
        match read {
            Ok(read) if read as u64 == length => Ok(bytes),
            Ok(_) => Err(IncomingError::CutShort("in the middle of a block".to_owned())),
            Err(error) => Err(IncomingError::CutShort(error.to_string())),
        }
    }
}
