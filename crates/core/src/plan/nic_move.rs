//! Moves a host's NIC into a bridge and out of it again, as steps there and steps back.
//!
//! The host may have no other interface. So nothing is taken from one link before the other link has it:
//! addresses are on both for a moment, and routes are replaced, never removed. All that sockets see is that
//! packets leave through another link.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::state::State;
use crate::net::family::Family;
use crate::net::link::{LinkSpec, LinkType, Place};
use crate::net::name::IfName;
use crate::net::observed::{Link, LinkAddress, ObservedKind, ObservedRoute, Seat, View};
use crate::net::step::{HostAddress, HostRoute, Route, Step, Sysctl, SysctlKey};
use crate::net::text::list;

mod error;

pub use error::BridgeError;

const RTPROT_REDIRECT: u8 = 1;
const RTPROT_KERNEL: u8 = 2;
const RTPROT_RA: u8 = 9;

/// Whether the NIC moves into the bridge or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into a bridge that is made for the NIC.
    Adopt,
    /// Out of the bridge, which is then deleted.
    Release,
}

/// A NIC's move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The direction of the move.
    pub direction: Direction,
    /// The NIC.
    pub nic: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// The steps that prepare the move. None of them moves anything of the host's.
    pub first: Vec<Step>,
    /// The steps that move the host. They are done once the link that it moves to can pass frames.
    pub then: Vec<Step>,
    /// The steps that cannot be undone. They are done once the move is there to stay.
    pub last: Vec<Step>,
    /// The router of the host's default route.
    pub router: Option<IpAddr>,
    /// Whether the host has an IPv4 address that expires, such as a DHCP lease.
    pub leased: bool,
}

impl Move {
    /// The link that the host moves to.
    pub fn to(&self) -> &IfName {
        match self.direction {
            Direction::Adopt => &self.bridge,
            Direction::Release => &self.nic,
        }
    }

    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.first.iter().chain(&self.then).chain(&self.last)
    }

    /// The steps back. They work from wherever the move has stopped, because each of them may be repeated.
    pub fn back(&self) -> Vec<Step> {
        let taken_back = |step: &Step| match step {
            // The bridge is deleted, so it need not be set down.
            Step::SetUp { link, up: true, .. }
                if self.direction == Direction::Adopt && *link == self.bridge =>
            {
                None
            }
            step => step.inverse(),
        };
        self.then.iter().rev().chain(self.first.iter().rev()).filter_map(taken_back).collect()
    }
}

impl State {
    /// Returns the move of a NIC into a new bridge, with all that the host has on the NIC. `unmovable` lists
    /// what is attached to the NIC and cannot be moved by steps.
    pub fn adopt_nic(
        &self,
        nic: &IfName,
        bridge: &IfName,
        host: &View,
        unmovable: &[String],
    ) -> Result<Move, BridgeError> {
        let link = self.fit_nic(nic, host, unmovable)?;
        if host.link(bridge).is_some() {
            return Err(BridgeError::BridgeExists(bridge.clone()));
        }
        let carried = Carried::of(host, link, bridge);
        let spec = LinkSpec { name: bridge.clone(), kind: LinkType::Bridge, mac: link.mac, mtu: None };
        let mut first = vec![Step::AddLink { place: Place::Host, link: spec }];
        first.extend(same_sysctls(link, bridge));
        first.push(Step::SetUp { place: Place::Host, link: bridge.clone(), up: true });
        // This comes before the kernel generates a link-local address of its own, for which it would first do
        // duplicate address detection.
        first.extend(carried.put_link_local);
        first.push(Step::SetMaster {
            place: Place::Host,
            link: nic.clone(),
            master: Some(bridge.clone()),
            was: None,
        });
        let mut then = carried.put;
        then.extend(carried.reroute);
        then.extend(carried.del);
        // Frames that arrive on a port belong to the bridge. An address that the kernel gave the port would
        // answer nobody, and its routes would lead nowhere.
        then.extend((link.disable_ipv6 == Some(0)).then(|| disable_ipv6(nic, true)));
        Ok(Move {
            direction: Direction::Adopt,
            nic: nic.clone(),
            bridge: bridge.clone(),
            first,
            then,
            last: Vec::new(),
            router: host.router_by(link),
            leased: host.is_leased(link),
        })
    }

