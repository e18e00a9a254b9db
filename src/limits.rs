//! Limits that can be set, by the names that `GET /api/v1/status` and errors use.
//!
//! Each crate enforces its own limits. This table has their names, the units in which people write them, and the values
//! that are allowed.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};
use spandrel_collector::{CollectorConfig, IngestLimits};
use spandrel_gate::GateConfig;
use spandrel_query::QueryConfig;
use spandrel_quota::QuotaConfig;
use spandrel_storage::StoreConfig;

use crate::connection::ConnectionLimits;
use crate::units;

/// A limit and the value that it is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Setting {
    /// Index into [`LIMITS`].
    limit: usize,
    value: u64,
}

struct Limit {
    name: &'static str,
    unit: Unit,
    allowed: RangeInclusive<u64>,
    set: Set,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Count,
    Bytes,
    /// Milliseconds.
    Time,
}

/// The part that enforces a limit, and the function that sets it there.
enum Set {
    Store(fn(&mut StoreConfig, u64)),
    Ingest(fn(&mut IngestLimits, u64)),
    Query(fn(&mut QueryConfig, u64)),
    Connection(fn(&mut ConnectionLimits, u64)),
    Gate(fn(&mut GateConfig, u64)),
    Quotas(fn(&mut QuotaConfig, u64)),
}

use Set::{Connection, Gate, Ingest, Query, Quotas, Store};
use Unit::{Bytes, Count, Time};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: u64 = 3_600_000;
const MONTH: u64 = 30 * 24 * HOUR;

