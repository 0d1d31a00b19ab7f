//! The text that a renderer writes: comments, and lines to paste.

use std::fmt::{Display, Write};

/// Where comments break.
const WIDTH: usize = 100;

/// A text under way.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// A comment of a sentence or more.
    pub(super) fn note(&mut self, text: &str) {
        self.wrapped("# ", "# ", text);
    }

    /// A step of a list, in words.
    pub(super) fn step(&mut self, number: usize, text: &str) {
        self.wrapped(&format!("{number}. "), "   ", text);
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: impl Display) {
        writeln!(self.0, "{text}").expect("a string takes all");
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.0.push('\n');
    }

    /// A file that a shell writes.
    pub(super) fn file(&mut self, path: &str, content: &Page) {
        self.line(format_args!("cat > {path} <<'EOF'"));
        self.append(content);
        self.line("EOF");
    }

    /// Another text's lines.
    pub(super) fn append(&mut self, other: &Page) {
        self.0 += &other.0;
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn wrapped(&mut self, first: &str, next: &str, text: &str) {
        let mut line = first.to_owned();
        let mut begun = false;
        for word in text.split_whitespace() {
            if begun && line.len() + 1 + word.len() > WIDTH {
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
