//! Messages of Kafka's topics. Who reads them, and where from, is not known here: a reader hands over one message
//! after another, and learns of each whether its place in the topic may be committed.
//!
//! A topic has no sender that could be told to send again later, so a message that may be taken later is tried again
//! here until it is. The reader stops reading meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spandrel_proto::{Caller, TenantId};
use tokio::time::sleep;

use super::plain;
use crate::encoding::Encoding;
use crate::intake::{Intake, Payload};
use crate::refusal::Refusal;
use crate::route::Route;

/// What the messages of a topic are, by the names that the OpenTelemetry Collector has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageEncoding {
    /// A request of OTLP.
    OtlpProto,
    /// The same in JSON.
    OtlpJson,
    /// One span of Jaeger in protobuf, with its process.
    JaegerProto,
    /// The same in protobuf's JSON.
    JaegerJson,
    /// A list of spans of Zipkin version 2 in JSON.
    ZipkinJson,
    /// The same in protobuf.
    ZipkinProto,
    /// A list of spans of Zipkin version 1 in thrift's binary protocol.
    ZipkinThrift,
}

/// Where the messages of topics go.
#[derive(Clone)]
pub struct MessageSink {
    intake: Arc<Intake>,
    caller: Caller,
    route: Route,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Its spans are durable.
    Stored,
    /// It never will be: the reason.
    Refused(String),
}

/// The longest pause before a message is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a message is tried on which this program fails: it must not keep those behind it for ever.
const DEFECTS: usize = 3;

// === impl MessageEncoding ===

impl MessageEncoding {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::OtlpProto,
        Self::OtlpJson,
        Self::JaegerProto,
        Self::JaegerJson,
        Self::ZipkinJson,
        Self::ZipkinProto,
        Self::ZipkinThrift,
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtlpProto => "otlp_proto",
            Self::OtlpJson => "otlp_json",
            Self::JaegerProto => "jaeger_proto",
            Self::JaegerJson => "jaeger_json",
            Self::ZipkinJson => "zipkin_json",
            Self::ZipkinProto => "zipkin_proto",
            Self::ZipkinThrift => "zipkin_thrift",
        }
    }

    fn route(self) -> Route {
        match self {
            Self::OtlpProto => Route::KafkaOtlpProtobuf,
            Self::OtlpJson => Route::KafkaOtlpJson,
            Self::JaegerProto => Route::KafkaJaegerProtobuf,
            Self::JaegerJson => Route::KafkaJaegerJson,
            Self::ZipkinJson => Route::KafkaZipkinJson,
            Self::ZipkinProto => Route::KafkaZipkinProtobuf,
            Self::ZipkinThrift => Route::KafkaZipkinThrift,
        }
    }
}

// === impl MessageSink ===

impl MessageSink {
    pub(crate) fn new(intake: Arc<Intake>, encoding: MessageEncoding, tenant: TenantId) -> Self {
        let caller = Caller { tenants: tenant.into(), sees_server: false, ..Caller::default() };
        Self { intake, caller, route: encoding.route() }
    }

    /// Stores the spans of a message. Returns when they are durable, or when they never will be; `waits` is told of
    /// every reason to try again. A call that is dropped has promised nothing.
    pub async fn take(&self, message: Bytes, waits: impl Fn(&str)) -> Taken {
        let mut defects = 0;
        loop {
            let refusal = match self.attempt(message.clone()).await {
                Ok(()) => return Taken::Stored,
                Err(refusal) => refusal,
            };
            defects += usize::from(matches!(refusal, Refusal::Broken));
            match refusal.mapping().retry_after {
                Some(after) if defects < DEFECTS => {
                    waits(&refusal.to_string());
                    sleep(after.min(PAUSE)).await;
                }
                _ => {
                    self.intake.metrics.refused(&refusal);
                    return Taken::Refused(refusal.to_string());
                }
            }
        }
    }

    async fn attempt(&self, bytes: Bytes) -> Result<(), Refusal> {
        let (caller, encoding, route) = (self.caller.clone(), Encoding::Identity, self.route);
        let arrival = self.intake.admit(&caller)?;
        let mut held = self.intake.budget.reserve(caller.tenants.first());
        held.grow(bytes.len())?;
        let payload = Payload { bytes, encoding, route, caller, held };
        self.intake.export(arrival, payload).await.and_then(plain::some_accepted).map(drop)
    }
}
