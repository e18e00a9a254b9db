//! Which topics of Kafka are read: flags for one source, and a list of mappings for what flags do not say (several
//! sources, TLS, passwords).

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spandrel_collector::MessageEncoding;
use spandrel_kafka::{Password, Sasl, SaslMechanism, SourceConfig, Start, Tls};
use spandrel_proto::TenantId;

use crate::units;

/// Sources, as flags say them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KafkaFlags {
    /// Brokers of Kafka from whose topics spans are read, as HOST:PORT [default: none]
    #[arg(long, env = "SPANDREL_KAFKA_BROKERS", value_name = "HOST:PORT", value_delimiter = ',')]
    kafka_brokers: Vec<String>,
    /// Topics to read [default: otlp_spans]
    #[arg(long, env = "SPANDREL_KAFKA_TOPICS", value_name = "TOPIC", value_delimiter = ',')]
    kafka_topics: Vec<String>,
    /// What their messages are: otlp_proto, otlp_json, jaeger_proto, jaeger_json, zipkin_json, zipkin_proto or
    /// zipkin_thrift [default: otlp_proto]
    #[arg(long, env = "SPANDREL_KAFKA_ENCODING", value_name = "ENCODING", value_parser = encoding)]
    kafka_encoding: Option<MessageEncoding>,
    /// The consumer group, whose offsets Kafka keeps [default: spandrel]
    #[arg(long, env = "SPANDREL_KAFKA_GROUP", value_name = "GROUP")]
    kafka_group: Option<String>,
    /// Where a group begins that has no offsets yet: earliest or latest [default: earliest]
    #[arg(long, env = "SPANDREL_KAFKA_START", value_name = "WHERE", value_parser = start)]
    kafka_start: Option<Start>,
    /// More sources: a list of mappings with brokers, topics, encoding, group, client-id, start, session-timeout,
    /// tenant, tls (ca, cert, key) and
    /// sasl (mechanism, user, and password-file or password-variable), as in '[{"brokers": ["a:9092"], "tenant": "shop"}]'
    /// [default: none]
    #[arg(long, env = "SPANDREL_KAFKA", value_name = "JSON", value_parser = sources)]
    kafka: Option<KafkaSources>,
}

/// Sources as they are written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct KafkaSources(Vec<Written>);

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    brokers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    topics: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_timeout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<WrittenTls>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sasl: Option<WrittenSasl>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenTls {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cert: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenSasl {
    mechanism: String,
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_variable: Option<String>,
}

const DEFAULT_TOPIC: &str = "otlp_spans";
const DEFAULT_NAME: &str = "spandrel";
/// The shortest that brokers allow, unless told otherwise, is 6 seconds.
const SESSION: Duration = Duration::from_secs(10);

fn encoding(text: &str) -> Result<MessageEncoding, String> {
    MessageEncoding::ALL.into_iter().find(|encoding| encoding.name() == text).ok_or_else(|| {
        let names = MessageEncoding::ALL.map(MessageEncoding::name);
        format!("{text:?} is no encoding; allowed are {}", names.join(", "))
    })
}

fn session_timeout(text: &str) -> Result<Duration, String> {
    let time = units::parse_duration(text).map_err(|error| format!("session-timeout {text:?}: {error}"))?;
    match (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&time) {
        true => Ok(time),
        false => Err(format!("session-timeout {text:?}: allowed is 1s to 5m, within what the brokers allow")),
    }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => Err(format!("{text:?}: allowed are earliest and latest")),
    }
}

