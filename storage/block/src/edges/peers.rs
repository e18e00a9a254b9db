//! Reads the name of the peer, the other side of a call, from a span's attributes.

use spandrel_proto::otlp::SpanKind;

/// Collects possible names of the peer while the caller iterates over a span's attributes. The caller skips attributes
/// whose key is not one of [`is_peer_key`].
#[derive(Debug, Default)]
pub struct PeerCandidates<'a> {
    service: Best<'a>,
    destination: Best<'a>,
    messaging_system: Best<'a>,
    address: Best<'a>,
    database: Best<'a>,
    database_system: Best<'a>,
    messaging_operation: Best<'a>,
}

/// The best value among several attributes with the same meaning.
#[derive(Debug, Default, Clone, Copy)]
struct Best<'a> {
    rank: u8,
    text: &'a [u8],
}

/// The peer of a call that no span answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer<'a> {
    Database(&'a str),
    Other(&'a str),
}

/// What a CLIENT does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessagingOperation {
    /// It receives messages and counts as a CONSUMER.
    Receive,
    /// It sends or settles messages; the broker is not its callee.
    SendOrSettle,
}

/// Longer texts are not used as names.
const MAX_NAME: usize = 256;

// === impl PeerCandidates ===

impl<'a> PeerCandidates<'a> {
    /// Considers an attribute with a text. Among attributes with the same meaning, the newer key wins.
    pub fn see(&mut self, key: &[u8], text: &'a [u8]) {
        let (best, rank) = match key {
            b"peer.service" => (&mut self.service, 1),
            b"messaging.destination.name" => (&mut self.destination, 2),
            b"messaging.destination" => (&mut self.destination, 1),
            b"messaging.system" => (&mut self.messaging_system, 1),
            b"server.address" => (&mut self.address, 2),
            b"net.peer.name" => (&mut self.address, 1),
            b"db.namespace" => (&mut self.database, 2),
            b"db.name" => (&mut self.database, 1),
            b"db.system.name" => (&mut self.database_system, 2),
            b"db.system" => (&mut self.database_system, 1),
            b"messaging.operation.type" => (&mut self.messaging_operation, 2),
            b"messaging.operation" => (&mut self.messaging_operation, 1),
            _ => return,
        };
        if rank >= best.rank && !text.is_empty() && text.len() <= MAX_NAME {
            *best = Best { rank, text };
        }
    }

    /// The messaging operation, by today's names and the older `publish`.
    pub(super) fn messaging_operation(&self) -> Option<MessagingOperation> {
        match self.messaging_operation.text {
            b"receive" => Some(MessagingOperation::Receive),
            b"send" | b"publish" | b"settle" => Some(MessagingOperation::SendOrSettle),
            _ => None,
        }
    }

    /// The callee of a CLIENT or PRODUCER. If the name of a database is only a number, as in Redis, the name of its
    /// system is used.
    pub(super) fn callee(&self) -> Option<Peer<'a>> {
        let number = self.database.text.iter().all(u8::is_ascii_digit);
        let database = if number { Best::default() } else { self.database };
        let is_database = self.database.rank > 0 || self.database_system.rank > 0;
        if is_database {
            let name = first([self.service, database, self.database_system, self.database]);
            return name.map(Peer::Database);
        }
        let name = first([self.service, self.destination, self.messaging_system, self.address]);
        name.map(Peer::Other)
    }

    /// The caller of a SERVER or CONSUMER without a parent; its address attributes are not used, as they are its own.
    pub(super) fn caller(&self, kind: SpanKind) -> Option<&'a str> {
        match kind {
            SpanKind::Consumer => first([self.service, self.destination, self.messaging_system]),
            _ => first([self.service]),
        }
    }
}

/// Whether an attribute with this key can name the peer or the messaging operation.
pub(crate) fn is_peer_key(key: &[u8]) -> bool {
    matches!(
        key,
        b"peer.service"
            | b"messaging.destination.name"
            | b"messaging.destination"
            | b"messaging.system"
            | b"server.address"
            | b"net.peer.name"
            | b"db.namespace"
            | b"db.name"
            | b"db.system.name"
            | b"db.system"
            | b"messaging.operation.type"
            | b"messaging.operation"
    )
}

