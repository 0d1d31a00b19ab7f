//! From the answers of DHCP servers and routers to the steps on the host and in the container. A client that
//! parses any input without a panic may still derive something from it that must not happen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use ashore_core::model::endpoint::{Endpoint, Source};
use ashore_core::model::identity::{Scope, Seed};
use ashore_core::model::lease::{LeaseRecord, Release};
use ashore_core::model::moment::Moment;
use ashore_core::model::network::Network;
use ashore_core::model::owner::shim_mac;
use ashore_core::model::state::{Change, State};
use ashore_core::net::family::Family;
use ashore_core::net::link::{Netns, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Observed, Seat, View};
use ashore_core::net::step::{Address, Route, Step, SysctlKey};
use ashore_core::net::text::is_printable;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::{Blocked, plan};
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::create::NetworkSpec;
use ashore_wire::dhcp4::Lease;
use ashore_wire::ndp::{Preference, PrefixInformation, RouterAdvertisement};
use ashore_wire::{dhcp6, slaac};
use ipnet::{IpNet, Ipv6Net};

use crate::{OURS, START};

/// The router's address, which the network has as its gateway, and the host as its next hop.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);
/// An address that the network sets aside.
const AUX: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 3);
/// The subnet's network and broadcast address.
const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 88, 0), Ipv4Addr::new(192, 168, 88, 255)];
/// The router's IPv6 address, which it tells as its own.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 1);

/// The first byte selects who answers, and whether the container already has its link. The rest is the
/// answer.
pub fn steps(bytes: &[u8]) {
    let Some((first, said)) = bytes.split_first() else { return };
    let world = World::new(first & 4 != 0);
    let endpoints: Vec<Endpoint> = match first % 3 {
        0 => crate::dhcp4(said).into_iter().filter_map(|lease| world.with_lease(lease)).collect(),
        // A server may answer before a router has advertised, and after that.
        1 => crate::dhcp6(said)
            .iter()
            .flat_map(|held| [None, Some(advertisement())].map(|said| (said, held)))
            .filter_map(|(said, held)| world.with_learned(said.as_ref(), Some(held)))
            .collect(),
        _ => RouterAdvertisement::parse(&summed(said))
            .and_then(|said| world.with_learned(Some(&said), None))
            .into_iter()
            .collect(),
    };
    for endpoint in &endpoints {
        world.check(endpoint);
    }
}