const LIMITS: &[Limit] = &[
    limit("maxUnsealedSpans", Count, 1_000..=1_000_000_000, Store(|c, v| c.max_unsealed_spans = v)),
    limit("maxUnsealedBytes", Bytes, MIB..=1024 * GIB, Store(|c, v| c.max_unsealed_bytes = v)),
    limit("mergeBlocks", Count, 2..=100_000, Store(|c, v| c.merge_blocks = v as usize)),
    limit("mergeBlocksBusy", Count, 2..=100_000, Store(|c, v| c.merge_blocks_busy = v as usize)),
    limit("mergeSpans", Count, 1_000..=1_000_000_000, Store(|c, v| c.merge_spans = v)),
    limit("mergeAge", Time, 0..=HOUR, Store(|c, v| c.merge_age = Duration::from_millis(v))),
    limit("mergeAgeBusy", Time, 0..=HOUR, Store(|c, v| c.merge_age_busy = Duration::from_millis(v))),
    limit("cleaningPatience", Time, 0..=HOUR, Store(|c, v| c.cleaning_patience = Duration::from_millis(v))),
    limit("replacedGrace", Time, 0..=HOUR, Store(|c, v| c.replaced_grace = Duration::from_millis(v))),
    limit("busyPercent", Count, 1..=10_000, Store(|c, v| c.busy_percent = v)),
    limit("maxMergeBlocks", Count, 2..=10_000, Store(|c, v| c.max_merge_blocks = v as usize)),
    limit("sealedRows", Count, 1_000..=2_000_000, Store(|c, v| c.sealed_rows = v as u32)),
    limit("sealedBytes", Bytes, MIB..=GIB, Store(|c, v| c.sealed_bytes = v as usize)),
    limit("cacheBytes", Bytes, MIB..=1024 * GIB, Store(|c, v| c.cache_bytes = v)),
    limit("reserveBytes", Bytes, MIB..=1024 * GIB, Store(|c, v| c.reserve_bytes = v)),
    limit("maxCandidates", Count, 1_000..=100_000_000, Store(|c, v| c.max_candidates = v as usize)),
    limit("maxCallerLookups", Count, 0..=100_000_000, Store(|c, v| c.max_caller_lookups = v as usize)),
    limit("maxRequestBytes", Bytes, KIB..=GIB, Ingest(|c, v| c.max_request_bytes = v as usize)),
    limit("maxDecompressedBytes", Bytes, KIB..=GIB, Ingest(|c, v| c.max_decompressed_bytes = v as usize)),
    limit("maxInflightBytes", Bytes, MIB..=64 * GIB, Ingest(|c, v| c.max_inflight_bytes = v as usize)),
    limit("bodyTimeout", Time, 100..=HOUR, Ingest(|c, v| c.body_timeout = Duration::from_millis(v))),
    limit("maxQueueRequests", Count, 1..=10_000_000, Ingest(|c, v| c.max_queue_requests = v as usize)),
    limit("maxQueueBytes", Bytes, MIB..=64 * GIB, Ingest(|c, v| c.max_queue_bytes = v as usize)),
    limit("maxBatchBytes", Bytes, KIB..=GIB, Ingest(|c, v| c.max_batch_bytes = v as usize)),
    limit("maxBatchSpans", Count, 1..=1_000_000, Ingest(|c, v| c.max_batch_spans = v as usize)),
    limit("maxResendEntries", Count, 1..=100_000_000, Ingest(|c, v| c.max_resend_entries = v as usize)),
    limit("maxSpanBytes", Bytes, KIB..=GIB, Ingest(|c, v| c.decode.max_span_bytes = v as usize)),
    limit("maxResourceBytes", Bytes, KIB..=GIB, Ingest(|c, v| c.decode.max_resource_bytes = v as usize)),
    limit("maxAggregatePoints", Count, 1..=1_000_000, Query(|c, v| c.max_aggregate_points = v)),
    limit("maxQuestionTime", Time, 100..=HOUR, Query(|c, v| c.question.time = Duration::from_millis(v))),
    limit("maxQuestionBytes", Bytes, MIB..=64 * GIB, Query(|c, v| c.question.memory = v as usize)),
    limit("questionThreads", Count, 1..=1_024, Query(|c, v| c.question.threads = v as usize)),
    limit("maxMetricsSeries", Count, 1..=1_000_000, Query(|c, v| c.question.series = v as usize)),
    limit("maxMetricsPoints", Count, 1..=1_000_000, Query(|c, v| c.question.points = v as usize)),
    limit("maxConcurrentQueries", Count, 1..=10_000, Query(|c, v| c.max_concurrent_queries = v as usize)),
    limit("queueTimeout", Time, 1..=HOUR, Query(|c, v| c.queue_timeout = Duration::from_millis(v))),
    limit("stallTimeout", Time, 1..=HOUR, Query(|c, v| c.stall_timeout = Duration::from_millis(v))),
    limit("maxConnections", Count, 1..=1_000_000, Connection(|c, v| c.max_connections = v as usize)),
    limit(
        "datagramBufferBytes",
        Bytes,
        65_536..=GIB,
        Connection(|c, v| c.datagram_buffer_bytes = v as usize),
    ),
    limit("headTimeout", Time, 100..=HOUR, Connection(|c, v| c.head_timeout = Duration::from_millis(v))),
    limit("maxHeadBytes", Bytes, 8 * KIB..=MIB, Connection(|c, v| c.max_head_bytes = v as u32)),
    limit("maxHandshakes", Count, 1..=1_000_000, Connection(|c, v| c.max_handshakes = v as usize)),
    limit(
        "handshakeTimeout",
        Time,
        100..=HOUR,
        Connection(|c, v| c.handshake_timeout = Duration::from_millis(v)),
    ),
    limit(
        "certificateInterval",
        Time,
        100..=HOUR,
        Connection(|c, v| c.certificate_interval = Duration::from_millis(v)),
    ),
    limit("maxFailedAttempts", Count, 1..=1_000_000, Gate(|c, v| c.max_failed_attempts = v as u32)),
    limit("sessionIdle", Time, 1_000..=MONTH, Gate(|c, v| c.sessions.idle = Duration::from_millis(v))),
    limit(
        "sessionLifetime",
        Time,
        1_000..=MONTH,
        Gate(|c, v| c.sessions.lifetime = Duration::from_millis(v)),
    ),
    limit("maxSessions", Count, 1..=1_000_000, Gate(|c, v| c.sessions.max = v as usize)),
    limit("maxTenants", Count, 1..=1_000_000, Quotas(|c, v| c.max_accounts = v as usize)),
    limit("maxCountedServices", Count, 0..=1_000_000, Quotas(|c, v| c.max_services = v as usize)),
    limit("jwksInterval", Time, 1_000..=HOUR, Gate(|c, v| c.providers.interval = Duration::from_millis(v))),
    limit("jwksMaxAge", Time, 1_000..=MONTH, Gate(|c, v| c.providers.max_age = Duration::from_millis(v))),
    limit("clockSkew", Time, 0..=HOUR, Gate(|c, v| c.providers.skew = Duration::from_millis(v))),
    limit("idpTimeout", Time, 100..=60_000, Gate(|c, v| c.providers.timeout = Duration::from_millis(v))),
    limit("idpLoginTime", Time, 1_000..=HOUR, Gate(|c, v| c.providers.login = Duration::from_millis(v))),
    limit("maxIdpBytes", Bytes, KIB..=64 * MIB, Gate(|c, v| c.providers.max_bytes = v)),
    limit("maxAuditFileBytes", Bytes, KIB..=64 * GIB, Gate(|c, v| c.max_audit_file_bytes = v)),
    limit(
        "failedAttemptInterval",
        Time,
        1..=HOUR,
        Gate(|c, v| c.failed_attempt_interval = Duration::from_millis(v)),
    ),
];

