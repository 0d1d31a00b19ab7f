//! Breaks text into lines at words. What is to be copied stays in one piece, and runs over the edge if it must: a
//! terminal wraps it without putting a line end into it.
//!
//! Chinese has no spaces between its words. A line of it may end behind any character, but no line begins with what
//! closes, such as 。 and ）, or ends with what opens, such as （.

use super::width::{columns, is_wide};

/// Programs whose commands stand in messages and remedies. A command begins with one of them.
const PROGRAMS: &[&str] = &[
    "ashore",
    "bridge",
    "docker",
    "ethtool",
    "firewall-cmd",
    "ip",
    "ip6tables",
    "iptables",
    "journalctl",
    "modprobe",
    "networkctl",
    "nft",
    "nmcli",
    "ping",
    "podman",
    "sudo",
    "sysctl",
    "systemctl",
];

/// The lines of a text, none wider than `width` unless it is one word or one command. `first` stands before the
/// first line, and the others are indented as far. What fits stays as it is, with its columns.
pub(crate) fn wrapped(first: &str, text: &str, width: Option<usize>) -> Vec<String> {
    let indent = " ".repeat(columns(first));
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let begin = if lines.is_empty() { first } else { &indent };
        match width {
            Some(width) if columns(begin) + columns(line) > width => {
                fill(begin, &indent, line, width, &mut lines);
            }
            _ => lines.push(format!("{begin}{line}").trim_end().to_owned()),
        }
    }
    lines
}

fn fill(begin: &str, indent: &str, text: &str, width: usize, lines: &mut Vec<String>) {
    let mut line = begin.to_owned();
    let mut is_empty = true;
    for piece in pieces(text) {
        for (at, segment) in segments(&piece).into_iter().enumerate() {
            let space = usize::from(!is_empty && at == 0);
            if !is_empty && columns(&line) + space + columns(segment) > width {
                lines.push(std::mem::replace(&mut line, indent.to_owned()).trim_end().to_owned());
            } else if space == 1 {
                line.push(' ');
            }
            line.push_str(segment);
            is_empty = false;
        }
    }
    lines.push(line.trim_end().to_owned());
}

/// What no line begins with: what closes a word, a bracket or a sentence.
const CLOSING: &str = "。，、；：？！）》」』】〉〕％…—·”’,.;:?!)]}%";
/// What no line ends with: what opens a bracket or a quotation.
const OPENING: &str = "（《「『【〈〔“‘([{";

/// The parts of a word between which a line may end without a space: beside a Chinese character, and not between
/// backquotes.
pub(crate) fn segments(word: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let mut begin = 0;
    let mut is_quoted = false;
    let mut before: Option<char> = None;
    for (at, c) in word.char_indices() {
        if before.is_some_and(|before| !is_quoted && may_break(before, c)) {
            segments.push(&word[begin..at]);
            begin = at;
        }
        is_quoted ^= c == '`';
        before = Some(c);
    }
    segments.push(&word[begin..]);
    segments
}

/// Whether a line may end between two characters of a word.
fn may_break(before: char, after: char) -> bool {
    (is_wide(before) || is_wide(after))
        && !before.is_whitespace()
        && !after.is_whitespace()
        && !OPENING.contains(before)
        && !CLOSING.contains(after)
}

/// The words of a text. A command is one word, and so are what stands between backquotes and an option with its value.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut open = Open::Nothing;
    // Spaces at the beginning are an indentation.
    let words = text.trim_start();
    let lead = &text[..text.len() - words.len()];
    for (at, word) in words.split(' ').enumerate() {
        let is_inside = open != Open::Nothing;
        open = open.after(word, pieces.last().map(String::as_str));
        match pieces.last_mut() {
            Some(last) if is_inside => {
                last.push(' ');
                last.push_str(word);
            }
            _ if at == 0 => pieces.push(format!("{lead}{word}")),
            _ if word.is_empty() => {}
            _ => pieces.push(word.to_owned()),
        }
    }
    pieces
}

/// What the next word belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Nothing: a line may end here.
    Nothing,
    /// A text between backquotes, which has not ended.
    Quote,
    /// A command, which ends with the clause.
    Command,
    /// An option, whose value may follow.
    Option,
}

impl Open {
    /// What is open behind a word, which follows another one.
    fn after(self, word: &str, before: Option<&str>) -> Open {
        let toggles = word.matches('`').count() % 2 == 1;
        match self {
            Open::Quote if toggles => Open::Nothing,
            Open::Quote => Open::Quote,
            _ if toggles => Open::Quote,
            Open::Command if ends_clause(word) => Open::Nothing,
            Open::Command => Open::Command,
            Open::Nothing | Open::Option if begins_command(word, before) => Open::Command,
            Open::Nothing if word.starts_with("--") && !word.contains('=') && !ends_clause(word) => {
                Open::Option
            }
            Open::Nothing | Open::Option => Open::Nothing,
        }
    }
}

