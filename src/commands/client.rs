//! The HTTP client that all commands share: finds the server, sends requests, and reads refusals. Each command builds
//! its own requests and prints its own responses.

use std::io::Read;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use spandrel_gate::tls::{self, TlsError};
use spandrel_query::answers::ProblemDocument;
use ureq::http::request::Builder;
use ureq::http::{HeaderValue, Method, Request, Response, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use super::key::KeyFlag;
use crate::outgoing::TlsClientFlags;

/// Which server a command talks to.
#[derive(Debug, Args)]
pub(crate) struct ServerFlag {
    /// The server's HTTP address, its base path included
    #[arg(long, env = "SPANDREL_SERVER", value_name = "URL", default_value = "http://127.0.0.1:16686")]
    server: String,
    #[command(flatten)]
    tls: TlsClientFlags,
    #[command(flatten)]
    key: KeyFlag,
}

/// Sends requests to one server.
pub(crate) struct Client {
    agent: Agent,
    server: String,
    /// The value of `Authorization`, marked as sensitive.
    authorization: Option<HeaderValue>,
}

/// A response whose body is still arriving.
pub(crate) struct Answer(Response<Body>);

/// Why there is no response. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address is not valid.
    #[error(
        "--server {server} is not an address of a server: {reason}; give one like http://127.0.0.1:16686 or https://spandrel.example:16686"
    )]
    Address { server: String, reason: String },
    /// The key cannot be read.
    #[error("{0}")]
    Key(String),
    /// The server does not respond.
    #[error(
        "no server answers at {server} ({reason}); start one with `spandrel serve`, or say with --server where it is"
    )]
    Unreachable { server: String, reason: String },
    /// The server responds, and TLS does not come about.
    #[error("cannot speak with {server}: {advice}")]
    Tls { server: String, advice: String },
    /// The files of `--ca`, `--cert` and `--key` cannot be used.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// The server refused the request; its problem document gives the reason.
    #[error("the server refused: {detail}")]
    Refused { status: u16, detail: String },
    /// The response broke off, or this command cannot parse it.
    #[error("the answer of the server cannot be used: {0}; is it a spandrel of the same version?")]
    Unusable(String),
}

/// A server that accepts no connection in this time counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters that are quoted from a refusal that is not a problem document.
const QUOTED: u64 = 300;

// === impl ServerFlag ===

impl ServerFlag {
    /// For commands whose server is optional.
    pub(crate) fn at(server: &str, tls: &TlsClientFlags, key: &KeyFlag) -> Self {
        Self { server: server.to_owned(), tls: tls.clone(), key: key.clone() }
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn new(flag: &ServerFlag) -> Result<Self, ClientError> {
        let server = flag.server.trim_end_matches('/').to_owned();
        let encrypted = server.starts_with("https://");
        if !encrypted && !server.starts_with("http://") {
            let reason = "it begins with neither http:// nor https://".to_owned();
            return Err(ClientError::Address { server, reason });
        }
        let tls = if encrypted { flag.tls.http_client()? } else { TlsConfig::default() };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("spandrel/", env!("CARGO_PKG_VERSION")))
            // The server is on this machine or near it; a proxy for the web would not reach it.
            .proxy(None)
            .tls_config(tls)
            .build();
        let authorization = authorization(&flag.key).map_err(ClientError::Key)?;
        Ok(Self { agent: config.new_agent(), server, authorization })
    }

