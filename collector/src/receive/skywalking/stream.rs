//! `TraceSegmentReportService/collect`: a stream of segments that may stay open for as long as the sender lives.
//!
//! Segments are stored while the stream goes on: those that have arrived become one request, and the next ones are read
//! once it is durable. Agents send nothing twice, so a request that may succeed later is tried again here; meanwhile
//! the window of the stream fills, and the agent's own queue holds what comes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use spandrel_proto::Caller;
use spandrel_proto::otlp::wire::{put_bytes, varint_length};
use tokio::time::{Instant, sleep, timeout};

use crate::budget::Reservation;
use crate::encoding::Encoding;
use crate::intake::{Intake, Payload};
use crate::receive::exchange::caller;
use crate::receive::{plain, unary};
use crate::refusal::Refusal;
use crate::route::Route;

/// How often a stream on which nothing comes looks whether the server stops.
const LOOK: Duration = Duration::from_millis(200);
/// The longest pause before a request is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// The compressed flag and the length before each message.
const PREFIX: usize = 5;

/// The bytes of a stream as they come.
pub(super) struct Pieces {
    body: Body,
}

/// A stream and what has arrived of it.
struct Stream<'i> {
    sink: Sink<'i>,
    encoding: Encoding,
    pieces: Pieces,
    buffer: BytesMut,
    held: Reservation,
}

/// Where the messages of a stream go.
struct Sink<'i> {
    intake: &'i Intake,
    caller: Caller,
}

/// Messages that are stored together.
struct Run {
    messages: Vec<Bytes>,
    encoding: Encoding,
}

/// Takes all of a stream, and returns when it has ended and what it brought is durable.
pub(super) async fn take(intake: &Intake, request: Request) -> Result<(), Refusal> {
    let (parts, body) = request.into_parts();
    let encoding = Encoding::from_headers(&parts.headers, unary::GRPC_ENCODING).map_err(Refusal::Encoding)?;
    let caller = caller(&parts);
    let held = intake.budget.reserve(caller.tenants.first());
    let pieces = Pieces::of(body);
    let mut stream =
        Stream { sink: Sink { intake, caller }, encoding, pieces, buffer: BytesMut::new(), held };
    // What is wrong with single segments is said at the end: the others must not be lost with them.
    let mut flaw = None;
    loop {
        while let Some(run) = stream.next_run()? {
            if let Err(refusal) = stream.store(run).await {
                match refusal {
                    Refusal::Malformed(_) => drop(flaw.get_or_insert(refusal)),
                    _ => return Err(refusal),
                }
            }
        }
        if !stream.read().await? {
            return flaw.map_or(Ok(()), Err);
        }
    }
}

// === impl Pieces ===

impl Pieces {
    pub(super) fn of(body: Body) -> Self {
        Self { body }
    }

    /// The next bytes; `None` at the end of the stream, and when the server stops.
    pub(super) async fn next(&mut self, intake: &Intake) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Ok(frame) = timeout(LOOK, self.body.frame()).await else {
                if intake.draining.load(Ordering::SeqCst) {
                    return Ok(None);
                }
                continue;
            };
            match frame.transpose().map_err(|error| Refusal::BrokenOff(error.to_string()))? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}

// === impl Stream ===

