//! Sends requests of OTLP one after another, each until it is stored.

use std::thread::sleep;
use std::time::{Duration, Instant};

use spandrel_proto::otlp::Rejections;
use spandrel_proto::otlp::wire::{Reader, Value};
use ureq::Body;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{Response, StatusCode};

use super::spans;
use crate::commands::client::{Client, ClientError, ServerFlag};
use crate::commands::key::KeyFlag;
use crate::outgoing::TlsClientFlags;

/// A server that takes spans.
pub(super) struct Sender {
    client: Client,
    accepted: u64,
    refused: u64,
    /// Why the first ones were refused.
    reasons: Vec<String>,
}

/// Why a request is not stored, and trying again does not help.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("{0}")]
    Client(ClientError),
    #[error(
        "no server takes spans at {to} ({reason}); say with --to where its OTLP/HTTP is, and import again"
    )]
    Unreachable { to: String, reason: String },
    #[error("the server refused: {status}, {reason}")]
    Refused { status: StatusCode, reason: String },
    #[error(
        "the server took nothing for {PATIENCE:?} ({reason}); import again later: it knows what it has taken"
    )]
    Overloaded { reason: String },
}

/// What became of one attempt.
enum Attempt {
    Stored,
    /// To be sent again after this time.
    Later(Duration, String),
}

/// How long a server may ask for patience, without taking anything.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a server that has answered may be gone, as while it is restarted.
const GONE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);
/// A server may ask for more, but may have room earlier.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const REASONS: usize = 5;

// === impl Sender ===

impl Sender {
    pub(super) fn new(to: &str, tls: &TlsClientFlags, key: &KeyFlag) -> Result<Self, SendError> {
        let client = Client::new(&ServerFlag::at(to, tls, key)).map_err(|error| match error {
            ClientError::Address { server, reason } => SendError::Unreachable { to: server, reason },
            other => SendError::Client(other),
        })?;
        Ok(Self { client, accepted: 0, refused: 0, reasons: Vec::new() })
    }

    /// Spans that are stored, those of before included.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// What was refused, if anything was.
    pub(super) fn refusals(&self) -> Option<String> {
        let reasons = self.reasons.join("; ");
        (self.refused > 0).then(|| format!("refused {}: {reasons}", spans(self.refused)))
    }

    /// Counts spans that no server would take.
    pub(super) fn note_refused(&mut self, rejected: &Rejections) {
        self.refuse(rejected.count, rejected.reasons.iter().cloned());
    }

    fn refuse(&mut self, spans: u64, reasons: impl IntoIterator<Item = String>) {
        self.refused += spans;
        let room = REASONS.saturating_sub(self.reasons.len());
        self.reasons.extend(reasons.into_iter().take(room));
    }

    /// Returns when the spans of a request are stored.
    pub(super) fn send(&mut self, request: &[u8], spans: u64) -> Result<(), Box<dyn std::error::Error>> {
        let began = Instant::now();
        loop {
            match self.attempt(request, spans, began)? {
                Attempt::Stored => return Ok(()),
                Attempt::Later(after, reason) if began.elapsed() + after > PATIENCE => {
                    return Err(SendError::Overloaded { reason }.into());
                }
                Attempt::Later(after, _) => sleep(after),
            }
        }
    }

    fn attempt(&mut self, request: &[u8], spans: u64, began: Instant) -> Result<Attempt, SendError> {
        let response = match self.client.post("/v1/traces", "application/x-protobuf", request) {
            Ok(response) => response,
            // A server that never answered is not there; one that did may come back.
            Err(ClientError::Unreachable { reason, .. }) if self.accepted > 0 && began.elapsed() < GONE => {
                return Ok(Attempt::Later(PAUSE, reason));
            }
            Err(ClientError::Unreachable { server, reason }) => {
                return Err(SendError::Unreachable { to: server, reason });
            }
            Err(other) => return Err(SendError::Client(other)),
        };
        let (status, after) = (response.status(), retry_after(&response));
        let body = response.into_body().read_to_vec().unwrap_or_default();
        if status.is_success() {
            let (refused, reason) = partial_success(&body);
            self.accepted += spans.saturating_sub(refused);
            self.refuse(refused, (refused > 0).then_some(reason));
            return Ok(Attempt::Stored);
        }
        let reason = message_of(&body);
        match after {
            Some(after) => Ok(Attempt::Later(after, reason)),
            None if status == StatusCode::SERVICE_UNAVAILABLE => Ok(Attempt::Later(PAUSE, reason)),
            None => Err(SendError::Refused { status, reason }),
        }
    }
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(PAUSE, LONGEST_PAUSE))
}

/// How many spans an `ExportTraceServiceResponse` says were refused, and why.
fn partial_success(body: &[u8]) -> (u64, String) {
    let (mut refused, mut reason) = (0, String::new());
    let Some(partial) = field(body, 1) else { return (0, reason) };
    let mut reader = Reader::new(partial);
    while let Ok(Some(field)) = reader.next_field() {
        match (field.number, field.value) {
            (1, Value::Varint(number)) => refused = number,
            (2, Value::Bytes(text)) => reason = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    (refused, reason)
}

/// The text of a `google.rpc.Status`, or of what a proxy says instead.
fn message_of(body: &[u8]) -> String {
    let text = field(body, 2).unwrap_or(body);
    String::from_utf8_lossy(&text[..text.len().min(300)]).trim().to_owned()
}

fn field(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut reader = Reader::new(message);
    while let Ok(Some(field)) = reader.next_field() {
        if let (true, Value::Bytes(bytes)) = (field.number == number, field.value) {
            return Some(bytes);
        }
    }
    None
}
