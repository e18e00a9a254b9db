//! gRPC requests between services.

use super::exchange::{self, Exchange, Side};
use crate::failure::Answer;
use crate::fleet::{Member, Scope};
use crate::stage::{Opening, Stage, Work};
use crate::topology::Service;
use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, KeyValue, StringValue, Value};
use std::time::Duration;

const PORT: i64 = 50051;

/// A gRPC request.
pub(crate) struct Request {
    /// `package.Service/Method`.
    method: &'static str,
    service: Service,
    to: Option<Member>,
    deadline: Option<Duration>,
    previous_attempts: usize,
}

impl Request {
    pub(crate) fn new(service: Service, method: &'static str) -> Self {
        Self { method, service, to: None, deadline: None, previous_attempts: 0 }
    }

    /// Sets the time after which the client gives up.
    pub(crate) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sends the request to this instance, with the number of attempts before.
    pub(crate) fn attempt(mut self, to: Member, previous_attempts: usize) -> Self {
        self.to = Some(to);
        self.previous_attempts = previous_attempts;
        self
    }
}

/// One service calls another.
pub(crate) fn call(
    stage: &mut Stage,
    caller: &mut Work,
    request: Request,
    handle: impl FnOnce(&mut Stage, &mut Work) -> Answer,
) -> Answer {
    let to = request.to.unwrap_or_else(|| stage.choose(request.service));
    let common = || {
        [
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", request.method),
            KeyValue::new("server.address", request.service.address()),
            KeyValue::new("server.port", PORT),
        ]
    };
    let mut client = Opening::new(Scope::Rpc, SpanKind::Client, request.method)
        .with(common())
        .with([KeyValue::new("network.peer.address", stage.fleet.instance(to).ip())]);
    if request.previous_attempts > 0 {
        let attempts = StringValue::from(request.previous_attempts.to_string());
        client = client.with([KeyValue::new(
            "rpc.request.metadata.grpc-previous-rpc-attempts",
            Value::Array(Array::String(vec![attempts])),
        )]);
    }
    let server = Opening::new(Scope::Rpc, SpanKind::Server, request.method)
        .with(common())
        .with([KeyValue::new("client.address", stage.fleet.instance(caller.member).ip())]);
    let exchange = Exchange { to, client, server, deadline: request.deadline };
    exchange::play(stage, caller, exchange, finish, handle)
}

/// Every code but OK is an error of the CLIENT span; of the SERVER span only if the server is at fault.
fn finish(work: &mut Work, side: Side, answer: Answer) {
    let code = answer.map_or_else(|failure| failure.rpc_code(), |()| "OK");
    work.set("rpc.response.status_code", code);
    if let Err(failure) = answer
        && (side == Side::Client || failure.is_servers_fault())
    {
        work.fail(code, failure.message());
    }
}
