//! Names of the semantic conventions that have changed: one field, several names, the newest first.
//!
//! The only table of its kind. Everything that reads an attribute by a conventional name (queries, error codes, peers)
//! asks it, so that a shop whose services follow different versions of the conventions sees one field. What was sent is
//! never changed. Sources: OpenTelemetry's semantic conventions 1.20 to 1.44 with their migration guides for HTTP,
//! databases and RPC.

/// Names of one field, the newest first. An attribute belongs to at most one line.
const FIELDS: &[&[&str]] = &[
    // HTTP
    &["http.request.method", "http.method"],
    &["http.response.status_code", "http.status_code"],
    &["url.full", "http.url"],
    &["url.path", "http.target"],
    &["url.scheme", "http.scheme"],
    &["client.address", "http.client_ip"],
    &["user_agent.original", "http.user_agent"],
    &["http.request.body.size", "http.request_content_length"],
    &["http.response.body.size", "http.response_content_length"],
    // Network
    &["server.address", "net.peer.name", "net.host.name"],
    &["server.port", "net.peer.port", "net.host.port"],
    &["network.peer.address", "net.sock.peer.addr"],
    &["network.peer.port", "net.sock.peer.port"],
    &["network.protocol.name", "net.protocol.name"],
    &["network.protocol.version", "net.protocol.version", "http.flavor"],
    &["network.transport", "net.transport"],
    // Databases
    &["db.system.name", "db.system"],
    &["db.namespace", "db.name"],
    &["db.collection.name", "db.sql.table", "db.mongodb.collection", "db.cassandra.table"],
    &["db.operation.name", "db.operation"],
    &["db.query.text", "db.statement"],
    // RPC
    &[
        "rpc.status_code",
        "rpc.response.status_code",
        "rpc.grpc.status_code",
        "rpc.connect_rpc.error_code",
        "rpc.jsonrpc.error_code",
    ],
    &["rpc.system.name", "rpc.system"],
    // Messaging
    &["messaging.operation.type", "messaging.operation"],
    &["messaging.client.id", "messaging.client_id"],
    // Services and where they run
    &["service.peer.name", "peer.service"],
    &["deployment.environment.name", "deployment.environment"],
    // Code
    &["code.function.name", "code.function"],
    &["code.file.path", "code.filepath"],
    &["code.line.number", "code.lineno"],
];

/// All names of the field that an attribute of this name holds, the newest first; `None` if it has one name only.
pub fn names_of(key: &str) -> Option<&'static [&'static str]> {
    FIELDS.iter().copied().find(|names| names.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_in_one_line() {
        let mut names: Vec<&str> = FIELDS.concat();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(FIELDS.iter().all(|names| names.len() > 1));
    }

    #[test]
    fn any_name_finds_all() {
        let names = ["http.response.status_code", "http.status_code"];
        assert_eq!(names_of("http.status_code"), Some(&names[..]));
        assert_eq!(names_of("http.response.status_code"), Some(&names[..]));
        assert_eq!(names_of("http.route"), None);
    }
}
