//! The text of a key: `spdr_ID_SECRETCHECK`.
//!
//! The fixed prefix and the checksum let scanners of repositories and logs find keys without false alarms
//! (`spdr_[a-z0-9]{10}_[A-Za-z0-9]{49}`), and let the server refuse a mistyped key before it looks anything up.

use sha2::{Digest, Sha256};

use crate::random;
use crate::secret::Secret;

/// A key as its owner has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyToken {
    id: String,
    text: Secret,
}

const PREFIX: &str = "spdr_";
/// Characters of the ID, which is no secret: it is listed and logged.
const ID: usize = 10;
/// Characters of the secret: 43 of 62 are just above 256 bits.
const SECRET: usize = 43;
/// Characters of the checksum: 62^6 is more than 2^32.
const CHECK: usize = 6;
const LENGTH: usize = PREFIX.len() + ID + 1 + SECRET + CHECK;

const ID_ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// === impl KeyToken ===

impl KeyToken {
    /// A new random key. The error is of the operating system's random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self::of(random::text(ID, ID_ALPHABET)?, &random::text(SECRET, ALPHABET)?))
    }

    pub(super) fn of(id: String, secret: &str) -> Self {
        let body = format!("{PREFIX}{id}_{secret}");
        let check = checksum(&body);
        Self { id, text: Secret::new(body + &check) }
    }

    /// Reads a key; `None` if the text is none. That a key is well formed says nothing of whether it exists.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != LENGTH || !text.is_ascii() {
            return None;
        }
        let (body, check) = text.split_at(LENGTH - CHECK);
        let (id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
        let of = |text: &str, alphabet: &[u8]| text.bytes().all(|byte| alphabet.contains(&byte));
        let is_key = id.len() == ID && of(id, ID_ALPHABET) && of(secret, ALPHABET) && checksum(body) == check;
        is_key.then(|| Self { id: id.to_owned(), text: Secret::new(text) })
    }

    /// The part that names the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole key, for its owner.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// What the server keeps of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.reveal()).into()
    }
}

/// CRC-32 of the text, in digits of base 62, the most significant first.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_is_what_scanners_look_for() {
        let token = KeyToken::of("abc0123456".to_owned(), &"x".repeat(SECRET));
        assert_eq!(token.text().reveal(), format!("spdr_abc0123456_{}335zGO", "x".repeat(SECRET)));
        assert_eq!(token.text().reveal().len(), LENGTH);
    }

    #[test]
    fn two_keys_differ_and_are_read_back() {
        let (one, other) = (KeyToken::random().unwrap(), KeyToken::random().unwrap());
        assert_ne!((one.id(), one.hash()), (other.id(), other.hash()));
        assert_eq!(KeyToken::parse(one.text().reveal()), Some(one));
    }

    proptest! {
        #[test]
        fn a_key_is_read_back_and_with_any_change_is_none(
            id in "[0-9a-z]{10}", secret in "[0-9A-Za-z]{43}", at in 0..LENGTH, to in "[ -~]",
        ) {
            let token = KeyToken::of(id, &secret);
            let text = token.text().reveal();
            prop_assert_eq!(KeyToken::parse(text), Some(token.clone()));
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, &to);
            prop_assert_eq!(KeyToken::parse(&changed).is_some(), changed == text);
            prop_assert_eq!(KeyToken::parse(&text[..at]), None);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            prop_assert_eq!(KeyToken::parse(&text), None);
        }
    }
}
