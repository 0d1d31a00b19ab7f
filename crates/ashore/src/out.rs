//! Standard output.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Prints a line. Whoever reads may have had enough (`| head`), which is no fault; a full disk is one.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}
pub(crate) use say;

pub(crate) fn line(text: Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout().lock(), "{text}") {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("ashore: standard output: {error}");
        std::process::exit(1);
    }
}

/// Prints a line, if somebody reads it: for what must not stop half way.
pub(crate) fn line_if_read(text: &impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
