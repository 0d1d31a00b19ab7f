//! Which of this host's own MACs may speak for which addresses.
//!
//! An endpoint may speak for the addresses that it holds, and the host for its own. Any other frame of theirs
//! counts like that of any other machine, because a container that can change its link can use any address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_wire::{Heard, Mac};

use super::Tap;

/// How long an endpoint may speak for its addresses before it holds them, while they are probed, and how long
/// afterwards: a container that is being torn down answers for a moment longer.
const BEFORE_AND_AFTER: Duration = Duration::from_secs(10);

/// How long the link of an endpoint that has left may still exist. It goes with its container's namespace.
const TAKEN_DOWN: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Own {
    /// The addresses that endpoints hold, each with the endpoint's MAC as the LAN knows it.
    held: BTreeSet<(IpAddr, Mac)>,
    /// The addresses and MACs of endpoints that have left, each with the time when the entry ends.
    left: BTreeMap<(IpAddr, Mac), Instant>,
    /// The endpoint's MAC for which each address was last probed, with the time when the entry ends.
    comes: BTreeMap<IpAddr, (Mac, Instant)>,
    /// The host's MACs and addresses. The host's kernel answers for each of its addresses on any link.
    host: (BTreeSet<Mac>, BTreeSet<IpAddr>),
    /// The MACs from which Ashore sends its probes. A switch may send a probe back.
    asking: BTreeSet<Mac>,
}

impl Own {
    /// Updates what the host has, and from which MACs Ashore sends probes.
    pub(super) fn follow_host(&mut self, state: &State, host: &View, parents: &BTreeMap<IfName, Tap>) {
        // A container's link is in the host's namespace until its engine moves it.
        let is_hosts = |mac: &Mac| mac.is_station() && !state.has_mac(*mac);
        let of_parents = parents.keys().filter_map(|parent| host.link(parent)?.mac);
        self.host.0 = host.links.iter().filter_map(|link| link.mac).filter(is_hosts).collect();
        self.host.1 = host.addresses.iter().map(|there| there.net.addr()).collect();
        self.asking = of_parents.chain(parents.values().map(|tap| tap.mac)).collect();
    }

    /// Updates which MAC holds which addresses.
    pub(super) fn follow_all(&mut self, state: &State, host: &View, now: Instant) {
        let held = state.endpoints.values().flat_map(|endpoint| held_by(state, endpoint, host));
        self.hold(held.collect(), now);
    }

