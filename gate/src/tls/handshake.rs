//! Handshakes with clients, bounded in time and number.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server;

use super::greeting;
use super::peer::{PeerCertificate, PeerCertificateError};
use super::reload::ServerTls;

/// The handshakes of one listener.
pub struct Handshakes {
    tls: Arc<ServerTls>,
    places: Semaphore,
    timeout: Duration,
}

/// A connection after its handshake.
pub type TlsStream = Box<server::TlsStream<TcpStream>>;

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Too slow, or no place became free.
    #[error("the client did not finish its handshake within {0:?}")]
    Late(Duration),
    /// Client and server do not agree, or the client's certificate is refused.
    #[error("the handshake failed: {0}")]
    Failed(std::io::Error),
    #[error(transparent)]
    Certificate(#[from] PeerCertificateError),
}

// === impl Handshakes ===

impl Handshakes {
    /// At most `most` handshakes at once, each done `timeout` after its first byte; further clients wait within that
    /// time.
    pub fn new(tls: Arc<ServerTls>, most: usize, timeout: Duration) -> Self {
        Self { tls, places: Semaphore::new(most.min(Semaphore::MAX_PERMITS)), timeout }
    }

    /// Speaks TLS with a client. Also returns its certificate, if it has presented one.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream, Option<Arc<PeerCertificate>>), HandshakeError> {
        let accepted = match tokio::time::timeout(self.timeout, self.shake_hands(stream)).await {
            Ok(accepted) => accepted,
            Err(_) => Err(HandshakeError::Late(self.timeout)),
        };
        let result = match &accepted {
            Ok(_) => "done",
            Err(HandshakeError::Late(_)) => "late",
            Err(_) => "failed",
        };
        metrics::counter!("spandrel_tls_handshakes_total", "result" => result).increment(1);
        accepted
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream, Option<Arc<PeerCertificate>>), HandshakeError> {
        let place = self.places.acquire().await;
        // The certificate of now: waiting for a place may have taken longer than an exchange of it.
        let config: Arc<ServerConfig> = self.tls.config();
        let stream = match TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                drop(place);
                // With TLS 1.3 a client has often sent a request by now, and still has to read the alert.
                greeting::close(stream).await;
                return Err(HandshakeError::Failed(error));
            }
        };
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.map(PeerCertificate::parse).transpose()?.map(Arc::new);
        Ok((Box::new(stream), certificate))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::time::SystemTime;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::super::{Authority, ClientAuth, Issued, PemFile, ServerFiles, provider};
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        authority: Authority,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let now = SystemTime::now();
            let (authority, root) = Authority::create(now).unwrap();
            let server = authority.server(&["localhost".to_owned()], now).unwrap();
            let texts = [("cert", &server.certificate), ("key", &server.key), ("ca", &root.certificate)];
            texts.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
            Self { folder, authority }
        }

        fn handshakes(&self, auth: Option<ClientAuth>, most: usize, timeout: Duration) -> Arc<Handshakes> {
            let file = |name: &str| PemFile::new(format!("--tls-{name}"), self.folder.path().join(name));
            let client = auth.map(|auth| (file("ca"), auth));
            let files = ServerFiles { certificate: file("cert"), key: file("key"), client };
            Arc::new(Handshakes::new(Arc::new(ServerTls::open(files).unwrap()), most, timeout))
        }

        fn client(&self, identity: Option<&Issued>) -> TlsConnector {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap())
                .unwrap();
            let builder = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots);
            let config = match identity {
                None => builder.with_no_client_auth(),
                Some(Issued { certificate, key }) => {
                    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                    builder.with_client_auth_cert(chain, key).unwrap()
                }
            };
            TlsConnector::from(Arc::new(config))
        }
    }

    /// A connection: what the server made of it, and what the client read.
    async fn meet(
        server: &Handshakes,
        client: TlsConnector,
    ) -> (Result<Option<Arc<PeerCertificate>>, HandshakeError>, io::Result<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let serve = async {
            let (mut stream, peer) = server.accept(listener.accept().await.unwrap().0).await?;
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            Ok(peer)
        };
        let ask = async {
            let mut stream = client.connect(name, TcpStream::connect(address).await?).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok(text)
        };
        tokio::join!(serve, ask)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_verified_client_certificate_is_known_and_a_missing_one_refused_where_demanded() {
        let fixture = Fixture::new();
        let spiffe = "spiffe://test/ns/shop/sa/cart";
        let cart = fixture.authority.client("cart", Some(spiffe), SystemTime::now()).unwrap();
        let stranger =
            Authority::create(SystemTime::now()).unwrap().0.client("cart", None, SystemTime::now()).unwrap();
        for (auth, with_none) in
            [(None, true), (Some(ClientAuth::Optional), true), (Some(ClientAuth::Required), false)]
        {
            let server = fixture.handshakes(auth, 8, LONG);
            let (peer, read) = meet(&server, fixture.client(Some(&cart))).await;
            assert_eq!(read.unwrap(), "hello");
            assert_eq!(
                peer.unwrap().and_then(|peer| peer.spiffe_id().map(str::to_owned)),
                auth.map(|_| spiffe.into())
            );
            let (peer, read) = meet(&server, fixture.client(None)).await;
            assert_eq!(read.is_ok() && peer.is_ok_and(|peer| peer.is_none()), with_none, "{auth:?}");
            let (peer, _) = meet(&server, fixture.client(Some(&stranger))).await;
            assert_eq!(
                peer.is_ok(),
                auth.is_none(),
                "a certificate of a stranger is refused where one is asked for"
            );
        }
    }

    #[tokio::test]
    async fn a_client_waits_for_a_place_and_gets_it() {
        let fixture = Fixture::new();
        let server = fixture.handshakes(None, 1, LONG);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let mut held = std::pin::pin!(server.accept(accepted));
        // Polled once, it takes the place.
        assert!(polled(held.as_mut()).is_pending());
        let mut meeting = std::pin::pin!(meet(&server, fixture.client(None)));
        for _ in 0..100 {
            assert!(polled(meeting.as_mut()).is_pending(), "there is no place");
            tokio::task::yield_now().await;
        }
        drop(silent);
        assert!(matches!(held.await, Err(HandshakeError::Failed(_))));
        assert_eq!(meeting.await.1.unwrap(), "hello");
    }

    /// Polls a future once.
    fn polled<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn silent_clients_lose_their_places_in_time() {
        let fixture = Fixture::new();
        let server = fixture.handshakes(None, 1, Duration::from_secs(10));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = async || {
            let client = TcpStream::connect(address).await.unwrap();
            (client, listener.accept().await.unwrap().0)
        };
        let (first, second) = (connect().await, connect().await);
        let (one, two) = tokio::join!(server.accept(first.1), server.accept(second.1));
        for late in [one.err().unwrap(), two.err().unwrap()] {
            assert!(matches!(late, HandshakeError::Late(_)), "{late}");
        }
        assert_eq!(server.places.available_permits(), 1);
    }
}