const fn limit(name: &'static str, unit: Unit, allowed: RangeInclusive<u64>, set: Set) -> Limit {
    Limit { name, unit, allowed, set }
}

/// Reads `cacheBytes=128MiB`; `cache-bytes` and `cache_bytes` are the same name.
pub(crate) fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| "allowed is NAME=VALUE, like cacheBytes=128MiB".to_owned())?;
    let limit = LIMITS.iter().position(|limit| plain(limit.name) == plain(name)).ok_or_else(|| {
        let names: Vec<&str> = LIMITS.iter().map(|limit| limit.name).collect();
        format!(
            "no limit that is set here has the name {:?} (other limits are fixed or have a flag of their own); there \
             are {}",
            name.trim(),
            names.join(", ")
        )
    })?;
    let Limit { name, unit, allowed, .. } = &LIMITS[limit];
    let value = unit.read(value.trim()).filter(|value| allowed.contains(value)).ok_or_else(|| {
        let (least, most) = (unit.show(*allowed.start()), unit.show(*allowed.end()));
        format!("allowed for {name} is {} from {least} to {most}", unit.words())
    })?;
    Ok(Setting { limit, value })
}

/// Checks limits that depend on each other: the largest request must fit into `maxInflightBytes`, or its sender would
/// be told to retry for ever.
pub(crate) fn check(settings: &[Setting]) -> Result<(), String> {
    let mut config = CollectorConfig::default();
    apply_to_collector(settings, &mut config);
    let IngestLimits { max_request_bytes, max_decompressed_bytes, max_inflight_bytes: given, .. } =
        config.limits;
    let needed = max_request_bytes + max_decompressed_bytes;
    if given < needed {
        return Err(format!(
            "maxInflightBytes is {given}; allowed is what maxRequestBytes and \
             maxDecompressedBytes are together, {needed}, and more"
        ));
    }
    Ok(())
}

/// A name in one spelling: flags, JSON and messages differ in case and separators.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The settings in the notation of the file.
pub(crate) fn to_json(settings: &[Setting]) -> Map<String, Value> {
    let row = |s: &Setting| (LIMITS[s.limit].name.to_owned(), LIMITS[s.limit].unit.show(s.value).into());
    settings.iter().map(row).collect()
}