/// Whether the text of an attribute with this key may stand for a service of the map.
pub fn names_peer(key: &str) -> bool {
    !key.starts_with("messaging.operation") && is_peer_key(key.as_bytes())
}

fn first<'a, const N: usize>(candidates: [Best<'a>; N]) -> Option<&'a str> {
    let known = candidates.into_iter().find(|candidate| candidate.rank > 0)?;
    std::str::from_utf8(known.text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<'a>(attributes: &[(&'a str, &'a str)]) -> PeerCandidates<'a> {
        let mut peers = PeerCandidates::default();
        for (key, value) in attributes {
            assert!(is_peer_key(key.as_bytes()), "{key}");
            peers.see(key.as_bytes(), value.as_bytes());
        }
        peers
    }

    #[test]
    fn callees_have_the_best_name_there_is() {
        let check = |attributes: &[(&'static str, &'static str)], name: Option<Peer<'_>>| {
            assert_eq!(seen(attributes).callee(), name, "{attributes:?}")
        };
        check(&[], None);
        check(&[("server.address", "psp.example.com")], Some(Peer::Other("psp.example.com")));
        check(&[("net.peer.name", "old"), ("server.address", "new")], Some(Peer::Other("new")));
        check(&[("server.address", "new"), ("net.peer.name", "old")], Some(Peer::Other("new")));
        check(&[("server.address", "x"), ("peer.service", "psp")], Some(Peer::Other("psp")));
        check(&[("messaging.system", "kafka"), ("server.address", "broker")], Some(Peer::Other("kafka")));
        check(
            &[("messaging.system", "kafka"), ("messaging.destination.name", "orders")],
            Some(Peer::Other("orders")),
        );
        check(
            &[("db.system", "postgresql"), ("server.address", "10.0.0.1")],
            Some(Peer::Database("postgresql")),
        );
        check(
            &[("db.system.name", "postgresql"), ("db.namespace", "ledger")],
            Some(Peer::Database("ledger")),
        );
        check(&[("db.namespace", "0"), ("db.system.name", "redis")], Some(Peer::Database("redis")));
        check(&[("db.namespace", "0")], Some(Peer::Database("0")));
        check(&[("db.name", "a"), ("peer.service", "b")], Some(Peer::Database("b")));
        check(&[("db.name", "")], None);
    }

    #[test]
    fn callers_are_not_called_by_the_addresses_of_their_callees() {
        assert_eq!(seen(&[("server.address", "me")]).caller(SpanKind::Server), None);
        let topic = [("messaging.destination.name", "orders")];
        assert_eq!(seen(&topic).caller(SpanKind::Consumer), Some("orders"));
    }

    #[test]
    fn messaging_operations_have_names_of_today_and_before() {
        let check = |attributes: &[(&'static str, &'static str)], operation| {
            assert_eq!(seen(attributes).messaging_operation(), operation, "{attributes:?}")
        };
        let (now, before) = ("messaging.operation.type", "messaging.operation");
        check(&[], None);
        check(&[(now, "receive")], Some(MessagingOperation::Receive));
        check(&[(now, "send")], Some(MessagingOperation::SendOrSettle));
        check(&[(now, "settle")], Some(MessagingOperation::SendOrSettle));
        check(&[(now, "process")], None);
        check(&[(before, "receive")], Some(MessagingOperation::Receive));
        check(&[(before, "publish")], Some(MessagingOperation::SendOrSettle));
        check(&[(now, "process"), (before, "receive")], None);
        check(&[(before, "receive"), (now, "process")], None);
    }

    #[test]
    fn what_is_too_long_is_no_name() {
        let long = "x".repeat(MAX_NAME + 1);
        assert_eq!(seen(&[("peer.service", &long)]).callee(), None);
    }
}
