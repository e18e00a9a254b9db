//! `spandrel certificate`: an authority and certificates for trying TLS, as files.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use spandrel_gate::tls::{Authority, AuthorityError, Issued};

use super::output;

/// The arguments of `spandrel certificate`.
#[derive(Debug, Args)]
pub(crate) struct CertificateFlags {
    /// Where the files go; created if missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Another name or address under which clients reach the server, besides localhost, 127.0.0.1, ::1 and the name of
    /// this machine; may be given several times
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// The name of the client
    #[arg(long, value_name = "NAME", default_value = "client")]
    client: String,
    /// A URI of the client, such as spiffe://cluster.local/ns/shop/sa/payment
    #[arg(long, value_name = "URI")]
    client_uri: Option<String>,
}

/// A certificate and its key, as two files of one name.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// Keys are for their owner alone, certificates for all who want to verify.
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

pub(crate) fn run(flags: &CertificateFlags) -> Result<(), Box<dyn Error>> {
    let directory = &flags.directory;
    fs::create_dir_all(directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    let [ca, server, client] = ["ca", "server", "client"].map(|name| Pair::of(directory, name));
    let now = SystemTime::now();
    let mut lines = Vec::new();
    let authority = match ca.is_there()? {
        true => {
            lines.push(format!("kept  {}", ca.certificate.display()));
            let opened = Authority::open(&read(&ca.certificate)?, &read(&ca.key)?);
            opened.map_err(|error| format!("{} and its key: {error}", ca.certificate.display()))?
        }
        false => {
            let (authority, issued) = Authority::create(now)?;
            lines.push(ca.write(&issued, "an authority, for ten years")?);
            authority
        }
    };
    let names = names(&flags.names);
    lines.push(server.provide(&format!("for {}", names.join(", ")), || authority.server(&names, now))?);
    let of_client = || authority.client(&flags.client, flags.client_uri.as_deref(), now);
    lines.push(client.provide(&format!("for the client {}", flags.client), of_client)?);
    lines.extend(next(&ca, &server, &client));
    output::print(|out| Ok(lines.iter().try_for_each(|line| writeln!(out, "{line}"))?))
}

fn names(given: &[String]) -> Vec<String> {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let usual = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names: Vec<String> = Vec::new();
    for name in usual.into_iter().chain([machine]).chain(given.iter().cloned()) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The commands to go on with.
fn next(ca: &Pair, server: &Pair, client: &Pair) -> Vec<String> {
    let [ca, server_cert, server_key, client_cert, client_key] =
        [&ca.certificate, &server.certificate, &server.key, &client.certificate, &client.key]
            .map(|path| quoted(path));
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=https://localhost:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc";
    vec![
        String::new(),
        "A server with TLS, which asks for client certificates and does without:".to_owned(),
        format!("  spandrel serve --tls-cert {server_cert} --tls-key {server_key} --tls-client-ca {ca}"),
        "Questions to it:".to_owned(),
        format!(
            "  spandrel stats --server https://localhost:16686 --ca {ca} --cert {client_cert} --key {client_key}"
        ),
        "Traces for it, and from your own services by these variables:".to_owned(),
        format!(
            "  spandrel demo --endpoint https://localhost:4317 --ca {ca} --cert {client_cert} --key {client_key}"
        ),
        format!("  {endpoint} OTEL_EXPORTER_OTLP_CERTIFICATE={ca}"),
    ]
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

// === impl Pair ===

impl Pair {
    fn of(directory: &Path, name: &str) -> Self {
        let file = |extension: &str| directory.join(format!("{name}.{extension}"));
        Self { certificate: file("crt"), key: file("key") }
    }

    fn is_there(&self) -> Result<bool, String> {
        match (self.certificate.exists(), self.key.exists()) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (certificate, _) => {
                let (there, missing) =
                    if certificate { (&self.certificate, &self.key) } else { (&self.key, &self.certificate) };
                let (there, missing) = (there.display(), missing.display());
                Err(format!("{there} is there, {missing} is not; remove the one or bring back the other"))
            }
        }
    }

    /// Makes the pair unless it is there.
    fn provide(
        &self,
        purpose: &str,
        make: impl FnOnce() -> Result<Issued, AuthorityError>,
    ) -> Result<String, Box<dyn Error>> {
        if self.is_there()? {
            return Ok(format!("kept  {} (remove it and its key for a new one)", self.certificate.display()));
        }
        let issued = make().map_err(|error| format!("no certificate {purpose}: {error}"))?;
        Ok(self.write(&issued, purpose)?)
    }

    fn write(&self, issued: &Issued, purpose: &str) -> Result<String, String> {
        for (path, mode, text) in
            [(&self.key, KEY_MODE, &issued.key), (&self.certificate, CERTIFICATE_MODE, &issued.certificate)]
        {
            let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            opened
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(format!("made  {} and its key, {purpose}", self.certificate.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_once() {
        let names = names(&["::1".to_owned(), "spandrel.example".to_owned()]);
        assert_eq!(names[..3], ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(names.iter().filter(|name| *name == "::1").count(), 1);
        assert_eq!(names.last().unwrap(), "spandrel.example");
    }

    #[test]
    fn paths_are_words_of_a_shell() {
        assert_eq!(quoted(Path::new("/etc/tls/ca.crt")), "/etc/tls/ca.crt");
        assert_eq!(quoted(Path::new("my dir/it's")), r"'my dir/it'\''s'");
    }
}
