//! What a stream can show: its width, and whether it has colours.

use std::ffi::OsStr;
use std::io::{IsTerminal, stderr, stdout};
use std::os::fd::AsFd;

use terminal_size::{Width, terminal_size_of};

use super::style::Style;

/// What a stream can show.
///
/// Only a terminal has a width. What goes into a pipe or a file keeps whole lines, because scripts read one line as
/// one thing: `ashore status | grep web` is to show all of `web`, however wide the window is in which it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// The number of columns. `None` if lines may be of any length.
    pub(crate) width: Option<usize>,
    /// Whether it shows colours.
    pub(crate) colours: bool,
}

/// The width of a terminal that does not say its own.
const USUAL_WIDTH: usize = 80;
/// No text is set narrower. A terminal of less wraps lines itself.
const MIN_WIDTH: usize = 30;

impl Screen {
    /// A pipe or a file.
    pub(crate) const PLAIN: Screen = Screen { width: None, colours: false };

    /// Standard output.
    pub(crate) fn of_stdout() -> Self {
        Screen::of(&stdout())
    }

    /// Standard error.
    pub(crate) fn of_stderr() -> Self {
        Screen::of(&stderr())
    }

    fn of(stream: &(impl AsFd + IsTerminal)) -> Self {
        if !stream.is_terminal() {
            return Screen::PLAIN;
        }
        let width = terminal_size_of(stream).map(|(Width(columns), _)| columns.into());
        Screen::terminal(width, std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref())
    }

    fn terminal(width: Option<usize>, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        // A serial console says that it has no columns.
        let width = width.filter(|columns| *columns > 0).unwrap_or(USUAL_WIDTH).max(MIN_WIDTH);
        // An empty NO_COLOR counts as none: https://no-color.org.
        let wanted = no_color.is_none_or(OsStr::is_empty);
        let able = term.is_some_and(|term| !term.is_empty() && term != "dumb");
        Screen { width: Some(width), colours: wanted && able }
    }

    /// Text in a style, which must hold nothing that moves a cursor.
    pub(super) fn painted(self, style: Style, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", style.sequence())
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_a_width_and_colours_unless_it_or_its_user_says_otherwise() {
        let colours = |no_color: Option<&str>, term: Option<&str>| {
            Screen::terminal(None, no_color.map(OsStr::new), term.map(OsStr::new)).colours
        };
        assert!(colours(None, Some("xterm-256color")) && colours(Some(""), Some("linux")));
        assert!(!colours(Some("1"), Some("xterm")) && !colours(None, Some("dumb")) && !colours(None, None));
        let width = |columns| Screen::terminal(columns, None, None).width;
        assert_eq!(
            [width(None), width(Some(0)), width(Some(5)), width(Some(132))],
            [Some(80), Some(80), Some(30), Some(132)]
        );
    }

    #[test]
    fn only_a_screen_with_colours_gets_them() {
        let coloured = Screen { width: Some(80), colours: true };
        assert_eq!(coloured.painted(Style::Good, "✓"), "\x1b[32m✓\x1b[0m");
        assert_eq!(Screen::PLAIN.painted(Style::Good, "✓"), "✓");
    }
}
