//! What a user of Docker reads as the remedy of a refusal: no option that Docker does not have.

use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::Mac;
use ashore_wire::dhcp4::ClientId;

use crate::model::ipv6::Ipv6Mode;
use crate::model::network::{EngineNetwork, Network};
use crate::model::ownership::EngineKind;
use crate::model::survey::PoolSeen;
use crate::net::kind::{IpvlanMode, LinkKind, MacvlanMode, PortOption};
use crate::net::name::IfName;
use crate::net::observed::View;
use crate::net::option::{
    ALL, BC_QUEUE_LEN, CLIENT_ID, DHCP_ALLOW, Docker, FALLBACK, HOSTNAME, OWN_HOSTNAME, PARENT, RELEASE,
};
use crate::net::remedy::{Front, Remedy};
use crate::net::text::Word;
use crate::net::vlan::Vlan;
use crate::rules::addresses_in_use::Claimant;
use crate::rules::allocate::AddressError;
use crate::rules::attach::AttachError;
use crate::rules::create::{Ipv6Error, LeaseError, NetworkError};
use crate::rules::learn::tests::network;
use crate::rules::readdress::ReaddressError;
use crate::rules::users::UserError;
use crate::rules::wishes::WishError;

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// The flags that Docker's users know, of Docker's own.
fn of_docker(flag: &str) -> bool {
    let own = ["ipam-opt", "ipam-driver", "mac-address", "name", "ip", "label"];
    let takes = |name: &Docker| matches!(name, Docker::Flag(name) if *name == flag);
    own.contains(&flag) || ALL.iter().any(|option| option.docker.iter().any(takes))
}

/// The flags in a text.
fn flags(text: &str) -> Vec<&str> {
    let begins = text.split(|c: char| c.is_whitespace() || "(`,;".contains(c));
    let flags = begins.filter_map(|word| word.strip_prefix("--"));
    flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())).collect()
}

pub(crate) fn of_networks() -> Vec<NetworkError> {
    of_networks_beside("lan")
}

