//! What each code of a trouble or a refusal means, what usually causes it, and what helps: for `ashore explain` and the
//! manual, whose tables are held to these texts.

use std::sync::LazyLock;

use serde::Serialize;

use crate::api::{refusal, trouble};

/// The explanation of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The code, as it is written.
    pub code: &'static str,
    /// What has it. A trouble and a refusal may have the same code.
    #[serde(flatten)]
    pub of: Of,
    /// What it means.
    pub means: &'static str,
    /// What usually causes it.
    pub cause: &'static str,
    /// What helps.
    pub helps: &'static str,
}

/// What a code is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "of")]
pub enum Of {
    /// A trouble.
    Trouble {
        /// How bad it is.
        severity: trouble::Severity,
    },
    /// A refusal.
    Refusal {
        /// Its kind.
        kind: refusal::RefusalKind,
    },
}

static ALL: LazyLock<Vec<Explained>> = LazyLock::new(|| {
    let troubles = trouble::Code::ALL.iter().map(|code| Of::Trouble { severity: code.severity() });
    let refusals = refusal::Code::ALL.iter().map(|code| Of::Refusal { kind: code.kind() });
    let of_troubles = entries(include_str!("explained/troubles.txt")).zip(troubles);
    let of_refusals = entries(include_str!("explained/refusals.txt")).zip(refusals);
    // The tests hold the texts to be those of the codes, in the same order.
    of_troubles
        .chain(of_refusals)
        .map(|([code, means, cause, helps], of)| Explained { code, of, means, cause, helps })
        .collect()
});

/// The explanations of all codes, troubles first.
pub fn all() -> &'static [Explained] {
    &ALL
}

/// The explanations of a code: none, one, or that of a trouble and that of a refusal.
pub fn of(code: &str) -> impl Iterator<Item = &'static Explained> {
    all().iter().filter(move |explained| explained.code == code)
}

/// How a code is written. Returns `None` if it is one that says nothing.
pub fn written(code: &impl Serialize) -> Option<String> {
    let code = serde_json::to_value(code).ok()?.as_str()?.to_owned();
    (code != "unknown").then_some(code)
}

/// The entries of a text: a code, and three lines that are indented and begin with a word.
fn entries(text: &'static str) -> impl Iterator<Item = [&'static str; 4]> {
    text.split("\n\n").map(|entry| {
        let line = |word: &str| {
            let mut lines = entry.lines().map(str::trim);
            lines.find_map(|line| line.strip_prefix(word)).unwrap_or_default().trim()
        };
        [entry.lines().next().unwrap_or_default(), line("means:"), line("cause:"), line("helps:")]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_and_nothing_else_is() {
        let known = |code: Option<String>| code.unwrap_or_else(|| "unknown".to_owned());
        let troubles = trouble::Code::ALL.iter().map(written).map(known);
        let refusals = refusal::Code::ALL.iter().map(written).map(known);
        let explained: Vec<&str> = all().iter().map(|explained| explained.code).collect();
        assert_eq!(explained, troubles.chain(refusals).collect::<Vec<_>>());
        let texts = [include_str!("explained/troubles.txt"), include_str!("explained/refusals.txt")];
        assert_eq!(
            texts.map(|text| entries(text).count()),
            [trouble::Code::ALL.len(), refusal::Code::ALL.len()]
        );
    }

    #[test]
    fn every_explanation_is_complete_and_short() {
        for explained in all() {
            for text in [explained.means, explained.cause, explained.helps] {
                assert!((8..=240).contains(&text.chars().count()), "{}: `{text}`", explained.code);
                assert!(!text.contains("]("), "{}: `{text}`", explained.code);
            }
        }
    }

    #[test]
    fn a_code_of_both_has_both() {
        let found: Vec<Of> = of("parent-down").map(|explained| explained.of).collect();
        let trouble = Of::Trouble { severity: trouble::Severity::Broken };
        assert_eq!(found, [trouble, Of::Refusal { kind: refusal::RefusalKind::Invalid }]);
        assert_eq!(of("on-fire").count(), 0);
    }
}
