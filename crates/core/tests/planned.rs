//! What every kind of network requires of a host, and the plan when one thing on the host is not as it should
//! be. All of it is in the file `planned.txt`, as the commands that a person would type. A change there is a
//! change of what Ashore does to hosts and containers.
//!
//! `ASHORE_WRITE_PLANNED=1 cargo test -p ashore-core --test planned` writes the file again. Review it before
//! you commit it.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use ashore_core::model::endpoint::{Endpoint, Placement, Stage};
use ashore_core::model::identity::Seed;
use ashore_core::model::learned::{Learned, LearnedAddress, LearnedRouter};
use ashore_core::model::lease::{LeaseRecord, LeaseWishes, Release};
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::model::state::{Change, State};
use ashore_core::net::kind::{LinkKind, MacvlanMode};
use ashore_core::net::link::{Netns, Place, engine_link_name};
use ashore_core::net::observed::{Observed, ObservedKind, ObservedRoute, View, Ways};
use ashore_core::net::step::{ROUTE_PROTOCOL, Route};
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::plan;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::{AttachSpec, FromLan};
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::leases::LeaseOutcome;
use ashore_wire::Mac;
use ashore_wire::dhcp4::{self, Lease};
use model::Model;

/// A network, and the request that makes it.
struct Case {
    what: &'static str,
    parent: &'static str,
    network: String,
    /// Whether everything that can be wrong is tried, in addition to making and removing.
    closely: bool,
}

const LAN: &str = r#""subnets":["192.168.88.0/24","fd88::/64"],"gateways":["192.168.88.1","fd88::1"],
                     "ranges":["192.168.88.192/27","fd88::c0/123"]"#;
const LAN4: &str =
    r#""subnets":["192.168.88.0/24"],"gateways":["192.168.88.1"],"ranges":["192.168.88.192/27"]"#;

