//! What a client has begun to speak, and the answer to one that speaks TLS to a plain port or plain HTTP to a TLS port.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A protocol, as far as the first bytes of a connection tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// A handshake record of TLS.
    Tls,
    /// HTTP/2 without TLS.
    Http2,
    /// Anything else, which is HTTP/1.1 if it is anything.
    Other,
}

/// How long a client that was refused may take to read why.
const READING_GRACE: Duration = Duration::from_secs(1);
/// Bytes that are taken off a client that was refused. Closing with unread bytes would reset the connection, and the
/// client might never see the answer.
const DRAINED_BYTES: u64 = 64 << 10;

// === impl Greeting ===

impl Greeting {
    /// Reads at least one byte; the first three decide.
    pub fn of(first: &[u8]) -> Self {
        match first {
            [0x16, ..] => Self::Tls,
            [b'P', b'R', b'I', ..] => Self::Http2,
            _ => Self::Other,
        }
    }
}

/// Answers a client that speaks plain HTTP to a port with TLS: HTTP/1.1 gets a 400, HTTP/2 a GOAWAY, with a text that
/// tells what to do.
pub async fn refuse_plain(stream: TcpStream, greeting: Greeting) {
    metrics::counter!("spandrel_tls_handshakes_total", "result" => "plain").increment(1);
    let text = "this port speaks TLS; use https://";
    match greeting {
        Greeting::Http2 => refuse(stream, &goaway(text)).await,
        Greeting::Tls | Greeting::Other => refuse(stream, &bad_request(text)).await,
    }
}

/// Answers a client that begins a TLS handshake at a plain port. Plain HTTP is what clients recognise: Go says that the
/// server "gave HTTP response to HTTPS client" or that the "first record does not look like a TLS handshake", OpenSSL
/// "wrong version number". An alert would read like a quarrel about ciphers.
pub async fn refuse_tls(stream: TcpStream) {
    refuse(stream, &bad_request("this port speaks no TLS; use http://, or start the server with --tls-cert"))
        .await;
}

async fn refuse(mut stream: TcpStream, answer: &[u8]) {
    if let Ok(Ok(())) = tokio::time::timeout(READING_GRACE, stream.write_all(answer)).await {
        close(stream).await;
    }
}

/// Closes a connection so that its client can read what was written last.
pub(super) async fn close(mut stream: TcpStream) {
    let closed = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(DRAINED_BYTES), &mut tokio::io::sink()).await
    };
    // A client that is gone or does not listen is disconnected all the same.
    let _ = tokio::time::timeout(READING_GRACE, closed).await;
}

fn bad_request(text: &str) -> Vec<u8> {
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{text}\n"
    )
    .into_bytes()
}

/// An empty SETTINGS frame, with which a server has to begin, and GOAWAY with the error INADEQUATE_SECURITY (RFC 9113,
/// 6.8 and 7).
fn goaway(text: &str) -> Vec<u8> {
    const INADEQUATE_SECURITY: u32 = 0xc;
    let length = (8 + text.len()) as u32;
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    frames.extend_from_slice(&length.to_be_bytes()[1..]);
    frames.extend_from_slice(&[7, 0, 0, 0, 0, 0]);
    frames.extend_from_slice(&0u32.to_be_bytes());
    frames.extend_from_slice(&INADEQUATE_SECURITY.to_be_bytes());
    frames.extend_from_slice(text.as_bytes());
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        for (bytes, greeting) in [
            (b"\x16\x03\x01\x02\x00".as_slice(), Greeting::Tls),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Greeting::Http2),
            (b"POST /v1/traces HTTP/1.1\r\n", Greeting::Other),
            (b"P", Greeting::Other),
            (b"", Greeting::Other),
        ] {
            assert_eq!(Greeting::of(bytes), greeting, "{bytes:?}");
        }
    }

    #[test]
    fn a_goaway_has_its_length_its_error_and_its_text() {
        let frames = goaway("why");
        assert_eq!(frames[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0], "SETTINGS");
        assert_eq!(frames[9..18], [0, 0, 11, 7, 0, 0, 0, 0, 0], "GOAWAY of 8 + 3 bytes on stream 0");
        assert_eq!(frames[18..26], [0, 0, 0, 0, 0, 0, 0, 12]);
        assert_eq!(&frames[26..], b"why");
    }
}
