//! How a command ended, and what it printed.

use std::io;
use std::process::{Command, Output};

/// How a client command ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none if it was killed.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> io::Result<Self> {
        Ok(Self::of_output(command.output()?))
    }

    /// The same of one that has ended.
    pub fn of_output(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What it printed, if it was successful.
    pub fn expect_success(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}
