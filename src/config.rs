//! The settings of `spandrel serve`: flags over environment over file over defaults, checked at start.
//!
//! The file is a flat YAML mapping whose keys are the names of the flags. Its values go through the parser of the
//! flags, so that a bad value gives the same error wherever it is set.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStr, Resettable};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use serde_json::Value;
use spandrel_gate::Access;

use crate::clean_flags::{self, CleanRules};
use crate::clean_rules::CleanSettings;
use crate::encryption::{EncryptionFlags, EncryptionSettings};
use crate::gate_flags::{GateFlags, GateSettings};
use crate::kafka_flags::{KafkaFlags, KafkaSources};
use crate::limits::{self, Setting};
use crate::listen_flags::{ReceiverFlags, ReceiverSettings, Transport, address};
use crate::retention_flags::{self, DiskBound, Rule};
use crate::tenant_flags::{self, TenantSettings};
use crate::tls_flags::{self, ClientAuth, Exception, LISTENERS, TlsSettings};
use crate::units;

/// The arguments of `spandrel serve`. Everything is optional: the defaults are in [`Settings`].
#[derive(Debug, Args)]
pub(crate) struct ServeFlags {
    /// The directory of the store; created if missing; locked against a second process [default: ./data]
    #[arg(long, env = "SPANDREL_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of UI, JSON API, /metrics, /healthz and /readyz [default: 127.0.0.1:16686]
    #[arg(long, env = "SPANDREL_HTTP_ADDR", value_name = "HOST:PORT", value_parser = address)]
    http_addr: Option<SocketAddr>,
    /// Address of OTLP/gRPC [default: 127.0.0.1:4317]
    #[arg(long, env = "SPANDREL_OTLP_GRPC_ADDR", value_name = "HOST:PORT", value_parser = address)]
    otlp_grpc_addr: Option<SocketAddr>,
    /// Address of OTLP/HTTP [default: 127.0.0.1:4318]
    #[arg(long, env = "SPANDREL_OTLP_HTTP_ADDR", value_name = "HOST:PORT", value_parser = address)]
    otlp_http_addr: Option<SocketAddr>,
    #[command(flatten)]
    receivers: ReceiverFlags,
    #[command(flatten)]
    kafka: KafkaFlags,
    /// Age, counted from arrival, at which data are removed, a whole hour at a time [default: 7d]
    #[arg(long, env = "SPANDREL_RETENTION", value_name = "DURATION", value_parser = units::parse_retention)]
    retention: Option<Duration>,
    /// The most disk space of the store, as in 85% (of the file system), 200GB or 1TiB; above it the oldest hours are
    /// removed [default: 85%]
    #[arg(long, env = "SPANDREL_MAX_DISK", value_name = "SIZE", value_parser = retention_flags::disk_bound)]
    max_disk: Option<DiskBound>,
    /// Another retention for traces with a certain span: a time, a colon, and a TraceQL selector, as in
    /// '30d: { failed }'. The first rule that a span satisfies gives its time; a trace is kept as a whole as long as
    /// its longest-lived span. In the file a list of mappings with `match` and `keep`
    #[arg(long, env = "SPANDREL_RETENTION_RULES", value_name = "KEEP:TRACEQL", value_delimiter = '\n', value_parser = retention_flags::rule)]
    retention_rules: Vec<Rule>,
    /// How long the rollups of spans stay that a rule has removed [default: as --retention]
    #[arg(long, env = "SPANDREL_ROLLUP_RETENTION", value_name = "DURATION", value_parser = units::parse_retention)]
    rollup_retention: Option<Duration>,
    /// Failures that acknowledged spans survive: power loss (sync), SIGKILL (os), neither (none) [default: sync]
    #[arg(long, env = "SPANDREL_DURABILITY", value_enum)]
    durability: Option<Durability>,
    /// The certificate of this server, with its intermediates, as PEM; with it every listener speaks TLS (1.2 and 1.3)
    /// alone. Changed files are read again, without a restart [default: none, plain HTTP]
    #[arg(long, env = "SPANDREL_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, as PEM
    #[arg(long, env = "SPANDREL_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Authorities whose client certificates are accepted, as PEM; with it clients are asked for one
    #[arg(long, env = "SPANDREL_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Whether clients need a certificate [default: optional with --tls-client-ca]
    #[arg(long, env = "SPANDREL_TLS_CLIENT_AUTH", value_enum)]
    tls_client_auth: Option<ClientAuth>,
    /// Another setting of TLS for one listener (http, otlp-grpc, otlp-http, zipkin, jaeger-grpc, jaeger-http,
    /// datadog or skywalking), as in http=off or otlp-grpc.client-auth=required; members are cert, key, client-ca and
    /// client-auth. In the file a mapping by listener
    #[arg(long, env = "SPANDREL_TLS", value_name = "LISTENER[.MEMBER]=VALUE", value_delimiter = ',', value_parser = tls_flags::exception)]
    tls: Vec<Exception>,
    /// Origins that may send and query from a browser, as in https://shop.example [default: none]
    #[arg(long, env = "SPANDREL_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    cors_origin: Vec<String>,
    #[command(flatten)]
    encryption: EncryptionFlags,
    #[command(flatten)]
    gate: GateFlags,
    /// What tenants may take and how long their data are kept: a mapping of names, and * for all others, to retention,
    /// rollup-retention, retention-rules, max-spans-per-second, max-bytes-per-second, max-stored-bytes, max-questions,
    /// max-scanned-bytes-per-second, and each-key for what each credential may take, as in
    /// '{"shop": {"retention": "3d", "max-spans-per-second": 10000}}'. Needs --multitenancy [default: none]
    #[arg(long, env = "SPANDREL_TENANTS", value_name = "JSON", value_parser = tenant_flags::tenants)]
    tenants: Option<TenantSettings>,
    /// Rules that clean spans before they are stored: a list of mappings with `name`, `match` (TraceQL on one span), and
    /// what becomes of the spans (drop, keep, set, service, rename, remove, hash, redact, cut, fold-name), as in
    /// '[{"name": "pings", "match": "{ name = \"ping\" }", "drop": true}]'. In the file a list, which is read again when
    /// it has changed [default: none]
    #[arg(long, env = "SPANDREL_CLEAN", value_name = "JSON", value_parser = clean_flags::rules)]
    clean: Option<CleanRules>,
    /// What becomes of the metrics, profiles and logs without a span that agents send beside traces [default: refuse]
    #[arg(long, env = "SPANDREL_OTHER_SIGNALS", value_enum)]
    other_signals: Option<OtherSignals>,
    /// How long a resent request is recognised; 0s turns this off [default: 5m]
    #[arg(long, env = "SPANDREL_RESEND_WINDOW", value_name = "DURATION", value_parser = units::parse_duration)]
    resend_window: Option<Duration>,
    /// The most spans in one tree response [default: 200000]
    #[arg(long, env = "SPANDREL_MAX_TREE_SPANS", value_name = "SPANS", value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    max_tree_spans: Option<u64>,
    /// Sets a limit by its name in /api/v1/status and in errors, as in cacheBytes=256MiB or maxUnsealedSpans=500000. In
    /// the file a mapping of names to values
    #[arg(long, env = "SPANDREL_LIMITS", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = limits::setting)]
    limits: Vec<Setting>,
    /// Format of the logs [default: text]
    #[arg(long, env = "SPANDREL_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// How long a shutdown may take to finish accepted requests [default: 10s]
    #[arg(long, env = "SPANDREL_SHUTDOWN_GRACE", value_name = "DURATION", value_parser = units::parse_duration)]
    shutdown_grace: Option<Duration>,
    /// A YAML file with the names of these flags as keys
    #[arg(long, env = "SPANDREL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the resulting settings as YAML, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) http_addr: SocketAddr,
    pub(crate) otlp_grpc_addr: SocketAddr,
    pub(crate) otlp_http_addr: SocketAddr,
    pub(crate) receivers: ReceiverSettings,
    pub(crate) kafka: KafkaSources,
    pub(crate) retention: Duration,
    pub(crate) max_disk: DiskBound,
    pub(crate) retention_rules: Vec<Rule>,
    pub(crate) rollup_retention: Option<Duration>,
    pub(crate) durability: Durability,
    pub(crate) tls: TlsSettings,
    pub(crate) cors_origin: Vec<String>,
    pub(crate) encryption: EncryptionSettings,
    pub(crate) gate: GateSettings,
    pub(crate) tenants: TenantSettings,
    pub(crate) clean: CleanSettings,
    pub(crate) other_signals: OtherSignals,
    pub(crate) resend_window: Duration,
    pub(crate) max_tree_spans: u64,
    pub(crate) limits: Vec<Setting>,
    pub(crate) log_format: LogFormat,
    pub(crate) shutdown_grace: Duration,
}

