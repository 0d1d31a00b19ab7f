//! The checks of `ashore doctor`, one a file. Each is a function of what is known: the state, the host as it was
//! observed, and what was asked on the LAN. Most of them have a test that makes the trouble on a real LAN.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::Mac;

use crate::api::diagnosis::Finding;
use crate::model::network::Network;
use crate::model::state::State;
use crate::model::survey::PoolReport;
use crate::net::name::{EndpointKey, IfName, NetworkName};
use crate::net::observed::View;

mod addresses;
mod bridge;
mod clock;
mod engine;
mod host;
mod ipv6;
mod mtu;
mod names;
mod other_shim;
mod parent;
mod platform;
mod pool;
mod router;

pub use engine::unreachable_engine;
pub use host::host;
pub use names::names;
pub use platform::Platform;
pub use pool::SERVE_ELSEWHERE;
pub use router::{Elsewhere, Unanswered, elsewhere, other_router, unanswered};

/// All that the checks know.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The networks and endpoints to look at.
    pub state: &'a State,
    /// The host.
    pub host: &'a View,
    /// What was asked on the LAN and read on the host.
    pub asked: &'a Asked,
}

/// How many addresses were asked for, and the machines that answered.
pub type Answered = (usize, BTreeMap<IpAddr, Mac>);

/// What was asked on the LAN and read on the host. What is absent was not asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// What the host runs on.
    pub platform: Platform,
    /// Whether the host forwards IPv4 packets (`net.ipv4.ip_forward`).
    pub forwards: bool,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// Endpoints that their routers do not answer.
    pub unanswered: Vec<Unanswered>,
    /// Whether the router of a network answers the network's parent. `None`: it could not be asked.
    pub routers: BTreeMap<(IfName, Ipv4Addr), Option<bool>>,
    /// The routers that the DHCP servers on a parent's LAN name.
    pub named_routers: BTreeMap<IfName, BTreeSet<Ipv4Addr>>,
    /// The machines that are known to have routers' addresses.
    pub macs_of_routers: BTreeMap<(IfName, Ipv4Addr), Mac>,
    /// The machines that answered for addresses of a network's ranges, and how many addresses were asked for; or why
    /// that could not be found out.
    pub answered: BTreeMap<NetworkName, Result<Answered, String>>,
    /// What DHCP servers offered for a network, or why that could not be found out.
    pub pools: BTreeMap<NetworkName, Result<Vec<PoolReport>, String>>,
    /// Why a DHCP server on this host does not answer for a network.
    pub own_servers: BTreeMap<NetworkName, String>,
    /// The container engines that run here, by name, and why their API cannot be reached.
    pub engines: BTreeMap<&'static str, Option<String>>,
    /// Those of them that are too old: their version, and the oldest that is not.
    pub old_engines: BTreeMap<&'static str, (String, String)>,
}

impl Facts<'_> {
    fn networks(&self) -> impl Iterator<Item = &Network> {
        self.state.networks.values()
    }

    /// The parents of all networks, each with one of its networks.
    fn parents(&self) -> BTreeMap<&IfName, &Network> {
        self.networks().map(|network| (&network.parent, network)).collect()
    }
}

/// All checks.
pub fn all(facts: &Facts<'_>) -> Vec<Finding> {
    let checks: [fn(&Facts<'_>) -> Vec<Finding>; 10] = [
        parent::check,
        router::check,
        pool::check,
        addresses::check,
        engine::check,
        bridge::check,
        other_shim::check,
        mtu::check,
        ipv6::check,
        clock::check,
    ];
    checks.into_iter().flat_map(|check| check(facts)).collect()
}

/// The endpoints of a network, by name, as a person lists them.
fn named(endpoints: &BTreeSet<&EndpointKey>) -> String {
    const MOST: usize = 3;
    let mut names: Vec<String> = endpoints.iter().take(MOST).map(|(_, name)| format!("`{name}`")).collect();
    match endpoints.len().checked_sub(MOST) {
        None | Some(0) => {}
        Some(more) => names.push(format!("{more} more")),
    }
    crate::net::text::list(names.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_endpoints_is_cut() {
        let keys: Vec<EndpointKey> = ["a", "b", "c", "d", "e"]
            .map(|name| ("lan".parse().unwrap(), name.parse().unwrap()))
            .into_iter()
            .collect();
        assert_eq!(named(&keys.iter().take(1).collect()), "`a`");
        assert_eq!(named(&keys.iter().collect()), "`a`, `b`, `c` and 2 more");
    }
}