fn cases() -> Vec<Case> {
    let both = |more: &str| format!("{LAN}{}{more}", if more.is_empty() { "" } else { "," });
    let v4 = |more: &str| format!("{LAN4}{}{more}", if more.is_empty() { "" } else { "," });
    let far = r#""subnets":["10.0.20.0/24"],"gateways":["10.0.20.1"],"ranges":["10.0.20.32/29"]"#;
    let far = |more: &str| format!("{far}{}{more}", if more.is_empty() { "" } else { "," });
    let on_nic = |what, network| Case { what, parent: r#""parent":"eth0""#, network, closely: false };
    let on_bridge =
        |what, network| Case { what, parent: r#""parent":"br0","kind":"bridge""#, network, closely: false };
    let closely = |case| Case { closely: true, ..case };
    vec![
        closely(on_nic("macvlan", both(""))),
        closely(on_nic(
            "macvlan with a numbered shim",
            both(r#""aux":[["host","192.168.88.222"],["host","fd88::de"]]"#),
        )),
        on_nic(
            "macvlan with a numbered shim and no range",
            r#""subnets":["192.168.88.0/24"],"gateways":["192.168.88.1"],"aux":[["host","192.168.88.222"]]"#
                .into(),
        ),
        on_nic(
            "macvlan with a numbered shim and the whole subnet for a range",
            r#""subnets":["192.168.88.0/24"],"gateways":["192.168.88.1"],"ranges":["192.168.88.0/24"],
               "aux":[["host","192.168.88.222"]]"#
                .into(),
        ),
        on_nic("macvlan that the host has no way to", both(r#""host_access":false"#)),
        on_nic("macvlan without a way out", both(r#""internal":true"#)),
        on_nic("macvlan with an MTU and a queue", v4(r#""mtu":1400,"bc_queue_len":2000"#)),
        on_nic("macvlan, private", v4(r#""kind":{"macvlan":"private"}"#)),
        on_nic("macvlan, vepa", v4(r#""kind":{"macvlan":"vepa"}"#)),
        closely(on_nic("ipvlan, l2", both(r#""kind":{"ipvlan":"l2"}"#))),
        on_nic("ipvlan, l3", both(r#""kind":{"ipvlan":"l3"}"#)),
        on_nic("ipvlan, l3s", both(r#""kind":{"ipvlan":"l3s"}"#)),
        closely(on_nic("IPv6 by the routers", v4(r#""ipv6":"auto""#))),
        on_nic("IPv6 off", v4(r#""ipv6":"off""#)),
        closely(on_nic("leases", r#""subnets":["192.168.88.0/24"],"addressing":"dhcp""#.into())),
        on_nic("a VLAN", far(r#""vlan":200"#)),
        closely(on_nic(
            "a VLAN that is told to the switch",
            far(r#""vlan":200,"gvrp":true,"aux":[["host","10.0.20.38"]]"#),
        )),
        on_bridge("a bridge", far("")),
        closely(on_bridge("a bridge, isolated and with hairpin", far(r#""port":["isolated","hairpin"]"#))),
        on_bridge("a VLAN of a bridge", far(r#""vlan":20"#)),
        closely(on_bridge("a VLAN of a bridge, numbered", far(r#""vlan":20,"aux":[["host","10.0.20.38"]]"#))),
        on_bridge("a VLAN of a bridge, tagged", far(r#""vlan":20,"tagged":true"#)),
    ]
}

struct World {
    state: State,
    model: Model,
    netns: Netns,
}

/// A container with an endpoint named `web`.
fn container() -> Netns {
    Netns::new("/run/netns/web".into(), 4, 7)
}

fn lease() -> Lease {
    let route =
        |to: &str, via: &str| dhcp4::Route { to: to.parse().unwrap(), via: Some(via.parse().unwrap()) };
    Lease {
        address: "192.168.88.100/24".parse().unwrap(),
        server: "192.168.88.1".parse().unwrap(),
        term: None,
        routes: vec![route("0.0.0.0/0", "192.168.88.1"), route("10.9.0.0/16", "192.168.88.2")],
        dns: Vec::new(),
        domain: None,
        search: Vec::new(),
        ntp: Vec::new(),
        mtu: Some(1400),
        broadcast: None,
    }
}

fn record() -> LeaseRecord {
    let (name, scope) = ("web".parse().unwrap(), ashore_core::model::identity::Scope("lan".into()));
    LeaseRecord {
        lease: lease(),
        since: 1,
        id: Seed([3; 16]).client_id(&scope, &name, 0),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        parent: None,
        from: None,
        release: Release::default(),
    }
}

/// Addresses in two prefixes, one of them deprecated, and a router that advertises an MTU.
fn learned() -> Learned {
    let address = |ip: &str, prefix: &str, deprecated| LearnedAddress {
        ip: ip.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
        on_link: true,
        leased: false,
        deprecated,
        preferred: None,
        valid: None,
    };
    Learned {
        addresses: vec![
            address("fd88::1234", "fd88::/64", false),
            address("2001:db8:1::1234", "2001:db8:1::/64", true),
        ],
        router: Some(LearnedRouter { ip: "fe80::1".parse().unwrap(), until: None }),
        routes: vec![("fd99::/48".parse().unwrap(), "fe80::2".parse().unwrap())],
        mtu: Some(1300),
        ..Learned::default()
    }
}

impl World {
    fn of(case: &Case) -> World {
        let mut model = Model::new();
        model.add_bridge();
        let text = format!(r#"{{"name":"lan",{},{}}}"#, case.parent, case.network);
        let spec: NetworkSpec =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.what));
        let network = spec.completed(&model.observed.host).and_then(|spec| spec.network()).unwrap();
        network.check(&model.observed.host).unwrap();
        let mut state = State::new(Seed([3; 16]));
        state.apply(Change::PutNetwork(network));
        let netns = container();
        model.open(&netns);
        World { state, model, netns }
    }

    /// The endpoint as an attach would make it. Its parent may have to be made first.
    fn draft(&self) -> Endpoint {
        let spec = AttachSpec {
            network: "lan".parse().unwrap(),
            name: "web".parse().unwrap(),
            netns: self.netns.path.clone(),
            ips: Vec::new(),
            mac: None,
            ifname: "eth0".parse().unwrap(),
            default_route: true,
            own_routes: OwnRoutes::default(),
            unaddressed: false,
            only_requested: false,
            wishes: LeaseWishes::default(),
            caller: None,
        };
        let (heard, answered, held) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let host = &self.model.observed.host;
        let known = AddressesInUse { host, heard: &heard, answered: &answered, held: &held };
        let network = &self.state.networks[&spec.network];
        let is_leased = network.leases(ashore_core::net::family::Family::Ipv4);
        let record = record();
        let leased = if is_leased { LeaseOutcome::Got(&record) } else { LeaseOutcome::NotYet };
        let learned = network.follows_routers().then(|| Box::new(learned()));
        let inside = &self.model.observed.netns[&self.netns];
        self.state.draft(&spec, &self.netns, inside, &known, FromLan { leased, learned }, 1).unwrap()
    }

    fn put(&mut self, endpoint: Endpoint) {
        self.state.apply(Change::PutEndpoint(endpoint));
    }

    fn web(&self) -> Endpoint {
        self.state.endpoints.values().next().unwrap().clone()
    }

    /// The planned steps as commands that a person would type, and what is in their way.
    fn planned(&self) -> Vec<String> {
        let plan = plan(&desired(&self.state, &self.model.observed), &self.model.observed);
        let blocked =
            plan.blocked.iter().map(|blocked| format!("in the way: {blocked} (try: {})", blocked.remedy()));
        plan.steps.iter().map(ToString::to_string).chain(blocked).collect()
    }

    fn carry_out(&mut self) {
        let plan = plan(&desired(&self.state, &self.model.observed), &self.model.observed);
        for step in &plan.steps {
            self.model.apply(step).unwrap();
        }
    }

    /// The link in the container goes with its parent, which is then back.
    fn loses_its_link(&mut self) {
        let view = self.model.observed.netns.get_mut(&self.netns).unwrap();
        let gone = view.link(&"eth0".parse().unwrap()).unwrap().clone();
        view.links.retain(|link| link.index != gone.index);
        view.addresses.retain(|there| there.index != gone.index);
        view.neighbours.retain(|there| there.index != gone.index);
        view.routes.retain(|there| there.route.dev != gone.name);
        self.model.observed.unlinked.insert(self.web().key());
    }

    /// An engine has moved and renamed the link, and has set everything but the routes to the host.
    fn is_an_engines(&mut self) {
        let web = self.web();
        let ifname = engine_link_name(&web.network, &web.name);
        let sandbox = Some(self.netns.path.clone());
        self.put(Endpoint {
            placement: Placement::Engine { id: Some("4711".into()), ifname, sandbox, inside: None },
            ..web
        });
        self.model.observed.paths.insert(self.netns.path.clone(), self.netns.clone());
        for change in self.state.sightings(&self.model.observed) {
            self.state.apply(change);
        }
    }
}

/// Everything that can be wrong in one place, one thing at a time: a description, and the view with the
/// fault.
struct Wrongs<'a> {
    observed: &'a Observed,
    place: &'a Place,
    all: Vec<(String, Observed)>,
}

impl<'a> Wrongs<'a> {
    fn of(observed: &'a Observed, place: &'a Place) -> Vec<(String, Observed)> {
        let mut wrongs = Wrongs { observed, place, all: Vec::new() };
        let view = match place {
            Place::Host => &observed.host,
            Place::Netns(netns) => &observed.netns[netns],
        };
        wrongs.links(view);
        wrongs.routes(view);
        wrongs.all
    }

    fn add(&mut self, what: String, change: impl Fn(&mut View)) {
        let mut there = self.observed.clone();
        change(match self.place {
            Place::Host => &mut there.host,
            Place::Netns(netns) => there.netns.get_mut(netns).unwrap(),
        });
        self.all.push((what, there));
    }

    fn links(&mut self, view: &View) {
        let other = Mac([2, 0, 0, 0, 0, 0x77]);
        for (at, link) in view.links.iter().enumerate().filter(|(_, link)| link.alias.is_some()) {
            let name = link.name.to_string();
            self.add(format!("{name} is gone"), |view| {
                view.links.remove(at);
                view.addresses.retain(|there| there.index != link.index);
                view.neighbours.retain(|there| there.index != link.index);
                view.routes.retain(|there| there.route.dev != link.name);
            });
            self.add(format!("{name} has no alias"), |view| view.links[at].alias = None);
            self.add(format!("{name} has another MAC"), |view| view.links[at].mac = Some(other));
            self.add(format!("{name} has another MTU"), |view| view.links[at].mtu = 1280);
            self.add(format!("{name} is down"), |view| view.links[at].up = false);
            self.add(format!("{name} is on another link"), |view| {
                view.links[at].lower = view.links[at]
                    .lower
                    .map(|lower| ashore_core::net::observed::Lower { index: 99, ..lower });
            });
            self.add(format!("{name} is of another bridge, or of none"), |view| view.links[at].master = None);
            self.add(format!("{name} is another kind of port"), |view| {
                let port = std::mem::take(&mut view.links[at].port);
                let all = ashore_core::net::kind::PortOption::ALL.into_iter();
                view.links[at].port = all.filter(|option| !port.contains(option)).collect();
            });
            self.add(format!("{name} is in other VLANs"), |view| {
                if let Some(vlans) = &mut view.links[at].vlans {
                    let tagged = ashore_core::net::vlan::Membership::TAGGED;
                    *vlans = [(30.try_into().unwrap(), tagged)].into();
                }
            });
            self.add(format!("{name} has another mode"), |view| match &mut view.links[at].kind {
                ObservedKind::Macvlan { mode, .. } => {
                    *mode = match *mode {
                        Some(MacvlanMode::Vepa) => Some(MacvlanMode::Private),
                        _ => Some(MacvlanMode::Vepa),
                    }
                }
                ObservedKind::Vlan { gvrp, .. } => *gvrp = !*gvrp,
                _ => {}
            });
            self.add(format!("{name} is something else"), |view| {
                view.links[at].kind = ObservedKind::Physical;
            });
            self.add(format!("{name} has other sysctls"), |view| {
                let link = &mut view.links[at];
                (link.arp_filter, link.accept_ra, link.disable_ipv6) = (Some(7), Some(7), Some(7));
            });
            self.add(format!("{name} has an address more"), |view| {
                let net = "192.168.88.77/24".parse().unwrap();
                let there = view.addresses.first().cloned();
                view.addresses.extend(there.map(|there| ashore_core::net::observed::LinkAddress {
                    index: link.index,
                    net,
                    ..there
                }));
            });
            for (at, there) in
                view.addresses.iter().enumerate().filter(|(_, there)| there.index == link.index)
            {
                self.add(format!("{name} has no {}", there.net), |view| {
                    view.addresses.remove(at);
                });
            }
            for (at, there) in
                view.neighbours.iter().enumerate().filter(|(_, there)| there.index == link.index)
            {
                self.add(format!("{name} does not know {}", there.ip), |view| {
                    view.neighbours.remove(at);
                });
                self.add(format!("{name} knows {} by another MAC", there.ip), |view| {
                    view.neighbours[at].mac = other;
                });
            }
        }
    }

    fn routes(&mut self, view: &View) {
        for (at, there) in
            view.routes.iter().enumerate().filter(|(_, there)| there.protocol == ROUTE_PROTOCOL)
        {
            let to = there.route.to;
            self.add(format!("there is no route to {to}"), |view| {
                view.routes.remove(at);
            });
            self.add(format!("the route to {to} leads elsewhere"), |view| {
                view.routes[at].route.dev = "lo".parse().unwrap();
            });
            self.add(format!("the route to {to} is somebody else's"), |view| {
                view.routes[at].protocol = 3;
                view.routes[at].route.dev = "lo".parse().unwrap();
            });
            self.add(format!("the route to {to} is of another source"), |view| {
                view.routes[at].route.src = match to.addr() {
                    std::net::IpAddr::V4(_) => "10.0.0.77".parse().ok(),
                    std::net::IpAddr::V6(_) => "fd77::77".parse().ok(),
                };
            });
            self.add(format!("there is a route to {to} and to one more"), |view| {
                let mut more = view.routes[at].clone();
                more.route.to = "10.77.0.0/16".parse().unwrap();
                view.routes.push(more);
            });
        }
    }
}

/// A host that has a single address of a prefix, as a DHCPv6 server assigns it, does not know from it what is
/// on the link. If the host trusted what a container learnt about the prefix, it would send packets through
/// the shim that belong elsewhere.
#[test]
fn the_host_goes_by_its_shim_to_an_advertised_prefix_only_where_its_own_routes_say_that_it_is_there() {
    let case = cases().into_iter().find(|case| case.what == "IPv6 by the routers").unwrap();
    let at: ipnet::IpNet = "2001:db8:1::1234/128".parse().unwrap();
    let way = |to: &str, via: Option<&str>, dev: &str| hosts_route(to, via, dev, 4, 1024);
    for (what, own, route, expected) in [
        ("nothing else", "2001:db8:1::9/128", None, false),
        ("an address of the whole prefix", "2001:db8:1::9/64", None, true),
        ("a route by the parent", "2001:db8:1::9/128", Some(way("2001:db8:1::/64", None, "eth0")), true),
        (
            "a route by the parent to a part",
            "2001:db8:1::9/128",
            Some(way("2001:db8:1::1200/120", None, "eth0")),
            true,
        ),
        (
            "a route to another part",
            "2001:db8:1::9/128",
            Some(way("2001:db8:1::100/120", None, "eth0")),
            false,
        ),
        (
            "a route by another interface",
            "2001:db8:1::9/128",
            Some(way("2001:db8:1::/64", None, "wg0")),
            false,
        ),
        (
            "a route by a router",
            "2001:db8:1::9/128",
            Some(way("2001:db8:1::/64", Some("fd88::1"), "eth0")),
            false,
        ),
        ("a way to everywhere", "2001:db8:1::9/128", Some(way("::/0", None, "eth0")), false),
    ] {
        let mut world = World::of(&case);
        let host = &mut world.model.observed.host;
        let nic = host.addresses.iter().find(|there| there.net.addr().is_ipv6()).unwrap().clone();
        host.addresses.push(ashore_core::net::observed::LinkAddress { net: own.parse().unwrap(), ..nic });
        host.routes.extend(route);
        let web = world.draft();
        world.put(Endpoint { stage: Stage::Attached, ..web });
        let wanted = desired(&world.state, &world.model.observed);
        let shim = wanted.host.iter().find(|link| link.spec.name.as_str() == "shim-eth0").unwrap();
        let there = shim.routes.iter().find(|route| route.to == at);
        assert_eq!(there.is_some(), expected, "{what}");
        assert!(there.is_none_or(|route| route.src == Some("2001:db8:1::9".parse().unwrap())), "{what}");
    }
}

#[test]
fn an_advertised_route_does_not_lead_around_the_host() {
    let case = cases().into_iter().find(|case| case.what == "IPv6 by the routers").unwrap();
    let mut world = World::of(&case);
    let mut web = world.draft();
    let router: std::net::Ipv6Addr = "fe80::2".parse().unwrap();
    let host = &world.model.observed.host.addresses;
    let host = host.iter().find(|there| there.net.addr().is_ipv6() && !there.link_scope).unwrap().net.addr();
    let own = format!("{host}/128");
    let learned = web.learned.as_mut().unwrap();
    learned.routes =
        [own.as_str(), "fd88::/65", "fd99::/48"].map(|to| (to.parse().unwrap(), router)).to_vec();
    world.put(Endpoint { stage: Stage::Attached, ..web });
    let wanted = desired(&world.state, &world.model.observed);
    let given = wanted.netns[&world.netns].iter().flat_map(|link| &link.routes);
    let by_router: Vec<String> =
        given.filter(|route| route.via == Some(router.into())).map(|route| route.to.to_string()).collect();
    assert_eq!(by_router, ["fd99::/48"]);
}

#[test]
fn a_leased_mtu_takes_no_ipv6_off_a_link_and_without_ipv6_there_is_nothing_to_set() {
    for (ipv6, leased, expected, is_set) in [
        ("auto", 1279, None, true),
        ("auto", 1280, Some(1280), true),
        ("off", 1279, Some(1279), false),
        ("off", 1280, Some(1280), true),
    ] {
        let network = format!(r#""subnets":["192.168.88.0/24"],"addressing":"dhcp","ipv6":"{ipv6}""#);
        let case = Case { what: "leases", parent: r#""parent":"eth0""#, network, closely: false };
        let mut world = World::of(&case);
        let mut web = world.draft().without_learned();
        web.lease.as_mut().unwrap().lease.mtu = Some(leased);
        world.put(Endpoint { stage: Stage::Attached, ..web });
        let wanted = desired(&world.state, &world.model.observed);
        let eth0 = &wanted.netns[&world.netns][0];
        assert_eq!((eth0.spec.mtu, !eth0.sysctls.is_empty()), (expected, is_set), "{ipv6} {leased}");
    }
}

fn tell(text: &mut String, what: &str, lines: &[String]) {
    writeln!(text, "{what}:").unwrap();
    if lines.is_empty() {
        writeln!(text, "    nothing").unwrap();
    }
    for line in lines {
        writeln!(text, "    {line}").unwrap();
    }
}

fn everything() -> String {
    let mut text = String::new();
    for case in cases() {
        writeln!(text, "# {}\n", case.what).unwrap();
        let mut world = World::of(&case);
        tell(&mut text, "with its first network", &world.planned());
        world.carry_out();
        let web = world.draft();
        world.put(web);
        tell(&mut text, "with its first endpoint", &world.planned());
        world.carry_out();
        let web = world.web();
        world.put(Endpoint { stage: Stage::Attached, ..web });
        assert_eq!(world.planned(), [""; 0], "{}", case.what);
        let whole = world.model.observed.clone();
        for place in [Place::Host, Place::Netns(world.netns.clone())] {
            for (what, observed) in Wrongs::of(&whole, &place).into_iter().filter(|_| case.closely) {
                world.model.observed = observed;
                let inside = if place == Place::Host { "" } else { "in the container " };
                let planned = world.planned();
                if !planned.is_empty() {
                    tell(&mut text, &format!("where {inside}{what}"), &planned);
                }
            }
        }
        world.model.observed = whole.clone();
        let web = world.web();
        world.put(Endpoint { stage: Stage::Detaching, ..web.clone() });
        tell(&mut text, "when the endpoint goes", &world.planned());
        world.put(web);
        let kind = world.state.networks.values().next().unwrap().kind;
        if matches!(kind, LinkKind::Macvlan(_)) {
            world.is_an_engines();
            tell(&mut text, "where it is an engine's", &world.planned());
            world.carry_out();
            world.loses_its_link();
            tell(&mut text, "where it is an engine's, and has gone with its parent", &world.planned());
            world.carry_out();
            assert_eq!(world.planned(), [""; 0], "{}", case.what);
        }
        text.push('\n');
    }
    text
}

/// A route of the host's own.
fn hosts_route(to: &str, via: Option<&str>, dev: &str, protocol: u8, metric: u32) -> ObservedRoute {
    let (to, via) = (to.parse().unwrap(), via.map(|via| via.parse().unwrap()));
    let route = Route { to, via, dev: dev.parse().unwrap(), src: None, metric: None };
    ObservedRoute { route, protocol, metric, onlink: false, ways: Ways::One }
}

#[test]
fn what_is_planned_is_what_is_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planned.txt");
    let planned = everything();
    if std::env::var_os("ASHORE_WRITE_PLANNED").is_some() {
        std::fs::write(&path, &planned).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let mut section = "";
    for (line, (planned, written)) in planned.lines().zip(written.lines()).enumerate() {
        if written.starts_with('#') {
            section = written;
        }
        assert_eq!(planned, written, "line {}, {section}", line + 1);
    }
    assert_eq!(planned.lines().count(), written.lines().count());
}
