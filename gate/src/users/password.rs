//! Passwords are kept as argon2id, with the parameters that OWASP recommends: 19 MiB and two passes.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

use crate::secret::Secret;

/// The shortest password in characters (NIST SP 800-63B asks for 8 at least; there is no second factor here).
pub(super) const MIN_CHARACTERS: usize = 10;
/// The longest in bytes, which bounds the work.
pub(super) const MAX_BYTES: usize = 1024;

const SALT: usize = 16;

/// Hashes a new password with a salt of its own. Takes some 20 ms and 19 MiB.
pub(super) fn hash(password: &Secret) -> Result<String, String> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password_with_salt(password.reveal().as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// Whether a hash is of a password. As slow as [`hash`], whatever the outcome.
pub(super) fn verify(password: &Secret, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.reveal().as_bytes(), &hash).is_ok()
}

/// Whether a text is a hash that [`verify`] can read.
pub(super) fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_alone() {
        let (one, other) = (Secret::new("correct horse"), Secret::new("battery staple"));
        let hashed = hash(&one).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && is_hash(&hashed), "{hashed}");
        assert!(verify(&one, &hashed) && !verify(&other, &hashed) && !verify(&one, "x"));
        assert_ne!(hash(&one).unwrap(), hashed, "each has a salt of its own");
        assert!(!is_hash("") && !is_hash("$argon2d$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"));
    }
}