/// The failures that acknowledged spans survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// SIGKILL and power loss
    Sync,
    /// SIGKILL
    Os,
    /// Neither
    None,
}

/// What becomes of other signals than traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OtherSignals {
    /// They are refused, and the answer names the setting that ends them
    Refuse,
    /// They are taken, dropped and counted
    Discard,
}

/// The format of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

// === resolving ===

/// Puts flags, environment and file together and checks the result.
pub(crate) fn resolve(flags: ServeFlags) -> Result<Settings, Box<dyn Error>> {
    let file = match &flags.config {
        Some(path) => read_file(path)?,
        None => parse_as_flags(Vec::new())?,
    };
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let settings = Settings {
        data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| "./data".into()),
        http_addr: flags.http_addr.or(file.http_addr).unwrap_or(address(16686)),
        otlp_grpc_addr: flags.otlp_grpc_addr.or(file.otlp_grpc_addr).unwrap_or(address(4317)),
        otlp_http_addr: flags.otlp_http_addr.or(file.otlp_http_addr).unwrap_or(address(4318)),
        receivers: flags.receivers.over(file.receivers),
        kafka: flags.kafka.over(file.kafka)?,
        retention: flags.retention.or(file.retention).unwrap_or(Duration::from_secs(7 * 24 * 3600)),
        max_disk: flags.max_disk.or(file.max_disk).unwrap_or_default(),
        retention_rules: if flags.retention_rules.is_empty() {
            file.retention_rules
        } else {
            flags.retention_rules
        },
        rollup_retention: flags.rollup_retention.or(file.rollup_retention),
        durability: flags.durability.or(file.durability).unwrap_or(Durability::Sync),
        tls: TlsSettings {
            cert: flags.tls_cert.or(file.tls_cert),
            key: flags.tls_key.or(file.tls_key),
            client_ca: flags.tls_client_ca.or(file.tls_client_ca),
            client_auth: flags.tls_client_auth.or(file.tls_client_auth),
            // As with limits, a later one wins.
            exceptions: [file.tls, flags.tls].concat(),
        },
        cors_origin: if flags.cors_origin.is_empty() { file.cors_origin } else { flags.cors_origin },
        encryption: flags.encryption.over(file.encryption),
        gate: flags.gate.over(file.gate),
        tenants: flags.tenants.or(file.tenants).unwrap_or_default(),
        clean: CleanSettings {
            file: if flags.clean.is_none() { flags.config.clone() } else { None },
            rules: flags.clean.or(file.clean).unwrap_or_default(),
        },
        other_signals: flags.other_signals.or(file.other_signals).unwrap_or(OtherSignals::Refuse),
        resend_window: flags.resend_window.or(file.resend_window).unwrap_or(Duration::from_secs(300)),
        max_tree_spans: flags.max_tree_spans.or(file.max_tree_spans).unwrap_or(200_000),
        // Limits from flags or the environment come last, because a later value of the same limit wins.
        limits: [file.limits, flags.limits].concat(),
        log_format: flags.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
        shutdown_grace: flags.shutdown_grace.or(file.shutdown_grace).unwrap_or(Duration::from_secs(10)),
    };
    settings.check()?;
    Ok(settings)
}

