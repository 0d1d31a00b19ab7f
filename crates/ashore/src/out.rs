//! All output: lines for people, JSON for programs, and the daemon's log. Names, aliases and other text from
//! outside is escaped, so that it cannot send control sequences to a terminal or break a line.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

use ashore_core::net::text::{Shown, is_printable};

mod screen;
mod style;
mod width;
mod wrap;

pub(crate) use screen::Screen;
pub(crate) use style::Style;
pub(crate) use width::columns;
pub(crate) use wrap::{broken, segments, wrapped};

/// Prints a line. A reader that closes the pipe early (`| head`) is not an error, but a full disk is.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints a line to standard error.
macro_rules! complain {
    ($($text:tt)*) => { $crate::out::complaint(format_args!($($text)*)) };
}
pub(crate) use complain;

pub(crate) fn line(text: Arguments<'_>) {
    printed(&lines(&text.to_string()));
}

/// Prints what is ready to be shown.
fn printed(text: &str) {
    if let Err(error) = writeln!(io::stdout().lock(), "{text}") {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        complain!("ashore: standard output: {error}");
        std::process::exit(1);
    }
}

pub(crate) fn complaint(text: Arguments<'_>) {
    // If standard error cannot be written, there is no place left to report that.
    let _ = writeln!(io::stderr().lock(), "{}", lines(&text.to_string()));
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    Screen::of_stdout().width.is_some()
}

/// Clears the terminal.
pub(crate) fn clear() {
    let mut to = io::stdout().lock();
    // If it cannot be written, the next line says so.
    let _ = to.write_all(b"\x1b[H\x1b[2J\x1b[3J").and_then(|()| to.flush());
}

/// Prints a line in one style.
pub(crate) fn styled(style: Style, text: &str) {
    printed(&Screen::of_stdout().painted(style, &lines(text)));
}

/// Prints a mark such as `!` or `✓` in a style, and a text that may contain foreign input. On a terminal the text is
/// broken at words, and set below itself.
pub(crate) fn marked(style: Style, mark: &str, text: &str) {
    for line in with_mark(Screen::of_stdout(), style, mark, &one_line(text)) {
        printed(&line);
    }
}

/// Prints a line behind ✓ if it is good, else behind ✗.
pub(crate) fn checked(good: bool, text: &str) {
    let (style, mark) = if good { (Style::Good, "✓") } else { (Style::Bad, "✗") };
    marked(style, mark, text);
}

/// Prints an error or a warning to standard error: `ashore: …`, broken at words on a terminal.
pub(crate) fn error(style: Style, text: &str) {
    complained(with_mark(Screen::of_stderr(), style, "ashore:", &lines(text)));
}

/// Prints what helps to standard error: `  try: …`, broken at words on a terminal.
pub(crate) fn remedy(text: &str) {
    complained(wrapped("  try: ", &one_line(text), Screen::of_stderr().width));
}

/// Prints what helps below a line of standard output.
pub(crate) fn helps(text: &str) {
    for line in wrapped("  try: ", &one_line(text), Screen::of_stdout().width) {
        printed(&line);
    }
}

/// Prints a text behind what stands before it, such as a time. On a terminal the text is broken at words, and set below
/// itself where it has room there.
pub(crate) fn hung(before: &str, text: &str) {
    for line in hanging(before, &one_line(text), Screen::of_stdout().width) {
        printed(&line);
    }
}

fn hanging(before: &str, text: &str, width: Option<usize>) -> Vec<String> {
    const INDENT: &str = "      ";
    match width {
        Some(width) if columns(before) + columns(text) > width && columns(before) > width / 2 => {
            let mut lines = vec![before.trim_end().to_owned()];
            lines.extend(wrapped(INDENT, text, Some(width)));
            lines
        }
        width => wrapped(before, text, width),
    }
}

/// Prints where a trouble is explained, below a line of standard output.
pub(crate) fn explained(code: &str) {
    printed(&format!("  more: ashore explain {}", one_line(code)));
}

/// Prints what a line of standard output means, indented below it.
pub(crate) fn below(meaning: &[String]) {
    for line in meaning.iter().flat_map(|text| indented(text, Screen::of_stdout())) {
        printed(&line);
    }
}

/// Does so below an error.
pub(crate) fn below_error(meaning: &[String]) {
    for text in meaning {
        complained(indented(text, Screen::of_stderr()));
    }
}

fn indented(text: &str, screen: Screen) -> Vec<String> {
    wrapped("  ", &one_line(text), screen.width)
}

/// Says where an error is explained, on a terminal alone. There a user reads it who can ask; a script and a log that a
/// program reads keep the lines that they know, and `--json` has the code.
pub(crate) fn more(more: &str, code: &str) {
    if Screen::of_stderr().width.is_some() {
        complained(vec![format!("  {more} ashore explain {}", one_line(code))]);
    }
}

/// Says what is wrong with an answer that was typed just now.
pub(crate) fn objection(text: &str) {
    complained(wrapped("  ", &one_line(text), Screen::of_stderr().width));
}

