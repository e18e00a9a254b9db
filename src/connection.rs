//! One connection of a port: what its client has begun to speak, TLS, and then HTTP until either side ends it.
//!
//! Accepting connections and stopping are in `listen`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use spandrel_collector::http2;
use spandrel_gate::tls::{self, Greeting, Handshakes, Peer, ServerTls, TlsStream};
use tokio::net::TcpStream;
use tokio_util::either::Either;
use tower::util::MapRequest;

/// Bounds of the connections of one port, by the names that the status uses.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// `maxConnections`: further ones wait in the operating system's queue.
    pub(crate) max_connections: usize,
    /// `headTimeout`: a client that takes longer to send the head of a request is disconnected, and one that stays idle
    /// longer, unless it keeps an HTTP/2 connection on which it has asked something.
    pub(crate) head_timeout: Duration,
    /// `datagramBufferBytes`: what the operating system is asked to keep of datagrams that wait to be read.
    pub(crate) datagram_buffer_bytes: usize,
    /// `maxHeadBytes`: the head of a request, its URL included.
    pub(crate) max_head_bytes: u32,
    /// `maxHandshakes`: TLS handshakes at once; further ones wait.
    pub(crate) max_handshakes: usize,
    /// `handshakeTimeout`: a client that takes longer is disconnected.
    pub(crate) handshake_timeout: Duration,
    /// `certificateInterval`: how often it is looked whether the files of TLS have changed.
    pub(crate) certificate_interval: Duration,
}

/// What the connections of a port have in common.
pub(crate) struct Connections {
    name: &'static str,
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    limits: ConnectionLimits,
    handshakes: Option<Handshakes>,
    complaints: Complaints,
}

/// A connection on which HTTP can begin.
pub(crate) type Stream = Either<TcpStream, TlsStream>;

/// Lets a message through once a minute, so that clients cannot fill the log.
struct Complaints {
    since: Instant,
    /// Seconds after `since` at which the next message is due.
    due: AtomicU64,
}

/// An idle HTTP/2 client gets a ping after this time, and is disconnected if it does not respond.
const PING_AFTER: Duration = Duration::from_secs(60);
const COMPLAIN_EVERY: u64 = 60;

// === impl ConnectionLimits ===

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            head_timeout: Duration::from_secs(60),
            datagram_buffer_bytes: 4 << 20,
            max_head_bytes: 128 << 10,
            max_handshakes: 1024,
            handshake_timeout: Duration::from_secs(10),
            certificate_interval: Duration::from_secs(5),
        }
    }
}

// === impl Connections ===

impl Connections {
    /// `name` is that of the port's flag, without `--` and `-addr`.
    pub(crate) fn new(
        name: &'static str,
        router: Router,
        limits: ConnectionLimits,
        tls: Option<Arc<ServerTls>>,
    ) -> Self {
        let handshakes = tls.map(|tls| Handshakes::new(tls, limits.max_handshakes, limits.handshake_timeout));
        let complaints = Complaints { since: Instant::now(), due: AtomicU64::new(0) };
        Self { name, router, builder: builder(&limits), limits, handshakes, complaints }
    }

    /// Gets a connection to the point where HTTP begins: speaks TLS where the port does. A client that speaks something
    /// else is told so.
    pub(crate) async fn open(&self, stream: TcpStream, address: SocketAddr) -> Option<(Stream, Peer)> {
        let _ = stream.set_nodelay(true);
        match (&self.handshakes, self.greeting(&stream).await?) {
            (None, Greeting::Tls) => {
                if self.complaints.are_due() {
                    tracing::warn!(
                        client = %address,
                        "a client began TLS at --{}-addr, which is plain: let it use http://, or give --tls-cert and \
                         --tls-key (said once a minute)",
                        self.name
                    );
                }
                tls::refuse_tls(stream).await;
                None
            }
            (None, Greeting::Http2 | Greeting::Other) => {
                Some((Either::Left(stream), Peer { address, encrypted: false, certificate: None }))
            }
            (Some(handshakes), Greeting::Tls) => match handshakes.accept(stream).await {
                Ok((stream, certificate)) => {
                    Some((Either::Right(stream), Peer { address, encrypted: true, certificate }))
                }
                Err(error) => {
                    if self.complaints.are_due() {
                        tracing::warn!(client = %address, port = self.name, "{error} (said once a minute)");
                    }
                    None
                }
            },
            (Some(_), greeting) => {
                tracing::debug!(client = %address, port = self.name, "a client spoke plain HTTP where TLS is spoken");
                tls::refuse_plain(stream, greeting).await;
                None
            }
        }
    }

    /// What the client has begun to speak, or nothing if it says nothing in time.
    async fn greeting(&self, stream: &TcpStream) -> Option<Greeting> {
        let patience = match self.handshakes {
            Some(_) => self.limits.handshake_timeout,
            None => self.limits.head_timeout,
        };
        let mut first = [0; 3];
        match tokio::time::timeout(patience, stream.peek(&mut first)).await {
            Ok(Ok(read)) if read > 0 => Some(Greeting::of(&first[..read])),
            _ => None,
        }
    }

    /// Serves the requests of a connection. A client that asks nothing in time is disconnected: until its first request
    /// neither HTTP/1.1 nor HTTP/2 may have begun, and no other clock runs.
    pub(crate) async fn serve(&self, stream: Stream, peer: Peer, watcher: Watcher) {
        let asked = Arc::new(AtomicBool::new(false));
        let service = TowerToHyperService::new(MapRequest::new(self.router.clone(), introduce(peer, &asked)));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let mut connection = std::pin::pin!(watcher.watch(connection));
        let early = tokio::time::timeout(self.limits.head_timeout, &mut connection).await;
        let ended = match early {
            Ok(ended) => ended,
            Err(_) if asked.load(Ordering::Relaxed) => connection.await,
            Err(_) => return tracing::debug!("a client that asked nothing is disconnected"),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Lets each request know its client, and notes that there was one.
fn introduce<B>(peer: Peer, asked: &Arc<AtomicBool>) -> impl Fn(Request<B>) -> Request<B> + Clone + use<B> {
    let asked = asked.clone();
    move |mut request| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer.clone());
        request
    }
}

fn builder(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.max_head_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .max_header_list_size(limits.max_head_bytes)
        .initial_stream_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_frame_size(http2::MAX_FRAME)
        .max_concurrent_streams(http2::MAX_STREAMS);
    builder
}

// === impl Complaints ===

impl Complaints {
    fn are_due(&self) -> bool {
        let now = self.since.elapsed().as_secs();
        let next = |due| (due <= now).then_some(now + COMPLAIN_EVERY);
        self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}
