//! Keys of everything stored, encoded so that byte order equals key order.
//!
//! | key | bytes |
//! | --- | --- |
//! | block | tenant, 0, hour (4, big endian), block (8, big endian) |
//! | page of a block | block key, page (4, big endian) |
//! | trace-index row | tenant, 0, trace ID (16), hour (4, big endian), block (8, big endian) |
//!
//! A tenant contains no zero byte ([`TenantId`] allows letters, digits and `._-`), so the terminator separates tenants
//! and keeps them sorted.

use serde::{Deserialize, Serialize};
use spandrel_proto::{TenantId, TraceId, UnixNanos};
use xxhash_rust::xxh3::xxh3_64;

/// Hours since the epoch, of *arrival* by the server's clock; the hour of a window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Hour(pub u32);

/// The number of a block, unique within a store. Later blocks have larger numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BlockId(pub u64);

/// The tenant, hour and number of a block.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockKey {
    /// The tenant that owns its spans.
    pub tenant: TenantId,
    /// The hour in which its spans arrived.
    pub hour: Hour,
    /// The number of the block.
    pub block: BlockId,
}

/// The key of a trace-index row: a trace, and a block that contains spans of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TraceKey {
    /// The tenant that owns the trace.
    pub tenant: TenantId,
    /// The trace.
    pub trace: TraceId,
    /// The hour in the key of the block.
    pub hour: Hour,
    /// The block that contains spans of the trace.
    pub block: BlockId,
}

/// The rows of one trace within a block, which are contiguous.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowRange {
    /// The first row.
    pub first: u32,
    /// The number of rows.
    pub rows: u32,
}

/// Bytes that do not decode to the named kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are not a {0}")]
pub struct KeyError(&'static str);

const NANOS_PER_HOUR: u64 = 3_600_000_000_000;

// === impl Hour ===

impl Hour {
    /// The hour that contains a point in time.
    pub fn of(time: UnixNanos) -> Self {
        Self((time.0 / NANOS_PER_HOUR) as u32)
    }

    /// The first nanosecond after the hour.
    pub fn end(self) -> UnixNanos {
        UnixNanos((u64::from(self.0) + 1).saturating_mul(NANOS_PER_HOUR))
    }
}

// === impl BlockKey ===

impl BlockKey {
    /// Encodes the key.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = tenant_prefix(&self.tenant);
        out.extend_from_slice(&self.hour.0.to_be_bytes());
        out.extend_from_slice(&self.block.0.to_be_bytes());
        out
    }

    /// The common prefix of the keys of all blocks of its window, and of their pages.
    pub fn encode_window(&self) -> Vec<u8> {
        let mut out = tenant_prefix(&self.tenant);
        out.extend_from_slice(&self.hour.0.to_be_bytes());
        out
    }

    /// The key of a page of the block, by the page's number.
    pub fn encode_page(&self, page: u32) -> Vec<u8> {
        let mut out = self.encode();
        out.extend_from_slice(&page.to_be_bytes());
        out
    }

    /// Decodes a key; fails on the keys of pages.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let error = KeyError("block key");
        let (tenant, rest) = split_tenant(bytes).ok_or(error)?;
        let (hour, block) = rest.split_first_chunk::<4>().ok_or(error)?;
        let block = <[u8; 8]>::try_from(block).map_err(|_| error)?;
        Ok(Self { tenant, hour: Hour(u32::from_be_bytes(*hour)), block: BlockId(u64::from_be_bytes(block)) })
    }
}

// === impl TraceKey ===

impl TraceKey {
    /// Encodes the key.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Self::prefix(&self.tenant, self.trace);
        out.extend_from_slice(&self.hour.0.to_be_bytes());
        out.extend_from_slice(&self.block.0.to_be_bytes());
        out
    }

    /// The common prefix of all index rows of a trace.
    pub fn prefix(tenant: &TenantId, trace: TraceId) -> Vec<u8> {
        let mut out = tenant_prefix(tenant);
        out.extend_from_slice(trace.as_bytes());
        out
    }

    /// The prefix that a key shares with all index rows of its trace; the whole key if it is not one of an index row.
    pub fn prefix_of(key: &[u8]) -> &[u8] {
        let end = key.iter().position(|byte| *byte == 0).map(|terminator| terminator + 1 + 16);
        end.and_then(|end| key.get(..end)).unwrap_or(key)
    }

    /// Decodes a key.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let error = KeyError("trace-index key");
        let (tenant, rest) = split_tenant(bytes).ok_or(error)?;
        let (trace, rest) = rest.split_first_chunk::<16>().ok_or(error)?;
        let (hour, block) = rest.split_first_chunk::<4>().ok_or(error)?;
        let block = <[u8; 8]>::try_from(block).map_err(|_| error)?;
        Ok(Self {
            tenant,
            trace: TraceId::from_bytes(*trace),
            hour: Hour(u32::from_be_bytes(*hour)),
            block: BlockId(u64::from_be_bytes(block)),
        })
    }
}

