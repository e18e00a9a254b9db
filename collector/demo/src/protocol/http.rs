//! HTTP requests: between services, from the user's browser, and to hosts outside the shop.

use super::exchange::{self, Exchange, Side};
use crate::failure::{Answer, Failure};
use crate::fleet::Scope;
use crate::stage::{Opening, Parent, Stage, Work};
use crate::topology::Service;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use std::time::SystemTime;

const PORT: i64 = 8080;

/// An HTTP request.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    /// The path with placeholders, as in the server's router.
    pub(crate) route: &'static str,
    pub(crate) path: &'a str,
}

/// One service calls another.
pub(crate) fn call(
    stage: &mut Stage,
    caller: &mut Work,
    to: Service,
    request: Request<'_>,
    handle: impl FnOnce(&mut Stage, &mut Work) -> Answer,
) -> Answer {
    let to_member = stage.choose(to);
    let peer = stage.fleet.instance(to_member).ip();
    let client = client_span(request, "http", &to.address(), PORT)
        .with([KeyValue::new("network.peer.address", peer), KeyValue::new("network.peer.port", PORT)]);
    let server = server_span(request, &to.address())
        .with([KeyValue::new("client.address", stage.fleet.instance(caller.member).ip())]);
    let exchange = Exchange { to: to_member, client, server, deadline: None };
    exchange::play(stage, caller, exchange, finish, handle)
}

/// A browser calls the shop: the root of a trace, in the gateway.
pub(crate) fn visit(
    stage: &mut Stage,
    request: Request<'_>,
    at: SystemTime,
    handle: impl FnOnce(&mut Stage, &mut Work) -> Answer,
) {
    let gateway = stage.choose(Service::Gateway);
    let client = format!("203.0.113.{}", stage.rng.between(1, 254));
    let browser = stage.rng.one_of(BROWSERS);
    let opening = server_span(request, "shop.example").with([
        KeyValue::new("client.address", client),
        KeyValue::new("user_agent.original", browser),
        KeyValue::new("network.protocol.version", "2"),
    ]);
    let mut server = stage.open(gateway, Parent::None, opening, at);
    let answer = handle(stage, &mut server);
    finish(&mut server, Side::Server, answer);
    stage.close(server);
}

/// A service calls a host which is not traced: only the CLIENT span exists.
pub(crate) fn call_outside(
    stage: &mut Stage,
    caller: &mut Work,
    host: &str,
    request: Request<'_>,
    median_ms: f64,
    answer: Answer,
) -> Answer {
    let mut client = stage.child(caller, client_span(request, "https", host, 443));
    client.pass(stage.around(median_ms));
    finish(&mut client, Side::Client, answer);
    caller.now = stage.close(client);
    answer
}

const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
];

fn client_span(request: Request<'_>, scheme: &str, host: &str, port: i64) -> Opening {
    let url = if port == 443 {
        format!("{scheme}://{host}{}", request.path)
    } else {
        format!("{scheme}://{host}:{port}{}", request.path)
    };
    Opening::new(Scope::Http, SpanKind::Client, format!("{} {}", request.method, request.route)).with([
        KeyValue::new("http.request.method", request.method),
        KeyValue::new("url.full", url),
        KeyValue::new("url.template", request.route),
        KeyValue::new("server.address", host.to_owned()),
        KeyValue::new("server.port", port),
    ])
}

fn server_span(request: Request<'_>, host: &str) -> Opening {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let opening =
        Opening::new(Scope::Http, SpanKind::Server, format!("{} {}", request.method, request.route)).with([
            KeyValue::new("http.request.method", request.method),
            KeyValue::new("http.route", request.route),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("server.address", host.to_owned()),
        ]);
    if query.is_empty() { opening } else { opening.with([KeyValue::new("url.query", query.to_owned())]) }
}

/// A status of 400 and above is the client's error, of 500 and above also the server's.
fn finish(work: &mut Work, side: Side, answer: Answer) {
    let status = match answer {
        Ok(()) => Some(200),
        Err(failure) => sent_status(failure, side),
    };
    if let Some(status) = status {
        work.set("http.response.status_code", i64::from(status));
    }
    let Err(failure) = answer else { return };
    match (status, side) {
        (Some(status), Side::Server) if status < 500 => {}
        (Some(status), _) => work.fail(status.to_string(), failure.message()),
        (None, _) => {
            let error_type = if failure == Failure::Timeout { "timeout" } else { "cancelled" };
            work.fail(error_type, failure.message());
        }
    }
}

/// The status as this side saw it: a client that gave up has none.
fn sent_status(failure: Failure, side: Side) -> Option<u16> {
    match (failure, side) {
        (Failure::Timeout, Side::Client) => None,
        _ => failure.http_status(),
    }
}
