//! The login at an identity provider, with a real one (oidc-provider) and a real browser.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::{fs, io, thread};

use serde_json::{Value, json};
use spandrel_tests::server::{Settings, workspace_root};

/// The provider, which ends with the test.
struct Provider {
    child: Child,
    issuer: String,
    /// Open until the end: the provider ends when it cannot write.
    _output: BufReader<ChildStdout>,
}

const SECRET: &str = "s3cret+/of:the client";

fn script(name: &str) -> PathBuf {
    let folder = workspace_root().join("tests/idp");
    assert!(
        folder.join("node_modules").is_dir(),
        "the packages of tests/idp are missing; try: scripts/ui.sh packages tests/idp"
    );
    folder.join(name)
}

// === impl Provider ===

impl Provider {
    fn start(redirect: &str, after_logout: &str) -> Self {
        let mut command = Command::new("node");
        command.arg(script("provider.mjs")).args([redirect, after_logout, SECRET]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut issuer = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut issuer).unwrap();
        Self { child, issuer: issuer.trim().to_owned(), _output: output }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// An address that is known before the server that it leads to: the server and the provider have to know each other's.
fn forwarder() -> (SocketAddr, &'static OnceLock<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target: &'static OnceLock<SocketAddr> = Box::leak(Box::default());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(target.wait()).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
            ] {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    (address, target)
}

/// What the browser saw.
fn log_in(base: &str, name: &str) -> Value {
    let mut command = Command::new("node");
    command.arg(script("browser.mjs")).args([base, name, "/services"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}\n{stderr}"))
}

#[test]
fn a_browser_logs_in_at_a_real_provider_and_nobody_else_does() {
    let (address, target) = forwarder();
    // Another site than the provider, 127.0.0.1, for the browser: that decides which cookies it sends.
    let base = format!("http://localhost:{}", address.port());
    let redirect = format!("{base}/api/v1/oidc/callback");
    let after_logout = format!("{base}/");
    let provider = Provider::start(&redirect, &after_logout);
    let data = tempfile::tempdir().unwrap();
    let secret = data.path().join("oidc.secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let oidc = json!({
        "issuer": provider.issuer, "name": "Keys & Co", "client-id": "spandrel",
        "client-secret-file": secret, "redirect-url": redirect, "post-logout-url": after_logout, "scopes": ["openid", "profile", "groups"],
        "identity": { "name": "preferred_username", "roles": { "dev": "edit" } },
    });
    let server = Settings::on(data.path()).with(&["--require-auth", "--oidc", &oidc.to_string()]).start();
    target.set(server.http()).unwrap();

    let seen = log_in(&base, "ada");
    assert_eq!(seen["offered"], json!(["Sign in with Keys & Co"]));
    assert_eq!(seen["url"], format!("{base}/services"));
    let me = &seen["me"];
    assert_eq!(
        (&me["name"], &me["role"], &me["via"]),
        (&json!("ada"), &json!("edit"), &json!("oidc")),
        "{seen}"
    );
    let session = json!({ "name": "spandrel_session", "httpOnly": true, "sameSite": "Strict" });
    assert!(seen["cookies"].as_array().unwrap().contains(&session), "{seen}");
    for (attempt, word) in [
        ("replayed", "invalid_grant"),
        ("withoutTicket", "not begun in this browser"),
        ("otherState", "not begun in this browser"),
    ] {
        let attempt = &seen[attempt];
        assert_eq!((&attempt["status"], &attempt["session"]), (&json!(401), &json!(false)), "{seen}");
        assert!(attempt["said"].as_str().unwrap().contains(word), "{seen}");
    }
    assert_eq!((&seen["logout"], &seen["afterLogout"]), (&json!(200), &json!("Sign in to Spandrel")));
    assert_eq!(seen["asksAgain"], json!(true), "the provider's own session has ended");

    let seen = log_in(&base, "stranger");
    assert!(seen["alert"].as_str().unwrap().contains("stranger is known, and has no role here"), "{seen}");

    assert!(!server.stderr().contains(SECRET));
    let audit = fs::read_dir(data.path().join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let lines: String = audit
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert!(lines.contains(r#""event":"login","who":"ada","role":"edit","via":"oidc""#), "{lines}");
    assert!(
        lines.contains(r#""reason":"no-access""#) && lines.contains(r#""reason":"login-failed""#),
        "{lines}"
    );
    assert!(!lines.contains("code="), "a code is in the log: {lines}");
    server.stop();
}
