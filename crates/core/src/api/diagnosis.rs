//! What `ashore doctor` asks, and what it finds.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::api::about::About;
use crate::api::trouble::{Severity, Trouble};
use crate::net::name::IfName;

/// What to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Complaint {
    /// A network, or a container on one, by the name that its user knows. Without it, everything.
    pub about: Option<String>,
    /// An interface that may become a parent.
    pub parent: Option<IfName>,
    /// A machine of the LAN that should answer.
    pub to: Option<Ipv4Addr>,
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check, by a name that is never changed.
    pub check: String,
    /// What was looked at.
    pub about: About,
    /// The result.
    #[serde(flatten)]
    pub result: Found,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "what")]
pub enum Found {
    /// Something is wrong.
    Trouble(Trouble),
    /// It could not be found out, and why.
    Unknown(String),
    /// All is well, in a few words.
    Fine(String),
}

impl Finding {
    /// All is well.
    pub fn fine(check: &str, about: About, what: impl Into<String>) -> Self {
        Finding { check: check.to_owned(), about, result: Found::Fine(what.into()) }
    }

    /// It could not be found out.
    pub fn unknown(check: &str, about: About, why: impl Into<String>) -> Self {
        Finding { check: check.to_owned(), about, result: Found::Unknown(why.into()) }
    }

    /// Something is wrong.
    pub fn trouble(check: &str, trouble: Trouble) -> Self {
        Finding { check: check.to_owned(), about: trouble.about.clone(), result: Found::Trouble(trouble) }
    }

    /// How bad it is. What could not be found out is as good as what is fine: it says nothing.
    pub fn severity(&self) -> Option<Severity> {
        match &self.result {
            Found::Trouble(trouble) => Some(trouble.severity),
            Found::Unknown(_) | Found::Fine(_) => None,
        }
    }
}

impl Diagnosis {
    /// What was found, in the order in which it is shown: the worst first.
    pub fn of(at: u64, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| match &finding.result {
            Found::Trouble(trouble) if trouble.severity == Severity::Broken => 0,
            Found::Trouble(_) => 1,
            Found::Unknown(_) => 2,
            Found::Fine(_) => 3,
        });
        // A trouble may be found in two ways.
        let mut seen: Vec<Trouble> = Vec::new();
        findings.retain(|finding| {
            let Found::Trouble(trouble) = &finding.result else { return true };
            let is_same = |there: &Trouble| {
                let is_told = !trouble.about.is_empty() || there.message == trouble.message;
                (there.code, &there.about) == (trouble.code, &trouble.about) && is_told
            };
            let is_known = seen.iter().any(is_same);
            seen.push(trouble.clone());
            !is_known
        });
        Diagnosis { at, findings }
    }

    /// How bad the worst of it is. `None` if nothing is wrong.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().filter_map(Finding::severity).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::trouble::Code;

    #[test]
    fn the_worst_comes_first_and_nothing_twice() {
        let trouble = |code| Finding::trouble("any", Trouble::new(code, About::default(), "wrong", None));
        let found = Diagnosis::of(
            7,
            vec![
                Finding::fine("clock", About::default(), "the clock is set"),
                trouble(Code::BridgeWaits),
                Finding::unknown("router", About::default(), "it has no address"),
                trouble(Code::MacDropped),
                trouble(Code::BridgeWaits),
            ],
        );
        let checks: Vec<Option<Severity>> = found.findings.iter().map(Finding::severity).collect();
        assert_eq!(checks, [Some(Severity::Broken), Some(Severity::Warning), None, None]);
        assert!(matches!(found.findings[2].result, Found::Unknown(_)));
        assert_eq!(found.worst(), Some(Severity::Broken));
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Diagnosis>(&json).unwrap(), found);
    }
}
