use super::*;
use crate::model::endpoint::{Chosen, Endpoint, Placement, Source, Stage};
use crate::model::identity::Seed;
use crate::model::ownership::Ownership;
use crate::model::state::Change;
use crate::net::link::Netns;
use crate::net::name::{IfName, NetworkName};
use crate::net::observed::{Link, ObservedKind, Standing};
use crate::rules::addresses_in_use::Hearsay;
use crate::rules::create::NetworkSpec;
use crate::rules::learn::tests::endpoint;

/// The last bytes of IPv4 addresses.
type Lasts<'a> = &'a [u8];

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 168, 88, last])
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// A network whose range has four addresses, .192 to .195, and what is known about them.
struct Range4 {
    state: State,
    host: View,
    heard: BTreeMap<IpAddr, Hearsay>,
    answered: BTreeMap<IpAddr, Mac>,
    held: BTreeSet<IpAddr>,
    now: u64,
}

impl Range4 {
    fn new() -> Self {
        let mut all = Range4 {
            state: State::new(Seed([7; 16])),
            host: View::default(),
            heard: BTreeMap::new(),
            answered: BTreeMap::new(),
            held: BTreeSet::new(),
            now: 0,
        };
        all.make("lan", r#""ranges":["192.168.88.192/30"],"gateways":["192.168.88.1"]"#);
        all
    }

    fn make(&mut self, name: &str, options: &str) {
        let text = format!(r#"{{"name":"{name}","parent":"eth0","subnets":["192.168.88.0/24"],{options}}}"#);
        let network = serde_json::from_str::<NetworkSpec>(&text).unwrap().network().unwrap();
        self.state.apply(Change::PutNetwork(network));
    }

    fn known(&self) -> AddressesInUse<'_> {
        AddressesInUse { host: &self.host, heard: &self.heard, answered: &self.answered, held: &self.held }
    }

    fn host_has(&mut self, last: u8) {
        self.host.addresses.push(LinkAddress {
            index: 2,
            net: format!("{}/24", ip(last)).parse().unwrap(),
            broadcast: None,
            life: None,
            noprefixroute: false,
            peer: None,
            link_scope: false,
            standing: Standing::Steady,
        });
    }

    fn hear(&mut self, lasts: Lasts<'_>) {
        let hearsay = |last: u8| Hearsay { mac: mac(last), age: Duration::from_secs(u64::from(last) % 192) };
        self.heard.extend(lasts.iter().map(|last| (ip(*last), hearsay(*last))));
    }

    fn answer(&mut self, lasts: Lasts<'_>) {
        self.answered.extend(lasts.iter().map(|last| (ip(*last), mac(*last))));
    }

    /// Attaches a name at an address, which may be a stand-in for its own, and detaches it unless it stays.
    fn had(&mut self, name: &str, last: u8, source: Source, stand_in: bool, stays: bool) {
        self.now += 1;
        let there = Endpoint {
            addresses: vec![format!("{}/24", ip(last)).parse().unwrap()],
            stand_ins: stand_in.then_some(ip(last)).into_iter().collect(),
            source,
            stage: Stage::Attached,
            ..endpoint(name)
        };
        let mut changes = self.state.attached(&there, self.now);
        if !stays {
            changes = self.state.with(&changes).detached(&there, self.now);
        }
        for change in changes {
            self.state.apply(change);
        }
    }

    fn candidates(&self, name: Option<&str>) -> Vec<u8> {
        let network = &self.state.networks[&"lan".parse().unwrap()];
        let name = name.map(|name| name.parse().unwrap());
        let found = self.state.candidates(network, &network.subnets[0], name.as_ref(), &self.known());
        found.map(|ip| ip.to_string().rsplit('.').next().unwrap().parse().unwrap()).collect()
    }

    fn check(&self, last: u8) -> Result<(), AddressError> {
        let network = &self.state.networks[&"lan".parse().unwrap()];
        self.state.check_address(network, Some(&"web".parse().unwrap()), ip(last), &self.known()).map(drop)
    }

    fn addresses_of(&self, name: &str) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let identity = &self.state.identities[&(Scope("lan".into()), name.parse().unwrap())];
        (identity.addresses.clone(), identity.meanwhile.clone())
    }
}

