use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ashore_wire::slaac::{Lasting, OnLink, Prefix, Router};
use ashore_wire::{Boottime, Mac};
use ipnet::IpNet;

use super::*;
use crate::model::endpoint::{ByUser, Chosen, Placement, Source, Stage};
use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{LeaseRecord6, LeaseWishes};
use crate::model::own_routes::OwnRoutes;
use crate::model::ownership::Ownership;
use crate::model::state::Change;
use crate::net::kind::{IpvlanMode, LinkKind};
use crate::net::observed::View;
use crate::rules::create::{Ipv6Error, NetworkSpec};

pub(crate) fn network(ipv6: &str) -> Network {
    let text = format!(r#"{{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ipv6":"{ipv6}"}}"#);
    serde_json::from_str::<NetworkSpec>(&text).unwrap().network().unwrap()
}

pub(crate) fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        network: "lan".parse().unwrap(),
        name: name.parse().unwrap(),
        mac: None,
        addresses: vec!["192.168.88.32/24".parse().unwrap()],
        source: Source::Range,
        chosen: Chosen::default(),
        by_user: ByUser::default(),
        lease: None,
        lease6: None,
        wishes: LeaseWishes::default(),
        learned: None,
        lost: Vec::new(),
        stand_ins: Vec::new(),
        default_route: true,
        own_routes: OwnRoutes::default(),
        ownership: Ownership::Docker,
        placement: Placement::Engine {
            id: None,
            ifname: "ash0".parse().unwrap(),
            sandbox: None,
            inside: None,
        },
        stage: Stage::Attached,
        since: 1,
        tagged_as: None,
        seen: None,
        container: None,
    }
}

struct Lan {
    state: State,
    squatters: BTreeMap<IpAddr, Mac>,
    at: Moment,
}

impl Lan {
    fn new() -> Self {
        let mut state = State::new(Seed([7; 16]));
        state.apply(Change::PutNetwork(network("auto")));
        Lan {
            state,
            squatters: BTreeMap::new(),
            at: Moment { now: Boottime::after_boot(Duration::from_secs(1_000_000)), today: 1000 },
        }
    }

    /// An offer of prefixes, each with its preferred lifetime in seconds.
    fn offer(&self, prefixes: &[(&str, u64)]) -> Offer {
        let lasting = |seconds| Lasting(Some(self.at.now + Duration::from_secs(seconds)));
        let prefix = |(net, preferred): &(&str, u64)| Prefix {
            net: net.parse().unwrap(),
            on_link: true,
            preferred: lasting(*preferred),
            valid: lasting(7200),
        };
        let ip = "fe80::1".parse().unwrap();
        let router = Router { ip, preference: ashore_wire::ndp::Preference::Medium, until: lasting(1800) };
        Offer { routers: vec![router], prefixes: prefixes.iter().map(prefix).collect(), ..Offer::default() }
    }

    fn learn(&self, name: &str, offer: &Offer) -> Option<Box<Learned>> {
        self.learn_with(name, offer, None)
    }

    fn learn_with(&self, name: &str, offer: &Offer, lease: Option<&LeaseRecord6>) -> Option<Box<Learned>> {
        let (host, heard, held) = (View::default(), BTreeMap::new(), BTreeSet::new());
        let known = AddressesInUse { host: &host, heard: &heard, answered: &self.squatters, held: &held };
        self.state.learn(
            &self.state.networks[&"lan".parse().unwrap()],
            &name.parse().unwrap(),
            offer,
            lease.and_then(|record| record.held(self.at)).as_ref(),
            &known,
            self.at,
        )
    }

    fn attach(&mut self, name: &str, offer: &Offer) -> Endpoint {
        let learned = self.learn(name, offer);
        let endpoint = endpoint(name).with_learned(learned);
        for change in self.state.attached(&endpoint, 1) {
            self.state.apply(change);
        }
        endpoint
    }

    fn detach(&mut self, name: &str) {
        let endpoint = self.state.endpoints[&("lan".parse().unwrap(), name.parse().unwrap())].clone();
        for change in self.state.detached(&endpoint, 2) {
            self.state.apply(change);
        }
    }
}

fn v6(endpoint: &Endpoint) -> Vec<IpNet> {
    endpoint.addresses.iter().filter(|net| net.addr().is_ipv6()).copied().collect()
}

