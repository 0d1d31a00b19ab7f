//! `ashore explain`: what a code of a trouble or a refusal means. It asks no daemon.

use ashore_core::api::explained::{self, Explained, Language, Of};
use ashore_core::api::trouble::Severity;

use super::table;
use crate::cli::ExplainArgs;
use crate::client::{Failure, Mistake, exit_code_of, print_json};
use crate::language;
use crate::nearest::nearest;
use crate::out::{self, Style, columns, say};

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    // A program reads the same JSON whatever the locale.
    let language = if args.json { Language::English } else { language::of_user() };
    let mut found = Vec::new();
    for code in &args.codes {
        let before = found.len();
        found.extend(explained::of(language, code));
        if found.len() == before {
            return Err(unknown(code));
        }
    }
    if args.codes.is_empty() {
        found.extend(explained::all(language));
    }
    if args.json {
        return print_json(&found);
    }
    let words = Words::of(language);
    if args.codes.is_empty() {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|explained| {
                vec![explained.code.to_owned(), words.kind(explained), explained.means.to_owned()]
            })
            .collect();
        table::print(&words.columns, &rows);
        return Ok(());
    }
    for (at, explained) in found.into_iter().enumerate() {
        if at > 0 {
            say!("");
        }
        print(&words, explained);
    }
    Ok(())
}

fn print(words: &Words, explained: &Explained) {
    let style = match explained.of {
        Of::Trouble { severity: Severity::Warning } => Style::Warning,
        Of::Trouble { .. } | Of::Refusal { .. } => Style::Bad,
    };
    out::marked(style, explained.code, &words.in_brackets(explained));
    for (heading, text) in words.parts(explained) {
        out::marked(Style::Heading, &heading, text);
    }
}

/// The words around an explanation.
struct Words {
    columns: [&'static str; 3],
    /// The headings of what a code means, what usually causes it, and what helps.
    headings: [&'static str; 3],
    broken: &'static str,
    warning: &'static str,
    /// What stands before an exit code.
    refusal: &'static str,
    brackets: [&'static str; 2],
}

impl Words {
    const ENGLISH: Words = Words {
        columns: ["CODE", "OF", "MEANS"],
        headings: ["means", "usually", "what helps"],
        broken: "trouble, broken",
        warning: "trouble, warning",
        refusal: "refusal, exit code",
        brackets: ["(", ")"],
    };
    const SIMPLIFIED_CHINESE: Words = Words {
        columns: ["代码", "类别", "含义"],
        headings: ["含义", "常见原因", "解决办法"],
        broken: "故障",
        warning: "警告",
        refusal: "拒绝，退出码",
        brackets: ["（", "）"],
    };

    fn of(language: Language) -> Words {
        match language {
            Language::English => Words::ENGLISH,
            Language::SimplifiedChinese => Words::SIMPLIFIED_CHINESE,
        }
    }

    /// What has the code.
    fn kind(&self, explained: &Explained) -> String {
        match explained.of {
            Of::Trouble { severity: Severity::Broken } => self.broken.to_owned(),
            Of::Trouble { severity: Severity::Warning } => self.warning.to_owned(),
            Of::Refusal { kind } => format!("{} {}", self.refusal, exit_code_of(kind)),
        }
    }

    fn in_brackets(&self, explained: &Explained) -> String {
        let [open, close] = self.brackets;
        format!("{open}{}{close}", self.kind(explained))
    }

    /// The parts of an explanation, each behind its heading. All headings are of the same width.
    fn parts<'a>(&self, explained: &'a Explained) -> [(String, &'a str); 3] {
        let widest = self.headings.map(columns).into_iter().max().unwrap_or(0);
        let [means, cause, helps] = self.headings.map(|heading| {
            let space = widest - columns(heading);
            format!("  {heading}{}", " ".repeat(space))
        });
        [(means, explained.means), (cause, explained.cause), (helps, explained.helps)]
    }
}

fn unknown(code: &str) -> Failure {
    let near = nearest(code, explained::all(Language::English).iter().map(|explained| explained.code));
    Failure::Usage {
        mistake: Mistake::Value,
        message: format!("there is no code `{code}`"),
        remedy: Some(match near {
            Some(near) => format!("ashore explain {near}"),
            None => "`ashore explain` lists the codes".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_names_the_nearest() {
        let hint = |code| unknown(code).hint().unwrap();
        assert_eq!(hint("parent-mising"), "ashore explain parent-missing");
        assert_eq!(hint("on-fire"), "`ashore explain` lists the codes");
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_of_80_columns() {
        for language in [Language::English, Language::SimplifiedChinese] {
            let words = Words::of(language);
            for explained in explained::all(language) {
                let head =
                    out::wrapped(&format!("{} ", explained.code), &words.in_brackets(explained), Some(80));
                assert_eq!(head.len(), 1, "{head:?}");
                for (heading, text) in words.parts(explained) {
                    for line in out::wrapped(&format!("{heading} "), text, Some(80)) {
                        assert!(columns(&line) <= 80, "{}: {line}", explained.code);
                    }
                }
            }
        }
    }

    #[test]
    fn the_headings_of_chinese_are_aligned_by_columns() {
        let explained = explained::of(Language::SimplifiedChinese, "no-carrier").next().unwrap();
        let parts = Words::SIMPLIFIED_CHINESE.parts(explained);
        assert_eq!(parts.map(|(heading, _)| heading), ["  含义    ", "  常见原因", "  解决办法"]);
    }
}
