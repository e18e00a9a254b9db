//! Runs questions to the store on threads that may wait, few enough at once, and streams answers.
//!
//! A query that finds no free place waits a bounded time and is then asked to come back: heavy
//! queries cannot take the machine from ingest, and a crowd of them cannot take it from each other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::{Stream, StreamExt};

use crate::problem::Problem;

/// Bytes that are collected before they are passed on.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks that wait for a slow client; with the one being made, all that a stream keeps.
const CHUNKS_WAITING: usize = 2;

/// Runs questions.
#[derive(Clone)]
pub(crate) struct Runner {
    places: Arc<Semaphore>,
    queue_timeout: Duration,
    stall_timeout: Duration,
}

/// Where a long answer is written to; what is complete goes to the client meanwhile.
pub(crate) struct Output {
    /// What was written and not passed on yet.
    pub(crate) buffer: Vec<u8>,
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
    stall_timeout: Duration,
    begun: bool,
}

/// What passes from the one who writes an answer to the one who sends it.
enum Piece {
    Chunk(Bytes),
    /// The answer is whole. A writer that goes without saying so leaves a broken answer.
    End,
}

/// The rest of an answer, which ends in an error unless it is whole.
struct Rest(Option<mpsc::Receiver<Piece>>);

/// Why writing an answer ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The client has gone, or takes nothing any more.
    Gone,
    /// There is no (further) answer.
    Problem(Problem),
}

// === impl Runner ===

impl Runner {
    /// At most `places` questions at once, each waiting for its place at most `queue_timeout`;
    /// a client that takes nothing for `stall_timeout` loses its stream.
    pub(crate) fn new(places: usize, queue_timeout: Duration, stall_timeout: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places.max(1))), queue_timeout, stall_timeout }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = tokio::time::timeout(self.queue_timeout, self.places.clone().acquire_owned()).await;
        match place {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Problem::busy(
                "all places for queries are taken (max_concurrent_queries); ask again in a moment",
            )),
        }
    }

    /// Answers a question as a whole.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.place().await?;
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            question()
        });
        task.await.unwrap_or_else(|_| Err(broken()))
    }

    /// Answers a question in pieces, as they are made. A short answer is sent as a whole.
    pub(crate) async fn stream(
        &self,
        content_type: &'static str,
        question: impl FnOnce(&mut Output) -> Result<(), Stop> + Send + 'static,
    ) -> Result<Response, Problem> {
        let place = self.place().await?;
        let (pieces, mut received) = mpsc::channel(CHUNKS_WAITING);
        let mut output = Output {
            buffer: Vec::new(),
            pieces,
            runtime: Handle::current(),
            stall_timeout: self.stall_timeout,
            begun: false,
        };
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            let end = question(&mut output);
            output.finish(end)
        });
        let Some(Piece::Chunk(first)) = received.recv().await else {
            return Err(task.await.unwrap_or_else(|_| Err(broken())).err().unwrap_or_else(broken));
        };
        let body = match received.recv().await {
            Some(Piece::End) => Body::from(first),
            Some(Piece::Chunk(second)) => {
                let begin = tokio_stream::iter([Ok(first), Ok(second)]);
                Body::from_stream(begin.chain(Rest(Some(received))))
            }
            None => Body::from_stream(tokio_stream::iter([Ok(first), Err(incomplete())])),
        };
        Ok(([(CONTENT_TYPE, content_type)], body).into_response())
    }
}

fn incomplete() -> io::Error {
    io::Error::other("the answer could not be completed")
}

fn broken() -> Problem {
    Problem::unreadable("answering failed inside the server; look at its log, and report this")
}

// === impl Output ===

impl Output {
    /// Passes on what was written once it is enough. Call it often: this bounds the memory.
    pub(crate) fn spill(&mut self) -> Result<(), Stop> {
        if self.buffer.len() < CHUNK_BYTES { Ok(()) } else { self.pass_on() }
    }