/// Whether a word is a program's name in a place where a command begins: at the start, and after a colon or a comma.
/// In the midst of a sentence, `bridge` is the thing.
fn begins_command(word: &str, before: Option<&str>) -> bool {
    PROGRAMS.contains(&word)
        && before.is_none_or(|before| {
            before.ends_with([':', ',', ';']) || matches!(before, "or" | "run" | "and" | "then")
        })
}

/// Whether a word ends a clause. A colon may be the end of an option of a command.
fn ends_clause(word: &str) -> bool {
    word.contains(['，', '。', '；', '）'])
        || word.ends_with([',', ';'])
        || word.ends_with(')')
        || word.ends_with('.') && word.len() > 1
}

/// Breaks words that are wider than `width`, anywhere: the name of a thing, in a narrow column.
pub(crate) fn broken(word: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in word.chars() {
        let piece = pieces.last_mut().expect("there is a first one");
        let longer = format!("{piece}{c}");
        if piece.is_empty() || columns(&longer) <= width {
            *piece = longer;
        } else {
            pieces.push(c.to_string());
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_at_words_and_indented() {
        let text = "a machine on the LAN claims the address of `web`, which is defended";
        let lines = wrapped("! ", text, Some(41));
        assert_eq!(lines, ["! a machine on the LAN claims the address", "  of `web`, which is defended"]);
        assert_eq!(wrapped("! ", text, Some(40))[1], "  address of `web`, which is defended");
        assert_eq!(wrapped("! ", text, None), [format!("! {text}")]);
        assert_eq!(wrapped("", "", Some(40)), [""]);
    }

    #[test]
    fn what_fits_keeps_its_columns() {
        assert_eq!(wrapped("✓ ", "laptop  web   12 µs", Some(80)), ["✓ laptop  web   12 µs"]);
        assert_eq!(wrapped("✓ ", "laptop  web   12 µs", Some(12)), ["✓ laptop web", "  12 µs"]);
    }

    #[test]
    fn what_is_to_be_copied_is_in_one_piece() {
        let text = "if it has another name now: ashore network move lan --parent NEW; or wait a while";
        let lines = wrapped("  try: ", text, Some(40));
        assert_eq!(
            lines,
            [
                "  try: if it has another name now:",
                "       ashore network move lan --parent NEW;",
                "       or wait a while"
            ]
        );
        let quoted = "as root, start it with `systemctl start ashore`, or set its socket with --socket PATH";
        for width in 20..90 {
            let text = wrapped("", quoted, Some(width)).join("\n");
            assert!(text.contains("`systemctl start ashore`") && text.contains("--socket PATH"), "{text}");
        }
    }

    #[test]
    fn a_program_s_name_in_a_sentence_is_a_word() {
        let lines = wrapped("", "the NIC is in a bridge that filters VLANs now", Some(20));
        assert_eq!(lines, ["the NIC is in a", "bridge that filters", "VLANs now"]);
    }

    #[test]
    fn a_command_at_the_start_is_whole() {
        let command = "sysctl -w net.bridge.bridge-nf-call-iptables=0";
        assert_eq!(wrapped("  ", command, Some(30)), [format!("  {command}")]);
    }

    #[test]
    fn chinese_is_broken_between_characters_but_not_before_what_closes() {
        let text = "网络的父接口没有链路：网线松了（或对端断电）。";
        assert_eq!(
            wrapped("! ", text, Some(20)),
            ["! 网络的父接口没有链", "  路：网线松了（或对", "  端断电）。"]
        );
        assert_eq!(segments("断电）。"), ["断", "电）。"]);
        assert_eq!(segments("了（或"), ["了", "（或"]);
        assert_eq!(segments("用 macvlan"), ["用 macvlan"]);
        assert_eq!(segments("用macvlan时"), ["用", "macvlan", "时"]);
        for width in 10..60 {
            for line in wrapped("", text, Some(width)) {
                assert!(columns(&line) <= width, "{line}");
                assert!(!line.starts_with(['。', '：', '）']) && !line.ends_with('（'), "{line}");
            }
        }
    }

    #[test]
    fn a_command_in_chinese_is_whole_and_what_follows_it_is_not_held_by_it() {
        let text = "执行 `ip link set dev PARENT up`，然后等一分钟再看。";
        assert_eq!(
            wrapped("  ", text, Some(35)),
            ["  执行", "  `ip link set dev PARENT up`，然后", "  等一分钟再看。"]
        );
        let option = "去掉 --no-default-route，或者换一个网络。";
        assert_eq!(wrapped("", option, Some(30))[0], "去掉 --no-default-route，或者");
    }

    #[test]
    fn each_line_of_a_text_is_its_own() {
        assert_eq!(wrapped("! ", "one\n  two", Some(30)), ["! one", "    two"]);
    }

    #[test]
    fn a_long_name_is_broken_anywhere() {
        assert_eq!(broken("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(broken("abc", 3), ["abc"]);
    }
}
