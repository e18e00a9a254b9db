//! Who is at the other end of a connection, as far as the connection itself tells: its address, and the certificate that
//! it has proved to own.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The client of a connection: an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from, which may be a proxy.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// The client's certificate, if it has presented one. It was verified against `--tls-client-ca` at the handshake.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// A verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
    subject: String,
    common_name: Option<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
}

/// The certificate is not one of X.509, or has a name that is not text.
#[derive(Debug, thiserror::Error)]
#[error("the client's certificate cannot be read: {0}")]
pub struct PeerCertificateError(String);

// === impl PeerCertificate ===

impl PeerCertificate {
    /// Reads a chain as it came over the wire, the client's own certificate first. Verifies nothing.
    pub fn parse(chain: &[CertificateDer<'_>]) -> Result<Self, PeerCertificateError> {
        let wrong = |error: String| PeerCertificateError(error);
        let first = chain.first().ok_or_else(|| wrong("the chain is empty".to_owned()))?;
        let (_, certificate) = X509Certificate::from_der(first).map_err(|error| wrong(error.to_string()))?;
        let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
        let names = certificate.subject_alternative_name().map_err(|error| wrong(error.to_string()))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::Invalid(tag, _) => {
                    return Err(wrong(format!("its name of kind {} is not text", tag.0)));
                }
                _ => {}
            }
        }
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            subject: subject.to_string(),
            common_name: common_name.map(str::to_owned),
            dns_names,
            uris,
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        })
    }

    /// The chain in DER, the client's own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The subject as text, as in `O=Shop, CN=payment`. It is for people: a name may contain a comma, so compare
    /// [`Self::common_name`], [`Self::dns_names`] or [`Self::uris`] instead.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The first common name of the subject.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The subject alternative names that are DNS names.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The subject alternative names that are URIs.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The SPIFFE ID, as in `spiffe://cluster.local/ns/shop/sa/payment`. A certificate with several URIs is no SPIFFE
    /// document and has none.
    pub fn spiffe_id(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [uri] if uri.starts_with("spiffe://") => Some(uri),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rustls::pki_types::pem::PemObject as _;

    use super::super::Authority;
    use super::*;

    fn parsed(pem: &str) -> PeerCertificate {
        PeerCertificate::parse(&[CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]).unwrap()
    }

    #[test]
    fn names_come_from_the_certificate() {
        let now = SystemTime::now();
        let (authority, _) = Authority::create(now).unwrap();
        let spiffe = "spiffe://cluster.local/ns/shop/sa/payment";
        let workload = parsed(&authority.client("payment", Some(spiffe), now).unwrap().certificate);
        assert_eq!(workload.subject(), "CN=payment");
        assert_eq!(workload.common_name(), Some("payment"));
        assert_eq!(workload.uris(), [spiffe]);
        assert_eq!(workload.spiffe_id(), Some(spiffe));
        assert_eq!(workload.chain().len(), 1);

        let names = ["shop.example".to_owned(), "127.0.0.1".to_owned()];
        let server = parsed(&authority.server(&names, now).unwrap().certificate);
        assert_eq!(server.dns_names(), ["shop.example"]);
        assert_eq!(server.spiffe_id(), None);
        let page = parsed(&authority.client("x", Some("https://shop.example/"), now).unwrap().certificate);
        assert_eq!(page.spiffe_id(), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        assert!(PeerCertificate::parse(&[]).is_err());
        for bytes in [b"".as_slice(), b"\x30\x03\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff"] {
            assert!(PeerCertificate::parse(&[CertificateDer::from(bytes)]).is_err(), "{bytes:?}");
        }
    }
}
