//! Master keys and data keys, and how the keyring keeps data keys: encrypted under the master key.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use spandrel_proto::TenantId;
use zeroize::Zeroizing;

use super::cipher::{self, CipherError, SecretKey};
use super::wrap::{unwrap, wrap};

/// The number of a data key: random, so that keyrings of several stores can be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) u64);

/// The key that encrypts data keys. It is kept outside of the data directory.
#[derive(Debug, Clone)]
pub struct MasterKey {
    secret: SecretKey,
    fingerprint: String,
}

/// Why a text is no master key. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "allowed are 32 bytes in hex (64 digits) or base64 (44 characters), as `spandrel encryption key` prints them"
)]
pub struct MasterKeyError;

/// The key from which the keys of a tenant's blocks, rows and records are derived.
#[derive(Debug)]
pub struct DataKey {
    id: KeyId,
    /// `None` for the records that belong to no tenant.
    tenant: Option<TenantId>,
    secret: SecretKey,
}

/// What the keyring keeps of a data key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KeyEntry {
    /// Its ID, 16 hex digits.
    pub id: String,
    /// The tenant whose data it encrypts; `None` for the store's own records.
    pub tenant: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The fingerprint of the master key that it is encrypted under.
    pub master: String,
    /// The encrypted key in hex; `None` once it is deleted.
    pub wrapped: Option<String>,
    /// When it was deleted, in seconds since 1970. The entry stays, so that no backup brings it back.
    pub ended: Option<u64>,
}

/// What a keyring entry tells, checked.
pub(super) struct ReadEntry {
    pub(super) id: KeyId,
    pub(super) tenant: Option<TenantId>,
}

// === impl KeyId ===

impl Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let id = u64::from_str_radix(text, 16).map(Self).map_err(|_| ())?;
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

// === impl MasterKey ===

impl MasterKey {
    /// A new key.
    pub fn random() -> Result<Self, CipherError> {
        Ok(Self::new(SecretKey::random()?))
    }

    /// Reads a key from its text, in hex or base64; spaces and newlines around it are ignored.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let bytes = match text.len() {
            64 => unhex(text),
            43 | 44 => unbase64(text),
            _ => None,
        };
        let mut secret = Zeroizing::new([0; SecretKey::BYTES]);
        match bytes {
            Some(bytes) if bytes.len() == secret.len() => secret.copy_from_slice(&bytes),
            _ => return Err(MasterKeyError),
        }
        Ok(Self::new(SecretKey::new(secret)))
    }

    fn new(secret: SecretKey) -> Self {
        let fingerprint = hex(&secret.fingerprint());
        Self { secret, fingerprint: fingerprint.to_string() }
    }

    /// 16 hex digits that tell it from other keys, and nothing about it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The key in hex. To be shown to its owner once, and nowhere else.
    pub fn reveal(&self) -> Zeroizing<String> {
        hex(self.secret.reveal())
    }
}

// === impl DataKey ===

impl DataKey {
    /// A new key for a tenant, or for the store's own records.
    pub fn random(tenant: Option<TenantId>) -> Result<Self, CipherError> {
        let id = KeyId(u64::from_le_bytes(cipher::random()?));
        Ok(Self { id, tenant, secret: SecretKey::random()? })
    }

    /// Its ID.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The entry of the keyring for this key.
    pub(super) fn wrapped(&self, master: &MasterKey, created: u64) -> Result<KeyEntry, CipherError> {
        let about = about(self.id, self.tenant.as_ref());
        let wrapped = wrap(&master.secret, &about, &self.secret)?;
        Ok(KeyEntry {
            id: self.id.to_string(),
            tenant: self.tenant.as_ref().map(ToString::to_string),
            created,
            master: master.fingerprint.clone(),
            wrapped: Some(hex(&wrapped).to_string()),
            ended: None,
        })
    }
}

/// What a wrapped key is bound to: an entry cannot be given to another tenant.
fn about(id: KeyId, tenant: Option<&TenantId>) -> Vec<u8> {
    let tenant = tenant.map_or("", |tenant| tenant.as_str());
    [&id.0.to_be_bytes()[..], tenant.as_bytes()].concat()
}