    /// GETs a path, such as `/api/v1/services`. Parameters are escaped; those without a value are left out.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, Option<&str>)]) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, parameters, None)
    }

    /// Sends a request of any method, with a JSON body if there is one.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, Option<&str>)],
        json: Option<Vec<u8>>,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(self.url(path, parameters));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let wrong = |error: ureq::http::Error| self.wrong_address(error.to_string());
        let sent = match json {
            None => self.agent.run(request.body(()).map_err(wrong)?),
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(body).map_err(wrong)?)
            }
        };
        let response = sent.map_err(|error| self.not_sent(&error))?;
        if response.status().is_success() { Ok(Answer(response)) } else { Err(refusal(response)) }
    }

    /// PUTs bytes of another kind.
    pub(crate) fn put(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Answer, ClientError> {
        let response = self.send_bytes(Request::put(self.url(path, &[])), content_type, body)?;
        if response.status().is_success() { Ok(Answer(response)) } else { Err(refusal(response)) }
    }

    /// POSTs bytes of another kind, and returns the response whatever its status.
    pub(crate) fn post(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Response<Body>, ClientError> {
        self.send_bytes(Request::post(self.url(path, &[])), content_type, body)
    }

    fn send_bytes(
        &self,
        request: Builder,
        content_type: &str,
        body: &[u8],
    ) -> Result<Response<Body>, ClientError> {
        let mut request = request.header(header::CONTENT_TYPE, content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request =
            request.body(body).map_err(|error: ureq::http::Error| self.wrong_address(error.to_string()))?;
        self.agent.run(request).map_err(|error| self.not_sent(&error))
    }

    fn url(&self, path: &str, parameters: &[(&str, Option<&str>)]) -> String {
        let given = parameters.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let query: Vec<String> = given.map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{}", self.server, query.join("&"))
    }

    fn wrong_address(&self, reason: String) -> ClientError {
        ClientError::Address { server: self.server.clone(), reason }
    }

    fn not_sent(&self, error: &ureq::Error) -> ClientError {
        match error {
            ureq::Error::BadUri(reason) => self.wrong_address(reason.clone()),
            ureq::Error::Http(reason) => self.wrong_address(reason.to_string()),
            other => {
                let cause: &(dyn std::error::Error + 'static) = match other {
                    ureq::Error::Io(cause) => cause,
                    ureq::Error::Rustls(cause) => cause,
                    other => other,
                };
                match tls::advice(cause) {
                    Some(advice) => ClientError::Tls { server: self.server.clone(), advice },
                    None => {
                        ClientError::Unreachable { server: self.server.clone(), reason: root_cause(other) }
                    }
                }
            }
        }
    }
}

fn authorization(key: &KeyFlag) -> Result<Option<HeaderValue>, String> {
    let Some(key) = key.key()? else { return Ok(None) };
    let value = HeaderValue::try_from(format!("Bearer {}", key.reveal()));
    let mut value = value.map_err(|_| "the key cannot be sent in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Escapes a text for a path segment or the value of a parameter.
pub(crate) fn escape(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let escaped =
        |byte: &u8| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    text.as_bytes().iter().map(escaped).collect()
}

fn root_cause(error: &ureq::Error) -> String {
    if let ureq::Error::Io(reason) = error {
        return reason.to_string();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn refusal(response: Response<Body>) -> ClientError {
    let status = response.status();
    let mut text = Vec::new();
    // The part that could be read is quoted; a failed read does not change the refusal.
    let _ = response.into_body().into_reader().take(64 << 10).read_to_end(&mut text);
    let detail = match serde_json::from_slice::<ProblemDocument<'_>>(&text) {
        Ok(problem) => problem.detail.into_owned(),
        Err(_) => {
            let quoted: String = String::from_utf8_lossy(&text).chars().take(QUOTED as usize).collect();
            format!("{status} {quoted}").trim_end().to_owned()
        }
    };
    ClientError::Refused { status: status.as_u16(), detail }
}

// === impl Answer ===

impl Answer {
    /// Reads the whole answer as JSON.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        serde_json::from_reader(std::io::BufReader::new(self.reader()))
            .map_err(|error| ClientError::Unusable(error.to_string()))
    }

    /// The value of a numeric header.
    pub(crate) fn number(&self, header: &str) -> Option<u64> {
        self.0.headers().get(header)?.to_str().ok()?.parse().ok()
    }

    /// The body as it arrives. Reading a body that breaks off ends in an error.
    pub(crate) fn reader(self) -> impl Read {
        self.0.into_body().into_reader()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(server: &str) -> Result<Client, ClientError> {
        Client::new(&ServerFlag::at(server, &TlsClientFlags::default(), &KeyFlag::default()))
    }

    #[test]
    fn escapes_what_urls_give_a_meaning() {
        let client = client("http://host:1/base/").unwrap();
        let url = client.url("/api", &[("q", Some("{ .a = \"ü&\" }")), ("end", None), ("limit", Some("5"))]);
        assert_eq!(url, "http://host:1/base/api?q=%7B%20.a%20%3D%20%22%C3%BC%26%22%20%7D&limit=5");
        assert_eq!(client.url("/api", &[("q", None)]), "http://host:1/base/api");
    }

    #[test]
    fn says_what_to_do_when_nobody_answers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = client(&address).unwrap().get("/", &[]).err().unwrap().to_string();
        assert!(error.contains(&address) && error.contains("spandrel serve"), "{error}");
        for bad in ["127.0.0.1:16686", "ftp://x"] {
            assert!(client(bad).err().unwrap().to_string().contains("http://127.0.0.1:16686"));
        }
    }
}