fn tenant_prefix(tenant: &TenantId) -> Vec<u8> {
    let mut out = Vec::with_capacity(tenant.as_str().len() + 32);
    out.extend_from_slice(tenant.as_str().as_bytes());
    out.push(0);
    out
}

fn split_tenant(bytes: &[u8]) -> Option<(TenantId, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((TenantId::new(name).ok()?, &bytes[end + 1..]))
}

// === impl RowRange ===

impl RowRange {
    const VERSION: u8 = 1;

    /// Encodes the value of a trace-index row: version (1), first row and number of rows (4 each, little endian), and
    /// the low half of their xxh3-64 (4).
    pub fn encode(self) -> [u8; 13] {
        let mut out = [Self::VERSION; 13];
        out[1..5].copy_from_slice(&self.first.to_le_bytes());
        out[5..9].copy_from_slice(&self.rows.to_le_bytes());
        let checksum = xxh3_64(&out[..9]) as u32;
        out[9..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Decodes the value of a trace-index row and checks its hash.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let error = KeyError("trace-index value");
        let fields = <[u8; 13]>::try_from(bytes).map_err(|_| error)?;
        let number =
            |at: usize| u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        let range = Self { first: number(1), rows: number(5) };
        if range.encode() == fields { Ok(range) } else { Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant() -> impl Strategy<Value = TenantId> {
        "[a-z0-9._-]{1,6}".prop_map(|name| TenantId::new(&name).unwrap())
    }

    fn block_key() -> impl Strategy<Value = BlockKey> {
        (tenant(), any::<u32>(), any::<u64>()).prop_map(|(tenant, hour, block)| BlockKey {
            tenant,
            hour: Hour(hour),
            block: BlockId(block),
        })
    }

    fn trace_key() -> impl Strategy<Value = TraceKey> {
        (block_key(), any::<[u8; 16]>()).prop_map(|(key, trace)| TraceKey {
            tenant: key.tenant,
            trace: TraceId::from_bytes(trace),
            hour: key.hour,
            block: key.block,
        })
    }

    proptest! {
        /// RocksDB's prefix filters rely on it: a row whose key had another prefix would not be found.
        #[test]
        fn keys_of_a_trace_have_its_prefix(key in trace_key(), byte in prop::sample::select(vec![0u8, 0xff, 7])) {
            let key = TraceKey { trace: TraceId::from_bytes([byte; 16]), ..key };
            let (prefix, encoded) = (TraceKey::prefix(&key.tenant, key.trace), key.encode());
            prop_assert_eq!(TraceKey::prefix_of(&encoded), &prefix[..]);
            prop_assert_eq!(TraceKey::prefix_of(&prefix), &prefix[..]);
        }

        #[test]
        fn block_keys_sort_as_they_mean(a in block_key(), b in block_key(), pages in any::<(u32, u32)>()) {
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
            prop_assert_eq!(a.encode_page(pages.0).cmp(&b.encode_page(pages.1)), (&a, pages.0).cmp(&(&b, pages.1)));
            prop_assert_eq!(BlockKey::decode(&a.encode()), Ok(a));
        }

        #[test]
        fn trace_keys_sort_as_they_mean(a in trace_key(), b in trace_key()) {
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
            prop_assert!(a.encode().starts_with(&TraceKey::prefix(&a.tenant, a.trace)));
            prop_assert_eq!(TraceKey::decode(&a.encode()), Ok(a));
        }

        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(key) = BlockKey::decode(&bytes) { prop_assert_eq!(key.encode(), bytes.clone()); }
            if let Ok(key) = TraceKey::decode(&bytes) { prop_assert_eq!(key.encode(), bytes.clone()); }
            if let Ok(rows) = RowRange::decode(&bytes) { prop_assert_eq!(rows.encode().to_vec(), bytes); }
        }
    }

    #[test]
    fn frozen_version_1() {
        let key = BlockKey { tenant: TenantId::default(), hour: Hour(0x0102), block: BlockId(0x0a0b) };
        assert_eq!(key.encode(), b"default\0\0\0\x01\x02\0\0\0\0\0\0\x0a\x0b");
        assert_eq!(key.encode_page(7), b"default\0\0\0\x01\x02\0\0\0\0\0\0\x0a\x0b\0\0\0\x07");
        let trace = TraceKey {
            tenant: key.tenant,
            trace: TraceId::from_bytes(*b"0123456789abcdef"),
            hour: key.hour,
            block: key.block,
        };
        assert_eq!(trace.encode(), b"default\x000123456789abcdef\0\0\x01\x02\0\0\0\0\0\0\x0a\x0b");
        let rows = RowRange { first: 5, rows: 258 }.encode();
        assert_eq!(rows, *b"\x01\x05\0\0\0\x02\x01\0\0\x15\x08\x2c\x0a");
    }

    #[test]
    fn hours() {
        assert_eq!(Hour::of(UnixNanos(NANOS_PER_HOUR - 1)), Hour(0));
        assert_eq!(Hour::of(UnixNanos(NANOS_PER_HOUR)), Hour(1));
        assert_eq!(Hour(0).end(), UnixNanos(NANOS_PER_HOUR));
    }
}
