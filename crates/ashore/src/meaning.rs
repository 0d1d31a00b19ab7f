//! What a code means, in the language of the user. The daemon's message is English, and stays as it is: it is what
//! people search for, and what others have written about.

use ashore_core::api::diagnosis::{Finding, Found};
use ashore_core::api::explained::{self, Explained, Language, Of};
use ashore_core::api::trouble;

use crate::client::{Failure, Mistake};
use crate::messages::{message, spoken};

/// The lines that stand below a trouble. In English there are none: its message says it already.
pub(crate) fn of_trouble(code: trouble::Code, has_remedy: bool) -> Vec<String> {
    if spoken() == Language::English {
        return Vec::new();
    }
    let is_it = |of: &Of| matches!(of, Of::Trouble { .. });
    explained(explained::written(&code), is_it).map_or_else(Vec::new, |it| lines(it, has_remedy))
}

/// The lines that stand below what the doctor found to be fine, or could not find out. In English there are none.
pub(crate) fn of_finding(finding: &Finding) -> Vec<String> {
    if spoken() == Language::English {
        return Vec::new();
    }
    let means = match (finding.check.as_str(), &finding.result) {
        ("addresses", Found::Fine(_)) => message!("doctor-fine-addresses"),
        ("bridge", Found::Fine(_)) => message!("doctor-fine-bridge"),
        ("clock", Found::Fine(_)) => message!("doctor-fine-clock"),
        ("dhcp", Found::Fine(_)) => message!("doctor-fine-dhcp"),
        ("engine", Found::Fine(_)) => message!("doctor-fine-engine"),
        ("firewall", Found::Fine(_)) => message!("doctor-fine-firewall"),
        ("host", Found::Fine(_)) => message!("doctor-fine-host"),
        ("ipv6", Found::Fine(_)) => message!("doctor-fine-ipv6"),
        ("kernel", Found::Fine(_)) => message!("doctor-fine-kernel"),
        ("parent", Found::Fine(_)) => message!("doctor-fine-parent"),
        ("plugin", Found::Fine(_)) => message!("doctor-fine-plugin"),
        ("ports", Found::Fine(_)) => message!("doctor-fine-ports"),
        ("router", Found::Fine(_)) => message!("doctor-fine-router"),
        ("to", Found::Fine(_)) => message!("doctor-fine-to"),
        ("addresses", Found::Unknown(_)) => message!("doctor-unknown-addresses"),
        ("dhcp", Found::Unknown(_)) => message!("doctor-unknown-dhcp"),
        ("firewall", Found::Unknown(_)) => message!("doctor-unknown-firewall"),
        ("host", Found::Unknown(_)) => message!("doctor-unknown-host"),
        ("ipv6", Found::Unknown(_)) => message!("doctor-unknown-ipv6"),
        ("kernel", Found::Unknown(_)) => message!("doctor-unknown-kernel"),
        ("manager", Found::Unknown(_)) => message!("doctor-unknown-manager"),
        ("plugin", Found::Unknown(_)) => message!("doctor-unknown-plugin"),
        ("router", Found::Unknown(_)) => message!("doctor-unknown-router"),
        ("shim", Found::Unknown(_)) => message!("doctor-unknown-shim"),
        ("to", Found::Unknown(_)) => message!("doctor-unknown-to"),
        // A check of a later version than this program's, or a trouble, which has a code.
        _ => return Vec::new(),
    };
    vec![format!("{}{means}", message!("explained-means"))]
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
        Failure::Usage { mistake, .. } => match mistake {
            Mistake::Command => message!("usage-command"),
            Mistake::Option => message!("usage-option"),
            Mistake::Value => message!("usage-value"),
            Mistake::Missing => message!("usage-missing"),
            Mistake::Together => message!("usage-together"),
            Mistake::Other => message!("usage-other"),
        },
        // What these say is not known, or was said in the language of the user.
        Failure::Internal(_) | Failure::NotAsExpected(_) | Failure::Unwell(..) => {
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
