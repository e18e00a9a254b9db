//! `/api/v1/backups`: takes a backup and streams it to the client, lists the remembered backups, forgets one.
//!
//! `spandrel_storage::backup` describes the stream. The client decides what it keeps and where: it sends the hashes of
//! the blocks that it has, and the stream names those without their bytes.

use std::collections::HashSet;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get};
use spandrel_storage::backup::{BackupId, ContentHash, Manifest, StreamWriter};
use spandrel_storage::{BackupError, Backups, ReceiverGone, TraceStore};

use super::handler::{Answer, json, json_object, part};
use crate::answers::{BackupList, BackupRequest, BackupSummary};
use crate::executor::{Output, StreamError};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;

const STREAM: &str = "application/vnd.spandrel.backup";
/// Room for the hashes of half a million blocks.
const MAX_BODY: usize = 32 << 20;
/// Blocks are written in pieces of this size, so that a large block does not fill the buffer.
const WRITE_BYTES: usize = 256 << 10;

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
    let (id, have) = backup_request(&body)?;
    let store = state.store();
    let write = move |out: &mut Output| {
        let mut stop: Result<(), StreamError> = Ok(());
        let mut send_bytes = |bytes: &[u8]| {
            stop = bytes.chunks(WRITE_BYTES).try_for_each(|chunk| {
                out.buffer.extend_from_slice(chunk);
                out.spill()
            });
            stop.is_ok().then_some(()).ok_or(ReceiverGone)
        };
        let mut writer = StreamWriter::new(&mut send_bytes, |hash| have.contains(&hash));
        let taken = backups(&*store)?.back_up(id, &mut writer);
        let taken = taken.and_then(|()| Ok(writer.end()?));
        match (taken, stop) {
            (_, Err(stop)) => Err(stop),
            (Err(error), Ok(())) => Err(unusable(&error).into()),
            (Ok(()), Ok(())) => Ok(()),
        }
    };
    state.stream(STREAM, write).await
}

fn backup_request(body: &[u8]) -> Result<(Option<BackupId>, HashSet<ContentHash>), Problem> {
    if body.is_empty() {
        return Ok((None, HashSet::new()));
    }
    let request: BackupRequest = json_object(body).map_err(|error| Problem::parameter("body", error))?;
    let id = request.id.map(|text| hex("id", &text, "16 lower-case hex digits")).transpose()?;
    let have = request.have.iter().map(|text| hex("have", text, "32 lower-case hex digits"));
    Ok((id, have.collect::<Result<_, _>>()?))
}

fn hex<T: FromStr>(name: &str, text: &str, allowed: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::parameter(name, format!("{text:?} is not {allowed}")).allowing(allowed))
}

async fn list(State(state): State<QueryState>, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let backups = state.run_query(|store| backups(store)?.backups().map_err(|e| unusable(&e))).await?;
    json(&BackupList { backups: backups.iter().map(BackupSummary::from).collect() })
}

async fn forget(
    State(state): State<QueryState>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Params::parse(&uri, &[])?;
    let id: BackupId = hex("backupId", &part("backupId", path)?, "16 lower-case hex digits")?;
    let known = state
        .run_query(move |store| backups(store)?.forget_backup(id).map_err(|error| unusable(&error)))
        .await?;
    match known {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::not_found(format!("no backup {id} is known; GET /api/v1/backups lists them"))),
    }
}

fn backups(store: &dyn TraceStore) -> Result<&dyn Backups, Problem> {
    store.as_backups().ok_or_else(|| Problem::not_found("this store takes no backups"))
}

fn unusable(error: &BackupError) -> Problem {
    if matches!(error, BackupError::Known(_)) {
        return Problem::conflict(error.to_string());
    }
    tracing::error!(%error, "a backup failed");
    Problem::unreadable(format!("{error}; look at the log of the server, then try again"))
}

// === impl BackupSummary ===

impl From<&Manifest> for BackupSummary {
    fn from(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id.to_string(),
            taken_unix_nano: manifest.taken.0.to_string(),
            block_count: manifest.blocks.len() as u64,
            span_count: manifest.spans(),
            byte_count: manifest.bytes(),
            lost_block_count: manifest.lost.len() as u64,
        }
    }
}
