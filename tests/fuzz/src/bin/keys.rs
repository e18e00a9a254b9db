//! Keys and the small values beside them: every key that decodes is encoded to the same bytes.
#![no_main]

use bytes::Bytes;
use spandrel_block::{BlockKey, BloomFilter, RowRange, Token, TraceKey};
use spandrel_proto::{SpanId, TenantId, TraceId};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = BlockKey::decode(bytes) {
        assert_eq!(key.encode(), bytes);
    }
    if let Ok(key) = TraceKey::decode(bytes) {
        assert_eq!(key.encode(), bytes);
    }
    if let Ok(rows) = RowRange::decode(bytes) {
        assert_eq!(rows.encode(), bytes);
    }
    if let Some(filter) = BloomFilter::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(filter.encode(), bytes);
        let last = bytes.last_chunk::<8>().map_or(0, |last| u64::from_le_bytes(*last));
        for token in [0, u64::MAX, last] {
            filter.may_contain(Token(token));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(id) = text.parse::<TraceId>() {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let _ = (text.parse::<SpanId>(), TenantId::new(text));
    }
});