/// The frame with the right `ICMPv6` checksum, which a fuzzer does not guess.
fn summed(frame: &[u8]) -> Vec<u8> {
    // Where the source address, the payload and the payload's checksum begin.
    const SOURCE: usize = 14 + 8;
    const PAYLOAD: usize = 14 + 40;
    const SUM: usize = PAYLOAD + 2;
    let mut frame = frame.to_vec();
    let length = frame.get(18..20).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let end = PAYLOAD + usize::from(length);
    if length < 4 || frame.len() < end {
        return frame;
    }
    frame[SUM..SUM + 2].fill(0);
    let words = frame[SOURCE..end].chunks(2).map(|pair| [pair[0], *pair.get(1).unwrap_or(&0)]);
    // The pseudo-header has the two addresses, the length, and ICMPv6's number (RFC 4443, 2.3).
    let mut sum = u32::from(length) + 58 + words.map(|word| u32::from(u16::from_be_bytes(word))).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[SUM..SUM + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame
}

/// What an ordinary router advertises.
fn advertisement() -> RouterAdvertisement {
    let net = Ipv6Net::new(ROUTER, 64).expect("64 bits fit").trunc();
    let (valid, preferred) = (7200, 3600);
    RouterAdvertisement {
        router: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
        mac: ashore_wire::Mac([2, 0, 0, 0, 0, 9]),
        managed: true,
        other: true,
        preference: Preference::Medium,
        lifetime: 1800,
        mtu: None,
        prefixes: vec![PrefixInformation {
            net,
            on_link: true,
            autonomous: true,
            valid,
            preferred,
            router: Some(ROUTER),
        }],
        routes: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
    }
}

/// A host on its LAN, and an endpoint whose addresses come from the LAN.
struct World {
    state: State,
    observed: Observed,
    netns: Netns,
    endpoint: Endpoint,
}

impl World {
    fn new(has_link: bool) -> Self {
        static HOST: OnceLock<View> = OnceLock::new();
        static CONTAINER: OnceLock<View> = OnceLock::new();
        let host = HOST.get_or_init(|| ashore_kernel::read::view(include_bytes!("../corpus/kernel/host")));
        let inside =
            CONTAINER.get_or_init(|| ashore_kernel::read::view(include_bytes!("../corpus/kernel/container")));
        let netns = Netns::new("/run/netns/web".into(), 4, 7);
        let mut inside = if has_link { inside.clone() } else { View::default() };
        // A dump does not tell which namespace a parent is in.
        for lower in inside.links.iter_mut().filter_map(|link| link.lower.as_mut()) {
            lower.seat = Seat::Host;
        }
        let observed =
            Observed { host: host.clone(), netns: [(netns.clone(), inside)].into(), ..Observed::default() };
        let mut state = State::new(Seed([3; 16]));
        let spec = r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"gateways":["192.168.88.1"],
                       "aux":[["nas","192.168.88.3"]],"addressing":"dhcp","ipv6":"auto"}"#;
        let spec: NetworkSpec = serde_json::from_str(spec).expect("the specification is valid");
        let network: Network =
            spec.completed(&observed.host).and_then(|spec| spec.network()).expect("it is complete");
        state.apply(Change::PutNetwork(network));
        let endpoint = r#"{"network":"lan","name":"web","mac":"02:00:00:00:00:07","addresses":[],"source":"lease",
            "default_route":true,"stage":"attached","since":1,"home":{"netns":{
            "netns":{"path":"/run/netns/web","dev":4,"ino":7},"ifname":"eth0"}}}"#;
        let mut endpoint: Endpoint = serde_json::from_str(endpoint).expect("the endpoint is valid");
        if has_link {
            endpoint.addresses.push("192.168.88.7/24".parse().expect("it is an address"));
        }
        World { state, observed, netns, endpoint }
    }

    /// Returns `None` if the daemon declines the address.
    fn with_lease(&self, lease: Lease) -> Option<Endpoint> {
        if self.is_declined(lease.address.addr().into(), &slaac::Offer::default()) {
            return None;
        }
        let (name, scope) = (self.endpoint.name.clone(), Scope("lan".into()));
        let id = Seed([3; 16]).client_id(&scope, &name, 0);
        let (parent, from) = (None, None);
        let record =
            LeaseRecord { lease, since: 1, id, mac: OURS, parent, from, release: Release::default() };
        let endpoint = Endpoint { source: Source::Lease, ..self.endpoint.clone() };
        Some(endpoint.with_lease(Some(record)))
    }

    /// Whether the daemon declines an address, whatever the LAN's probes show.
    fn is_declined(&self, ip: IpAddr, offer: &slaac::Offer) -> bool {
        let host = &self.observed.host;
        let routers: Vec<(IpAddr, u32)> = host
            .routes
            .iter()
            .filter_map(|there| Some((there.route.via?, host.link(&there.route.dev)?.index)))
            .collect();
        let is_routers = matches!(ip, IpAddr::V6(ip) if offer.is_routers(ip));
        is_routers || self.state.is_never_leased(ip, host, &routers)
    }

    fn with_learned(
        &self,
        said: Option<&RouterAdvertisement>,
        held: Option<&dhcp6::Held>,
    ) -> Option<Endpoint> {
        let now = START;
        let mut link = slaac::Link::new(now, 7);
        if let Some(said) = said {
            link.receive(said, now);
        }
        let offer = link.offer(now);
        let held = held.filter(|held| !self.is_declined(held.lease.address.into(), &offer));
        let (heard, answered, held_by_others) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let known = AddressesInUse {
            host: &self.observed.host,
            heard: &heard,
            answered: &answered,
            held: &held_by_others,
        };
        let network = self.state.networks.values().next().expect("there is one");
        let at = Moment { now, today: 1_000_000 };
        let learned = self.state.learn(network, &self.endpoint.name, &offer, held, &known, at);
        learned.map(|learned| self.endpoint.clone().with_learned(Some(learned)))
    }

    /// Asserts that every step planned for an endpoint is allowed, in its place among the others.
    fn check(&self, endpoint: &Endpoint) {
        let mut state = self.state.clone();
        state.apply(Change::PutEndpoint(endpoint.clone()));
        let plan = plan(&desired(&state, &self.observed), &self.observed);
        let blocked = plan.blocked.iter().find(|blocked| !blocked.is_of_extra());
        assert!(blocked.is_none(), "nothing from the LAN keeps an endpoint off it: {blocked:?}");
        let mut inside = Inside::of(self);
        inside.to_come.extend(plan.blocked.iter().filter_map(|blocked| match blocked {
            Blocked::Route { there, .. } => Some(there.route.to),
            _ => None,
        }));
        let own = |net: &IpNet| endpoint.addresses.iter().any(|own| own.trunc() == *net);
        assert!(!inside.to_come.iter().any(own), "a connected route is in the way: {:?}", plan.blocked);
        for step in &plan.steps {
            let line = step.to_string();
            assert!(line.chars().all(is_printable), "{line:?}");
            assert!(self.may_be(step, endpoint), "{line}");
            inside.take(step, &line);
        }
    }

    fn may_be(&self, step: &Step, endpoint: &Endpoint) -> bool {
        let inside = |place: &Place| *place == Place::Netns(self.netns.clone());
        match step {
            Step::SetRoute { place, route, .. } if inside(place) => !is_nowhere(route.to.addr()),
            Step::AddAddress { place, address, .. } if inside(place) => self.may_have(address.net),
            Step::SetMtu { place, mtu, .. } if inside(place) => self.is_fit_mtu(*mtu),
            Step::AddLink { place, link } => {
                (inside(place) || self.is_ours(&link.name)) && link.mtu.is_none_or(|mtu| self.is_fit_mtu(mtu))
            }
            Step::SetRoute { route, .. } => {
                let host = &self.observed.host;
                let is_in_use = |ip: IpAddr| {
                    host.has_address(ip) || host.routes.iter().any(|there| there.route.via == Some(ip))
                };
                // The destination is one address, the endpoint's, which is neither the host's nor one of its
                // routers'.
                let is_single = route.to.prefix_len() == route.to.max_prefix_len();
                let (to, is_ours) = (route.to.addr(), self.is_ours(&route.dev));
                is_ours && is_single && endpoint.holds(to) && !is_in_use(to)
            }
            Step::DelRoute { place, route } => inside(place) || self.is_ours(&route.dev),
            Step::DelLink { place, link }
            | Step::SetUp { place, link, .. }
            | Step::DelAddress { place, link, .. } => inside(place) || self.is_ours(link),
            _ => true,
        }
    }

    /// Whether an endpoint may have an address: a machine's, and nobody else's.
    fn may_have(&self, net: IpNet) -> bool {
        let (ip, host) = (net.addr(), &self.observed.host);
        let is_anycast = |net: IpNet| net.addr().is_ipv6() && net.prefix_len() < 127 && net.network() == ip;
        let is_end = |net: IpNet| match net {
            IpNet::V4(net) => net.prefix_len() < 31 && [net.network(), net.broadcast()].contains(&net.addr()),
            IpNet::V6(_) => is_anycast(net),
        };
        let others: [IpAddr; 4] = [GATEWAY.into(), AUX.into(), ENDS[0].into(), ENDS[1].into()];
        is_fit(ip)
            && !is_end(net)
            && !others.contains(&ip)
            && !host.has_address(ip)
            && !host.addresses.iter().any(|there| is_anycast(there.net))
            && !host.routes.iter().any(|there| there.route.via == Some(ip))
            // Before a router has told its own address, that is on no link.
            && !(ip == IpAddr::V6(ROUTER) && net.prefix_len() < 128)
    }

    /// Returns whether Ashore made the link: the endpoint's link or the shim.
    fn is_ours(&self, link: &IfName) -> bool {
        let name = link.to_string();
        name == "shim-eth0" || self.observed.host.link(link).is_none_or(|link| link.tag().is_some())
    }

    /// At least the size that every host accepts (RFC 791, 3.1), and at most the parent's MTU.
    fn is_fit_mtu(&self, mtu: u32) -> bool {
        let parent: IfName = "eth0".parse().expect("the name is valid");
        (576..=self.observed.host.link(&parent).map_or(u32::MAX, |link| link.mtu)).contains(&mtu)
    }
}

