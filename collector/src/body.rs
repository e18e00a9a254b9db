//! Reads a request's body: within a time, within a size, and within what memory allows.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::budget::Reservation;
use crate::config::IngestLimits;
use crate::refusal::Refusal;

/// Memory reserved on a body's declared length alone; a longer body has to arrive first.
const MAX_BELIEVED: usize = 1 << 20;

/// Reads the whole body. A body of one piece is not copied.
pub(crate) async fn read(
    body: &mut Body,
    declared: Option<usize>,
    max: usize,
    limits: &IngestLimits,
    held: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::TooLarge { limit: "maxRequestBytes", max: limits.max_request_bytes };
    if declared.is_some_and(|declared| declared > max) {
        return Err(too_large());
    }
    let read = async {
        let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
        while let Some(piece) = next_piece(body).await? {
            let length = first.len() + joined.len() + piece.len();
            if length > max {
                return Err(too_large());
            }
            held.grow(piece.len())?;
            if length == piece.len() {
                first = piece;
                continue;
            }
            if joined.is_empty() {
                joined.reserve(declared.unwrap_or(0).min(MAX_BELIEVED).max(length));
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&piece);
        }
        Ok(if joined.is_empty() { first } else { joined.freeze() })
    };
    timeout(limits.body_timeout, read).await.unwrap_or(Err(Refusal::BodyTimeout(limits.body_timeout)))
}

/// Reads the rest of a body and drops it, for senders that read no response before they have sent everything. Stops
/// after `within`.
pub(crate) async fn discard(mut body: Body, within: Duration) {
    let read = async { while let Ok(Some(_)) = next_piece(&mut body).await {} };
    // The response is sent even if the body did not end.
    let _ = timeout(within, read).await;
}

/// Reads a body and drops it piece by piece; returns its length.
pub(crate) async fn measure(mut body: Body, limits: &IngestLimits) -> Result<usize, Refusal> {
    let read = async {
        let mut length = 0;
        while let Some(piece) = next_piece(&mut body).await? {
            length += piece.len();
            if length > limits.max_request_bytes {
                return Err(Refusal::TooLarge { limit: "maxRequestBytes", max: limits.max_request_bytes });
            }
        }
        Ok(length)
    };
    timeout(limits.body_timeout, read).await.unwrap_or(Err(Refusal::BodyTimeout(limits.body_timeout)))
}

async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::BrokenOff(error.to_string()))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}
