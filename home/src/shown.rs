//! What a program has shown, against what a text says that it shows.

/// Whether a line reads so, where `…` stands for anything.
pub fn reads(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    open || rest.is_empty()
}

/// Whether lines are as a text tells them. There a line that is `…` stands for any lines, also for none, and any MAC
/// stands for any other.
pub fn are_as_told(shown: &str, told: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(without_macs).collect::<Vec<_>>();
    lines_read(&lines(shown), &lines(told))
}

fn lines_read(shown: &[String], told: &[String]) -> bool {
    match told.split_first() {
        None => shown.is_empty(),
        Some((line, rest)) if line == "…" => (0..=shown.len()).any(|at| lines_read(&shown[at..], rest)),
        Some((line, rest)) => {
            shown.split_first().is_some_and(|(first, more)| reads(first, line) && lines_read(more, rest))
        }
    }
}

/// A line without its trailing blanks, and with one word in place of each MAC: as long as that, so that tables stay.
fn without_macs(line: &str) -> String {
    const ANY: &str = "MM:MM:MM:MM:MM:MM";
    let is_mac = |word: &str| {
        let parts: Vec<&str> = word.split(':').collect();
        let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        parts.len() == 6 && parts.iter().all(is_byte)
    };
    let (mut kept, mut rest) = (String::new(), line.trim_end());
    while let Some(first) = rest.chars().next() {
        if rest.get(..ANY.len()).is_some_and(is_mac) {
            kept += ANY;
            rest = &rest[ANY.len()..];
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    kept
}
