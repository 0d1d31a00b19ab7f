//! A word that must be one of a few.

use std::fmt;

/// A word that is none of those that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchChoice {
    /// The word as given.
    pub given: String,
    /// Those that there are.
    pub choices: &'static [&'static str],
}

impl NoSuchChoice {
    /// What was given, and what there is.
    pub fn new(given: &str, choices: &'static [&'static str]) -> Self {
        NoSuchChoice { given: given.to_owned(), choices }
    }
}

impl fmt::Display for NoSuchChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = &self.given;
        match self.choices {
            [one, other] => write!(f, "`{given}` is neither {one} nor {other}"),
            [first @ .., last] => write!(f, "`{given}` is not one of {} and {last}", first.join(", ")),
            [] => write!(f, "`{given}` is unknown"),
        }
    }
}

impl std::error::Error for NoSuchChoice {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choices_are_named() {
        let said = |choices| NoSuchChoice::new("x", choices).to_string();
        assert_eq!(said(&["none", "range"]), "`x` is neither none nor range");
        assert_eq!(said(&["auto", "dhcp", "off"]), "`x` is not one of auto, dhcp and off");
    }
}