fn read_file(path: &Path) -> Result<ServeFlags, Box<dyn Error>> {
    let place = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read --config {place}: {error}"))?;
    if text.trim().is_empty() {
        return parse_as_flags(Vec::new());
    }
    let keys: BTreeMap<String, Value> = serde_saphyr::from_str(&text)
        .map_err(|error| format!("{place} is not a mapping of keys to values: {error}"))?;
    // As flags they would have no place in the file.
    clean_flags::check_file(&text).map_err(|error| format!("{place}: {error}"))?;
    let mut words = Vec::new();
    for (key, value) in keys {
        if !known_keys().contains(&key) {
            let known = known_keys().join(", ");
            return Err(format!("{place}: unknown key `{key}`; allowed are {known}").into());
        }
        for text in words_of(&key, &value).ok_or_else(|| {
            format!(
                "{place}: `{key}` has the value {value}; allowed is text, a number, true or false, or a list of them, for \
                 retention-rules mappings of `match` and `keep`, for limits one of names and values, and for tls one \
                 of listeners and `off` or members"
            )
        })? {
            words.push(format!("--{key}={text}"));
        }
    }
    parse_as_flags(words).map_err(|error| format!("{place}: {error}").into())
}

/// Keys whose mappings, or lists of them, go to their flag as JSON.
const JSON_KEYS: [&str; 7] =
    ["roles", "tenants", "jwt-issuers", "oidc", "client-identities", "clean", "kafka"];

