//! A client of the JSON API of a running server.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use serde_json::Value;

use crate::http::{self, Body, Connection, Reply, percent_encoded};

/// A time before every span of a test.
pub const EVER: &str = "1970-01-01T00:00:00Z";

/// The limit of a page of a search.
const PAGE: usize = 1_000;

/// The API of one server, over one persistent connection.
pub struct Api {
    address: SocketAddr,
    connection: Option<Connection>,
}

// === impl Api ===

impl Api {
    /// The API at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// The response to a GET below `/api/v1`, whatever its status.
    pub fn get(&mut self, path: &str) -> Reply {
        let path = format!("/api/v1/{path}");
        if let Some(connection) = &mut self.connection
            && let Ok(reply) = connection.request("GET", &path, &[], Body::None)
        {
            return reply;
        }
        let mut connection = Connection::open(self.address).expect("a connection");
        let reply = connection.request("GET", &path, &[], Body::None).expect("an answer");
        self.connection = Some(connection);
        reply
    }

    /// The JSON of a successful response.
    pub fn json(&mut self, path: &str) -> Value {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        reply.json()
    }

    /// A trace as a tree.
    pub fn tree(&mut self, trace: &str) -> Value {
        self.json(&format!("traces/{trace}"))["trace"].take()
    }

    /// A trace as OTLP, or `None` if it is not found.
    pub fn otlp(&mut self, trace: &str) -> Option<TracesData> {
        let reply = self.get(&format!("traces/{trace}?format=otlp-proto"));
        match reply.status {
            200 => Some(TracesData::decode(&*reply.body).expect("OTLP")),
            404 => None,
            status => panic!("GET {trace} as OTLP: {status} {}", reply.text()),
        }
    }

    /// Every trace that matches a query, over all time and all pages.
    pub fn search(&mut self, query: &str) -> Vec<Value> {
        let mut found: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let mut path = format!("traces?q={}&start={EVER}&limit={PAGE}", percent_encoded(query));
            if !cursor.is_empty() {
                path += &format!("&cursor={}", percent_encoded(&cursor));
            }
            let mut answer = self.json(&path);
            assert_ne!(answer["partial"], true, "{query}");
            let Value::Array(page) = answer["traces"].take() else { panic!("no traces: {answer}") };
            found.extend(page);
            match answer["nextCursor"].take() {
                Value::Null => return found,
                Value::String(next) => cursor = next,
                other => panic!("not a cursor: {other}"),
            }
        }
    }

    /// A numeric field of the status.
    pub fn status(&mut self, field: &str) -> u64 {
        let status = self.json("status");
        status[field].as_u64().unwrap_or_else(|| panic!("no {field} in {status}"))
    }

    /// Whether the readiness probe succeeds.
    pub fn is_ready(&self) -> bool {
        http::get(self.address, "/readyz").status == 200
    }
}