// === impl KeyEntry ===

impl KeyEntry {
    /// Checks ID and tenant; `None` if they are not valid.
    pub(super) fn read(&self) -> Option<ReadEntry> {
        let tenant = self.tenant.as_deref().map(TenantId::new).transpose().ok()?;
        let is_whole = self.wrapped.is_some() != self.ended.is_some();
        Some(ReadEntry { id: self.id.parse().ok()?, tenant }).filter(|_| is_whole)
    }

    /// Decrypts the key.
    pub(super) fn unwrap(&self, master: &MasterKey) -> Result<DataKey, CipherError> {
        let ReadEntry { id, tenant } = self.read().ok_or(CipherError::NotAuthentic)?;
        let wrapped = self.wrapped.as_deref().and_then(unhex).ok_or(CipherError::NotAuthentic)?;
        let secret = unwrap(&master.secret, &about(id, tenant.as_ref()), &wrapped)?;
        Ok(DataKey { id, tenant, secret })
    }

    /// Deletes the key; the entry stays.
    pub fn end(&mut self, now: u64) {
        self.wrapped = None;
        self.ended.get_or_insert(now);
    }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    // Written digit by digit into one allocation, so that no copy of a secret is left behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
    }
    text
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks(2) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).map(|digit| digit as u8);
        bytes.push(digit(0)? << 4 | digit(1)?);
    }
    Some(bytes)
}

/// Standard base64, with or without its padding.
fn unbase64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.strip_suffix('=').unwrap_or(text);
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        bits = bits << 6 | DIGITS.iter().position(|digit| *digit == byte)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_master_key_has_two_spellings_and_one_fingerprint() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 8 + 3).collect();
        let in_hex = hex(&bytes);
        let base64 = "AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2+Pr8/s=";
        let key = MasterKey::parse(&in_hex).unwrap();
        for text in [base64, &base64[..43], &format!(" {base64}\n"), &in_hex.to_uppercase()] {
            assert_eq!(MasterKey::parse(text).unwrap().fingerprint(), key.fingerprint());
        }
        assert_eq!(*key.reveal(), *in_hex);
        assert_eq!(key.fingerprint(), "6962cabbb01db58e", "what was written once stays known");
        for text in ["", "ab", &in_hex[1..], &base64[1..], &"x".repeat(64), &"ü".repeat(32), &"=".repeat(44)]
        {
            let error = MasterKey::parse(text).unwrap_err().to_string();
            assert!(error.contains("64 digits") && (text.len() < 3 || !error.contains(text)), "{error}");
        }
        assert!(!format!("{key:?}").contains(&in_hex[..8]));
    }

    #[test]
    fn a_data_key_comes_back_for_its_tenant_alone() {
        let master = MasterKey::random().unwrap();
        let tenant = TenantId::new("acme").unwrap();
        let key = DataKey::random(Some(tenant)).unwrap();
        let entry = key.wrapped(&master, 5).unwrap();
        let back = entry.unwrap(&master).unwrap();
        assert_eq!((back.id(), back.tenant()), (key.id(), key.tenant()));
        assert_eq!(back.secret().reveal(), key.secret().reveal());
        let other = KeyEntry { tenant: Some("other".to_owned()), ..entry.clone() };
        assert!(other.unwrap(&master).is_err());
        assert!(entry.unwrap(&MasterKey::random().unwrap()).is_err());
        let mut ended = entry.clone();
        ended.end(9);
        assert!(ended.unwrap(&master).is_err() && ended.read().is_some());
        for broken in [
            KeyEntry { wrapped: None, ..entry.clone() },
            KeyEntry { ended: Some(1), ..entry.clone() },
            KeyEntry { id: "7".to_owned(), ..entry.clone() },
            KeyEntry { tenant: Some("a/b".to_owned()), ..entry },
        ] {
            assert!(broken.read().is_none(), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*", digits in "[0-9a-zA-Z+/=]{43,64}") {
            let _ = (MasterKey::parse(&text), MasterKey::parse(&digits), text.parse::<KeyId>());
        }
    }
}