    /// Returns the move of the NIC out of its bridge.
    pub fn release_nic(
        &self,
        nic: &IfName,
        bridge: &IfName,
        host: &View,
        unmovable: &[String],
    ) -> Result<Move, BridgeError> {
        let (port, link) = self.fit_bridge(nic, bridge, host, unmovable)?;
        let carried = Carried::of(host, link, nic);
        let ipv6 = link.disable_ipv6 == Some(0) && port.disable_ipv6 == Some(1);
        let mut then: Vec<Step> = ipv6.then(|| disable_ipv6(nic, false)).into_iter().collect();
        then.extend(carried.put_link_local);
        then.extend(carried.put);
        then.extend(carried.reroute);
        then.push(Step::SetMaster {
            place: Place::Host,
            link: nic.clone(),
            master: None,
            was: Some(bridge.clone()),
        });
        then.extend(carried.del);
        then.push(Step::SetUp { place: Place::Host, link: bridge.clone(), up: false });
        Ok(Move {
            direction: Direction::Release,
            nic: nic.clone(),
            bridge: bridge.clone(),
            first: Vec::new(),
            then,
            last: vec![Step::DelLink { place: Place::Host, link: bridge.clone() }],
            router: host.router_by(link),
            leased: host.is_leased(link),
        })
    }

    fn fit_nic<'a>(
        &self,
        nic: &IfName,
        host: &'a View,
        unmovable: &[String],
    ) -> Result<&'a Link, BridgeError> {
        let link = host.link(nic).ok_or_else(|| BridgeError::NoNic {
            nic: nic.clone(),
            present: list(host.links.iter().filter(|link| is_nic(link)).map(|link| &link.name)),
        })?;
        let unfit = |what: &str| Err(BridgeError::NicUnfit(nic.clone(), what.to_owned()));
        match &link.kind {
            ObservedKind::Loopback => return unfit("the loopback interface"),
            ObservedKind::Bridge => return unfit("a bridge itself"),
            ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. } | ObservedKind::Tap => {
                return unfit("a macvlan or ipvlan child");
            }
            _ if link.mac.is_none() => return unfit("a tunnel without Ethernet addresses"),
            _ if link.tag().is_some() => return unfit("one of Ashore's own links"),
            _ => {}
        }
        if let Some(master) = link.master {
            let master = host.link_at(master).map_or_else(|| "another link".into(), |m| m.name.to_string());
            return Err(BridgeError::NicIsPort { nic: nic.clone(), master });
        }
        if link.wireless {
            return Err(BridgeError::NicIsWifi(nic.clone()));
        }
        check_up(link)?;
        self.check_carries_no_network(nic, host)?;
        host.check_nothing_above(link)?;
        host.check_movable(link, unmovable)?;
        Ok(link)
    }

    fn check_carries_no_network(&self, link: &IfName, host: &View) -> Result<(), BridgeError> {
        match self.networks.values().find(|network| network.lower_device(host) == link) {
            None => Ok(()),
            Some(network) => Err(BridgeError::Carries {
                link: link.clone(),
                network: network.label().to_owned(),
                kind: network.kind,
                engine: network.ownership().engine(),
            }),
        }
    }

    fn fit_bridge<'a>(
        &self,
        nic: &IfName,
        bridge: &IfName,
        host: &'a View,
        unmovable: &[String],
    ) -> Result<(&'a Link, &'a Link), BridgeError> {
        let no_bridge = || BridgeError::NoBridge(bridge.clone());
        let link = host.link(bridge).filter(|link| link.kind == ObservedKind::Bridge);
        let link = link.ok_or_else(no_bridge)?;
        let ports = || host.links.iter().filter(|port| port.master == Some(link.index));
        let Some(port) = ports().find(|port| port.name == *nic) else {
            return Err(BridgeError::NotInIt {
                nic: nic.clone(),
                bridge: bridge.clone(),
                ports: list(ports().map(|port| &port.name)),
            });
        };
        self.check_carries_no_network(bridge, host)?;
        let mut others = ports().filter(|other| other.index != port.index).peekable();
        if others.peek().is_some() {
            let ports = list(others.map(|port| &port.name));
            return Err(BridgeError::OtherPorts { bridge: bridge.clone(), ports });
        }
        check_up(port)?;
        if link.mac != port.mac {
            return Err(BridgeError::OtherMac { nic: nic.clone(), bridge: bridge.clone() });
        }
        host.check_nothing_above(link)?;
        host.check_movable(link, unmovable)?;
        Ok((port, link))
    }
}

