//! What a code means, in the language of the user. The daemon's message is English, and stays as it is: it is what
//! people search for, and what others have written about.

use ashore_core::api::explained::{self, Explained, Language, Of};
use ashore_core::api::trouble;

use crate::client::Failure;
use crate::messages::{message, spoken};

/// The lines that stand below a trouble. In English there are none: its message says it already.
pub(crate) fn of_trouble(code: trouble::Code, has_remedy: bool) -> Vec<String> {
    if spoken() == Language::English {
        return Vec::new();
    }
    let is_it = |of: &Of| matches!(of, Of::Trouble { .. });
    explained(explained::written(&code), is_it).map_or_else(Vec::new, |it| lines(it, has_remedy))
}

/// The lines that stand below an error. In English there are none.
pub(crate) fn of_failure(failure: &Failure) -> Vec<String> {
    if spoken() == Language::English {
        return Vec::new();
    }
    let means = match failure {
        Failure::Refused(refusal) => {
            let is_it = |of: &Of| matches!(of, Of::Refusal { .. });
            let found = explained(explained::written(&refusal.code), is_it);
            return found.map_or_else(Vec::new, |it| lines(it, failure.hint().is_some()));
        }
        Failure::Unreachable { .. } => message!("failure-unreachable"),
        Failure::Privilege(_) => message!("failure-privilege"),
        Failure::Restricted { .. } => message!("failure-restricted"),
        Failure::OtherVersion(_) => message!("failure-other-version"),
        Failure::NoAnswer(_) => message!("failure-no-answer"),
        Failure::Service(_) => message!("failure-service"),
        // What these say is not known, or was said in the language of the user.
        Failure::Usage { .. } | Failure::Internal(_) | Failure::NotAsExpected(_) | Failure::Unwell(..) => {
            return Vec::new();
        }
    };
    vec![format!("{}{means}", message!("explained-means"))]
}

fn explained(code: Option<String>, is_it: impl Fn(&Of) -> bool) -> Option<&'static Explained> {
    explained::of(spoken(), &code?).find(|explained| is_it(&explained.of))
}

/// What it means, and what helps unless the message says that itself.
fn lines(explained: &Explained, has_remedy: bool) -> Vec<String> {
    let mut lines = vec![format!("{}{}", message!("explained-means"), explained.means)];
    if !has_remedy {
        lines.push(format!("{}{}", message!("explained-helps"), explained.helps));
    }
    lines
}
