//! Whether other machines have addresses of a network's range.

use std::collections::BTreeMap;

use ashore_wire::Mac;

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::text::list;

const CHECK: &str = "addresses";
/// A machine that answers for this many addresses, of which nobody has any, answers for all.
const FOR_ALL: usize = 8;
/// How many addresses are named.
const MOST: usize = 4;

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for network in facts.networks() {
        let (about, label) = (About::network(network), network.label());
        let (asked, answered) = match facts.asked.answered.get(&network.name) {
            None => continue,
            Some(Err(why)) => {
                let why = format!("who has addresses of network `{label}` is not known: {why}");
                found.push(Finding::unknown(CHECK, about, why));
                continue;
            }
            Some(Ok(answered)) => answered,
        };
        let mut by: BTreeMap<Mac, usize> = BTreeMap::new();
        for mac in answered.values() {
            *by.entry(*mac).or_default() += 1;
        }
        let for_all =
            by.iter().find(|(_, count)| **count >= FOR_ALL && **count * 2 > *asked).map(|(mac, _)| *mac);
        if let Some(mac) = for_all {
            let message = format!(
                "the machine {mac} answers for {} of the {asked} free addresses of network `{label}`: it answers for others \
                 (proxy ARP), so no address is found free",
                by[&mac]
            );
            let remedy =
                "turn proxy ARP off on that machine, which is often the router or an access point".into();
            found.push(Finding::trouble(
                CHECK,
                Trouble::new(Code::ProxyArp, about.clone(), message, Some(remedy)),
            ));
        }
        let others: Vec<String> = answered
            .iter()
            .filter(|(_, mac)| Some(**mac) != for_all)
            .map(|(ip, mac)| format!("{ip} ({mac})"))
            .collect();
        if !others.is_empty() {
            let more = others.len().saturating_sub(MOST);
            let shown = others.into_iter().take(MOST).chain((more > 0).then(|| format!("{more} more")));
            let message = format!(
                "other machines have addresses of the range of network `{label}`, which are left out: {}",
                list(shown)
            );
            let remedy = "give those machines addresses outside the range".into();
            found.push(Finding::trouble(
                CHECK,
                Trouble::new(Code::AddressInUse, about, message, Some(remedy)),
            ));
        } else if for_all.is_none() && *asked > 0 {
            let what =
                format!("nobody else has an address of the range of network `{label}` ({asked} asked for)");
            found.push(Finding::fine(CHECK, about, what));
        }
    }
    found
}