    /// Updates what endpoints hold that have changed.
    pub(super) fn follow_some(
        &mut self,
        changed: &[Differs<'_>],
        before: &State,
        state: &State,
        host: &View,
        now: Instant,
    ) {
        let pairs = |state: &State, endpoint: Option<&Endpoint>| -> Vec<(IpAddr, Mac)> {
            endpoint.map_or_else(Vec::new, |endpoint| held_by(state, endpoint, host))
        };
        let had: BTreeSet<_> = changed.iter().flat_map(|(had, _)| pairs(before, *had)).collect();
        let has: BTreeSet<_> = changed.iter().flat_map(|(_, has)| pairs(state, *has)).collect();
        for pair in had.difference(&has) {
            self.held.remove(pair);
        }
        self.held.extend(&has);
        self.forget(|pair| had.contains(pair), now);
        for pair in had.difference(&has) {
            self.left.insert(*pair, now + BEFORE_AND_AFTER);
        }
    }

    /// Forgets of those that come or have left what is too old, and those that have come. `had` says whether
    /// an endpoint had an address until now.
    fn forget(&mut self, had: impl Fn(&(IpAddr, Mac)) -> bool, now: Instant) {
        self.left.retain(|pair, until| now < *until && !self.held.contains(pair));
        // An endpoint that has come is in `held`. One that has left and comes back is probed for again.
        let is_on_its_way = |pair: &(IpAddr, Mac)| !self.held.contains(pair) && !had(pair);
        self.comes.retain(|ip, (mac, until)| now < *until && is_on_its_way(&(*ip, *mac)));
    }

    /// Updates the addresses that endpoints hold.
    fn hold(&mut self, held: BTreeSet<(IpAddr, Mac)>, now: Instant) {
        let before = std::mem::replace(&mut self.held, held);
        self.forget(|pair| before.contains(pair), now);
        for pair in before.difference(&self.held) {
            self.left.insert(*pair, now + BEFORE_AND_AFTER);
        }
    }

    /// Enters that an address is being probed on behalf of an endpoint. Some routers and access points answer
    /// with the client's own MAC, which is no conflict (RFC 5227, 2.1.1).
    pub(super) fn comes(&mut self, ip: IpAddr, mac: Mac, now: Instant) {
        self.comes.insert(ip, (mac, now + BEFORE_AND_AFTER));
    }

    /// Whether a MAC had an address until a moment ago, and has no other right to it. A new probe for the
    /// address asks who has it now. The endpoint that has left may have come back under another name or may
    /// never have gone, and any machine can send from that MAC.
    pub(super) fn has_left(&self, ip: IpAddr, mac: Mac, now: Instant) -> bool {
        !self.has(ip, mac, now) && self.may_have(ip, mac, now)
    }

    /// Whether an endpoint left an address so recently that its link may still exist.
    pub(super) fn is_leaving(&self, ip: IpAddr, mac: Mac, now: Instant) -> bool {
        let ends = self.left.get(&(ip, mac)).filter(|_| self.has_left(ip, mac, now));
        ends.is_some_and(|ends| *ends + TAKEN_DOWN > now + BEFORE_AND_AFTER)
    }

    /// Whether a MAC has an address or is about to.
    pub(super) fn has(&self, ip: IpAddr, mac: Mac, now: Instant) -> bool {
        let (host_macs, host_addresses) = &self.host;
        self.held.contains(&(ip, mac))
            || self.comes.get(&ip).is_some_and(|(comes, until)| *comes == mac && now < *until)
            || (host_macs.contains(&mac) && host_addresses.contains(&ip))
    }

    /// Whether a frame is not another machine's statement about an address.
    pub(super) fn may_say(&self, heard: &Heard, now: Instant) -> bool {
        self.may_have(heard.ip, heard.sender, now) || (!heard.claims && self.asking.contains(&heard.sender))
    }

    /// Whether a MAC belongs to the host or an endpoint.
    pub(super) fn is_own(&self, mac: Mac) -> bool {
        let mut of_endpoints = self.held.iter().chain(self.left.keys()).map(|(_, own)| own);
        let mut coming = self.comes.values().map(|(own, _)| own);
        let is_hosts = self.host.0.contains(&mac) || self.asking.contains(&mac);
        is_hosts || of_endpoints.any(|own| *own == mac) || coming.any(|own| *own == mac)
    }

    /// Whether a MAC may have an address.
    pub(super) fn may_have(&self, ip: IpAddr, mac: Mac, now: Instant) -> bool {
        self.has(ip, mac, now) || self.left.get(&(ip, mac)).is_some_and(|until| now < *until)
    }
}

/// The addresses of an endpoint, with the MAC by which the LAN knows it.
fn held_by(state: &State, endpoint: &Endpoint, host: &View) -> Vec<(IpAddr, Mac)> {
    let mac = mac_on_lan(state, endpoint, host);
    mac.map_or_else(Vec::new, |mac| endpoint.addresses.iter().map(|net| (net.addr(), mac)).collect())
}

/// An endpoint as it was and as it is.
pub(super) type Differs<'a> = (Option<&'a Endpoint>, Option<&'a Endpoint>);

/// The MAC by which the LAN knows an endpoint: that of its link, or the parent's if the link shares it.
pub(super) fn mac_on_lan(state: &State, endpoint: &Endpoint, host: &View) -> Option<Mac> {
    let network = state.network_of(endpoint)?;
    let shared = || host.link(&network.parent).filter(|_| network.kind.shares_parents_mac())?.mac;
    endpoint.mac_on_lan().or_else(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIC: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const SHIM: Mac = Mac([2, 0, 0, 0, 0, 8]);
    const OTHER_LINK: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const WEB: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const DB: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 88, last])
    }

    /// A host at .9 with containers at .192 and .193. The second one shares the NIC's MAC. The shim sends
    /// probes.
    fn own(now: Instant) -> Own {
        let host = (BTreeSet::from([NIC, SHIM, OTHER_LINK]), BTreeSet::from([ip(9)]));
        let mut own = Own { host, asking: BTreeSet::from([NIC, SHIM]), ..Own::default() };
        own.hold(BTreeSet::from([(ip(192), WEB), (ip(193), NIC)]), now);
        own
    }

    #[test]
    fn each_mac_speaks_for_its_own_addresses_alone() {
        let now = Instant::now();
        let own = own(now);
        // A MAC, and whether it may claim the address of the host, of each container, and a free one.
        let cases = [
            (WEB, [false, true, false, false]),
            (DB, [false, false, false, false]),
            (NIC, [true, false, true, false]),
            (SHIM, [true, false, false, false]),
            (OTHER_LINK, [true, false, false, false]),
        ];
        for (sender, may) in cases {
            let may_claim = [9, 192, 193, 194]
                .map(|last| own.may_say(&Heard { sender, ip: ip(last), claims: true }, now));
            assert_eq!(may_claim, may, "{sender}");
            // A virtual machine behind another link of the host may have that link's MAC.
            let may_look = own.may_say(&Heard { sender, ip: ip(194), claims: false }, now);
            assert_eq!(may_look, [NIC, SHIM].contains(&sender), "{sender}");
        }
    }

    #[test]
    fn one_that_comes_or_has_left_speaks_for_its_addresses_for_some_seconds() {
        let start = Instant::now();
        let mut own = own(start);
        own.comes(ip(194), DB, start);
        own.hold(BTreeSet::new(), start);
        let late = start + BEFORE_AND_AFTER;
        for (last, mac) in [(192, WEB), (193, NIC), (194, DB)] {
            assert!(own.may_have(ip(last), mac, start), "{mac}");
            assert!(!own.may_have(ip(last), mac, late), "{mac}");
            assert!(!own.may_have(ip(last + 1), mac, start), "{mac}");
        }
        // It has come, and stays.
        own.hold(BTreeSet::from([(ip(194), DB)]), start);
        assert!(own.may_have(ip(194), DB, late));
        own.hold(BTreeSet::from([(ip(194), DB)]), late);
        assert!(own.left.is_empty() && own.comes.is_empty(), "nothing is kept of those that are gone");
    }

    #[test]
    fn to_a_new_look_one_that_has_left_is_any_other_machine_unless_it_is_looked_for_itself() {
        let now = Instant::now();
        let mut own = own(now);
        own.comes(ip(192), WEB, now);
        assert!(!own.has_left(ip(192), WEB, now), "it has it");
        own.hold(BTreeSet::new(), now);
        assert!(own.has_left(ip(192), WEB, now) && own.may_have(ip(192), WEB, now));
        let later = |seconds| own.is_leaving(ip(192), WEB, now + Duration::from_secs(seconds));
        assert!(later(0) && later(2) && !later(3) && !later(20), "its link is gone by then");
        own.comes(ip(192), DB, now);
        assert!(own.has_left(ip(192), WEB, now) && !own.has_left(ip(192), DB, now));
        own.comes(ip(192), WEB, now);
        assert!(!own.has_left(ip(192), WEB, now), "a router may answer with its MAC");
        assert!(!own.may_have(ip(192), DB, now), "it was looked for, and did not come");
    }
}