/// The values of one key, written as those of a flag.
fn words_of(key: &str, value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Object(listeners) if key == "tls" => tls_flags::words(listeners),
        Value::Object(_) | Value::Array(_) if JSON_KEYS.contains(&key) => Some(vec![value.to_string()]),
        Value::Object(members) if key == "limits" => {
            let one = |(name, value): (&String, &Value)| match scalars(value)?.as_slice() {
                [value] => Some(format!("{name}={value}")),
                _ => None,
            };
            members.iter().map(one).collect()
        }
        value => scalars(value),
    }
}

fn scalars(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Object(members) => Rule::words(members).map(|rule| vec![rule]),
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::Bool(switch) => Some(vec![switch.to_string()]),
        Value::Array(items) if !items.iter().any(Value::is_array) => {
            items.iter().map(scalars).collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
        _ => None,
    }
}

fn parse_as_flags(words: Vec<String>) -> Result<ServeFlags, Box<dyn Error>> {
    // The environment is not read here: it takes precedence over the file.
    let command = ServeFlags::augment_args(Command::new("config").no_binary_name(true))
        .mut_args(|arg| arg.env(Resettable::<OsStr>::Reset));
    let matches = command.try_get_matches_from(words)?;
    Ok(ServeFlags::from_arg_matches(&matches)?)
}

/// The keys of the file: all flags but `config` and `print-config`.
fn known_keys() -> Vec<String> {
    let command = ServeFlags::augment_args(Command::new("config"));
    let names = command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned));
    names.filter(|name| name != "config" && name != "print-config").collect()
}

fn origin(text: &str) -> Result<String, String> {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match authority {
        _ if text == "*" => Ok(text.to_owned()),
        Some(host) if !host.is_empty() && !host.contains('/') => Ok(text.to_owned()),
        _ => Err("allowed is scheme://host or scheme://host:port, or * for any".to_owned()),
    }
}

// === impl Settings ===