impl Stream<'_> {
    /// Reads more; false at the end.
    async fn read(&mut self) -> Result<bool, Refusal> {
        let within = self.sink.intake.limits.body_timeout;
        let next = self.pieces.next(self.sink.intake);
        // Between messages a stream may be silent for ever; inside one it may not.
        let piece = match self.buffer.is_empty() {
            true => next.await?,
            false => timeout(within, next).await.unwrap_or(Err(Refusal::BodyTimeout(within)))?,
        };
        match piece {
            Some(piece) => {
                self.hold(piece.len()).await?;
                self.buffer.extend_from_slice(&piece);
                Ok(true)
            }
            None if self.buffer.is_empty() => Ok(false),
            None if self.sink.intake.draining.load(Ordering::SeqCst) => Err(Refusal::Draining),
            None => Err(Refusal::Malformed("the stream ends inside a message".to_owned())),
        }
    }

    /// Waits for memory.
    async fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.sink.intake.limits.body_timeout;
        while let Err(refusal) = self.held.grow(bytes) {
            if Instant::now() >= deadline || self.sink.intake.draining.load(Ordering::SeqCst) {
                return Err(refusal);
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// The messages that are there as a whole; `None` if there is none.
    fn next_run(&mut self) -> Result<Option<Run>, Refusal> {
        let max = self.sink.intake.limits.max_request_bytes;
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while let Some((head, rest)) = self.buffer.split_first_chunk::<PREFIX>() {
            let [flag, length @ ..] = *head;
            let length = u32::from_be_bytes(length) as usize;
            if length > max {
                return Err(Refusal::TooLarge { limit: "maxRequestBytes", max });
            }
            let encoding = match (flag, self.encoding) {
                (0, _) => Encoding::Identity,
                (1, Encoding::Identity) => {
                    return Err(Refusal::Malformed(
                        "a message is marked as compressed, but not how".to_owned(),
                    ));
                }
                (1, encoding) => encoding,
                _ => {
                    return Err(Refusal::Malformed(format!(
                        "the first byte of a message is {flag}, not 0 or 1"
                    )));
                }
            };
            let framed = 1 + varint_length(length as u64) + length;
            let is_alone = encoding != Encoding::Identity;
            if rest.len() < length || (!messages.is_empty() && (is_alone || bytes + framed > max)) {
                break;
            }
            self.buffer.advance(PREFIX);
            messages.push(self.buffer.split_to(length).freeze());
            bytes += framed;
            if is_alone {
                return Ok(Some(Run { messages, encoding }));
            }
        }
        Ok((!messages.is_empty()).then_some(Run { messages, encoding: Encoding::Identity }))
    }

    /// Returns when the spans of all good messages are durable; an error is the reason of those that are not.
    async fn store(&mut self, run: Run) -> Result<(), Refusal> {
        let Run { messages, encoding } = run;
        let stored = match &*messages {
            [message] => self.sink.export(message.clone(), encoding, Route::SkyWalkingSegment).await,
            _ => match self.sink.export(collection(&messages), encoding, Route::SkyWalkingCollection).await {
                // One of them may be to blame, and the others are good.
                Err(Refusal::Malformed(_)) => {
                    let mut flaw = Ok(());
                    for message in &messages {
                        match self.sink.export(message.clone(), encoding, Route::SkyWalkingSegment).await {
                            Err(refusal @ Refusal::Malformed(_)) => flaw = Err(refusal),
                            other => other?,
                        }
                    }
                    flaw
                }
                other => other,
            },
        };
        drop(messages);
        // The share only shrinks here: growing it could refuse segments that are durable already.
        self.held.resize(self.buffer.len())?;
        stored
    }
}

// === impl Sink ===

impl Sink<'_> {
    /// Tries until the request is taken, is refused for good, or the time is up within which a body has to be taken.
    async fn export(&self, bytes: Bytes, encoding: Encoding, route: Route) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.intake.limits.body_timeout;
        loop {
            let refusal = match self.attempt(bytes.clone(), encoding, route).await {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            };
            match refusal.mapping().retry_after {
                Some(after) if !matches!(refusal, Refusal::Draining) && Instant::now() < deadline => {
                    sleep(after.min(PAUSE)).await;
                }
                _ => return Err(refusal),
            }
        }
    }

    async fn attempt(&self, bytes: Bytes, encoding: Encoding, route: Route) -> Result<(), Refusal> {
        let caller = self.caller.clone();
        let arrival = self.intake.admit(&caller)?;
        let mut held = self.intake.budget.reserve(caller.tenants.first());
        held.grow(bytes.len())?;
        let payload = Payload { bytes, encoding, route, caller, held };
        self.intake.export(arrival, payload).await.and_then(plain::some_accepted).map(drop)
    }
}

/// Several segments as one `SegmentCollection`.
fn collection(messages: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(messages.iter().map(|message| message.len() + 2 * PREFIX).sum());
    messages.iter().for_each(|message| put_bytes(&mut out, 1, message));
    out.into()
}
