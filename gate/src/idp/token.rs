//! Checks a token (JWT): signature, issuer, audience, times. What its claims mean is decided in `claims`.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::settings::Algorithm;
use super::signature;

/// What a token says.
pub type Claims = Map<String, Value>;

/// What a token has to be.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) audience: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) skew: Duration,
}

/// What a token says about itself before anything of it was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    pub issuer: String,
    pub kid: Option<String>,
    algorithm: jsonwebtoken::Algorithm,
}

/// The keys of an issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    kid: Option<String>,
    /// The one algorithm that it is for, if the issuer says so.
    algorithm: Option<String>,
    key: DecodingKey,
}

/// Why a token is not believed. The text never repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is no signed JWT with an issuer")]
    Malformed,
    #[error("no issuer of this server (jwt-issuers) has issued the token")]
    Issuer,
    #[error("the token is signed by an algorithm that is not allowed for its issuer")]
    Algorithm,
    #[error("the token is signed with a key that its issuer does not have")]
    UnknownKey,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet; compare the clocks of both machines")]
    NotYet,
    #[error("the token is for another audience")]
    Audience,
    #[error("the claim `{0}` of the token is missing or cannot be read")]
    Claim(String),
    /// Whether the token is genuine is not known.
    #[error("the keys of the issuer cannot be fetched now")]
    Unavailable,
}

/// Keys of one issuer that are kept.
const MAX_KEYS: usize = 100;

/// Reads which issuer and key a token names, so that they can be looked up. Believes nothing.
pub fn unverified(token: &str) -> Result<Unverified, TokenError> {
    #[derive(Deserialize)]
    struct Issued {
        iss: String,
    }
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // The name of an algorithm that is unknown, as `none`, is an error of the format.
        ErrorKind::Json(_) => TokenError::Algorithm,
        _ => TokenError::Malformed,
    })?;
    let issued = jsonwebtoken::dangerous::insecure_decode_claims::<Issued>(token);
    let Issued { iss } = issued.map_err(|_| TokenError::Malformed)?;
    Ok(Unverified { issuer: iss, kid: header.kid, algorithm: header.alg })
}

/// Reads the keys of an issuer (RFC 7517). Keys of other kinds, or for other uses, are left out.
pub fn keys_of(document: &[u8]) -> Result<KeySet, serde_json::Error> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<Value>,
    }
    let Document { keys } = serde_json::from_slice(document)?;
    let read = keys.into_iter().filter_map(|key| Key::of(&serde_json::from_value(key).ok()?));
    Ok(KeySet(read.take(MAX_KEYS).collect()))
}

// === impl Expected ===

impl Expected {
    /// What the token says, if all of it is as expected.
    pub(crate) fn verify(
        &self,
        token: &str,
        named: &Unverified,
        key: &DecodingKey,
    ) -> Result<Claims, TokenError> {
        signature::install();
        self.require_algorithm(named)?;
        let mut validation = Validation::new(named.algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&self.audience);
        validation.validate_nbf = true;
        validation.leeway = self.skew.as_secs();
        let checked = jsonwebtoken::decode::<Claims>(token, key, &validation);
        checked.map(|checked| checked.claims).map_err(|error| match error.into_kind() {
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::NotYet,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::InvalidIssuer => TokenError::Issuer,
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                TokenError::Claim(claim)
            }
            _ => TokenError::Malformed,
        })
    }

    /// Refuses algorithms that the configuration does not allow, before a key is looked for.
    pub(crate) fn require_algorithm(&self, named: &Unverified) -> Result<(), TokenError> {
        let is_allowed = self.algorithms.iter().any(|allowed| allowed.of_jws() == named.algorithm);
        if is_allowed { Ok(()) } else { Err(TokenError::Algorithm) }
    }
}

// === impl KeySet, Key ===

impl KeySet {
    /// The key with which a token says it is signed. A token that names none is matched by the only key of its kind.
    pub(crate) fn find(&self, named: &Unverified) -> Option<DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.fits(named));
        let first = fitting.next()?;
        match (&named.kid, fitting.next()) {
            (None, Some(_)) => None,
            _ => Some(first.key.clone()),
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        // A symmetric key among public ones is a mistake; nothing is verified with what everybody can read.
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_)) {
            return None;
        }
        if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let algorithm = jwk.common.key_algorithm.map(|algorithm| format!("{algorithm:?}"));
        Some(Self { kid: jwk.common.key_id.clone(), algorithm, key })
    }

    fn fits(&self, named: &Unverified) -> bool {
        let is_named = named.kid.is_none() || named.kid == self.kid;
        let is_for = |algorithm: &String| *algorithm == format!("{:?}", named.algorithm);
        is_named
            && self.key.family() == named.algorithm.family()
            && self.algorithm.as_ref().is_none_or(is_for)
    }
}
