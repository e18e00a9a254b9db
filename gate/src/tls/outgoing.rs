//! What connections to other servers verify with and present: `--ca`, `--cert`, `--key` of the commands.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::pem::{PemFile, TlsError};

/// The files of outgoing connections.
#[derive(Debug, Clone, Default)]
pub struct OutgoingFiles {
    /// The authorities of the server's certificate; without it, those of the operating system.
    pub ca: Option<PemFile>,
    /// The certificate and the key with which this client presents itself.
    pub identity: Option<(PemFile, PemFile)>,
}

/// The contents of those files as PEM, of which is known that they can be used.
#[derive(Clone, Default)]
pub struct Outgoing {
    pub ca: Option<Vec<u8>>,
    /// Certificate and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

// === impl OutgoingFiles ===

impl OutgoingFiles {
    /// Reads and checks the files.
    pub fn open(&self) -> Result<Outgoing, TlsError> {
        let ca = self.ca.as_ref().map(read_authorities).transpose()?;
        let identity =
            self.identity.as_ref().map(|(certificate, key)| read_pair(certificate, key)).transpose()?;
        Ok(Outgoing { ca, identity })
    }
}

fn read_authorities(file: &PemFile) -> Result<Vec<u8>, TlsError> {
    let text = file.read()?;
    let mut roots = RootCertStore::empty();
    for certificate in file.authorities(&text)? {
        roots
            .add(certificate)
            .map_err(|error| file.unusable(error.to_string(), "certificates of authorities"))?;
    }
    Ok(text)
}

fn read_pair(certificate: &PemFile, key: &PemFile) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let texts = (certificate.read()?, key.read()?);
    certificate.certified(certificate.chain(&texts.0)?, key, key.key(&texts.1)?)?;
    Ok(texts)
}

/// The authorities that the operating system trusts, in DER.
pub fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reason = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemRoots(reason));
    }
    Ok(found.certs)
}