/// The refusals of networks, beside one that its engine calls so.
fn of_networks_beside(label: &str) -> Vec<NetworkError> {
    let eth0 = || parsed::<IfName>("eth0");
    let (net, ip) = (parsed("192.168.88.0/24"), IpAddr::from([192, 168, 88, 7]));
    let range = parsed("192.168.88.0/28");
    let vlan = || Vlan { lower: eth0(), id: parsed("20"), gvrp: true };
    let (macvlan, ipvlan) = (LinkKind::Macvlan(MacvlanMode::Bridge), LinkKind::Ipvlan(IpvlanMode::L3));
    let text = || "…".to_owned();
    let port = |bridge, vlan| NetworkError::ParentIsPort {
        parent: eth0(),
        master: text(),
        bridge,
        instead: Some(eth0()),
        kind: macvlan,
        vlan,
    };
    let child = |elsewhere| NetworkError::ParentHasChild {
        parent: eth0(),
        child: eth0(),
        elsewhere,
        there: ipvlan,
        kind: macvlan,
    };
    let taken = |engine| NetworkError::ParentTaken {
        parent: eth0(),
        kind: macvlan,
        there: ipvlan,
        network: label.to_owned(),
        engine,
    };
    let (server, dhcp6) = (Ipv4Addr::new(192, 168, 88, 1), Ipv6Mode::Dhcp);
    vec![
        NetworkError::Exists(parsed("lan")),
        NetworkError::Differs { network: "lan".into(), option: &PARENT, asked: text(), has: text() },
        NetworkError::NoParent { parent: eth0(), present: text() },
        NetworkError::ParentUnnamed,
        NetworkError::NoDefaultRoute { present: text() },
        NetworkError::NobodyInSubnet { subnets: text(), present: text(), lan: None },
        NetworkError::NobodyInSubnet { subnets: text(), present: text(), lan: Some((net, ip)) },
        NetworkError::RangeOutside(range, net),
        NetworkError::InternalOffLan { subnets: text(), present: text() },
        NetworkError::SeveralParents { subnets: text(), parents: text() },
        NetworkError::NoAddress { parent: eth0(), ipv6: Some(parsed("fd88::/64")) },
        NetworkError::NoFreeRange(net),
        NetworkError::NoRangeBesidePool { net, pool: PoolSeen { server, offers: [(server, server)].into() } },
        NetworkError::RangeInPool { range, server, offered: server, beside: Some(range) },
        NetworkError::ParentDown(eth0()),
        NetworkError::ParentIsNoBridge(eth0()),
        port(true, None),
        port(false, Some(parsed("20"))),
        NetworkError::ParentIsWifi(eth0(), macvlan),
        NetworkError::VlanOnWifi(vlan()),
        NetworkError::BridgeFilters { vlan: vlan(), missing: vec![text()] },
        NetworkError::BridgeMixes { vlan: vlan(), missing: vec![text()] },
        NetworkError::GvrpOnBridge(vlan()),
        NetworkError::TaggedWithoutVlan,
        NetworkError::VlanNameTaken { name: eth0(), vlan: vlan() },
        NetworkError::GvrpOnForeign(eth0()),
        NetworkError::ParentUnfit(eth0(), text()),
        child(None),
        child(Some(text())),
        taken(None),
        taken(Some(EngineKind::Docker)),
        NetworkError::NoSubnet,
        NetworkError::ForeignSubnet { subnet: net, parent: eth0(), present: text() },
        NetworkError::RangeHoldsNothing { range, ip, why: text() },
        NetworkError::RangesOverlap { range, other: range, network: text() },
        NetworkError::AddressHeld { what: text(), held: text(), remedy: "choose another".into() },
        NetworkError::MtuTooLarge { mtu: 9000, parent: eth0(), most: 1500 },
        NetworkError::PassthruCutsHost { parent: eth0(), present: text() },
        NetworkError::PassthruForUsers(eth0()),
        NetworkError::NoHostAccess(macvlan),
        NetworkError::StrictReversePath(eth0()),
        NetworkError::ShimByHand { ip, link: eth0() },
        NetworkError::HostAddressWithoutAccess,
        NetworkError::NoQueue(ipvlan, &BC_QUEUE_LEN),
        NetworkError::NoPorts(PortOption::Isolated, macvlan),
        NetworkError::NoPorts(PortOption::Hairpin, ipvlan),
        LeaseError::Unheard(ipvlan).into(),
        LeaseError::Range(range).into(),
        LeaseError::NoRange(net).into(),
        LeaseError::NotLeasing(&RELEASE).into(),
        LeaseError::NotLeasing(&FALLBACK).into(),
        LeaseError::NotLeasing(&DHCP_ALLOW).into(),
        LeaseError::NotLeasing(&HOSTNAME).into(),
        LeaseError::NoServer(server).into(),
        LeaseError::Both(server).into(),
        LeaseError::Tagged.into(),
        Ipv6Error::Unheard(ipvlan).into(),
        Ipv6Error::Subnet(dhcp6, net).into(),
        Ipv6Error::OneMac(ipvlan).into(),
    ]
}

pub(crate) fn of_containers() -> Vec<AttachError> {
    of_containers_on("lan")
}

/// The refusals of containers, on a network that its engine calls so.
fn of_containers_on(label: &str) -> Vec<AttachError> {
    let (ip, mac) = (IpAddr::from([192, 168, 88, 7]), Mac([2, 0, 0, 0, 0, 7]));
    let (eth0, text) = (|| parsed::<IfName>("eth0"), || label.to_owned());
    let held = |endpoint: Option<&str>| AddressError::Held {
        ip,
        endpoint: endpoint.map(str::to_owned),
        network: text(),
        engine: Some(EngineKind::Docker),
    };
    let name_taken = |engine| AttachError::NameTaken {
        network: text(),
        name: parsed("web"),
        place: "/run/netns/web".into(),
        engine,
    };
    let exhausted = |answers_for_all| AddressError::Exhausted {
        range: parsed("192.168.88.0/28"),
        network: text(),
        size: 16,
        holders: "16 are held by endpoints".into(),
        subnet: parsed("192.168.88.0/24"),
        engine: Some(EngineKind::Docker),
        answers_for_all,
    };
    vec![
        name_taken(None),
        name_taken(Some(EngineKind::Docker)),
        name_taken(Some(EngineKind::Podman)),
        AttachError::ParentDown(eth0()),
        AttachError::ParentIsPort { parent: eth0(), network: text(), master: eth0() },
        AttachError::PassthruTaken { parent: eth0(), holder: parsed("web") },
        AttachError::MacOnIpvlan(LinkKind::Ipvlan(IpvlanMode::L2)),
        AttachError::MacUnfit(mac),
        AttachError::MacTaken { mac, holder: text() },
        WishError::ClientIdTaken { id: ClientId::mac(mac), holder: parsed("web"), network: text() }.into(),
        WishError::AsksNoServer { option: &CLIENT_ID, network: text() }.into(),
        WishError::AsksNoServer { option: &OWN_HOSTNAME, network: text() }.into(),
        held(None).into(),
        held(Some("db")).into(),
        AddressError::OnLan { ip, claimant: Claimant { mac, known_as: None } }.into(),
        AddressError::NotLeased { ip, got: ip, mac }.into(),
        AddressError::BeingTaken(ip).into(),
        exhausted(None).into(),
        exhausted(Some(Claimant { mac, known_as: None })).into(),
        UserError::NotAllowed { uid: 1000, network: parsed("lan") }.into(),
        UserError::TooMany { uid: 1000 }.into(),
        UserError::Share { uid: 1000, network: text(), share: 3 }.into(),
        UserError::Address { uid: 1000, ip, network: text(), ranges: None }.into(),
        UserError::Mac { uid: 1000, mac }.into(),
        UserError::ClientId { uid: 1000 }.into(),
    ]
}

