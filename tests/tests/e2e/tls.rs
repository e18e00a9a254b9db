//! Encryption on the wire: every port, client certificates, certificates that change under load, clients that speak the
//! wrong protocol or nothing, and the commands as clients.

use std::fs;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use prost::Message as _;
use spandrel_tests::command_output::{CommandOutput, run};
use spandrel_tests::grpc::Grpc;
use spandrel_tests::http::{self, Body, Connection, PROTOBUF, Reply};
use spandrel_tests::otlp::{self, hex};
use spandrel_tests::server::{PATIENCE, Server, Settings, eventually, skipped};
use spandrel_tests::tls::{Pki, answer_to, der, presented, protocol, read};
use tempfile::TempDir;

/// A server with TLS on every port.
struct Fixture {
    pki: Pki,
    server: Server,
    _data: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
        let flags = pki.flags();
        let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
        arguments.extend(more);
        let server = Settings::on(data.path()).with(&arguments).start();
        Self { pki, server, _data: data }
    }

    /// The same, with an authority for client certificates.
    fn with_client_ca(more: &[&str]) -> Self {
        let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
        let (flags, ca) = (pki.flags(), pki.file("ca.crt"));
        let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
        arguments.extend(["--tls-client-ca", &ca]);
        arguments.extend(more);
        let server = Settings::on(data.path()).with(&arguments).start();
        Self { pki, server, _data: data }
    }

    fn ports(&self) -> [(&'static str, SocketAddr); 3] {
        ["http", "otlp-grpc", "otlp-http"].map(|name| (name, self.server.address(name)))
    }

    fn get(&self, path: &str) -> Reply {
        over_tls(&self.pki, self.server.http()).request("GET", path, &[], Body::None).unwrap()
    }

    /// The arguments of a command that asks this server.
    fn asking(&self, arguments: &[&str]) -> Vec<String> {
        let address = format!("https://localhost:{}", self.server.http().port());
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        all.extend(["--server".to_owned(), address]);
        all
    }
}

/// A connection that speaks HTTP/1.1 over TLS.
fn over_tls(pki: &Pki, address: SocketAddr) -> Connection {
    Connection::over(address, pki.connect(address, &["http/1.1"], None).unwrap())
}

