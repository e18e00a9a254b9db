//! A real Kafka, one node, and its own client to write to it. `scripts/setup.sh test` fetches the jars.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::server::{eventually, skipped, workspace_root};
use crate::tls::{Pki, read};

/// A broker, and a client that is connected to it. Both end with the value.
pub struct Kafka {
    folder: tempfile::TempDir,
    /// Who has signed the certificate of the broker.
    pub pki: Pki,
    jars: PathBuf,
    port: u16,
    security: Security,
    broker: Option<Child>,
    client: Option<Client>,
}

/// What the port of the broker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Plain,
    /// TLS, and a password that SCRAM proves.
    ScramOverTls,
}

/// The user of [`Security::ScramOverTls`].
pub const USER: &str = "tracer";
/// The user's password.
pub const PASSWORD: &str = "correct horse";

struct Client {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Small heaps, and no compiler that needs seconds to get warm.
const JAVA: [&str; 4] = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

impl Kafka {
    /// Starts a broker; `None` where there is no Kafka, which the output of the test says.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, Security::Plain)
    }

    /// The same with a port that speaks something else.
    pub fn start_with(test: &str, security: Security) -> Option<Self> {
        let mut kafka = Self::prepare(test, security)?;
        kafka.start_broker();
        Some(kafka)
    }

    /// Everything but the broker.
    pub fn prepare(test: &str, security: Security) -> Option<Self> {
        let Some(jars) = std::env::var_os("SPANDREL_KAFKA_JARS").map(PathBuf::from) else {
            skipped(
                test,
                "SPANDREL_KAFKA_JARS names no folder with the jars of Kafka (scripts/setup.sh test fetches them)",
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Free ports: they stay the same when the broker is started again.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, controller] = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
        let kafka = Self { folder, pki: Pki::new(), jars, port, security, broker: None, client: None };
        kafka.write_settings(controller);
        drop(free);
        let mut format = vec!["format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"];
        let settings = kafka.path("server.properties").display().to_string();
        let scram = format!("SCRAM-SHA-512=[name={USER},password=\"{PASSWORD}\"]");
        format.push(&settings);
        if security == Security::ScramOverTls {
            format.extend(["--add-scram", &scram]);
        }
        let output = kafka.java("kafka.tools.StorageTool").args(format).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(kafka)
    }

    fn write_settings(&self, controller: u16) {
        let port = self.port;
        let (protocol, more, client) = match self.security {
            Security::Plain => ("PLAINTEXT", String::new(), String::new()),
            Security::ScramOverTls => self.scram_settings(),
        };
        let server = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=BROKER://127.0.0.1:{port}\n\
             listener.security.protocol.map=BROKER:{protocol},CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=BROKER\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             message.max.bytes=16777216\nlog.dirs={}\n{more}",
            self.path("data").display()
        );
        fs::write(self.path("server.properties"), server).unwrap();
        fs::write(self.path("client.properties"), format!("bootstrap.servers={}\n{client}", self.address()))
            .unwrap();
    }

    /// A certificate of the broker, and the password of a client.
    fn scram_settings(&self) -> (&'static str, String, String) {
        let pki = &self.pki;
        pki.write("broker.pem", &(read(pki.folder(), "server.key") + &read(pki.folder(), "server.crt")));
        let login = |class: &str| {
            format!("sasl.jaas.config={class} required username=\"{USER}\" password=\"{PASSWORD}\";\n")
        };
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let server = format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             ssl.endpoint.identification.algorithm=\nsasl.enabled.mechanisms=SCRAM-SHA-512\n\
             sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512\nlistener.name.broker.scram-sha-512.{}",
            pki.file("broker.pem"),
            pki.file("ca.crt"),
            login(scram)
        );
        let client = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\n\
             ssl.truststore.location={}\n{}",
            pki.file("ca.crt"),
            login(scram)
        );
        ("SASL_SSL", server, client)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn java(&self, class: &str) -> Command {
        let mut java = Command::new("java");
        java.args(JAVA).arg("-cp").arg(self.jars.join("*")).arg(class).stdin(Stdio::null());
        java
    }

    /// Starts the broker, if it does not run.
    pub fn start_broker(&mut self) {
        let log = fs::File::create(self.path("broker.log")).unwrap();
        let mut java = self.java("kafka.Kafka");
        java.arg(self.path("server.properties")).stdout(log.try_clone().unwrap()).stderr(log);
        self.broker = Some(java.spawn().unwrap());
        let port = self.port;
        eventually("the broker listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    }

    /// Ends the broker as a crash does; it keeps what is written.
    pub fn kill_broker(&mut self) {
        end(&mut self.broker);
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs a command of `tests/kafka/Client.java`.
    pub fn run(&mut self, command: &str) -> Result<String, String> {
        let (jars, folder) = (&self.jars, self.folder.path());
        let client =
            self.client.get_or_insert_with(|| Client::start(jars, &folder.join("client.properties")));
        client.run(command)
    }

    /// The same for one that succeeds.
    pub fn ok(&mut self, command: &str) -> String {
        self.run(command).unwrap_or_else(|error| panic!("{command:.100}: {error}"))
    }

    /// Makes a topic.
    pub fn create(&mut self, topic: &str, partitions: u32) {
        // The first one waits until the broker has registered itself.
        eventually("a topic", || self.run(&format!("create {topic} {partitions}")).ok());
    }

    /// Writes messages to a partition, and returns the offset of the last one once the broker has them.
    pub fn send(&mut self, topic: &str, partition: u32, compression: &str, messages: &[&[u8]]) -> i64 {
        let mut command = format!("send {topic} {partition} {compression}");
        for message in messages {
            command.push(' ');
            command.push_str(&if message.is_empty() { "-".to_owned() } else { base64(message) });
        }
        self.ok(&command).parse().unwrap()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        end(&mut self.broker);
        if let Some(client) = &mut self.client {
            let _ = client.process.kill();
            let _ = client.process.wait();
        }
    }
}

impl Client {
    fn start(jars: &Path, settings: &Path) -> Self {
        let mut java = Command::new("java");
        java.args(JAVA).arg("-cp").arg(jars.join("*"));
        java.arg(workspace_root().join("tests/kafka/Client.java")).arg(settings);
        let mut process =
            java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }

    fn run(&mut self, command: &str) -> Result<String, String> {
        writeln!(self.input, "{command}").unwrap();
        self.input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
            ("ok", answer) => Ok(answer.to_owned()),
            (_, answer) => Err(answer.to_owned()),
        }
    }
}

fn end(process: &mut Option<Child>) {
    if let Some(mut process) = process.take() {
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// Base64 with its padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
