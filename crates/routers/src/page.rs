//! The text that a renderer writes: comments, and lines to paste.

use std::fmt::{Display, Write};

/// The column at which comments wrap.
const WIDTH: usize = 100;

/// The parts of an output, in the order in which the user needs them.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// How to come back if something goes wrong. To be read and done first.
    pub(super) before: Page,
    /// What to do.
    pub(super) lines: Page,
    /// How to remove it again. The user cannot paste any of it by accident.
    pub(super) away: Page,
}

/// A text under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    steps: usize,
}

impl Page {
    /// Adds a comment of one or more sentences.
    pub(super) fn note(&mut self, text: &str) {
        self.wrapped("# ", "# ", text);
    }

    /// Adds a step in words, with its number.
    pub(super) fn step(&mut self, text: &str) {
        self.steps += 1;
        self.wrapped(&format!("{}. ", self.steps), "   ", text);
    }

    /// Adds a line as it is.
    pub(super) fn line(&mut self, text: impl Display) {
        writeln!(self.text, "{text}").expect("a string takes all");
    }

    /// Adds lines as they are.
    pub(super) fn lines(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// Adds a command as a comment, so that pasting the whole output does not run it.
    pub(super) fn shown(&mut self, text: impl Display) {
        self.line(format_args!("#   {text}"));
    }

    /// Adds an empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// Adds the shell lines that write a file. No line of the file may be equal to `end`.
    pub(super) fn file(&mut self, path: &str, content: &Page, end: &str) {
        self.line(format_args!("cat > {path} <<'{end}'"));
        self.append(content);
        self.line(end);
    }

    /// Appends another text.
    pub(super) fn append(&mut self, other: &Page) {
        self.text += &other.text;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn wrapped(&mut self, first: &str, next: &str, text: &str) {
        let mut line = first.to_owned();
        let mut begun = false;
        for word in text.split_whitespace() {
            if begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                next.clone_into(&mut line);
                begun = false;
            }
            if begun {
                line.push(' ');
            }
            line += word;
            begun = true;
        }
        self.line(line);
    }
}
