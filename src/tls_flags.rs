//! The settings of TLS: one set for all listeners, and exceptions by listener.
//!
//! An exception is written `LISTENER=off` or `LISTENER.MEMBER=VALUE` on the command line, and as a mapping in the file:
//!
//! ```yaml
//! tls:
//!   http: off
//!   otlp-grpc: { client-auth: required }
//! ```

use std::path::PathBuf;

use serde_json::{Map, Value};
use spandrel_gate::tls::{self, PemFile, ServerFiles};

/// What holds for all listeners, unless an exception says something else.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TlsSettings {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) client_auth: Option<ClientAuth>,
    /// A later one stands above an earlier one of the same listener and member.
    pub(crate) exceptions: Vec<Exception>,
}

/// Whether clients have to present a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClientAuth {
    /// None is asked for
    // What a plain `off` of a YAML file is read as.
    #[value(alias = "false")]
    Off,
    /// One is asked for; a client may have none
    Optional,
    /// A client without one is turned away
    Required,
}

/// Another value for one listener.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exception {
    listener: &'static str,
    /// `None` switches TLS off there.
    member: Option<(Member, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Cert,
    Key,
    ClientCa,
    ClientAuth,
}

/// The names of the listeners, those of their flags without `--` and `-addr`.
pub(crate) const LISTENERS: [&str; 8] =
    ["http", "otlp-grpc", "otlp-http", "zipkin", "jaeger-grpc", "jaeger-http", "datadog", "skywalking"];

const MEMBERS: [(&str, Member); 4] = [
    ("cert", Member::Cert),
    ("key", Member::Key),
    ("client-ca", Member::ClientCa),
    ("client-auth", Member::ClientAuth),
];

/// Reads `http=off` or `otlp-grpc.client-auth=required`.
pub(crate) fn exception(text: &str) -> Result<Exception, String> {
    let allowed = || {
        let members = MEMBERS.map(|(name, _)| name).join(", ");
        let listeners = LISTENERS.join(", ");
        format!(
            "allowed is LISTENER=off or LISTENER.MEMBER=VALUE, as in otlp-grpc.client-auth=required; listeners are \
             {listeners}; members are {members}"
        )
    };
    let (place, value) = text.split_once('=').ok_or_else(allowed)?;
    let (listener, member) = match place.split_once('.') {
        Some((listener, member)) => (listener, Some(member)),
        None => (place, None),
    };
    let listener = *LISTENERS.iter().find(|known| **known == listener).ok_or_else(allowed)?;
    match member {
        None if value == "off" => Ok(Exception { listener, member: None }),
        None => Err(allowed()),
        Some(name) => {
            let (_, member) = *MEMBERS.iter().find(|(known, _)| *known == name).ok_or_else(allowed)?;
            if member == Member::ClientAuth {
                client_auth(value)?;
            }
            Ok(Exception { listener, member: Some((member, value.to_owned())) })
        }
    }
}

fn client_auth(text: &str) -> Result<ClientAuth, String> {
    <ClientAuth as clap::ValueEnum>::from_str(text, false)
        .map_err(|_| "allowed for client-auth is off, optional or required".to_owned())
}

/// The mapping of the file, written as values of the flag.
pub(crate) fn words(listeners: &Map<String, Value>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for (listener, value) in listeners {
        match value {
            Value::Object(members) => {
                for (member, value) in members {
                    words.push(format!("{listener}.{member}={}", word(value)?));
                }
            }
            value => words.push(format!("{listener}={}", word(value)?)),
        }
    }
    Some(words)
}

/// `off` is a truth value for some readers of YAML.
fn word(value: &Value) -> Option<&str> {
    match value {
        Value::Bool(false) => Some("off"),
        value => value.as_str(),
    }
}

// === impl TlsSettings ===

impl TlsSettings {
    /// The files of a listener, or `None` if it is plain.
    pub(crate) fn files(&self, listener: &str) -> Result<Option<ServerFiles>, String> {
        let own: Vec<&Exception> = self.exceptions.iter().filter(|e| e.listener == listener).collect();
        if own.last().is_some_and(|exception| exception.member.is_none()) {
            return Ok(None);
        }
        let file = |member, general: &Option<PathBuf>| self.file(listener, member, general.as_ref());
        let client_auth = match find(&own, Member::ClientAuth) {
            Some(text) => Some(client_auth(text)?),
            None => self.client_auth,
        };
        let client_ca = file(Member::ClientCa, &self.client_ca);
        let (certificate, key) = match (file(Member::Cert, &self.cert), file(Member::Key, &self.key)) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(one), None) => return Err(format!("{one} is given without a key; give --tls-key, too")),
            (None, Some(one)) => {
                return Err(format!("{one} is given without a certificate; give --tls-cert, too"));
            }
            (None, None) => {
                return match (client_ca, client_auth) {
                    (Some(one), _) => Err(format!(
                        "{one} is given, but no certificate for --{listener}-addr; give --tls-cert and --tls-key, too, \
                         or say --tls {listener}=off"
                    )),
                    (None, Some(ClientAuth::Optional | ClientAuth::Required)) => Err(
                        "--tls-client-auth is given without TLS; give --tls-cert, --tls-key and --tls-client-ca, too"
                            .to_owned(),
                    ),
                    (None, _) => Ok(None),
                };
            }
        };
        let client = match (client_ca, client_auth) {
            (_, Some(ClientAuth::Off)) | (None, None) => None,
            (Some(file), None | Some(ClientAuth::Optional)) => Some((file, tls::ClientAuth::Optional)),
            (Some(file), Some(ClientAuth::Required)) => Some((file, tls::ClientAuth::Required)),
            (None, Some(_)) => {
                return Err(format!(
                    "client certificates are asked for at --{listener}-addr, and no authority of theirs is known; give \
                     --tls-client-ca, too"
                ));
            }
        };
        Ok(Some(ServerFiles { certificate, key, client }))
    }

    fn file(&self, listener: &str, member: Member, general: Option<&PathBuf>) -> Option<PemFile> {
        let own: Vec<&Exception> = self.exceptions.iter().filter(|e| e.listener == listener).collect();
        match find(&own, member) {
            Some(path) => Some(PemFile::new(format!("--tls {listener}.{}", member.name()), path)),
            None => general.map(|path| PemFile::new(format!("--tls-{}", member.name()), path)),
        }
    }

    /// The exceptions in the notation of the file.
    pub(crate) fn exceptions_to_json(&self) -> Map<String, Value> {
        let mut listeners = Map::new();
        for Exception { listener, member } in &self.exceptions {
            let entry = listeners.entry(*listener).or_insert_with(|| Value::from("off"));
            match (member, entry) {
                (None, entry) => *entry = "off".into(),
                (Some((member, value)), Value::Object(members)) => {
                    members.insert(member.name().to_owned(), value.as_str().into());
                }
                (Some((member, value)), entry) => {
                    *entry =
                        Value::Object(Map::from_iter([(member.name().to_owned(), value.as_str().into())]));
                }
            }
        }
        listeners
    }
}

