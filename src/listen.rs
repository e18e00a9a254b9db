//! Listeners: bind a port, accept connections under limits, hand them on, stop gracefully.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper_util::server::graceful::GracefulShutdown;
use spandrel_gate::tls::ServerTls;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::connection::{ConnectionLimits, Connections};

/// A port that is bound but not yet served.
pub(crate) struct Listener {
    name: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    limits: ConnectionLimits,
    tls: Option<Arc<ServerTls>>,
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

/// How long a client whose requests are answered may take to close its connection when the server stops.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// A pause after a failed accept, in which other connections may end and free file descriptors, for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

// === impl Listener ===

impl Listener {
    /// Binds a port, which speaks TLS if there is a certificate for it.
    pub(crate) async fn bind(
        name: &'static str,
        address: SocketAddr,
        limits: ConnectionLimits,
        tls: Option<Arc<ServerTls>>,
    ) -> Result<Self, ListenError> {
        let error = |error| ListenError { name, address, error };
        let socket = TcpListener::bind(address).await.map_err(error)?;
        let address = socket.local_addr().map_err(error)?;
        Ok(Self { name, socket, address, limits, tls })
    }

    /// The address that is bound, with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves HTTP/1.1 and HTTP/2 until `stop` turns true, then finishes open requests.
    ///
    /// The server waits for open requests only, so that an idle client, or one that never closes its connection, does
    /// not delay the end.
    pub(crate) async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let (open, mut all_answered) = watch::channel(0usize);
        let router = router.layer(middleware::from_fn_with_state(Arc::new(open), counted));
        let slots = Arc::new(Semaphore::new(self.limits.max_connections));
        let connections = Arc::new(Connections::new(self.name, router, self.limits, self.tls));
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (connections, watcher, mut stop) = (connections.clone(), graceful.watcher(), stop.clone());
            tokio::spawn(async move {
                let _slot = slot;
                let opened = tokio::select! {
                    opened = connections.open(stream, client) => opened,
                    _ = stop.wait_for(|stop| *stop) => None,
                };
                if let Some((stream, peer)) = opened {
                    connections.serve(stream, peer, watcher).await;
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
