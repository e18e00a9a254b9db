//! The settings of a source, and the client that they make.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerRebalanceListener};
use krafka::{Kafka, KrafkaError};
use spandrel_collector::MessageEncoding;
use spandrel_proto::TenantId;

/// Where to read, as whom, and for which tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// Brokers to ask first, as `HOST:PORT`.
    pub brokers: Vec<String>,
    /// Topics to read.
    pub topics: Vec<String>,
    /// What their messages are.
    pub encoding: MessageEncoding,
    /// The consumer group, whose offsets Kafka keeps.
    pub group: String,
    /// The name of this client in the logs of brokers.
    pub client_id: String,
    /// Where a group begins that has no offsets yet.
    pub start: Start,
    /// How long the group waits for a member that gives no sign of life, as after a crash, before it reads on without.
    pub session_timeout: Duration,
    /// Whose spans they are.
    pub tenant: TenantId,
    /// How brokers are known; without it they are spoken to in plain text.
    pub tls: Option<Tls>,
    /// Who this client is.
    pub sasl: Option<Sasl>,
}

/// Where a group begins that has no offsets yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest message that Kafka has.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// TLS to the brokers. Files are read again with every new connection to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Authorities of the brokers, as PEM; those of the operating system, if absent.
    pub ca: Option<PathBuf>,
    /// The certificate and key of this client, as PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// A user and where the password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// The user.
    pub user: String,
    /// Where the password is.
    pub password: Password,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// It is sent.
    Plain,
    /// A proof of it is sent.
    ScramSha256,
    /// The same with a longer hash.
    ScramSha512,
}

/// Where a password is. It is read when it is used, and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the password is not there: {0}")]
    Password(String),
    #[error(transparent)]
    Kafka(#[from] KrafkaError),
}

/// Messages of one read.
const READ_RECORDS: i32 = 2_000;
/// Messages that the client keeps besides.
const BUFFERED_RECORDS: i32 = 4_000;
/// Bytes that brokers give at once, as they are stored there; a longer batch of a producer comes as a whole.
const FETCH_BYTES: i32 = 8 << 20;
/// The same of one partition.
const PARTITION_BYTES: i32 = 1 << 20;
/// Bytes of a producer's batch after decompression.
const BATCH_BYTES: usize = 64 << 20;
/// How long an answer of a broker may be: a producer's longest batch, and what belongs to it.
const RESPONSE_BYTES: usize = 64 << 20;
/// How old the knowledge of topics may be.
const METADATA_AGE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

// === impl SourceConfig ===

impl SourceConfig {
    pub(crate) async fn connect(&self) -> Result<Kafka, ConnectError> {
        let mut builder = Kafka::builder(self.brokers.join(","))
            .client_id(&self.client_id)
            .connect_timeout(CONNECT_TIMEOUT)
            .metadata_max_age(METADATA_AGE)
            .max_response_size(RESPONSE_BYTES);
        if let Some(security) = self.security()? {
            builder = builder.security(security);
        }
        Ok(builder.connect().await?)
    }

    pub(crate) async fn join(
        &self,
        kafka: &Kafka,
        listener: impl ConsumerRebalanceListener + 'static,
    ) -> Result<Consumer, ConnectError> {
        let consumer = kafka
            .consumer(&self.group)
            .enable_auto_commit(false)
            .auto_offset_reset(match self.start {
                Start::Earliest => AutoOffsetReset::Earliest,
                Start::Latest => AutoOffsetReset::Latest,
            })
            .max_poll_records(READ_RECORDS)
            .max_buffered_records(BUFFERED_RECORDS)
            .fetch_max_bytes(FETCH_BYTES)
            .max_partition_fetch_bytes(PARTITION_BYTES)
            .max_decompressed_size(BATCH_BYTES)
            .session_timeout(self.session_timeout)
            .heartbeat_interval(self.session_timeout / 4)
            .rebalance_listener(listener)
            .build()
            .await?;
        consumer.subscribe(&self.topics).await?;
        Ok(consumer)
    }

    fn security(&self) -> Result<Option<AuthConfig>, ConnectError> {
        let login = self.sasl.as_ref().map(Sasl::login).transpose()?;
        let Some(tls) = &self.tls else { return Ok(login) };
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let mut config = match &tls.ca {
            Some(ca) => TlsConfig::new().with_ca_cert(text(ca)),
            None => TlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &tls.client {
            config = config.with_client_cert(text(certificate), text(key));
        }
        Ok(Some(match login {
            Some(login) => login.with_tls(config),
            None => AuthConfig::ssl(config),
        }))
    }
}

// === impl Sasl ===

impl Sasl {
    fn login(&self) -> Result<AuthConfig, ConnectError> {
        let password = self.password.read().map_err(ConnectError::Password)?;
        Ok(match self.mechanism {
            SaslMechanism::Plain => AuthConfig::sasl_plain(&self.user, password),
            SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(&self.user, password),
            SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(&self.user, password),
        })
    }
}

// === impl Password ===

impl Password {
    /// The password, which the client wipes.
    fn read(&self) -> Result<String, String> {
        match self {
            Self::File(path) => match fs::read_to_string(path) {
                Ok(text) => Ok(text.lines().next().unwrap_or_default().to_owned()),
                Err(error) => Err(format!("cannot read {}: {error}", path.display())),
            },
            Self::Variable(name) => {
                std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))
            }
        }
    }
}

// === impl Start ===

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
        })
    }
}
