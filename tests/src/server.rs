//! Starts the real binary as a user would, and stops it in several ways.
//!
//! Ports are free ones, the data directory is the test's, and only processes that were started here get signals. The
//! server's log is kept: a panic in it fails the test that used the server.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::http;

/// The time after which a test fails. Successful tests never wait so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of standard output that may wait in the channel.
const STDOUT_LINES: usize = 1_000;

/// How to start a server. Ports are free ones, and everything else has its default.
#[derive(Debug, Clone)]
pub struct Settings {
    data_dir: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A server that is ready.
pub struct Server {
    process: Process,
    listening: BTreeMap<String, SocketAddr>,
}

/// A server that ended before it was ready.
#[derive(Debug)]
pub struct Refused {
    pub status: ExitStatus,
    /// Its standard error.
    pub stderr: String,
    /// Its standard output.
    pub stdout: String,
}

/// A child process and its output.
struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

/// The binary under test: `$SPANDREL_BIN`, else what `cargo build` makes.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("SPANDREL_BIN").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| workspace_root().join("target"), PathBuf::from);
            target.join("debug/spandrel")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing; `cargo build` makes it, or name one: SPANDREL_BIN=…",
        path.display()
    );
    path
}

/// The folder of the repository.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The binary with these arguments, without variables of the environment that configure it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("SPANDREL_") || name.starts_with("OTEL_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// Polls until there is a result; panics with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A number from the environment.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// Reports that a test was skipped, also if the test runner captures output.
pub fn skipped(test: &str, why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

// === impl Settings ===

impl Settings {
    /// A server on this data directory.
    pub fn on(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Adds arguments; a flag given here replaces the default of this harness.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sets a variable of the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|refused| panic!("the server did not start: {refused:#?}"))
    }

    /// Starts the server and waits until it is ready or has ended.
    pub fn try_start(&self) -> Result<Server, Refused> {
        let mut process = self.spawn();
        let mut listening = BTreeMap::new();
        let mut seen = String::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = process.stdout.recv_timeout(left) else {
                if Instant::now() >= deadline {
                    panic!("neither ready nor gone within {PATIENCE:?}; it logged: {}", process.stderr());
                }
                let status = process.wait(deadline);
                let stderr = process.stderr();
                return Err(Refused { status, stderr, stdout: seen });
            };
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["listening", name, address] => {
                    let address = address.parse().unwrap_or_else(|_| panic!("not an address: {line:?}"));
                    assert_eq!(listening.insert(name.to_owned(), address), None, "{name} is listed twice");
                }
                ["ready"] => return Ok(Server { process, listening }),
                _ => panic!("standard output is for `listening NAME HOST:PORT` and `ready`: {line:?}"),
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    /// Starts the server and kills it after this time, ready or not.
    pub fn start_and_kill(&self, after: Duration) {
        let mut process = self.spawn();
        thread::sleep(after);
        process.kill();
    }

    fn spawn(&self) -> Process {
        let mut command = command(&["serve"]);
        let data_dir = self.data_dir.display().to_string();
        let defaults = [
            ("--data-dir", data_dir.as_str()),
            ("--http-addr", "127.0.0.1:0"),
            ("--otlp-grpc-addr", "127.0.0.1:0"),
            ("--otlp-http-addr", "127.0.0.1:0"),
            ("--zipkin-addr", "127.0.0.1:0"),
        ];
        for (flag, value) in defaults {
            let variable = format!("SPANDREL_{}", flag[2..].replace('-', "_").to_uppercase());
            let said = self.arguments.iter().any(|argument| argument == flag)
                || self.environment.iter().any(|(name, _)| *name == variable);
            if !said {
                command.args([flag, value]);
            }
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::spawn(&mut command)
    }
}

// === impl Server ===

impl Server {
    /// The address of a port, by its name in the `listening` line.
    pub fn address(&self, name: &str) -> SocketAddr {
        *self.listening.get(name).unwrap_or_else(|| panic!("no port {name} among {:?}", self.listening))
    }

    /// Every port by its name.
    pub fn listening(&self) -> &BTreeMap<String, SocketAddr> {
        &self.listening
    }

    /// The port of the UI and the JSON API.
    pub fn http(&self) -> SocketAddr {
        self.address("http")
    }

    /// The port of OTLP/gRPC.
    pub fn otlp_grpc(&self) -> SocketAddr {
        self.address("otlp-grpc")
    }

    /// The port of OTLP/HTTP.
    pub fn otlp_http(&self) -> SocketAddr {
        self.address("otlp-http")
    }

    /// A client of the JSON API.
    pub fn api(&self) -> Api {
        Api::at(self.http())
    }

    /// A value of `/metrics`, if the server exports it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = http::get(self.http(), "/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// The log so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.process.child.try_wait().expect("the child's state").is_none()
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("the command kill").success(), "SIG{name} was not sent");
    }

    /// Waits until the server has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait(Instant::now() + PATIENCE)
    }

    /// Sends SIGTERM and asserts that the server ends properly.
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}; it logged: {}", self.stderr());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        let log = self.process.stderr();
        if thread::panicking() {
            eprintln!("--- the server's log\n{}\n---", log.trim_end());
        } else {
            assert!(!log.contains("panicked at"), "the server panicked: {log}");
        }
    }
}

// === impl Process ===

impl Process {
    fn spawn(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (lines, stdout) = sync_channel(STDOUT_LINES);
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut err = child.stderr.take().expect("a pipe");
        let stderr = Arc::new(Mutex::new(String::new()));
        let log = Arc::clone(&stderr);
        let readers = vec![
            thread::spawn(move || {
                for line in out.lines().map_while(Result::ok) {
                    if lines.send(line).is_err() {
                        break;
                    }
                }
            }),
            thread::spawn(move || {
                let mut buffer = [0; 8 << 10];
                while let Ok(length @ 1..) = err.read(&mut buffer) {
                    log.lock().expect("the log").push_str(&String::from_utf8_lossy(&buffer[..length]));
                }
            }),
        ];
        Self { child, stdout, stderr, readers }
    }

    fn stderr(&self) -> String {
        self.stderr.lock().expect("the log").clone()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.finish_reading();
    }

    fn wait(&mut self, deadline: Instant) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                self.finish_reading();
                return status;
            }
            if Instant::now() >= deadline {
                let log = self.stderr();
                self.kill();
                panic!("the server did not end within {PATIENCE:?}; it logged: {log}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads the rest of the output; the pipes end with the process.
    fn finish_reading(&mut self) {
        // A full channel would block its writer.
        while self.stdout.try_recv().is_ok() {}
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}
