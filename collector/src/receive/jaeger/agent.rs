//! Datagrams of clients that sent to an agent beside them. A datagram has no sender that waits for an answer, so what is
//! not stored is lost, and counted.

use std::sync::Arc;

use ::metrics::{Counter, counter};
use bytes::Bytes;
use spandrel_proto::Caller;

use crate::encoding::Encoding;
use crate::intake::{Accepted, Intake, Payload};
use crate::receive::plain;
use crate::refusal::Refusal;
use crate::route::Route;

/// The thrift protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentProtocol {
    /// Usually at 6831.
    Compact,
    /// Usually at 6832.
    Binary,
}

/// What takes the datagrams of one port.
pub struct Agent {
    intake: Arc<Intake>,
    route: Route,
    received: Counter,
    refused: Counter,
    dropped: Counter,
}

// === impl Agent ===

impl Agent {
    pub(crate) fn new(intake: Arc<Intake>, protocol: AgentProtocol) -> Self {
        let route = match protocol {
            AgentProtocol::Compact => Route::JaegerCompact,
            AgentProtocol::Binary => Route::JaegerBinary,
        };
        let format = route.labels().format;
        let lost = |why: &'static str| counter!("spandrel_ingest_datagrams_lost_total", "receiver" => "jaeger", "format" => format, "why" => why);
        Self {
            intake,
            route,
            received: counter!("spandrel_ingest_datagrams_total", "receiver" => "jaeger", "format" => format),
            refused: lost("refused"),
            dropped: lost("socket"),
        }
    }

    /// Stores the spans of a datagram, and returns when they are durable or lost.
    pub async fn take(&self, datagram: Bytes) {
        self.received.increment(1);
        if let Err(refusal) = self.export(datagram).await.and_then(plain::some_accepted) {
            self.refused.increment(1);
            self.intake.metrics.refused(&refusal);
            tracing::debug!(%refusal, "a datagram is lost");
        }
    }

    /// Reports how many datagrams the operating system has dropped since the port was opened.
    pub fn dropped(&self, datagrams: u64) {
        self.dropped.absolute(datagrams);
    }

    async fn export(&self, bytes: Bytes) -> Result<Accepted, Refusal> {
        let caller = Caller::default();
        let arrival = self.intake.admit(&caller)?;
        let mut held = self.intake.budget.reserve(caller.tenants.first());
        held.grow(bytes.len())?;
        let (encoding, route) = (Encoding::Identity, self.route);
        self.intake.export(arrival, Payload { bytes, encoding, route, caller, held }).await
    }
}