#[test]
fn a_new_name_gets_what_no_name_had_then_what_is_only_heard_of_then_what_was_let_go() {
    /// Names that hold an address; names that have released one (in this order); addresses that were heard,
    /// that were answered for, and that another attach holds; and the candidates in their order.
    type Case<'a> = (Lasts<'a>, Lasts<'a>, Lasts<'a>, Lasts<'a>, Lasts<'a>, Lasts<'a>);
    let cases: [Case<'_>; 12] = [
        (&[], &[], &[], &[], &[], &[192, 193, 194, 195]),
        (&[192], &[], &[], &[], &[193], &[194, 195]),
        (&[], &[], &[], &[192], &[], &[193, 194, 195]),
        // What was heard longest ago comes first.
        (&[], &[], &[192, 194, 193], &[], &[], &[195, 194, 193, 192]),
        (&[], &[193, 192], &[], &[], &[], &[194, 195, 193, 192]),
        (&[], &[193, 192], &[194], &[], &[], &[195, 194, 193, 192]),
        (&[], &[193, 192], &[193], &[], &[], &[194, 195, 192, 193]),
        (&[195], &[192], &[193], &[194], &[], &[193, 192]),
        (&[192, 193, 194, 195], &[], &[], &[], &[], &[]),
        (&[192, 193], &[], &[], &[194, 195], &[], &[]),
        (&[192, 193], &[], &[194, 195], &[], &[], &[195, 194]),
        (&[], &[], &[200, 50], &[201], &[], &[192, 193, 194, 195]),
    ];
    for (holds, let_go, heard, answered, held, expected) in cases {
        let mut all = Range4::new();
        for last in holds {
            all.had(&format!("on-{last}"), *last, Source::Range, false, true);
        }
        for last in let_go {
            all.had(&format!("off-{last}"), *last, Source::Range, false, false);
        }
        all.hear(heard);
        all.answer(answered);
        all.held.extend(held.iter().map(|last| ip(*last)));
        let case = (holds, let_go, heard, answered, held);
        assert_eq!(all.candidates(None), expected, "{case:?}");
        assert_eq!(all.candidates(Some("new")), expected, "{case:?}");
    }
}

#[test]
fn a_name_is_asked_for_its_own_first_whatever_is_heard_of_it() {
    let mut all = Range4::new();
    all.had("web", 194, Source::Range, false, false);
    all.had("far", 77, Source::Fixed, false, false);
    all.hear(&[194, 77, 192]);
    assert_eq!(all.candidates(Some("web")), [194, 193, 195, 192]);
    // The user chose an address outside the range.
    assert_eq!(all.candidates(Some("far")), [77, 193, 195, 192, 194]);
    // A machine answers for the address.
    all.answer(&[194]);
    assert_eq!(all.candidates(Some("web")), [193, 195, 192]);
    all.answered.clear();
    all.had("other", 194, Source::Fixed, false, true);
    assert_eq!(all.candidates(Some("web")), [193, 195, 192]);
}

#[test]
fn what_must_never_be_handed_out_is_no_candidate() {
    let mut all = Range4::new();
    all.make(
        "two",
        r#""gateways":["192.168.88.193"],"aux":[["nas","192.168.88.194"]],"ranges":["192.168.88.8/29"]"#,
    );
    all.host_has(192);
    assert_eq!(all.candidates(None), [195]);
    // Nor is an address from the range of an engine's own driver.
    let lan: NetworkName = "lan".parse().unwrap();
    let adopted = Network {
        name: "engines".parse().unwrap(),
        adopted: true,
        subnets: vec![Subnet {
            range: Some("192.168.88.195-192.168.88.200".parse().unwrap()),
            ..all.state.networks[&lan].subnets[0].clone()
        }],
        ..all.state.networks[&lan].clone()
    };
    all.state.apply(Change::PutNetwork(adopted));
    assert!(all.candidates(None).is_empty());
}

