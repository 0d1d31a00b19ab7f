//! The text that a renderer writes: comments, and lines to paste.

use std::fmt::{Display, Write};

/// Where comments break.
const WIDTH: usize = 100;

/// What a renderer has to say, in the order in which a person needs it.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// How to come back if it goes wrong: read, and done, first.
    pub(super) before: Page,
    /// What is to be done.
    pub(super) lines: Page,
    /// How to take it away again, nothing of which a person pastes by accident.
    pub(super) away: Page,
}

/// A text under way.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    steps: usize,
}

impl Page {
    /// A comment of a sentence or more.
    pub(super) fn note(&mut self, text: &str) {
        self.wrapped("# ", "# ", text);
    }

    /// A step, in words, with its number.
    pub(super) fn step(&mut self, text: &str) {
        self.steps += 1;
        self.wrapped(&format!("{}. ", self.steps), "   ", text);
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: impl Display) {
        writeln!(self.text, "{text}").expect("a string takes all");
    }

    /// Lines as they are.
    pub(super) fn lines(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// A command to type, out of reach of whoever pastes all.
    pub(super) fn shown(&mut self, text: impl Display) {
        self.line(format_args!("#   {text}"));
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A file that a shell writes; `end` stands in no line of it.
    pub(super) fn file(&mut self, path: &str, content: &Page, end: &str) {
        self.line(format_args!("cat > {path} <<'{end}'"));
        self.append(content);
        self.line(end);
    }

    /// Another text's lines.
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
