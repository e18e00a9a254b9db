//! An HTTP/1.1 client for tests: it can send malformed requests and reads any response, over any stream. It has no
//! redirects and no pool.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::server::PATIENCE;

/// A body and how it is framed.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// No body and no length.
    None,
    /// With its length.
    Sized(&'a [u8]),
    /// In chunks of this many bytes, without a length, as Envoy sends.
    Chunked(&'a [u8], usize),
}

/// A response.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, without framing.
    pub body: Vec<u8>,
}

/// A persistent connection.
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<Box<dyn Duplex>>,
}

/// A socket, or what speaks TLS over one.
pub trait Duplex: Read + Write + Send {}

impl<S: Read + Write + Send> Duplex for S {}

/// One request on its own connection. Panics if there is no response.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Body<'_>,
) -> Reply {
    Connection::open(address)
        .and_then(|mut connection| connection.request(method, path, headers, body))
        .unwrap_or_else(|error| panic!("{method} {path} got no answer: {error}"))
}

/// One GET on its own connection.
pub fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, "GET", path, &[], Body::None)
}

/// Posts a protobuf body to `/v1/traces` on its own connection.
pub fn post_traces(address: SocketAddr, body: &[u8]) -> Reply {
    request(address, "POST", "/v1/traces", PROTOBUF, Body::Sized(body))
}

/// The header of a protobuf body.
pub const PROTOBUF: &[(&str, &str)] = &[("content-type", "application/x-protobuf")];

/// The header of a JSON body.
pub const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Escapes a text for a query parameter.
pub fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

// === impl Connection ===

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(address, stream))
    }

    /// Speaks HTTP over a connection that exists.
    pub fn over(address: SocketAddr, stream: impl Duplex + 'static) -> Self {
        Self { address, stream: BufReader::new(Box::new(stream)) }
    }

    /// Sends a request and reads its response. A `host` among the headers replaces the default.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> io::Result<Reply> {
        let mut message = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            message += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            message += &format!("{name}: {value}\r\n");
        }
        let mut message = message.into_bytes();
        match body {
            Body::None => message.extend(b"\r\n"),
            Body::Sized(bytes) => {
                message.extend(format!("content-length: {}\r\n\r\n", bytes.len()).bytes());
                message.extend(bytes);
            }
            Body::Chunked(bytes, size) => {
                message.extend(b"transfer-encoding: chunked\r\n\r\n");
                for piece in bytes.chunks(size) {
                    message.extend(format!("{:x}\r\n", piece.len()).bytes());
                    message.extend(piece);
                    message.extend(b"\r\n");
                }
                message.extend(b"0\r\n\r\n");
            }
        }
        // A server may respond and close the connection before it has read a body that it refuses.
        let written = self.write(&message);
        self.read_reply().or_else(|error| written.and(Err(error)))
    }

    /// Sends a request without a body, and reads the status of its answer, whose body may be endless.
    pub fn status_of(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<u16> {
        let mut message = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            message += &format!("{name}: {value}\r\n");
        }
        self.write(format!("{message}\r\n").as_bytes())?;
        Ok(self.read_head()?.0)
    }

    /// Writes raw bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads raw bytes.
    pub fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(bytes)
    }

    /// Reads one response.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        loop {
            let (status, headers) = self.read_head()?;
            if (100..200).contains(&status) {
                continue;
            }
            let mut reply = Reply { status, headers, body: Vec::new() };
            if status != 204 && status != 304 {
                reply.body = self.read_body(&reply)?;
            }
            return Ok(reply);
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = self.read_line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an HTTP answer: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            let Some((name, value)) = line.split_once(':') else { return Ok((status, headers)) };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, reply: &Reply) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if reply.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            loop {
                let size = self.read_line()?;
                let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
                let before = body.len();
                body.resize(before + size, 0);
                self.stream.read_exact(&mut body[before..])?;
                self.read_line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match reply.header("content-length").map(str::parse) {
            Some(length) => {
                body.resize(length.map_err(io::Error::other)?, 0);
                self.stream.read_exact(&mut body)?;
            }
            None => {
                self.stream.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }
}

// === impl Reply ===

impl Reply {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in an answer {}: {}", self.status, self.text()))
    }

    /// The `detail` of an error; panics if the body is not `application/problem+json`.
    #[track_caller]
    pub fn problem(&self) -> String {
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "{} as {kind:?}: {}", self.status, self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        let detail = problem["detail"].as_str().unwrap_or_else(|| panic!("no detail: {problem}"));
        assert!(!detail.is_empty(), "{problem}");
        detail.to_owned()
    }
}
