//! Exit code and output of a command of the binary.
#![allow(clippy::expect_used, clippy::panic, reason = "tests may stop at the first surprise")]

use std::process::Output;

use crate::server::command;

/// The result of a command.
pub struct CommandOutput {
    /// Its exit code; `None` if it was killed.
    pub code: Option<i32>,
    /// Standard output, for scripts.
    pub stdout: String,
    /// Standard error, for people.
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> CommandOutput {
    CommandOutput::of(&command(arguments).output().expect("the command runs"))
}

// === impl CommandOutput ===

impl CommandOutput {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Asserts success without any output on standard error; returns standard output.
    #[track_caller]
    pub fn assert_ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr, "", "nobody watches: no progress bar, no complaint");
        self.stdout
    }

    /// Asserts failure with this exit code, and that the output contains `part`.
    #[track_caller]
    pub fn assert_err(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        let said = self.said();
        assert!(said.contains(part), "{part:?} is not in {said}");
        self
    }

    /// Standard output and standard error together.
    pub fn said(&self) -> String {
        self.stdout.clone() + &self.stderr
    }
}
