//! A certificate authority for trying TLS out: `spandrel certificate` and tests. It keeps no list of what it has signed
//! and revokes nothing, so it is no authority for production.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// An authority that can sign.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

/// A name that no certificate can have, or an authority that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AuthorityError(#[from] rcgen::Error);

const DAY: u64 = 24 * 3600;
/// How long an authority is valid.
const AUTHORITY_DAYS: u64 = 3650;
/// How long what it signs is valid: Apple's systems refuse more than 825 days.
const CERTIFICATE_DAYS: u64 = 397;

// === impl Authority ===

impl Authority {
    /// Makes an authority with a key of its own, valid from `now`.
    pub fn create(now: SystemTime) -> Result<(Self, Issued), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        valid_from(&mut params, now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Spandrel test authority");
        let issued = Issued { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
        let issuer = Issuer::new(params, key);
        Ok((Self { certificate: issued.certificate.clone(), issuer }, issued))
    }

    /// Takes an authority that was made earlier.
    pub fn open(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { certificate: certificate.to_owned(), issuer })
    }

    /// Its certificate in PEM, which those who trust it need.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate of a server. Names are DNS names and IP addresses.
    pub fn server(&self, names: &[String], now: SystemTime) -> Result<Issued, AuthorityError> {
        let mut params = CertificateParams::new(names)?;
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, now)
    }

    /// Signs a certificate of a client. A URI, such as a SPIFFE ID, becomes its subject alternative name.
    pub fn client(&self, name: &str, uri: Option<&str>, now: SystemTime) -> Result<Issued, AuthorityError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, now)
    }

    fn sign(&self, mut params: CertificateParams, now: SystemTime) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate()?;
        valid_from(&mut params, now, CERTIFICATE_DAYS);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Begins a day early, because clocks of other machines may be late.
fn valid_from(params: &mut CertificateParams, now: SystemTime, days: u64) {
    use std::time::Duration;
    let begin = now.checked_sub(Duration::from_secs(DAY)).unwrap_or(now);
    params.not_before = begin.into();
    params.not_after = (now + Duration::from_secs(days * DAY)).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_read_again_and_signs_on() {
        let now = SystemTime::now();
        let (_, written) = Authority::create(now).unwrap();
        let authority = Authority::open(&written.certificate, &written.key).unwrap();
        assert_eq!(authority.certificate(), written.certificate);
        assert!(authority.server(&["localhost".to_owned(), "::1".to_owned()], now).is_ok());
        assert!(authority.client("é", None, now).is_ok());
        assert!(authority.server(&["bücher.example".to_owned()], now).is_err(), "DNS names are ASCII");
        assert!(Authority::open("", &written.key).is_err());
    }
}
