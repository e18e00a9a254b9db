//! Listeners: bind a port, accept connections under limits, serve a router, stop gracefully.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use spandrel_collector::http2;
use spandrel_gate::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// A port that is bound but not yet served.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why a port cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on --{name}-addr {address}: {error}; give it another address, or port 0 for any free one"
)]
pub(crate) struct ListenError {
    name: &'static str,
    address: SocketAddr,
    error: io::Error,
}

/// Connections of one port; further ones wait in the operating system's queue.
pub(crate) const MAX_CONNECTIONS: usize = 8192;
/// A client that takes longer to send the head of a request, or stays idle longer, is disconnected.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// An idle HTTP/2 client gets a ping after this time, and is disconnected if it does not respond.
const PING_AFTER: Duration = Duration::from_secs(60);
/// How long a client whose requests are answered may take to close its connection when the server stops.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// A pause after a failed accept, in which other connections may end and free file descriptors, for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

// === impl Listener ===

impl Listener {
    pub(crate) async fn bind(name: &'static str, address: SocketAddr) -> Result<Self, ListenError> {
        let error = |error| ListenError { name, address, error };
        let socket = TcpListener::bind(address).await.map_err(error)?;
        let address = socket.local_addr().map_err(error)?;
        Ok(Self { socket, address })
    }

    /// The address that is bound, with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves HTTP/1.1 and HTTP/2 until `stop` turns true, then finishes open requests.
    ///
    /// The server waits for open requests only, so that an idle client, or one that never closes its connection, does
    /// not delay the end.
    pub(crate) async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let (open, mut all_answered) = watch::channel(0usize);
        let router = router.layer(middleware::from_fn_with_state(Arc::new(open), counted));
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let builder = Arc::new(builder());
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (router, builder, watcher) = (router.clone(), builder.clone(), graceful.watcher());
            let mut stop = stop.clone();
            tokio::spawn(async move {
                let _slot = slot;
                let speaks = tokio::select! {
                    speaks = speaks(&stream) => speaks,
                    _ = stop.wait_for(|stop| *stop) => false,
                };
                if !speaks {
                    return;
                }
                let router =
                    tower::util::MapRequest::new(router, move |mut request: axum::http::Request<_>| {
                        request.extensions_mut().insert(Peer(peer));
                        request
                    });
                let service = TowerToHyperService::new(router);
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        }
        drop(self.socket);
        let answered = async {
            let _ = all_answered.wait_for(|open| *open == 0).await;
            tokio::time::sleep(CLOSE_GRACE).await;
        };
        tokio::select! {
            () = graceful.shutdown() => {}
            () = answered => tracing::debug!(address = %self.address, "not waiting for idle connections to close"),
        }
    }
}

/// Counts the requests that wait for their response.
async fn counted(State(open): State<Arc<watch::Sender<usize>>>, request: Request, next: Next) -> Response {
    let _one = Open::new(&open);
    next.run(request).await
}

/// Counts one request until it is dropped, which happens also when the client disconnects.
struct Open<'c>(&'c watch::Sender<usize>);

impl<'c> Open<'c> {
    fn new(count: &'c watch::Sender<usize>) -> Self {
        count.send_modify(|open| *open += 1);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// Whether the client sends a byte in time; until then the protocol is not known.
async fn speaks(stream: &TcpStream) -> bool {
    let _ = stream.set_nodelay(true);
    matches!(tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut [0])).await, Ok(Ok(read)) if read > 0)
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .initial_stream_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_frame_size(http2::MAX_FRAME)
        .max_concurrent_streams(http2::MAX_STREAMS);
    builder
}
