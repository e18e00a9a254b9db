//! A server with roles that see a part, and a key for each.

use serde_json::Value;
use spandrel_tests::http::{self, Body, Connection, Reply, percent_encoded};
use spandrel_tests::server::{Server, Settings, command, eventually};
use tempfile::TempDir;

const ROLES: &str = r#"{
  "support": {"role": "read", "mask": ["user.secret", "http.url"], "mask-detected": ["mail", "card", "token"]},
  "peers": {"role": "read", "mask": ["peer.service"]},
  "cart": {"role": "edit", "services": ["cart", "cart"]},
  "prod": {"role": "read", "condition": "{ resource.deployment.environment = \"prod\" }"}
}"#;

pub struct Roles {
    pub server: Server,
    keys: Vec<(&'static str, String)>,
    _folder: TempDir,
}

/// Whose data the keys of those who only read are for.
#[derive(Debug, Clone, Copy)]
pub enum Tenancy {
    /// A server without tenants.
    None,
    /// A server with tenants; the keys are for two of them, of which one has no data.
    Several,
}

// === impl Tenancy ===

impl Tenancy {
    pub const ALL: [Self; 2] = [Self::None, Self::Several];

    fn tenants_of(self, role: &str) -> &'static str {
        match self {
            Self::Several if !["admin", "cart"].contains(&role) => "default|void",
            _ => "default",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Several => &["--multitenancy"],
        }
    }
}

// === impl Roles ===

impl Roles {
    pub fn new(tenancy: Tenancy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let key = |role: &'static str| {
            let tenants = tenancy.tenants_of(role);
            let arguments = ["keys", "create", "--data-dir", data, "--role", role, "--tenant", tenants];
            let output = command(&arguments).output().unwrap();
            (role, String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned())
        };
        let keys = ["admin", "support", "peers", "cart", "prod"].map(key).to_vec();
        let always = ["--require-auth", "--roles", ROLES];
        let server = Settings::on(folder.path()).with(&always).with(tenancy.arguments()).start();
        Self { server, keys, _folder: folder }
    }

    pub fn send(&self, body: &[u8]) {
        self.post("/v1/traces", "application/x-protobuf", body);
    }

    pub fn send_logs(&self, logs: &Value) {
        self.post("/v1/logs", "application/json", logs.to_string().as_bytes());
    }

    fn post(&self, path: &str, content_type: &str, body: &[u8]) {
        let authorization = format!("Bearer {}", self.key("admin"));
        let headers = [("content-type", content_type), ("authorization", authorization.as_str())];
        let reply = http::request(self.server.otlp_http(), "POST", path, &headers, Body::Sized(body));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    fn key(&self, role: &str) -> &str {
        &self.keys.iter().find(|(known, _)| *known == role).unwrap().1
    }

    pub fn ask(&self, method: &str, path: &str, role: &str, body: Option<Value>) -> Reply {
        let authorization = format!("Bearer {}", self.key(role));
        let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
        let text = body.map(|body| body.to_string());
        let body = text.as_ref().map_or(Body::None, |text| Body::Sized(text.as_bytes()));
        http::request(self.server.http(), method, path, &headers, body)
    }

    pub fn get(&self, path: &str, role: &str) -> Reply {
        self.ask("GET", path, role, None)
    }

    pub fn traces(&self, query: &str, role: &str) -> usize {
        let reply = self.get(&format!("/api/v1/traces?start=0&limit=500&q={}", percent_encoded(query)), role);
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        reply.json()["traces"].as_array().unwrap().len()
    }

    pub fn counted(&self, query: &str, role: &str) -> f64 {
        let query = percent_encoded(&format!("{query} | count_over_time()"));
        let reply = self.get(&format!("/api/v1/metrics?start=0&step=200000&q={query}"), role);
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        let series = reply.json()["series"].as_array().unwrap().clone();
        let points = series.iter().flat_map(|series| series["points"].as_array().unwrap());
        points.map(|point| point["value"].as_f64().unwrap()).sum()
    }

    /// What a live tail shows to a role of the traces that a function sends, up to the first one with a text.
    pub fn live(&self, role: &str, until: &str, mut send: impl FnMut()) -> String {
        let mut tail = Connection::open(self.server.http()).unwrap();
        let authorization = format!("Bearer {}", self.key(role));
        let headers = [("authorization", authorization.as_str())];
        let path = "/api/v1/traces/live?q=%7B%20%7D%20%7C%20select(.note%2C%20.user.secret)";
        assert_eq!(tail.status_of("GET", path, &headers).unwrap(), 200);
        // The tail begins when its request has been answered.
        send();
        let mut shown = Vec::new();
        let is_shown = |shown: &[u8]| {
            let text = String::from_utf8_lossy(shown);
            text.contains("event: trace") && text.contains(until) && text.ends_with("\n\n")
        };
        while !is_shown(&shown) {
            let mut byte = [0];
            tail.read_exact(&mut byte).unwrap();
            shown.extend(byte);
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Waits until the spans lie in a sealed block.
    pub fn sealed(&self) {
        eventually("sealed blocks", || {
            let status = self.get("/api/v1/status", "admin").json();
            (status["freshBlockCount"] == 0).then_some(())
        });
    }
}
