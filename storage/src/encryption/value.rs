//! Small values as a whole: catalog rows and records. `mod.rs` has the format.

use std::sync::Arc;

use spandrel_block::CatalogRow;
use xxhash_rust::xxh3::xxh3_64;

use super::cipher::{self, Cipher, CipherError, Frame, SALT, TAG};
use super::keys::{DataKey, KeyId};

/// The place of a value, which is part of its key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'p> {
    /// A catalog row, by the key of its block.
    Row(&'p [u8]),
    /// A record, by kind and name.
    Record(&'p str, &'p str),
}

/// The readable part of an encrypted value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValueHeader {
    pub(super) key: KeyId,
    /// Bytes of the stored block; of records 0.
    block_bytes: u64,
}

/// The stored length of a block whose row and bytes are both damaged: not known.
pub(super) const UNKNOWN_LENGTH: u64 = u64::MAX;

const MAGIC: [u8; 4] = *b"\xffEV1";
/// Bytes of the header without its checksum.
const FIELDS: usize = MAGIC.len() + 8 + 8 + SALT;
const HEADER: usize = FIELDS + 4;
const PURPOSE: &[u8] = b"spandrel value\0";

/// Whether a catalog row or a record is encrypted.
pub fn is_encrypted_value(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The stored length of the block that a catalog row belongs to, encrypted or not; `None` for a damaged row,
/// or if it is not known.
pub fn block_bytes(row: &[u8]) -> Option<u64> {
    match ValueHeader::read(row) {
        Some(header) => Some(header.block_bytes).filter(|bytes| *bytes != UNKNOWN_LENGTH),
        None => CatalogRow::decode(row).ok().map(|row| row.bytes),
    }
}

/// Encrypts a value; `block_bytes` stays readable, since engines need it.
pub(super) fn encrypt(
    key: &DataKey,
    place: Place<'_>,
    block_bytes: u64,
    plain: &[u8],
) -> Result<Vec<u8>, CipherError> {
    let mut out = Vec::with_capacity(HEADER + plain.len() + TAG);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&key.id().0.to_le_bytes());
    out.extend_from_slice(&block_bytes.to_le_bytes());
    out.extend_from_slice(&cipher::random::<SALT>()?);
    out.extend_from_slice(&checksum(&out));
    let cipher = place.cipher(key, &out)?;
    out.extend_from_slice(plain);
    let tag = cipher.encrypt(Frame::ONLY, &mut out[HEADER..])?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Decrypts a value with the key that its header names.
pub(super) fn decrypt(key: &Arc<DataKey>, place: Place<'_>, bytes: &[u8]) -> Result<Vec<u8>, CipherError> {
    let Some((header, _)) = bytes.split_at_checked(HEADER) else { return Err(CipherError::NotAuthentic) };
    let cipher = place.cipher(key, header)?;
    let mut out = bytes.to_vec();
    let length = cipher.decrypt(Frame::ONLY, &mut out, HEADER)?;
    out.truncate(length);
    Ok(out)
}

/// Tells a damaged header from the header of another key, and keeps engines from believing a damaged length.
fn checksum(fields: &[u8]) -> [u8; 4] {
    (xxh3_64(fields) as u32).to_le_bytes()
}

// === impl Place, ValueHeader ===

impl Place<'_> {
    fn cipher(self, key: &DataKey, header: &[u8]) -> Result<Cipher, CipherError> {
        let place = match self {
            Self::Row(key) => [b"row\0", key].concat(),
            Self::Record(kind, name) => [b"record\0", kind.as_bytes(), b"\0", name.as_bytes()].concat(),
        };
        key.secret().derive(PURPOSE, header, &place)
    }
}

impl ValueHeader {
    /// Reads the header; `None` for a value that is not encrypted, or whose header is damaged.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_at_checked(HEADER)?;
        let (fields, sum) = header.split_at(FIELDS);
        let rest = fields.strip_prefix(&MAGIC).filter(|_| sum == checksum(fields))?;
        let (key, rest) = rest.split_first_chunk::<8>()?;
        let (block_bytes, _) = rest.split_first_chunk::<8>()?;
        Some(Self { key: KeyId(u64::from_le_bytes(*key)), block_bytes: u64::from_le_bytes(*block_bytes) })
    }
}

#[cfg(test)]
mod tests {
    use spandrel_proto::TenantId;

    use super::*;

    #[test]
    fn a_value_decrypts_at_its_place_alone() {
        let key = Arc::new(DataKey::random(Some(TenantId::default())).unwrap());
        let other = Arc::new(DataKey::random(Some(TenantId::default())).unwrap());
        let place = Place::Row(b"block 7");
        let value = encrypt(&key, place, 99, b"shop").unwrap();
        assert!(is_encrypted_value(&value) && !is_encrypted_value(b"\x01shop"));
        assert_eq!(block_bytes(&value), Some(99));
        assert_eq!(ValueHeader::read(&value).unwrap().key, key.id());
        assert_eq!(decrypt(&key, place, &value).unwrap(), b"shop");
        assert_ne!(encrypt(&key, place, 99, b"shop").unwrap(), value, "salts differ");
        for elsewhere in [Place::Row(b"block 8"), Place::Record("row", "block 7"), Place::Record("", "")] {
            assert_eq!(decrypt(&key, elsewhere, &value), Err(CipherError::NotAuthentic));
        }
        assert_eq!(decrypt(&other, place, &value), Err(CipherError::NotAuthentic));
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert_eq!(decrypt(&key, place, &damaged), Err(CipherError::NotAuthentic), "byte {at}");
            assert!(decrypt(&key, place, &value[..at]).is_err(), "cut at {at}");
        }
    }
}
