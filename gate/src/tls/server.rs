//! What a listener presents and demands: the configuration of the server's side of TLS, made from files.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::pem::{PemFile, TlsError};
use super::provider::provider;

/// The files of one listener. Listeners with equal files share one [`super::ServerTls`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerFiles {
    /// The certificate that is presented, and its intermediates.
    pub certificate: PemFile,
    pub key: PemFile,
    /// The authorities whose client certificates are accepted, and whether there has to be one. Without it none is
    /// asked for.
    pub client: Option<(PemFile, ClientAuth)>,
}

/// Whether a client has to present a certificate. One that is presented is always verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// Asked for; a client may have none.
    Optional,
    /// A client without one is turned away in the handshake.
    Required,
}

/// The contents of the files at one moment.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// A configuration, and what its certificate says.
pub(super) struct Built {
    pub(super) config: Arc<ServerConfig>,
    pub(super) certificate: Facts,
}

/// What people want to know of the server's certificate.
pub(super) struct Facts {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    has_names: bool,
}

/// A certificate that ends sooner than this is worth a warning.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// The protocols that a client may choose from (ALPN), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

// === impl ServerFiles ===

impl ServerFiles {
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: self.certificate.read()?,
            key: self.key.read()?,
            client_ca: self.client.as_ref().map(|(file, _)| file.read()).transpose()?,
        })
    }

    pub(super) fn build(&self, contents: &Contents) -> Result<Built, TlsError> {
        let chain = self.certificate.chain(&contents.certificate)?;
        let facts = self.facts(&chain)?;
        let key = self.key.key(&contents.key)?;
        let pair = self.certificate.certified(chain, &self.key, key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| self.key.unusable(error.to_string(), "a build with TLS 1.2 and 1.3"))?;
        let builder = match (&self.client, &contents.client_ca) {
            (Some((file, auth)), Some(text)) => {
                builder.with_client_cert_verifier(verifier(file, *auth, text)?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Built { config: Arc::new(config), certificate: facts })
    }

    fn facts(&self, chain: &[CertificateDer<'_>]) -> Result<Facts, TlsError> {
        let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let (_, certificate) = X509Certificate::from_der(first).map_err(|error| {
            self.certificate
                .unusable(format!("its certificate cannot be read: {error}"), "an X.509 certificate")
        })?;
        let validity = certificate.validity();
        Ok(Facts {
            not_before: system_time(validity.not_before.timestamp()),
            not_after: system_time(validity.not_after.timestamp()),
            has_names: certificate.subject_alternative_name().ok().flatten().is_some(),
        })
    }
}

fn verifier(file: &PemFile, auth: ClientAuth, text: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let allowed = "certificates of authorities that sign those of clients";
    let mut roots = RootCertStore::empty();
    for authority in file.authorities(text)? {
        roots.add(authority).map_err(|error| file.unusable(error.to_string(), allowed))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required => builder,
    };
    builder.build().map_err(|error| file.unusable(error.to_string(), allowed))
}

fn system_time(unix_seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds.try_into().unwrap_or(0))
}

// === impl Contents ===

impl Contents {
    /// Equal contents have equal fingerprints. The key itself is not kept.
    pub(super) fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        (&self.certificate, &self.key, &self.client_ca).hash(&mut hasher);
        hasher.finish()
    }
}

// === impl Facts ===

impl Facts {
    /// What clients will complain about now or soon.
    pub(super) fn warnings(&self, now: SystemTime) -> Vec<&'static str> {
        let validity = if self.not_after <= now {
            Some("the certificate has expired, clients will refuse it; replace it, no restart is needed")
        } else if self.not_before > now {
            Some(
                "the certificate is not valid yet, clients will refuse it; is the clock of this machine right?",
            )
        } else if self.not_after <= now + ENDS_SOON {
            Some("the certificate expires within two weeks; replace it, no restart is needed")
        } else {
            None
        };
        let names = (!self.has_names).then_some(
            "the certificate has no subject alternative names, without which clients of today refuse it; request one \
             with the names that clients use",
        );
        validity.into_iter().chain(names).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_of_certificates_that_clients_refuse() {
        let at = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 24 * 3600);
        let facts = Facts { not_before: at(100), not_after: at(200), has_names: true };
        let said = |facts: &Facts, day| facts.warnings(at(day)).join("\n");
        assert_eq!(said(&facts, 150), "");
        assert!(said(&facts, 99).contains("not valid yet"));
        assert!(said(&facts, 190).contains("within two weeks"));
        assert!(said(&facts, 200).contains("has expired"));
        assert!(said(&Facts { has_names: false, ..facts }, 150).contains("subject alternative names"));
    }
}
