//! The ticket of a login at an identity provider. The server gives it to the browser in a cookie when the login begins,
//! and reads it when the provider sends the browser back. It is signed, and good for a short time.
//!
//! The server itself keeps nothing about a login that has begun, so logins that a client begins and never ends take no
//! memory, and push out no login of another client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

/// What has to be known of a login when it ends. Nothing of it is secret to the browser that begins the login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// The provider repeats it in the address of the callback.
    pub(crate) state: String,
    /// The provider repeats it in the token.
    pub(crate) nonce: String,
    /// Shows the provider that the server which sends the code is the one that began the login (PKCE).
    pub(crate) verifier: String,
    /// The path to which the login leads.
    pub(crate) next: String,
    /// The end of its validity, in seconds since 1970.
    until: u64,
}

/// Signs tickets with a key that lives as long as the process.
pub(crate) struct Tickets {
    key: hmac::Key,
    lifetime: Duration,
}

// === impl Tickets ===

impl Tickets {
    pub(crate) fn new(lifetime: Duration) -> Result<Self, ring::error::Unspecified> {
        Ok(Self { key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?, lifetime })
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Signs a ticket. Its validity begins now.
    pub(crate) fn issue(&self, mut ticket: Ticket, now: SystemTime) -> String {
        ticket.until = seconds(now).saturating_add(self.lifetime.as_secs());
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&ticket).unwrap_or_default());
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, body.as_bytes()));
        format!("{body}.{tag}")
    }

    /// Reads a ticket; `None` if another process signed it, or it is too old or changed.
    pub(crate) fn read(&self, text: &str, now: SystemTime) -> Option<Ticket> {
        let (body, tag) = text.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, body.as_bytes(), &tag).ok()?;
        let ticket: Ticket = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        (seconds(now) < ticket.until).then_some(ticket)
    }
}

impl Ticket {
    pub(crate) fn new(state: String, nonce: String, verifier: String, next: String) -> Self {
        Self { state, nonce, verifier, next, until: 0 }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_a_while_unchanged_and_at_its_own_server() {
        let lifetime = Duration::from_secs(600);
        let (tickets, others) = (Tickets::new(lifetime).unwrap(), Tickets::new(lifetime).unwrap());
        let ticket = Ticket::new("s".into(), "n".into(), "v".into(), "/trace/1".into());
        let now = SystemTime::now();
        let text = tickets.issue(ticket.clone(), now);
        assert_eq!(
            tickets.read(&text, now).map(|read| (read.state, read.next)),
            Some((ticket.state, ticket.next))
        );
        assert_eq!(tickets.read(&text, now + lifetime), None, "too old");
        assert_eq!(others.read(&text, now), None, "of another server");
        let (body, tag) = text.split_once('.').unwrap();
        let changed = URL_SAFE_NO_PAD.encode(
            String::from_utf8(URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap().replace("/trace/1", "//evil/"),
        );
        for bad in
            [format!("{changed}.{tag}"), body.to_owned(), format!("{body}."), ".".to_owned(), String::new()]
        {
            assert_eq!(tickets.read(&bad, now), None, "{bad}");
        }
    }
}