    /// Passes on what was written, however little.
    pub(crate) fn pass_on(&mut self) -> Result<(), Stop> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES * 5 / 4));
        self.begun = true;
        self.send(Piece::Chunk(chunk.into()))
    }

    fn send(&self, piece: Piece) -> Result<(), Stop> {
        let sent = self.runtime.block_on(tokio::time::timeout(self.stall_timeout, self.pieces.send(piece)));
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Stop::Gone) }
    }

    /// Sends the rest and says that it is whole. What was begun and failed is left broken.
    fn finish(mut self, end: Result<(), Stop>) -> Result<(), Problem> {
        let whole = end.and_then(|()| self.pass_on()).and_then(|()| self.send(Piece::End));
        match whole {
            Err(Stop::Problem(problem)) if !self.begun => Err(problem),
            Err(Stop::Problem(problem)) => {
                tracing::warn!(detail = problem.detail(), "an answer was cut short");
                Ok(())
            }
            Ok(()) | Err(Stop::Gone) => Ok(()),
        }
    }
}

impl Stream for Rest {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(received) = &mut self.0 else { return Poll::Ready(None) };
        let piece = ready!(received.poll_recv(context));
        Poll::Ready(match piece {
            Some(Piece::Chunk(chunk)) => Some(Ok(chunk)),
            Some(Piece::End) => {
                self.0 = None;
                None
            }
            None => {
                self.0 = None;
                Some(Err(incomplete()))
            }
        })
    }
}

impl<P: Into<Problem>> From<P> for Stop {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn runner(places: usize) -> Runner {
        Runner::new(places, Duration::from_millis(20), Duration::from_secs(30))
    }

    #[tokio::test]
    async fn a_question_too_many_is_sent_away() {
        let runner = runner(1);
        let (release, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let busy = runner.clone();
        let first = tokio::spawn(async move { busy.run(move || Ok(wait.recv().is_ok())).await });
        while runner.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = runner.run(|| Ok(())).await.unwrap_err();
        assert!(refused.detail().contains("max_concurrent_queries"));
        let response = refused.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn a_short_answer_has_a_length_and_a_long_one_is_whole() {
        let runner = runner(1);
        let write = |times: usize| {
            move |out: &mut Output| {
                for _ in 0..times {
                    out.buffer.extend_from_slice(&[b'x'; 1000]);
                    out.spill()?;
                }
                Ok(())
            }
        };
        let short = runner.stream("text/plain", write(1)).await.unwrap();
        assert_eq!(axum::body::HttpBody::size_hint(short.body()).exact(), Some(1000));
        let long = runner.stream("text/plain", write(3000)).await.unwrap();
        assert_eq!(to_bytes(long.into_body(), usize::MAX).await.unwrap().len(), 3_000_000);
    }

    #[tokio::test]
    async fn a_failure_is_a_problem_before_the_first_byte_and_a_broken_stream_after_it() {
        let runner = runner(1);
        let fail = |written: usize| {
            move |out: &mut Output| {
                out.buffer.extend_from_slice(&vec![b'x'; written]);
                out.spill()?;
                Err(Stop::from(Problem::not_found("gone")))
            }
        };
        let early = runner.stream("text/plain", fail(10)).await;
        assert_eq!(early.unwrap_err().detail(), "gone");
        let late = runner.stream("text/plain", fail(CHUNK_BYTES)).await.unwrap();
        assert!(to_bytes(late.into_body(), usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_or_a_broken_stream() {
        let runner = runner(1);
        assert!(runner.run::<()>(|| panic!("on purpose")).await.is_err());
        assert!(runner.stream("text/plain", |_| panic!("on purpose")).await.is_err());
        for chunks in [1, 5] {
            let late = runner.stream("text/plain", move |out| {
                for _ in 0..chunks {
                    out.buffer.resize(CHUNK_BYTES, b'x');
                    out.spill()?;
                }
                panic!("on purpose")
            });
            assert!(to_bytes(late.await.unwrap().into_body(), usize::MAX).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off_and_told() {
        let runner = Runner::new(1, Duration::from_secs(30), Duration::from_millis(5));
        let long = |out: &mut Output| loop {
            out.buffer.resize(CHUNK_BYTES, b'x');
            out.spill()?;
        };
        let response = runner.stream("text/plain", long).await.unwrap();
        // Its place is free again without anything being read.
        assert_eq!(runner.run(|| Ok(1)).await, Ok(1));
        assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
    }
}