/// Reads a list of sources.
fn sources(text: &str) -> Result<KafkaSources, String> {
    let all: KafkaSources = serde_json::from_str(text)
        .map_err(|error| format!(r#"allowed is a list like [{{"brokers": ["a:9092"]}}]: {error}"#))?;
    all.configs().map(|_| all)
}

// === impl KafkaFlags ===

impl KafkaFlags {
    /// These flags, above those of the file.
    pub(crate) fn over(self, file: Self) -> Result<KafkaSources, String> {
        let list = |flag: Vec<String>, file: Vec<String>| if flag.is_empty() { file } else { flag };
        let mut all = self.kafka.or(file.kafka).unwrap_or_default();
        let one = Written {
            brokers: list(self.kafka_brokers, file.kafka_brokers),
            topics: list(self.kafka_topics, file.kafka_topics),
            encoding: self.kafka_encoding.or(file.kafka_encoding).map(|encoding| encoding.name().to_owned()),
            group: self.kafka_group.or(file.kafka_group),
            start: self.kafka_start.or(file.kafka_start).map(|start| start.to_string()),
            ..Written::default()
        };
        match one.brokers.is_empty() {
            true if one != Written::default() => {
                return Err("--kafka-topics, --kafka-encoding, --kafka-group and --kafka-start need --kafka-brokers, which \
                     says where to read"
                    .to_owned());
            }
            true => {}
            false => all.0.insert(0, one),
        }
        all.configs().map_err(|error| format!("--kafka: {error}"))?;
        Ok(all)
    }
}

// === impl KafkaSources ===

impl KafkaSources {
    /// Checked settings of each source.
    pub(crate) fn configs(&self) -> Result<Vec<SourceConfig>, String> {
        let all = self.0.iter().map(Written::config).collect::<Result<Vec<_>, _>>()?;
        for (at, source) in all.iter().enumerate() {
            let same = |other: &&SourceConfig| {
                other.group == source.group && other.topics.iter().any(|topic| source.topics.contains(topic))
            };
            if let Some(other) = all[..at].iter().find(same) {
                return Err(format!(
                    "two sources read {} as the group {}, so that each would get a part of it; give one of them another \
                     group",
                    other.topics.join(", "),
                    other.group
                ));
            }
        }
        Ok(all)
    }

    /// The first tenant that is not the default one.
    pub(crate) fn named_tenant(&self) -> Option<&str> {
        let tenants = self.0.iter().filter_map(|source| source.tenant.as_deref());
        tenants.into_iter().find(|name| *name != TenantId::default().to_string())
    }

    /// As a value of a configuration file.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

// === impl Written ===

impl Written {
    fn config(&self) -> Result<SourceConfig, String> {
        for broker in &self.brokers {
            let is_address = broker.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            if !is_address {
                return Err(format!("broker {broker:?}: allowed is HOST:PORT, like kafka-1:9092"));
            }
        }
        if self.brokers.is_empty() {
            return Err("a source needs brokers".to_owned());
        }
        let or = |text: &Option<String>, default: &str| text.clone().unwrap_or_else(|| default.to_owned());
        let topics = match self.topics.is_empty() {
            true => vec![DEFAULT_TOPIC.to_owned()],
            false => self.topics.clone(),
        };
        Ok(SourceConfig {
            brokers: self.brokers.clone(),
            topics,
            encoding: self.encoding.as_deref().map_or(Ok(MessageEncoding::OtlpProto), encoding)?,
            group: or(&self.group, DEFAULT_NAME),
            client_id: or(&self.client_id, DEFAULT_NAME),
            start: self.start.as_deref().map_or(Ok(Start::Earliest), start)?,
            session_timeout: match &self.session_timeout {
                None => SESSION,
                Some(text) => session_timeout(text)?,
            },
            tenant: match &self.tenant {
                None => TenantId::default(),
                Some(name) => TenantId::new(name).map_err(|error| format!("tenant {name:?}: {error}"))?,
            },
            tls: self.tls.as_ref().map(WrittenTls::config).transpose()?,
            sasl: self.sasl.as_ref().map(WrittenSasl::config).transpose()?,
        })
    }
}

// === impl WrittenTls ===

impl WrittenTls {
    fn config(&self) -> Result<Tls, String> {
        let client = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            _ => return Err("tls: cert and key need each other".to_owned()),
        };
        Ok(Tls { ca: self.ca.clone(), client })
    }
}

// === impl WrittenSasl ===

impl WrittenSasl {
    fn config(&self) -> Result<Sasl, String> {
        let mechanism = match self.mechanism.to_ascii_lowercase().as_str() {
            "plain" => SaslMechanism::Plain,
            "scram-sha-256" => SaslMechanism::ScramSha256,
            "scram-sha-512" => SaslMechanism::ScramSha512,
            other => {
                return Err(format!(
                    "sasl: mechanism {other:?}; allowed are plain, scram-sha-256 and scram-sha-512"
                ));
            }
        };
        let password = match (&self.password_file, &self.password_variable) {
            (Some(file), None) => Password::File(file.clone()),
            (None, Some(variable)) => Password::Variable(variable.clone()),
            _ => return Err("sasl: give either password-file or password-variable".to_owned()),
        };
        Ok(Sasl { mechanism, user: self.user.clone(), password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_needs_brokers_and_has_the_defaults_of_the_collector() {
        let all = sources(r#"[{"brokers": ["a:9092", "b:9092"]}]"#).unwrap().configs().unwrap();
        let SourceConfig { brokers, topics, encoding, group, start, tenant, tls, sasl, .. } = &all[0];
        assert_eq!((brokers.len(), topics[0].as_str(), group.as_str()), (2, "otlp_spans", "spandrel"));
        assert_eq!(
            (encoding, start, tenant),
            (&MessageEncoding::OtlpProto, &Start::Earliest, &TenantId::default())
        );
        assert_eq!((tls, sasl), (&None, &None));
    }

    #[test]
    fn sources_read_back_as_they_are_printed() {
        let text = r#"[{"brokers": ["a:1"], "topics": ["t"], "encoding": "zipkin_json", "tenant": "shop", "start": "latest",
            "tls": {"ca": "ca.pem"}, "sasl": {"mechanism": "SCRAM-SHA-512", "user": "u", "password-file": "p"}}]"#;
        let all = sources(text).unwrap();
        assert_eq!(sources(&all.to_json().to_string()), Ok(all.clone()));
        assert_eq!(all.named_tenant(), Some("shop"));
        let sasl = all.configs().unwrap()[0].sasl.clone().unwrap();
        assert_eq!((sasl.mechanism, sasl.password), (SaslMechanism::ScramSha512, Password::File("p".into())));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("{}", "list"),
            (r#"[{"topics": ["a"]}]"#, "brokers"),
            (r#"[{"brokers": []}]"#, "brokers"),
            (r#"[{"brokers": ["a"]}]"#, "HOST:PORT"),
            (r#"[{"brokers": ["a:1"], "topic": "t"}]"#, "topic"),
            (r#"[{"brokers": ["a:1"], "encoding": "avro"}]"#, "otlp_proto"),
            (r#"[{"brokers": ["a:1"], "start": "now"}]"#, "earliest"),
            (r#"[{"brokers": ["a:1"], "tenant": "a/b"}]"#, "a/b"),
            (r#"[{"brokers": ["a:1"], "session-timeout": "1h"}]"#, "5m"),
            (r#"[{"brokers": ["a:1"], "tls": {"cert": "c"}}]"#, "key"),
            (r#"[{"brokers": ["a:1"], "sasl": {"mechanism": "gssapi", "user": "u"}}]"#, "scram-sha-256"),
            (r#"[{"brokers": ["a:1"], "sasl": {"mechanism": "plain", "user": "u"}}]"#, "password-file"),
            (r#"[{"brokers": ["a:1"]}, {"brokers": ["a:1"]}]"#, "another group"),
        ] {
            let error = sources(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
