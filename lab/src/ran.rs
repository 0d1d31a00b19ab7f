//! The result of a command: how it ended and what it printed.

use std::io;
use std::process::{Command, Output};

/// The result of a command.
#[derive(Debug)]
pub struct Ran {
    /// The exit code. `None` if a signal killed the command.
    pub code: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error output.
    pub stderr: String,
}

impl Ran {
    /// Runs a command and waits for its end.
    pub fn of(command: &mut Command) -> io::Result<Self> {
        Ok(Self::of_output(command.output()?))
    }

    /// Converts the output of a command that has ended.
    pub fn of_output(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Returns the standard output. Panics if the command failed.
    pub fn expect_success(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}