pub(crate) fn apply_to_store(settings: &[Setting], config: &mut StoreConfig) {
    for setting in settings {
        if let Store(set) = LIMITS[setting.limit].set {
            set(config, setting.value);
        }
    }
}

pub(crate) fn apply_to_collector(settings: &[Setting], config: &mut CollectorConfig) {
    for setting in settings {
        if let Ingest(set) = LIMITS[setting.limit].set {
            set(&mut config.limits, setting.value);
        }
    }
}

pub(crate) fn apply_to_query(settings: &[Setting], config: &mut QueryConfig) {
    for setting in settings {
        if let Query(set) = LIMITS[setting.limit].set {
            set(config, setting.value);
        }
    }
}

pub(crate) fn of_connections(settings: &[Setting]) -> ConnectionLimits {
    let mut limits = ConnectionLimits::default();
    for setting in settings {
        if let Connection(set) = LIMITS[setting.limit].set {
            set(&mut limits, setting.value);
        }
    }
    limits
}

pub(crate) fn apply_to_quotas(settings: &[Setting], config: &mut QuotaConfig) {
    for setting in settings {
        if let Quotas(set) = LIMITS[setting.limit].set {
            set(config, setting.value);
        }
    }
}

pub(crate) fn apply_to_gate(settings: &[Setting], config: &mut GateConfig) {
    for setting in settings {
        if let Gate(set) = LIMITS[setting.limit].set {
            set(config, setting.value);
        }
    }
}

// === impl Setting, Unit ===

impl Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { name, unit, .. } = &LIMITS[self.limit];
        write!(f, "{name}={}", unit.show(self.value))
    }
}

impl Unit {
    fn read(self, text: &str) -> Option<u64> {
        match self {
            Count => text.replace('_', "").parse().ok(),
            Bytes => units::parse_bytes(text),
            Time => units::parse_duration(text).ok().and_then(|time| time.as_millis().try_into().ok()),
        }
    }

    fn show(self, value: u64) -> String {
        match self {
            Count | Bytes => value.to_string(),
            Time => units::duration_word(Duration::from_millis(value)),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Count => "a number",
            Bytes => "a size, like 500000 or 64MiB,",
            Time => "a time, like 500ms or 10s,",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use spandrel_storage::LimitValue;

    use super::*;

    #[test]
    fn every_limit_reaches_its_crate() {
        for Limit { name, unit, allowed, .. } in LIMITS {
            let (mut store, mut collector) = (StoreConfig::default(), CollectorConfig::default());
            let mut query = QueryConfig::default();
            let (mut gate, mut quotas) = (GateConfig::default(), QuotaConfig::default());
            let connections = ConnectionLimits::default();
            let before = format!("{store:?} {collector:?} {query:?} {gate:?} {quotas:?} {connections:?}");
            let settings = [setting(&format!("{name}={}", unit.show(*allowed.end()))).unwrap()];
            apply_to_store(&settings, &mut store);
            apply_to_collector(&settings, &mut collector);
            apply_to_query(&settings, &mut query);
            apply_to_gate(&settings, &mut gate);
            apply_to_quotas(&settings, &mut quotas);
            let connections = of_connections(&settings);
            let after = format!("{store:?} {collector:?} {query:?} {gate:?} {quotas:?} {connections:?}");
            assert_ne!(before, after, "{name}");
            assert_eq!(setting(&settings[0].to_string()), Ok(settings[0]), "what is printed is read again");
        }
    }

    #[test]
    fn defaults_are_allowed() {
        let known: Vec<_> = StoreConfig::default().limits();
        for Limit { name, allowed, .. } in LIMITS.iter().filter(|limit| matches!(limit.set, Store(_))) {
            let (_, value) = known.iter().find(|(known, _)| known == name).expect(name);
            let value = match value {
                LimitValue::Number(number) => *number,
                LimitValue::Time(time) => time.as_millis() as u64,
            };
            assert!(allowed.contains(&value), "{name}: {value}");
        }
    }

    #[test]
    fn each_limit_of_the_store_is_the_one_of_its_name() {
        for Limit { name, unit, allowed, .. } in LIMITS.iter().filter(|limit| matches!(limit.set, Store(_))) {
            let mut config = StoreConfig::default();
            apply_to_store(
                &[setting(&format!("{name}={}", unit.show(*allowed.end()))).unwrap()],
                &mut config,
            );
            let changed = config.limits().into_iter().zip(StoreConfig::default().limits());
            let changed: Vec<_> =
                changed.filter(|(now, before)| now != before).map(|(now, _)| now.0).collect();
            assert_eq!(changed, [*name]);
        }
    }

    /// A limit has one name everywhere: in settings, in the status, in errors and in logs.
    #[test]
    fn no_text_spells_a_limit_in_another_way() {
        let mut names: Vec<&str> = LIMITS.iter().map(|limit| limit.name).collect();
        names.extend(StoreConfig::default().limits().iter().map(|(name, _)| *name));
        names.extend(CollectorConfig::default().limits.list().iter().map(|(name, _)| *name));
        names.extend(GateConfig::default().limits().iter().map(|(name, _)| *name));
        let snake_case: Vec<String> = names.into_iter().map(snake_case).collect();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut waiting: Vec<_> = ["src", "proto/src", "storage", "collector/src", "query/src", "gate/src"]
            .map(|folder| root.join(folder))
            .into();
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let product = text.split("#[cfg(test)]").next().unwrap_or_default();
                for literal in string_literals(product) {
                    let spelled = snake_case.iter().find(|name| words(literal).any(|word| word == **name));
                    // The label of a metric is not a message.
                    let is_label = literal == "body_timeout";
                    assert!(spelled.is_none() || is_label, "{}: {literal:?}", path.display());
                }
            }
        }
    }