impl Settings {
    /// The addresses to listen on, by the name of their flag.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let own = [
            ("http-addr", self.http_addr),
            ("otlp-grpc-addr", self.otlp_grpc_addr),
            ("otlp-http-addr", self.otlp_http_addr),
        ];
        own.into_iter()
            .chain(self.receivers.on().map(|(receiver, address)| (receiver.flag(), address)))
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        limits::check(&self.limits)?;
        self.encryption.check()?;
        let files = LISTENERS.iter().map(|listener| self.tls.files(listener));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let asks_for_certificates = files.iter().flatten().any(|files| files.client.is_some());
        if self.gate.knows_certificates() && !asks_for_certificates {
            return Err(
                "--client-identities has rules for client certificates, and no listener asks for one; give --tls-client-ca, \
                 the authorities that issue them, beside --tls-cert and --tls-key, and leave --tls-client-auth at optional \
                 or required"
                    .to_owned(),
            );
        }
        let all = self.addresses();
        for (at, (name, address)) in all.iter().enumerate() {
            let same = |other: &&(&str, SocketAddr)| {
                let both = [address.ip(), other.1.ip()];
                let overlap = both[0] == both[1] || both.iter().any(|ip| ip.is_unspecified());
                address.port() != 0 && address.port() == other.1.port() && overlap
            };
            if let Some((other, _)) = all[..at].iter().find(same) {
                return Err(format!(
                    "--{other} and --{name} both have {address}; allowed is a port of its own for each, or 0 for any free one"
                ));
            }
        }
        if !self.tenants.is_empty() && !self.gate.multitenancy() {
            return Err(
                "--tenants needs --multitenancy, without which everything is the tenant default".to_owned()
            );
        }
        if let Some(tenant) = self.kafka.named_tenant().filter(|_| !self.gate.multitenancy()) {
            return Err(format!(
                "--kafka has a source of the tenant {tenant}, which needs --multitenancy; without it everything is the tenant \
                 default"
            ));
        }
        let datagrams = self.receivers.on().find(|(receiver, _)| receiver.transport() == Transport::Udp);
        if let Some((receiver, _)) = datagrams.filter(|_| self.gate.access() == Access::Authenticated) {
            return Err(format!(
                "--{} and --require-auth contradict each other: datagrams carry no credential; allowed is a receiver over \
                 HTTP or gRPC, like --jaeger-http-addr",
                receiver.flag()
            ));
        }
        self.gate.check(&all)
    }
}

/// Plain words that YAML does not read as text.
const YAML_WORDS: [&str; 8] = ["off", "on", "no", "yes", "n", "y", "true", "false"];

