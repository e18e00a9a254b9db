//! Progress of long commands: a terminal shows it, and the output for scripts does not contain it.

use std::path::PathBuf;
use std::process::{Command, Output};

use prost::Message as _;
use spandrel_tests::http::post_traces;
use spandrel_tests::otlp::{request, span, trace_id};
use spandrel_tests::server::{Server, Settings, command, skipped};
use tempfile::TempDir;

/// A Python program that runs a command on a terminal of 100 columns and prints what the command writes there.
const ON_A_TERMINAL: &str = "
import fcntl, os, pty, struct, sys, termios
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    try:
        seen = os.read(terminal, 65536)
    except OSError:
        break
    if not seen:
        break
    sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// The characters of progress bars.
const BAR: [char; 2] = ['█', '░'];
/// The text behind the bytes of a transfer of unknown length.
const PACE: &str = "B/s";

/// The text after the last update of progress.
fn behind_progress(seen: &str) -> Option<&str> {
    let bar = seen.rfind(BAR).max(seen.rfind(PACE));
    bar.map(|at| &seen[at..])
}

/// A server with some spans, and a folder for the files of commands.
struct Place {
    server: Server,
    folder: TempDir,
}

// === impl Place ===

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Settings::on(&folder.path().join("data")).start();
        for n in 0..20 {
            let spans = (0..50).map(|step| span(&trace_id(), &format!("step {n} {step}"))).collect();
            let reply = post_traces(server.otlp_http(), &request("shop", spans).encode_to_vec());
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        Self { server, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Each command, with the text before its bar. `run` makes the paths of each run differ.
    fn commands(&self, run: &str) -> Vec<(&'static str, Vec<String>)> {
        let server = format!("http://{}", self.server.http());
        let (set, target) = (self.path(&format!("backups-{run}")), self.path(&format!("restored-{run}")));
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let file = |format: &str| self.path(&format!("export-{run}.{format}"));
        let export = |format: &str| {
            words(&["export", "--server", &server, "--format", format, "--output", &file(format)])
        };
        vec![
            ("backup", words(&["backup", &set, "--server", &server])),
            ("verify", words(&["backup", "verify", &set])),
            ("check", words(&["check", "--server", &server])),
            ("restore", words(&["restore", &set, "--data-dir", &target])),
            ("check", words(&["check", "--data-dir", &target])),
            ("repair", words(&["repair", "--data-dir", &target])),
            ("exporting", export("otlp")),
            ("exporting", export("jaeger")),
            ("exporting", export("parquet")),
        ]
    }
}

/// The Python that emulates the terminal.
fn python() -> Option<PathBuf> {
    std::env::var_os("SPANDREL_PYTHON").map(PathBuf::from).filter(|path| path.is_file())
}

fn succeeded(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    output
}

#[test]
fn a_terminal_shows_how_far_a_command_is() {
    let Some(python) = python() else {
        return skipped("a_terminal_shows_how_far_a_command_is", "SPANDREL_PYTHON names no Python");
    };
    let place = Place::new();
    for (word, arguments) in place.commands("watched") {
        // The environment for commands, without variables that configure them.
        let bare = command(&[]);
        let mut watched = Command::new(&python);
        watched.args(["-c", ON_A_TERMINAL]).arg(bare.get_program()).args(&arguments).env("TERM", "xterm");
        for (name, value) in bare.get_envs().filter(|(_, value)| value.is_none()) {
            assert!(value.is_none());
            watched.env_remove(name);
        }
        let seen = String::from_utf8_lossy(&succeeded(&mut watched).stdout).into_owned();
        let mut lines = seen.split(['\r', '\n']);
        let bar = |line: &str| line.contains(&format!("{word} ")) && behind_progress(line).is_some();
        assert!(lines.any(bar), "{arguments:?}: {seen:?}");
        // The bar is removed in the end: its last update is an empty line.
        let last = behind_progress(&seen).unwrap();
        assert!(
            last.contains("\u{1b}[2K") || last.contains("\u{1b}[K"),
            "{arguments:?} leaves its bar: {seen:?}"
        );
    }
    place.server.stop();
}

#[test]
fn nothing_of_it_is_in_a_pipe() {
    let place = Place::new();
    for (word, arguments) in place.commands("piped") {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = succeeded(&mut command(&arguments));
        for said in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(said);
            assert!(!said.contains(BAR) && !said.contains(['\r', '\u{1b}']), "{arguments:?}: {said:?}");
        }
        if word != "exporting" {
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        }
    }
    place.server.stop();
}
