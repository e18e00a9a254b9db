//! Runs the command that prints the master key: without a shell, and within bounds of time and length.

use std::io::Read as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that are read of its output. A key has 64.
const MAX_OUTPUT: u64 = 4 << 10;
/// How often it is looked whether a command that closed its output has ended.
const POLL: Duration = Duration::from_millis(5);

/// The standard output of a command. Its standard error goes to that of this process.
pub(super) fn output(command: &str, timeout: Duration) -> Result<String, String> {
    let deadline = Instant::now() + timeout;
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("there is no command")?;
    let spawned = Command::new(program).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| format!("{program} does not start: {error}"))?;
    let (read, finished) = sync_channel(1);
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut text = String::new();
            let result = stdout.take(MAX_OUTPUT).read_to_string(&mut text);
            let _ = read.send(result.map(|_| text));
        });
    }
    let text = finished.recv_timeout(timeout);
    let status = wait(&mut child, deadline)?;
    let Some(status) = status else { return Err(format!("it took longer than {timeout:?}")) };
    if !status.success() {
        return Err(format!("it failed with {status}"));
    }
    match text {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(format!("its output cannot be read: {error}")),
        Err(_) => Err("its output stays open".to_owned()),
    }
}

/// Waits for the end of a command; kills it at the deadline, and returns `None` then.
fn wait(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(None);
            }
            Err(error) => return Err(format!("it cannot be waited for: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gives_its_output_or_the_reason() {
        let patience = Duration::from_secs(60);
        assert_eq!(output("echo  a b", patience).unwrap(), "a b\n");
        assert!(output("false", patience).unwrap_err().contains("failed"));
        assert!(output("/nonexistent/command", patience).unwrap_err().contains("does not start"));
        assert!(output("", patience).is_err());
        // Its output has no end: it is cut off, and the command ends with it.
        assert!(output("yes", patience).unwrap_err().contains("failed"));
        let late = output("sleep 1000", Duration::from_millis(50)).unwrap_err();
        assert!(late.contains("longer than 50ms"), "{late}");
    }
}
