//! The common part of HTTP and gRPC: a CLIENT span, a SERVER span in another instance, the network between them, and a
//! deadline that only the client knows.

use crate::failure::{Answer, Failure};
use crate::fleet::Member;
use crate::stage::{Opening, Parent, Stage, Work};
use std::time::Duration;

pub(crate) struct Exchange {
    pub(crate) to: Member,
    pub(crate) client: Opening,
    pub(crate) server: Opening,
    /// After this time the client gives up; the server works on without noticing.
    pub(crate) deadline: Option<Duration>,
}

/// The two ends of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Plays the request and moves `caller` to the time of the response. `finish` sets the outcome on each side's span.
pub(crate) fn play(
    stage: &mut Stage,
    caller: &mut Work,
    exchange: Exchange,
    finish: fn(&mut Work, Side, Answer),
    handle: impl FnOnce(&mut Stage, &mut Work) -> Answer,
) -> Answer {
    let mut client = stage.child(caller, exchange.client);
    let sent = client.now;
    client.pass(stage.around(0.4));

    let mut server = stage.open(exchange.to, Parent::Remote(client.context()), exchange.server, client.now);
    let answer = handle(stage, &mut server);
    finish(&mut server, Side::Server, answer);
    client.now = stage.close(server) + stage.around(0.4);

    let answer = match exchange.deadline.map(|deadline| sent + deadline) {
        Some(given_up) if client.now > given_up => {
            client.now = given_up;
            Err(Failure::Timeout)
        }
        _ => answer,
    };
    finish(&mut client, Side::Client, answer);
    caller.now = stage.close(client);
    answer
}
