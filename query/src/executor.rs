//! Runs queries on blocking threads, a bounded number at once, and streams their answers.
//!
//! A query that gets no permit within `queueTimeout` is refused and may be sent again, so that many or heavy queries
//! leave CPU and memory for ingest and for each other. The handlers in `crate::api` say what a query reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use spandrel_quota::{Place, Places};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};

use crate::asker::{Asker, Question};
use crate::problem::Problem;

/// The size at which the buffer is passed on.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks that wait for a slow client. A stream keeps these and the one being written.
const CHUNKS_WAITING: usize = 2;

/// Runs queries, at most `maxConcurrentQueries` at once.
#[derive(Clone)]
pub(crate) struct QueryExecutor {
    places: Places,
    queue_timeout: Duration,
    stall_timeout: Duration,
}

/// A query that has begun, until it is dropped.
pub(crate) struct Running {
    _place: Place,
    _question: Question,
}

/// The buffer into which a query writes its answer; full chunks go to the client while the query goes on.
pub(crate) struct Output {
    /// Bytes that are written but not yet sent.
    pub(crate) buffer: Vec<u8>,
    frames: mpsc::Sender<Frame>,
    runtime: Handle,
    stall_timeout: Duration,
    begun: bool,
}

/// Sent by the thread that writes a response to the task that streams it.
enum Frame {
    Chunk(Bytes),
    /// The answer is whole. Without this frame the client gets a broken answer.
    End,
}

/// The frames after the first two, as a body; it ends in an error unless [`Frame::End`] came.
struct BodyStream(Option<mpsc::Receiver<Frame>>);

#[derive(Debug)]
pub(crate) enum StreamError {
    /// The client has closed the connection, or has read nothing for the stall timeout.
    Gone,
    /// The query failed.
    Problem(Problem),
}

// === impl QueryExecutor ===

impl QueryExecutor {
    /// Runs as many queries at once as there are places. A query waits for its place at most `queue_timeout`; the stream of a
    /// client that reads nothing for `stall_timeout` is broken off.
    pub(crate) fn new(places: Places, queue_timeout: Duration, stall_timeout: Duration) -> Self {
        Self { places, queue_timeout, stall_timeout }
    }

    /// Waits for a place; the query holds it until it ends.
    pub(crate) async fn place(&self, asker: &Asker) -> Result<Running, Problem> {
        let question = asker.begin()?;
        let place = self.places.take(asker.tenant(), self.queue_timeout).await.ok_or_else(|| {
            Problem::busy(
                "as many queries run as may run at once (maxConcurrentQueries); ask again in a moment",
            )
        })?;
        Ok(Running { _place: place, _question: question })
    }

    /// Answers a query in one part.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        asker: &Asker,
        query: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let running = self.place(asker).await?;
        let task = tokio::task::spawn_blocking(move || {
            let _running = running;
            query()
        });
        task.await.unwrap_or_else(|_| Err(broken()))
    }

    /// Streams the response while the query writes it. A response of one chunk is sent with its length.
    pub(crate) async fn stream(
        &self,
        asker: &Asker,
        content_type: &'static str,
        query: impl FnOnce(&mut Output) -> Result<(), StreamError> + Send + 'static,
    ) -> Result<Response, Problem> {
        let running = self.place(asker).await?;
        let (frames, mut received) = mpsc::channel(CHUNKS_WAITING);
        let mut output = Output {
            buffer: Vec::new(),
            frames,
            runtime: Handle::current(),
            stall_timeout: self.stall_timeout,
            begun: false,
        };
        let task = tokio::task::spawn_blocking(move || {
            let _running = running;
            let end = query(&mut output);
            output.finish(end)
        });
        let Some(Frame::Chunk(first)) = received.recv().await else {
            return Err(task.await.unwrap_or_else(|_| Err(broken())).err().unwrap_or_else(broken));
        };
        let body = match received.recv().await {
            Some(Frame::End) => Body::from(first),
            Some(Frame::Chunk(second)) => {
                let begin = tokio_stream::iter([Ok(first), Ok(second)]);
                Body::from_stream(begin.chain(BodyStream(Some(received))))
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
    /// Passes on the buffer once it is full. Call it often: this bounds the memory.
    pub(crate) fn spill(&mut self) -> Result<(), StreamError> {
        if self.buffer.len() < CHUNK_BYTES { Ok(()) } else { self.pass_on() }
    }

    /// Passes on the buffer, even if it is nearly empty.
    pub(crate) fn pass_on(&mut self) -> Result<(), StreamError> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES * 5 / 4));
        self.begun = true;
        self.send(Frame::Chunk(chunk.into()))
    }

    fn send(&self, frame: Frame) -> Result<(), StreamError> {
        let sent = self.runtime.block_on(tokio::time::timeout(self.stall_timeout, self.frames.send(frame)));
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(StreamError::Gone) }
    }

    /// Sends the rest and marks the response as complete. If the query failed after its first chunk, the response stays
    /// without that mark, so the client sees a broken transfer.
    fn finish(mut self, end: Result<(), StreamError>) -> Result<(), Problem> {
        let whole = end.and_then(|()| self.pass_on()).and_then(|()| self.send(Frame::End));
        match whole {
            Err(StreamError::Problem(problem)) if !self.begun => Err(problem),
            Err(StreamError::Problem(problem)) => {
                tracing::warn!(detail = problem.detail(), "an answer was cut short");
                Ok(())
            }
            Ok(()) | Err(StreamError::Gone) => Ok(()),
        }
    }
}

