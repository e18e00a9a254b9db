//! How commands verify a server that speaks TLS, and present themselves to it: `--ca`, `--cert`, `--key`.

use std::path::PathBuf;

use clap::Args;
use spandrel_gate::tls::{Outgoing, OutgoingFiles, PemFile, TlsError};
use ureq::tls::TlsConfig;

/// The flags of every command that connects to a server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsClientFlags {
    /// Authorities of the certificate of an https:// server, as PEM [default: those of the operating system]
    #[arg(long, env = "SPANDREL_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate for a server that asks for one, as PEM
    #[arg(long, env = "SPANDREL_CLIENT_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the client certificate, as PEM
    #[arg(long, env = "SPANDREL_CLIENT_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

// === impl TlsClientFlags ===

impl TlsClientFlags {
    /// Reads and checks the files.
    pub(crate) fn open(&self) -> Result<Outgoing, TlsError> {
        let ca = self.ca.as_ref().map(|path| PemFile::new("--ca", path));
        let identity = self.cert.as_ref().zip(self.key.as_ref());
        let identity = identity.map(|(cert, key)| (PemFile::new("--cert", cert), PemFile::new("--key", key)));
        OutgoingFiles { ca, identity }.open()
    }

    /// The same for the HTTP client of the commands.
    pub(crate) fn http_client(&self) -> Result<TlsConfig, TlsError> {
        self.open()?.http_client()
    }
}
