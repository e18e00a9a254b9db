//! Certificates for tests, and connections that speak TLS as a test wants it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use spandrel_gate::tls::{Authority, Issued, provider};
use tempfile::TempDir;

use crate::server::PATIENCE;

/// An authority, and the files of a server that it has signed.
pub struct Pki {
    folder: TempDir,
    pub authority: Authority,
}

/// A connection after its handshake.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

// === impl Pki ===

impl Pki {
    /// An authority and a certificate of a server on this machine.
    pub fn new() -> Self {
        let (authority, root) = Authority::create(SystemTime::now()).expect("an authority");
        let pki = Self { folder: tempfile::tempdir().expect("a folder"), authority };
        pki.write("ca.crt", &root.certificate);
        let server = pki.issue_server();
        pki.write("server.crt", &server.certificate);
        pki.write("server.key", &server.key);
        pki
    }

    /// Another certificate of the same server.
    pub fn issue_server(&self) -> Issued {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        self.authority.server(&names, SystemTime::now()).expect("a certificate")
    }

    /// A certificate of a client, as files `NAME.crt` and `NAME.key`, too.
    pub fn issue_client(&self, name: &str) -> Issued {
        let issued = self.authority.client(name, None, SystemTime::now()).expect("a certificate");
        self.write(&format!("{name}.crt"), &issued.certificate);
        self.write(&format!("{name}.key"), &issued.key);
        issued
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path as an argument.
    pub fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// The flags of a server with this certificate.
    pub fn flags(&self) -> [String; 4] {
        ["--tls-cert".to_owned(), self.file("server.crt"), "--tls-key".to_owned(), self.file("server.key")]
    }

    /// Connects to a port of this machine, offering these protocols.
    pub fn connect(
        &self,
        address: SocketAddr,
        protocols: &[&str],
        identity: Option<&Issued>,
    ) -> std::io::Result<Stream> {
        let mut config = self.config(identity);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    fn config(&self, identity: Option<&Issued>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(der(self.authority.certificate())).expect("an authority");
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![der(certificate)], key).expect("a pair")
            }
        }
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

/// The first certificate of a PEM text.
pub fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// The certificate that the server has presented.
pub fn presented(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().expect("a handshake")[0].clone().into_owned()
}

/// The protocol that the server has chosen.
pub fn protocol(stream: &Stream) -> Option<String> {
    stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
}

/// What a port answers to these bytes, without TLS, until it closes the connection.
pub fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.write_all(bytes).expect("a write");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer and an end");
    answer
}

/// A file of a folder, as text.
pub fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
