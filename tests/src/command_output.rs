//! What a command of the binary ended with, and said.
#![allow(clippy::expect_used, clippy::panic, reason = "tests may stop at the first surprise")]

use std::process::Output;

use crate::server::command;

/// What a command ended with.
pub struct CommandOutput {
    /// Its exit code; `None` if it was killed.
    pub code: Option<i32>,
    /// What it wrote for scripts.
    pub stdout: String,
    /// What it wrote for people.
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

    /// It succeeded, in silence; gives what it wrote for scripts.
    #[track_caller]
    pub fn assert_ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr, "", "nobody watches: no progress bar, no complaint");
        self.stdout
    }

    /// It failed with this code and said this, among other things.
    #[track_caller]
    pub fn assert_err(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        let said = self.said();
        assert!(said.contains(part), "{part:?} is not in {said}");
        self
    }

    /// All that it wrote.
    pub fn said(&self) -> String {
        self.stdout.clone() + &self.stderr
    }
}