fn complained(lines: Vec<String>) {
    for line in lines {
        // If standard error cannot be written, there is no place left to report that.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// The lines of a text behind a mark, of which only the mark has the style.
fn with_mark(screen: Screen, style: Style, mark: &str, text: &str) -> Vec<String> {
    let mut lines = wrapped(&format!("{mark} "), text, screen.width);
    if let Some(rest) = lines.first().and_then(|first| first.strip_prefix(mark)) {
        lines[0] = format!("{}{rest}", screen.painted(style, mark));
    }
    lines
}

/// Prints a line, and ignores errors: for an operation that must not stop half way.
pub(crate) fn line_if_read(text: &impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{}", lines(&text.to_string()));
}

/// Text that may contain foreign input, as one line.
pub(crate) fn one_line(text: &str) -> String {
    Shown(text.as_bytes()).to_string()
}

/// Text of Ashore's own, which may have several lines.
fn lines(text: &str) -> String {
    let kept = |c: &char| matches!(c, '\n' | '\t') || is_printable(*c);
    if text.chars().all(|c| kept(&c)) {
        return text.to_owned();
    }
    text.split_inclusive(['\n', '\t'])
        .map(|part| match part.char_indices().last() {
            Some((end, last @ ('\n' | '\t'))) => format!("{}{last}", one_line(&part[..end])),
            _ => one_line(part),
        })
        .collect()
}

/// Escapes the control characters that JSON leaves as they are and a terminal would act on.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_printable(c) {
            escaped.push(c);
        } else {
            // Such a character can only be in a string, where an escape is valid.
            escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    escaped
}

/// The log. It writes each event at once, as one line.
pub(crate) struct Log<W>(pub(crate) W);

impl<W: Write> Write for Log<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // Colours on a terminal come from the log itself.
        let mut parts = text.split('\x1b');
        let mut line = one_line(parts.next().unwrap_or_default());
        line.extend(parts.map(|part| match colour(part) {
            Some((colour, rest)) => format!("\x1b{colour}{}", one_line(rest)),
            None => format!("\\x1b{}", one_line(part)),
        }));
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Splits off a colour sequence, if the text begins with one. Other escape sequences are not accepted.
fn colour(text: &str) -> Option<(&str, &str)> {
    let parameters = text.strip_prefix('[')?.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    let rest = parameters.strip_prefix('m')?;
    Some(text.split_at(text.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = "a\x1b[2Jb\r\nc\u{9b}\u{202e}d\te";

    #[test]
    fn a_line_is_one_and_moves_no_cursor() {
        assert_eq!(one_line(ODD), r"a\x1b[2Jb\x0d\x0ac\xc2\x9b\xe2\x80\xaed\x09e");
        assert_eq!(lines(ODD), "a\\x1b[2Jb\\x0d\nc\\xc2\\x9b\\xe2\\x80\\xaed\te");
    }

    #[test]
    fn only_a_mark_has_a_colour_and_foreign_text_brings_none() {
        let screen = Screen { width: Some(30), colours: true };
        let shown = with_mark(screen, Style::Bad, "!", &one_line("a \x1b[32mname\x1b[0m that was chosen"));
        assert_eq!(shown, ["\x1b[31m!\x1b[0m a \\x1b[32mname\\x1b[0m that", "  was chosen"]);
        let piped = with_mark(Screen::PLAIN, Style::Bad, "!", "a name that was chosen, and whole");
        assert_eq!(piped, ["! a name that was chosen, and whole"]);
    }

    #[test]
    fn what_is_wide_hangs_below_itself_where_it_has_room() {
        let text = "a text of some words that goes on";
        assert_eq!(hanging("at noon  ", text, None), [format!("at noon  {text}")]);
        assert_eq!(
            hanging("at noon  ", text, Some(30)),
            ["at noon  a text of some words", "         that goes on"]
        );
        assert_eq!(
            hanging("a.path.that.is.long  ", text, Some(30)),
            ["a.path.that.is.long", "      a text of some words", "      that goes on"]
        );
        assert_eq!(hanging("a.path.that.is.long  ", "yes", Some(30)), ["a.path.that.is.long  yes"]);
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "name": format!("{ODD}\u{7f}\u{e0001}") });
        let json = escaped_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(json.chars().all(|c| c == '\n' || is_printable(c)), "{json:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn an_event_is_one_line_of_the_log_with_its_colours() {
        let mut log = Log(Vec::new());
        log.write_all(format!("\x1b[2m12:00\x1b[0m \x1b[33m WARN\x1b[0m {ODD}\n").as_bytes()).unwrap();
        let written = String::from_utf8(log.0).unwrap();
        assert_eq!(
            written,
            "\x1b[2m12:00\x1b[0m \x1b[33m WARN\x1b[0m a\\x1b[2Jb\\x0d\\x0ac\\xc2\\x9b\\xe2\\x80\\xaed\\x09e\n"
        );
    }
}