#[test]
fn a_name_has_one_address_in_a_prefix_for_life_and_every_name_and_prefix_another() {
    let (seed, other_host) = (Seed([7; 16]), Seed([8; 16]));
    let (lan, dmz) = (Scope("lan".into()), Scope("dmz".into()));
    let (web, db) = ("web".parse().unwrap(), "db".parse().unwrap());
    let (one, two): (Ipv6Net, Ipv6Net) = ("fd88::/64".parse().unwrap(), "fd89::/64".parse().unwrap());
    let first = |seed: &Seed, scope, name, prefix| seed.addresses(scope, name, prefix).next().unwrap();
    // Fixed values: if this changes, every container changes its address at the next upgrade.
    assert_eq!(first(&seed, &lan, &web, one).to_string(), "fd88::c7a:e572:a08e:34e6");
    let mut all: Vec<Ipv6Addr> = seed.addresses(&lan, &web, one).collect();
    assert_eq!(all.len(), TRIES);
    all.extend([
        first(&seed, &lan, &web, two),
        first(&seed, &lan, &db, one),
        first(&seed, &dmz, &web, one),
        first(&other_host, &lan, &web, one),
    ]);
    let ids: BTreeSet<u64> = all.iter().map(|ip| u128::from(*ip) as u64).collect();
    assert_eq!(ids.len(), all.len(), "two addresses have one identifier");
}

#[test]
fn a_name_comes_back_to_the_address_that_it_had_also_if_that_was_not_its_first() {
    let mut lan = Lan::new();
    let offer = lan.offer(&[("fd88::/64", 600)]);
    let first = v6(&lan.attach("web", &offer));
    lan.detach("web");
    assert_eq!(v6(&lan.attach("web", &offer)), first);
    lan.detach("web");
    lan.squatters.insert(first[0].addr(), Mac([2; 6]));
    let second = v6(&lan.attach("web", &offer));
    assert_ne!(second, first);
    lan.detach("web");
    lan.squatters.clear();
    assert_eq!(v6(&lan.attach("web", &offer)), second, "it keeps its address after the squatter is gone");
    let elsewhere = lan.offer(&[("fd89::/64", 600)]);
    lan.detach("web");
    lan.attach("web", &elsewhere);
    lan.detach("web");
    assert_eq!(v6(&lan.attach("web", &offer)), second, "after some time with another prefix");
}

#[test]
fn a_container_that_is_renamed_takes_its_address_along() {
    let mut lan = Lan::new();
    let offer = lan.offer(&[("fd88::/64", 600)]);
    let web = lan.attach("web", &offer);
    let renamed = Endpoint { name: "www".parse().unwrap(), ..web.clone() };
    lan.state.apply(Change::DelEndpoint((web.network.clone(), web.name.clone())));
    for change in lan.state.attached(&renamed, 2) {
        lan.state.apply(change);
    }
    assert_eq!(v6(&lan.attach("www", &offer)), v6(&web), "while it runs");
    lan.detach("www");
    let likely = lan.state.likely(&network("auto"), &renamed.name, &offer, lan.at);
    assert_eq!(likely, [v6(&web)[0].addr()]);
    // A new container with the old name gets another address, even while the renamed one is away.
    let likely = lan.state.likely(&network("auto"), &web.name, &offer, lan.at);
    let next = v6(&lan.attach("web", &offer));
    assert_ne!(next, v6(&web));
    assert_eq!(likely, [next[0].addr()]);
    lan.detach("web");
    assert_eq!(v6(&lan.attach("www", &offer)), v6(&web), "and when it comes back");
    assert_eq!(v6(&lan.attach("web", &offer)), next);
}

#[test]
fn a_name_whose_ipv4_address_has_become_anothers_has_its_ipv6_address_all_the_same() {
    let mut lan = Lan::new();
    let offer = lan.offer(&[("fd88::/64", 600)]);
    let web = lan.attach("web", &offer);
    lan.detach("web");
    lan.attach("db", &offer);
    let of = |lan: &Lan, name: &str| {
        lan.state.identities.get(&(Scope("lan".into()), name.parse().unwrap())).cloned()
    };
    let identity = of(&lan, "web").unwrap();
    assert!(identity.addresses.is_empty());
    assert_eq!(identity.made.iter().map(|ip| IpAddr::V6(*ip)).collect::<Vec<_>>(), [v6(&web)[0].addr()]);
    // A name that has nothing else is forgotten, because names come and go.
    lan.detach("db");
    lan.attach("cache", &Offer::default());
    lan.detach("cache");
    lan.attach("api", &Offer::default());
    assert_eq!((of(&lan, "cache"), of(&lan, "db").is_some()), (None, true));
}