/// What the container's link has while the steps are carried out, one after the other.
struct Inside<'a> {
    world: &'a World,
    addresses: Vec<IpNet>,
    /// The destinations of its routes without a next hop.
    on_link: BTreeSet<IpNet>,
    mtu: u32,
    /// The routes that were set.
    set: BTreeSet<(IpNet, Option<u32>)>,
    /// The destinations of routes that come with the next plan, once those of an address that goes have gone.
    to_come: Vec<IpNet>,
}

impl<'a> Inside<'a> {
    fn of(world: &'a World) -> Self {
        let name: IfName = "eth0".parse().expect("the name is valid");
        let view = &world.observed.netns[&world.netns];
        let link = view.link(&name);
        let addresses = link.into_iter().flat_map(|link| view.addresses_of(link)).map(|there| there.net);
        let routes = view.routes.iter().map(|there| &there.route).filter(|route| route.dev == name);
        Inside {
            world,
            addresses: addresses.collect(),
            on_link: routes.filter(|route| route.via.is_none()).map(|route| route.to).collect(),
            mtu: link.or(world.observed.host.link(&name)).map_or(0, |link| link.mtu),
            set: BTreeSet::new(),
            to_come: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step, line: &str) {
        if *step.place() != Place::Netns(self.world.netns.clone()) {
            return;
        }
        match step {
            Step::AddLink { link, .. } => {
                let parent = self.world.observed.host.link(&link.name).map_or(0, |parent| parent.mtu);
                (self.addresses, self.on_link) = (Vec::new(), BTreeSet::new());
                self.mtu = link.mtu.unwrap_or(parent);
            }
            Step::SetMtu { mtu, .. } => self.mtu = *mtu,
            Step::AddAddress { address: Address { net, .. }, .. } => {
                assert!(net.addr().is_ipv4() || self.mtu >= 1280, "{line}: the MTU is {}", self.mtu);
                self.addresses.push(*net);
            }
            Step::DelAddress { address: Address { net, .. }, .. } => {
                self.addresses.retain(|there| there != net);
                self.on_link.remove(&net.trunc());
            }
            Step::SetSysctl { sysctl, value, .. } if sysctl.family == Family::Ipv6 => {
                let is_own = sysctl.link.as_str() == "eth0";
                assert!(!is_own || self.mtu >= 1280, "{line}: the MTU is {}", self.mtu);
                let is_mtu = sysctl.key == SysctlKey::Mtu;
                assert!(!is_mtu || (1280..=self.mtu.cast_signed()).contains(value), "{line}");
            }
            Step::SetRoute { route, instead_of, .. } => {
                if let Some(gone) = instead_of.as_ref().filter(|gone| gone.via.is_none()) {
                    self.on_link.remove(&gone.to);
                }
                assert!(self.set.insert((route.to, route.metric)), "{line}: the destination is set twice");
                self.check_route(route, line);
                if route.via.is_none() {
                    self.on_link.insert(route.to);
                }
            }
            Step::DelRoute { route, .. } if route.via.is_none() => {
                self.on_link.remove(&route.to);
            }
            _ => {}
        }
    }

    fn check_route(&self, route: &Route, line: &str) {
        let Route { to, via, .. } = route;
        let host = &self.world.observed.host;
        let is_part = |own: &IpNet| own.contains(&to.addr()) && own.prefix_len() < to.prefix_len();
        let has_host = host.addresses.iter().any(|there| to.contains(&there.net.addr()));
        let shim = host.link(&route.dev).and_then(shim_mac).map(|mac| IpAddr::V6(mac.link_local()));
        let takes_host = self.addresses.iter().any(is_part) && has_host;
        assert!(!takes_host || (via.is_some() && *via == shim), "{line}: it leads around the host");
        let Some(via) = *via else { return };
        let own = |net: &IpNet| to.prefix_len() > 0 && net.trunc() == *to;
        assert!(!self.addresses.iter().any(own), "{line}: the link's own prefix goes by a router");
        let is_none = |net: &IpNet| match net {
            IpNet::V4(net) => {
                net.prefix_len() < 31 && [net.network(), net.broadcast()].map(IpAddr::V4).contains(&via)
            }
            IpNet::V6(_) => false,
        };
        let is_machine = is_fit(via) && !self.addresses.iter().any(|net| net.addr() == via || is_none(net));
        assert!(is_machine, "{line}: the next hop is no other machine");
        let is_near = matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
        let mut nets = self.addresses.iter().chain(&self.on_link).chain(&self.to_come);
        assert!(is_near || nets.any(|net| net.contains(&via)), "{line}: the next hop is on no link");
    }
}

/// Destinations that a route must not have: this network, loopback, multicast, and the reserved class (RFC
/// 6890).
fn is_nowhere(ip: IpAddr) -> bool {
    match ip {
        // Except the default route.
        IpAddr::V4(ip) => {
            (ip.octets()[0] == 0 && !ip.is_unspecified())
                || ip.is_loopback()
                || ip >= Ipv4Addr::new(224, 0, 0, 0)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_multicast(),
    }
}

/// Returns whether a machine may have an address.
fn is_fit(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !is_nowhere(ip)
}

#[cfg(test)]
mod tests;