fn check_up(nic: &Link) -> Result<(), BridgeError> {
    if nic.up && nic.carrier {
        return Ok(());
    }
    Err(BridgeError::NicDown { nic: nic.name.clone(), up: nic.up })
}

impl View {
    /// Checks that no other link is on this one. A link has only one `rx_handler`, and a VLAN's frames would
    /// no longer be handled by the host itself.
    fn check_nothing_above(&self, link: &Link) -> Result<(), BridgeError> {
        let on_it = |upper: &&Link| {
            upper.lower.is_some_and(|lower| lower.seat == Seat::Here && lower.index == link.index)
        };
        match self.links.iter().filter(on_it).find(|upper| upper.kind != ObservedKind::Veth) {
            None => Ok(()),
            Some(upper) => Err(BridgeError::HasUpper {
                link: link.name.clone(),
                upper: upper.name.clone(),
                vlan: matches!(upper.kind, ObservedKind::Vlan { .. }),
            }),
        }
    }

    fn check_movable(&self, link: &Link, unmovable: &[String]) -> Result<(), BridgeError> {
        if let Some(there) = self.addresses_of(link).find(|there| there.peer.is_some()) {
            let what = format!("the point-to-point address {}", there.net.addr());
            return Err(BridgeError::Unmovable { link: link.name.clone(), what });
        }
        match unmovable.first() {
            None => Ok(()),
            Some(what) => Err(BridgeError::Unmovable { link: link.name.clone(), what: what.clone() }),
        }
    }

    /// The router of the default route through a link. IPv4 comes before IPv6.
    fn router_by(&self, link: &Link) -> Option<IpAddr> {
        let mut defaults: Vec<&ObservedRoute> = self
            .routes
            .iter()
            .filter(|there| there.route.to.prefix_len() == 0 && there.route.dev == link.name)
            .collect();
        defaults.sort_by_key(|there| (there.route.to.addr().is_ipv6(), there.metric));
        defaults.into_iter().find_map(|there| there.route.via)
    }

    fn is_leased(&self, link: &Link) -> bool {
        self.addresses_of(link).any(|there| there.net.addr().is_ipv4() && there.life.is_some())
    }
}

/// What the host has on a link, on its way to another link.
struct Carried {
    put_link_local: Vec<Step>,
    put: Vec<Step>,
    reroute: Vec<Step>,
    del: Vec<Step>,
}

impl Carried {
    fn of(host: &View, from: &Link, to: &IfName) -> Carried {
        let of_family =
            |family| host.addresses_of(from).filter(move |there| Family::of(there.net.addr()) == family);
        // The first IPv4 address is the primary one. Of IPv6 addresses the kernel lists the newest first.
        let mut addresses: Vec<&LinkAddress> = of_family(Family::Ipv6).collect();
        addresses.reverse();
        addresses.splice(0..0, of_family(Family::Ipv4));
        let put = |there: &&LinkAddress| Step::PutHostAddress {
            place: Place::Host,
            link: to.clone(),
            address: there.own(),
        };
        let del = |there: &&LinkAddress| Step::DelHostAddress {
            place: Place::Host,
            link: from.name.clone(),
            address: there.own(),
        };
        let (link_local, others): (Vec<&LinkAddress>, Vec<&LinkAddress>) =
            addresses.iter().partition(|there| there.link_scope && there.net.addr().is_ipv6());
        Carried {
            put_link_local: link_local.iter().map(put).collect(),
            put: others.iter().map(put).collect(),
            reroute: host.own_routes_by(from).map(|route| rerouted(route, to)).collect(),
            // The primary address is removed last: other addresses of its subnet may go with it
            // (`promote_secondaries`).
            del: addresses.iter().rev().map(del).collect(),
        }
    }
}