#[test]
fn what_is_deprecated_is_kept_and_not_begun_and_what_ends_must_go() {
    let mut lan = Lan::new();
    let old = v6(&lan.attach("web", &lan.offer(&[("fd88::/64", 600)])));
    let both = lan.offer(&[("fd88::/64", 0), ("fd89::/64", 600)]);
    let web = lan.attach("web", &both);
    assert_eq!(v6(&web)[0], old[0]);
    let learned = web.learned.as_ref().unwrap();
    assert!(learned.addresses[0].deprecated && !learned.addresses[1].deprecated);
    assert_eq!((learned.addresses[1].valid, learned.router.unwrap().until), (Some(8200), Some(2800)));
    let db = lan.attach("db", &both);
    assert_eq!(v6(&db).len(), 1, "no new address of a deprecated prefix");
    let learned = lan.learn("web", &lan.offer(&[("fd89::/64", 600)]));
    let web = web.with_learned(learned);
    assert_eq!((web.addresses.len(), &web.lost), (2, &old));
    let back = lan.learn("web", &both);
    assert!(web.clone().with_learned(back).lost.is_empty());
    let bare = web.without_learned();
    assert_eq!((bare.addresses.len(), bare.lost.len(), bare.learned), (1, 0, None));
}

#[test]
fn what_was_written_down_is_recalled_as_far_as_it_lasts() {
    let lan = Lan::new();
    let offer = lan.offer(&[("fd88::/64", 600)]);
    let learned = lan.learn("web", &offer).unwrap();
    let text = serde_json::to_string(&learned).unwrap();
    assert_eq!(serde_json::from_str::<Learned>(&text).unwrap(), *learned);
    let later = Moment { now: lan.at.now, today: 1700 };
    let Offer { routers, prefixes, .. } = learned.recalled(later);
    assert_eq!(routers[0].until.left(later.now), Some(Duration::from_secs(1100)));
    let left =
        [prefixes[0].preferred, prefixes[0].valid].map(|lasting| lasting.left(later.now).unwrap().as_secs());
    assert_eq!(left, [0, 6500]);
    // A router may lead to some destinations only, and not to all.
    let routes = vec![("fd77::/48".parse().unwrap(), "fe80::2".parse().unwrap())];
    let elsewhere = Learned { router: None, routes, ..*learned };
    assert_eq!(elsewhere.recalled(later).routes[0].until.left(later.now), Some(Duration::from_secs(6500)));
}