fn asked(arguments: &[String]) -> CommandOutput {
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A request of one span, and its trace ID in hex.
fn one_span() -> (Vec<u8>, String) {
    let id = otlp::trace_id();
    (otlp::request("shop", vec![otlp::span(&id, "GET /")]).encode_to_vec(), hex(&id))
}

#[test]
fn every_port_speaks_tls_in_both_protocols() {
    let fixture = Fixture::new();
    for (name, address) in fixture.ports() {
        for (offered, chosen) in [
            (vec!["h2", "http/1.1"], Some("h2")),
            (vec!["http/1.1", "h2"], Some("h2")),
            (vec!["http/1.1"], Some("http/1.1")),
            (vec![], None),
        ] {
            let stream = fixture.pki.connect(address, &offered, None).unwrap();
            assert_eq!(protocol(&stream).as_deref(), chosen, "{name}: {offered:?}");
            if chosen != Some("h2") {
                let reply = Connection::over(address, stream).request("GET", "/", &[], Body::None).unwrap();
                assert!(reply.status >= 200, "{name} answers HTTP/1.1");
            }
        }
        assert!(fixture.pki.connect(address, &["spdy/3"], None).is_err(), "{name}: no common protocol");
    }
    let (over_grpc, first) = one_span();
    let mut grpc =
        Grpc::connect_encrypted(fixture.server.otlp_grpc(), fixture.pki.authority.certificate(), None)
            .unwrap();
    grpc.export(&over_grpc).unwrap();
    let (over_http, second) = one_span();
    let reply = over_tls(&fixture.pki, fixture.server.otlp_http()).request(
        "POST",
        "/v1/traces",
        PROTOBUF,
        Body::Sized(&over_http),
    );
    assert_eq!(reply.unwrap().status, 200);
    for trace in [first, second] {
        let tree = fixture.get(&format!("/api/v1/traces/{trace}"));
        assert_eq!(tree.status, 200, "{}", tree.text());
        assert_eq!(tree.json()["trace"]["spanCount"], 1);
    }
    let status = fixture.get("/api/v1/status").json();
    assert_eq!(status["encrypted"].to_string(), r#"["http","otlpGrpc","otlpHttp","zipkin"]"#);
    for (limit, value) in
        [("maxHandshakes", "1024"), ("handshakeTimeout", "\"10s\""), ("certificateInterval", "\"5s\"")]
    {
        assert_eq!(status["limits"][limit].to_string(), value, "{limit}");
    }
    let metrics = fixture.get("/metrics").text();
    assert!(metrics.contains("spandrel_tls_handshakes_total{result=\"done\"}"), "{metrics}");
    assert!(metrics.contains("spandrel_tls_certificate_expiry_seconds{file="), "{metrics}");
    fixture.server.stop();
}

#[test]
fn only_versions_1_2_and_1_3_are_offered() {
    let test = "only_versions_1_2_and_1_3_are_offered";
    if Command::new("openssl").arg("version").output().is_err() {
        return skipped(test, "there is no openssl here");
    }
    let fixture = Fixture::new();
    let shake = |address: SocketAddr, version: &str, ciphers: &str| {
        let (address, ca) = (address.to_string(), fixture.pki.file("ca.crt"));
        let arguments = ["s_client", "-connect", &address, "-CAfile", &ca, "-verify_return_error", version];
        let mut command = Command::new("openssl");
        // At security level 0 OpenSSL itself would speak the old versions and ciphers.
        command.args(arguments).args(["-cipher", &format!("{ciphers}:@SECLEVEL=0"), "-alpn", "h2"]);
        command.stdin(Stdio::null());
        let output = command.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    for (port, address) in fixture.ports() {
        for version in ["-tls1_2", "-tls1_3"] {
            let (done, said) = shake(address, version, "ALL");
            assert!(done && said.contains("Verify return code: 0 (ok)"), "{port} {version}: {said}");
            assert!(said.contains("ALPN protocol: h2"), "{port} {version}: {said}");
        }
        for version in ["-tls1", "-tls1_1"] {
            let (done, said) = shake(address, version, "ALL");
            assert!(!done && said.contains("SSL alert number"), "{port} {version}: {said}");
        }
        // Without forward secrecy, or without authentication of what is sent.
        for ciphers in ["kRSA", "SHA1", "aNULL"] {
            let (done, said) = shake(address, "-tls1_2", ciphers);
            assert!(!done && said.contains("SSL alert number"), "{port} {ciphers}: {said}");
        }
    }
}

#[test]
fn client_certificates_are_verified_and_demanded_where_the_file_says_so() {
    let fixture =
        Fixture::with_client_ca(&["--tls", "otlp-grpc.client-auth=required,otlp-http.client-auth=off"]);
    let Fixture { pki, server, .. } = &fixture;
    let client = pki.issue_client("cart");
    let stranger = Pki::new().issue_client("cart");
    let ca = pki.authority.certificate();
    let (body, _) = one_span();
    let export = |identity| Grpc::connect_encrypted(server.otlp_grpc(), ca, identity)?.export(&body);
    assert!(export(Some((client.certificate.as_str(), client.key.as_str()))).is_ok());
    let refused = export(None).unwrap_err();
    assert!(refused.message().contains("CertificateRequired"), "{refused}");
    let refused = export(Some((stranger.certificate.as_str(), stranger.key.as_str()))).unwrap_err();
    assert!(refused.message().contains("fatal alert"), "{refused}");
    let get = |address, identity| {
        let stream = pki.connect(address, &["http/1.1"], identity)?;
        Connection::over(address, stream).request("GET", "/healthz", &[], Body::None)
    };
    assert_eq!(get(server.http(), None).unwrap().status, 200, "asked for, not demanded");
    assert_eq!(get(server.http(), Some(&client)).unwrap().status, 200);
    assert!(get(server.http(), Some(&stranger)).is_err(), "what is presented is verified");
    assert!(get(server.otlp_http(), Some(&stranger)).is_ok(), "not asked for");
}

#[test]
fn plain_http_to_a_tls_port_gets_an_answer_that_says_so() {
    let fixture = Fixture::new();
    for (name, address) in fixture.ports() {
        let reply = http::get(address, "/healthz");
        assert_eq!(
            (reply.status, reply.text().trim_end()),
            (400, "this port speaks TLS; use https://"),
            "{name}"
        );
        // More than what the first packet has: the answer still arrives.
        let large = vec![7; 3 << 20];
        let reply = http::request(address, "POST", "/v1/traces", PROTOBUF, Body::Sized(&large));
        assert_eq!(reply.status, 400, "{name}");
        let answer = answer_to(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(answer.ends_with(b"this port speaks TLS; use https://"), "{name}: {answer:?}");
    }
    let (body, _) = one_span();
    let error =
        Grpc::connect(fixture.server.otlp_grpc()).and_then(|mut grpc| grpc.export(&body)).unwrap_err();
    assert!(error.message().contains("this port speaks TLS; use https://"), "{error}");
}

#[test]
fn tls_to_a_plain_port_is_logged_and_answered_in_plain() {
    let data = tempfile::tempdir().unwrap();
    let server = Settings::on(data.path()).start();
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    for address in server.listening().values() {
        let answer = answer_to(*address, hello);
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
        assert!(Pki::new().connect(*address, &["h2"], None).is_err());
    }
    for name in ["http", "otlp-grpc", "otlp-http"] {
        let line = format!("a client began TLS at --{name}-addr, which is plain");
        eventually(&line, || server.stderr().contains(&line).then_some(()));
        assert_eq!(server.stderr().matches(&line).count(), 1, "said once a minute");
    }
}

#[test]
fn a_listener_can_differ_from_the_others() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let own = pki.issue_server();
    pki.write("own.crt", &own.certificate);
    pki.write("own.key", &own.key);
    let file = folder.path().join("spandrel.yaml");
    let [_, certificate, _, key] = pki.flags();
    let (own_certificate, own_key) = (pki.file("own.crt"), pki.file("own.key"));
    let text = format!(
        "tls-cert: {certificate}\ntls-key: {key}\ntls:\n  http: off\n  otlp-http:\n    cert: {own_certificate}\n    key: {own_key}\n"
    );
    fs::write(&file, &text).unwrap();
    let file = file.display().to_string();
    let server = Settings::on(&folder.path().join("data")).with(&["--config", &file]).start();
    assert_eq!(http::get(server.http(), "/healthz").status, 200);
    let shown = |address| presented(&pki.connect(address, &[], None).unwrap());
    assert_eq!(shown(server.otlp_grpc()), der(&read(pki.path("").as_path(), "server.crt")));
    assert_eq!(shown(server.otlp_http()), der(&own.certificate));

    let printed = run(&["serve", "--config", &file, "--print-config"]).assert_ok();
    for part in [&certificate, &key, &own_key, "\"http\":\"off\""] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    assert!(!printed.contains("PRIVATE KEY"), "{printed}");
    fs::write(folder.path().join("again.yaml"), &printed).unwrap();
    let again = folder.path().join("again.yaml").display().to_string();
    assert_eq!(run(&["serve", "--config", &again, "--print-config"]).assert_ok(), printed);
}

#[test]
fn a_start_with_wrong_files_says_what_is_wrong() {
    let (pki, data) = (Pki::new(), tempfile::tempdir().unwrap());
    pki.write("other.key", &pki.issue_server().key);
    let [cert_flag, certificate, key_flag, key] = pki.flags();
    let (other, missing) = (pki.file("other.key"), pki.file("missing.crt"));
    for (arguments, words) in [
        ([&cert_flag, &certificate, &key_flag, &other], ["--tls-key", "other.key", "does not belong"]),
        ([&cert_flag, &missing, &key_flag, &key], ["--tls-cert", "missing.crt", "No such file"]),
        ([&cert_flag, &key, &key_flag, &key], ["--tls-cert", "server.key", "no certificate"]),
    ] {
        let arguments = arguments.map(String::as_str);
        let refused = Settings::on(data.path()).with(&arguments).try_start().err().expect("no server");
        assert!(words.iter().all(|word| refused.stderr.contains(word)), "{words:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "no port was opened");
    }
}

fn until(stop: &AtomicBool, done: &AtomicU64, mut ask: impl FnMut()) {
    while !stop.load(Ordering::Relaxed) {
        ask();
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads until the server ends the connection.
fn wait_for_end(stream: &mut impl Read) {
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "the connection is still open");
    }
}

#[test]
fn certificates_change_under_load_without_a_failed_request() {
    let fixture = Fixture::with(&["--limits", "certificateInterval=100ms"]);
    let Fixture { pki, server, .. } = &fixture;
    let (http, grpc, stop) = (server.http(), server.otlp_grpc(), AtomicBool::new(false));
    let [kept, fresh, exported] = [(); 3].map(|()| AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = over_tls(pki, http);
            until(&stop, &kept, || {
                let reply = connection.request("GET", "/api/v1/services", &[], Body::None);
                assert_eq!(reply.expect("one connection lives through it all").status, 200);
            });
        });
        scope.spawn(|| {
            until(&stop, &fresh, || {
                let reply = over_tls(pki, http).request("GET", "/healthz", &[], Body::None);
                assert_eq!(reply.expect("new connections are served").status, 200);
            });
        });
        scope.spawn(|| {
            let mut client = Grpc::connect_encrypted(grpc, pki.authority.certificate(), None).unwrap();
            until(&stop, &exported, || {
                client.export(&one_span().0).unwrap();
            });
        });
        // A panic of a thread ends the others, too.
        let work = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 1..=5 {
                let next = pki.issue_server();
                pki.write("server.crt", &next.certificate);
                if round == 2 {
                    let complaint = "write both";
                    eventually(complaint, || server.stderr().contains(complaint).then_some(()));
                    let now = presented(&pki.connect(http, &[], None).unwrap());
                    assert_ne!(now, der(&next.certificate), "half a pair is not taken");
                }
                pki.write("server.key", &next.key);
                eventually("the new certificate is presented", || {
                    let now = presented(&pki.connect(http, &[], None).unwrap());
                    (now == der(&next.certificate)).then_some(())
                });
                let before = [&kept, &fresh, &exported].map(|count| count.load(Ordering::Relaxed));
                eventually("all clients go on", || {
                    let now = [&kept, &fresh, &exported].map(|count| count.load(Ordering::Relaxed));
                    now.iter().zip(before).all(|(now, before)| *now > before).then_some(())
                });
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = work {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn slow_handshakes_hold_up_nobody_and_end_in_time() {
    let fixture = Fixture::with(&["--limits", "handshakeTimeout=2s,headTimeout=2s"]);
    let address = fixture.server.otlp_http();
    let begin = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let silent: Vec<TcpStream> = (0..20).map(|_| begin(b"")).collect();
    let slow: Vec<TcpStream> = (0..100).map(|_| begin(b"\x16\x03\x01")).collect();
    let (body, _) = one_span();
    let reply = over_tls(&fixture.pki, address).request("POST", "/v1/traces", PROTOBUF, Body::Sized(&body));
    assert_eq!(reply.unwrap().status, 200);
    // A client may also go silent after its handshake, before HTTP or in the middle of its first bytes.
    let mut mute = fixture.pki.connect(address, &["h2"], None).unwrap();
    let mut stuck = fixture.pki.connect(address, &["h2"], None).unwrap();
    stuck.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    silent.into_iter().chain(slow).for_each(|mut stream| wait_for_end(&mut stream));
    [&mut mute, &mut stuck].into_iter().for_each(wait_for_end);
    let metrics = fixture.get("/metrics").text();
    assert!(metrics.contains("spandrel_tls_handshakes_total{result=\"late\"} 100"), "{metrics}");
}

#[test]
fn places_for_handshakes_are_bounded() {
    let fixture = Fixture::with(&["--limits", "maxHandshakes=1,handshakeTimeout=1h"]);
    let address = fixture.server.otlp_http();
    let pki = &fixture.pki;
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"\x16\x03\x01").unwrap();
    thread::scope(|scope| {
        // Waits for the place, on a port of its own place for no time at all.
        let waits = scope.spawn(|| over_tls(pki, address).request("GET", "/", &[], Body::None));
        assert_eq!(fixture.get("/healthz").status, 200, "each port has its own places");
        drop(slow);
        assert!(waits.join().unwrap().is_ok(), "the place is free again");
    });
}

#[test]
fn commands_verify_the_server_and_say_what_to_do() {
    let fixture = Fixture::with_client_ca(&["--tls-client-auth", "required"]);
    fixture.pki.issue_client("me");
    let [ca, cert, key] = ["ca.crt", "me.crt", "me.key"].map(|name| fixture.pki.file(name));
    let with = |more: &[&str]| {
        let mut arguments = fixture.asking(&["stats"]);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        asked(&arguments)
    };
    with(&["--ca", &ca, "--cert", &cert, "--key", &key]).assert_ok();
    with(&["--ca", &ca]).assert_err(1, "give one with --cert FILE and --key FILE");
    let stranger = Pki::new();
    stranger.issue_client("me");
    with(&["--ca", &stranger.file("ca.crt")]).assert_err(1, "--ca FILE");
    let (other_cert, other_key) = (stranger.file("me.crt"), stranger.file("me.key"));
    with(&["--ca", &ca, "--cert", &other_cert, "--key", &other_key])
        .assert_err(1, "it refuses the client certificate");
    with(&["--ca", &ca, "--cert", &cert, "--key", &other_key]).assert_err(1, "does not belong");
    with(&["--ca", &fixture.pki.file("nowhere")]).assert_err(1, "--ca");

    let plain = format!("http://{}", fixture.server.http());
    run(&["stats", "--server", &plain]).assert_err(1, "this port speaks TLS; use https://");
    let data = tempfile::tempdir().unwrap();
    let unencrypted = Settings::on(data.path()).start();
    let wrong = format!("https://{}", unencrypted.http());
    run(&["stats", "--server", &wrong, "--ca", &ca]).assert_err(1, "it speaks no TLS; use http://");
}

#[test]
fn the_demo_sends_over_tls_with_a_client_certificate() {
    let fixture = Fixture::with_client_ca(&["--tls", "otlp-grpc.client-auth=required"]);
    fixture.pki.issue_client("demo");
    let endpoint = format!("https://localhost:{}", fixture.server.otlp_grpc().port());
    let [ca, cert, key] = ["ca.crt", "demo.crt", "demo.key"].map(|name| fixture.pki.file(name));
    let arguments =
        ["demo", "--endpoint", &endpoint, "--duration", "1s", "--ca", &ca, "--cert", &cert, "--key", &key];
    let output = run(&arguments);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let stats = fixture.get("/api/v1/status").json();
    assert!(stats["spanCount"].as_u64().unwrap() > 0, "{stats}");
}

#[test]
fn certificates_for_trying_it_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("certs");
    let path = directory.display().to_string();
    let make = || run(&["certificate", &path, "--name", "shop.example"]);
    let said = make().assert_ok();
    let names = ["ca.crt", "ca.key", "server.crt", "server.key", "client.crt", "client.key"];
    let before = names.map(|name| read(&directory, name));
    for name in names {
        let mode = fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if name.ends_with(".key") { 0o600 } else { 0o644 & mode }, "{name}");
    }
    let again = make().assert_ok();
    assert_eq!(names.map(|name| read(&directory, name)), before, "nothing is overwritten");
    assert_eq!(again.matches("kept").count(), 3, "{again}");

    // The printed commands work, and so does a server certificate that the same authority signs later.
    let (cert, key, ca) =
        (format!("{path}/server.crt"), format!("{path}/server.key"), format!("{path}/ca.crt"));
    assert!(
        said.contains(&format!("spandrel serve --tls-cert {cert} --tls-key {key} --tls-client-ca {ca}")),
        "{said}"
    );
    fs::remove_file(&cert).unwrap();
    make().assert_err(1, "server.key is there");
    fs::remove_file(&key).unwrap();
    make().assert_ok();
    assert_ne!(read(&directory, "server.crt"), before[2]);
    let flags =
        ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca, "--tls-client-auth", "required"];
    let server = Settings::on(&folder.path().join("data")).with(&flags).start();
    let (client, client_key) = (format!("{path}/client.crt"), format!("{path}/client.key"));
    for host in ["localhost", "127.0.0.1"] {
        let address = format!("https://{host}:{}", server.http().port());
        run(&["stats", "--server", &address, "--ca", &ca, "--cert", &client, "--key", &client_key])
            .assert_ok();
    }
}
