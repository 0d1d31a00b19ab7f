//! Whether networks stay clear of what the LAN's DHCP servers hand out, and whether there is one where addresses
//! are leased.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::model::endpoint::Endpoint;
use crate::model::lease::Addressing;
use crate::net::remedy::Remedy;

const CHECK: &str = "dhcp";
/// What helps where a DHCP server on this host does not hear who asks for leases.
pub const SERVE_ELSEWHERE: &str = "if it is the server of this LAN, run it in a container on a network of Ashore's or on another machine, \
     or create the network again without leases, with a range outside the server's pool";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for network in facts.networks() {
        let (about, label) = (About::network(network), network.label());
        let reports = match facts.asked.pools.get(&network.name) {
            None => continue,
            Some(Err(why)) => {
                found.push(Finding::unknown(CHECK, about, format!("network `{label}`: {why}")));
                continue;
            }
            Some(Ok(reports)) => reports,
        };
        let servers: usize = reports.iter().map(|report| report.servers.len()).sum();
        if network.addressing == Addressing::Dhcp {
            let is_leased = |endpoint: &Endpoint| {
                endpoint
                    .lease
                    .as_ref()
                    .is_some_and(|lease| lease.left(facts.asked.now).is_none_or(|left| left > 0))
            };
            let leased =
                facts.state.endpoints_on(&network.name).filter(|endpoint| is_leased(endpoint)).count();
            found.push(if servers == 0 && leased > 0 {
                let why = format!(
                    "no DHCP server answers a stranger on the LAN of network `{label}`, of which {leased} endpoints have leases: it \
                     serves known clients only, has no address left, or is off now"
                );
                Finding::unknown(CHECK, about, why)
            } else if servers == 0 {
                let message = format!(
                    "addresses of network `{label}` are leased, and no DHCP server answers on the LAN of `{}`",
                    network.parent
                );
                let usual = "check that the router's DHCP server is on; it may have no address left";
                let (message, remedy) = match facts.asked.own_servers.get(&network.name) {
                    Some(why) => (format!("{message}: {why}"), format!("{SERVE_ELSEWHERE}; if it is not, {usual}")),
                    None => (message, usual.to_owned()),
                };
                let remedy = Some(Remedy::from(remedy));
                Finding::trouble(CHECK, Trouble::new(Code::NoDhcpServer, about, message, remedy))
            } else {
                Finding::fine(CHECK, about, format!("a DHCP server answers for network `{label}`"))
            });
            continue;
        }
        for report in reports {
            let Err(error) = report.check() else {
                let what = format!("no DHCP server was seen to offer addresses of {}", report.range);
                found.push(Finding::fine(CHECK, about.clone(), what));
                continue;
            };
            let remedy = error.remedy().map(|remedy| remedy.in_words_of(network.front()));
            let message = format!("network `{label}`: {error}");
            let trouble = Trouble::new(Code::RangeInPool, about.clone(), message, remedy);
            found.push(Finding::trouble(CHECK, trouble));
        }
    }
    found
}