/// RFC 4291, 2.6.1, and for point-to-point links RFC 6164 and RFC 3021.
#[test]
fn an_address_that_names_a_subnet_or_all_of_it_is_no_candidate() {
    for (subnet, range, expected) in [
        ("fd88::/64", "fd88::-fd88::2", &["fd88::1", "fd88::2"][..]),
        (
            "fd88::/64",
            "fd88::ffff:ffff:ffff:fffe/127",
            &["fd88::ffff:ffff:ffff:fffe", "fd88::ffff:ffff:ffff:ffff"],
        ),
        ("fd88::8/126", "fd88::8/126", &["fd88::9", "fd88::a", "fd88::b"]),
        ("fd88::8/127", "fd88::8/127", &["fd88::8", "fd88::9"]),
        ("192.168.88.0/24", "192.168.88.0-192.168.88.1", &["192.168.88.1"]),
        ("192.168.88.0/24", "192.168.88.254/31", &["192.168.88.254"]),
        ("192.168.88.8/30", "192.168.88.8/30", &["192.168.88.9", "192.168.88.10"]),
        ("192.168.88.8/31", "192.168.88.8/31", &["192.168.88.8", "192.168.88.9"]),
    ] {
        let mut all = Range4::new();
        let network = all.state.networks[&"lan".parse().unwrap()].clone();
        let subnet = Subnet {
            net: subnet.parse().unwrap(),
            range: Some(range.parse().unwrap()),
            gateway: None,
            ..network.subnets[0].clone()
        };
        let network = Network { subnets: vec![subnet.clone()], ..network };
        all.state.apply(Change::PutNetwork(network.clone()));
        let found: Vec<String> =
            all.state.candidates(&network, &subnet, None, &all.known()).map(|ip| ip.to_string()).collect();
        assert_eq!(found, expected, "{range} of {}", subnet.net);
        for ip in Range::of_net(&subnet.net).from_offset(0).take(3) {
            let by_name = all.state.check_address(&network, None, ip, &all.known()).is_ok();
            let never = subnet.never(ip).is_some();
            assert_eq!(by_name, !never, "{ip}");
        }
    }
}

