//! The binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ashore_program::run()
}