/// Prints the settings as a configuration file with the same values.
pub(crate) fn print(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map(|v| v.get_name().to_owned()).unwrap_or_default()
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string().into());
    let TlsSettings { cert, key, client_ca, client_auth, .. } = &settings.tls;
    let client_auth = client_auth.map(|auth| name(auth.to_possible_value()).into());
    let exceptions = Some(settings.tls.exceptions_to_json()).filter(|all| !all.is_empty());
    // Names of files are shown, what is in them never.
    let tls = [
        ("tls-cert", path(cert)),
        ("tls-key", path(key)),
        ("tls-client-ca", path(client_ca)),
        ("tls-client-auth", client_auth),
        ("tls", exceptions.map(Value::from)),
    ];
    let tls = tls.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let mut rows: Vec<(&str, Value)> = vec![
        ("data-dir", settings.data_dir.display().to_string().into()),
        ("http-addr", settings.http_addr.to_string().into()),
        ("otlp-grpc-addr", settings.otlp_grpc_addr.to_string().into()),
        ("otlp-http-addr", settings.otlp_http_addr.to_string().into()),
        ("retention", units::duration_word(settings.retention).into()),
        ("max-disk", settings.max_disk.to_string().into()),
        ("retention-rules", settings.retention_rules.iter().map(Rule::to_json).collect()),
        (
            "rollup-retention",
            units::duration_word(settings.rollup_retention.unwrap_or(settings.retention)).into(),
        ),
        ("durability", name(settings.durability.to_possible_value()).into()),
        ("cors-origin", settings.cors_origin.clone().into()),
        ("tenants", settings.tenants.to_json()),
        ("kafka", settings.kafka.to_json()),
        ("clean", settings.clean.rules.to_json()),
        ("other-signals", name(settings.other_signals.to_possible_value()).into()),
        ("resend-window", units::duration_word(settings.resend_window).into()),
        ("max-tree-spans", settings.max_tree_spans.into()),
        ("limits", limits::to_json(&settings.limits).into()),
        ("log-format", name(settings.log_format.to_possible_value()).into()),
        ("shutdown-grace", units::duration_word(settings.shutdown_grace).into()),
    ];
    rows.extend(settings.receivers.rows().map(|(key, value)| (key, value.into())));
    rows.extend(settings.encryption.rows());
    rows.extend(settings.gate.rows());
    let mut out = std::io::stdout().lock();
    for (key, value) in rows.into_iter().chain(tls) {
        // A JSON value is a YAML value; plain words need no quotes.
        match value
            .as_str()
            .filter(|text| text.chars().all(|c| c.is_ascii_alphanumeric() || "./:_-%".contains(c)))
            .filter(|text| !YAML_WORDS.contains(text))
        {
            Some(plain) => writeln!(out, "{key}: {plain}")?,
            None => writeln!(out, "{key}: {value}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use spandrel_collector::CollectorConfig;
    use spandrel_storage::StoreConfig;

    use super::*;

    fn with_file(text: &str, words: &[&str]) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words.push(format!("--config={}", file.path().display()));
        parse_as_flags(words).and_then(resolve).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_stand_above_the_file_and_the_file_above_the_defaults() {
        let file = "retention: 2d\nhttp-addr: 127.0.0.1:1\ncors-origin: [https://a.example, 'https://b.example:1']\n";
        let settings = with_file(file, &["--http-addr=127.0.0.1:2"]).unwrap();
        assert_eq!(settings.http_addr.port(), 2);
        assert_eq!(settings.retention, Duration::from_secs(2 * 86400));
        assert_eq!(settings.cors_origin, ["https://a.example", "https://b.example:1"]);
        assert_eq!(settings.max_tree_spans, 200_000);
    }

    #[test]
    fn what_is_kept_can_be_said_in_the_file() {
        let file = "max-disk: 200GB\nrollup-retention: 30d\nretention-rules:\n  - match: '{ failed }'\n    keep: 30d\n  - '1d: { name = \"x\" }'\n";
        let settings = with_file(file, &[]).unwrap();
        assert_eq!(settings.max_disk, DiskBound::Bytes(200_000_000_000));
        assert_eq!(settings.rollup_retention, Some(Duration::from_secs(30 * 86400)));
        let rules: Vec<Value> = settings.retention_rules.iter().map(Rule::to_json).collect();
        let rule = |selector: &str, keep: &str| serde_json::json!({ "match": selector, "keep": keep });
        assert_eq!(rules, [rule("{ failed }", "30days"), rule("{ name = \"x\" }", "1day")]);
        let settings = with_file(file, &["--retention-rules=2d: { }"]).unwrap();
        assert_eq!(settings.retention_rules.len(), 1, "flags stand above the file");
    }

    #[test]
    fn limits_of_the_flags_stand_above_those_of_the_file_one_by_one() {
        let file = "limits:\n  cacheBytes: 2MiB\n  merge_age: 3s\n  max-batch-spans: 7\n";
        let settings = with_file(file, &["--limits=cacheBytes=4MiB,sealedRows=2000"]).unwrap();
        let (mut store, mut collector) = (StoreConfig::default(), CollectorConfig::default());
        limits::apply_to_store(&settings.limits, &mut store);
        limits::apply_to_collector(&settings.limits, &mut collector);
        assert_eq!((store.cache_bytes, store.sealed_rows), (4 << 20, 2000));
        assert_eq!((store.merge_age, collector.limits.max_batch_spans), (Duration::from_secs(3), 7));
    }

    #[test]
    fn tls_can_be_said_for_all_listeners_and_for_one() {
        let file = "tls-cert: a.crt\ntls-key: a.key\ntls-client-ca: ca.crt\ntls:\n  http: off\n  otlp-grpc:\n    client-auth: required\n";
        let settings = with_file(file, &["--tls-key=b.key"]).unwrap();
        assert_eq!(settings.tls.files("http"), Ok(None));
        let grpc = settings.tls.files("otlp-grpc").unwrap().unwrap();
        assert_eq!((grpc.certificate.path, grpc.key.path), ("a.crt".into(), "b.key".into()));
        assert_eq!(grpc.client.unwrap().1, spandrel_gate::tls::ClientAuth::Required);
        let settings = with_file(file, &["--tls=http.client-auth=off,otlp-http=off"]).unwrap();
        assert!(
            settings.tls.files("http").unwrap().unwrap().client.is_none(),
            "a flag stands above the file"
        );
        assert_eq!(settings.tls.files("otlp-http"), Ok(None));
    }

    #[test]
    fn a_plain_off_of_yaml_asks_for_no_client_certificates() {
        let file = "tls-cert: a.crt\ntls-key: a.key\ntls-client-ca: ca.crt\ntls-client-auth: off\n";
        let settings = with_file(file, &[]).unwrap();
        assert_eq!(settings.tls.client_auth, Some(ClientAuth::Off));
        assert_eq!(settings.tls.files("http").unwrap().unwrap().client, None);
    }

    #[test]
    fn rules_for_client_certificates_need_a_listener_that_asks_for_them() {
        let rules = "client-identities: [{match: 'cn:a', role: read}]\n";
        let pair = "tls-cert: a.crt\ntls-key: a.key\n";
        for without in ["", pair, &format!("{pair}tls-client-ca: ca.crt\ntls-client-auth: off\n")] {
            let error = with_file(&format!("{rules}{without}"), &[]).unwrap_err();
            assert!(error.contains("--client-identities") && error.contains("--tls-client-ca"), "{error}");
        }
        let one = format!("{rules}{pair}tls-client-ca: ca.crt\ntls: {{http: off, otlp-http: off}}\n");
        assert!(with_file(&one, &[]).is_ok(), "one listener is enough");
    }

    #[test]
    fn refusals_name_the_key_the_value_and_what_is_allowed() {
        for (file, words) in [
            ("retentoin: 7d", ["retentoin", "allowed are", "retention"]),
            ("retention: 5m", ["--retention", "5m", "1h and more"]),
            ("retention: soon", ["--retention", "soon", "like 30s, 5m, 12h or 7d"]),
            ("shutdown-grace: 101y", ["--shutdown-grace", "101y", "up to 100y"]),
            ("http-addr: nowhere:1", ["--http-addr", "nowhere:1", "IP:PORT"]),
            ("max-disk: 0%", ["--max-disk", "0%", "85%, 200GB"]),
            ("max-disk: lots", ["--max-disk", "lots", "85%, 200GB"]),
            ("retention-rules: ['30d { failed }']", ["--retention-rules", "30d { failed }", "KEEP:TRACEQL"]),
            (
                "retention-rules: [{match: '{ nope', keep: 30d}]",
                ["--retention-rules", "{ nope", "at character"],
            ),
            ("retention-rules: [{match: '{ }', keep: 5m}]", ["--retention-rules", "5m", "1h and more"]),
            (
                "retention-rules: [{match: '{ }', till: 5d}]",
                ["retention-rules", "till", "`match` and `keep`"],
            ),
            ("tls-cert: a.crt", ["--tls-cert a.crt", "without a key", "--tls-key"]),
            ("tls-client-auth: maybe", ["--tls-client-auth", "maybe", "off, optional, required"]),
            ("tls: {web: off}", ["--tls", "web=off", "otlp-grpc"]),
            ("tls: {http: {chain: a}}", ["--tls", "http.chain=a", "client-ca"]),
            ("tls: {http: 1}", ["tls", "{\"http\":1}", "of listeners"]),
            ("durability: perhaps", ["--durability", "perhaps", "sync, os, none"]),
            ("limits: {cashBytes: 1}", ["--limits", "cashBytes", "cacheBytes"]),
            ("limits: {maxInflightBytes: 100MiB}", ["maxInflightBytes", "maxDecompressedBytes", "134217728"]),
            ("limits: {cacheBytes: 1}", ["--limits", "cacheBytes=1", "64MiB"]),
            ("limits: {cacheBytes: [1, 2]}", ["limits", "[1,2]", "names and values"]),
            ("max-tree-spans: 0", ["--max-tree-spans", "0", "1..=5000000"]),
            ("cors-origin: shop", ["--cors-origin", "shop", "scheme://host"]),
            ("require-auth: perhaps", ["--require-auth", "perhaps", "true"]),
            ("trusted-proxies: [10.0.0.0/99]", ["--trusted-proxies", "10.0.0.0/99", "10.0.0.0/8"]),
            ("http-addr: 0.0.0.0:1", ["--http-addr", "--require-auth", "--allow-anonymous"]),
            (
                "jaeger-compact-addr: 127.0.0.1:0\nrequire-auth: true",
                ["--jaeger-compact-addr", "--require-auth", "no credential"],
            ),
            ("zipkin-addr: maybe", ["--zipkin-addr", "maybe", "off"]),
            ("zipkin-addr: 127.0.0.1:4317", ["--zipkin-addr", "127.0.0.1:4317", "a port of its own"]),
            ("http-addr: {a: b}", ["http-addr", "{\"a\":\"b\"}", "allowed"]),
            ("http-addr: 127.0.0.1:4317", ["--http-addr", "127.0.0.1:4317", "a port of its own"]),
            ("[1, 2]", ["mapping", "keys", "values"]),
        ] {
            let error = with_file(file, &[]).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{file}: {error}");
        }
    }

    #[test]
    fn access_is_decided_in_the_file_or_by_flags() {
        let beyond = "http-addr: 0.0.0.0:1\nrequire-auth: true\ntrusted-proxies: [10.0.0.0/8, '::1']\n";
        let settings = with_file(beyond, &[]).unwrap();
        assert_eq!(settings.gate.access(), spandrel_gate::Access::Authenticated);
        let error = with_file(beyond, &["--require-auth=false"]).unwrap_err();
        assert!(error.contains("beyond loopback"), "{error}");
        let open = with_file("http-addr: 0.0.0.0:1\n", &["--allow-anonymous"]).unwrap();
        assert_eq!(open.gate.access(), spandrel_gate::Access::Anonymous);
        let rows: Vec<String> =
            settings.gate.rows().iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let again = with_file(&format!("http-addr: 0.0.0.0:1\n{}", rows.join("\n")), &[]).unwrap();
        assert_eq!(again.gate, settings.gate);
    }

    #[test]
    fn a_receiver_can_be_switched_off() {
        let on = |settings: Settings| {
            settings.receivers.on().map(|(_, address)| address.port()).collect::<Vec<_>>()
        };
        assert_eq!(on(with_file("", &[]).unwrap()), [9411]);
        assert!(on(with_file("zipkin-addr: off", &[]).unwrap()).is_empty());
        assert_eq!(on(with_file("zipkin-addr: off", &["--zipkin-addr=localhost:1"]).unwrap()), [1]);
        assert!(on(with_file("zipkin-addr: 127.0.0.1:2", &["--zipkin-addr=off"]).unwrap()).is_empty());
    }

    #[test]
    fn localhost_is_loopback() {
        let settings = with_file("http-addr: localhost:17", &[]).unwrap();
        assert_eq!(settings.http_addr, SocketAddr::from(([127, 0, 0, 1], 17)));
    }

    #[test]
    fn port_zero_never_conflicts() {
        let any = "http-addr: 127.0.0.1:0\notlp-http-addr: 127.0.0.1:0\notlp-grpc-addr: 127.0.0.1:0\nzipkin-addr: 127.0.0.1:0\n";
        assert!(with_file(any, &[]).is_ok());
    }
}