    fn snake_case(name: &str) -> String {
        let underscored =
            |c: char| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.into() };
        name.chars().map(underscored).collect()
    }

    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.contains('_'))
    }

    /// The texts between double quotes, outside comments.
    fn string_literals(source: &str) -> Vec<&str> {
        let (mut literals, mut begin, mut at) = (Vec::new(), None, 0);
        while at < source.len() {
            let rest = &source.as_bytes()[at..];
            at += match (begin, rest) {
                (None, [b'/', b'/', ..]) => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
                (None, [b'\'', b'"', b'\'', ..]) => 3,
                (Some(_), [b'\\', _, ..]) => 2,
                (None, [b'"', ..]) => {
                    begin = Some(at + 1);
                    1
                }
                (Some(from), [b'"', ..]) => {
                    literals.push(&source[from..at]);
                    begin = None;
                    1
                }
                _ => 1,
            };
        }
        literals
    }

    #[test]
    fn spellings_are_one_name() {
        for text in ["cacheBytes=1048576", "cache_bytes = 1MiB", "cache-bytes=1024KiB"] {
            assert_eq!(setting(text).unwrap().to_string(), "cacheBytes=1048576");
        }
        assert_eq!(setting("merge-age=1500ms").unwrap().to_string(), "mergeAge=1s500ms");
        assert_eq!(setting("sealed_rows=200_000").unwrap().to_string(), "sealedRows=200000");
    }

    #[test]
    fn refusals_say_what_is_allowed() {
        for (text, words) in [
            ("cacheBytes", vec!["NAME=VALUE"]),
            ("cashBytes=1MiB", vec!["cashBytes", "cacheBytes", "maxUnsealedSpans"]),
            ("cacheBytes=lots", vec!["cacheBytes", "64MiB", "1048576"]),
            ("cacheBytes=1", vec!["cacheBytes", "1048576"]),
            ("mergeAge=2h", vec!["mergeAge", "10s", "1h"]),
            ("sealedRows=0", vec!["sealedRows", "1000", "2000000"]),
        ] {
            let error = setting(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }
}