#[test]
fn docker_is_told_of_no_option_that_it_does_not_have() {
    let networks =
        of_networks().into_iter().map(|error| (format!("{error:?}"), error.to_string(), error.remedy()));
    let containers =
        of_containers().into_iter().map(|error| (format!("{error:?}"), error.to_string(), error.remedy()));
    for (error, message, remedy) in networks.chain(containers) {
        let remedy: Remedy = remedy.unwrap_or_else(|| panic!("no remedy for {error}"));
        for text in [message, remedy.without_commands().spelled(Front::Docker)] {
            let foreign: Vec<&str> = flags(&text).into_iter().filter(|flag| !of_docker(flag)).collect();
            assert!(foreign.is_empty(), "{foreign:?} of {error}: {text}");
        }
        let typed = remedy.without_commands().to_string();
        assert!(
            !typed.contains("-o ") && !typed.contains("--ipam") || error.contains("engine: Some("),
            "{error}: {typed}"
        );
    }
}

/// Docker takes nearly any name for a network.
#[test]
fn an_engines_name_for_a_network_is_one_word_of_a_command() {
    const LABEL: &str = "$(id); it's";
    let named = |engine| EngineNetwork { kind: engine, id: "n1".into(), name: Some(LABEL.into()), of: None };
    let labelled = |engine| Network { engine: Some(named(engine)), ..network("range") };
    let (docker, podman) = (labelled(EngineKind::Docker), labelled(EngineKind::Podman));
    let adopted = Network { adopted: true, ..docker.clone() };
    let of_addresses = ReaddressError::OfEngine { network: LABEL.into(), engine: EngineKind::Docker };
    let mut remedies = vec![
        docker.anew(Remedy::default()),
        podman.anew(Remedy::default()),
        docker.remedy_without_parent(&View::default()),
        adopted.remedy_without_parent(&View::default()),
    ];
    remedies.extend(of_addresses.remedy());
    remedies.extend(of_networks_beside(LABEL).iter().filter_map(NetworkError::remedy));
    remedies.extend(of_containers_on(LABEL).iter().filter_map(AttachError::remedy));
    let word = Word::of(LABEL).to_string();
    let commands = remedies.iter().flat_map(Remedy::commands);
    let (naming, others): (Vec<&str>, Vec<&str>) = commands.partition(|command| command.contains(&word));
    // Two each to make one again; one to move, and four where its engine has it; one of a
    // readdress; of those above ten.
    assert_eq!(naming.len(), 2 + 2 + 1 + 4 + 1 + 10, "{naming:#?}");
    for command in others.into_iter().map(str::to_owned).chain(naming.iter().map(|it| it.replace(&word, "")))
    {
        assert!(!command.contains("$("), "{command}");
    }
}

#[test]
fn an_interfaces_name_is_one_word_of_a_command() {
    let named = NetworkError::StrictReversePath(parsed("$(id)")).remedy().unwrap();
    let command = named.commands().next().unwrap();
    assert_eq!(command, "sysctl -w 'net.ipv4.conf.$(id).rp_filter=2'");
    let too_long = "$(id);12345.2000";
    let refused = too_long.parse::<IfName>().unwrap_err().to_string();
    assert!(refused.contains("--parent '$(id);12345' --vlan 2000"), "{refused}");
    let refused = "$(id);1234567890".parse::<IfName>().unwrap_err().to_string();
    assert!(refused.contains("`ip link show dev '$(id);1234567890'`"), "{refused}");
}