impl Stream for BodyStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(received) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(received.poll_recv(context));
        Poll::Ready(match frame {
            Some(Frame::Chunk(chunk)) => Some(Ok(chunk)),
            Some(Frame::End) => {
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

impl<P: Into<Problem>> From<P> for StreamError {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn executor(permits: usize) -> QueryExecutor {
        QueryExecutor::new(Places::of_one(permits), Duration::from_millis(20), Duration::from_secs(30))
    }

    #[tokio::test]
    async fn a_query_too_many_is_refused() {
        let executor = executor(1);
        let (release, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let busy = executor.clone();
        let first =
            tokio::spawn(async move { busy.run(&Asker::default(), move || Ok(wait.recv().is_ok())).await });
        while executor.places.free() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = executor.run(&Asker::default(), || Ok(())).await.unwrap_err();
        assert!(refused.detail().contains("maxConcurrentQueries"));
        let response = refused.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn a_short_answer_has_a_length_and_a_long_one_is_whole() {
        let executor = executor(1);
        let write = |times: usize| {
            move |out: &mut Output| {
                for _ in 0..times {
                    out.buffer.extend_from_slice(&[b'x'; 1000]);
                    out.spill()?;
                }
                Ok(())
            }
        };
        let short = executor.stream(&Asker::default(), "text/plain", write(1)).await.unwrap();
        assert_eq!(axum::body::HttpBody::size_hint(short.body()).exact(), Some(1000));
        let long = executor.stream(&Asker::default(), "text/plain", write(3000)).await.unwrap();
        assert_eq!(to_bytes(long.into_body(), usize::MAX).await.unwrap().len(), 3_000_000);
    }

    #[tokio::test]
    async fn a_failure_is_a_problem_before_the_first_byte_and_a_broken_stream_after_it() {
        let executor = executor(1);
        let fail = |written: usize| {
            move |out: &mut Output| {
                out.buffer.extend_from_slice(&vec![b'x'; written]);
                out.spill()?;
                Err(StreamError::from(Problem::not_found("gone")))
            }
        };
        let early = executor.stream(&Asker::default(), "text/plain", fail(10)).await;
        assert_eq!(early.unwrap_err().detail(), "gone");
        let late = executor.stream(&Asker::default(), "text/plain", fail(CHUNK_BYTES)).await.unwrap();
        assert!(to_bytes(late.into_body(), usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_or_a_broken_stream() {
        let executor = executor(1);
        assert!(executor.run::<()>(&Asker::default(), || panic!("on purpose")).await.is_err());
        assert!(executor.stream(&Asker::default(), "text/plain", |_| panic!("on purpose")).await.is_err());
        for chunks in [1, 5] {
            let asker = Asker::default();
            let late = executor.stream(&asker, "text/plain", move |out| {
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
        let executor =
            QueryExecutor::new(Places::of_one(1), Duration::from_secs(30), Duration::from_millis(5));
        let long = |out: &mut Output| loop {
            out.buffer.resize(CHUNK_BYTES, b'x');
            out.spill()?;
        };
        let response = executor.stream(&Asker::default(), "text/plain", long).await.unwrap();
        // The permit is free again although the client has read nothing.
        assert_eq!(executor.run(&Asker::default(), || Ok(1)).await, Ok(1));
        assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
    }
}