#[test]
fn modes_read_back_and_what_cannot_be_is_refused() {
    for mode in Ipv6Mode::ALL {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    assert!("on".parse::<Ipv6Mode>().is_err());
    let check = |change: fn(&mut Network)| {
        let mut network = network("auto");
        change(&mut network);
        network.check_ipv6()
    };
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(check(|network| network.ipv6 = Ipv6Mode::Dhcp), Ok(()));
    let one_mac = |network: &mut Network| {
        (network.ipv6, network.kind) = (Ipv6Mode::Dhcp, LinkKind::Ipvlan(IpvlanMode::L2));
    };
    assert_eq!(check(one_mac), Err(Ipv6Error::OneMac(LinkKind::Ipvlan(IpvlanMode::L2))));
    let l3 = LinkKind::Ipvlan(IpvlanMode::L3);
    assert_eq!(check(|network| network.kind = LinkKind::Ipvlan(IpvlanMode::L3)), Err(Ipv6Error::Unheard(l3)));
    let subnet = |network: &mut Network| network.subnets[0].net = "fd88::/64".parse().unwrap();
    assert!(matches!(check(subnet), Err(Ipv6Error::Subnet(Ipv6Mode::Auto, _))));
}

fn lease(ip: &str, since: u64) -> LeaseRecord6 {
    let lease = serde_json::json!({
        "address": ip,
        "server": "00:03:00:01:02:00:00:00:00:01",
        "term": { "renew": 30, "rebind": 48, "preferred": 60, "end": 120 },
        "dns": { "servers": [], "search": [] },
        "since": since,
        "id": "ff:00:00:00:01:00:04:01:02:03:04",
        "mac": "02:00:00:00:00:01",
    });
    serde_json::from_value(lease).unwrap()
}

#[test]
fn a_lease_is_an_address_beside_those_of_prefixes_and_by_the_prefix_that_a_router_says_is_on_the_link() {
    let lan = Lan::new();
    let mut offer = lan.offer(&[("fd88::/64", 600)]);
    let net = "fd99::/64".parse().unwrap();
    offer.on_link.push(OnLink { net, until: Lasting(None) });
    let record = lease("fd99::7", 990);
    let learned = lan.learn_with("web", &offer, Some(&record)).unwrap();
    assert_eq!(learned.addresses.len(), 2);
    let leased = learned.addresses[1];
    assert_eq!(
        (leased.net().to_string().as_str(), leased.leased, leased.deprecated),
        ("fd99::7/64", true, false)
    );
    assert_eq!((leased.preferred, leased.valid), (Some(1050), Some(1110)));
    assert_eq!(learned.recalled(lan.at).prefixes.len(), 1, "a leased address makes no prefix");
    assert_eq!(learned.recalled(lan.at).on_link("fd99::7".parse().unwrap()), Some(net));

    offer.on_link.clear();
    let elsewhere = lan.learn_with("web", &offer, Some(&record)).unwrap().addresses[1];
    assert_eq!(elsewhere.net().to_string(), "fd99::7/128");
    let old = lan.learn_with("web", &offer, Some(&lease("fd99::7", 940))).unwrap().addresses[1];
    assert!(old.deprecated, "it is valid for another minute");
    assert_eq!(lan.learn_with("web", &offer, Some(&lease("fd99::7", 880))).unwrap().addresses.len(), 1);
}

#[test]
fn a_step_of_the_time_of_day_takes_no_leased_address_off() {
    let mut lan = Lan::new();
    let offer = lan.offer(&[]);
    let held = lease("fd88::7", 990).held(lan.at).unwrap();
    let (host, heard, none) = (View::default(), BTreeMap::new(), BTreeSet::new());
    for today in [1, 1000, 100_000] {
        lan.at.today = today;
        let known = AddressesInUse { host: &host, heard: &heard, answered: &lan.squatters, held: &none };
        let network = &lan.state.networks[&"lan".parse().unwrap()];
        let web = "web".parse().unwrap();
        let learned = lan.state.learn(network, &web, &offer, Some(&held), &known, lan.at).unwrap();
        let leased = learned.addresses[0];
        assert!(!leased.deprecated, "{today}");
        assert_eq!((leased.preferred, leased.valid), (Some(today + 50), Some(today + 110)));
    }
}

#[test]
fn where_all_is_leased_no_address_is_made_and_a_router_is_asked_which_it_is() {
    let mut lan = Lan::new();
    let offer = lan.offer(&[("fd88::/64", 600)]);
    let managed = Offer { managed: true, ..offer.clone() };
    let network = |mode| network(mode);
    assert!(network("auto").asks_dhcp6(&managed) && !network("auto").asks_dhcp6(&offer));
    assert!(network("dhcp").asks_dhcp6(&offer) && !network("slaac").asks_dhcp6(&managed));
    lan.state.apply(Change::PutNetwork(network("dhcp")));
    assert_eq!(lan.learn("web", &offer), None);
    let learned = lan.learn_with("web", &offer, Some(&lease("fd88::7", 990))).unwrap();
    assert_eq!((learned.addresses.len(), learned.router.is_some()), (1, true));
    // The name keeps the lease when its container goes, and requests it again with the same identifier.
    let leased = Endpoint { lease6: Some(Box::new(lease("fd88::7", 990))), ..endpoint("web") };
    let leased = leased.with_learned(Some(learned));
    for change in lan.state.attached(&leased, 1) {
        lan.state.apply(change);
    }
    lan.detach("web");
    let of_web = (Scope("lan".into()), "web".parse().unwrap());
    let identity = &lan.state.identities[&of_web];
    assert!(identity.made.is_empty());
    assert_eq!(identity.lease6.as_deref(), Some(&lease("fd88::7", 990)));
    let id = lan.state.client_id(&network("dhcp"), &"web".parse().unwrap());
    assert_eq!(id.to_string(), "ff:00:00:00:01:00:04:01:02:03:04");
    // While the endpoint has no lease yet, the name keeps its old one. A lease that the endpoint has lost is
    // forgotten.
    let mut remembers = |endpoint: &Endpoint| {
        for change in lan.state.attached(endpoint, 3) {
            lan.state.apply(change);
        }
        lan.state.identities[&of_web].lease6.is_some()
    };
    assert!(remembers(&endpoint("web")) && remembers(&leased));
    assert!(!remembers(&endpoint("web")) && !remembers(&endpoint("web")));
}

#[test]
fn name_servers_are_known_again_after_a_start_for_as_long_as_the_router() {
    let lan = Lan::new();
    let dns = vec![("fd88::1".parse().unwrap(), Lasting(None))];
    let offer = Offer { dns, ..lan.offer(&[("fd88::/64", 600)]) };
    let learned = lan.learn("web", &offer).unwrap();
    assert_eq!(learned.dns.servers, ["fd88::1".parse::<Ipv6Addr>().unwrap()]);
    let [(_, until)] = learned.recalled(lan.at).dns[..] else { panic!("{learned:?}") };
    assert_eq!(until.left(lan.at.now), Some(Duration::from_secs(1800)));
    let without = lan.learn("web", &lan.offer(&[("fd88::/64", 600)])).unwrap();
    assert!(!without.is_as_good_as(&learned, lan.at.today), "a change of name servers is written down");
}

/// RFC 4861, 6.3.4: a prefix whose L flag is not set says nothing about what is on the link.
#[test]
fn the_neighbours_of_an_address_are_on_the_link_only_if_a_router_says_so() {
    let lan = Lan::new();
    let mut offer = lan.offer(&[("fd88::/64", 600), ("fd77::/64", 600)]);
    offer.prefixes.iter_mut().for_each(|prefix| prefix.on_link = prefix.net.to_string() == "fd88::/64");
    let learned = lan.learn("web", &offer).unwrap();
    let lengths: Vec<(String, u8)> =
        learned.addresses.iter().map(|there| (there.prefix.to_string(), there.net().prefix_len())).collect();
    assert!(
        lengths.contains(&("fd88::/64".into(), 64)) && lengths.contains(&("fd77::/64".into(), 128)),
        "{lengths:?}"
    );
}

#[test]
fn what_ends_earlier_or_is_half_over_is_written_down_anew_and_what_hardly_changed_is_not() {
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Learned), bool);
    let lan = Lan::new();
    let good = lan.learn("web", &lan.offer(&[("fd88::/64", 600)])).unwrap();
    let other = |change: &dyn Fn(&mut Learned)| {
        let mut other = (*good).clone();
        change(&mut other);
        other
    };
    let cases: [Case<'_>; 12] = [
        ("the same", &|_| {}, true),
        ("five seconds earlier", &|new| new.addresses[0].preferred = Some(1595), true),
        ("six seconds earlier", &|new| new.addresses[0].preferred = Some(1594), false),
        ("twice as long, but for ten seconds", &|new| new.addresses[0].preferred = Some(1000 + 1210), true),
        ("more than twice as long", &|new| new.addresses[0].preferred = Some(1000 + 1212), false),
        ("for ever", &|new| new.addresses[0].valid = None, false),
        ("the router ends earlier", &|new| new.router.as_mut().unwrap().until = Some(1100), false),
        ("another router", &|new| new.router.as_mut().unwrap().ip = "fe80::7".parse().unwrap(), false),
        ("no router", &|new| new.router = None, false),
        ("an MTU", &|new| new.mtu = Some(1400), false),
        (
            "a route",
            &|new| new.routes.push(("fd99::/48".parse().unwrap(), "fe80::1".parse().unwrap())),
            false,
        ),
        ("deprecated", &|new| new.addresses[0].deprecated = true, false),
    ];
    for (what, change, expected) in cases {
        assert_eq!(other(change).is_as_good_as(&good, lan.at.today), expected, "{what}");
    }
}

