//! Small internal records: a version byte, bincode, a checksum. No other module uses bincode.
//!
//! Layout: version (1), xxh3-64 of version and payload (8, little endian), payload.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::Xxh3;

/// Why bytes are not a valid record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is shorter than a header.
    #[error("a record of {0} bytes has no header")]
    Short(usize),
    /// Its version is not known to this program.
    #[error("record version {found} is not known (known: {known}){}", if found > known { "; use a newer Spandrel" } else { "" })]
    Version {
        /// The version found.
        found: u8,
        /// The version that this program writes.
        known: u8,
    },
    /// The checksum does not match the bytes.
    #[error("a record's checksum does not match")]
    Checksum,
    /// The payload does not decode.
    #[error("a record does not decode: {0}")]
    Payload(String),
}

const HEADER: usize = 9;
/// Largest payload in bytes: a damaged length must not make the decoder allocate without bound.
const MAX_PAYLOAD: usize = 256 << 20;

/// Encodes a record.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, RecordError> {
    let payload =
        bincode::serde::encode_to_vec(value, config()).map_err(|e| RecordError::Payload(e.to_string()))?;
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.push(version);
    out.extend_from_slice(&checksum(version, &payload).to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(out)
}

/// Decodes a record of a known version.
pub fn decode<T: DeserializeOwned>(known: u8, bytes: &[u8]) -> Result<T, RecordError> {
    let (found, payload) = checked(bytes)?;
    if found != known {
        return Err(RecordError::Version { found, known });
    }
    let (value, used) = bincode::serde::decode_from_slice(payload, config())
        .map_err(|e| RecordError::Payload(e.to_string()))?;
    if used != payload.len() {
        return Err(RecordError::Payload(format!("{} bytes too many", payload.len() - used)));
    }
    Ok(value)
}

/// Whether a record is undamaged and was written by a newer Spandrel.
pub fn is_newer(known: u8, bytes: &[u8]) -> bool {
    checked(bytes).is_ok_and(|(found, _)| found > known)
}

/// Checks a record; returns its version and payload.
fn checked(bytes: &[u8]) -> Result<(u8, &[u8]), RecordError> {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(RecordError::Short(bytes.len()));
    };
    let [found, sum @ ..] = *header;
    // The checksum covers the version, so a flipped bit there is reported as damage and not as another version.
    let intact = u64::from_le_bytes(sum) == checksum(found, payload);
    intact.then_some((found, payload)).ok_or(RecordError::Checksum)
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_PAYLOAD>()
}

fn checksum(version: u8, payload: &[u8]) -> u64 {
    let mut hasher = Xxh3::with_seed(u64::from(version));
    hasher.update(payload);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let value = (7u32, "shop".to_owned(), vec![1u64, 2]);
        let bytes = encode(1, &value).unwrap();
        assert_eq!(decode::<(u32, String, Vec<u64>)>(1, &bytes).unwrap(), value);
        assert_eq!(
            bytes, b"\x01\x04\xa5\xcci>r8\xdb\x07\x04shop\x02\x01\x02",
            "what was written once stays readable"
        );
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            let found = decode::<(u32, String, Vec<u64>)>(1, &damaged);
            assert_eq!(found, Err(RecordError::Checksum), "byte {at}");
            assert!(!is_newer(0, &damaged), "byte {at}");
        }
        assert_eq!(decode::<u32>(1, &[1, 2]), Err(RecordError::Short(2)));
        assert_eq!(
            decode::<(u32, String, Vec<u64>)>(2, &bytes),
            Err(RecordError::Version { found: 1, known: 2 })
        );
        assert!(is_newer(0, &bytes) && !is_newer(1, &bytes));
    }
}
