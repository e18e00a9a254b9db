//! `/api/v1/backups`: takes a backup and streams it to the client, lists those taken, forgets one.
//!
//! The stream is described in `spandrel_storage::backup`. What the client keeps, and where, is its own
//! business; it says which blocks it has, and those are named and not sent.

use std::collections::HashSet;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get};
use serde::{Deserialize, Serialize};
use spandrel_storage::backup::{BackupId, ContentHash, Manifest, StreamWriter};
use spandrel_storage::{BackupError, ReceiverGone, Safekeeping, TraceStore};

use super::{Answer, json, part};
use crate::params::Params;
use crate::problem::Problem;
use crate::run::{Output, Stop};
use crate::state::QueryState;

const STREAM: &str = "application/vnd.spandrel.backup";
/// Hashes of half a million blocks.
const MAX_BODY: usize = 32 << 20;
/// Bytes of a block that are written at once.
const PIECE: usize = 256 << 10;

/// What the client says of the backup.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    /// What it shall be called.
    id: Option<String>,
    /// Hashes of blocks that need not be sent.
    have: Vec<String>,
}

#[derive(Serialize)]
struct Backups {
    backups: Vec<Backup>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Backup {
    id: String,
    taken_unix_nano: String,
    block_count: usize,
    span_count: u64,
    byte_count: u64,
    lost_block_count: usize,
}

/// `/backups`.
pub(super) fn all() -> MethodRouter<QueryState> {
    get(list).post(take).layer(DefaultBodyLimit::max(MAX_BODY))
}

/// `/backups/{backupId}`.
pub(super) fn one() -> MethodRouter<QueryState> {
    delete(forget)
}

async fn take(State(state): State<QueryState>, uri: Uri, body: Result<Bytes, BytesRejection>) -> Answer {
    Params::parse(&uri, &[])?;
    let body = body.map_err(|error| Problem::parameter("body", error.body_text()))?;
    let (id, have) = wish(&body)?;
    let store = state.store();
    let write = move |out: &mut Output| {
        let mut stop: Result<(), Stop> = Ok(());
        let mut pass_on = |bytes: &[u8]| {
            stop = bytes.chunks(PIECE).try_for_each(|piece| {
                out.buffer.extend_from_slice(piece);
                out.spill()
            });
            stop.is_ok().then_some(()).ok_or(ReceiverGone)
        };
        let mut writer = StreamWriter::new(&mut pass_on, |hash| have.contains(&hash));
        let taken = safekeeping(&*store)?.back_up(id, &mut writer);
        let taken = taken.and_then(|()| Ok(writer.end()?));
        match (taken, stop) {
            (_, Err(stop)) => Err(stop),
            (Err(error), Ok(())) => Err(unusable(&error).into()),
            (Ok(()), Ok(())) => Ok(()),
        }
    };
    state.runner().stream(STREAM, write).await
}

fn wish(body: &[u8]) -> Result<(Option<BackupId>, HashSet<ContentHash>), Problem> {
    if body.is_empty() {
        return Ok((None, HashSet::new()));
    }
    let wish: Wish = serde_json::from_slice(body).map_err(|error| Problem::parameter("body", error))?;
    let id = wish.id.map(|text| hex("id", &text, "16 lower-case hex digits")).transpose()?;
    let have = wish.have.iter().map(|text| hex("have", text, "32 lower-case hex digits"));
    Ok((id, have.collect::<Result<_, _>>()?))
}

fn hex<T: FromStr>(name: &str, text: &str, allowed: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::parameter(name, format!("{text:?} is not {allowed}")).allowing(allowed))
}

async fn list(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let backups = state.ask(|store| safekeeping(store)?.backups().map_err(|e| unusable(&e))).await?;
    json(&Backups { backups: backups.iter().map(Backup::of).collect() })
}

async fn forget(
    State(state): State<QueryState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Params::parse(&uri, &[])?;
    let id: BackupId = hex("backupId", &part("backupId", path)?, "16 lower-case hex digits")?;
    let known = state
        .ask(move |store| safekeeping(store)?.forget_backup(id).map_err(|error| unusable(&error)))
        .await?;
    match known {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::not_found(format!("no backup {id} is known; GET /api/v1/backups lists them"))),
    }
}

/// The part of the store that takes backups and checks.
pub(super) fn safekeeping(store: &dyn TraceStore) -> Result<&dyn Safekeeping, Problem> {
    store.safekeeping().ok_or_else(|| Problem::not_found("this store takes no backups and has no checks"))
}

fn unusable(error: &BackupError) -> Problem {
    if matches!(error, BackupError::Known(_)) {
        return Problem::parameter("id", error);
    }
    tracing::error!(%error, "a backup failed");
    Problem::unreadable(format!("{error}; look at the log of the server, then try again"))
}

// === impl Backup ===

impl Backup {
    fn of(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id.to_string(),
            taken_unix_nano: manifest.taken.0.to_string(),
            block_count: manifest.blocks.len(),
            span_count: manifest.spans(),
            byte_count: manifest.bytes(),
            lost_block_count: manifest.lost.len(),
        }
    }
}
