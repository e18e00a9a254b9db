//! PEM files with certificates and keys, and errors that name the setting, the file and what is allowed.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::provider::provider;

/// A file, and the setting that names it, as in `--tls-cert`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PemFile {
    pub setting: String,
    pub path: PathBuf,
}

/// Why files with certificates and keys cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{file}: {error}; allowed is a PEM file that this process may read")]
    Unreadable { file: PemFile, error: io::Error },
    /// A file has something else than it should.
    #[error("{file}: {problem}; allowed is {allowed}")]
    Unusable { file: PemFile, problem: String, allowed: &'static str },
    /// Certificate and key are not of one pair.
    #[error(
        "{key}: this key does not belong to the certificate in {certificate}; allowed is the key with which that \
         certificate was requested (while both are being replaced: write both, then they are read again)"
    )]
    Mismatch { certificate: PemFile, key: PemFile },
    /// The operating system has no certificates of authorities.
    #[error("this machine has no certificates of authorities ({0}); name those of the server with --ca FILE")]
    NoSystemRoots(String),
}

const CERTIFICATES: &str =
    "a PEM file with the certificate first and those of intermediate authorities after it";
const AUTHORITIES: &str = "a PEM file with one or more certificates of authorities";
const KEY: &str = "a PEM file with one unencrypted private key in PKCS#8, PKCS#1 or SEC1: RSA of 2048 bits and more, \
                   ECDSA P-256 or P-384, or Ed25519";

// === impl PemFile ===

impl PemFile {
    pub fn new(setting: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { setting: setting.into(), path: path.into() }
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, TlsError> {
        std::fs::read(&self.path).map_err(|error| TlsError::Unreadable { file: self.clone(), error })
    }

    pub(super) fn unusable(&self, problem: impl Into<String>, allowed: &'static str) -> TlsError {
        TlsError::Unusable { file: self.clone(), problem: problem.into(), allowed }
    }

    /// The certificates of a text that was read from this file.
    pub(super) fn chain(&self, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.certificates(text, CERTIFICATES)
    }

    /// The same for certificates of authorities.
    pub(super) fn authorities(&self, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.certificates(text, AUTHORITIES)
    }

    fn certificates(
        &self,
        text: &[u8],
        allowed: &'static str,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let all = all.map_err(|error| self.unusable(format!("not PEM: {error}"), allowed))?;
        if all.is_empty() {
            let found = if has_key(text) {
                "it has a private key and no certificate"
            } else {
                "it has no certificate"
            };
            return Err(self.unusable(found, allowed));
        }
        Ok(all)
    }

    /// The private key of a text that was read from this file.
    pub(super) fn key(&self, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(text).map_err(|error| {
            let problem = match error {
                pem::Error::NoItemsFound if contains(text, b"ENCRYPTED PRIVATE KEY") => {
                    "its key is encrypted (`openssl pkey -in FILE -out PLAIN` decrypts it)".to_owned()
                }
                pem::Error::NoItemsFound if contains(text, b"BEGIN CERTIFICATE") => {
                    "it has a certificate and no private key".to_owned()
                }
                pem::Error::NoItemsFound => "it has no private key".to_owned(),
                error => format!("not PEM: {error}"),
            };
            self.unusable(problem, KEY)
        })
    }

    /// Puts a certificate from this file and a key together, if they are of one pair.
    pub(super) fn certified(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key_file: &PemFile,
        key: PrivateKeyDer<'static>,
    ) -> Result<CertifiedKey, TlsError> {
        use rustls::{Error, InconsistentKeys};
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: self.clone(), key: key_file.clone() }
            }
            Error::InvalidCertificate(error) => {
                self.unusable(format!("its certificate cannot be read: {error}"), CERTIFICATES)
            }
            error => key_file.unusable(format!("its key cannot be used: {error}"), KEY),
        })
    }
}

impl Display for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.path.display())
    }
}

fn has_key(text: &[u8]) -> bool {
    contains(text, b"PRIVATE KEY-----")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::{Authority, ClientAuth, OutgoingFiles, ServerFiles, ServerTls};
    use super::*;

    fn file(folder: &tempfile::TempDir, setting: &str, text: &str) -> PemFile {
        let path = folder.path().join(setting.trim_start_matches('-'));
        std::fs::write(&path, text).unwrap();
        PemFile::new(setting, path)
    }

    #[test]
    fn errors_name_the_setting_the_file_and_what_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let (authority, root) = Authority::create(SystemTime::now()).unwrap();
        let one = authority.server(&["localhost".to_owned()], SystemTime::now()).unwrap();
        let other = authority.server(&["localhost".to_owned()], SystemTime::now()).unwrap();
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = &one.certificate[..one.certificate.len() / 2];
        for (certificate, key, client_ca, words) in [
            (
                one.key.as_str(),
                one.key.as_str(),
                "",
                ["--tls-cert", "a private key and no certificate", "allowed is"],
            ),
            ("", &one.key, "", ["--tls-cert", "no certificate", "allowed is"]),
            (cut, &one.key, "", ["--tls-cert", "not PEM", "allowed is"]),
            (garbled, &one.key, "", ["--tls-cert", "cannot be read", "allowed is"]),
            (
                &one.certificate,
                &one.certificate,
                "",
                ["--tls-key", "a certificate and no private key", "PKCS#8"],
            ),
            (&one.certificate, encrypted, "", ["--tls-key", "openssl pkey", "unencrypted"]),
            (&one.certificate, "", "", ["--tls-key", "no private key", "PKCS#8"]),
            (&one.certificate, &other.key, "", ["--tls-key", "does not belong", "--tls-cert"]),
            (&one.certificate, &one.key, "hello", ["--tls-client-ca", "no certificate", "authorities"]),
            (&one.certificate, &one.key, garbled, ["--tls-client-ca", "tls-client-ca", "authorities"]),
        ] {
            let files = ServerFiles {
                certificate: file(&folder, "--tls-cert", certificate),
                key: file(&folder, "--tls-key", key),
                client: (!client_ca.is_empty())
                    .then(|| (file(&folder, "--tls-client-ca", client_ca), ClientAuth::Optional)),
            };
            let error = ServerTls::open(files).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
        }
        let missing = PemFile::new("--ca", folder.path().join("nowhere.crt"));
        let error = OutgoingFiles { ca: Some(missing), identity: None }.open().err().unwrap().to_string();
        assert!(error.contains("--ca") && error.contains("nowhere.crt") && error.contains("PEM"), "{error}");
        let pair = (file(&folder, "--cert", &one.certificate), file(&folder, "--key", &other.key));
        let error = OutgoingFiles { ca: None, identity: Some(pair) }.open().err().unwrap().to_string();
        assert!(error.contains("--key") && error.contains("does not belong"), "{error}");
        let ca = file(&folder, "--ca", &root.certificate);
        assert!(OutgoingFiles { ca: Some(ca), identity: None }.open().is_ok());
    }
}
