//! From the answers of DHCP servers and routers to the steps on the host and in the container. A client that
//! parses any input without a panic may still derive something from it that must not happen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use ashore_core::model::endpoint::{Endpoint, Source};
use ashore_core::model::identity::{Scope, Seed};
use ashore_core::model::lease::{LeaseRecord, Release};
use ashore_core::model::moment::Moment;
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::{Netns, Place};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Observed, Seat, View};
use ashore_core::net::step::Step;
use ashore_core::net::text::is_printable;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::plan;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::create::NetworkSpec;
use ashore_wire::dhcp4::Lease;
use ashore_wire::ndp::RouterAdvertisement;
use ashore_wire::{dhcp6, slaac};

use crate::{OURS, START};

/// The first byte selects who answers, and whether the container already has its link. The rest is the
/// answer.
pub fn steps(bytes: &[u8]) {
    let Some((first, said)) = bytes.split_first() else { return };
    let world = World::new(first & 4 != 0);
    let endpoints: Vec<Endpoint> = match first % 3 {
        0 => crate::dhcp4(said).into_iter().filter_map(|lease| world.with_lease(lease)).collect(),
        1 => crate::dhcp6(said).iter().filter_map(|held| world.with_learned(None, Some(held))).collect(),
        _ => RouterAdvertisement::parse(said)
            .and_then(|said| world.with_learned(Some(&said), None))
            .into_iter()
            .collect(),
    };
    for endpoint in endpoints {
        world.check(endpoint);
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
                       "addressing":"dhcp","ipv6":"auto"}"#;
        let spec: NetworkSpec = serde_json::from_str(spec).expect("the specification is valid");
        let network: Network =
            spec.completed(&observed.host).and_then(|spec| spec.network()).expect("it is complete");
        state.apply(Change::PutNetwork(network));
        let endpoint = r#"{"network":"lan","name":"web","mac":"02:00:00:00:00:07","addresses":[],"source":"lease",
            "default_route":true,"stage":"attached","since":1,"home":{"netns":{
            "netns":{"path":"/run/netns/web","dev":4,"ino":7},"ifname":"eth0"}}}"#;
        let endpoint: Endpoint = serde_json::from_str(endpoint).expect("the endpoint is valid");
        World { state, observed, netns, endpoint }
    }

    /// Returns `None` if the daemon declines the address.
    fn with_lease(&self, lease: Lease) -> Option<Endpoint> {
        let host = &self.observed.host;
        let routers: Vec<(IpAddr, u32)> = host
            .routes
            .iter()
            .filter_map(|there| Some((there.route.via?, host.link(&there.route.dev)?.index)))
            .collect();
        if self.state.is_never_leased(lease.address.addr().into(), host, &routers) {
            return None;
        }
        let (name, scope) = (self.endpoint.name.clone(), Scope("lan".into()));
        let addresses = vec![lease.address.into()];
        let id = Seed([3; 16]).client_id(&scope, &name, 0);
        let (parent, from) = (None, None);
        let record =
            LeaseRecord { lease, since: 1, id, mac: OURS, parent, from, release: Release::default() };
        Some(Endpoint {
            addresses,
            source: Source::Lease,
            lease: Some(Box::new(record)),
            ..self.endpoint.clone()
        })
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
        let (heard, answered, held_by_others) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let known = AddressesInUse {
            host: &self.observed.host,
            heard: &heard,
            answered: &answered,
            held: &held_by_others,
        };
        let network = self.state.networks.values().next().expect("there is one");
        let at = Moment { now, today: 1_000_000 };
        let learned = self.state.learn(network, &self.endpoint.name, &link.offer(now), held, &known, at);
        learned.map(|learned| self.endpoint.clone().with_learned(Some(learned)))
    }

    /// Asserts that every step planned for an endpoint is allowed.
    fn check(&self, endpoint: Endpoint) {
        let mut state = self.state.clone();
        state.apply(Change::PutEndpoint(endpoint));
        let plan = plan(&desired(&state, &self.observed), &self.observed);
        assert!(plan.blocked.is_empty(), "nothing from the LAN blocks a plan: {:?}", plan.blocked);
        for step in &plan.steps {
            let line = step.to_string();
            assert!(line.chars().all(is_printable), "{line:?}");
            assert!(self.may_be(step), "{line}");
        }
    }

    fn may_be(&self, step: &Step) -> bool {
        let inside = |place: &Place| *place == Place::Netns(self.netns.clone());
        match step {
            Step::SetRoute { place, route, .. } if inside(place) => !is_nowhere(route.to.addr()),
            Step::AddAddress { place, address, .. } if inside(place) => {
                let ip = address.net.addr();
                is_fit(ip) && !self.observed.host.has_address(ip)
            }
            Step::SetMtu { place, mtu, .. } if inside(place) => self.is_fit_mtu(*mtu),
            Step::AddLink { place, link } => {
                (inside(place) || self.is_ours(&link.name)) && link.mtu.is_none_or(|mtu| self.is_fit_mtu(mtu))
            }
            Step::SetRoute { route, .. } => {
                let host = &self.observed.host;
                let is_in_use = |ip: IpAddr| {
                    host.has_address(ip) || host.routes.iter().any(|there| there.route.via == Some(ip))
                };
                // The destination is a single address that is neither the host's nor one of its routers'.
                let is_single = route.to.prefix_len() == route.to.max_prefix_len();
                self.is_ours(&route.dev) && is_single && !is_in_use(route.to.addr())
            }
            Step::DelRoute { place, route } => inside(place) || self.is_ours(&route.dev),
            Step::DelLink { place, link }
            | Step::SetUp { place, link, .. }
            | Step::DelAddress { place, link, .. } => inside(place) || self.is_ours(link),
            _ => true,
        }
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