#[test]
fn a_server_is_asked_for_all_else_where_it_is_not_for_addresses() {
    let offer = |managed, other| Offer { managed, other, ..Offer::default() };
    for (mode, managed, other, inquires) in [
        ("auto", false, false, false),
        ("auto", false, true, true),
        ("auto", true, true, false),
        ("slaac", true, false, true),
        ("slaac", false, true, true),
        ("dhcp", false, true, false),
        ("range", true, true, false),
        ("off", true, true, false),
    ] {
        assert_eq!(network(mode).inquires(&offer(managed, other)), inquires, "{mode} {managed} {other}");
    }
}

#[test]
fn where_addresses_come_from_is_told_of_each_subnet_and_of_the_routers() {
    let sources = |text: &str| {
        let text = format!(r#"{{"name":"lan","parent":"eth0",{text}}}"#);
        let network = serde_json::from_str::<NetworkSpec>(&text).unwrap().network().unwrap();
        network.sources().collect::<Vec<_>>()
    };
    let two = r#""subnets":["192.168.88.0/24","fd88::/64"],"ranges":["192.168.88.192/27"]"#;
    assert_eq!(sources(two), ["192.168.88.192/27", "all"]);
    assert_eq!(sources(&format!(r#"{two},"addressing":"dhcp""#)), ["by DHCP", "all"]);
    let one = r#""subnets":["192.168.88.0/24"],"ranges":["192.168.88.192/27"]"#;
    assert_eq!(sources(&format!(r#"{one},"ipv6":"auto""#)), ["192.168.88.192/27", "ipv6:auto"]);
    let fallback = r#""addressing":"dhcp","leasing":{"fallback":"range"}"#;
    assert_eq!(sources(&format!("{one},{fallback}")), ["by DHCP, or 192.168.88.192/27"]);
}
