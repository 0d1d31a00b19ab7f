//! Displays bytes and text from outside so that a terminal or a log shows them as text, and quotes them so
//! that a shell takes them as one word.

use std::fmt::{self, Write as _};

/// Whether a character can be shown as it is. Control characters, invisible characters and characters that
/// change how their neighbours look cannot.
pub fn is_printable(c: char) -> bool {
    // `escape_debug` knows the Unicode tables. It also escapes these three, which are printable.
    matches!(c, '\'' | '"' | '\\') || c.escape_debug().len() == 1
}

/// Displays bytes from outside as text. Bytes that are not UTF-8 or cannot be printed appear as `\xff`.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, is_printable)
    }
}

/// Writes bytes as text. Each byte that is not UTF-8, or of a character that `is_kept` rejects, becomes `\x`
/// and two hexadecimal digits.
pub(crate) fn escape(to: &mut dyn fmt::Write, bytes: &[u8], is_kept: impl Fn(char) -> bool) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_kept(c) {
                to.write_char(c)?;
            } else {
                hexadecimal(to, c.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        hexadecimal(to, chunk.invalid())?;
    }
    Ok(())
}

fn hexadecimal(to: &mut dyn fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(to, "\\x{byte:02x}"))
}

/// Displays one word of a command for a POSIX shell, quoted if necessary.
pub struct Word<'a>(pub &'a [u8]);

impl<'a> Word<'a> {
    /// Text as one word, such as the name that an engine has for a network: an engine takes nearly any.
    pub fn of(text: &'a str) -> Self {
        Word(text.as_bytes())
    }
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(byte);
        let text = str::from_utf8(self.0).ok().filter(|text| text.chars().all(is_printable));
        match text {
            Some(text) if !text.is_empty() && self.0.iter().all(is_plain) => f.write_str(text),
            Some(text) => write!(f, "'{}'", text.replace('\'', r"'\''")),
            // POSIX.1-2024, 2.2.4. Shells older than that standard know this form too.
            None => {
                f.write_str("$'")?;
                let is_kept = |c: char| is_printable(c) && !matches!(c, '\'' | '\\');
                escape(f, self.0, is_kept)?;
                f.write_char('\'')
            }
        }
    }
}

/// Joins the items as `a, b and c`. Returns `none` if there are no items.
pub fn list(items: impl Iterator<Item = impl fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_ends_a_line_is_shown_as_it_is() {
        let shown = |bytes: &[u8]| Shown(bytes).to_string();
        assert_eq!(shown("Küche’s \"NAS\" \\o/".as_bytes()), "Küche’s \"NAS\" \\o/");
        assert_eq!(shown(b"a\xffb"), r"a\xffb");
        assert_eq!(shown(b"a\n\x1b[2Jb\x7f"), r"a\x0a\x1b[2Jb\x7f");
        // A control character above ASCII, and a character that reverses the direction of the rest of the
        // line.
        assert_eq!(shown("a\u{9b}b\u{202e}c".as_bytes()), r"a\xc2\x9bb\xe2\x80\xaec");
    }

    #[test]
    fn a_word_is_one_word() {
        let word = |bytes: &[u8]| Word(bytes).to_string();
        assert_eq!(word(b"eth0.200"), "eth0.200");
        assert_eq!(word(b"/proc/7/ns/net"), "/proc/7/ns/net");
        assert_eq!(word(b""), "''");
        assert_eq!(word(b"a;b"), "'a;b'");
        assert_eq!(word(b"$(id)"), "'$(id)'");
        assert_eq!(word(b"it's"), r"'it'\''s'");
        assert_eq!(word(br"a\b"), r"'a\b'");
        assert_eq!(word(b"x\xff'\\\n"), r"$'x\xff\x27\x5c\x0a'");
    }
}
