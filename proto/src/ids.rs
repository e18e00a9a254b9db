//! Identifiers as types of their own, so that the compiler rejects a mix-up.
//!
//! They are bytes on disk and on the wire, and lower-case hex in texts.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Identifies a trace: all spans of one request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TraceId([u8; 16]);

/// Identifies a span within its trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SpanId([u8; 8]);

/// Identifies a tenant, the owner of data. All data belongs to `default` until tenancy is switched on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TenantId(Arc<str>);

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// No digits, or more than the identifier has room for.
    #[error("expected 1 to {max} hex digits, got {got}")]
    Length {
        /// Digits at the most.
        max: usize,
        /// Digits found.
        got: usize,
    },
    /// A character that is not a hex digit.
    #[error("{0:?} is not a hex digit")]
    NotHex(char),
    /// All digits are zero, which OpenTelemetry reserves for "no identifier".
    #[error("an identifier of zeros is not valid")]
    Zero,
}

/// Why a text is not a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tenant is 1 to {max} characters of A-Z a-z 0-9 . _ -", max = TenantId::MAX_LEN)]
pub struct TenantIdError;

// === impl TraceId ===

impl TraceId {
    /// The smallest identifier, for range scans.
    pub const MIN: Self = Self([0; 16]);
    /// The largest identifier, for range scans.
    pub const MAX: Self = Self([0xff; 16]);

    /// Reads the bytes on the wire; `None` unless they are 16 and not all zero.
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        let id = <[u8; 16]>::try_from(bytes).ok()?;
        (id != [0; 16]).then_some(Self(id))
    }

    /// Wraps bytes that this program wrote, without a check.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, in the order of the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for TraceId {
    type Err = ParseIdError;

    /// Parses 1 to 32 hex digits in either case; a short text is padded with zeros on the left.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex(text).map(Self)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

// === impl SpanId ===

impl SpanId {
    /// Reads the bytes on the wire; `None` unless they are 8 and not all zero.
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        let id = <[u8; 8]>::try_from(bytes).ok()?;
        (id != [0; 8]).then_some(Self(id))
    }

    /// Wraps bytes that this program wrote, without a check.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes, in the order of the wire.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl FromStr for SpanId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex(text).map(Self)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

// === impl TenantId ===

impl TenantId {
    /// The longest name: it is a part of keys and of metrics, and so has to be short.
    pub const MAX_LEN: usize = 64;

    /// Checks the characters and the length of a name.
    pub fn new(name: &str) -> Result<Self, TenantIdError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let ok = !name.is_empty() && name.len() <= Self::MAX_LEN && name.chars().all(legal);
        if ok { Ok(Self(name.into())) } else { Err(TenantIdError) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === hex ===

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let got = text.chars().count();
    if got == 0 || got > 2 * N {
        return Err(ParseIdError::Length { max: 2 * N, got });
    }
    let mut bytes = [0; N];
    for (place, c) in text.chars().rev().enumerate() {
        let digit = c.to_digit(16).ok_or(ParseIdError::NotHex(c))? as u8;
        bytes[N - 1 - place / 2] |= digit << (4 * (place % 2));
    }
    if bytes == [0; N] { Err(ParseIdError::Zero) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_id_accepts_short_and_upper_case() {
        let id: TraceId = "ABC".parse().unwrap();
        assert_eq!(id.to_string(), "00000000000000000000000000000abc");
        assert_eq!(id.to_string().parse::<TraceId>().unwrap(), id);
    }

    #[test]
    fn trace_id_refuses_nonsense() {
        assert_eq!("".parse::<TraceId>(), Err(ParseIdError::Length { max: 32, got: 0 }));
        assert_eq!("0".repeat(33).parse::<TraceId>(), Err(ParseIdError::Length { max: 32, got: 33 }));
        assert_eq!("xyz".parse::<TraceId>(), Err(ParseIdError::NotHex('z')));
        assert_eq!("000".parse::<TraceId>(), Err(ParseIdError::Zero));
    }

    #[test]
    fn wire_ids_need_their_length_and_a_bit_set() {
        assert!(TraceId::from_wire(&[1; 16]).is_some());
        assert!(TraceId::from_wire(&[0; 16]).is_none());
        assert!(TraceId::from_wire(&[1; 15]).is_none());
        assert!(SpanId::from_wire(&[0; 8]).is_none());
        assert!(SpanId::from_wire(&[1; 9]).is_none());
    }

    #[test]
    fn tenant_names_are_checked() {
        assert!(TenantId::new("team-a.prod_1").is_ok());
        for bad in ["", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(TenantId::new(bad), Err(TenantIdError), "{bad}");
        }
    }
}