#[test]
fn an_address_asked_for_by_name_is_refused_for_what_is_known_and_not_for_what_is_heard() {
    let mut all = Range4::new();
    all.make(
        "two",
        r#""gateways":["192.168.88.2"],"aux":[["nas","192.168.88.3"]],"ranges":["192.168.88.8/29"]"#,
    );
    all.host_has(9);
    all.had("db", 10, Source::Fixed, false, true);
    all.had("web", 11, Source::Fixed, false, true);
    all.had("gone", 12, Source::Fixed, false, false);
    all.held.insert(ip(13));
    all.hear(&[14, 15]);
    all.answer(&[15]);
    let words = [
        (0, "192.168.88.0 cannot be handed out"),
        (255, "192.168.88.255 cannot be handed out"),
        (1, "192.168.88.1 cannot be handed out"),
        (2, "on network `two`"),
        (3, "on network `two`"),
        (9, "this host's own"),
        (10, "held by the endpoint `db`"),
        (13, "being taken by another attach"),
        (15, "is in use on the LAN by 02:00:00:00:00:0f"),
    ];
    for (last, words) in words {
        let said = all.check(last).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    // Free: an address outside the range, its own, one of a name that has left, one that a machine was heard
    // to have, and one of the range.
    for last in [50, 11, 12, 14, 192] {
        assert_eq!(all.check(last), Ok(()), "{last}");
    }
    let network = &all.state.networks[&"lan".parse().unwrap()];
    let elsewhere = all.state.check_address(network, None, IpAddr::from([10, 0, 0, 7]), &all.known());
    assert!(elsewhere.unwrap_err().to_string().contains("lies in no subnet"));
}

#[test]
fn of_a_machine_that_claims_an_address_it_is_said_what_it_is() {
    let mut all = Range4::new();
    let mut web = Endpoint { mac: Some(mac(15)), stage: Stage::Attached, ..endpoint("web") };
    web.addresses.clear();
    all.state.apply(Change::PutEndpoint(web));
    all.answer(&[15]);
    let error = all.check(15).unwrap_err();
    let known_as = "the endpoint `web` of network `lan`";
    assert_eq!(error.to_string(), format!("192.168.88.15 is in use on the LAN by {} ({known_as})", mac(15)));
    assert!(error.remedy().unwrap().to_string().contains(known_as));
    // MACs of this host's links, except those that Ashore has made.
    let link = |index: u32, name: &str, alias: Option<&str>| Link {
        index,
        name: name.parse().unwrap(),
        kind: ObservedKind::Macvlan { mode: None, bc_queue_len: None },
        lower: None,
        master: None,
        port: BTreeSet::new(),
        vlans: None,
        default_pvid: None,
        mac: Some(mac(index as u8)),
        mtu: 1500,
        up: true,
        carrier: true,
        alias: alias.map(str::to_owned),
        wireless: false,
        arp_filter: None,
        arp_ignore: None,
        rp_filter: None,
        accept_ra: None,
        disable_ipv6: None,
        ipv6_mtu: None,
    };
    let hosts =
        [link(20, "eth0", None), link(21, "veth7", None), link(22, "shim-eth0", Some("ashore-shim:eth0"))];
    all.host.links.extend(hosts);
    let given_back =
        crate::net::link::engine_link_name(&"lan".parse().unwrap(), &"web".parse().unwrap()).to_string();
    all.host.links.push(link(23, &given_back, Some("ashore:lan:web")));
    let known = |all: &Range4, last| all.state.claimant(mac(last), &all.host).known_as;
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(known(&all, 20), told("this host's `eth0`"));
    assert_eq!(known(&all, 21), told("this host's `veth7`"));
    assert_eq!(known(&all, 22), told("this host's `shim-eth0`"));
    assert_eq!([known(&all, 23), known(&all, 24)], [None, None]);
    all.make("shared", r#""kind":{"ipvlan":"l2"},"ranges":["192.168.88.16/29"]"#);
    assert_eq!(known(&all, 20), told("this host's `eth0`, or a container that shares its MAC"));
    assert_eq!(known(&all, 21), told("this host's `veth7`"));
}

#[test]
fn what_users_chose_for_others_is_left_to_them_while_there_is_more() {
    let mut all = Range4::new();
    all.had("web", 194, Source::Range, false, false);
    let beside = |all: &Range4, name: &str, others: Lasts<'_>| {
        let network = &all.state.networks[&"lan".parse().unwrap()];
        let others: Vec<IpAddr> = others.iter().copied().map(ip).collect();
        let subnet = &network.subnets[0];
        let name = name.parse().unwrap();
        let chosen = all.state.choose_address_beside(network, subnet, &name, &all.known(), &others);
        chosen.map(|net| net.addr())
    };
    assert_eq!(beside(&all, "db", &[]), Ok(ip(192)));
    assert_eq!(beside(&all, "db", &[192, 77]), Ok(ip(193)));
    assert_eq!(beside(&all, "db", &[192, 193, 195]), Ok(ip(194)), "a released address comes before");
    assert_eq!(beside(&all, "db", &[192, 193, 194, 195]), Ok(ip(192)), "there is no other address");
    assert_eq!(beside(&all, "web", &[192, 194]), Ok(ip(194)), "a name keeps its own");
}

#[test]
fn who_has_an_address_is_told_once_that_is_known() {
    let mut all = Range4::new();
    all.had("db", 192, Source::Range, false, true);
    let name: EndpointName = "db".parse().unwrap();
    let db = all.state.endpoints[&("lan".parse().unwrap(), name)].clone();
    let placement =
        Placement::Engine { id: None, ifname: "eth0".parse().unwrap(), sandbox: None, inside: None };
    let said = |endpoint: Endpoint| {
        let error = all.state.held(ip(192), &endpoint);
        (error.to_string(), error.remedy().unwrap().to_string())
    };
    let (of_docker, hint) = said(Endpoint { placement: placement.clone(), ..db.clone() });
    assert_eq!(of_docker, "192.168.88.192 is held by the endpoint `db` of network `lan`");
    assert!(hint.contains("outside the network's --ip-range") && hint.contains("network connect lan db"));
    let (unnamed, hint) =
        said(Endpoint { placement, name: EndpointName::of_unnamed(ip(192)), chosen: Chosen::Unnamed, ..db });
    assert!(
        unnamed.contains("name is not known yet") && hint.contains("again in a second"),
        "{unnamed}; {hint}"
    );
    assert!(!unnamed.contains("at-") && !hint.contains("at-"));
}

#[test]
fn who_has_a_gateway_of_a_new_network_is_freed_where_it_was_attached() {
    let mut all = Range4::new();
    all.had("db", 192, Source::Range, false, true);
    all.make("new", r#""ranges":["192.168.88.224/27"],"gateways":["192.168.88.192"]"#);
    let new = all.state.networks.remove(&"new".parse::<NetworkName>().unwrap()).unwrap();
    let key = ("lan".parse().unwrap(), "db".parse().unwrap());
    let netns = Netns { path: "/run/netns/db".into(), dev: 4, ino: 1, cookie: None, attached_by: None };
    let ifname: IfName = "eth0".parse().unwrap();
    let handed_over = Placement::Engine { id: None, ifname: ifname.clone(), sandbox: None, inside: None };
    for (ownership, placement, command) in [
        (Ownership::Cli, Placement::Netns { netns, ifname }, "ashore detach lan db"),
        (Ownership::Docker, handed_over.clone(), "docker network disconnect lan db"),
        (Ownership::Podman, handed_over, "podman network disconnect lan db"),
    ] {
        let mut state = all.state.clone();
        let db = Endpoint { ownership, placement, ..all.state.endpoints[&key].clone() };
        state.apply(Change::PutEndpoint(db));
        let error = state.check_beside_others(&new).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the gateway 192.168.88.192 is held by the endpoint `db` of network `lan`"
        );
        let remedy = error.remedy().unwrap().to_string();
        assert_eq!(remedy, format!("choose another, or free it: {command}"));
    }
}

#[test]
fn one_machine_that_answers_for_all_of_a_range_is_named_with_what_helps() {
    let mac = Mac([2, 0, 0, 0, 0, 0x99]);
    let all = |has: u8, others: u8| {
        let answers = (192..192 + has).map(|last| (ip(last), mac));
        let others = (192 + has..192 + has + others).map(|last| (ip(last), Mac([2, 0, 0, 0, 1, last])));
        answers.chain(others).collect::<BTreeMap<_, _>>()
    };
    for (has, others, size, is_named) in [
        (32, 0, 32, true),
        (20, 12, 32, true),
        (16, 16, 32, false),
        (2, 0, 2, false),
        (3, 0, 4, false),
        (4, 0, 4, true),
    ] {
        let named = most_of(&all(has, others), size) == Some(mac);
        assert_eq!(named, is_named, "{has} of {size}, beside {others}");
    }
    let error = |engine| AddressError::Exhausted {
        range: "192.168.88.192/27".parse().unwrap(),
        network: "lan".into(),
        size: 32,
        holders: "32 are in use on the LAN by 02:00:00:00:00:99".into(),
        subnet: "192.168.88.0/24".parse().unwrap(),
        engine,
        answers_for_all: Some(Claimant { mac, known_as: None }),
    };
    for (engine, off, anew) in [
        (Some(EngineKind::Docker), "-o conflict=off", "docker network rm lan"),
        (None, "--conflict off", "ashore network rm lan"),
    ] {
        let hint = error(engine).remedy().unwrap().to_string();
        assert!(
            [off, anew, "02:00:00:00:00:99", "proxy ARP"].iter().all(|words| hint.contains(words)),
            "{hint}"
        );
    }
}

#[test]
fn a_range_that_is_used_up_is_told_with_who_has_how_much() {
    let mut all = Range4::new();
    all.had("web", 192, Source::Range, false, true);
    all.answer(&[194, 195, 7]);
    all.hear(&[194, 50]);
    all.host_has(193);
    let network = &all.state.networks[&"lan".parse().unwrap()];
    let name = "db".parse().unwrap();
    let error = all.state.choose_address(network, &network.subnets[0], &name, None, &all.known());
    let said = error.unwrap_err().to_string();
    let words = "of its 4 addresses, 1 are held by endpoints of network `lan`, 1 are reserved and 2 are in use on the LAN by \
                 02:00:00:00:00:c2 and 02:00:00:00:00:c3";
    assert!(said.contains(words), "{said}");
}

#[test]
fn after_some_answers_hearsay_is_believed_and_after_many_nobody_is_asked() {
    let mut all = Range4::new();
    all.make("lan", r#""ranges":["192.168.88.128/25"]"#);
    all.had("web", 130, Source::Range, false, false);
    all.hear(&(128..=254).collect::<Vec<u8>>());
    let first = all.candidates(Some("web"));
    assert_eq!((first.len(), first[0]), (127, 130));
    let others = |all: &Range4| all.candidates(None).len();
    assert_eq!(others(&all), 127);
    all.answer(&(201..232).collect::<Vec<u8>>());
    assert_eq!(others(&all), 127 - 31);
    all.answer(&[232]);
    assert_eq!(others(&all), 0);
    assert_eq!(all.candidates(Some("web")), [130], "its own is still probed");
    all.heard.clear();
    assert_eq!(others(&all), 127 - 32);
    assert!(!all.known().is_given_up());
    all.answered = (0..256).map(|n: u32| (IpAddr::from((10 << 24 | n).to_be_bytes()), mac(1))).collect();
    assert!(all.known().is_given_up());
}

#[test]
fn a_name_keeps_its_own_beside_what_stands_in_for_it() {
    let mut all = Range4::new();
    let lasts = |lasts: Lasts<'_>| lasts.iter().map(|last| ip(*last)).collect::<Vec<_>>();
    all.had("web", 192, Source::Range, false, false);
    all.had("web", 193, Source::Range, true, true);
    assert_eq!(all.addresses_of("web"), (lasts(&[192]), lasts(&[193])));
    assert_eq!(all.candidates(Some("new")), [194, 195, 192], "both belong to the name");
    all.had("web", 193, Source::Range, true, false);
    assert_eq!(all.candidates(Some("web")), [192, 193, 194, 195]);
    // It gets another one when a machine has that one too.
    all.had("web", 195, Source::Range, true, false);
    assert_eq!(all.addresses_of("web"), (lasts(&[192]), lasts(&[195])));
    // It gets its own again.
    all.had("web", 192, Source::Range, false, false);
    assert_eq!(all.addresses_of("web"), (lasts(&[192]), vec![]));
    // An address that the user chose replaces its own. So does any other address once its own belongs to
    // another endpoint.
    all.had("web", 193, Source::Range, true, false);
    all.had("web", 77, Source::Fixed, false, false);
    assert_eq!(all.addresses_of("web"), (lasts(&[77]), vec![]));
    all.had("other", 77, Source::Fixed, false, true);
    all.had("web", 194, Source::Range, true, false);
    assert_eq!(all.addresses_of("web"), (lasts(&[194]), vec![]));
}

#[test]
fn what_lies_outside_the_range_is_a_names_own_only_if_its_user_asked_for_it() {
    let mut all = Range4::new();
    all.had("web", 192, Source::Range, false, false);
    all.had("db", 193, Source::Range, false, false);
    let there = Endpoint {
        addresses: vec!["192.168.88.77/24".parse().unwrap()],
        by_user: crate::model::endpoint::ByUser { addresses: vec![ip(77)], ..Default::default() },
        source: Source::Fixed,
        stage: Stage::Attached,
        ..endpoint("tv")
    };
    all.state.attached(&there, 9).into_iter().for_each(|change| all.state.apply(change));
    all.state.detached(&there, 9).into_iter().for_each(|change| all.state.apply(change));
    // The network is made again.
    all.make("lan", r#""ranges":["192.168.88.64/30"],"gateways":["192.168.88.1"]"#);
    assert_eq!(all.candidates(Some("web"))[0], 64);
    assert_eq!(all.candidates(Some("tv"))[0], 77);
    let network = all.state.networks[&"lan".parse().unwrap()].clone();
    let left = |name: &str| all.state.left_behind(&network, &name.parse().unwrap(), Family::Ipv4);
    assert_eq!([left("web"), left("tv"), left("new")], [Some(ip(192)), None, None]);
    // In its old range the name gets its own again. So does a name whose address is in the remaining part.
    all.make("lan", r#""ranges":["192.168.88.192/31"],"gateways":["192.168.88.1"]"#);
    assert_eq!(all.candidates(Some("db"))[0], 193);
}

#[test]
fn what_is_kept_for_something_else_is_set_aside_on_whatever_network() {
    let mut all = Range4::new();
    all.make(
        "two",
        r#""gateways":["192.168.88.2"],"aux":[["nas","192.168.88.3"]],"ranges":["192.168.88.8/29"]"#,
    );
    all.state.apply(Change::PutPool(crate::model::pool::Pool {
        key: "192.168.88.0/24,192.168.88.16/29".to_owned().try_into().unwrap(),
        opened: 1,
        reserved: vec![ip(17)],
        parent: None,
        leasing: crate::model::lease::LeaseOptions::default(),
        chosen: false,
    }));
    let aside: Vec<u8> = (0..=255).filter(|last| all.state.is_set_aside(ip(*last))).collect();
    assert_eq!(aside, [0, 1, 2, 3, 17, 255]);
    // A DHCP server may not lease that address, nor one of the host or of the routers in its other tables.
    all.host_has(9);
    let is_never = |last: &u8| all.state.is_never_leased(ip(*last), &all.host, &[(ip(50), 2)]);
    let never: Vec<u8> = (0..=255).filter(is_never).collect();
    assert_eq!(never, [0, 1, 2, 3, 9, 17, 50, 255]);
    let first = all.host.addresses[0].clone();
    all.host.addresses.push(LinkAddress { net: "fd88::9/64".parse().unwrap(), ..first.clone() });
    let (net, peer) = ("10.9.0.1/32".parse().unwrap(), "10.9.0.2".parse().ok());
    all.host.addresses.push(LinkAddress { net, peer, ..first });
    let is_never = |ip: &str| all.state.is_never_leased(ip.parse().unwrap(), &all.host, &[]);
    for set_aside in ["fd88::", "fd88::9", "10.9.0.1", "10.9.0.2"] {
        assert!(is_never(set_aside), "{set_aside}");
    }
    for free in ["fd88::1", "fd77::", "10.9.0.3"] {
        assert!(!is_never(free), "{free}");
    }
}
