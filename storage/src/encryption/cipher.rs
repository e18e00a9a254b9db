//! AES-256-GCM under derived keys, by `ring`. No other module uses a cryptographic library.
//!
//! Secrets are overwritten in memory when they are dropped; the expanded keys inside `ring` are not.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// A secret of 32 bytes, which is never shown.
#[derive(Clone)]
pub(super) struct SecretKey(Zeroizing<[u8; Self::BYTES]>);

/// A derived key, for the frames of one block, or for one value.
pub(super) struct Cipher(LessSafeKey);

/// The number of a frame, and whether it is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) number: u32,
    pub(super) is_last: bool,
}

/// Why something was not encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// There are no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
    /// The bytes are not those that were encrypted here with this key.
    #[error("it does not decrypt: its bytes are not those that were encrypted at this place")]
    NotAuthentic,
    /// The cipher refuses the input, for example because it is too long.
    #[error("the cipher refuses what is to be encrypted")]
    Refused,
}

/// Bytes of an authentication tag.
pub(super) const TAG: usize = 16;
/// Bytes of a salt.
pub(super) const SALT: usize = 16;

pub(super) fn random<const N: usize>() -> Result<[u8; N], CipherError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CipherError::Random)?;
    Ok(bytes)
}

// === impl SecretKey ===

impl SecretKey {
    pub(super) const BYTES: usize = 32;

    pub(super) fn new(bytes: Zeroizing<[u8; Self::BYTES]>) -> Self {
        Self(bytes)
    }

    pub(super) fn random() -> Result<Self, CipherError> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        SystemRandom::new().fill(&mut *bytes).map_err(|_| CipherError::Random)?;
        Ok(Self(bytes))
    }

    pub(super) fn reveal(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// A key that follows from this one, a purpose, a header with a salt, and a place. All but the place have a fixed
    /// length for a purpose, so that no two of them run together into the same bytes.
    pub(super) fn derive(&self, purpose: &[u8], header: &[u8], place: &[u8]) -> Result<Cipher, CipherError> {
        // The secret is uniformly random, which is what the extraction step of HKDF would make it.
        let secret = Prk::new_less_safe(HKDF_SHA256, &*self.0);
        let info = [purpose, header, place];
        let derived = secret.expand(&info, &AES_256_GCM).map_err(|_| CipherError::Refused)?;
        Ok(Cipher(LessSafeKey::new(UnboundKey::from(derived))))
    }

    /// Eight bytes that tell the key from others and tell nothing about it.
    pub(super) fn fingerprint(&self) -> [u8; 8] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let mac = hmac::sign(&key, b"spandrel fingerprint");
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&mac.as_ref()[..8]);
        fingerprint
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

// === impl Cipher ===

impl Cipher {
    /// Encrypts bytes where they are, and returns their tag.
    pub(super) fn encrypt(&self, frame: Frame, bytes: &mut [u8]) -> Result<[u8; TAG], CipherError> {
        let tag = self.0.seal_in_place_separate_tag(frame.nonce(), Aad::empty(), bytes);
        let tag = tag.map_err(|_| CipherError::Refused)?;
        <[u8; TAG]>::try_from(tag.as_ref()).map_err(|_| CipherError::Refused)
    }

    /// Decrypts `bytes[begin..]`, which is ciphertext and tag, to the start of `bytes`. Returns the length of the plain
    /// bytes.
    pub(super) fn decrypt(&self, frame: Frame, bytes: &mut [u8], begin: usize) -> Result<usize, CipherError> {
        let plain = self.0.open_within(frame.nonce(), Aad::empty(), bytes, begin..);
        Ok(plain.map_err(|_| CipherError::NotAuthentic)?.len())
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

// === impl Frame ===

impl Frame {
    /// The only frame.
    pub(super) const ONLY: Self = Self { number: 0, is_last: true };

    /// Unique for a derived key, because that key encrypts each frame once.
    fn nonce(self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[7..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(self.is_last);
        Nonce::assume_unique_for_key(nonce)
    }
}
