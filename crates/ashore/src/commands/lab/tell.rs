//! What the lab tells: to people as it happens, to programs at the end.

use std::net::IpAddr;
use std::time::Duration;

use ashore_lab::{Machine, ping};
use serde::Serialize;

use crate::messages::message;
use crate::out::{checked, columns, one_line, say, segments, wrapped};

/// No line is longer, unless one word is.
const WIDTH: usize = 80;

/// Who reaches whom.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    from: String,
    to: String,
    expected: bool,
    reached: bool,
    rtt_us: Option<u128>,
}

/// Whether a machine reaches an address, and whether it is expected to.
pub(super) struct Question<'a> {
    from: &'a Machine,
    to: String,
    ip: IpAddr,
    expected: bool,
}

/// Asks whether a machine reaches `to`, which says whose the address is.
pub(super) fn asks<'a>(from: &'a Machine, to: &str, ip: IpAddr, expected: bool) -> Question<'a> {
    Question { from, to: to.to_owned(), ip, expected }
}

impl Question<'_> {
    fn answered(&self, rtt: Option<Duration>) -> Row {
        Row {
            from: self.from.name().to_owned(),
            to: format!("{} {}", self.to, self.ip),
            expected: self.expected,
            reached: rtt.is_some(),
            rtt_us: rtt.map(|rtt| rtt.as_micros()),
        }
    }

    /// The rest of the line behind the mark, with columns of these widths.
    fn shown(&self, row: &Row, [from, to, ip]: [usize; 3]) -> String {
        let last = match row.rtt_us {
            _ if row.reached != row.expected => message!("lab-not-as-expected"),
            Some(us) => format!("{us} µs"),
            None => message!("lab-no-answer"),
        };
        let filled = |text: &str, width: usize| format!("{text}{}", " ".repeat(width - columns(text)));
        let cells = [filled(&row.from, from), filled(&self.to, to), filled(&self.ip.to_string(), ip), last];
        cells.join("  ")
    }
}

/// Asks all questions. Those to which no answer is expected wait at the same time, because each waits two seconds.
fn answers(questions: &[Question<'_>]) -> Vec<Row> {
    std::thread::scope(|scope| {
        let waiting: Vec<_> = questions
            .iter()
            .map(|question| {
                let (from, ip) = (question.from.namespace().clone(), question.ip);
                (!question.expected).then(|| scope.spawn(move || from.run(|| ping(ip, 2)).ok().flatten()))
            })
            .collect();
        // In their order, and all others meanwhile.
        let others: Vec<Option<Duration>> = questions
            .iter()
            .map(|question| question.expected.then(|| question.from.ping(question.ip)).flatten())
            .collect();
        let waited = waiting.into_iter().map(|one| {
            one.and_then(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let rtts = waited.zip(others).map(|(waited, other)| waited.or(other));
        questions.iter().zip(rtts).map(|(question, rtt)| question.answered(rtt)).collect()
    })
}

/// Tells what happens, and keeps the answers.
pub(super) struct Teller {
    json: bool,
    hushed: bool,
    rows: Vec<Row>,
}

impl Teller {
    /// With `json`, nothing is told before the end.
    pub(super) fn new(json: bool) -> Self {
        Teller { json, hushed: false, rows: Vec::new() }
    }

    /// From now on tells and asks nothing, or does again. A scene that is not shown still has to be built.
    pub(super) fn hush(&mut self, hushed: bool) {
        self.hushed = hushed;
    }

    /// Tells a text, in lines that fit.
    pub(super) fn say(&self, text: &str) {
        if !self.json && !self.hushed {
            text.lines().for_each(|line| say!("{}", folded(line, "", "  ")));
        }
    }

    /// Tells what a line means, indented below it.
    pub(super) fn explain(&self, meaning: &[String]) {
        meaning.iter().flat_map(|text| wrapped("  ", text, Some(WIDTH))).for_each(|line| self.say(&line));
    }

    /// Tells what comes next, below an empty line.
    pub(super) fn begin(&self, text: &str) {
        self.say(&format!("\n{text}"));
    }

    /// Tells a command that is typed on a machine, so that it can be copied.
    pub(super) fn typed(&self, machine: &Machine, command: &str) {
        self.command(&format!("{}$ {command}", machine.name()));
    }

    /// Tells a command. A line that goes on ends in a backslash, as the shell reads it.
    pub(super) fn command(&self, command: &str) {
        if !self.json && !self.hushed {
            say!("{}", folded(command, " \\", "    "));
        }
    }

    /// Asks who reaches whom, and tells the answers.
    pub(super) fn ask(&mut self, questions: &[Question<'_>]) {
        if self.hushed {
            return;
        }
        let rows = answers(questions);
        if !self.json {
            let widest = |of: &dyn Fn(&Question<'_>) -> usize| questions.iter().map(of).max().unwrap_or(0);
            let widths = [
                widest(&|question| columns(question.from.name())),
                widest(&|question| columns(&question.to)),
                widest(&|question| question.ip.to_string().len()),
            ];
            for (question, row) in questions.iter().zip(&rows) {
                checked(row.reached, &question.shown(row, widths));
            }
        }
        self.rows.extend(rows);
    }

    /// All answers.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many answers there are, and how many are as expected.
    pub(super) fn counted(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.iter().filter(|row| row.reached == row.expected).count())
    }

    /// Tells how it ended.
    pub(super) fn sum_up(&self, good: bool, text: &str) {
        if !self.json {
            say!("");
            checked(good, text);
        }
    }
}

/// A line, broken at spaces, and beside Chinese characters, where it is too long. A line that goes on has `end` behind it, and the next one `begin`
/// before it.
fn folded(text: &str, end: &str, begin: &str) -> String {
    if columns(text) <= WIDTH {
        return text.to_owned();
    }
    let room = WIDTH - end.len();
    let mut lines = vec![String::new()];
    for word in one_line(text).split(' ') {
        for (at, segment) in segments(word).into_iter().enumerate() {
            let many = lines.len();
            let line = lines.last_mut().expect("there is a first one");
            let is_begun = if many == 1 { !line.is_empty() } else { line.len() > begin.len() };
            // Only a word has a space before it.
            let space = usize::from(is_begun && at == 0);
            if is_begun && columns(line) + space + columns(segment) > room {
                line.push_str(end);
                lines.push(format!("{begin}{segment}"));
            } else {
                line.push_str(&" ".repeat(space));
                line.push_str(segment);
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str =
        "ip link add link eth0 name shim-eth0 address 6a:d6:bf:1d:e1:b8 type macvlan mode bridge";

    #[test]
    fn a_short_line_stays_and_a_long_command_can_still_be_copied() {
        assert_eq!(folded("ip link", " \\", "    "), "ip link");
        let lines = folded(LONG, " \\", "    ");
        assert_eq!(
            lines,
            "ip link add link eth0 name shim-eth0 address 6a:d6:bf:1d:e1:b8 type macvlan \\\n    mode bridge"
        );
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(lines.replace(" \\\n    ", " "), LONG);
    }

    #[test]
    fn chinese_is_broken_between_characters() {
        let text = "网络".repeat(21);
        let lines = folded(&format!("{text}。"), "", "  ");
        assert_eq!(lines, format!("{}\n  网络。", "网络".repeat(20)));
    }

    #[test]
    fn a_word_that_is_too_long_stays_whole() {
        let word = "x".repeat(WIDTH + 1);
        assert_eq!(folded(&word, " \\", "  "), word);
        assert_eq!(folded(&format!("a {word} b"), "", "  "), format!("a\n  {word}\n  b"));
    }
}
