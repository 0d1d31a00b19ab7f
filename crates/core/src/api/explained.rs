//! What each code of a trouble or a refusal means, what usually causes it, and what helps: for `ashore explain` and the
//! manual, whose tables are held to the English texts.

use std::sync::LazyLock;

use serde::Serialize;

use crate::api::{refusal, trouble};

/// A language that the explanations are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English, which has every code.
    English,
    /// Simplified Chinese.
    SimplifiedChinese,
}

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

static ENGLISH: LazyLock<Vec<Explained>> = LazyLock::new(|| {
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

static SIMPLIFIED_CHINESE: LazyLock<Vec<Explained>> = LazyLock::new(|| {
    let troubles: Vec<_> = entries(include_str!("explained/troubles.zh.txt")).collect();
    let refusals: Vec<_> = entries(include_str!("explained/refusals.zh.txt")).collect();
    let translated = |english: &Explained| {
        let entries = match english.of {
            Of::Trouble { .. } => &troubles,
            Of::Refusal { .. } => &refusals,
        };
        // A code without a translation is explained in English. The tests hold that there is none.
        match entries.iter().copied().find(|[code, ..]| *code == english.code) {
            Some([code, means, cause, helps]) => Explained { code, of: english.of, means, cause, helps },
            None => english.clone(),
        }
    };
    ENGLISH.iter().map(translated).collect()
});

/// The explanations of all codes, troubles first.
pub fn all(language: Language) -> &'static [Explained] {
    match language {
        Language::English => &ENGLISH,
        Language::SimplifiedChinese => &SIMPLIFIED_CHINESE,
    }
}

/// The explanations of a code: none, one, or that of a trouble and that of a refusal.
pub fn of(language: Language, code: &str) -> impl Iterator<Item = &'static Explained> {
    all(language).iter().filter(move |explained| explained.code == code)
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

    const LANGUAGES: [Language; 2] = [Language::English, Language::SimplifiedChinese];

    #[test]
    fn every_code_is_explained_and_nothing_else_is() {
        let known = |code: Option<String>| code.unwrap_or_else(|| "unknown".to_owned());
        let troubles: Vec<String> = trouble::Code::ALL.iter().map(written).map(known).collect();
        let refusals: Vec<String> = refusal::Code::ALL.iter().map(written).map(known).collect();
        for language in LANGUAGES {
            let explained: Vec<&str> = all(language).iter().map(|explained| explained.code).collect();
            assert_eq!(explained, [troubles.as_slice(), &refusals].concat(), "{language:?}");
        }
        for (text, codes) in [
            (include_str!("explained/troubles.txt"), &troubles),
            (include_str!("explained/troubles.zh.txt"), &troubles),
            (include_str!("explained/refusals.txt"), &refusals),
            (include_str!("explained/refusals.zh.txt"), &refusals),
        ] {
            assert_eq!(&entries(text).map(|[code, ..]| code).collect::<Vec<_>>(), codes);
        }
    }

    #[test]
    fn every_explanation_is_complete_and_short() {
        for explained in LANGUAGES.into_iter().flat_map(all) {
            for text in [explained.means, explained.cause, explained.helps] {
                assert!((4..=240).contains(&text.chars().count()), "{}: `{text}`", explained.code);
                assert!(!text.contains("]("), "{}: `{text}`", explained.code);
            }
        }
    }

    #[test]
    fn a_translation_has_the_same_commands() {
        let quoted = |text: &'static str| text.split('`').skip(1).step_by(2);
        let commands = |explained: &Explained| -> Vec<&str> {
            let mut commands: Vec<&str> = quoted(explained.means).collect();
            commands.extend(quoted(explained.cause).chain(quoted(explained.helps)));
            commands.sort_unstable();
            commands
        };
        let chinese = all(Language::SimplifiedChinese);
        for (english, chinese) in all(Language::English).iter().zip(chinese) {
            let missing: Vec<&str> =
                commands(english).into_iter().filter(|text| !commands(chinese).contains(text)).collect();
            assert!(missing.is_empty(), "{}: {missing:?}", english.code);
            let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            // What helps may be a command alone.
            assert!(is_chinese(chinese.means) && is_chinese(chinese.cause), "{}", chinese.code);
        }
    }

    #[test]
    fn a_code_of_both_has_both() {
        for language in LANGUAGES {
            let found: Vec<Of> = of(language, "parent-down").map(|explained| explained.of).collect();
            let trouble = Of::Trouble { severity: trouble::Severity::Broken };
            assert_eq!(found, [trouble, Of::Refusal { kind: refusal::RefusalKind::Invalid }]);
            assert_eq!(of(language, "on-fire").count(), 0);
        }
    }
}
