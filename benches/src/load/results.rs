//! Results: measured values, each with its target if it has one.

use serde::{Deserialize, Serialize};

use crate::latencies::Latencies;

/// Measurements that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// Reports of earlier versions say `figures`, and `--compare` reads them.
    #[serde(alias = "figures")]
    pub(crate) results: Vec<Measurement>,
}

/// A measured value. If there is a target, less is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// The measured property, with its unit.
    pub(crate) name: String,
    pub(crate) value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
    /// The target for the growth: the value of the largest store divided by that of the smallest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) growth_at_most: Option<f64>,
    /// Details of this value, such as the slowest service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

// === impl Section ===

impl Section {
    pub(crate) fn new(title: &str, results: Vec<Measurement>) -> Self {
        Self { title: title.to_owned(), results }
    }
}

// === impl Measurement ===

impl Measurement {
    pub(crate) fn new(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, at_most: None, growth_at_most: None, note: None }
    }

    /// Sets a target.
    pub(crate) fn at_most(mut self, target: f64) -> Self {
        self.at_most = Some(target);
        self
    }

    /// Sets a target for the growth.
    pub(crate) fn grows_at_most(mut self, times: f64) -> Self {
        self.growth_at_most = Some(times);
        self
    }

    pub(crate) fn note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }

    /// Three percentiles of the same times, in milliseconds.
    pub(crate) fn percentiles(name: &str, times: &Latencies) -> [Self; 3] {
        [("p50", times.p50_ms), ("p95", times.p95_ms), ("p99", times.p99_ms)]
            .map(|(percentile, value)| Self::new(format!("{name}, {percentile} ms"), value))
    }

    /// Whether the target is met; `None` if there is none.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.at_most.map(|target| self.value <= target)
    }
}

/// A value for tables, with its significant digits.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if value == value.trunc() && size < 1e15 => grouped(value as i64),
        ..10.0 => format!("{value:.2}"),
        10.0..1_000.0 => format!("{value:.1}"),
        _ => grouped(value as i64),
    }
}

/// A short number of spans, such as `5M`.
pub(crate) fn spans(count: u64) -> String {
    match count {
        0..1_000_000 if count.is_multiple_of(1_000) => format!("{}k", count / 1_000),
        _ if count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        _ => grouped(count.cast_signed()),
    }
}

/// A number with a comma before every third digit.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = if value < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_with_the_digits_that_matter() {
        let cases = [(0.0, "0"), (1.239, "1.24"), (41.27, "41.3"), (1_234.5, "1,234"), (2e6, "2,000,000")];
        for (value, text) in cases {
            assert_eq!(shown(value), text);
        }
        assert_eq!((spans(5_000_000), spans(20_000), spans(123)), ("5M".into(), "20k".into(), "123".into()));
    }

    #[test]
    fn sections_of_earlier_reports_are_read() {
        let section = r#"{"title": "Space", "figures": [{"name": "MB", "value": 1.5}]}"#;
        let read: Section = serde_json::from_str(section).unwrap();
        assert_eq!(read, Section::new("Space", vec![Measurement::new("MB", 1.5)]));
    }

    #[test]
    fn a_target_is_met_up_to_and_with_its_value() {
        let measurement = |value| Measurement::new("x", value).at_most(4.0);
        assert_eq!((measurement(4.0).is_met(), measurement(4.01).is_met()), (Some(true), Some(false)));
        assert_eq!(Measurement::new("x", 1.0).is_met(), None);
    }
}