impl LinkAddress {
    fn own(&self) -> HostAddress {
        HostAddress {
            net: self.net,
            broadcast: self.broadcast,
            life: self.life,
            noprefixroute: self.noprefixroute,
        }
    }
}

impl View {
    /// The routes through a link that come neither with its addresses nor with router advertisements. Routes
    /// on the link come first, so that later next hops are reachable.
    fn own_routes_by<'a>(&'a self, link: &'a Link) -> impl Iterator<Item = &'a ObservedRoute> {
        let own = |there: &&ObservedRoute| {
            there.route.dev == link.name && !self.comes_with_address(there, link) && !is_learnt(there, link)
        };
        let (mut on_link, by_router): (Vec<_>, Vec<_>) =
            self.routes.iter().filter(own).partition(|there| there.route.via.is_none());
        on_link.extend(by_router);
        on_link.into_iter()
    }

    fn comes_with_address(&self, there: &ObservedRoute, link: &Link) -> bool {
        let of_prefix =
            |address: &LinkAddress| !address.noprefixroute && address.net.trunc() == there.route.to;
        there.protocol == RTPROT_KERNEL && self.addresses_of(link).any(of_prefix)
    }
}

/// Whether the kernel learnt a route from the LAN and will learn it again. A copy of such a route would keep
/// the kernel from following router advertisements (Linux 6.18, `ndisc_router_discovery`). With `accept_ra=0`
/// another program learns the routes.
fn is_learnt(there: &ObservedRoute, link: &Link) -> bool {
    let by_kernel = link.accept_ra.is_some_and(|accept_ra| accept_ra != 0);
    there.route.to.addr().is_ipv6()
        && (there.protocol == RTPROT_REDIRECT || there.protocol == RTPROT_RA && by_kernel)
}

fn rerouted(there: &ObservedRoute, to: &IfName) -> Step {
    let was = there.route.dev.clone();
    let route = Route { dev: to.clone(), ..there.route.clone() };
    let route = HostRoute { route, protocol: there.protocol, metric: there.metric, onlink: there.onlink };
    Step::Reroute { place: Place::Host, route, was }
}

/// Copies sysctls, so that the bridge treats packets as the NIC did. They affect no other link, so there is
/// nothing to undo.
fn same_sysctls(nic: &Link, bridge: &IfName) -> impl Iterator<Item = Step> {
    let keys = [
        (Family::Ipv4, SysctlKey::RpFilter),
        (Family::Ipv4, SysctlKey::ArpFilter),
        (Family::Ipv6, SysctlKey::AcceptRa),
        (Family::Ipv6, SysctlKey::DisableIpv6),
    ];
    let step = |(family, key)| {
        let sysctl = Sysctl { family, link: bridge.clone(), key };
        let value = nic.sysctl(key)?;
        Some(Step::SetSysctl { place: Place::Host, sysctl, value, was: None })
    };
    keys.into_iter().filter_map(step).collect::<Vec<_>>().into_iter()
}

fn disable_ipv6(link: &IfName, disabled: bool) -> Step {
    let sysctl = Sysctl { family: Family::Ipv6, link: link.clone(), key: SysctlKey::DisableIpv6 };
    let (value, was) = (i32::from(disabled), Some(i32::from(!disabled)));
    Step::SetSysctl { place: Place::Host, sysctl, value, was }
}

fn is_nic(link: &Link) -> bool {
    link.mac.is_some() && link.tag().is_none() && link.kind != ObservedKind::Bridge
}
