//! The label by which a container is called on the LAN.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::LONGEST_LABEL;

/// A host name of one label: `web` for `web.local`. RFC 6762 allows any text, but what people type into browsers and
/// programs must be letters, digits and hyphens (RFC 1123, 2.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Label(String);

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// There is nothing.
    #[error("a name on the LAN must not be empty")]
    Empty,
    /// It is too long.
    #[error("`{text}` is too long for a name on the LAN: it has {length} bytes, and at most 63 are possible")]
    TooLong {
        /// The beginning of the text.
        text: String,
        /// How many bytes it has.
        length: usize,
    },
    /// It has a dot.
    #[error("`{text}` has a dot: a name on the LAN is a single label, to which `.local` is added")]
    Dot {
        /// The text.
        text: String,
    },
    /// It has another character that host names do not have.
    #[error(
        "`{text}` has `{character}` as its character {at}: a name on the LAN has letters from a to z, digits and `-`"
    )]
    Character {
        /// The text.
        text: String,
        /// The character.
        character: String,
        /// Which character it is, counted from 1.
        at: usize,
    },
    /// It begins or ends with a hyphen.
    #[error("`{text}` begins or ends with `-`, which host names do not")]
    Hyphen {
        /// The text.
        text: String,
    },
}

/// A text of somebody else, fit to be shown: escaped, and cut off where it gets long.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label to try after this one: `web-2` after `web`, `web-3` after `web-2` (RFC 6762, 9).
    #[must_use]
    pub fn next(&self) -> Self {
        let (base, number) = self.counted().unwrap_or((&self.0, 1));
        let ending = format!("-{}", number + 1);
        let room = base.len().min(LONGEST_LABEL - ending.len());
        Label(format!("{}{ending}", &base[..room]))
    }

    /// The label before its number, and the number.
    fn counted(&self) -> Option<(&str, u32)> {
        let (base, digits) = self.0.rsplit_once('-')?;
        let plain = !base.is_empty() && digits.len() < 10 && !digits.starts_with('0');
        Some((base, digits.parse().ok().filter(|number| plain && *number > 1)?))
    }

    /// The label with an ending, as one label of a name. Where it is too long, what is before the number is cut: without
    /// its number, the name of a service would be the same after each rename.
    pub(super) fn with(&self, ending: &str) -> String {
        let base = self.counted().map_or(self.0.as_str(), |(base, _)| base);
        let ending = format!("{}{ending}", &self.0[base.len()..]);
        let room = base.len().min(LONGEST_LABEL - ending.len());
        format!("{}{ending}", &base[..room])
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let shown = || shown(text);
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.contains('.') {
            return Err(LabelError::Dot { text: shown() });
        }
        let strange = |(_, c): &(usize, char)| !c.is_ascii_alphanumeric() && *c != '-';
        if let Some((at, c)) = text.chars().enumerate().find(strange) {
            let character = c.escape_debug().to_string();
            return Err(LabelError::Character { text: shown(), character, at: at + 1 });
        }
        if text.len() > LONGEST_LABEL {
            return Err(LabelError::TooLong { text: shown(), length: text.len() });
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(LabelError::Hyphen { text: shown() });
        }
        Ok(Label(text.to_owned()))
    }
}

/// As DNS compares names: without regard to case.
impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Label {}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_host_name_is_refused_with_what_is_wrong_and_where() {
        let refused = |text: &str| text.parse::<Label>().unwrap_err().to_string();
        for (text, said) in [
            ("", "a name on the LAN must not be empty"),
            (
                "web.home",
                "`web.home` has a dot: a name on the LAN is a single label, to which `.local` is added",
            ),
            (
                "my_app",
                "`my_app` has `_` as its character 3: a name on the LAN has letters from a to z, digits and `-`",
            ),
            (
                "bücher",
                "`bücher` has `ü` as its character 2: a name on the LAN has letters from a to z, digits and `-`",
            ),
            (
                "a\x1b[2J",
                "`a\\u{1b}[2J` has `\\u{1b}` as its character 2: a name on the LAN has letters from a to z, digits and `-`",
            ),
            ("web-", "`web-` begins or ends with `-`, which host names do not"),
            ("-web", "`-web` begins or ends with `-`, which host names do not"),
        ] {
            assert_eq!(refused(text), said);
        }
        assert!("a".repeat(63).parse::<Label>().is_ok());
        let long = format!(
            "`{}` is too long for a name on the LAN: it has 64 bytes, and at most 63 are possible",
            "a".repeat(64)
        );
        assert_eq!(refused(&"a".repeat(64)), long);
        assert!(refused(&"a".repeat(5000)).len() < 200);
    }

    #[test]
    fn the_next_label_counts_on() {
        let next = |text: &str| text.parse::<Label>().unwrap().next().0;
        for (label, after) in [
            ("web", "web-2"),
            ("web-2", "web-3"),
            ("web-9", "web-10"),
            ("web-1", "web-1-2"),
            ("web-02", "web-02-2"),
            ("web-9999999999", "web-9999999999-2"),
            ("web-999999999", "web-1000000000"),
            ("7", "7-2"),
        ] {
            assert_eq!(next(label), after);
        }
        assert_eq!(next(&"a".repeat(63)), format!("{}-2", "a".repeat(61)));
        assert_eq!(next(&format!("{}-9", "a".repeat(61))), format!("{}-10", "a".repeat(60)));
    }

    proptest! {
        #[test]
        fn the_next_labels_are_labels_and_never_come_again(text in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?") {
            let mut label: Label = text.parse().unwrap();
            let mut seen = std::collections::HashSet::from([label.0.clone()]);
            for _ in 0..50 {
                label = label.next();
                prop_assert_eq!(label.0.parse::<Label>(), Ok(label.clone()));
                prop_assert!(seen.insert(label.0.clone()), "{}", label);
            }
        }
    }
}
