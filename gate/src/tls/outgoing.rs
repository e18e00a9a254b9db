//! What connections to other servers verify with and present: `--ca`, `--cert`, `--key` of the commands.

use std::error::Error;
use std::io;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

use super::pem::{PemFile, TlsError};
use super::provider::provider;

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

// === impl Outgoing ===

impl Outgoing {
    /// The same for the HTTP client.
    pub fn http_client(self) -> Result<TlsConfig, TlsError> {
        let roots: Vec<Certificate<'static>> = match self.ca {
            Some(pem) => certificates(&pem),
            None => system_roots()?.iter().map(|der| Certificate::from_der(der).to_owned()).collect(),
        };
        let identity = self.identity.and_then(|(certificate, key)| {
            Some(ClientCert::new_with_certs(&certificates(&certificate), PrivateKey::from_pem(&key).ok()?))
        });
        Ok(TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider())
            .root_certs(RootCerts::from(roots))
            .client_cert(identity)
            .build())
    }
}

/// The certificates of a text that has been checked.
fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = ureq::tls::parse_pem(pem).flatten();
    items.filter_map(|item| if let PemItem::Certificate(one) = item { Some(one) } else { None }).collect()
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

/// What to do about a connection that failed because of TLS; `None` if something else is the reason. Flags are those of
/// the commands.
pub fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls, InvalidMessage};
    let advice = match find(error)? {
        Tls::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "its certificate was signed by an authority that is not known here; name the certificate of that authority \
             with --ca FILE"
                .to_owned()
        }
        Tls::InvalidCertificate(Bad::NotValidForNameContext { presented, .. }) => {
            format!("its certificate is for other names; use one of them: {}", presented.join(", "))
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired; give the server a new one, which it takes without a restart".to_owned()
        }
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; compare the clocks of both machines".to_owned()
        }
        Tls::InvalidCertificate(error) => format!("its certificate is refused: {error}"),
        Tls::AlertReceived(Alert::CertificateRequired) => {
            "it demands a client certificate; give one with --cert FILE and --key FILE".to_owned()
        }
        Tls::AlertReceived(alert @ (Alert::UnknownCA | Alert::BadCertificate | Alert::DecryptError)) => {
            format!("it refuses the client certificate ({alert:?}); give one of an authority in its --tls-client-ca")
        }
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => "it speaks no TLS; use http://".to_owned(),
        error => format!("TLS failed: {error}"),
    };
    Some(advice)
}

/// The error of TLS among the causes of an error. An I/O error hides what it wraps from `source`.
fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do_about_errors_of_tls_alone() {
        use rustls::{AlertDescription, CertificateError, Error as Tls};
        let wrapped = |error: Tls| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let unknown = wrapped(Tls::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(advice(&unknown).unwrap().contains("--ca FILE"));
        let demanded = wrapped(Tls::AlertReceived(AlertDescription::CertificateRequired));
        assert!(advice(&demanded).unwrap().contains("--cert FILE and --key FILE"));
        assert_eq!(advice(&io::Error::other("cable cut")), None);
    }
}
