//! The values of `--max-disk` and `--retention-rules`: parsed from flags and file, and written by `--print-config`.

use std::fmt::{self, Display};
use std::time::Duration;

use serde_json::{Map, Value, json};
use spandrel_storage::RetentionRule;

use crate::units;

/// The bound on the store's size on disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum DiskBound {
    /// A share of the file system.
    Percent(u8),
    Bytes(u64),
}

/// A retention rule of a flag or of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    /// A valid TraceQL selector.
    selector: String,
    keep: Duration,
}

/// Reads `85%`, `200GB`, `1TiB` or a number of bytes.
pub(crate) fn disk_bound(text: &str) -> Result<DiskBound, String> {
    let allowed = || {
        "allowed is a share of the file system or a size, like 85%, 200GB or 1TiB; more than nothing"
            .to_owned()
    };
    if let Some(share) = text.strip_suffix('%') {
        let share = share.trim().parse::<u8>().ok().filter(|share| (1..=100).contains(share));
        return share.map(DiskBound::Percent).ok_or_else(allowed);
    }
    units::parse_bytes(text).filter(|bytes| *bytes > 0).map(DiskBound::Bytes).ok_or_else(allowed)
}

/// Reads `30d: { failed }`.
pub(crate) fn rule(text: &str) -> Result<Rule, String> {
    let (keep, selector) =
        text.split_once(':').ok_or_else(|| "allowed is KEEP:TRACEQL, like 30d: { failed }".to_owned())?;
    let keep = units::parse_retention(keep.trim()).map_err(|error| format!("{:?}: {error}", keep.trim()))?;
    let selector = selector.trim().to_owned();
    spandrel_query::selector(&selector)?;
    Ok(Rule { selector, keep })
}

// === impl DiskBound ===

impl DiskBound {
    /// The bound in bytes; `None` if it is a share and `capacity` is not known.
    pub(crate) fn bytes(self, capacity: Option<u64>) -> Option<u64> {
        match self {
            Self::Percent(share) => capacity.map(|all| all / 100 * u64::from(share)),
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

impl Default for DiskBound {
    fn default() -> Self {
        Self::Percent(85)
    }
}

impl Display for DiskBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(share) => write!(f, "{share}%"),
            Self::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

// === impl Rule ===

impl Rule {
    /// Writes a mapping of the file in the notation of the flag.
    pub(crate) fn words(mapping: &Map<String, Value>) -> Option<String> {
        let (selector, keep) = (mapping.get("match")?.as_str()?, mapping.get("keep")?.as_str()?);
        (mapping.len() == 2).then(|| format!("{keep}: {selector}"))
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "match": self.selector, "keep": units::duration_word(self.keep) })
    }

    /// The rule as the store expects it.
    pub(crate) fn for_store(&self) -> Result<RetentionRule, String> {
        Ok(RetentionRule { predicate: spandrel_query::selector(&self.selector)?, keep: self.keep })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("1", 1), ("200GB", 200_000_000_000), ("1 KiB", 1024), ("7B", 7), ("2TiB", 2 << 40)]
        {
            assert_eq!(disk_bound(text), Ok(DiskBound::Bytes(bytes)), "{text}");
        }
        assert_eq!(disk_bound("85%"), Ok(DiskBound::default()));
        assert_eq!(disk_bound("50%").unwrap().bytes(Some(1000)), Some(500));
        assert_eq!(disk_bound("50%").unwrap().bytes(None), None);
        for wrong in ["", "0", "101%", "-1", "1.5GB", "5 apples", "99999999TiB"] {
            assert!(disk_bound(wrong).unwrap_err().contains("85%"), "{wrong}");
        }
    }

    #[test]
    fn rules() {
        let read = rule("30d: { failed || duration > 1s }").unwrap();
        assert_eq!(read.to_json(), json!({ "match": "{ failed || duration > 1s }", "keep": "30days" }));
        assert_eq!(rule(&Rule::words(read.to_json().as_object().unwrap()).unwrap()), Ok(read));
        assert!(rule("30d").unwrap_err().contains("KEEP:TRACEQL"));
    }
}
