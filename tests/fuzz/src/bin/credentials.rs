//! Credentials: headers as anybody may send them, the texts of keys, and heads of the audit log. A line of the input is a
//! header; what is a key or a head is written as it was read.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use spandrel_gate::audit::Head;
use spandrel_gate::keys::KeyToken;
use spandrel_gate::{Credential, ProxyHeaders, Roles, TenantGrant, TrustedProxies, parse_credential};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    if let Ok(Credential::Token(token, _)) = parse_credential(&headers) {
        check(token.reveal());
    }
    let [user, role, tenant] = ["user", "role", "tenant"].map(HeaderName::from_static);
    let names = ProxyHeaders { user, role, tenant };
    let roles = Roles::default();
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")], names);
    for peer in ["10.0.0.1", "192.0.2.1", "::1"] {
        let peer = peer.parse().expect("an address");
        let identity = proxies.identity(peer, &headers, &roles);
        let is_trusted = peer.to_string().starts_with("10.");
        assert!(is_trusted || (identity == Ok(None) && proxies.client(peer, &headers) == peer));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
        if let Ok(grant) = text.parse::<TenantGrant>() {
            assert_eq!(grant.to_string().parse(), Ok(grant));
        }
        if let Ok(head) = text.parse::<Head>() {
            assert_eq!(head.to_string().parse(), Ok(head));
        }
    }
});

fn check(text: &str) {
    if let Some(token) = KeyToken::parse(text) {
        assert_eq!(token.text().reveal(), text);
        assert!(text[5..].starts_with(token.id()));
    }
}
