//! How a firewall is made to treat the shim as the parent, of which it accepts some alone. Rules are its user's own, in an
//! order that has a meaning and with words that may be anything, so they are never copied by a command. What is in a set
//! with a name has no order.

use ashore_core::net::name::IfName;
use ashore_core::net::remedy::Remedy;
use ashore_kernel::{Apart, Rules};

use super::{Cut, FIREWALLD, is_plain};

/// `None` if the parent may do all, or if the firewall is firewalld, which has a word for it.
pub(super) fn copied(cut: &Cut, [parent, shim]: [&IfName; 2]) -> Option<Remedy> {
    let apart = cut.copied.as_ref()?;
    if matches!(&cut.by, Rules::Nftables { table, .. } if table == FIREWALLD) {
        return None;
    }
    let mut of_table = apart.iter().filter(|apart| is_of(apart, &cut.by)).peekable();
    let is_named = is_plain(shim.as_str()) && of_table.peek().is_some();
    let elements: Option<Vec<String>> = of_table.map(|apart| element(apart, shim)).collect();
    Some(match elements {
        Some(elements) if is_named => {
            Remedy::from("put the shim where the parent is: ").and_run(elements.join(" && "))
        }
        _ => format!(
            "let the rules about `{parent}` be about `{shim}` too, and those about all but `{parent}` spare it"
        )
        .into(),
    })
}

/// Whether that is in the table of these rules. Of what is in another one, the doctor tells afterwards.
fn is_of(apart: &Apart, by: &Rules) -> bool {
    let (Apart::Rule(of, within) | Apart::Set(of, within, _)) = apart;
    matches!(by, Rules::Nftables { family, table, .. } if family == of && table == within)
}

/// The command that puts the shim into a set in which the parent is. `None` if it is no set.
fn element(apart: &Apart, shim: &IfName) -> Option<String> {
    match apart {
        Apart::Set(family, table, set) if is_plain(table) && is_plain(set) => {
            Some(format!("nft add element {family} {table} {set} {{ {shim} }}"))
        }
        Apart::Set(..) | Apart::Rule(..) => None,
    }
}
