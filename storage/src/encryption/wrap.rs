//! Data keys under the master key, as a keyring keeps them: salt (16), ciphertext, tag (16).

use zeroize::Zeroizing;

use super::cipher::{self, CipherError, Frame, SALT, SecretKey};

const PURPOSE: &[u8] = b"spandrel data key\0";

/// Encrypts the secret of a data key under the master key.
pub(super) fn wrap(master: &SecretKey, about: &[u8], secret: &SecretKey) -> Result<Vec<u8>, CipherError> {
    let mut out = cipher::random::<SALT>()?.to_vec();
    let cipher = master.derive(PURPOSE, &out, about)?;
    out.extend_from_slice(secret.reveal());
    let tag = cipher.encrypt(Frame::ONLY, &mut out[SALT..])?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Decrypts what [`wrap`] has made.
pub(super) fn unwrap(master: &SecretKey, about: &[u8], wrapped: &[u8]) -> Result<SecretKey, CipherError> {
    let Some((salt, _)) = wrapped.split_at_checked(SALT) else { return Err(CipherError::NotAuthentic) };
    let cipher = master.derive(PURPOSE, salt, about)?;
    let mut bytes = Zeroizing::new(wrapped.to_vec());
    let length = cipher.decrypt(Frame::ONLY, &mut bytes, SALT)?;
    let mut secret = Zeroizing::new([0; SecretKey::BYTES]);
    if length != secret.len() {
        return Err(CipherError::NotAuthentic);
    }
    secret.copy_from_slice(&bytes[..length]);
    Ok(SecretKey::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_belongs_to_its_entry() {
        let [master, other] = [(); 2].map(|()| SecretKey::random().unwrap());
        let secret = SecretKey::random().unwrap();
        let wrapped = wrap(&master, b"acme", &secret).unwrap();
        assert!(!wrapped.windows(8).any(|part| part == &secret.reveal()[..8]));
        assert_eq!(unwrap(&master, b"acme", &wrapped).unwrap().reveal(), secret.reveal());
        assert!(unwrap(&master, b"other", &wrapped).is_err() && unwrap(&other, b"acme", &wrapped).is_err());
        assert!(unwrap(&master, b"acme", &wrapped[..20]).is_err() && unwrap(&master, b"acme", b"").is_err());
    }
}