/// The last value of a member, counted from where TLS was last switched off.
fn find<'e>(exceptions: &[&'e Exception], wanted: Member) -> Option<&'e str> {
    let since_off = exceptions.iter().rev().map_while(|exception| exception.member.as_ref());
    since_off.into_iter().find(|(member, _)| *member == wanted).map(|(_, value)| value.as_str())
}

// === impl Member ===

impl Member {
    fn name(self) -> &'static str {
        MEMBERS.iter().find(|(_, member)| *member == self).map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(exceptions: &[&str]) -> TlsSettings {
        TlsSettings {
            cert: Some("all.crt".into()),
            key: Some("all.key".into()),
            client_ca: Some("ca.crt".into()),
            client_auth: None,
            exceptions: exceptions.iter().map(|text| exception(text).unwrap()).collect(),
        }
    }

    #[test]
    fn a_listener_has_the_general_files_but_for_its_exceptions() {
        let all = settings(&[
            "http=off",
            "otlp-grpc.client-auth=required",
            "otlp-http.cert=own.crt",
            "otlp-http.key=own.key",
        ]);
        assert_eq!(all.files("http"), Ok(None));
        let grpc = all.files("otlp-grpc").unwrap().unwrap();
        assert_eq!(grpc.certificate, PemFile::new("--tls-cert", "all.crt"));
        assert_eq!(grpc.client, Some((PemFile::new("--tls-client-ca", "ca.crt"), tls::ClientAuth::Required)));
        let http = all.files("otlp-http").unwrap().unwrap();
        assert_eq!(http.certificate, PemFile::new("--tls otlp-http.cert", "own.crt"));
        assert_eq!(http.key, PemFile::new("--tls otlp-http.key", "own.key"));
        assert_eq!(http.client.unwrap().1, tls::ClientAuth::Optional);

        let none = settings(&["http.client-auth=off"]).files("http").unwrap().unwrap();
        assert_eq!(none.client, None);
        let again =
            settings(&["http.cert=old.crt", "http=off", "http.key=own.key"]).files("http").unwrap().unwrap();
        assert_eq!(again.certificate.path, PathBuf::from("all.crt"), "off takes back what was said before");
        assert_eq!(again.key.path, PathBuf::from("own.key"));
    }

    #[test]
    fn half_a_setting_is_refused_with_its_other_half() {
        let none = TlsSettings::default;
        for (settings, words) in [
            (TlsSettings { cert: Some("a".into()), ..none() }, ["--tls-cert a", "--tls-key"]),
            (TlsSettings { key: Some("a".into()), ..none() }, ["--tls-key a", "--tls-cert"]),
            (TlsSettings { client_ca: Some("a".into()), ..none() }, ["--tls-client-ca a", "--tls-cert"]),
            (
                TlsSettings { client_auth: Some(ClientAuth::Required), ..none() },
                ["--tls-client-auth", "--tls-cert"],
            ),
            (
                TlsSettings { client_ca: None, client_auth: Some(ClientAuth::Required), ..settings(&[]) },
                ["--http-addr", "--tls-client-ca"],
            ),
        ] {
            let error = settings.files("http").unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        assert_eq!(TlsSettings::default().files("http"), Ok(None));
    }

    #[test]
    fn exceptions_are_printed_as_they_are_read() {
        let text = ["http=off", "otlp-grpc.client-auth=required", "otlp-grpc.cert=a=b.crt"];
        let json = settings(&text).exceptions_to_json();
        assert_eq!(
            Value::Object(json.clone()).to_string(),
            r#"{"http":"off","otlp-grpc":{"client-auth":"required","cert":"a=b.crt"}}"#
        );
        assert_eq!(words(&json).unwrap(), text);
        assert_eq!(words(&Map::from_iter([("http".to_owned(), false.into())])).unwrap(), ["http=off"]);
        assert_eq!(words(&Map::from_iter([("http".to_owned(), 1.into())])), None);
    }

    #[test]
    fn refusals_say_what_is_allowed() {
        for text in ["http", "http=on", "web=off", "http.chain=x", "=off", "http.client-auth=maybe"] {
            assert!(exception(text).unwrap_err().contains("allowed"), "{text}");
        }
    }
}
