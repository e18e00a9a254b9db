//! Wire bytes for encodings that protobuf allows and exporters do not use.

/// A varint in at least `length` bytes; a longer one than needed is valid but not minimal.
pub fn varint(value: u64, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = value;
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 && out.len() + 1 >= length.min(10) {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// A field of wire type 0.
pub fn number(field: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(field) << 3, 1), varint(value, 1)].concat()
}

/// A field of wire type 1.
pub fn fixed64(field: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(field) << 3 | 1, 1), value.to_le_bytes().to_vec()].concat()
}

/// A field of wire type 5.
pub fn fixed32(field: u32, value: u32) -> Vec<u8> {
    [varint(u64::from(field) << 3 | 5, 1), value.to_le_bytes().to_vec()].concat()
}

/// A field of wire type 2.
pub fn bytes(field: u32, payload: &[u8]) -> Vec<u8> {
    wide_bytes(field, payload, 1, 1)
}

/// Like [`bytes`], with a tag and a length of at least that many bytes.
pub fn wide_bytes(field: u32, payload: &[u8], tag: usize, length: usize) -> Vec<u8> {
    [varint(u64::from(field) << 3 | 2, tag), varint(payload.len() as u64, length), payload.to_vec()].concat()
}

/// A group around fields.
pub fn group(field: u32, inner: &[u8]) -> Vec<u8> {
    let tag = |wire_type| varint(u64::from(field) << 3 | wire_type, 1);
    [tag(3), inner.to_vec(), tag(4)].concat()
}

/// A `KeyValue` with the bytes of an `AnyValue`.
pub fn attribute(key: &str, value: &[u8]) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, value)].concat()
}
